"""Which other computation gives the student's answer: a right function run with another input, or another step.

The steps of the right function are the calls of torch that it makes. Each of them is changed in turn while the
function runs again (mutation testing, with the answer in place of a test).
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from helpers.checks.alternatives import OF, Replace, Step, axes_of, in_words, other_calls, other_results, other_terms
from helpers.checks.behaviour import Case, again, copied, flat, other_inputs, same
from helpers.checks.changes import PARTS, others

SECONDS = 4  # of the processor, for the whole search
TORCH = str(Path(torch.__file__).parent)
NAMES = {"__rsub__": "rsub", "__rdiv__": "rdiv", "__rtruediv__": "rdiv", "__radd__": "add", "__rmul__": "mul"}
NAMES |= {
    "truediv": "div",
    "true_divide": "div",
    "__pow__": "pow",
    "__matmul__": "matmul",
    "bmm": "matmul",
    "mm": "matmul",
}
PLAIN = {"detach", "clone", "requires_grad_", "to", "double", "float", "arange", "tensor", "as_tensor", "contiguous"}


def another_way(case: Case) -> str | None:
    """Say for which other input, or with which other step of a right function, ``case.by``, the answer would be right.

    The first way that gives the answer but for a factor is left in ``case.scaled``.
    """
    if not case.call or not case.by:
        return None
    tried = _Tried(case)
    if not same(tried.answer(case.call.inputs), case.right, max(case.tolerance, 1e-3)):
        return None
    return _other_input(tried) or _inputs_together(tried) or _other_step(tried)


def but_for_a_factor(case: Case) -> str | None:
    """Return the sentence that :func:`another_way` has left."""
    return case.scaled


def _other_input(tried: "_Tried") -> str | None:
    call = tried.call
    for i, (name, one) in enumerate(zip(call.names, call.inputs, strict=True)):
        for how, other in others(one):

            def run(inputs: Sequence[Any], i: int = i, how: str = how, other: Any = other) -> Tensor:
                changed = other if inputs is call.inputs else dict(others(inputs[i])).get(how)
                return tried.answer([*inputs[:i], changed, *inputs[i + 1 :]])

            sentence = f"this would be right for {how.replace('{x}', name)} in place of {name}; take {name} itself."
            if tried.fits(sentence, run):
                return sentence
    for i, one in enumerate(call.inputs):
        for j, two in enumerate(call.inputs):
            if i == j or not (isinstance(one, Tensor) and isinstance(two, Tensor)) or one.shape != two.shape:
                continue
            a, b = call.names[i], call.names[j]

            def exchanged(inputs: Sequence[Any], i: int = i, j: int = j) -> Tensor:
                return tried.answer([inputs[j] if k == i else inputs[i] if k == j else x for k, x in enumerate(inputs)])

            sentence = f"this would be right if {a} and {b} were exchanged; which is which?"
            if tried.fits(sentence, exchanged):
                return sentence
            signs = (
                {"*": torch.mul, "-": torch.sub, "+": torch.add} if one.dtype != torch.bool else {"|": torch.bitwise_or}
            )
            for sign, join in signs.items():

                def joined(inputs: Sequence[Any], i: int = i, j: int = j, join: Callable = join) -> Tensor:
                    return tried.answer([*inputs[:i], join(inputs[i], inputs[j]), *inputs[i + 1 :]])

                sentence = f"this would be right for {a} {sign} {b} in place of {a}; take {a} itself."
                if tried.fits(sentence, joined):
                    return sentence
    return None


def _inputs_together(tried: "_Tried") -> str | None:
    """Change all tensors of one length in the same way, as where rows are left out."""
    call = tried.call
    lengths = [len(one) if isinstance(one, Tensor) and one.dim() else 0 for one in call.inputs]
    for n in dict.fromkeys(n for n in lengths if n > 2 and lengths.count(n) > 1):
        names = " and ".join(name for name, length in zip(call.names, lengths, strict=True) if length == n)
        for how, change in PARTS.items():

            def run(inputs: Sequence[Any], n: int = n, change: Callable = change) -> Tensor:
                pairs = zip(inputs, lengths, strict=True)
                return tried.answer([change(one, 0) if length == n else one for one, length in pairs])

            sentence = f"this would be right for {how.format(x=names, a=0)}; take them whole."
            if tried.fits(sentence, run):
                return sentence
    return None


def _other_step(tried: "_Tried") -> str | None:
    """Change each step of the right function in turn."""
    watched, inputs = _Watched(tried.call.inputs), tried.call.inputs
    tried.answer(inputs, watched)
    made = set(map(id, watched.made))
    for step in watched.steps.values():
        if sentence := _weighted(step, tried):
            return sentence
    for kind in (other_calls, other_results, lambda step: other_terms(step, made)):
        for step in watched.steps.values():
            for sentence, replace in kind(step):
                if time.process_time() > tried.end:
                    return None

                def run(inputs: Sequence[Any], key: tuple = step.key, replace: Replace = replace) -> Tensor:
                    return tried.answer(inputs, _Watched(inputs, key, replace))

                if tried.fits(said := f"this is what comes out {sentence}.", run):
                    return said
    return None


def _weighted(step: Step, tried: "_Tried") -> str | None:
    """Say whether the answer is a weighted sum where the last step takes a mean, a largest value or the like."""
    axes = axes_of(step) if step.name in OF else ()
    x = step.inputs[0].detach().double() if axes else torch.zeros(0)
    got, n = tried.case.got, math.prod(x.shape[a] for a in axes)
    if not axes or not 1 < n <= 12 or len(got.unique()) < 2 * n + 2 or step.result.numel() != got.numel():
        return None
    if not same(step.result.detach().double().view_as(got), tried.case.right, max(tried.case.tolerance, 1e-3)):
        return None
    columns = x.permute(*(a for a in range(x.dim()) if a not in axes), *axes).reshape(-1, n)
    weights = torch.linalg.lstsq(columns, got.flatten()[:, None]).solution[:, 0]
    if not same((columns @ weights).view_as(got), got, tried.case.tolerance) or weights.abs().max() > 100:
        return None
    said = ", ".join(f"{value:.3g}" for value in weights.tolist())
    return f"this is what comes out with a sum with the weights {said} in place of {in_words(step)}."


class _Tried:
    """A right function, tried with other inputs or steps against the student's answer."""

    def __init__(self, case: Case) -> None:
        self.case, self.call = case, case.call
        self.few = min(len(case.got.unique()), len(case.right.unique())) < 6  # so few values may agree by chance
        self.end = time.process_time() + SECONDS
        self.new: tuple[list, Tensor] | None = None  # other inputs, and the student's answer to them

    def answer(self, inputs: Sequence[Any], mode: Any = None) -> Tensor:
        """Return what the right function gives, nothing if it stops."""
        given = copied(inputs)
        with contextlib.suppress(RuntimeError, IndexError, ValueError, TypeError, ZeroDivisionError, AttributeError):
            with mode or contextlib.nullcontext():
                result = self.case.by(*given)
            return torch.as_tensor(result).detach().double()
        return torch.zeros(0)

    def fits(self, sentence: str, run: Callable[[Sequence[Any]], Tensor]) -> bool:
        """Return whether another way gives the student's answer; note the sentence if only a factor is between them."""
        got, right, tolerance = self.case.got, self.case.right, self.case.tolerance
        other = torch.zeros(0)
        if time.process_time() > self.end:
            return False
        with contextlib.suppress(Exception):  # many changes suit neither the kind nor the shape
            other = run(self.call.inputs)
        if other.shape != got.shape or not other.isfinite().all() or same(other, right, 10 * tolerance):
            return False
        if same(got, other, tolerance):
            return not self.few or self.agree(run)
        c = ((got * other).sum() / other.square().sum()).item()
        if not self.case.scaled and not self.few and abs(c) > 1e-6 and same(got, c * other, tolerance):
            self.case.scaled = f"{sentence} Besides, every value is multiplied by {c:.4g}."
        return False

    def agree(self, run: Callable[[Sequence[Any]], Tensor]) -> bool:
        """Return whether the student's function and the other way give one answer for other inputs, too."""
        if self.new is None:
            inputs = other_inputs(self.call.inputs)
            self.new = inputs, flat(again(self.call, inputs))
        (inputs, got), tolerance = self.new, self.case.tolerance
        with contextlib.suppress(Exception):
            other, right = flat(run(inputs)), flat(self.answer(inputs))
            return got.numel() > 0 and same(got, other, tolerance) and not same(other, right, 10 * tolerance)
        return False


class _Watched(TorchFunctionMode):
    """Keep each step of a right function, or put another one in its place; what its inputs do is not its own."""

    def __init__(self, not_in: Sequence[Any], key: tuple | None = None, replace: Replace | None = None) -> None:
        super().__init__()
        self.not_in = {getattr(one, "__code__", None) for one in not_in} - {None}
        self.steps: dict[tuple, Step] = {}
        self.made: list[Tensor] = []
        self.key, self.replace = key, replace

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run one call of torch."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        frame = sys._getframe(1)
        while frame and frame.f_code.co_filename.startswith(TORCH) and "/nn/modules/" not in frame.f_code.co_filename:
            frame = frame.f_back
        key = (frame.f_code, frame.f_lasti, name)
        if self.key is not None:
            return self.replace(func, args, kwargs) if key == self.key else func(*args, **kwargs)
        result = func(*args, **kwargs)
        own = frame.f_code not in self.not_in and "/nn/modules/" not in frame.f_code.co_filename
        if own and isinstance(result, Tensor) and result.numel():
            self.made.append(result)
            if key not in self.steps and name not in PLAIN:
                self.steps[key] = Step(key, NAMES.get(name, name), func, args, kwargs, result)
        return result
