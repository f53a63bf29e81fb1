"""Small changes of a value, each with its words: another input, or another step, that a student may have taken.

In the words ``{x}`` is the name of the value and ``{a}`` an axis.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "ones": torch.ones_like,
    "zeros": torch.zeros_like,
    "abs({x})": torch.abs,
    "relu({x})": torch.relu,
    "the negative part of {x}": lambda x: x.clamp(max=0),
    "-{x}": torch.neg,
    "{x} squared": torch.square,
    "{x} to the third power": lambda x: x**3,
    "the root of {x}": torch.sqrt,
    "the root of the size of {x}": lambda x: x.abs().sqrt(),
    "the signs of {x}": torch.sign,
    "{x} > 0": lambda x: (x > 0).to(x),
    "{x} cut off at 0 and 1": lambda x: x.clamp(0, 1),
    "{x} cut off at -1 and 1": lambda x: x.clamp(-1, 1),
    "{x} where it is above its mean, and zero elsewhere": lambda x: x * (x > x.mean()),
    "the rounded {x}": torch.round,
    "exp({x})": torch.exp,
    "log({x})": torch.log,
    "log(1 + {x})": torch.log1p,
    "sigmoid({x})": torch.sigmoid,
    "tanh({x})": torch.tanh,
    "1 - {x}": lambda x: 1 - x,
    "1 + {x}": lambda x: 1 + x,
    "{x} - 1": lambda x: x - 1,
    "1 / {x}": torch.reciprocal,
    "{x} of the first entry for all": lambda x: x[:1].expand_as(x),
    "{x} of the last entry for all": lambda x: x[-1:].expand_as(x),
    "2 * {x}": lambda x: 2 * x,
    "{x} / 2": lambda x: x / 2,
    "{x} / 255": lambda x: x / 255,
    "{x} averaged over everything": lambda x: x.mean().expand_as(x),
    "{x} with its mean taken off": lambda x: x - x.mean(),
    "{x} with its smallest value taken off": lambda x: x - x.min(),
    "{x} divided by its largest value": lambda x: x / x.max(),
    "{x} divided by its largest absolute value": lambda x: x / x.abs().max(),
    "{x} divided by its sum": lambda x: x / x.sum(),
    "{x} divided by its length": lambda x: x / x.norm(),
    "{x} standardised": lambda x: (x - x.mean()) / x.std(),
    "{x} divided by its standard deviation": lambda x: x / x.std(),
}
ALONG: dict[str, Callable[[Tensor, int], Tensor]] = {
    "{x} turned round along axis {a}": lambda x, a: x.flip(a),
    "{x} moved by one along axis {a}": lambda x, a: x.roll(1, a),
    "{x} moved by one, back, along axis {a}": lambda x, a: x.roll(-1, a),
    "{x} averaged along axis {a}": lambda x, a: x.mean(a, True).expand_as(x),
    "the median of {x} along axis {a}": lambda x, a: x.median(a, True).values.expand_as(x),
    "the largest of {x} along axis {a}": lambda x, a: x.amax(a, True).expand_as(x),
    "the smallest of {x} along axis {a}": lambda x, a: x.amin(a, True).expand_as(x),
    "{x} where it is the largest along axis {a}, and zero elsewhere": lambda x, a: x * (x == x.amax(a, True)),
    "a softmax of {x} along axis {a}": lambda x, a: x.softmax(a),
    "{x} with its mean along axis {a} taken off": lambda x, a: x - x.mean(a, True),
    "{x} with its smallest value along axis {a} taken off": lambda x, a: x - x.amin(a, True),
    "the largest of {x} along axis {a} less {x}": lambda x, a: x.amax(a, True) - x,
    "{x} divided by its length along axis {a}": lambda x, a: x / x.norm(dim=a, keepdim=True),
    "{x} divided by its sum along axis {a}": lambda x, a: x / x.sum(a, True),
    "{x} divided by its mean along axis {a}": lambda x, a: x / x.mean(a, True),
    "{x} divided by its largest value along axis {a}": lambda x, a: x / x.amax(a, True),
    "{x} standardised along axis {a}": lambda x, a: (x - x.mean(a, True)) / x.std(a, keepdim=True, correction=0),
    "{x} divided by its spread along axis {a}": lambda x, a: x / x.std(a, keepdim=True),
    "the running sum of {x} along axis {a}": lambda x, a: x.cumsum(a),
    "{x} with axes {a} and the next exchanged": lambda x, a: x.transpose(a, a + 1),
    "{x} sorted along axis {a}": lambda x, a: x.sort(a).values,
    "{x} sorted along axis {a}, the largest first,": lambda x, a: x.sort(a, descending=True).values,
    "only the first of {x} along axis {a}": lambda x, a: x.narrow(a, 0, 1).expand_as(x),
    "only the last of {x} along axis {a}": lambda x, a: x.narrow(a, -1, 1).expand_as(x),
}
PARTS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "{x} without its first entry along axis {a}": lambda x, a: x.narrow(a, 1, x.shape[a] - 1),
    "{x} without its last entry along axis {a}": lambda x, a: x.narrow(a, 0, x.shape[a] - 1),
    "{x} without its first and last entry along axis {a}": lambda x, a: x.narrow(a, 1, x.shape[a] - 2),
    "the first half of {x} along axis {a}": lambda x, a: x.narrow(a, 0, x.shape[a] // 2),
    "the second half of {x} along axis {a}": lambda x, a: x.narrow(a, x.shape[a] // 2, x.shape[a] - x.shape[a] // 2),
    "every other entry of {x} along axis {a}": lambda x, a: x.index_select(a, torch.arange(0, x.shape[a], 2)),
}
EACH: dict[str, Callable[[Tensor], Tensor]] = {
    "each entry of {x} divided by its largest value": lambda x: x / _over(x, torch.amax),
    "each entry of {x} divided by its length": lambda x: x / _over(x.square(), torch.sum).sqrt(),
    "each entry of {x} divided by its sum": lambda x: x / _over(x, torch.sum),
    "each entry of {x} with its mean taken off": lambda x: x - _over(x, torch.mean),
    "each entry of {x} stretched from 0 to 1": lambda x: (
        (x - _over(x, torch.amin)) / (_over(x, torch.amax) - _over(x, torch.amin))
    ),
}
MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "{x} blurred (3 x 3 means)": lambda x: _blurred(x, True),
    "{x} blurred (3 x 3 means, with zeros around)": lambda x: _blurred(x, False),
    "{x} standardised over its last two axes": lambda x: (
        (x - x.mean((-2, -1), True)) / x.std((-2, -1), keepdim=True, correction=0)
    ),
    "{x} divided by the largest value of its last two axes": lambda x: x / x.amax((-2, -1), True),
    "{x} divided by the sum over its last two axes": lambda x: x / x.sum((-2, -1), True),
    "{x} with the mean over its last two axes taken off": lambda x: x - x.mean((-2, -1), True),
    "{x} averaged over its last two axes": lambda x: x.mean((-2, -1), True).expand_as(x),
    "{x} without its border": lambda x: x[..., 1:-1, 1:-1],
}
CODES: dict[str, Callable[[Tensor], Tensor]] = {
    "{x} + 1": lambda x: x + 1,
    "{x} - 1": lambda x: x - 1,
    "{x} + 1, with 0 behind the last,": lambda x: (x + 1) % (x.max() + 1),
    "zeros": torch.zeros_like,
    "{x} of the first entry for all": lambda x: x[:1].expand_as(x),
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
    "10 * {x}": lambda x: 10 * x,
    "{x} / 10": lambda x: x / 10,
    "1": lambda x: 1.0,
    "0": lambda x: 0.0,
}


def others(x: Any) -> Iterator[tuple[str, Any]]:
    """Yield other values that a student may have used in place of ``x``, each with what it is.

    >>> from helpers.checks.changes import others
    >>> dict(others(3))["2 * {x}"]
    6
    """
    if isinstance(x, bool) or isinstance(x, Tensor) and not x.dim():
        return
    if isinstance(x, int | float):
        for how, change in NUMBERS.items():
            with contextlib.suppress(ZeroDivisionError, OverflowError):
                other = change(x)
                if not isinstance(other, complex) and (isinstance(x, float) or other == int(other)):
                    yield how, type(x)(other)
    elif isinstance(x, Tensor):
        for how, change in changes_of(x):
            with contextlib.suppress(RuntimeError, IndexError):
                other = change(x)
                if other.dtype == x.dtype and other.numel() and other.isfinite().all():
                    yield how, other
    elif isinstance(x, list) and len(x) > 1:
        yield "{x} without its first entry", x[1:]
        yield "{x} without its last entry", x[:-1]
        yield "{x} turned round", x[::-1]
        if all(isinstance(one, Tensor) for one in x):
            for how, change in changes_of(x[0]):
                with contextlib.suppress(RuntimeError, IndexError):
                    changed = [change(one) for one in x]
                    if all(one.isfinite().all() for one in changed):
                        yield how.replace("{x}", "each of {x}"), changed
    elif callable(x) and not isinstance(x, nn.Module):
        for how in ("abs({x})", "relu({x})", "{x} squared", "the signs of {x}", "-{x}"):
            yield how, lambda *given, how=how: CHANGES[how](x(*given))


def changes_of(x: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Yield every change that suits a tensor of this kind and number of axes, each with its words."""
    if not x.is_floating_point():
        yield from CODES.items()
    else:
        yield from (CHANGES | (EACH if x.dim() > 1 else {}) | (MAPS if x.dim() > 1 else {})).items()
    for a in range(x.dim()):
        for how, change in (ALONG | PARTS).items():
            yield how.replace("{a}", str(a)), lambda x, change=change, a=a: change(x, a)


def _over(x: Tensor, reduce: Callable) -> Tensor:
    """Return the values of each entry of the first axis reduced to one."""
    return reduce(x, tuple(range(1, x.dim())), keepdim=True)


def _blurred(x: Tensor, inside: bool) -> Tensor:
    """Return the mean of each value's 3 x 3 neighbours along the last two axes, of those ``inside`` or with zeros."""
    maps = x.reshape(1, -1, *x.shape[-2:])
    return F.avg_pool2d(maps, 3, 1, 1, count_include_pad=not inside).view(x.shape)
