"""What is wrong with an answer that is no known mistake of its exercise: a factor, a sign, an order, a place.

Each sentence is a fact about the answer, tried and found true within the tolerance; ``{what}`` names the answer.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers.checks import behaviour, relations, variants
from helpers.checks.behaviour import Call, same

HALF = {torch.float16: 4e-3, torch.bfloat16: 8e-3}  # how far rounding may go, as a share of the largest value
CLEAR = 10  # a mistake must move the right answer by so many tolerances before it is named


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


# --- an answer of another shape ---


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
    if got.numel() == right.numel():
        if same(got.flatten(), right.flatten(), tolerance):
            return f"{asked}; the values are right, reshape or unflatten puts that right."
    for dims in _groups(right):
        for word, reduced in (
            ("averaged", right.mean(dims)),
            ("added up", right.sum(dims)),
            ("cut down to the largest", right.amax(dims)),
        ):
            if same(got.squeeze(), reduced.squeeze(), tolerance):
                return f"{asked}: the values are {word} over {_axes(dims)}, which must stay."
    for i in range(len(right) if right.dim() else 0):
        if same(got.squeeze(), right[i].squeeze(), tolerance):
            return f"{asked}: this is entry {i} of the first axis alone; all {len(right)} are asked for."
    return f"{asked}."


# --- an answer whose values come from the right ones by a known step ---


def _backwards(r: Tensor) -> Tensor:
    if r.dim() != 1:
        raise IndexError("for a row of values; STEPS has flips of maps")
    return r.flip(0)


Step = tuple[str, Callable[[Tensor], Tensor]]

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


def _steps(r: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield each sentence with the wrong answer that this mistake makes of the right one."""
    for sentence, step in STEPS:
        with contextlib.suppress(IndexError, RuntimeError):
            yield sentence, step(r)
    yield from _softmaxes(r)
    for dims in _groups(r):
        each = "as a whole" if len(dims) == r.dim() else f"over {_axes(dims)}"
        for how, wrong in _scaled(r, dims):
            yield f"{{what}} {{is_}} {how}, {each}; leave the values in their own units.", wrong


# --- an answer that differs from the right one by unknown numbers ---


def factor(got: Tensor, right: Tensor, tolerance: float, sizes: Sequence[int] = ()) -> str | None:
    """Name a factor that all values have in common, and where it may come from."""
    c = ((got * right).sum() / right.square().sum()).item()
    if (
        not c
        or not math.isfinite(c)
        or not same(got, c * right, tolerance)
        or got.numel() == 1
        and not _round(abs(c), sizes)
    ):
        return None
    turned, size = " and of the other sign" * (c < 0), abs(c)
    much = f"{_number(size)} times too large" if size > 1 else f"{_number(1 / size)} times too small"
    return f"every value of {{what}} is {much}{turned}; {_origin(size, sizes)}"


def _origin(size: float, sizes: Sequence[int]) -> str:
    """Say where a factor may come from; ``sizes`` are lengths of axes."""
    for n in sizes:
        root = n**0.5
        for value, cure, telling in (
            (n, f"is it a sum over {n} values in place of their mean?", n > 2),
            (1 / n, f"is it a mean over {n} values in place of their sum?", n > 2),
            (root, f"that is the root of {n}: is a division by it missing?", root % 1),
            (1 / root, f"that is the root of {n}: do you divide by it?", root % 1),
            (n / (n - 1), f"is it divided by {n - 1} in place of {n}?", n > 4),
            ((n - 1) / n, f"is it divided by {n} in place of {n - 1}?", n > 4),
        ):
            if telling and abs(size / value - 1) < 1e-4:
                return cure
    return "look for a factor that is missing or counted twice."


def factors(got: Tensor, right: Tensor, tolerance: float) -> str | None:
    """Name factors that differ along one axis, or from place to place."""
    axes = range(right.dim())
    for keep in [(a,) for a in axes] + [tuple(a for a in axes if a != b) for b in axes] * (right.dim() > 2):
        rest = tuple(a for a in axes if a not in keep)
        if not rest or math.prod(right.shape[a] for a in rest) < 3 or math.prod(right.shape[a] for a in keep) < 2:
            continue
        c = (got * right).sum(rest, True) / right.square().sum(rest, True).clamp(min=1e-300)
        b = (got - right).mean(rest, True)
        if same(got, c * right, tolerance) and c.abs().max() > 0:
            return (
                f"{{what}} {{has}} a factor of its own at each index of {_axes(keep)}, from {_number(c.min().item())} "
                f"to {_number(c.max().item())}; is a number missing that differs along there?"
            )
        if same(got, right + b, tolerance):
            return (
                f"to {{what}} something is added at each index of {_axes(keep)}, from {_number(b.min().item())} to "
                f"{_number(b.max().item())}; leave it out."
            )
    return None


def shifted(got: Tensor, right: Tensor, tolerance: float) -> str | None:
    """Name a constant that is added to all values, with or without a factor, or a step along an axis."""
    if got.numel() < 3 or same(right, right.mean().expand_as(right), CLEAR * tolerance):
        return None
    b = (got - right).mean().item()
    if same(got, right + b, tolerance):
        return f"to every value of {{what}} {_number(b)} is added; leave it out."
    for axis in range(right.dim()):
        n = right.shape[axis] - 1
        for mine, its in ((1, 0), (0, 1)):
            if n >= 3 and same(got.narrow(axis, mine, n), right.narrow(axis, its, n), tolerance):
                return f"{{what}} {{is_}} moved by one place along axis {axis}; is an index off by one?"
    x, y = right - right.mean(), got - got.mean()
    c = ((x * y).sum() / x.square().sum()).item()
    if got.numel() > 4 and c and same(y, c * x, tolerance):
        b = (got - c * right).mean().item()
        return (
            f"{{what}} {{is_}} {_number(c)} times the right one plus {_number(b)}; leave the values in their own units."
        )
    return None


def rearranged(got: Tensor, right: Tensor, tolerance: float) -> str | None:
    """Say whether the right values, or whole rows of them, stand in another order."""
    if got.numel() < 2:
        return None
    top = tolerance * (right.abs().max().item() or 1.0)
    for axis in range(right.dim()):
        a, b = (t.movedim(axis, 0).flatten(1) if t.dim() > 1 else t[:, None] for t in (got, right))
        if 1 < len(a) <= 500:
            near = (a[:, None] - b[None]).abs().amax(2) <= top
            if near.any(1).all() and near.any(0).all():
                return f"all values of {{what}} are there, in another order along axis {axis}; do not sort or mix them."
            if near.any(1).all() and (near.sum(0) == len(a)).any():
                k = (near.sum(0) == len(a)).nonzero()[0].item()
                return f"{{what}} {{is_}} the same all along axis {axis}: everywhere stands what belongs to index {k}."
    if same(got.flatten().sort().values, right.flatten().sort().values, tolerance):
        return "{what} {has} the right values at other places; reshape() does not exchange axes, permute() does."
    return None


def one_value(got: Tensor, right: Tensor, tolerance: float) -> str | None:
    """Say whether all values are the same, or the same along the first axis, where they should not be."""
    if got.numel() > 2 and got.min() == got.max() and not same(right, right.mean().expand_as(right), tolerance):
        return f"every value of {{what}} is {_number(got.min().item())}; does the result reach what you return?"
    if got.dim() < 2 or len(got) < 2 or same(right, right[:1].expand_as(right), CLEAR * tolerance):
        return None
    if same(got, got[:1].expand_as(got), tolerance):
        return "{what} {is_} the same for all entries of the first axis; each has an answer of its own."
    return None


def nearly(got: Tensor, right: Tensor, tolerance: float) -> str | None:
    """Say whether an answer is right to some digits, as with half precision or a number that is not small enough."""
    if tolerance >= 3e-3 or not same(got, right, 3e-3) or same(right, right.round(), 0):
        return None
    return (
        "{what} {is_} nearly right, to two or three digits; look for a small number that is added, say under a "
        "fraction, for half precision, and for numbers written with few digits."
    )


# --- an answer that is right at some places ---


def edge(got: Tensor, right: Tensor, tolerance: float) -> str | None:
    """Say whether maps are right inside and wrong at the border, or the other way round."""
    if right.dim() < 2 or min(right.shape[-2:]) < 3:
        return None
    good = (got - right).abs() <= tolerance * (right.abs().max().item() or 1.0)
    inner = torch.zeros_like(good)
    inner[..., 1:-1, 1:-1] = True
    for word, where in (("inside and wrong at the border", inner), ("at the border and wrong inside", ~inner)):
        if good[where].all() and right[where].any() and not good[~where].any():
            return f"{{what}} {{is_}} right {word}; what is different there?"
    return None


def places(got: Tensor, right: Tensor, tolerance: float) -> str | None:
    """Say where an answer is right and where it is not, if that follows a rule."""
    good, counts = (got - right).abs() <= tolerance * (right.abs().max().item() or 1.0), right != 0
    if got.numel() < 3 or not (good & counts).any():  # a zero among zeros is no achievement
        return None
    bad = ~good
    few = f"{{what}} {{is_}} right but for {int(bad.sum())} of {bad.numel()} values."
    if bad.sum() <= min(3, bad.numel() / 4):
        return few
    for word, where in (("zero", right == 0), ("above zero", right > 0), ("below zero", right < 0)):
        if torch.equal(bad, where) and where.any():
            return f"{{what}} {{is_}} right but for the values that should be {word}."
        if torch.equal(good & counts, where) and where.any():
            return f"{{what}} {{is_}} right only where it should be {word}."
    for axis in range(right.dim()):
        line = (lambda t, axis=axis: t.movedim(axis, 0).flatten(1)) if right.dim() > 1 else (lambda t: t[:, None])
        rights, wrongs = line(good).all(1) & line(counts).any(1), line(bad).any(1)
        if rights.sum() == 1 and not (~wrongs & ~rights).any() and len(rights) > 2:
            return f"{{what}} {{is_}} right at index {_some(rights)} of axis {axis} alone; what about the others?"
        if wrongs.sum() == 1 and len(wrongs) > 2:
            return f"{{what}} {{is_}} wrong at index {_some(wrongs)} of axis {axis} alone."
        if right.dim() > 1 and rights.any() and wrongs.any():
            return f"{{what}} {{is_}} right at the indices {_some(rights)} of axis {axis} and wrong at {_some(wrongs)}."
    if bad.sum() <= bad.numel() / 4:
        return few
    return None


def order(got: Tensor, right: Tensor, tolerance: float) -> str | None:
    """Say whether the values are in the right order of size, though each is wrong."""
    a, b = got.flatten(), right.flatten()
    if a.numel() < 20 or len(b.unique()) < 20:
        return None
    a, b = a[b.argsort()], b.sort().values
    slack = tolerance * a.abs().max()
    if a[-1] > a[0] and (a.diff() >= -slack).all() and not (a.diff() <= slack).all():
        return "the values of {what} are in the right order and wrong in size; is a root, a power or a limit too much?"
    return None


# --- all together ---


def resemblance(got: Tensor, right: Tensor) -> str:
    """Return how far two answers of some size rise and fall together, and where the largest value stands."""
    a, b = (t.flatten() - t.mean() for t in (got, right))
    size = a.norm() * b.norm()
    if len(a) < 12 or not size > 0:
        return ""
    r = (a @ b / size).item()
    read = " (nearly the right pattern: one step differs a little)" * (r > 0.95)
    read = read or " (no likeness: it may be another quantity, or places are mixed)" * (abs(r) < 0.2)
    top = " The largest value is where it should be." * (got.argmax() == right.argmax()).item()
    return f", with a correlation of {r:.2f}{read}.{top}"


def of_values(
    got: Tensor,
    right: Tensor,
    tolerance: float,
    call: Call | None = None,
    by: Callable | None = None,
    mistakes: Mapping[str, Tensor] | None = None,
) -> str | None:
    """Return the sentence for an answer of the right shape and wrong finite values, None if nothing is found."""
    known = mistakes or {}
    if not got.isfinite().all():
        bad = ~got.isfinite()
        first = f", the first at {bad.nonzero()[0].tolist()}" * bool(got.dim())
        return f"{{what}} {{has}} {int(bad.sum())} values that are NaN or infinite{first}; look for a division by zero."
    if got.numel() == 0 or (sentence := one_value(got, right, tolerance)):
        return sentence if got.numel() else None
    if sentence := call and behaviour.chance(call, tolerance):
        return sentence
    for sentence, wrong in _steps(right):
        if wrong.shape == got.shape and wrong.isfinite().all() and same(got, wrong, tolerance):
            kinds = len(wrong.unique())
            if not same(wrong, right, CLEAR * tolerance) and (kinds >= min(3, len(right.unique())) or got.numel() > 11):
                return sentence
    if sentence := (
        factor(got, right, tolerance, _sizes(right, call))
        or shifted(got, right, tolerance)
        or nearly(got, right, tolerance)
        or edge(got, right, tolerance)
    ):
        return sentence
    other, scaled = variants.reworked(call, got, right, tolerance, by) if call and by else (None, None)
    return (
        other
        or relations.second_mistake(got, right, tolerance, known)
        or (call and relations.with_an_input(got, right, tolerance, call))
        or relations.beside_a_mistake(got, right, tolerance, known)
        or scaled
        or relations.limited(got, right, tolerance)
        or relations.from_neighbours(got, right, tolerance)
        or rearranged(got, right, tolerance)
        or factors(got, right, tolerance)
        or (call and behaviour.mixed(call, right, tolerance))
        or (call and behaviour.ignored(call))
        or places(got, right, tolerance)
        or order(got, right, tolerance)
        or relations.order_of_each(got, right, tolerance)
        or relations.partly(got, right, tolerance)
        or (call and by and relations.reach(got, right, tolerance, call, by))
    )


def _sizes(right: Tensor, call: Call | None) -> list[int]:
    """Return the lengths of the axes of the answer and of what went in, and products of those at the end."""
    given = [one.shape for one in (call.inputs if call else ()) if isinstance(one, Tensor)]
    found = dict.fromkeys(n for shape in [right.shape, *given] for n in shape if n > 1)
    for shape in [right.shape, *given]:
        found |= dict.fromkeys(math.prod(shape[i:]) for i in range(len(shape)))
    return [n for n in found if n > 1]


def _groups(r: Tensor) -> list[tuple[int, ...]]:
    """Return the sets of axes over which a step may run: all, all but the first, the last two, each alone."""
    axes = tuple(range(r.dim()))
    groups = [axes, axes[1:], axes[-2:], *((a,) for a in axes)]
    return [g for g in dict.fromkeys(groups) if g and math.prod(r.shape[a] for a in g) > 1]


def _axes(dims: Sequence[int]) -> str:
    return f"axis {dims[0]}" if len(dims) == 1 else f"axes {', '.join(map(str, dims[:-1]))} and {dims[-1]}"


def _some(chosen: Tensor) -> str:
    found = chosen.nonzero().flatten().tolist()
    return ", ".join(map(str, found[:4])) + ", ..." * (len(found) > 4)


def _round(size: float, sizes: Sequence[int]) -> bool:
    """Return whether a factor is one that a single number may be told about: 2, 3, 4, 5, 10, 100 or a length."""
    return any(abs(size / n - 1) < 1e-4 or abs(size * n - 1) < 1e-4 for n in (2, 3, 4, 5, 10, 100, *sizes))


def _number(value: float) -> str:
    value = 0.0 if abs(value) < 1e-9 else value
    return f"{round(value)}" if abs(value - round(value)) < 1e-4 * abs(value) else f"{value:.3g}"
