"""Checkers of lesson *lime_and_shap*: Shapley values of a table of worths, and LIME's ridge regression."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import ask, checker, name_the_mistake


def _weighted(v: Tensor, weight: Callable[[int], float]) -> Tensor:
    """Return [d]: for each player the gains v(S and i) - v(S), each times the weight of the size of S, added up."""
    d = int(math.log2(len(v)))
    number = torch.arange(2**d)
    size = sum(number >> j & 1 for j in range(d))
    weights = torch.tensor([weight(s) for s in range(d)] + [0.0], dtype=torch.double)[size]
    return torch.stack([(weights * (v[number | 1 << i] - v)).sum() for i in range(d)])


def _shapley(v: Tensor) -> Tensor:
    d = int(math.log2(len(v)))
    return _weighted(v, lambda s: 1 / (d * math.comb(d - 1, s)))


def _turned(v: Tensor) -> Tensor:
    """Return the table with the bits of its numbers in the opposite order."""
    d = int(math.log2(len(v)))
    return v.view([2] * d).permute(*reversed(range(d))).reshape(-1)


@checker
def check_shapley_from_table(function: Callable[[Tensor], Tensor]) -> str:
    """Check ``function(v [2^d]) -> [d]`` on random games of four and of three players."""
    random = torch.Generator().manual_seed(5)
    for d in (4, 3):
        v = torch.randn(2**d, generator=random, dtype=torch.double) + 1
        right, number = _shapley(v), torch.arange(2**d)
        alone = v[2 ** torch.arange(d)] - v[0]
        without = v[-1] - v[2**d - 1 - 2 ** torch.arange(d)]
        mistakes = {
            "all coalitions count the same here, which gives Banzhaf values; the weight depends on the size of S.": (
                _weighted(v, lambda s, d=d: 1 / 2 ** (d - 1))
            ),
            "the gains are only added up; each is multiplied by the probability of its coalition.": _weighted(
                v, lambda s: 1.0
            ),
            "this is leave-one-out: only the coalition of all others is used.": without,
            "this is one alone: only the empty coalition is used.": alone,
            "only the empty coalition and that of all others are used; take all coalitions between them, too.": (
                (alone + without) / 2
            ),
            "the sign is turned: it is the worth with player i less the worth without it.": -right,
            "the factor 1/d is missing: all sizes of S are equally probable, and there are d of them.": d * right,
            "the binomial is that of d players; S is a coalition of the d - 1 others.": _weighted(
                v, lambda s, d=d: 1 / (d * math.comb(d, s))
            ),
            "the factor 1 / 2^d is that of all coalitions; only half of them are without player i, and sizes count.": (
                _weighted(v, lambda s, d=d: 1 / 2**d)
            ),
            "the binomial is that of d players, and the factor 1 / d is missing.": _weighted(
                v, lambda s, d=d: 1 / math.comb(d, s)
            ),
            "all gains have the weight 1/d; it depends on the size of S.": _weighted(v, lambda s, d=d: 1 / d),
            "the weight is the size of S over d; it is s! (d - s - 1)! / d!.": _weighted(v, lambda s, d=d: (s + 1) / d),
            "the weight is turned over: it is s! (d - s - 1)! / d!.": _weighted(
                v, lambda s, d=d: d * math.comb(d - 1, s)
            ),
            "the size in the weight is that of S with player i; take the size of S without it.": _weighted(
                v, lambda s, d=d: math.factorial(s + 1) * math.factorial(max(d - s - 2, 0)) / math.factorial(d)
            ),
            "bit 0 belongs to player 0: your players come in the opposite order.": _shapley(_turned(v)),
            "the values are scaled to the worth of all players; they add up to the gain over the empty coalition.": (
                right * v[-1] / (v[-1] - v[0])
            ),
            "the first worth is that of the empty coalition and is not zero; take differences of worths.": _shapley(
                torch.where(number == 0, 0.0, v)
            ),
        }
        name_the_mistake(ask(function, v.clone()), mistakes, right, what=f"the answer for {d} players", by=_shapley)
    return "Shapley values of four and of three players; their sum is the gain."


def _ridge(z: Tensor, v: Tensor, weight: Tensor, ridge: float, *, on_b: bool = False, with_b: bool = True) -> Tensor:
    """Return the solution of weighted ridge regression, b first where there is one."""
    columns = torch.cat([torch.ones(len(z), 1, dtype=z.dtype), z], 1) if with_b else z
    penalty = ridge * torch.eye(columns.shape[1], dtype=z.dtype)
    if with_b and not on_b:
        penalty[0, 0] = 0
    return torch.linalg.solve(columns.T @ (weight[:, None] * columns) + penalty, columns.T @ (weight * v))


@checker
def check_lime_with_ridge(function: Callable[[Tensor, Tensor, float, float], Tensor]) -> str:
    """Check ``function(z [M, d], v [M], width, ridge) -> [d]`` on random coalitions of five players."""
    random = torch.Generator().manual_seed(5)
    z = (torch.rand(40, 5, generator=random) < 0.5).double()
    z[0], z[1] = 1, 0
    v = torch.randn(40, generator=random, dtype=torch.double) + 3 * z[:, 0] - 2 * z[:, 1] + 4
    width, ridge = 0.3, 0.7
    distance = 1 - z.mean(1).sqrt()
    weight = torch.exp(-(distance**2) / (2 * width**2))
    whole = _ridge(z, v, weight, ridge)
    right = whole[1:]

    def other(weight: Tensor) -> Tensor:
        return _ridge(z, v, weight, ridge)[1:]

    def by_regression(z: Tensor, v: Tensor, width: float, ridge: float) -> Tensor:
        return _ridge(z, v, torch.exp(-((1 - z.mean(1).sqrt()) ** 2) / (2 * width**2)), ridge)[1:]

    wide = _ridge(z, v, weight, ridge, on_b=True)
    mistakes = {
        "b is returned as well; return the d shares without it.": whole,
        "the coalitions are not weighted.": other(torch.ones_like(weight)),
        "the ridge is missing.": _ridge(z, v, weight, 0.0)[1:],
        "the ridge acts on b as well; the penalty is on the shares alone.": wide[1:],
        "the ridge acts on b as well, and b is returned; the penalty is on the shares alone.": wide,
        "the constant b is missing.": _ridge(z, v, weight, ridge, with_b=False),
        "the factor 2 in the kernel is missing: divide by 2 times the squared width.": other(weight**2),
        "the weights are applied only half: multiply both sides by their root, or one side by the weights.": (
            other(weight.sqrt())
        ),
        "the width is not squared.": other(torch.exp(-(distance**2) / (2 * width))),
        "the distance is not squared.": other(torch.exp(-distance / (2 * width**2))),
        "the distance is one less the root of the share shown; you took one less the share.": other(
            torch.exp(-((1 - z.mean(1)) ** 2) / (2 * width**2))
        ),
        "the distance is measured from the empty picture; LIME measures it from the whole one.": other(
            torch.exp(-((1 - (1 - z.mean(1)).sqrt()) ** 2) / (2 * width**2))
        ),
        "the weights grow with the distance; the sign in the exponent is turned.": other(1 / weight),
        "the sign of the shares is turned: a part that raises the score gets a plus.": -right,
        "the distance is the number of hidden parts; it is one less the root of the share shown.": other(
            torch.exp(-((1 - z).sum(1) ** 2) / (2 * width**2))
        ),
        "the width is not squared, and the factor 2 is missing.": other(torch.exp(-(distance**2) / width)),
        "the shares are multiplied by how often a part is shown; leave them as they are.": right * z.mean(0),
        "the distance is squared twice.": other(torch.exp(-(distance**4) / (2 * width**2))),
        "the distance takes the root of the number shown; take the root of the share.": other(
            torch.exp(-((1 - z.sum(1).sqrt()) ** 2) / (2 * width**2))
        ),
        "half of the ridge is added; the squares have no factor 1/2.": _ridge(z, v, weight, ridge / 2)[1:],
        "the ridge is doubled; add it as it is.": _ridge(z, v, weight, ridge * 2)[1:],
        "the ridge is multiplied by the number of coalitions; the errors are summed, not averaged.": _ridge(
            z, v, weight, ridge * len(z)
        )[1:],
        "the ridge is divided by the number of coalitions; the errors are summed, not averaged.": _ridge(
            z, v, weight, ridge / len(z)
        )[1:],
        "the weights are scaled to the sum 1, so the ridge counts for more; take them as they are.": other(
            weight / weight.sum()
        ),
        "the first share is missing, and b or another number stands at the end.": whole[[2, 3, 4, 5, 0]],
        "the last share is missing: b comes first, so begin behind it.": whole[:-1],
        "the ridge is squared; add it as it is.": _ridge(z, v, weight, ridge**2)[1:],
    }
    got = ask(function, z.clone(), v.clone(), width, ridge)
    name_the_mistake(got, mistakes, right, what="the shares", by=by_regression)
    again = ask(function, z[:30].clone(), v[:30].clone(), 0.5, 0.0)
    expected = _ridge(z[:30], v[:30], torch.exp(-(distance[:30] ** 2) / (2 * 0.5**2)), 0.0)[1:]
    name_the_mistake(again, {}, expected, what="the answer for another width and no ridge")
    return "the shares of five players, with a ridge and without."
