"""The checkers of lesson *better_gradients* accept the folded solutions, name each known mistake and wait."""

import numpy as np
import torch

from answers import answer_tests
from helpers.checks import better_gradients


def middles(steps):
    return (torch.arange(steps) + 0.5) / steps


def walk(slope_at, start, way, points):
    return sum(slope_at(start + a * way) for a in points)


def gauss_legendre(slope_at, x, baseline, steps):
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    way = x - baseline
    return way * sum(w / 2 * slope_at(baseline + (a + 1) / 2 * way) for a, w in zip(nodes, weights, strict=True))


def in_one_batch(slope_at, x, baseline, steps):
    points = baseline + middles(steps).view(-1, 1, 1, 1, 1) * (x - baseline)
    return (x - baseline) * slope_at(points.flatten(0, 1)).unflatten(0, points.shape[:2]).mean(0)


def overwriting(slope_at, x, baseline, steps):
    x -= baseline
    return x * walk(slope_at, baseline, x, middles(steps)) / steps


RIGHT_INTEGRALS = {
    "in one batch": in_one_batch,
    "Gauss-Legendre": gauss_legendre,
    "from the picture back": lambda s, x, b, n: (x - b) * walk(s, x, b - x, middles(n)) / n,
    "numpy": lambda s, x, b, n: ((x - b) * walk(s, b, x - b, middles(n)) / n).numpy(),
}
WRONG_INTEGRALS = {
    "is missing: this is the mean slope": lambda s, x, b, n: walk(s, b, x - b, middles(n)) / n,
    "the factor is x; the way": lambda s, x, b, n: x * walk(s, b, x - b, middles(n)) / n,
    "every sign is turned": lambda s, x, b, n: (b - x) * walk(s, b, x - b, middles(n)) / n,
    "you walk from zero and not": lambda s, x, b, n: (x - b) * walk(s, 0, x, middles(n)) / n,
    "the baseline is not used": lambda s, x, b, n: x * walk(s, 0, x, middles(n)) / n,
    "beyond the picture": lambda s, x, b, n: (x - b) * walk(s, b, x, middles(n)) / n,
    "divide by steps": lambda s, x, b, n: (x - b) * walk(s, b, x - b, middles(n)),
    "at the picture alone": lambda s, x, b, n: (x - b) * s(x),
    "at the baseline alone": lambda s, x, b, n: (x - b) * s(b),
    "left ends": lambda s, x, b, n: (x - b) * walk(s, b, x - b, torch.arange(n) / n) / n,
    "right ends": lambda s, x, b, n: (x - b) * walk(s, b, x - b, torch.arange(1, n + 1) / n) / n,
    "together the weights are more than one": lambda s, x, b, n: (
        (x - b) * walk(s, b, x - b, torch.linspace(0, 1, n + 1)) / n
    ),
    "trapezoid rule": lambda s, x, b, n: (
        (x - b) * (walk(s, b, x - b, torch.arange(1, n) / n) + (s(x) + s(b)) / 2) / n if n > 1 else (x - b) * s(x)
    ),
    "divide by steps - 1": lambda s, x, b, n: (x - b) * walk(s, b, x - b, middles(n)) / max(n - 1, 1),
    "keeps its sign": lambda s, x, b, n: ((x - b) * walk(s, b, x - b, middles(n)) / n).abs(),
    "values are cut off": lambda s, x, b, n: ((x - b) * walk(s, b, x - b, middles(n)) / n).relu(),
    "`steps` is ignored": lambda s, x, b, n: in_one_batch(s, x, b, 12),
    "the pictures are mixed": lambda s, x, b, n: ((x - b) * walk(s, b, x - b, middles(n)) / n).sum(0, keepdim=True),
    "1 step": lambda s, x, b, n: in_one_batch(s, x, b, n) if n > 1 else s(x) * (x - b),
    "wrote into `x`": overwriting,
}


def reach(x):
    return x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True)


def slopes(slope_at, x, spread, noise):
    return torch.stack([slope_at(x + spread * e) for e in noise])


def summed_in_place(slope_at, x, level, noise):
    noise *= level
    return slopes(slope_at, x, reach(x), noise).mean(0)


RIGHT_MEANS = {
    "in one batch": lambda s, x, level, e: (
        s((x + level * reach(x) * e[:, None]).flatten(0, 1)).unflatten(0, (len(e), len(x))).mean(0)
    ),
    "one by one": lambda s, x, level, e: torch.cat(
        [slopes(s, one, level * (one.max() - one.min()), e).mean(0) for one in x.split(1)]
    ),
    "numpy": lambda s, x, level, e: slopes(s, x, level * reach(x), e).mean(0).numpy(),
}
WRONG_MEANS = {
    "divide the level by the range": lambda s, x, level, e: slopes(s, x, level / reach(x), e).mean(0),
    "level squared": lambda s, x, level, e: slopes(s, x, level**2 * reach(x), e).mean(0),
    "square of what it should be": lambda s, x, level, e: slopes(s, x, (level * reach(x)) ** 2, e).mean(0),
    "left out": lambda s, x, level, e: slopes(s, x, level, e).mean(0),
    "of the whole batch": lambda s, x, level, e: slopes(s, x, level * (x.max() - x.min()), e).mean(0),
    "times the largest value": lambda s, x, level, e: slopes(s, x, level * x.amax((1, 2, 3), True), e).mean(0),
    "standard deviation; take": lambda s, x, level, e: slopes(s, x, level * x.std((1, 2, 3), keepdim=True), e).mean(0),
    "take their mean": lambda s, x, level, e: slopes(s, x, level * reach(x), e).sum(0),
    "absolute value came before": lambda s, x, level, e: slopes(s, x, level * reach(x), e).abs().mean(0),
    "the squares are averaged": lambda s, x, level, e: slopes(s, x, level * reach(x), e).square().mean(0),
    "this is VarGrad": lambda s, x, level, e: slopes(s, x, level * reach(x), e).var(0, unbiased=False),
    "before the slope is taken": lambda s, x, level, e: s((x + level * reach(x) * e[:, None]).mean(0)),
    "noise is missing": lambda s, x, level, e: s(x),
    "only one noisy copy": lambda s, x, level, e: s(x + level * reach(x) * e[0]),
    "without the picture": lambda s, x, level, e: slopes(s, 0 * x, level * reach(x), e).mean(0),
    "stays a slope": lambda s, x, level, e: x * slopes(s, x, level * reach(x), e).mean(0),
    "divide by n - 1": lambda s, x, level, e: slopes(s, x, level * reach(x), e).sum(0) / (len(e) - 1),
    "absolute value of the mean": lambda s, x, level, e: slopes(s, x, level * reach(x), e).mean(0).abs(),
    "values are cut off": lambda s, x, level, e: slopes(s, x, level * reach(x), e).mean(0).relu(),
    "noise of your own": lambda s, x, level, e: slopes(s, x, level * reach(x), torch.randn_like(e)).mean(0),
    "wrote into `noise`": summed_in_place,
    "without noise": lambda s, x, level, e: slopes(s, x, (level or 1) * reach(x), e).mean(0),
}

ANSWERS = {
    "integrated": (RIGHT_INTEGRALS, WRONG_INTEGRALS),
    "smoothed": (RIGHT_MEANS, WRONG_MEANS),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    better_gradients, "better_gradients", ANSWERS
)
