"""The checkers of lesson *concepts* accept the folded solutions, name known mistakes and wait."""

import numpy as np
import torch
from sklearn.neighbors import NearestCentroid

from answers import answer_tests
from helpers.checks import concepts


def mean_vector(concept, others, limit=None, learn=slice(0, None), unit=True, sign=1, count="test"):
    n, m = len(concept) // 2, len(others) // 2
    here, there = concept[:n].mean(0), others[:m].mean(0)
    v = sign * (here - there)
    v = v / v.norm() if unit else v
    cut = (here + there) / 2 @ v if limit is None else limit(here, there) @ v
    rows = (concept[n:], others[m:]) if count == "test" else (concept[:n], others[:m])
    return v, (torch.cat([rows[0] @ v > cut, rows[1] @ v <= cut])).float().mean()


def with_sklearn(concept, others):
    """A third way: the nearest of two centroids is the side of the plane half-way between them."""
    n, m = len(concept) // 2, len(others) // 2
    v, _ = mean_vector(concept, others)
    nearest = NearestCentroid().fit(torch.cat([concept[:n], others[:m]]).numpy(), [1] * n + [0] * m)
    held_out = torch.cat([concept[n:], others[m:]]).numpy()
    return v.numpy(), nearest.score(held_out, [1] * (len(concept) - n) + [0] * (len(others) - m))


def from_everything(concept, others):
    v = concept.mean(0) - others.mean(0)
    v = v / v.norm()
    cut = (concept.mean(0) + others.mean(0)) / 2 @ v
    return v, torch.cat([concept @ v > cut, others @ v <= cut]).float().mean()


def per_cent(concept, others):
    v, accuracy = mean_vector(concept, others)
    return v, 100 * accuracy


def changed(concept, others):
    answer = mean_vector(concept, others)
    concept -= concept.mean(0)
    return answer


def of_both_sets(concept, others):
    v, _ = mean_vector(concept, others)
    n, m = len(concept) // 2, len(others) // 2
    cut = (concept[:n].mean(0) + others[:m].mean(0)) / 2 @ v
    return v, ((concept[n:] @ v > cut).float().mean() + (others[m:] @ v <= cut).float().mean()) / 2


def every(score, nulls):
    return torch.cat([torch.tensor([score]), nulls])


def far(score, nulls):
    return (every(score, nulls) - every(score, nulls).quantile(0.5)).abs()


def p_with_numpy(score, nulls):
    scores = np.append(nulls.numpy(), np.float32(score))
    distance = np.abs(scores - np.median(scores))
    return float(np.mean(distance >= distance[-1] - 1e-7))


def p_in_a_loop(score, nulls):
    distances = far(score, nulls).tolist()
    return (1 + sum(one >= distances[0] for one in distances[1:])) / len(distances)


def part(amounts, directions, r):
    return torch.einsum("nij,k->nkij", amounts[:, r], directions[r])


def in_a_loop(maps, amounts, directions, r):
    maps = maps.clone()
    for k in range(maps.shape[1]):
        maps[:, k] -= amounts[:, r] * directions[r, k]
    return maps


def in_place(maps, amounts, directions, r):
    maps -= part(amounts, directions, r)
    return maps


def others_only(maps, amounts, directions, r):
    return torch.einsum("nrij,rk->nkij", amounts, directions) - part(amounts, directions, r)


ANSWERS = {
    "mean_vector": (
        {
            "plain": mean_vector,
            "half precision of the accuracy alone": lambda c, o: (mean_vector(c, o)[0], mean_vector(c, o)[1].double()),
            "scikit-learn": with_sklearn,
            "a list": lambda c, o: list(mean_vector(c, o)),
        },
        {
            "points from the concept to the others": lambda c, o: mean_vector(c, o, sign=-1),
            "not the length 1": lambda c, o: mean_vector(c, o, unit=False),
            "learnt from; count on the second halves": lambda c, o: mean_vector(c, o, count="train"),
            "nothing was held out": from_everything,
            "the limit is 0": lambda c, o: mean_vector(c, o, limit=lambda here, there: 0 * here),
            "the limit is the mean of the others": lambda c, o: mean_vector(c, o, limit=lambda here, there: there),
            "in per cent": per_cent,
            "mean of the two sets' accuracies": of_both_sets,
            "share of rows that are wrong": lambda c, o: (mean_vector(c, o)[0], 1 - mean_vector(c, o)[1]),
            "the accuracy comes first": lambda c, o: mean_vector(c, o)[::-1],
            "two things are asked for": lambda c, o: mean_vector(c, o)[0],
            "wrote into `concept`": changed,
        },
    ),
    "p_value": (
        {
            "plain": lambda s, n: (far(s, n) >= far(s, n)[0]).float().mean(),
            "numpy": p_with_numpy,
            "a loop": p_in_a_loop,
            "shape [1]": lambda s, n: (far(s, n) >= far(s, n)[0]).float().mean()[None],
        },
        {
            "is not counted": lambda s, n: (far(s, n)[1:] >= far(s, n)[0]).float().mean(),
            "one-sided: a score far below": lambda s, n: (every(s, n) >= s).float().mean(),
            "to the lower side": lambda s, n: (every(s, n) <= s).float().mean(),
            "use >=": lambda s, n: (far(s, n) > far(s, n)[0]).float().mean(),
            "taken from 1/2": lambda s, n: ((every(s, n) - 0.5).abs() >= abs(s - 0.5) - 1e-7).float().mean(),
            "1 - p": lambda s, n: (far(s, n) < far(s, n)[0]).float().mean(),
            "divide it by Q + 1": lambda s, n: (far(s, n) >= far(s, n)[0]).sum(),
        },
    ),
    "without": (
        {
            "plain": lambda m, a, d, r: m - part(a, d, r),
            "broadcasting": lambda m, a, d, r: m - a[:, r, None] * d[r][None, :, None, None],
            "a loop": in_a_loop,
            "numpy": lambda m, a, d, r: m.numpy() - np.einsum("nij,k->nkij", a[:, r].numpy(), d[r].numpy()),
        },
        {
            "nothing has changed": lambda m, a, d, r: m,
            "has been added": lambda m, a, d, r: m + part(a, d, r),
            "the part alone": lambda m, a, d, r: part(a, d, r),
            "sum of the other parts": others_only,
            "all parts have been taken away": lambda m, a, d, r: m - torch.einsum("nrij,rk->nkij", a, d),
            "r counts from 0": lambda m, a, d, r: m - part(a, d, r - 1),
            "projected": lambda m, a, d, r: m - torch.einsum("nkij,k,l->nlij", m, d[r], d[r]),
            "averaged over the places": lambda m, a, d, r: m - (a[:, r].mean((1, 2))[:, None] * d[r])[:, :, None, None],
            "from all channels alike": lambda m, a, d, r: m - a[:, r, None],
            "without its amount": lambda m, a, d, r: m - d[r][:, None, None],
            "set to zero": lambda m, a, d, r: (m - part(a, d, r)).relu(),
            "first picture": lambda m, a, d, r: m - part(a[:1], d, r),
            "wrote into `maps`": in_place,
            "the maps without part 1": lambda m, a, d, r: m - part(a, d, -r),
        },
    ),
}
(
    test_the_folded_solution_is_right_and_a_blank_is_not_wrong,
    test_any_right_way_is_accepted,
    test_a_wrong_answer_gets_its_own_hint,
    test_strict_refuses_a_wrong_answer,
) = answer_tests(concepts, "concepts", ANSWERS)
