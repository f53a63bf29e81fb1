"""The checkers of lesson *can_you_trust_it* accept the folded solution, name each known mistake and wait."""

import torch

from answers import answer_tests
from helpers import evaluation
from helpers.checks import can_you_trust_it


def rows(function):
    """A grade of a batch, picture by picture: function(values [P], inside [P], k) -> number."""
    return lambda maps, masks: torch.stack(
        [torch.as_tensor(function(v, m, m.sum()), dtype=torch.float32)
         for v, m in zip(maps.flatten(1), masks.flatten(1), strict=True)]
    )  # fmt: skip


def topk(values, inside, k):
    return inside[values.topk(int(k)).indices].sum() / k


def first_come(values, inside, k):
    return inside[values.argsort(descending=True, stable=True)[:k]].sum() / k


def at_random(values, inside, k):
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(int(k)))
    return first_come(values[order], inside[order], k)


def last_value(values, k):
    return values.sort(descending=True).values[k - 1]


def inside_first(values, inside, k):
    order = (values.double() + 1e-9 * inside).argsort(descending=True)
    return inside[order[:k]].sum() / k


def many_shuffles(values, inside, k):
    """The expectation by hand: each value's chance of a place."""
    last = last_value(values, k)
    chance = torch.where(values > last, 1.0, 0.0)
    chance[values == last] = (k - (values > last).sum()) / (values == last).sum()
    return (chance * inside).sum() / k


def same_k(k_of):
    """Rank accuracy with one k for all pictures."""

    def graded(maps, masks):
        k = k_of(masks.flatten(1).sum(1))
        return rows(lambda v, m, _: many_shuffles(v, m, k))(maps, masks)

    return graded


def together(maps, masks):
    last = last_value(maps.flatten(), masks.sum())
    return ((maps >= last) & masks).sum((1, 2)) / masks.sum((1, 2))


def overwriting(maps, masks):
    result = evaluation.rank_accuracy(maps, masks)
    maps.relu_()
    return result


RIGHT_GRADES = {
    "helper": evaluation.rank_accuracy,
    "chances": rows(many_shuffles),
    "numpy": lambda maps, masks: evaluation.rank_accuracy(maps, masks).numpy(),
    "double": lambda maps, masks: evaluation.rank_accuracy(maps.double(), masks),
}
WRONG_GRADES = {
    "topk and argsort go by": rows(first_come),
    "with them, topk": rows(topk),
    "Share the last places.": rows(at_random),
    "Leave out abs()": lambda maps, masks: evaluation.rank_accuracy(maps.abs(), masks),
    "you choose the lowest": lambda maps, masks: evaluation.rank_accuracy(-maps, masks),
    "this is the mass accuracy": evaluation.mass_accuracy,
    "not the mean of all masks": same_k(lambda sizes: int(sizes.float().mean())),
    "the first mask's number": same_k(lambda sizes: int(sizes[0])),
    "divide by the picture's pixels": rows(lambda v, m, k: many_shuffles(v, m, k) * k / len(v)),
    "these are counts": rows(lambda v, m, k: many_shuffles(v, m, k) * k),
    "of all pictures together": together,
    "the pictures are mixed": lambda maps, masks: evaluation.rank_accuracy(maps, masks).mean(),
    "more than k are chosen": rows(lambda v, m, k: ((v >= last_value(v, k)) & m).sum() / k),
    "fewer than k are chosen": rows(lambda v, m, k: ((v > last_value(v, k)) & m).sum() / k),
    "those inside first": rows(inside_first),
    "wrote into `maps`": overwriting,
    "2 times too small": lambda maps, masks: evaluation.rank_accuracy(maps, masks) / 2,
    "has shape": lambda maps, masks: evaluation.rank_accuracy(maps, masks)[:, None],
}


ANSWERS = {"my_rank_accuracy": (RIGHT_GRADES, WRONG_GRADES)}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    can_you_trust_it, "can_you_trust_it", ANSWERS
)
