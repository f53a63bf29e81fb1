"""Checkers for the exercises of lesson *words*: exchange two words, and measure whether two words act together."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import Unknown, Wrong, ask, checker, name_the_mistake
from helpers.checks.diagnosis import HALF


def _firsts(ids: Tensor, one: int, other: int) -> Tensor:
    """Return the texts where only the first of each of the two words is exchanged."""
    new = ids.clone()
    for word, goal in ((one, other), (other, one)):
        found = ids == word
        new[found & (found.cumsum(1) == 1)] = goal
    return new


@checker
def check_swap(function: Callable[[Tensor, int, int], Tensor]) -> str:
    """Check ``function(ids [N, L], one, other) -> ids`` with the two words exchanged, in three texts and one word."""
    one, other = 7, 3
    ids = torch.randint(0, 10, (12, 9), generator=torch.Generator().manual_seed(17))
    ids[0, :4] = torch.tensor([one, other, one, one])
    ids[1][(ids[1] == one) | (ids[1] == other)] = 5  # a text with neither
    ids[:, 7:] = 0
    was_one, was_other = ids == one, ids == other
    expected = ids.clone()
    expected[was_one], expected[was_other] = other, one
    got = ask(function, ids.clone(), one, other)
    if isinstance(got, Tensor) and got.dtype == torch.bool:
        raise Wrong("this is a mask; return the numbers of the words themselves.")
    mistakes = {
        "both are now the first word. If you replace twice, the second step also takes what the first has just "
        "written: find both places before you write.": torch.where(was_other, one, ids),
        "both are now the other word; those that were the other must become the first.": torch.where(
            was_one, other, ids
        ),
        "nothing is exchanged; does your function return the new numbers?": ids,
        "the padding has changed; it is word 0 and stays.": torch.where(ids == 0, other, expected),
        "only the first of each word in a text is exchanged; exchange them wherever they stand.": lambda: _firsts(
            ids, one, other
        ),
        "only texts that hold both words are changed; exchange them wherever they stand.": torch.where(
            was_one.any(1, keepdim=True) & was_other.any(1, keepdim=True), expected, ids
        ),
        "both words have the number one + other now; each takes the other's number.": torch.where(
            was_one | was_other, one + other, ids
        ),
        "positions are exchanged; `one` and `other` are numbers of words, wherever they stand.": lambda: (
            ids.index_select(1, torch.tensor([{one: other, other: one}.get(k, k) for k in range(9)]))
        ),
        "whole texts are changed; exchange the two words and leave the rest.": torch.where(
            was_one.any(1, keepdim=True) | was_other.any(1, keepdim=True), one + other - ids, ids
        ),
    }
    name_the_mistake(
        got,
        mistakes,
        expected,
        what="the texts",
        by=lambda ids, one, other: torch.where(ids == one, other, torch.where(ids == other, one, ids)),
    )
    if torch.as_tensor(got).is_floating_point():
        raise Wrong("the values are right, but they are floats; an embedding takes whole numbers.")
    name_the_mistake(ask(function, expected.clone(), one, other), {}, ids, what="the texts after a second exchange")
    return "done twice, it gives the texts back."


def _factors(got: Tensor, m: Tensor) -> str:
    """Return the factors with which the margins m [2, 2, N] add up to an answer [N], in words; "" if they do not."""
    if got.shape != m.shape[2:]:
        return ""
    factors = torch.linalg.lstsq(m.flatten(0, 1).T, got[:, None]).solution[:, 0]
    if not torch.allclose(factors @ m.flatten(0, 1), got, atol=1e-4 * m.abs().max().item()):
        return ""
    places = ("m[0, 0]", "m[0, 1]", "m[1, 0]", "m[1, 1]")
    kept = zip(factors.tolist(), places, strict=True)
    return " ".join(f"{f:+.3g} {place}" for f, place in kept if abs(f) > 1e-3)


@checker
def check_interaction(function: Callable[[Tensor], Tensor]) -> str:
    """Check ``function(margins [2, 2, N]) -> [N]``, the second difference, and that it sees a sum for a sum."""
    m = 4 * torch.randn(2, 2, 30, generator=torch.Generator().manual_seed(18))
    affirmed, denied = m[0, 1] - m[0, 0], m[1, 1] - m[1, 0]
    expected = affirmed - denied
    mistakes = {
        "you add the two differences; an effect that stays the same must cancel.": affirmed + denied,
        "this is what the adjective does in a verdict that is affirmed; take off what it does in a denial.": affirmed,
        "this is what the adjective does in a denial; take it off what it does in one affirmed.": denied,
        "the sign is turned: affirmed less denied.": -expected,
        "this is the mean over reviews; return one number for each.": expected.mean(),
        "keep the sign; it says which way the words act together.": expected.abs(),
        "this is what the denial does, not whether it depends on the adjective.": m[1].mean(0) - m[0].mean(0),
        "the adjective comes second, margins[:, 1] - margins[:, 0]; here it is mixed with the denial.": (
            (m[1, 0] - m[0, 0]) - (m[0, 1] - m[1, 1])
        ),
        "this is one change of both words at once; take the difference of two differences.": m[1, 1] - m[0, 0],
        "this is one change of both words at once, with the sign turned.": m[0, 0] - m[1, 1],
        "one sign is wrong: subtract the second difference as a whole, with brackets.": (
            m[0, 1] - m[0, 0] - m[1, 1] - m[1, 0]
        ),
        "the differences have lost their signs before they are subtracted; keep them.": affirmed.abs() - denied.abs(),
        "this is the spread of the four margins; take the difference of two differences.": m.std((0, 1)),
        "this is what the denial does to a good adjective; take the difference of two differences.": m[0, 1] - m[1, 1],
        "this is what the denial does to a bad adjective; take the difference of two differences.": m[0, 0] - m[1, 0],
        "the two differences are multiplied; subtract the second.": affirmed * denied,
        "the two differences are divided; subtract the second.": affirmed / denied,
        "this is the sum of all four margins; take the difference of two differences.": m.sum((0, 1)),
        "these are differences of probabilities; take the margins as they are.": (
            (lambda p: (p[0, 1] - p[0, 0]) - (p[1, 1] - p[1, 0]))(m.sigmoid())
        ),
        "this only says whether the verdict turns; take the margins.": ((m[0, 1] > 0) ^ (m[1, 1] > 0)).double(),
        "this is half of it; no mean is needed, there is one review of each kind.": expected / 2,
    }
    got = ask(function, m.clone())
    try:
        name_the_mistake(
            got, mistakes, expected, what="the interaction", by=lambda m: (m[0, 1] - m[0, 0]) - (m[1, 1] - m[1, 0])
        )
    except Unknown:
        if factors := _factors(torch.as_tensor(got).double(), m.double()):
            raise Wrong(f"you add up {factors}; asked for is a difference of two differences.") from None
        raise
    parts = torch.randn(2, 1, 5, dtype=torch.double), torch.randn(1, 2, 5, dtype=torch.double)
    zeros = torch.zeros(5, dtype=torch.double)
    got = torch.as_tensor(ask(function, parts[0] + parts[1]))
    half, got = got.dtype in HALF, got.double()
    if not torch.allclose(got, zeros, atol=4e-3 if half else 1e-9):
        raise Wrong("a sum of something for the denial and something for the adjective must give zero.")
    return "zero where every word adds its own, whatever the others say."
