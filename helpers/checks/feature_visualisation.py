"""Checkers of lesson *feature_visualisation*: ascent with gradients of length one, and the share of fine detail."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import ask, checker, name_the_mistake

Score = Callable[[Tensor], Tensor]


def _stretched(x: Tensor) -> Tensor:
    low, top = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (top - low)


@checker
def check_ascend(function: Callable[[Score, Tensor, int, float], Tensor]) -> str:
    """Check ``function(score, start [N, C, H, W], steps, rate) -> [N, C, H, W]`` on a curved score."""
    random = torch.Generator().manual_seed(11)
    start = torch.rand(3, 2, 4, 5, generator=random, dtype=torch.float64)
    a = torch.randn(start.shape, generator=random, dtype=torch.float64)
    strength = torch.tensor([0.2, 1.0, 4.0], dtype=torch.float64).view(3, 1, 1, 1)  # slopes of unlike lengths
    steps, rate = 6, 0.4

    def score(x: Tensor) -> Tensor:
        return (strength * a * (3 * x).sin()).sum((1, 2, 3))

    def slope(x: Tensor) -> Tensor:
        return strength * a * 3 * (3 * x).cos()

    def length(g: Tensor) -> Tensor:
        return g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

    def cut(x: Tensor) -> Tensor:
        return x.clamp(0, 1)

    def walk(scaled: Callable = length, end: Callable = cut, count: int = steps, at: Callable = lambda x: x) -> Tensor:
        x = start
        for _ in range(count):
            x = end(x + rate * scaled(slope(at(x))))
        return x

    def by_steps(score: Score, start: Tensor, steps: int, rate: float) -> Tensor:
        x = start
        for _ in range(steps):
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                (g,) = torch.autograd.grad(score(x).sum(), x)
            x = cut(x.detach() + rate * length(g))
        return x

    mistakes = {
        "it goes downhill: add the gradient, do not take it away.": lambda: walk(lambda g: -length(g)),
        "the gradient goes in as it is; divide each picture's gradient by its own length.": lambda: walk(lambda g: g),
        "you divide by the length over the whole batch; each picture has its own.": lambda: walk(
            lambda g: g / g.norm()
        ),
        "you divide each colour's gradient by its own length; take one length for the whole picture.": lambda: walk(
            lambda g: g / g.norm(dim=(2, 3), keepdim=True)
        ),
        "you divide by the square of the length.": lambda: walk(lambda g: g / g.square().sum((1, 2, 3), keepdim=True)),
        "you divide by the largest value; the length is the root of the sum of squares.": lambda: walk(
            lambda g: g / g.abs().amax((1, 2, 3), keepdim=True)
        ),
        "you divide by the sum of absolute values; the length is the root of the sum of squares.": lambda: walk(
            lambda g: g / g.abs().sum((1, 2, 3), keepdim=True)
        ),
        "you divide by the standard deviation, as deep dream does; here by the length.": lambda: walk(
            lambda g: g / g.std((1, 2, 3), keepdim=True)
        ),
        "you step by the gradient's sign alone; keep its values, and divide by the length.": lambda: walk(torch.sign),
        "the length is that of the mean square; add the squares up, then take the root.": lambda: walk(
            lambda g: g / g.square().mean((1, 2, 3), keepdim=True).sqrt()
        ),
        "a large number is added to the length; one like 1e-9 is enough.": lambda: walk(
            lambda g: g / (g.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 0.1)
        ),
        "each place has a length of its own, over the colours; take one for the whole picture.": lambda: walk(
            lambda g: g / g.norm(dim=1, keepdim=True)
        ),
        "the direction is cut off at 0 and 1; cut off the picture.": lambda: walk(lambda g: length(g).clamp(0, 1)),
        "each step begins at nothing: add it to the picture.": lambda: cut(rate * length(slope(start))),
        "the mean is taken off the gradient; leave it as it is.": lambda: walk(
            lambda g: (g - g.mean((1, 2, 3), keepdim=True)) / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        ),
        "the absolute value is taken after each step; cut the values off at 0 and 1.": lambda: walk(
            end=lambda x: x.abs().clamp(max=1)
        ),
        "your step is half of rate.": lambda: walk(lambda g: length(g) / 2),
        "your step is twice the rate.": lambda: walk(lambda g: 2 * length(g)),
        "your step has length 1; multiply the direction by rate.": lambda: walk(lambda g: length(g) / rate),
        "this is how far the picture has moved; return where it is.": lambda: walk() - start,
        "these are the scores; return the pictures.": lambda: score(walk()),
        "the pictures are stretched to 0 and 1; cut them off.": lambda: walk(end=_stretched),
        "the pictures go through a sigmoid; cut them off at 0 and 1.": lambda: walk(end=torch.sigmoid),
        "the pictures leave the range from 0 to 1: cut them off after each step.": lambda: walk(end=lambda x: x),
        "you cut off only once, at the end; do it after each step.": lambda: cut(walk(end=lambda x: x)),
        "you cut off at -1 and 1; black is 0.": lambda: walk(end=lambda x: x.clamp(-1, 1)),
        "every step takes the gradient of the start; take it where you are.": lambda: walk(at=lambda x: start),
        "that is one step and not all of them.": lambda: walk(count=1),
        "that is one step too few.": lambda: walk(count=steps - 1),
        "that is one step too many.": lambda: walk(count=steps + 1),
    }
    got = ask(function, score, start.clone(), steps, rate)
    got = name_the_mistake(got, mistakes, walk(), what="the picture", by=by_steps)
    alone = ask(function, lambda x: score(x.expand_as(start))[:1], start[:1].clone(), steps, rate)
    name_the_mistake(alone, {}, walk()[:1], what="one picture alone")
    far = ask(function, score, start.clone(), 3, 2.0)  # these steps are so long that the score falls at times
    x = start
    for _ in range(3):
        x = cut(x + 2 * length(slope(x)))
    ignored = {"your function takes the same steps for another `steps` and `rate`; use both.": walk()}
    name_the_mistake(far, ignored, x, what="the picture after 3 steps of length 2")
    before, after = score(start).mean().item(), score(got).mean().item()
    return f"{steps} steps raise the mean score from {before:.1f} to {after:.1f}, and no pixel leaves its range."


@checker
def check_fine_share(function: Callable[[Tensor], Tensor]) -> str:
    """Check ``function(x [N, C, H, W]) -> [N]`` on pictures with fine and coarse detail in unlike colours."""
    random = torch.Generator().manual_seed(12)
    x = torch.randn(3, 2, 12, 10, generator=random, dtype=torch.float64)  # 3 / 12 is a quarter exactly
    x += 2 * torch.linspace(0, 6, 10, dtype=torch.float64).sin() * torch.tensor([[1.0], [0.2]]).view(1, 2, 1, 1) + 0.5
    x *= torch.tensor([1.0, 0.3, 2.0]).view(3, 1, 1, 1)
    x[1] += 2 * torch.linspace(0, 5, 12, dtype=torch.float64).cos()[:, None]
    down, right = (torch.fft.fftfreq(side, dtype=torch.float64) for side in x.shape[2:])
    down = down[:, None]
    fine = (down**2 + right**2).sqrt() > 0.25

    def spectrum(x: Tensor, power: int = 2) -> Tensor:
        return torch.fft.fft2(x - x.mean((2, 3), keepdim=True)).abs() ** power

    def share(chosen: Tensor, of: Tensor | None = None) -> Tensor:
        of = spectrum(x) if of is None else of
        return (of * chosen).sum((1, 2, 3)) / of.sum((1, 2, 3))

    def of_halves() -> Tensor:
        half = torch.fft.rfft2(x - x.mean((2, 3), keepdim=True)).abs() ** 2
        return share((down**2 + torch.fft.rfftfreq(10, dtype=torch.float64) ** 2).sqrt() > 0.25, half)

    positive = (torch.arange(12)[:, None] / 12) ** 2 + (torch.arange(10) / 10) ** 2
    separate = (spectrum(x) * fine).sum((2, 3)) / spectrum(x).sum((2, 3))

    def by_waves(x: Tensor) -> Tensor:
        down, right = (torch.fft.fftfreq(side, dtype=torch.float64) for side in x.shape[2:])
        fine = (down[:, None] ** 2 + right**2).sqrt() > 0.25
        power = torch.fft.fft2(x - x.mean((2, 3), keepdim=True)).abs() ** 2
        return (power * fine).sum((1, 2, 3)) / power.sum((1, 2, 3))

    mistakes = {
        "the mean of each colour counts as detail; take it away first.": lambda: share(
            fine, torch.fft.fft2(x).abs() ** 2
        ),
        "you add up amplitudes; variance is the square of them.": lambda: share(fine, spectrum(x, 1)),
        "the limit is a quarter; yours is an eighth.": lambda: share((down**2 + right**2).sqrt() > 0.125),
        "only the real part is squared; take abs() of each wave first.": lambda: share(
            fine, torch.fft.fft2(x - x.mean((2, 3), keepdim=True)).real ** 2
        ),
        "only the imaginary part is squared; take abs() of each wave first.": lambda: share(
            fine, torch.fft.fft2(x - x.mean((2, 3), keepdim=True)).imag ** 2
        ),
        "the two frequencies are added with their signs, so that they cancel; take the root of the sum of squares.": (
            lambda: share((down + right).abs() > 0.25)
        ),
        "you take the mean of the two frequencies; take the root of the sum of squares.": lambda: share(
            (down.abs() + right.abs()) / 2 > 0.25
        ),
        "you take the smaller of the two frequencies; take the root of the sum of squares.": lambda: share(
            torch.minimum(down.abs() + 0 * right, right.abs() + 0 * down) > 0.25
        ),
        "you add up roots of amplitudes; variance is the square of them.": lambda: share(fine, spectrum(x) ** 0.25),
        "you divide by the number of fine waves; divide by all detail.": lambda: (
            (spectrum(x) * fine).sum((1, 2, 3)) / fine.sum()
        ),
        "you divide by the strongest wave; divide by all detail.": lambda: (
            (spectrum(x) * fine).sum((1, 2, 3)) / spectrum(x).amax((1, 2, 3))
        ),
        "the transform runs over colours and height; take the last two axes.": lambda: share(
            fine, torch.fft.fft2(x - x.mean((2, 3), keepdim=True), dim=(1, 2)).abs() ** 2
        ),
        "this is fine over coarse detail; divide by all detail.": lambda: share(fine) / (1 - share(fine)),
        "the colours are averaged before the transform, so they cancel; add up their squared amplitudes.": lambda: (
            share(fine, spectrum(x.mean(1, keepdim=True)))
        ),
        "this is the first colour alone; add up over the colours.": lambda: share(fine, spectrum(x[:, :1])),
        "one mean is taken away from all colours of a picture; each colour has its own.": lambda: share(
            fine, torch.fft.fft2(x - x.mean((1, 2, 3), keepdim=True)).abs() ** 2
        ),
        "the waves are moved by fftshift, the frequencies are not; leave it out.": lambda: share(
            fine, torch.fft.fftshift(spectrum(x), dim=(2, 3))
        ),
        "this is the share of coarse detail.": lambda: share(~fine),
        "a wave of exactly 0.25 is not above it: use > and not >=.": lambda: share((down**2 + right**2).sqrt() >= 0.25),
        "only waves up and down are judged; take both directions.": lambda: share(
            (down.abs() > 0.25) | (0 * right > 1)
        ),
        "only waves left and right are judged; take both directions.": lambda: share(
            (right.abs() > 0.25) | (0 * down > 1)
        ),
        "a slanted wave is as fine as the root of the sum of the two squares, and not as the larger of them.": lambda: (
            share(torch.maximum(down.abs(), right.abs() + 0 * down) > 0.25)
        ),
        "a slanted wave is as fine as the root of the sum of the two squares, and not as their sum.": lambda: share(
            down.abs() + right.abs() > 0.25
        ),
        "the sum of the squares is compared with 0.25: take its root.": lambda: share(down**2 + right**2 > 0.25),
        "you count frequencies from 0 up to 1; beyond one half they are negative ones (fftfreq knows).": lambda: share(
            positive.sqrt() > 0.25
        ),
        "negative frequencies are left out; take their absolute value, or square them.": lambda: share(
            (down > 0.25) | (right > 0.25)
        ),
        "the limit is 0.25 cycles per pixel; yours counts in radians.": lambda: share(
            2 * torch.pi * (down**2 + right**2).sqrt() > 0.25
        ),
        "rfft2 keeps one of each pair of waves, so that some count half; use fft2.": of_halves,
        "you average the shares of the colours; a picture's share is fine detail over all detail.": lambda: (
            separate.mean(1)
        ),
        "these are shares for each colour; add up over colours before you divide.": lambda: separate,
        "you divide by the detail of the whole batch; each picture has its own.": lambda: (
            (spectrum(x) * fine).sum((1, 2, 3)) / spectrum(x).sum()
        ),
        "this is one number for the whole batch; give one for each picture.": lambda: (
            (spectrum(x) * fine).sum() / spectrum(x).sum()
        ),
        "this is the detail itself; divide by all detail of the picture.": lambda: (spectrum(x) * fine).sum((1, 2, 3)),
    }
    got = name_the_mistake(ask(function, x.clone()), mistakes, share(fine), what="the share", by=by_waves)
    lowest, highest = got.min().item(), got.max().item()
    return f"the three pictures have {lowest:.0%} to {highest:.0%} of fine detail."
