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
    """Say whether the answer lies on the line from the right one to a known mistake, or is their sum or difference."""
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


def _plain(number: float) -> bool:
    return any(abs(abs(number) - one) < 1e-3 * one for one in (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 2, 3))


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
    if good.sum() < max(3, 0.1 * got.numel()) or len(right[good].unique()) < 3:
        return None
    mine, its = got[bad], right[bad]
    alike = [
        said
        for said, holds in {
            "zero": mine == 0,
            "of the wrong sign": mine * its < 0,
            "too large": mine > its,
            "too small": mine < its,
            "too near to zero": mine.abs() < its.abs(),
            "too far from zero": mine.abs() > its.abs(),
        }.items()
        if holds.all()
    ]
    found = f"{{what}} {{is_}} right for instance at {good.nonzero()[0].tolist()}, and wrong at {int(bad.sum())} of "
    return f"{found}{got.numel()} places{f', always {alike[0]}' if alike else ''}; what is different there?"


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


def reach(got: Tensor, right: Tensor, tolerance: float, call: Call, by: Callable, probes: int = 24) -> str | None:
    """Say on which value of an input the answer depends and should not, or should and does not.

    Single values of each input are changed in turn, up and down, for the student's function and for a right one, ``by``.
    """
    if call.seconds > 0.1 or got.numel() < 3:
        return None
    limits = [value for value in (right.min(), right.max()) if (right == value).sum() > 1]  # they hide what changes
    inner = (got != 0) & (right != 0) & ~sum((right == value for value in limits), torch.zeros_like(right, dtype=bool))
    for i, (name, one) in enumerate(zip(call.names, call.inputs, strict=True)):
        if not isinstance(one, Tensor) or not one.is_floating_point() or not one.dim():
            continue
        size = one.std().item() if one.numel() > 1 else 1.0
        for place in torch.linspace(0, one.numel() - 1, min(probes, one.numel())).long().unique().tolist():
            moved = should = soft = torch.zeros_like(got, dtype=torch.bool)
            for by_how_much in (0.1, 1, -1, 8, -8):
                mine, its = (_changed(f, call, i, place, by_how_much * size) for f in (None, by))
                if mine.shape != got.shape or its.shape != right.shape:
                    return None
                moved = moved | _moves(mine, got)
                should = should | _moves(its, right)
                soft = should if by_how_much == 0.1 else soft  # the right answer moves smoothly here
            at = [int(k) for k in torch.unravel_index(torch.tensor(place), one.shape)]
            if (missing := soft & ~moved & inner).any():
                where = f" at {missing.nonzero()[0].tolist()}" * (moved.any().item() and got.dim() > 0)
                return f"{{what}}{where} {{is_}} the same with other values in `{name}` at {at}, which counts; use it."
            if (extra := moved & ~should & inner).any():
                where = f" at {extra.nonzero()[0].tolist()}" * bool(got.dim())
                return (
                    f"{{what}}{where} {{has}} another value when `{name}` changes at {at}, which does not belong there."
                )
    return None


def _moves(new: Tensor, old: Tensor) -> Tensor:
    return (new - old).abs() > 1e-6 * (old.abs().max().item() or 1.0)


def _changed(by: Callable | None, call: Call, i: int, place: int, step: float) -> Tensor:
    """Return what the student's function, or ``by``, gives once a value of input ``i`` is changed."""
    inputs = copied(call.inputs)
    values = inputs[i].detach().clone().flatten()
    values[place] += step
    inputs[i] = values.view_as(inputs[i])
    return _run(by, inputs) if by else _tensor(again(call, inputs))


def _run(by: Callable, inputs: list[Any]) -> Tensor:
    with contextlib.suppress(Exception):
        return _tensor(by(*inputs))
    return torch.zeros(0)


def _tensor(value: Any) -> Tensor:
    with contextlib.suppress(Exception):
        return torch.as_tensor(value).detach().cpu().double()
    return torch.full((), math.nan)
