"""How the course checks an answer: right, "not yet" with a hint, or not answered.

Nothing raises, unless ``COURSE_STRICT=1`` asks blanks and wrong answers to (for instructors and for tests).
"""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


class NotAnswered(AssertionError):
    """There is no answer yet."""


class Wrong(AssertionError):
    """The answer is wrong; the message is the hint that the student reads."""


def checker(body: Callable[..., str]) -> Callable[..., bool | None]:
    """Make a checker of ``body(answer, ...)``, which raises :class:`Wrong` or returns what was right.

    The checker prints its verdict and returns True (right), False (wrong) or None (not answered: ``None``,
    ``...``, or a function that returns nothing, see :func:`ask`).
    """

    @functools.wraps(body)
    def check(answer: Any = None, *others: Any, **options: Any) -> bool | None:
        try:
            if _blank((answer, *others)):
                raise NotAnswered
            praise = body(answer, *others, **options)
        except Wrong as wrong:
            verdict, problem = False, Wrong(f"Not yet: {wrong}")
        except Exception as error:
            hint = "Has your answer the type and shape that the question asks for?"
            verdict, problem = False, Wrong(f"Not yet: the check stopped with {_in_words(error)}. {hint}")
            if _left_blank(error):
                verdict, problem = None, NotAnswered("Not answered yet. Fill in the answer, then run this again.")
        else:
            verdict, problem = True, None
        if problem and os.environ.get("COURSE_STRICT") == "1":
            raise problem
        print(problem or f"Right: {praise}")
        return verdict

    return check


def ask(function: Callable, *inputs: Any, **options: Any) -> Any:
    """Call a student's function; raise NotAnswered if it returns nothing, Wrong if it stops with an error."""
    if not callable(function):
        raise Wrong(f"a function is asked for, not a {type(function).__name__}; give its name, without brackets.")
    try:
        result = function(*inputs, **options)
    except Exception as error:
        if _left_blank(error):
            raise NotAnswered from None
        shapes = ", ".join(str(list(one.shape)) for one in inputs if hasattr(one, "shape"))
        given = f" It was given input of shape {shapes}." if shapes else ""
        raise Wrong(f"your function stopped with {_in_words(error)}.{given}") from error
    if _blank(result):
        raise NotAnswered
    return result


def name_the_mistake(
    got: Any,
    mistakes: Mapping[str, Any],
    expected: Any,
    tolerance: float = 1e-4,
    *,
    what: str = "your answer",
) -> Tensor:
    """Like :func:`close`, but known wrong answers get their own hint: ``mistakes`` maps hint to wrong answer.

    A wrong answer may have any shape, and may be a function without arguments, called only when needed.
    """
    got, expected = _tensor(got, what), _tensor(expected, "the expected answer")
    if _same(got, expected, tolerance):
        return got
    for hint, wrong in mistakes.items():
        if _same(got, _tensor(wrong() if callable(wrong) else wrong, "a known mistake"), tolerance):
            raise Wrong(hint)
    if got.shape != expected.shape:
        cure = "; squeeze or unsqueeze puts that right" * (got.squeeze().shape == expected.squeeze().shape)
        raise Wrong(f"{what} has shape {list(got.shape)}, asked for is {list(expected.shape)}{cure}.")
    if not got.isfinite().all():
        raise Wrong(f"{what} holds {int((~got.isfinite()).sum())} values that are NaN or infinite.")
    off, top = (got - expected).abs().max().item(), expected.abs().max().item()
    raise Wrong(f"{what} is off by up to {off:.3g}, where the largest value should be {top:.3g}.")


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


def _same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if a.shape != b.shape or a.numel() == 0:
        return a.shape == b.shape
    return ((a - b).abs().max() <= tolerance * (b.abs().max().item() or 1.0)).item()


def _tensor(value: Any, what: str) -> Tensor:
    if _blank(value):
        raise NotAnswered
    try:
        return torch.as_tensor(value).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{what} is a {type(value).__name__}, not a tensor, an array or a number.") from None


def _in_words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
