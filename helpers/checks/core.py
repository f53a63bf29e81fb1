"""How the course checks an answer: right, "not yet" with a hint, or not answered.

Nothing raises, unless ``COURSE_STRICT=1`` asks blanks and wrong answers to (for instructors and for tests).
"""

import functools
import inspect
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers.checks import diagnosis, traces
from helpers.checks.behaviour import Call, Case, copied, same


class NotAnswered(AssertionError):
    """There is no answer yet."""


class Wrong(AssertionError):
    """The answer is wrong; the message is the hint that the student reads."""


class Unknown(Wrong):
    """The answer is wrong, and none of the mistakes that its exercise knows."""


@dataclass
class _Check:
    """What a check has seen so far: what the function changed, what is worth a word, and its last call."""

    changed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    call: Call | None = None


_OPEN: list[_Check] = []  # the check that runs, and those that called it


def checker(body: Callable[..., str]) -> Callable[..., bool | None]:
    """Make a checker of ``body(answer, ...)``, which raises :class:`Wrong` or returns what was right.

    The checker prints its verdict and returns True (right), False (wrong) or None (not answered: ``None``,
    ``...``, or a function that returns nothing, see :func:`ask`). An answer whose values are right is wrong if its
    function changed what it was given, see :mod:`helpers.checks.traces`.
    """

    @functools.wraps(body)
    def check(answer: Any = None, *others: Any, **options: Any) -> bool | None:
        _OPEN.append(seen := _Check())
        try:
            if _blank((answer, *others)):
                raise NotAnswered
            praise = body(answer, *others, **options)
            left_as_it_was()
        except Wrong as wrong:
            besides = f" Besides, {seen.changed[0]}" if seen.changed and seen.changed[0] not in str(wrong) else ""
            verdict, problem = False, Wrong(f"Not yet: {wrong}{besides}")
        except Exception as error:
            hint = "Has your answer the type and shape that the question asks for?"
            verdict, problem = False, Wrong(f"Not yet: the check stopped with {_in_words(error)}. {hint}")
            if _left_blank(error):
                verdict, problem = None, NotAnswered("Not answered yet. Fill in the answer, then run this again.")
        else:
            verdict, problem = True, None
        finally:
            _OPEN.pop()
        if problem and os.environ.get("COURSE_STRICT") == "1":
            raise problem
        print(problem or " ".join([f"Right: {praise}", *dict.fromkeys(seen.remarks)]))
        return verdict

    return check


def ask(function: Callable, *inputs: Any, **options: Any) -> Any:
    """Call a student's function; raise NotAnswered if it returns nothing, Wrong if it stops with an error.

    What it changes in tensors, lists and modules among the inputs is kept, and told once its values are right.
    """
    if not callable(function):
        raise Wrong(f"a function is asked for, not a {type(function).__name__}; give its name, without brackets.")
    names, looks = _names(function, len(inputs)), watched(function, inputs)
    given, start = copied(inputs) if _OPEN else inputs, time.monotonic()
    try:
        result = function(*inputs, **options)
    except Exception as error:
        if _left_blank(error):
            raise NotAnswered from None
        shapes = ", ".join(str(list(one.shape)) for one in inputs if hasattr(one, "shape"))
        told = f" It was given input of shape {shapes}." if shapes else ""
        raise Wrong(f"your function stopped with {_in_words(error)}.{told}") from error
    if _blank(result):
        raise NotAnswered
    tell_changed(clause for look in looks for clause in look())
    if _OPEN:
        _OPEN[-1].call = Call(function, tuple(given), options, names, result, time.monotonic() - start)
    return result


def watched(function: Callable, inputs: Sequence[Any]) -> list[traces.Look]:
    """Return what says, after a call of ``function(*inputs)``, what the call has changed in each input."""
    names = _names(function, len(inputs))
    return [traces.watch(name, one) for name, one in zip(names, inputs, strict=True)]


def tell_changed(clauses: Iterable[str]) -> None:
    """Keep for the check that runs what a student's function has changed: told once its values are right."""
    if _OPEN:
        _OPEN[-1].changed += clauses


def left_as_it_was() -> None:
    """Raise Wrong if a call of :func:`ask` in this check changed what it was given; a check ends with this anyway."""
    if _OPEN and _OPEN[-1].changed:
        raise Wrong(f"the values are right, but {_OPEN[-1].changed[0]}")


def name_the_mistake(
    got: Any,
    mistakes: Mapping[str, Any],
    expected: Any,
    tolerance: float = 1e-4,
    *,
    what: str = "your answer",
    by: Callable | None = None,
) -> Tensor:
    """Like :func:`close`, but known wrong answers get their own hint: ``mistakes`` maps hint to wrong answer.

    A wrong answer may have any shape, and may be a function without arguments, called only when needed. An answer
    that is none of them gets what :mod:`helpers.checks.diagnosis` finds out; ``by`` is a right function in place of
    the student's, so that one can see which other input would make the answer right.
    """
    rounding = diagnosis.rounding_of(got)
    got, expected = _tensor(got, what), _tensor(expected, "the expected answer")
    if same(got, expected, tolerance):
        return got
    allowed = max(tolerance, rounding)
    nearest = (got - expected).abs().max() if same(got, expected, allowed) else torch.inf
    known = {}
    for hint, wrong in mistakes.items():
        wrong = known[hint] = _tensor(wrong() if callable(wrong) else wrong, "a known mistake")
        if same(got, wrong, allowed) and (got.numel() == 0 or (got - wrong).abs().max() < nearest):
            raise Wrong(hint)
    if nearest < torch.inf:
        if _OPEN:
            _OPEN[-1].remarks.append("(In half precision, which holds three digits; use float32 for more.)")
        return got
    if got.shape != expected.shape:
        raise Unknown(diagnosis.worded(diagnosis.of_shape(got, expected, allowed), what))
    case = Case(got, expected, allowed, _OPEN[-1].call if _OPEN else None, by, known)
    found = diagnosis.of_values(case)
    first = diagnosis.first_difference(got, expected, allowed) if got.isfinite().all() else ""
    raise Unknown(diagnosis.worded(found, what) + first)


def close(got: Any, expected: Any, tolerance: float = 1e-4, *, what: str = "your answer") -> Tensor:
    """Return ``got`` as a tensor if it has the shape and, nearly, the values of ``expected``.

    ``tolerance`` is the largest difference allowed, as a share of the largest absolute value of ``expected``;
    ``what`` names the answer in the hint. Raises Wrong for another type, shape, NaN or values, in this order.
    """
    return name_the_mistake(got, {}, expected, tolerance, what=what)


def _blank(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_blank(one) for one in value)
    return value is None or value is ... or value is NotImplemented or isinstance(value, str) and value == "?"


def _left_blank(error: Exception) -> bool:
    """Return whether this is a blank, ``raise NotImplementedError``, and not torch that says what it cannot do."""
    return isinstance(error, NotAnswered) or (isinstance(error, NotImplementedError) and not error.args)


def _names(function: Callable, count: int) -> list[str]:
    """Return what the student calls the inputs, or their numbers."""
    names = [f"input {i + 1}" for i in range(count)]
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return names
    own = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return [*own[:count], *names[len(own) :]]


def _tensor(value: Any, what: str) -> Tensor:
    if _blank(value):
        raise NotAnswered
    try:
        if not isinstance(value, Tensor) and hasattr(value, "__array__"):
            value = np.array(value, order="C")  # torch takes no negative strides
        return torch.as_tensor(value).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{what} is a {type(value).__name__}, not a tensor, an array or a number.") from None


def _in_words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
