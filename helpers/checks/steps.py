"""Steps that turn the right answer into the student's: a sign, a flip, a ReLU, a softmax, a way of scaling.

Each sentence is a fact about the answer, tried and found true within the tolerance; ``{what}`` names the answer.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from helpers.checks.behaviour import Case, same

CLEAR = 10  # a mistake must move the right answer by so many tolerances before it is named

Step = tuple[str, Callable[[Tensor], Tensor]]


def _backwards(r: Tensor) -> Tensor:
    if r.dim() != 1:
        raise IndexError("for a row of values; STEPS has flips of maps")
    return r.flip(0)


STEPS: list[Step] = [
    ("the sign of {what} {is_} turned; multiply by -1.", torch.neg),
    ("{what}: the absolute value is taken, and the signs are lost; leave out abs().", torch.abs),
    ("{what}: minus the absolute value is taken; keep the signs.", lambda r: -r.abs()),
    ("{what}: negative values are set to zero, and they count; leave out the ReLU.", torch.relu),
    ("{what}: positive values are set to zero, and they count.", lambda r: r.clamp(max=0)),
    ("{what}: only what is negative is left, with its sign turned.", lambda r: (-r).relu()),
    ("{what}: values are cut off at 0 and 1; leave them as they are.", lambda r: r.clamp(0, 1)),
    ("{what} {is_} in the opposite order; use flip(0).", _backwards),
    (
        "{what} {is_} turned round along its last axis, left and right are exchanged; use flip(-1).",
        lambda r: r.flip(-1),
    ),
    ("{what} {is_} turned round along its last axis but one, it is upside down; use flip(-2).", lambda r: r.flip(-2)),
    ("{what} {is_} turned round along both last axes, by half a turn; use flip(-1, -2).", lambda r: r.flip(-1, -2)),
    ("rows and columns of {what} are exchanged; transpose(-1, -2) puts that right.", lambda r: r.mT),
    ("{what} {is_} turned by a quarter of a turn; see which axis is which.", lambda r: r.mT.flip(-1)),
    ("{what} {is_} turned by a quarter of a turn; see which axis is which.", lambda r: r.mT.flip(-2)),
    ("{what} {is_} turned round along the first axis; flip(0) puts that right.", lambda r: r.flip(0)),
    ("the values of {what} are squared; leave out the square, or take the root.", torch.square),
    ("{what}: this is the root of the values asked for; leave it out.", torch.sqrt),
    ("{what}: this is the root of the sizes, with the signs kept; leave it out.", lambda r: r.sign() * r.abs().sqrt()),
    ("{what}: this is 1 minus the values asked for; take the other part.", lambda r: 1 - r),
    ("{what}: this is 1 divided by the values asked for; turn the fraction over.", torch.reciprocal),
    ("{what}: a logarithm is taken that nobody asked for.", torch.log),
    ("{what}: an exponential is taken that nobody asked for.", torch.exp),
    ("{what} {has} gone through a sigmoid; the values themselves are asked for.", torch.sigmoid),
    ("{what} {has} gone through tanh; the values themselves are asked for.", torch.tanh),
    ("{what}: only the signs are left, -1, 0 or 1; keep the values.", torch.sign),
    (
        "{what}: this only says where the values are above zero; the values themselves are asked for.",
        lambda r: (r > 0).to(r),
    ),
    (
        "{what}: this only says where the values are below zero; the values themselves are asked for.",
        lambda r: (r < 0).to(r),
    ),
    ("the values of {what} are rounded; keep their decimals.", torch.round),
    ("the values of {what} are rounded to one decimal; keep them all.", lambda r: r.round(decimals=1)),
    ("the values of {what} are rounded to two decimals; keep them all.", lambda r: r.round(decimals=2)),
    ("{what}: the decimals are cut off; keep them.", torch.trunc),
]


def known_step(case: Case) -> str | None:
    """Name the one step that makes the student's answer of the right one."""
    got, right = case.got, case.right
    for sentence, wrong in _steps(right):
        if case.fits(wrong) and not same(wrong, right, CLEAR * case.tolerance):
            if len(wrong.unique()) >= min(3, len(right.unique())) or got.numel() > 11:
                return sentence
    return None


def _steps(r: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield each sentence with the wrong answer that this mistake makes of the right one."""
    for sentence, step in STEPS:
        with contextlib.suppress(IndexError, RuntimeError):
            yield sentence, step(r)
    yield from _softmaxes(r)
    for dims in groups(r):
        each = "as a whole" if len(dims) == r.dim() else f"over {axes_in_words(dims)}"
        for how, wrong in _scaled(r, dims):
            yield f"{{what}} {{is_}} {how}, {each}; leave the values in their own units.", wrong


def _softmaxes(r: Tensor) -> Iterator[tuple[str, Tensor]]:
    for axis in range(r.dim()):
        yield (
            f"{{what}} {{has}} gone through a softmax along axis {axis}; the values themselves are asked for.",
            r.softmax(axis),
        )
        yield f"{{what}} {{has}} gone through a log-softmax along axis {axis}; leave it out.", r.log_softmax(axis)
    if r.dim() > 2:
        places = r.flatten(1).softmax(1).view_as(r)
        yield "{what} {has} gone through a softmax over the places; the values themselves are asked for.", places


def _scaled(r: Tensor, dims: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    """Yield usual ways of scaling, each group of values along ``dims`` by itself."""
    top, low, mean = r.amax(dims, True), r.amin(dims, True), r.mean(dims, True)
    yield "divided by its largest value", r / top
    yield "divided by its largest absolute value", r / r.abs().amax(dims, True)
    yield "stretched from 0 to 1 (minimum subtracted, divided by the range)", (r - low) / (top - low)
    yield "divided by its sum", r / r.sum(dims, True)
    yield "divided by the sum of its absolute values", r / r.abs().sum(dims, True)
    yield "divided by its length (norm)", r / r.square().sum(dims, True).sqrt()
    yield "divided by its standard deviation", r / r.std(dims, keepdim=True)
    yield "standardised (mean subtracted, divided by the standard deviation)", (r - mean) / r.std(dims, keepdim=True)
    yield "moved so that its mean is zero (the mean is subtracted)", r - mean
    yield "moved so that its smallest value is zero (the minimum is subtracted)", r - low
    yield "subtracted from its largest value", top - r
    yield "replaced by its mean", mean.expand_as(r)
    yield "replaced by its largest value", top.expand_as(r)


def groups(r: Tensor) -> list[tuple[int, ...]]:
    """Return the sets of axes over which a step may run: all, all but the first, the last two, each alone."""
    axes = tuple(range(r.dim()))
    groups = [axes, axes[1:], axes[-2:], *((a,) for a in axes)]
    return [g for g in dict.fromkeys(groups) if g and math.prod(r.shape[a] for a in g) > 1]


def axes_in_words(dims: Sequence[int]) -> str:
    """Return axes as a reader counts them up, such as "axes 1 and 2"."""
    return f"axis {dims[0]}" if len(dims) == 1 else f"axes {', '.join(map(str, dims[:-1]))} and {dims[-1]}"
