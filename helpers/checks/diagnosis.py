"""What is wrong with an answer that is no known mistake of its exercise: a factor, a sign, an order, a place, a step.

Each sentence is a fact about the answer, tried and found true within the tolerance; ``{what}`` names the answer.
"""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers.checks import behaviour, factors, places, steps, variants
from helpers.checks.behaviour import Case, same
from helpers.checks.steps import axes_in_words, groups

HALF = {torch.float16: 4e-3, torch.bfloat16: 8e-3}  # how far rounding may go, as a share of the largest value


def rounding_of(answer: Any) -> float:
    """Return how far an answer may be off because it is held in half precision, 0 if it is not."""
    if isinstance(answer, list | tuple):
        return max(map(rounding_of, answer), default=0.0)
    if isinstance(answer, np.ndarray | np.generic):
        return HALF[torch.float16] * (answer.dtype == np.float16)
    if not isinstance(answer, Tensor) or not answer.is_floating_point() or answer.numel() < 3:
        return HALF.get(getattr(answer, "dtype", None), 0.0)
    cut = answer.detach().float()
    back = any(torch.equal(cut, cut.to(kind).float()) and not torch.equal(cut, cut.round()) for kind in HALF)
    return HALF.get(answer.dtype, HALF[torch.float16] * back)


def first_difference(got: Tensor, right: Tensor, tolerance: float) -> str:
    """Return one sentence: where the first wrong value stands, what it is, and what it should be."""
    wrong = ~((got - right).abs() <= tolerance * (right.abs().max().item() or 1.0))
    if not wrong.any():
        return ""
    at = wrong.nonzero()[0].tolist()
    where = f"The first wrong value is at {at}: it is" if at else "It is"
    return f" {where} {got[tuple(at)].item():.4g} and should be {right[tuple(at)].item():.4g}."


def worded(sentence: str, what: str) -> str:
    """Put the name of the answer into a sentence, with verbs in the singular or the plural."""
    before = ("of", "for", "after", "at", "in", "with", "where")
    last = [*itertools.takewhile(lambda word: word.strip("(") not in before, what.split())][-1].strip(",")
    many = last.endswith("s") and not last.endswith("ss")
    return sentence.format(what=what, is_="are" if many else "is", has="have" if many else "has")


def of_shape(got: Tensor, right: Tensor, tolerance: float) -> str:
    """Return the sentence for an answer of another shape than asked for."""
    asked = f"{{what}} {{has}} shape {list(got.shape)}, asked for is {list(right.shape)}"
    if got.squeeze().shape == right.squeeze().shape:
        return f"{asked}; squeeze or unsqueeze puts that right."
    if got.dim() == right.dim() >= 2 and sorted(got.shape) == sorted(right.shape):
        for a in range(right.dim()):
            for b in range(a):
                if same(got, right.transpose(a, b), tolerance):
                    return f"{asked}: axes {b} and {a} are exchanged; transpose({b}, {a}) puts that right."
    if got.numel() == right.numel() > 0:
        if same(got.flatten(), right.flatten(), tolerance):
            return f"{asked}; the values are right, reshape or unflatten puts that right."
    for dims in groups(right):
        for word, reduced in (
            ("averaged", right.mean(dims)),
            ("added up", right.sum(dims)),
            ("cut down to the largest", right.amax(dims)),
        ):
            if same(got.squeeze(), reduced.squeeze(), tolerance):
                return f"{asked}: the values are {word} over {axes_in_words(dims)}, which must stay."
    for i in range(len(right) if right.dim() else 0):
        if same(got.squeeze(), right[i].squeeze(), tolerance):
            return f"{asked}: this is entry {i} of the first axis alone; all {len(right)} are asked for."
    return f"{asked}."


def not_finite(case: Case) -> str | None:
    """Say where the first value stands that is NaN or infinite."""
    bad = ~case.got.isfinite()
    if not bad.any():
        return None
    first = f", the first at {bad.nonzero()[0].tolist()}" * bool(bad.dim())
    return f"{{what}} {{has}} {int(bad.sum())} values that are NaN or infinite{first}; look for a division by zero."


FINDERS: tuple[Callable[[Case], str | None], ...] = (  # the more a sentence says, the earlier it is tried
    not_finite,
    places.one_value,
    behaviour.chance,
    steps.known_step,
    factors.factor,
    factors.shifted,
    factors.nearly,
    places.edge,
    variants.another_way,
    factors.second_mistake,
    factors.with_an_input,
    factors.beside_a_mistake,
    variants.but_for_a_factor,
    places.limited,
    places.from_neighbours,
    places.rearranged,
    factors.factors,
    behaviour.mixed,
    behaviour.ignored,
    places.places,
    places.order,
    places.order_of_each,
    places.partly,
    behaviour.reach,
)


def of_values(case: Case) -> str:
    """Return the sentence for an answer of the right shape and wrong values; if nothing is found, how far it is off."""
    got, right = case.got, case.right
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of what is tried, not of what the student has done
        for find in FINDERS:
            if sentence := find(case):
                return sentence
    off, top = (got - right).abs().max().item(), right.abs().max().item()
    alike = resemblance(got, right)
    return f"{{what}} {{is_}} off by up to {off:.3g}, where the largest value should be {top:.3g}{alike}"


def resemblance(got: Tensor, right: Tensor) -> str:
    """Return how far two answers of some size rise and fall together, and where the largest value stands."""
    a, b = (t.flatten() - t.mean() for t in (got, right))
    size = a.norm() * b.norm()
    if len(a) < 12 or not size > 0:
        return "."
    r = (a @ b / size).item()
    read = " (nearly the right pattern: perhaps one step differs)" * (r > 0.95)
    read = read or " (no likeness: it may be another quantity, or places are mixed)" * (abs(r) < 0.2)
    top = " The largest value is where it should be." * (got.argmax() == right.argmax()).item()
    return f", with a correlation of {r:.2f}{read}.{top}"
