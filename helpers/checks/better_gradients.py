"""Checkers of lesson *better_gradients*: integrated gradients by the midpoint rule, and SmoothGrad with given noise."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import Wrong, ask, checker, name_the_mistake

SlopeAt = Callable[[Tensor], Tensor]


@checker
def check_integrated(function: Callable[[SlopeAt, Tensor, Tensor, int], Tensor]) -> str:
    """Check ``function(slope_at, x [N, C, H, W], baseline, steps) -> [N, C, H, W]`` on a score with curved slopes."""
    random = torch.Generator().manual_seed(8)
    x, baseline = torch.randn(2, 3, 2, 4, 5, generator=random, dtype=torch.float64)
    slope_at, height = _landscape(random)
    way = x - baseline
    steps, asked = 12, []

    def counted(points: Tensor) -> Tensor:
        asked[-1] += points.shape[:-3].numel()
        return slope_at(points)

    def sum_at(points: Tensor) -> Tensor:
        return sum(slope_at(baseline + a * way) for a in points)

    middles, ends = (torch.arange(steps) + 0.5) / steps, torch.arange(steps + 1) / steps
    expected = way * sum_at(middles) / steps

    def by_midpoints(slope_at: SlopeAt, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
        points = (torch.arange(steps) + 0.5) / steps
        return (x - baseline) * torch.stack([slope_at(baseline + a * (x - baseline)) for a in points]).mean(0)

    mistakes = {
        "the factor (x - baseline) is missing: this is the mean slope, and its sum is not the rise of the score.": (
            sum_at(middles) / steps
        ),
        "the factor is x; the way from the baseline is x - baseline long.": x * sum_at(middles) / steps,
        "the factor is baseline - x, so every sign is turned.": -expected,
        "you walk from zero and not from the baseline.": lambda: sum(way * slope_at(a * x) for a in middles) / steps,
        "you walk from zero, and the factor is x: the baseline is not used.": lambda: (
            sum(x * slope_at(a * x) for a in middles) / steps
        ),
        "you walk beyond the picture: baseline + a * x; the step is a * (x - baseline).": lambda: (
            sum(way * slope_at(baseline + a * x) for a in middles) / steps
        ),
        "these are sums over the points; the mean is asked for, so divide by steps.": expected * steps,
        "this is the slope at the picture alone, times the way; take the mean slope on the way.": way * slope_at(x),
        "this is the slope at the baseline alone, times the way; take the mean.": way * slope_at(baseline),
        "your points are the left ends of the parts, k / steps; take their middles.": way * sum_at(ends[:-1]) / steps,
        "your points are the right ends of the parts; take their middles, (k + 0.5) / steps.": way
        * sum_at(ends[1:])
        / steps,
        "you take steps + 1 points and divide by steps: together the weights are more than one.": way
        * sum_at(ends)
        / steps,
        "your points go from 0 to 1 with both ends; take the middles of equal parts.": way
        * sum_at(torch.linspace(0, 1, steps))
        / steps,
        "your points are one step too far; the first middle is 0.5 / steps.": way * sum_at(middles + 1 / steps) / steps,
        "the last point is missing.": way * sum_at(middles[:-1]) / steps,
        "you walk on from the picture, away from the baseline; begin at the baseline.": lambda: (
            way * sum(slope_at(x + a * way) for a in middles) / steps
        ),
        "each slope is multiplied by the point's own distance from the baseline; use the whole way.": (
            sum(a * way * slope_at(baseline + a * way) for a in middles) / steps
        ),
        "only the two ends are used; take the middles of equal parts.": way * (slope_at(x) + slope_at(baseline)) / 2,
        "all points are the one half-way; take one in each part.": way * slope_at(baseline + way / 2),
        "the way is squared; multiply by it once.": way * expected,
        "only the sign of the way is used; multiply by the way itself.": way.sign() * sum_at(middles) / steps,
        "the baseline is added to the map; leave it out.": expected + baseline,
        "the size of the way is used, without its sign.": way.abs() * sum_at(middles) / steps,
        "this is the trapezoid rule: the ends count by half; take the middles of equal parts.": way
        * (sum_at(ends[1:-1]) + (slope_at(baseline) + slope_at(x)) / 2)
        / steps,
        "you divide by steps - 1; there are as many points as steps.": expected * steps / (steps - 1),
        "this is the absolute value; an attribution keeps its sign.": expected.abs(),
        "the negative values are cut off; an attribution keeps its sign.": expected.relu(),
        "the pictures are mixed: add up over the points and not over the batch.": lambda: expected.sum(0, keepdim=True),
    }
    asked.append(0)
    got = ask(function, counted, x.clone(), baseline.clone(), steps)
    got = name_the_mistake(got, mistakes, expected, 5e-4, what="the map", by=by_midpoints)
    one_step = way * slope_at(baseline + way / 2)
    for fewer in (1, 5):
        asked.append(0)
        few = ask(function, counted, x.clone(), baseline.clone(), fewer)
        if asked[-1] == asked[0]:
            raise Wrong(f"your function takes as many points for {fewer} steps as for {steps}: `steps` is ignored.")
        if fewer == 1:
            name_the_mistake(few, {}, one_step, 1e-3, what="the map with 1 step")
    gap = (got.sum((1, 2, 3)) - (height(x) - height(baseline))).abs().max().item()
    return f"complete: with {steps} steps the sum misses the rise of the score by {gap:.0e}."


@checker
def check_smoothed(function: Callable[[SlopeAt, Tensor, float, Tensor], Tensor]) -> str:
    """Check ``function(slope_at, x [N, C, H, W], level, noise [n, C, H, W]) -> [N, C, H, W]``."""
    random = torch.Generator().manual_seed(9)
    x = torch.randn(3, 2, 4, 5, generator=random, dtype=torch.float64) * torch.tensor([0.3, 1, 2]).view(3, 1, 1, 1) + 1
    noise = torch.randn(6, 2, 4, 5, generator=random, dtype=torch.float64)
    slope_at, _ = _landscape(random)
    level = 0.2
    ranges = x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True)

    def slopes(spread: Tensor | float) -> Tensor:
        return torch.stack([slope_at(x + spread * e) for e in noise])

    def by_copies(slope_at: SlopeAt, x: Tensor, level: float, noise: Tensor) -> Tensor:
        spread = level * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        return torch.stack([slope_at(x + spread * e) for e in noise]).mean(0)

    right = slopes(level * ranges)
    mistakes = {
        "you divide the level by the range; multiply, so that the noise grows with the picture.": lambda: slopes(
            level / ranges
        ).mean(0),
        "the noise has level squared times the range; that is a variance's place, and a standard deviation's was asked"
        " for.": lambda: slopes(level**2 * ranges).mean(0),
        "the noise is the square of what it should be: a variance where a standard deviation belongs.": lambda: slopes(
            (level * ranges) ** 2
        ).mean(0),
        "the range is left out: the level is a share of it.": lambda: slopes(level).mean(0),
        "you take the range of the whole batch; each picture has its own.": lambda: slopes(
            level * (x.max() - x.min())
        ).mean(0),
        "the noise is level times the largest value; the range is the largest minus the smallest.": lambda: slopes(
            level * x.amax((1, 2, 3), keepdim=True)
        ).mean(0),
        "the noise is level times the picture's standard deviation; take its range.": lambda: slopes(
            level * x.std((1, 2, 3), keepdim=True)
        ).mean(0),
        "each colour has a range of its own in your noise; take one for the picture.": lambda: slopes(
            level * (x.amax((2, 3), keepdim=True) - x.amin((2, 3), keepdim=True))
        ).mean(0),
        "the noise has half the strength; it is level times the range.": lambda: slopes(level * ranges / 2).mean(0),
        "the noise is level times the picture's values; take its range.": lambda: slopes(level * x.abs()).mean(0),
        "the noise is level times the values, with their sign; take the picture's range.": lambda: slopes(
            level * x
        ).mean(0),
        "the root of the range is taken; take the range.": lambda: slopes(level * ranges.sqrt()).mean(0),
        "each slope is multiplied by its noisy picture; SmoothGrad stays a slope.": lambda: (
            right * torch.stack([x + level * ranges * e for e in noise])
        ).mean(0),
        "only as many copies are used as there are pictures; take all.": lambda: right[: len(x)].mean(0),
        "the noise is subtracted; add it.": lambda: slopes(-level * ranges).mean(0),
        "this is the median of the copies; take their mean.": lambda: right.median(0).values,
        "this is the spread over the copies; take their mean.": lambda: right.std(0),
        "only the last noisy copy was used; take the mean over all of them.": lambda: right[-1],
        "one copy is left out; take the mean over all of them.": lambda: right[1:].mean(0),
        "one copy is left out; take the mean over all of them. (The last one.)": lambda: right[:-1].mean(0),
        "the slope at the clean picture is added; take the noisy copies alone.": lambda: right.mean(0) + slope_at(x),
        "the clean picture counts as one more copy; take the noisy ones alone.": lambda: (
            (right.sum(0) + slope_at(x)) / (len(noise) + 1)
        ),
        "the noisy pictures are cut off at 0 and 1; leave them as they are.": lambda: torch.stack(
            [slope_at((x + level * ranges * e).clamp(0, 1)) for e in noise]
        ).mean(0),
        "these are sums over the copies; take their mean.": lambda: right.sum(0),
        "you divide by n - 1; a mean divides by the number of copies.": lambda: right.sum(0) / (len(noise) - 1),
        "this is the absolute value of the mean; SmoothGrad keeps the sign.": lambda: right.mean(0).abs(),
        "the negative values are cut off; SmoothGrad keeps the sign.": lambda: right.mean(0).relu(),
        "the absolute value came before the mean, so opposite slopes no longer cancel; keep the sign.": lambda: (
            right.abs().mean(0)
        ),
        "the squares are averaged (a relative of VarGrad); take the mean of the slopes.": lambda: right.square().mean(
            0
        ),
        "this is VarGrad, the variance over the copies; take the mean.": lambda: right.var(0, unbiased=False),
        "the copies are averaged before the slope is taken; take the slope at each copy, then the mean.": lambda: (
            slope_at(x + level * ranges * noise.mean(0))
        ),
        "this is the slope at the clean picture; the noise is missing.": lambda: slope_at(x),
        "only one noisy copy was used; take the mean over all of them.": lambda: right[0],
        "the noise alone went in, without the picture.": lambda: torch.stack(
            [slope_at(level * ranges * e) for e in noise]
        ).mean(0),
        "the mean slope is multiplied by the picture; SmoothGrad stays a slope.": lambda: x * right.mean(0),
    }
    got = ask(function, slope_at, x.clone(), level, noise.clone())
    if not torch.equal(_as(got), _as(ask(function, slope_at, x.clone(), level, noise.clone()))):
        raise Wrong("two calls with the same noise give two maps: do not draw noise of your own, use the one given.")
    name_the_mistake(got, mistakes, right.mean(0), what="the map", by=by_copies)
    still = ask(function, slope_at, x.clone(), 0.0, noise.clone())
    name_the_mistake(still, {}, slope_at(x), what="the map without noise")
    return f"the mean slope of {len(noise)} noisy copies, each picture with noise of its own strength."


def _as(map_: object) -> Tensor:
    return torch.as_tensor(map_).detach()


def _landscape(random: torch.Generator) -> tuple[SlopeAt, Callable[[Tensor], Tensor]]:
    """Return the slope [N, C, H, W] and the height [N] of a curved score of pictures [N, 2, 4, 5]."""
    a, b = torch.randn(2, 1, 2, 4, 5, generator=random, dtype=torch.float64)

    def height(z: Tensor) -> Tensor:
        return (a * z.sin() + b * z.square()).sum((1, 2, 3))

    def slope_at(z: Tensor) -> Tensor:
        return a * z.cos() + 2 * b * z

    return slope_at, height
