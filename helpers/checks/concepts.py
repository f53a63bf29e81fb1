"""Checkers of lesson *concepts*: a concept vector and its accuracy, a two-sided p-value, a part taken away."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import Unknown, Wrong, ask, checker, name_the_mistake
from helpers.evaluation import null_p_value


def _mean_vector(
    concept: Tensor,
    others: Tensor,
    *,
    learn: Callable = lambda rows: rows[: len(rows) // 2],
    test: Callable = lambda rows: rows[len(rows) // 2 :],
    limit: Callable = lambda here, there: (here + there) / 2,
    vector: Callable = lambda here, there: here - there,
    sign: int = 1,
    unit: bool = True,
) -> tuple[Tensor, float]:
    here, there = learn(concept).mean(0), learn(others).mean(0)
    v = sign * vector(here, there)
    v = v / v.norm() if unit else v
    cut = limit(here, there) @ v
    right = torch.cat([test(concept) @ v > cut, test(others) @ v <= cut])
    return v, right.float().mean().item()


def _as_one(answer: object) -> Tensor:
    """Return what a student's function gives as one tensor: the vector, and behind it the accuracy."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong(f"two things are asked for, the vector and the accuracy; this is a {type(answer).__name__}.")
    vector, accuracy = (torch.as_tensor(part).detach().cpu().double() for part in answer)
    if vector.numel() == 1 and accuracy.numel() > 1:
        raise Wrong("the accuracy comes first; return the vector, then the accuracy.")
    if accuracy.numel() != 1:
        raise Wrong(f"the accuracy has shape {list(accuracy.shape)}; give one number for both sets together.")
    if vector.dim() != 1:
        raise Wrong(f"the vector has shape {list(vector.shape)}; average over the rows, so that [K] is left.")
    return torch.cat([vector, accuracy.reshape(1)])


@checker
def check_mean_vector(function: Callable[[Tensor, Tensor], tuple[Tensor, float]]) -> str:
    """Check ``function(concept [N, K], others [M, K]) -> (vector [K], accuracy)`` on random rows, N unlike M."""
    random = torch.Generator().manual_seed(63)
    concept = torch.randn(40, 60, generator=random) + 0.3
    others = torch.randn(24, 60, generator=random) + 0.3
    concept[:, 7] += 3.2  # with this seed each mistake gives another accuracy
    whole = {"learn": lambda rows: rows, "test": lambda rows: rows}
    variants = {
        "the vector points from the concept to the others; take the mean of the concept minus that of the others.": {
            "sign": -1
        },
        "the vector has not the length 1; divide it by its norm.": {"unit": False},
        "the accuracy is that of the halves that the vector was learnt from; count on the second halves.": {
            "test": lambda rows: rows[: len(rows) // 2]
        },
        "all rows were used to learn and to count, so nothing was held out.": whole,
        "the vector was learnt from all rows, also from those that are held out.": {"learn": lambda rows: rows},
        "the halves are exchanged: learn from the first, count on the second.": {
            "learn": lambda rows: rows[len(rows) // 2 :],
            "test": lambda rows: rows[: len(rows) // 2],
        },
        "the vector is the mean of the concept alone; subtract that of the others.": {
            "vector": lambda here, there: here
        },
        "the limit is 0; it is the product of the vector with the point half-way between the two means.": {
            "limit": lambda here, there: 0 * here
        },
        "the limit is the mean of the others; take the point half-way between the two means.": {
            "limit": lambda here, there: there
        },
        "the limit lies a quarter of the way from the concept's mean; take half-way.": {
            "limit": lambda here, there: 0.75 * here + 0.25 * there
        },
        "the halves are every other row; take the first half and the second half.": {
            "learn": lambda rows: rows[::2],
            "test": lambda rows: rows[1::2],
        },
        "the limit is the mean of the concept; take the point half-way between the two means.": {
            "limit": lambda here, there: here
        },
    }
    mistakes = {hint: _as_one(_mean_vector(concept, others, **how)) for hint, how in variants.items()}
    right = _as_one(_mean_vector(concept, others))
    only = right.clone()
    v, cut = right[:-1].float(), ((concept[:20].mean(0) + others[:12].mean(0)) / 2) @ right[:-1].float()
    hit, miss = (concept[20:] @ v > cut).double().mean(), (others[12:] @ v <= cut).double().mean()
    for hint, value in (
        ("the accuracy counts the concept's rows alone; the others that are rightly refused belong to it, too.", hit),
        ("the accuracy counts the others' rows alone.", miss),
        (
            "the accuracy is the mean of the two sets' accuracies; count right rows of both sets together.",
            (hit + miss) / 2,
        ),
        ("the accuracy is in per cent; give a share from 0 to 1.", 100 * only[-1]),
        (
            "the limit is the mean of all rows together; take the point half-way between the two means.",
            torch.cat(
                [
                    concept[20:] @ v > torch.cat([concept[:20], others[:12]]).mean(0) @ v,
                    others[12:] @ v <= torch.cat([concept[:20], others[:12]]).mean(0) @ v,
                ]
            )
            .double()
            .mean(),
        ),
        ("this is the number of right rows; divide it by the number of rows.", 32 * only[-1]),
        ("this is the accuracy on the better of the two sets; count both together.", torch.maximum(hit, miss)),
        ("this is the share of rows that are wrong.", 1 - only[-1]),
    ):
        mistakes[hint] = torch.cat([only[:-1], torch.as_tensor(value).reshape(1).double()])
    got = _as_one(ask(function, concept.clone(), others.clone()))
    try:
        name_the_mistake(
            got,
            mistakes,
            right,
            what="the vector with its accuracy",
            by=lambda concept, others: _as_one(_mean_vector(concept, others)),
        )
    except Unknown:
        name_the_mistake(
            got[:-1], {}, right[:-1], what="the vector", by=lambda concept, others: _mean_vector(concept, others)[0]
        )
        name_the_mistake(
            got[-1], {}, right[-1], what="the accuracy", by=lambda concept, others: _mean_vector(concept, others)[1]
        )
    return "a unit vector towards the concept, and its accuracy on rows that it has not seen."


@checker
def check_p_value(function: Callable[[float, Tensor], float]) -> str:
    """Check ``function(score, null_scores [Q]) -> float`` on scores on both sides of their median, and with ties."""
    random = torch.Generator().manual_seed(79)
    skewed = 0.3 + 0.6 * torch.rand(29, generator=random) ** 0.6
    for score, nulls in (  # with the first pair each mistake gives another number
        (0.4, torch.cat([skewed, torch.full((4,), 0.4)])),
        (0.71, 0.3 + 0.5 * torch.rand(32, generator=random)),
        (0.25, 0.35 + 0.3 * torch.rand(33, generator=random)),
    ):
        every = torch.cat([torch.tensor([score]), nulls])
        far = (every - every.quantile(0.5)).abs()
        mean = (every - every.mean()).abs()
        half = (every - 0.5).abs()
        mistakes = {
            "the concept itself is not counted, so that p may be 0; it is one of the Q + 1 scores.": (
                (far[1:] >= far[0]).float().mean()
            ),
            "this test is one-sided: a score far below the median counts as much as one far above it.": (
                (every >= score).float().mean()
            ),
            "this test is one-sided, to the lower side; take the distance from the median.": (
                (every <= score).float().mean()
            ),
            "scores that lie exactly as far do not count; use >=.": (far > far[0]).float().mean(),
            "the distance is taken from 1/2; null concepts need not lie there. Take it from the median.": (
                (half >= half[0]).float().mean()
            ),
            "the distance is taken from the mean; take it from the median.": (mean >= mean[0]).float().mean(),
            "your median is the lower of the two middle scores; quantile(0.5) is the mean of both.": (
                (lambda d: (d >= d[0]).float().mean())((every - every.median()).abs())
            ),
            "the median is that of the null scores; take it of all Q + 1 scores.": (
                (lambda d: (d >= d[0]).float().mean())((every - nulls.quantile(0.5)).abs())
            ),
            "this doubles the smaller of the two one-sided values; take the distance from the median.": 2
            * torch.minimum((nulls >= score).float().mean(), (nulls <= score).float().mean()),
            "this doubles the smaller of the two one-sided values; take the distance from the median. (Of Q + 1.)": 2
            * torch.minimum((every >= score).float().mean(), (every <= score).float().mean()),
            "this is the smaller of the two one-sided values; take the distance from the median, to both sides.": (
                torch.minimum((nulls >= score).float().mean(), (nulls <= score).float().mean())
            ),
            "this is the smaller of the two one-sided values; take the distance from the median. (Of Q + 1.)": (
                torch.minimum((every >= score).float().mean(), (every <= score).float().mean())
            ),
            "this is one-sided, and scores that tie count by half; count those at least as far from the median.": (
                (nulls > score).float().mean() + (nulls == score).float().mean() / 2
            ),
            "you take one off the count; the concept's own score counts.": ((far >= far[0]).sum() - 1) / len(every),
            "the concept is counted twice, it is among the scores already.": ((far >= far[0]).sum() + 1)
            / (len(every) + 1),
            "you divide by Q; there are Q + 1 scores.": (far >= far[0]).sum() / len(nulls),
            "this is how many lie as near to the median, or nearer; take those at least as far.": (
                (far <= far[0]).float().mean()
            ),
            "this takes the scores for normally distributed; count them.": 2
            * torch.special.ndtr(-(score - nulls.mean()).abs() / nulls.std()),
            "this is a distance in standard deviations; count the scores that lie as far.": (
                (score - nulls.mean()).abs() / nulls.std()
            ),
            "this is how many lie nearer to the median, 1 - p.": (far < far[0]).float().mean(),
            "this is the number of scores; divide it by Q + 1.": (far >= far[0]).float().sum(),
        }
        got = ask(function, score, nulls.clone())
        name_the_mistake(
            torch.as_tensor(got).reshape(()), mistakes, null_p_value(score, nulls), what="the p-value", by=null_p_value
        )
    return "the rank of the concept among the null concepts, to both sides."


@checker
def check_without(function: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> str:
    """Check ``function(maps [N, K, h, w], amounts [N, R, h, w], directions [R, K], r)`` on a random decomposition."""
    random = torch.Generator().manual_seed(6)
    amounts = torch.rand(2, 4, 3, 5, generator=random)
    directions = torch.rand(4, 6, generator=random)
    directions /= directions.norm(dim=1, keepdim=True)
    maps = torch.einsum("nrij,rk->nkij", amounts, directions)
    maps = maps + 0.6 * torch.randn(maps.shape, generator=random)
    r = 2
    part = torch.einsum("nij,k->nkij", amounts[:, r], directions[r])
    all_parts = torch.einsum("nrij,rk->nkij", amounts, directions)
    on_direction = torch.einsum("nkij,k->nij", maps, directions[r])
    mistakes = {
        "nothing has changed.": maps,
        "the part has been added; subtract it.": maps + part,
        "this is the part alone; it has to be taken away from the maps.": part,
        "this is the sum of the other parts; what no part explains has to stay in the maps.": all_parts - part,
        "all parts have been taken away; subtract part r alone.": maps - all_parts,
        "half of the part has been taken away; take all of it.": maps - part / 2,
        "the part has been taken away twice.": maps - 2 * part,
        "this is part 0; take away part r.": maps - torch.einsum("nij,k->nkij", amounts[:, 0], directions[0]),
        "this is the part behind: r counts from 0.": maps
        - torch.einsum("nij,k->nkij", amounts[:, r + 1], directions[r + 1]),
        "the parts before r have been taken away, too.": maps
        - torch.einsum("nrij,rk->nkij", amounts[:, : r + 1], directions[: r + 1]),
        "all directions are added up; take direction r.": maps
        - torch.einsum("nij,k->nkij", amounts[:, r], directions.sum(0)),
        "the amounts of all parts are added up; take that of part r.": maps
        - torch.einsum("nij,k->nkij", amounts.sum(1), directions[r]),
        "the direction is squared; multiply by it once.": maps
        - torch.einsum("nij,k->nkij", amounts[:, r], directions[r] ** 2),
        "the channels of the direction are turned round.": maps
        - torch.einsum("nij,k->nkij", amounts[:, r], directions[r].flip(0)),
        "the largest amount of all parts is taken away; take that of part r.": maps
        - torch.einsum("nij,k->nkij", amounts.amax(1), directions[r]),
        "the maps are multiplied by 1 minus the part; subtract it.": maps * (1 - part),
        "the amount is averaged over the pictures, too; take away what is there.": maps
        - (directions[r] * amounts[:, r].mean())[:, None, None],
        "this is another part: r counts from 0.": maps - torch.einsum("nij,k->nkij", amounts[:, 1], directions[1]),
        "you have projected the maps on the direction; the amounts of the decomposition are given.": (
            maps - torch.einsum("nij,k->nkij", on_direction, directions[r])
        ),
        "the amount is averaged over the places; take away at each place what is there.": (
            maps - torch.einsum("n,k->nk", amounts[:, r].mean((1, 2)), directions[r])[:, :, None, None]
        ),
        "the amount at a place is taken away from all channels alike; multiply it by the direction.": (
            maps - amounts[:, r, None]
        ),
        "the direction is taken away without its amount.": maps - directions[r][:, None, None],
        "negative values have been set to zero; leave them.": (maps - part).relu(),
        "the amounts of the first picture were used for all.": (
            maps - torch.einsum("ij,k->kij", amounts[0, r], directions[r])
        ),
    }
    got = ask(function, maps.clone(), amounts.clone(), directions.clone(), r)
    name_the_mistake(
        got,
        mistakes,
        maps - part,
        what="the maps",
        by=lambda maps, amounts, directions, r: maps - torch.einsum("nij,k->nkij", amounts[:, r], directions[r]),
    )
    got = ask(function, maps.clone(), amounts.clone(), directions.clone(), 1)
    right = maps - torch.einsum("nij,k->nkij", amounts[:, 1], directions[1])
    ignored = {"another part than r is taken away, now that r is 1.": maps - part}
    name_the_mistake(got, ignored, right, what="the maps without part 1")
    return "the maps without one part; all else is still there."
