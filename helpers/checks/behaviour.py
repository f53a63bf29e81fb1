"""What a student's function does when it is called again: it ignores an input, mixes pictures, uses chance."""

import contextlib
import copy
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class Call(NamedTuple):
    """A call of the student's function: what it was given (copies), and what came."""

    function: Callable
    inputs: tuple
    options: dict[str, Any]
    names: list[str]
    result: Any
    seconds: float


def same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Return whether ``a`` has the shape of ``b`` and differs by ``tolerance`` times the largest of b at most."""
    if a.shape != b.shape or a.numel() == 0:
        return a.shape == b.shape
    return ((a - b).abs().max() <= tolerance * (b.abs().max().item() or 1.0)).item()


# --- an answer that would be right for another input ---

CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "ones": torch.ones_like,
    "zeros": torch.zeros_like,
    "abs({x})": torch.abs,
    "relu({x})": torch.relu,
    "the negative part of {x}": lambda x: x.clamp(max=0),
    "-{x}": torch.neg,
    "{x} squared": torch.square,
    "the root of the size of {x}": lambda x: x.abs().sqrt(),
    "the signs of {x}": torch.sign,
    "{x} > 0": lambda x: (x > 0).to(x),
    "{x} cut off at 0 and 1": lambda x: x.clamp(0, 1),
    "exp({x})": torch.exp,
    "sigmoid({x})": torch.sigmoid,
    "1 - {x}": lambda x: 1 - x,
    "1 / {x}": torch.reciprocal,
    "{x} of the first entry for all": lambda x: x[:1].expand_as(x),
    "{x} of the last entry for all": lambda x: x[-1:].expand_as(x),
    "2 * {x}": lambda x: 2 * x,
    "{x} / 2": lambda x: x / 2,
    "{x} averaged over everything": lambda x: x.mean().expand_as(x),
    "{x} with its mean taken off": lambda x: x - x.mean(),
    "{x} divided by its largest value": lambda x: x / x.max(),
    "{x} divided by its length": lambda x: x / x.norm(),
    "{x} standardised": lambda x: (x - x.mean()) / x.std(),
    "{x} divided by its standard deviation": lambda x: x / x.std(),
}
ALONG: dict[str, Callable[[Tensor, int], Tensor]] = {
    "{x} turned round along axis {a}": lambda x, a: x.flip(a),
    "{x} moved by one along axis {a}": lambda x, a: x.roll(1, a),
    "{x} moved by one, back, along axis {a}": lambda x, a: x.roll(-1, a),
    "{x} averaged along axis {a}": lambda x, a: x.mean(a, True).expand_as(x),
    "the largest of {x} along axis {a}": lambda x, a: x.amax(a, True).expand_as(x),
    "a softmax of {x} along axis {a}": lambda x, a: x.softmax(a),
    "{x} with its mean along axis {a} taken off": lambda x, a: x - x.mean(a, True),
    "{x} divided by its length along axis {a}": lambda x, a: x / x.norm(dim=a, keepdim=True),
    "{x} divided by its sum along axis {a}": lambda x, a: x / x.sum(a, True),
    "{x} divided by its largest value along axis {a}": lambda x, a: x / x.amax(a, True),
    "{x} with axes {a} and the next exchanged": lambda x, a: x.transpose(a, a + 1),
    "{x} sorted along axis {a}": lambda x, a: x.sort(a).values,
    "only the first of {x} along axis {a}": lambda x, a: x.narrow(a, 0, 1).expand_as(x),
}
PARTS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "{x} without its first entry along axis {a}": lambda x, a: x.narrow(a, 1, x.shape[a] - 1),
    "{x} without its last entry along axis {a}": lambda x, a: x.narrow(a, 0, x.shape[a] - 1),
    "the first half of {x} along axis {a}": lambda x, a: x.narrow(a, 0, x.shape[a] // 2),
    "every other entry of {x} along axis {a}": lambda x, a: x.index_select(a, torch.arange(0, x.shape[a], 2)),
}
EACH: dict[str, Callable[[Tensor], Tensor]] = {
    "each entry of {x} divided by its largest value": lambda x: x / _over(x, torch.amax),
    "each entry of {x} divided by its length": lambda x: x / _over(x.square(), torch.sum).sqrt(),
    "each entry of {x} with its mean taken off": lambda x: x - _over(x, torch.mean),
    "each entry of {x} stretched from 0 to 1": lambda x: (
        (x - _over(x, torch.amin)) / (_over(x, torch.amax) - _over(x, torch.amin))
    ),
}
NUMBERS: dict[str, Callable[[float], float]] = {
    "{x} + 1": lambda x: x + 1,
    "{x} - 1": lambda x: x - 1,
    "2 * {x}": lambda x: 2 * x,
    "{x} / 2": lambda x: x / 2,
    "{x} squared": lambda x: x**2,
    "the root of {x}": lambda x: x**0.5,
    "-{x}": lambda x: -x,
    "1 - {x}": lambda x: 1 - x,
    "1 / {x}": lambda x: 1 / x,
    "1": lambda x: 1.0,
    "0": lambda x: 0.0,
}


def _over(x: Tensor, reduce: Callable) -> Tensor:
    """Return the values of each entry of the first axis reduced to one."""
    return reduce(x, tuple(range(1, x.dim())), keepdim=True)


def _others(x: Any) -> Iterator[tuple[str, Any]]:
    """Yield other inputs that a student may have used in place of ``x``, each with what it is."""
    if isinstance(x, bool) or isinstance(x, Tensor) and not x.dim():
        return
    if isinstance(x, int | float):
        for how, change in NUMBERS.items():
            with contextlib.suppress(ZeroDivisionError):
                other = change(x)
                if not isinstance(other, complex) and (isinstance(x, float) or other == int(other)):
                    yield how, type(x)(other)
    elif isinstance(x, Tensor):
        steps = [(how, change, ()) for how, change in (CHANGES | (EACH if x.dim() > 1 else {})).items()]
        for a in range(x.dim()):
            steps += [(how.replace("{a}", str(a)), change, (a,)) for how, change in (ALONG | PARTS).items()]
        for how, change, axis in steps:
            with contextlib.suppress(RuntimeError, IndexError):
                other = change(x, *axis)
                if other.dtype == x.dtype and other.numel() and other.isfinite().all():
                    yield how, other
    elif isinstance(x, list) and len(x) > 1:
        yield "{x} without its first entry", x[1:]
        yield "{x} without its last entry", x[:-1]
    elif callable(x) and not isinstance(x, nn.Module):
        for how in ("abs({x})", "relu({x})", "{x} squared", "the signs of {x}", "-{x}"):
            yield how, lambda *given, how=how: CHANGES[how](x(*given))


def reworked(call: Call, got: Tensor, right: Tensor, tolerance: float, by: Callable) -> str | None:
    """Say for which other input the answer would be right; ``by`` is a right function."""

    def answer(inputs: Sequence[Any]) -> Tensor:
        with contextlib.suppress(RuntimeError, IndexError, ValueError, TypeError, ZeroDivisionError):
            return torch.as_tensor(by(*copied(inputs))).detach().double()
        return torch.zeros(0)

    def fits(inputs: Sequence[Any]) -> bool:
        other = answer(inputs)
        return other.shape == got.shape and same(got, other, tolerance) and not same(other, right, 10 * tolerance)

    if len(right.unique()) < 3 or not same(
        answer(call.inputs), right, max(tolerance, 1e-3)
    ):  # few values may agree by chance
        return None
    for i, (name, one) in enumerate(zip(call.names, call.inputs, strict=True)):
        for how, other in _others(one):
            if fits([*call.inputs[:i], other, *call.inputs[i + 1 :]]):
                return f"this would be right for {how.replace('{x}', name)} in place of {name}; take {name} itself."
    for i, one in enumerate(call.inputs):
        for j, two in enumerate(call.inputs):
            if i == j or not (isinstance(one, Tensor) and isinstance(two, Tensor)) or one.shape != two.shape:
                continue
            a, b = call.names[i], call.names[j]
            swapped = [two if k == i else one if k == j else each for k, each in enumerate(call.inputs)]
            if fits(swapped):
                return f"this would be right if {a} and {b} were exchanged; which is which?"
            for sign, other in (("*", one * two), ("-", one - two) if one.dtype != torch.bool else ("|", one | two)):
                if fits([*call.inputs[:i], other, *call.inputs[i + 1 :]]):
                    return f"this would be right for {a} {sign} {b} in place of {a}; take {a} itself."
    return None


# --- what the function does when it is called again ---


def chance(call: Call, tolerance: float) -> str | None:
    """Say whether a function returns what it was given, or gives another answer when it is called again."""
    got = _flat(call.result)
    for name, one in zip(call.names, call.inputs, strict=True):
        if isinstance(one, Tensor) and one.numel() > 1 and _equal(_flat(one), got, tolerance):
            return f"your function returns `{name}` as it was given; does the result reach what you return?"
    again = _flat(_again(call, call.inputs))
    if not got.numel() or not again.numel() or _equal(again, got, tolerance):
        return None
    return "two calls with the same inputs give two answers; is chance in your function, say dropout or rand()?"


def mixed(call: Call, right: Tensor, tolerance: float) -> str | None:
    """Say whether a picture's answer depends on the other pictures of its batch."""
    n = len(right) if right.dim() else 0
    if any(callable(one) and not isinstance(one, nn.Module) for one in call.inputs):  # it may know its pictures
        return None
    batch = [isinstance(one, Tensor) and one.dim() > 0 and len(one) == n for one in call.inputs]
    if n < 2 or not any(batch) or not isinstance(call.result, Tensor) or call.result.shape != right.shape:
        return None
    alone = _again(call, [one[:1] if cut else one for one, cut in zip(call.inputs, batch, strict=True)])
    if not isinstance(alone, Tensor) or alone.shape != call.result[:1].shape:
        return None
    if _equal(_flat(alone), _flat(call.result[:1]), tolerance):
        return None
    return (
        "the first entry of the batch alone gets another answer than among the others; keep the entries apart, "
        "with no mean, maximum or sum over the first axis."
    )


def ignored(call: Call) -> str | None:
    """Say whether the answer stays the same when one of the inputs changes."""
    got = _flat(call.result)
    for i, (name, one) in enumerate(zip(call.names, call.inputs, strict=True)):
        other = _another(one)
        if other is None:
            continue
        again = _again(call, [*call.inputs[:i], other, *call.inputs[i + 1 :]])
        if again is not None and _equal(_flat(again), got, 1e-12):
            return f"your answer stays the same when `{name}` changes; use it."
    return None


def _another(one: Any) -> Any:
    if isinstance(one, Tensor) and one.is_floating_point() and one.numel() > 1 and one.std() > 0:
        return one.flatten().flip(0).view_as(one) * 1.1 + 0.01
    if isinstance(one, float) and one:
        return 1.5 * one
    return None


def _again(call: Call, inputs: Sequence[Any]) -> Any:
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


def _flat(result: Any) -> Tensor:
    """Return all numbers of a result as one row, whatever it is; empty where it holds none."""
    if isinstance(result, list | tuple):
        return torch.cat([_flat(one) for one in result]) if len(result) else torch.zeros(0)
    try:
        return torch.as_tensor(result).detach().cpu().double().flatten()
    except (TypeError, ValueError, RuntimeError):
        return torch.zeros(0, dtype=torch.double)


def _equal(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.numel() > 0 and same(a.nan_to_num(), b.nan_to_num(), tolerance)
