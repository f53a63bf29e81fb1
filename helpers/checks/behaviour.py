"""What a student's function does when it is called again: it ignores an input, mixes pictures, uses chance."""

import contextlib
import copy
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

SECONDS = 1.5  # of the processor, for the search for a value that counts or does not
PROBES = 24  # so many values of each input are changed in turn


class Call(NamedTuple):
    """A call of the student's function: what it was given (copies), and what came."""

    function: Callable
    inputs: tuple
    options: dict[str, Any]
    names: list[str]
    result: Any
    seconds: float


@dataclass
class Case:
    """A wrong answer of the right shape, all numbers in double precision, and what is known of it.

    ``by`` is a right function in place of the student's; ``known`` are the wrong answers that the exercise knows, by
    their hints; ``scaled`` keeps a sentence that is true but for a factor, see :mod:`helpers.checks.variants`.
    """

    got: Tensor
    right: Tensor
    tolerance: float
    call: Call | None = None
    by: Callable | None = None
    known: Mapping[str, Tensor] = field(default_factory=dict)
    scaled: str | None = None

    def fits(self, other: Tensor) -> bool:
        """Return whether another answer is the student's."""
        return other.isfinite().all().item() and same(self.got, other, self.tolerance)


def same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Return whether ``a`` has the shape of ``b`` and differs by ``tolerance`` times the largest of b at most."""
    if a.shape != b.shape or a.numel() == 0:
        return a.shape == b.shape
    return ((a - b).abs().max() <= tolerance * (b.abs().max().item() or 1.0)).item()


def chance(case: Case) -> str | None:
    """Say whether a function returns what it was given, or gives another answer when it is called again."""
    call, tolerance = case.call, case.tolerance
    if not call:
        return None
    got = flat(call.result)
    for name, one in zip(call.names, call.inputs, strict=True):
        if isinstance(one, Tensor) and one.numel() > 1 and _equal(flat(one), got, tolerance):
            return f"your function returns `{name}` as it was given; does the result reach what you return?"
    second = flat(again(call, call.inputs))
    if not got.numel() or not second.numel() or _equal(second, got, tolerance):
        return None
    return "two calls with the same inputs give two answers; is chance in your function, say dropout or rand()?"


def mixed(case: Case) -> str | None:
    """Say whether a picture's answer depends on the other pictures of its batch."""
    call, right, tolerance = case.call, case.right, case.tolerance
    if not call:
        return None
    n = len(right) if right.dim() else 0
    if any(callable(one) and not isinstance(one, nn.Module) for one in call.inputs):  # it may know its pictures
        return None
    batch = [isinstance(one, Tensor) and one.dim() > 0 and len(one) == n for one in call.inputs]
    if n < 2 or not any(batch) or not isinstance(call.result, Tensor) or call.result.shape != right.shape:
        return None
    alone = again(call, [one[:1] if cut else one for one, cut in zip(call.inputs, batch, strict=True)])
    if not isinstance(alone, Tensor) or alone.shape != call.result[:1].shape:
        return None
    if _equal(flat(alone), flat(call.result[:1]), tolerance):
        return None
    return (
        "the first entry of the batch alone gets another answer than among the others; keep the entries apart, "
        "with no mean, maximum or sum over the first axis."
    )


def ignored(case: Case) -> str | None:
    """Say whether the answer stays the same when one of the inputs changes."""
    call = case.call
    if not call:
        return None
    got = flat(call.result)
    for i, (name, one) in enumerate(zip(call.names, call.inputs, strict=True)):
        other = _another(one)
        if other is None:
            continue
        second = again(call, [*call.inputs[:i], other, *call.inputs[i + 1 :]])
        if second is not None and _equal(flat(second), got, 1e-12):
            return f"your answer stays the same when `{name}` changes; use it."
    return None


def reach(case: Case) -> str | None:
    """Say on which value of an input the answer depends and should not, or should and does not.

    Single values of each input are changed in turn, up and down, for the student's function and for a right one.
    """
    got, right, call, by = case.got, case.right, case.call, case.by
    if not call or not by or call.seconds > 0.1 or got.numel() < 3:
        return None
    end = time.process_time() + SECONDS
    limits = [value for value in (right.min(), right.max()) if (right == value).sum() > 1]  # they hide what changes
    inner = (got != 0) & (right != 0) & ~sum((right == value for value in limits), torch.zeros_like(right, dtype=bool))
    for i, (name, one) in enumerate(zip(call.names, call.inputs, strict=True)):
        if not isinstance(one, Tensor) or not one.is_floating_point() or not one.dim():
            continue
        size = one.std().item() if one.numel() > 1 else 1.0
        for place in torch.linspace(0, one.numel() - 1, min(PROBES, one.numel())).long().unique().tolist():
            if time.process_time() > end:
                return None
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
                return (
                    f"{{what}}{where} {{is_}} not moved by `{name}` at {at}; the right answer is. Is that value used?"
                )
            if (extra := moved & ~should & inner).any():
                where = f" at {extra.nonzero()[0].tolist()}" * bool(got.dim())
                return f"{{what}}{where} {{is_}} moved by `{name}` at {at}; the right answer is not."
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


def other_inputs(inputs: Sequence[Any]) -> list[Any]:
    """Return inputs of the same kind with other values, tensors of whole numbers in the opposite order."""
    return [
        one.flip(0)
        if isinstance(one, Tensor) and one.dim() and not one.is_floating_point()
        else one
        if (other := _another(one)) is None
        else other
        for one in inputs
    ]


def _another(one: Any) -> Any:
    if isinstance(one, Tensor) and one.is_floating_point() and one.numel() > 1 and one.std() > 0:
        return one.flatten().flip(0).view_as(one) * 1.1 + 0.01
    if isinstance(one, float) and one:
        return 1.5 * one
    return None


def again(call: Call, inputs: Sequence[Any]) -> Any:
    """Return what the function gives for copies of inputs, None if it stops or if it is slow."""
    if call.seconds > 1:
        return None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return call.function(*copied(inputs), **call.options)
    except Exception:  # what a student's function may raise
        return None


def copied(inputs: Sequence[Any]) -> list[Any]:
    """Return inputs with copies of the tensors, arrays, lists and modules among them."""
    return [_copy(one) for one in inputs]


def _copy(one: Any) -> Any:
    if isinstance(one, Tensor):
        return one.detach().clone().requires_grad_(one.requires_grad)
    return copy.deepcopy(one) if isinstance(one, np.ndarray | list | nn.Module) else one


def flat(result: Any) -> Tensor:
    """Return all numbers of a result as one row, whatever it is; empty where it holds none."""
    if isinstance(result, list | tuple):
        return torch.cat([flat(one) for one in result]) if len(result) else torch.zeros(0)
    try:
        return torch.as_tensor(result).detach().cpu().double().flatten()
    except (TypeError, ValueError, RuntimeError):
        return torch.zeros(0, dtype=torch.double)


def _equal(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.numel() > 0 and same(a.nan_to_num(), b.nan_to_num(), tolerance)
