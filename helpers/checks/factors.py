"""Numbers that stand between an answer and the right one: factors, terms that are added, a mistake beside it."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from helpers.checks.behaviour import Call, Case, same
from helpers.checks.steps import CLEAR, axes_in_words

ENOUGH = 6  # so many different values hardly agree by chance
SECOND: dict[str, Callable[[Tensor], Tensor]] = {
    "its absolute value is taken": torch.abs,
    "its negative values are set to zero": torch.relu,
    "its sign is turned": torch.neg,
    "it is squared": torch.square,
    "its root is taken": torch.sqrt,
    "it is subtracted from 1": lambda w: 1 - w,
    "it has gone through a sigmoid": torch.sigmoid,
    "it is divided by its largest value": lambda w: w / w.max(),
    "it is divided by its sum": lambda w: w / w.sum(),
    "it is stretched from 0 to 1": lambda w: (w - w.min()) / (w.max() - w.min()),
    "each entry is divided by its largest value": lambda w: w / _each(w, torch.amax),
    "each entry is divided by its sum": lambda w: w / _each(w, torch.sum),
    "each entry is stretched from 0 to 1": lambda w: (
        (w - _each(w, torch.amin)) / (_each(w, torch.amax) - _each(w, torch.amin))
    ),
    "each entry has its mean taken off": lambda w: w - _each(w, torch.mean),
}


def factor(case: Case) -> str | None:
    """Name a factor that all values have in common, and where it may come from."""
    got, right, tolerance = case.got, case.right, case.tolerance
    sizes = _sizes(right, case.call)
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


def _sizes(right: Tensor, call: Call | None) -> list[int]:
    """Return the lengths of the axes of the answer and of what went in, and products of those at the end."""
    given = [one.shape for one in (call.inputs if call else ()) if isinstance(one, Tensor)]
    found = dict.fromkeys(n for shape in [right.shape, *given] for n in shape if n > 1)
    for shape in [right.shape, *given]:
        found |= dict.fromkeys(math.prod(shape[i:]) for i in range(len(shape)))
    return [n for n in found if n > 1]


def factors(case: Case) -> str | None:
    """Name factors that differ along one axis, or from place to place."""
    got, right, tolerance = case.got, case.right, case.tolerance
    axes = range(right.dim())
    for keep in [(a,) for a in axes] + [tuple(a for a in axes if a != b) for b in axes] * (right.dim() > 2):
        rest = tuple(a for a in axes if a not in keep)
        if not rest or math.prod(right.shape[a] for a in rest) < 3 or math.prod(right.shape[a] for a in keep) < 2:
            continue
        c = (got * right).sum(rest, True) / right.square().sum(rest, True).clamp(min=1e-300)
        b = (got - right).mean(rest, True)
        if same(got, c * right, tolerance) and c.abs().max() > 0:
            return (
                f"{{what}} {{has}} a factor of its own at each index of {axes_in_words(keep)}, "
                f"from {_number(c.min().item())} to {_number(c.max().item())}; is a number missing that differs there?"
            )
        if same(got, right + b, tolerance):
            return (
                f"to {{what}} something is added at each index of {axes_in_words(keep)}, "
                f"from {_number(b.min().item())} to {_number(b.max().item())}; leave it out."
            )
    return None


def shifted(case: Case) -> str | None:
    """Name a constant that is added to all values, with or without a factor, or a step along an axis."""
    got, right, tolerance = case.got, case.right, case.tolerance
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


def nearly(case: Case) -> str | None:
    """Say whether an answer is right to some digits, as with half precision or a number that is not small enough."""
    got, right, tolerance = case.got, case.right, case.tolerance
    if tolerance >= 3e-3 or not same(got, right, 3e-3) or same(right, right.round(), 0):
        return None
    return (
        "{what} {is_} nearly right, to two or three digits; look for a small number that is added, say under a "
        "fraction, for half precision, and for numbers written with few digits."
    )


# --- a mistake that the exercise knows, or an input, beside the right answer ---


def second_mistake(case: Case) -> str | None:
    """Say whether the answer is a known mistake and one thing more: a factor, or a step."""
    got, right, tolerance = case.got, case.right, case.tolerance
    mistakes = case.known
    for hint, wrong in mistakes.items():
        if wrong.shape != got.shape or not wrong.isfinite().all() or same(wrong, right, 20 * tolerance):
            continue
        if c := _fitted(got, [wrong], tolerance):
            return f"two things are wrong. The first: {_closed(hint)} The second: every value is {c[0]:.4g} times that."
        for how, step in SECOND.items():
            other = step(wrong)
            if other.isfinite().all() and len(other.unique()) >= ENOUGH and same(got, other, tolerance):
                return f"two things are wrong. The first: {_closed(hint)} The second: {how}."
    return None


def beside_a_mistake(case: Case) -> str | None:
    """Say whether the answer lies on the line from the right one to a known mistake, or is their sum or difference."""
    got, right, tolerance = case.got, case.right, case.tolerance
    mistakes = case.known
    for hint, wrong in mistakes.items():
        if wrong.shape != got.shape or not wrong.isfinite().all():
            continue
        if not (c := _fitted(got, [right, wrong], tolerance)):
            continue
        if abs(sum(c) - 1) < 1e-3:
            return f"{{what}} {{has}} {c[1]:.3g} times this mistake in it (0 is none, 1 is all of it): {hint}"
        if all(_plain(one) for one in c):
            return f"this is {c[0]:.3g} times the right answer plus {c[1]:.3g} times a wrong one: {hint}"
    return None


def with_an_input(case: Case) -> str | None:
    """Say whether an input, or a number that sums it up, is added to the right answer or multiplied with it."""
    got, right, tolerance = case.got, case.right, case.tolerance
    for name, one in _quantities(case.call) if case.call else ():
        if one.dim() > right.dim() or not one.isfinite().all():
            continue
        with contextlib.suppress(RuntimeError):
            other = one.double().expand_as(right)
            if (c := _fitted(got, [right, other], tolerance)) and (abs(c[0] - 1) < 1e-3 or all(map(_plain, c))):
                return f"this is {c[0]:.4g} times the right answer plus {c[1]:.4g} times {name}; leave that out."
            for word, product in (("times", right * other), ("divided by", right / other)):
                if product.isfinite().all() and not same(other, other.mean().expand_as(other), 1e-3):
                    if c := _fitted(got, [product], tolerance):
                        factor = "" if abs(c[0] - 1) < 10 * tolerance else f", and {c[0]:.4g} times that"
                        return f"this is the right answer {word} {name}{factor}; leave that out."
    return None


def _quantities(call: Call) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor that went in, and what sums up its entries, with names."""
    for name, one in zip(call.names, call.inputs, strict=True):
        if not isinstance(one, Tensor) or not one.dim():
            continue
        x = one.detach().double()
        yield f"`{name}`", x
        if x.dim() < 2:
            continue
        n, whole = len(x), x.flatten(1)
        for word, reduced in (
            ("mean", whole.mean(1)),
            ("sum", whole.sum(1)),
            ("largest value", whole.amax(1)),
            ("spread", whole.std(1)),
            ("variance", whole.var(1)),
            ("length", whole.norm(dim=1)),
        ):
            yield f"the {word} of each entry of `{name}`", reduced
            yield f"the {word} of each entry of `{name}`", reduced.view(n, *[1] * (x.dim() - 1))
        for axis in range(1, x.dim()):
            yield f"`{name}` averaged along axis {axis}", x.mean(axis)
            yield f"`{name}` summed along axis {axis}", x.sum(axis)


def _fitted(got: Tensor, columns: list[Tensor], tolerance: float) -> list[float] | None:
    """Return the factors with which ``columns`` add up to ``got``, None if they do not."""
    if len(got.unique()) < len(columns) + 3 or min(len(one.unique()) for one in columns) < 3:
        return None
    matrix = torch.stack([one.flatten() for one in columns], 1)
    if torch.linalg.matrix_rank(matrix) < len(columns):
        return None
    c = torch.linalg.lstsq(matrix, got.flatten()[:, None]).solution[:, 0]
    shares = c.abs() * matrix.abs().amax(0)  # a part that can hardly be seen is none
    if not same((matrix @ c).view_as(got), got, tolerance) or shares.min() < 20 * tolerance * got.abs().max():
        return None
    return c.tolist()


def _plain(number: float) -> bool:
    return any(abs(abs(number) - one) < 1e-3 * one for one in (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 2, 3))


def _each(w: Tensor, reduce: Callable) -> Tensor:
    return reduce(w, tuple(range(1, w.dim())) or (0,), keepdim=True)


def _closed(hint: str) -> str:
    return hint.rstrip(" .") + "."


def _round(size: float, sizes: Sequence[int]) -> bool:
    """Return whether a factor is one that a single number may be told about: 2, 3, 4, 5, 10, 100 or a length."""
    return any(abs(size / n - 1) < 1e-4 or abs(size * n - 1) < 1e-4 for n in (2, 3, 4, 5, 10, 100, *sizes))


def _number(value: float) -> str:
    value = 0.0 if abs(value) < 1e-9 else value
    return f"{round(value)}" if abs(value - round(value)) < 1e-4 * abs(value) else f"{value:.3g}"
