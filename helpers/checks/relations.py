"""How wrong values follow from the right ones, from what went in, or from a mistake that the exercise knows."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.checks.behaviour import Call, again, copied, same

ENOUGH = 6  # so many different values hardly agree by chance


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


# --- what stands beside the right answer ---


def second_mistake(got: Tensor, right: Tensor, tolerance: float, mistakes: Mapping[str, Tensor]) -> str | None:
    """Say whether the answer is a known mistake and one thing more: a factor, or a step."""
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


def beside_a_mistake(got: Tensor, right: Tensor, tolerance: float, mistakes: Mapping[str, Tensor]) -> str | None:
    """Say whether the answer is the right one and a known mistake, each times a number, added up."""
    for hint, wrong in mistakes.items():
        if wrong.shape == got.shape and wrong.isfinite().all() and (c := _fitted(got, [right, wrong], tolerance)):
            return f"this is {c[0]:.4g} times the right answer plus {c[1]:.4g} times a wrong one: {hint}"
    return None


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


def _each(w: Tensor, reduce: Callable) -> Tensor:
    return reduce(w, tuple(range(1, w.dim())) or (0,), keepdim=True)


def _closed(hint: str) -> str:
    return hint.rstrip(" .") + "."


def with_an_input(got: Tensor, right: Tensor, tolerance: float, call: Call) -> str | None:
    """Say whether an input, or a number that sums it up, is added to the right answer or multiplied with it."""
    for name, one in _quantities(call):
        if one.dim() > right.dim() or not one.isfinite().all():
            continue
        with contextlib.suppress(RuntimeError):
            other = one.double().expand_as(right)
            if c := _fitted(got, [right, other], tolerance):
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


# --- neighbours, limits, order ---


def from_neighbours(got: Tensor, right: Tensor, tolerance: float, call: Call | None = None) -> str | None:
    """Say whether each value is one weighted sum of the right values around it, as after a blur or half a step."""
    if right.dim() < 2 or min(right.shape[-2:]) < 3:
        return None
    maps = right.reshape(-1, 1, *right.shape[-2:])
    inner = got.reshape(maps.shape)[..., 1:-1, 1:-1].flatten()
    if len(inner) < 18 or len(inner.unique()) < 18:
        return None
    around = F.unfold(maps, 3).transpose(1, 2).reshape(-1, 9)
    if torch.linalg.matrix_rank(around) < 9:
        return None
    kernel = torch.linalg.lstsq(around, inner[:, None]).solution[:, 0]
    if not same(around @ kernel, inner, tolerance) or kernel[4] > 1 - 1e-3 and kernel.abs().sum() < 1 + 1e-2:
        return None
    rows = kernel.view(3, 3)
    down, right_ = ((rows.sum(1 - axis) * torch.tensor([-1.0, 0, 1])).sum().item() for axis in (0, 1))
    if abs(rows.sum().item() - 1) < 1e-2 and max(abs(down), abs(right_)) > 0.2 and rows.min() > -1e-3:
        return f"inside, {{what}} {{is_}} moved by {-down:.2g} places down and {-right_:.2g} to the right."
    said = "; ".join(" ".join(f"{value:.2f}" for value in row) for row in rows.tolist())
    return f"inside, each value of {{what}} is a weighted sum of the right values around it, with weights {said}."


def limited(got: Tensor, right: Tensor, tolerance: float, call: Call | None = None) -> str | None:
    """Say whether values are cut off at a limit of their own, or set to zero where they are small."""
    top, low, high = right.abs().max().item(), got.min().item(), got.max().item()
    if len(got.unique()) < ENOUGH or same(got, right, 10 * tolerance):
        return None
    if same(got, right.clamp(low, high), tolerance):
        cut = [f"below {low:.4g}"] * (right.min().item() < low - tolerance * top)
        cut += [f"above {high:.4g}"] * (right.max().item() > high + tolerance * top)
        return f"{{what}}: values {' and '.join(cut)} are cut off; keep them." if cut else None
    gone = (got == 0) & (right != 0)
    if not gone.any() or not ((got - right).abs()[~gone] <= tolerance * top).all() or gone.all():
        return None
    for word, size in (("values up to", right), ("values of a size up to", right.abs())):
        if size[gone].max() < size[~gone & (right != 0)].min():
            return f"{{what}}: {word} {size[gone].max().item():.4g} are set to zero; keep them."
    return f"{{what}} {{is_}} right but for {int(gone.sum())} of {gone.numel()} values that are set to zero."


def partly(got: Tensor, right: Tensor, tolerance: float, call: Call | None = None) -> str | None:
    """Say at how many places the answer is right, and what the others have in common."""
    top = right.abs().max().item()
    good = ((got - right).abs() <= tolerance * top) & (right.abs() > 20 * tolerance * top)
    bad = (got - right).abs() > tolerance * top
    if good.sum() < max(3, 0.05 * got.numel()) or len(right[good].unique()) < 3:
        return None
    off, size = (got - right)[bad], (got.abs() - right.abs())[bad]
    alike = (
        " They are all zero."
        if not got[bad].any()
        else " They all have the wrong sign."
        if (got * right)[bad].max() < 0
        else " They are all too large."
        if off.min() > 0
        else " They are all too small."
        if off.max() < 0
        else " They are all too near to zero."
        if size.max() < 0
        else " They are all too far from zero."
        if size.min() > 0
        else ""
    )
    of = f"{int(bad.sum())} of {got.numel()}"
    return f"{{what}} {{is_}} right at some places and wrong at {of}; what is different there?{alike}"


def order_of_each(got: Tensor, right: Tensor, tolerance: float, call: Call | None = None) -> str | None:
    """Say whether the values of each entry are in the right order of size, though not those of all together."""
    if right.dim() < 2 or len(right) < 2 or right[0].numel() < 8:
        return None
    a, b = got.flatten(1), right.flatten(1)
    slack = tolerance * a.abs().max()
    a, steps = a.gather(1, b.argsort(1)), b.sort(1).values.diff(dim=1)
    steps = (a.diff(dim=1) >= -slack) | (steps <= tolerance * b.abs().max())
    spread = a.amax(1) - a.amin(1)
    if not steps.all() or spread.min() <= 4 * slack or min(len(row.unique()) for row in a) < 6:
        return None
    return "the values of each entry of {what} are in the right order, and wrong in size; what scales an entry?"


# --- what the answer depends on ---


def reach(
    got: Tensor, right: Tensor, tolerance: float, call: Call, by: Callable, probes: int = 24
) -> str | None:
    """Say on which value of an input the answer depends and should not, or should and does not.

    Single values of each input are changed in turn, for the student's function and for a right one, ``by``.
    """
    if call.seconds > 0.2:
        return None
    for i, (name, one) in enumerate(zip(call.names, call.inputs, strict=True)):
        if not isinstance(one, Tensor) or not one.is_floating_point() or not one.dim():
            continue
        step = one.std().item() if one.numel() > 1 else 1.0
        at = torch.linspace(0, one.numel() - 1, min(probes, one.numel())).long().unique().tolist()
        for place in at:
            changed = copied(call.inputs)
            flat = changed[i].detach().clone().flatten()
            flat[place] += step
            changed[i] = flat.view_as(one)
            mine, its = _tensor(again(call, changed)), _run(by, changed)
            if mine.shape != got.shape or its.shape != right.shape:
                return None
            moved, should = _moved(mine, got, tolerance), _moved(its, right, tolerance)
            index = [int(k) for k in torch.unravel_index(torch.tensor(place), one.shape)]
            said = f"`{name}` changes at {index}"
            if not moved.any() and should.any():
                return f"{{what}} {{is_}} the same when {said}, and should not be; is that value left out?"
            clear = (got != 0) & (right != 0)
            if (extra := moved & ~should & clear).any():
                where = f" at {extra.nonzero()[0].tolist()}" * bool(got.dim())
                return f"{{what}} {{has}} another value{where} when {said}, and should not; do entries or places mix?"
            if (missing := should & ~moved & clear).any():
                where = f" at {missing.nonzero()[0].tolist()}" * bool(got.dim())
                return f"{{what}} {{has}} the same value{where} when {said}, and should not; is that value left out?"
    return None


def _moved(new: Tensor, old: Tensor, tolerance: float) -> Tensor:
    """Return where a value has changed: clearly, or not at all; what lies between counts as no change."""
    return (new - old).abs() > 1e-3 * tolerance * (old.abs().max().item() or 1.0)


def _run(by: Callable, inputs: list[Any]) -> Tensor:
    with contextlib.suppress(Exception):
        return _tensor(by(*inputs))
    return torch.zeros(0)


def _tensor(value: Any) -> Tensor:
    with contextlib.suppress(Exception):
        return torch.as_tensor(value).detach().cpu().double()
    return torch.full((), math.nan)
