"""The checkers of lesson *lime_and_shap* accept the folded solutions, name known mistakes and wait."""

import itertools
import math

import numpy as np
import torch

from answers import answer_tests
from helpers.checks import lime_and_shap


def players(v):
    return int(math.log2(len(v)))


def by_orders(v):
    d = players(v)
    phi = [0.0] * d
    for order in itertools.permutations(range(d)):
        shown = 0
        for i in order:
            phi[i] += float(v[shown | 1 << i] - v[shown])
            shown |= 1 << i
    return [value / math.factorial(d) for value in phi]


def with_numpy(v):
    v, d = v.numpy(), players(v)
    number = np.arange(2**d)
    size = np.array([bin(k).count("1") for k in number])
    phi = np.zeros(d)
    for i in range(d):
        out = number[(number >> i & 1) == 0]
        weight = [1 / (d * math.comb(d - 1, s)) for s in size[out]]
        phi[i] = (weight * (v[out | 1 << i] - v[out])).sum()
    return phi


def by_least_squares(v):
    d = players(v)
    z = (torch.arange(2**d)[:, None] >> torch.arange(d) & 1).double()
    s = z.sum(1)
    w = torch.tensor([1 / (math.comb(d, int(k)) * k * (d - k)) if 0 < k < d else 0 for k in s.tolist()]).double()
    inverse = torch.linalg.inv(z.T @ (w[:, None] * z))
    r = z.T @ (w * (v - v[0]))
    return inverse @ (r - ((inverse @ r).sum() - v[-1] + v[0]) / inverse.sum())


def gains(v, weight, swap=False):
    d = players(v)
    phi = torch.zeros(d, dtype=torch.double)
    for i in range(d):
        bit = d - 1 - i if swap else i
        for k in range(2**d):
            if not k >> bit & 1:
                phi[i] += weight(bin(k).count("1"), d) * (v[k | 1 << bit] - v[k])
    return phi


def chance(s, d):
    return 1 / (d * math.comb(d - 1, s))


def table_in_place(v):
    phi = gains(v, chance)
    v -= v[0].clone()
    return phi


def without_the_empty(v):
    v = v.clone()
    v[0] = 0
    return gains(v, chance)


def lone(v):
    return torch.stack([v[2**i] - v[0] for i in range(players(v))])


def left_out(v):
    return torch.stack([v[-1] - v[len(v) - 1 - 2**i] for i in range(players(v))])


TABLES = (
    {"all orders, a list": by_orders, "numpy": with_numpy, "least squares": by_least_squares},
    {
        "Banzhaf": lambda v: gains(v, lambda s, d: 1 / 2 ** (d - 1)),
        "only added up": lambda v: gains(v, lambda s, d: 1),
        "this is leave-one-out": left_out,
        "this is one alone": lone,
        "all coalitions between": lambda v: (lone(v) + left_out(v)) / 2,
        "the sign is turned": lambda v: -gains(v, chance),
        "the factor 1/d": lambda v: gains(v, lambda s, d: 1 / math.comb(d - 1, s)),
        "the binomial is that of d": lambda v: gains(v, lambda s, d: 1 / (d * math.comb(d, s))),
        "the size in the weight": lambda v: gains(
            v, lambda s, d: math.factorial(s + 1) * math.factorial(max(d - s - 2, 0)) / math.factorial(d)
        ),
        "opposite order": lambda v: gains(v, chance, swap=True),
        "scaled to the worth": lambda v: gains(v, chance) * v[-1] / (v[-1] - v[0]),
        "is not zero": without_the_empty,
        "wrote into `v`": table_in_place,
        "every value of the": lambda v: torch.zeros(players(v)),
        "has shape": lambda v: gains(v, chance)[None],
    },
)


def lime(z, v, width, ridge, *, kernel=None, on_b=False, with_b=True, from_=1):
    z, v = z.double(), v.double()
    distance = 1 - z.mean(1).sqrt()
    weight = torch.exp(-(distance**2) / (2 * width**2)) if kernel is None else kernel(z.mean(1), width)
    columns = torch.cat([torch.ones(len(z), 1), z], 1) if with_b else z
    penalty = ridge * torch.eye(columns.shape[1]).double()
    if not on_b and with_b:
        penalty[0, 0] = 0
    A = columns.T @ (weight[:, None] * columns) + penalty
    return torch.linalg.solve(A, columns.T @ (weight * v))[from_:]


def centred(z, v, width, ridge):
    """Take the weighted means off in place of a column of ones, in numpy."""
    z, v = z.numpy(), v.numpy()
    w = np.exp(-((1 - np.sqrt(z.mean(1))) ** 2) / (2 * width**2))
    z = z - np.average(z, axis=0, weights=w)
    v = v - np.average(v, weights=w)
    return np.linalg.solve(z.T @ (w[:, None] * z) + ridge * np.eye(z.shape[1]), z.T @ (w * v))


def scikit(z, v, width, ridge):
    from sklearn.linear_model import Ridge

    w = torch.exp(-((1 - z.mean(1).sqrt()) ** 2) / (2 * width**2))
    return Ridge(alpha=ridge).fit(z.numpy(), v.numpy(), sample_weight=w.numpy()).coef_


def lime_in_place(z, v, width, ridge):
    found = lime(z, v, width, ridge)
    v -= v.mean()
    return found


def rooted(z, v, width, ridge):
    """Multiply columns and worths by the fourth root: the weights act half."""
    return lime(z, v, width, ridge, kernel=lambda s, k: torch.exp(-((1 - s.sqrt()) ** 2) / (2 * k**2)).sqrt())


def kerneled(kernel):
    return lambda z, v, width, ridge: lime(z, v, width, ridge, kernel=kernel)


RIDGES = (
    {"weighted means off, numpy": centred, "scikit-learn": scikit},
    {
        "b is returned as well": lambda *a: lime(*a, from_=0),
        "not weighted": kerneled(lambda s, k: torch.ones_like(s)),
        "the ridge is missing": lambda z, v, width, ridge: lime(z, v, width, 0),
        "acts on b as well; the": lambda *a: lime(*a, on_b=True),
        "acts on b as well, and b": lambda *a: lime(*a, on_b=True, from_=0),
        "the constant b is missing": lambda *a: lime(*a, with_b=False, from_=0),
        "the factor 2": kerneled(lambda s, k: torch.exp(-((1 - s.sqrt()) ** 2) / k**2)),
        "applied only half": rooted,
        "the width is not squared": kerneled(lambda s, k: torch.exp(-((1 - s.sqrt()) ** 2) / (2 * k))),
        "the distance is not squared": kerneled(lambda s, k: torch.exp(-(1 - s.sqrt()) / (2 * k**2))),
        "you took one less the share": kerneled(lambda s, k: torch.exp(-((1 - s) ** 2) / (2 * k**2))),
        "from the empty picture": kerneled(lambda s, k: torch.exp(-((1 - (1 - s).sqrt()) ** 2) / (2 * k**2))),
        "grow with the distance": kerneled(lambda s, k: torch.exp((1 - s.sqrt()) ** 2 / (2 * k**2))),
        "the sign of the shares": lambda *a: -lime(*a),
        "the ridge is squared": lambda z, v, width, ridge: lime(z, v, width, ridge**2),
        "wrote into `v`": lime_in_place,
        "every value of the": lambda z, v, width, ridge: torch.zeros(5),
        "stays the same when `width` changes": lambda z, v, width, ridge: lime(z, v, 0.3, 0.7),
    },
)

(
    test_the_folded_solution_is_right_and_a_blank_is_not_wrong,
    test_any_right_way_is_accepted,
    test_a_wrong_answer_gets_its_own_hint,
    test_strict_refuses_a_wrong_answer,
) = answer_tests(lime_and_shap, "lime_and_shap", {"shapley_from_table": TABLES, "lime_with_ridge": RIDGES})
