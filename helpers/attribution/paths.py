"""Gradients at many versions of a picture: with noise (SmoothGrad, VarGrad), or on the way from a baseline (IG)."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor, einsum, nn

from helpers.attribution._common import Target, check_pictures, explaining, filled, kind, of_rows, quick, run, settle
from helpers.attribution.gradients import check_alive, one_pass
from helpers.attribution.progress import in_chunks


def smooth_grad(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    level: float = 0.15,
    samples: int = 50,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean gradient of noisy copies of the picture (Smilkov et al., 2017).

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        target: as for :func:`gradient`; ``None`` is each clean picture's top class, asked of all its copies.
        level: standard deviation of the noise, as a share of the picture's own range; 0 gives the gradient.
        samples: noisy copies of each picture; one forward and one backward pass for each.
        chunk: copies that go through the network at once, which bounds the memory; as many as are fast unless given.
        generator: source of the noise, on the CPU; ``None`` is a fresh one with seed 0. All pictures of a batch get
            the same noise, each in its own strength.

    Returns:
        Signed attribution [N, C, H, W], detached, in logits per unit of x.

    Raises:
        TypeError, ValueError: input that cannot be used, also a picture of one value, which has no range to take a
            share of; the message names the cure.
    """
    with explaining(model):
        x = check_pictures(x, model)
        noisy = _noisy(x, level, samples, generator)
        total = torch.zeros_like(x)
        for _, pictures, gradients in _passes(model, x, target, noisy, samples, chunk, "SmoothGrad"):
            total += _sums(gradients, pictures, len(x))
        return check_alive(total / samples)


def var_grad(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    level: float = 0.15,
    samples: int = 50,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the variance of the gradient over noisy copies of the picture (Adebayo et al., 2018).

    It says where the slope is unsteady, and is zero where the network is linear. It has no sign. Divided by the
    number of samples, not by one less. Arguments as for :func:`smooth_grad`.

    Returns:
        Variances [N, C, H, W], none below zero, detached, in squared logits per squared unit of x.

    Raises:
        TypeError, ValueError: as for :func:`smooth_grad`; also for fewer than two samples.
    """
    if samples == 1:
        raise ValueError("samples is 1, and one gradient has no variance; give 2 or more.")
    with explaining(model):
        x = check_pictures(x, model)
        noisy = _noisy(x, level, samples, generator)
        first, total, squares = (torch.zeros_like(x) for _ in range(3))
        for sample, pictures, gradients in _passes(model, x, target, noisy, samples, chunk, "VarGrad"):
            start = sample == 0
            first[pictures[start]] = gradients[start]
            gradients = gradients - first[pictures]  # else a small variance drowns in the rounding of large squares
            total += _sums(gradients, pictures, len(x))
            squares += _sums(gradients.square_(), pictures, len(x))
        check_alive(first + total / samples)
        return (squares / samples - (total / samples).square()).clamp(min=0)


def integrated_gradients(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    baseline: float | Tensor = 0.0,
    steps: int = 50,
    chunk: int | None = None,
) -> Tensor:
    """Return integrated gradients (Sundararajan et al., 2017): how much each value adds on the way from a baseline.

    ``(x - x') * mean of dy_c/dx along the straight line from x' to x``, the mean by Gauss-Legendre quadrature. Summed
    up it is ``y_c(x) - y_c(x')``, as closely as ``steps`` allows: print both. Values equal to the baseline get nothing.

    Args:
        model, x, target, chunk: as for :func:`smooth_grad`; the question is the same all along the line.
        baseline: x', where the line starts: a number, or a tensor that broadcasts to x. In normalised pictures 0 is
            the mean colour and not black.
        steps: points on the line; one forward and one backward pass for each.

    Returns:
        Signed attribution [N, C, H, W], detached, in logits.

    Raises:
        TypeError, ValueError: input that cannot be used, also a baseline that equals a picture.
    """
    _check_count("steps", steps)
    nodes, weights = _gauss_legendre(steps)
    with explaining(model):
        x = check_pictures(x, model)
        start = filled(baseline, x)
        if (start == x).flatten(1).all(1).any():
            raise ValueError(
                f"A {kind(x).one} equals its baseline, so no way leads from one to the other: give another baseline."
            )
        way, total = x - start, torch.zeros_like(x)
        weights = torch.tensor(weights).to(x)

        def on_the_way(step: int, picture: int) -> Tensor:
            return start[picture] + nodes[step] * way[picture]

        for step, pictures, gradients in _passes(model, x, target, on_the_way, steps, chunk, "Integrated gradients"):
            total += _sums(gradients, pictures, len(x), weights[step])
        return way * check_alive(total)


Version = Callable[[int, int], Tensor]  # (number of the version, number of the picture) -> [C, H, W]


def _passes(
    model: nn.Module, x: Tensor, target: Target, version: Version, count: int, chunk: int | None, what: str
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield version numbers [R], picture numbers [R] and gradients [R, C, H, W], version 0 of every picture first."""
    with torch.no_grad():
        logits = torch.cat([run(model, quick(x[numbers])) for numbers in in_chunks(len(x), chunk, what, x)])
    settled = settle(logits, target)
    for rows in in_chunks(count * len(x), chunk, what, x):
        numbers, pictures = rows // len(x), rows % len(x)
        batch = torch.stack([version(*row) for row in zip(numbers.tolist(), pictures.tolist(), strict=True)])
        gradients = one_pass(model, quick(batch), of_rows(settled, pictures))
        yield numbers.to(x.device), pictures.to(x.device), gradients


def _sums(gradients: Tensor, pictures: Tensor, count: int, weights: float | Tensor = 1.0) -> Tensor:
    """Return for each of ``count`` pictures the weighted sum of the rows that are versions of it, [count, C, H, W]."""
    belongs = (torch.arange(count, device=pictures.device)[:, None] == pictures).to(gradients)
    return einsum("nr,r...->n...", belongs * weights, gradients)


def _noisy(x: Tensor, level: float, samples: int, generator: torch.Generator | None) -> Version:
    """Return the function that adds sample number s of the noise to a picture; samples must be asked for in order."""
    _check_count("samples", samples)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 <= level < float("inf"):
        raise ValueError(f"level is {level!r}; give the noise as a share of the picture's range, such as 0.15.")
    spread = level * (x.flatten(1).amax(1) - x.flatten(1).amin(1))
    if level and (spread == 0).any():
        raise ValueError(
            f"A {kind(x).one} has one value everywhere, so a share of its range is no noise: use gradient()."
        )
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    elif generator.device.type != "cpu":
        raise ValueError(f"The generator is on {generator.device}; give torch.Generator(), on the CPU, for any device.")
    last, noise = -1, x[0]

    def noisy(sample: int, picture: int) -> Tensor:
        nonlocal last, noise
        if sample != last:  # one at a time and in float32: the same for any chunk, batch, device and precision
            last, noise = sample, torch.randn(x.shape[1:], generator=generator, dtype=torch.float32).to(x)
        return x[picture] + spread[picture] * noise

    return noisy


@cache
def _gauss_legendre(steps: int) -> tuple[list[float], list[float]]:
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1], weights that sum to 2
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; give a whole number, 1 or more.")
