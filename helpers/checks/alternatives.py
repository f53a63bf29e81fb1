"""What a student may have done in place of one step of a right function: another call, number, part or way.

A step is one call of torch. Each other way has its words, which continue "this is what comes out ...", and a function
that is called in place of the step.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from helpers.checks.changes import NUMBERS, changes_of
from helpers.checks.steps import axes_in_words

Replace = Callable[[Callable, tuple, dict], Any]  # what was to be called, with what, and with which options


class Step(NamedTuple):
    """One call of torch in a right function: where it stands, what is called, and what it gave at first."""

    key: tuple
    name: str
    call: Callable
    inputs: tuple
    options: dict[str, Any]
    result: Tensor


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "the mean": lambda y: y.mean(-1),
    "the sum": lambda y: y.sum(-1),
    "the median": lambda y: y.median(-1).values,
    "the largest value": lambda y: y.amax(-1),
    "the smallest value": lambda y: y.amin(-1),
    "the second largest value": lambda y: y.sort(-1).values[..., -2],
    "the largest absolute value": lambda y: y.abs().amax(-1),
    "the mean of the absolute values": lambda y: y.abs().mean(-1),
    "the sum of the absolute values": lambda y: y.abs().sum(-1),
    "the standard deviation": lambda y: y.std(-1),
    "the variance": lambda y: y.var(-1),
    "the root of the mean square": lambda y: y.square().mean(-1).sqrt(),
    "the mean square": lambda y: y.square().mean(-1),
    "the length (root of the sum of squares)": lambda y: y.norm(dim=-1),
    "the root of the sum": lambda y: y.sum(-1).sqrt(),
    "the root of the mean": lambda y: y.mean(-1).sqrt(),
    "the mean of the roots": lambda y: y.sqrt().mean(-1),
    "the mean of the logarithms": lambda y: y.log().mean(-1),
    "the mean of the positive values alone": lambda y: (y * (y > 0)).sum(-1) / (y > 0).sum(-1).clamp(min=1),
    "the product": lambda y: y.prod(-1),
    "the first value": lambda y: y[..., 0],
    "the last value": lambda y: y[..., -1],
    "the middle value": lambda y: y[..., y.shape[-1] // 2],
    "the range (largest less smallest)": lambda y: y.amax(-1) - y.amin(-1),
    "logsumexp": lambda y: y.logsumexp(-1),
    "a mean weighted by a softmax": lambda y: (y.softmax(-1) * y).sum(-1),
    "the number of values above zero": lambda y: (y > 0).to(y).sum(-1),
}
OF = {
    "mean": "the mean",
    "sum": "the sum",
    "amax": "the largest value",
    "amin": "the smallest value",
    "std": "the standard deviation",
    "var": "the variance",
    "prod": "the product",
    "norm": "the length (root of the sum of squares)",
    "linalg_vector_norm": "the length (root of the sum of squares)",
}
PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "a * b": lambda a, b: a * b,
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "b - a": lambda a, b: b - a,
    "a / b": lambda a, b: a / b,
    "b / a": lambda a, b: b / a,
    "a alone": lambda a, b: a,
    "b alone": lambda a, b: b,
    "the larger of a and b": lambda a, b: torch.maximum(*_both(a, b)),
    "the smaller of a and b": lambda a, b: torch.minimum(*_both(a, b)),
    "the mean of a and b": lambda a, b: (a + b) / 2,
    "a * |b|": lambda a, b: a * abs(b),
    "|a| * b": lambda a, b: abs(a) * b,
    "a squared": lambda a, b: a * a,
    "a times b squared": lambda a, b: a * b * b,
    "|a - b|": lambda a, b: abs(a - b),
    "(a + b) squared": lambda a, b: (a + b) ** 2,
    "a / (a + b)": lambda a, b: a / (a + b),
    "a / (b + 0.1)": lambda a, b: a / (b + 0.1),
    "a / (b + 1)": lambda a, b: a / (b + 1),
}
SIGNS = {"mul": "a * b", "add": "a + b", "sub": "a - b", "rsub": "b - a", "div": "a / b", "rdiv": "b / a"}
TESTS = {"gt": torch.gt, "ge": torch.ge, "lt": torch.lt, "le": torch.le, "eq": torch.eq, "ne": torch.ne}
WORDS = {
    "mul": "the product",
    "matmul": "the matrix product",
    "add": "the sum of two terms",
    "sub": "the difference",
    "rsub": "the difference",
    "div": "the quotient",
    "rdiv": "the quotient",
    "einsum": "the sum of products",
    "__getitem__": "the part that is picked out",
    "relu": "the ReLU",
    "clamp": "what is cut off at limits",
    "square": "the square",
    "sqrt": "the root",
    "exp": "the exponential",
    "pow": "the power",
    "abs": "the absolute value",
    "neg": "what has its sign turned",
    "diff": "the differences of neighbours",
    "softmax": "the softmax",
    "interpolate": "the enlarged map",
    "stack": "what is put together",
    "cat": "what is put together",
    "where": "what is chosen by a condition",
    "gather": "what is picked out",
    "grad": "the gradient",
}
USUAL = (0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.5, 2 / 3, 0.75, 0.9, 0.95, 1, 1.5, 2, 3, 4, 5, 10, 100, 255)
NUMERIC = {*SIGNS, *TESTS, "pow", "clamp", "topk", "where", "lerp", "quantile"}  # numbers here are values, and not axes
MODES = {
    "nearest": {"mode": "nearest", "align_corners": None},
    "bicubic": {"mode": "bicubic", "align_corners": False},
    "area": {"mode": "area", "align_corners": None},
    "bilinear, align_corners=True": {"mode": "bilinear", "align_corners": True},
    "bilinear, align_corners=False": {"mode": "bilinear", "align_corners": False},
    "nearest-exact": {"mode": "nearest-exact", "align_corners": None},
}


def other_calls(step: Step) -> Iterator[tuple[str, Replace]]:
    """Yield other calls in place of a step, and the step left out, each in words."""
    words = in_words(step)
    yield from _pairs(step)
    for how, replace in (*_reductions(step), *_others_like(step)):
        yield f"with {how} in place of {words}", replace
    for how, replace in _numbers(step):
        yield f"with {how} in {words}", replace
    first = step.inputs[0] if step.inputs else None
    if isinstance(first, Tensor) and first.shape == step.result.shape and first.dtype == step.result.dtype:
        yield f"if {words} is left out", lambda f, a, k: a[0]


def other_results(step: Step) -> Iterator[tuple[str, Replace]]:
    """Yield changes of what a step gives, each in words."""
    for how, change in changes_of(step.result) if step.result.dim() else ():
        words = f"with {how.replace('{x}', 'x')} in place of x, where x is {in_words(step)}"
        yield words, lambda f, a, k, change=change: _checked(change(f(*a, **k)))


def other_terms(step: Step, made: set[int]) -> Iterator[tuple[str, Replace]]:
    """Yield changes of a term of a step that no step has made, each in words."""
    for i, one in enumerate(step.inputs):
        if not isinstance(one, Tensor) or not one.dim() or len(step.inputs) < 2 or id(one) in made:
            continue
        for how, change in changes_of(one):
            x = f"x, where x, of shape {list(one.shape)}, goes into {in_words(step)}"
            words = f"with {how.replace('{x}', 'x')} in place of {x}"
            yield words, lambda f, a, k, change=change, i=i: f(*a[:i], _checked(change(a[i])), *a[i + 1 :], **k)


def in_words(step: Step) -> str:
    """Return what a step is, in words."""
    said = OF.get(step.name) or WORDS.get(step.name, f"what `{step.name}` gives")
    axes = f" over {axes_in_words(axes_of(step))}" if step.name in OF and axes_of(step) else ""
    return f"{said}{axes} (of shape {list(step.result.shape)})" if step.result.dim() else f"{said}{axes}"


def _reductions(step: Step) -> Iterator[tuple[str, Replace]]:
    axes = axes_of(step) if step.name in OF else ()
    if not axes:
        return
    for how, reduce in REDUCTIONS.items():
        if how != OF[step.name]:
            yield how, lambda f, a, k, reduce=reduce: _reduced(f(*a, **k), a[0], axes, reduce)
    for other in range(step.inputs[0].dim()):
        if other not in axes:
            more = tuple(sorted((*axes, other)))
            yield (
                f"{OF[step.name]} over {axes_in_words(more)}",
                lambda f, a, k, more=more: _reduced(f(*a, **k), a[0], more, REDUCTIONS[OF[step.name]], axes),
            )


def _reduced(result: Tensor, x: Tensor, axes: tuple, reduce: Callable, kept: tuple | None = None) -> Tensor:
    """Return x reduced over ``axes`` in the shape of ``result``, which is that over ``kept`` of them."""
    rest = [a for a in range(x.dim()) if a not in axes]
    y = _checked(reduce(x.permute(*rest, *axes).flatten(len(rest))))
    for a in sorted(axes):
        y = y.unsqueeze(a)
    whole = [1 if a in (kept or axes) else n for a, n in enumerate(x.shape)]
    return y.expand(whole).reshape(result.shape)


def axes_of(step: Step) -> tuple[int, ...]:
    """Return the axes over which a step reduces, nothing if it does not say."""
    axes = step.options.get("dim", step.inputs[1] if len(step.inputs) > 1 and step.name != "norm" else None)
    x = step.inputs[0] if step.inputs else None
    if not isinstance(x, Tensor) or isinstance(axes, bool) or not isinstance(axes, int | tuple | list | None):
        return ()
    axes = tuple(range(x.dim())) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    return tuple(sorted(a % x.dim() for a in axes))


def _pairs(step: Step) -> Iterator[tuple[str, Replace]]:
    """Yield other ways to put two terms together, and two matrices."""
    if len(step.inputs) < 2:
        return
    terms = " and ".join(f"{x} is {_term(one)}" for x, one in zip("ab", step.inputs, strict=False))
    plain = not all(isinstance(one, Tensor) for one in step.inputs[:2])
    for how, join in PAIRS.items():
        if step.name in SIGNS and how != SIGNS[step.name] and (not plain or len(how) < 6 or how == "a alone"):
            words = f"with {how} in place of {SIGNS[step.name]}, where {terms}"
            yield words, lambda f, a, k, join=join: _checked(torch.as_tensor(join(a[0], a[1])))
    if step.name == "matmul":
        words = f"in {in_words(step)}"
        yield f"with the two factors exchanged {words}", lambda f, a, k: a[1] @ a[0]
        yield f"with a product value by value in place of {in_words(step)}", lambda f, a, k: a[0] * a[1]
        yield f"with the first factor transposed {words}", lambda f, a, k: a[0].mT @ a[1]
        yield f"with the second factor transposed {words}", lambda f, a, k: a[0] @ a[1].mT
    if step.name in TESTS:
        for name, test in TESTS.items():
            if name != step.name:
                yield f"with the test `{name}` in place of `{step.name}`", lambda f, a, k, test=test: test(a[0], a[1])


def _term(one: Any) -> str:
    if isinstance(one, Tensor):
        return f"a tensor of shape {list(one.shape)}" if one.dim() else "one number"
    return f"{one:.3g}" if isinstance(one, int | float) else str(one)


def _numbers(step: Step) -> Iterator[tuple[str, Replace]]:
    """Yield other numbers in place of those that the step is given."""
    for i, one in [*enumerate(step.inputs), *step.options.items()] if step.name in NUMERIC else ():
        if isinstance(one, bool) or not isinstance(one, int | float):
            continue
        whole = step.name == "topk"
        changes = [(f"{new:.3g}", lambda x, new=new: new) for new in USUAL if not whole or new == int(new)]
        changes += [(how.replace("{x}", f"{one:.3g}"), change) for how, change in NUMBERS.items()]
        for how, change in changes:

            def replace(f: Callable, a: tuple, k: dict, i: Any = i, change: Callable = change, w: bool = whole) -> Any:
                new = change(k[i] if isinstance(i, str) else a[i])
                return _given(f, a, k, i, int(new) if w else new)

            yield f"{how} in place of the number {one:.3g}", replace


def _given(f: Callable, inputs: tuple, options: dict, at: int | str, value: Any) -> Any:
    if isinstance(at, str):
        return f(*inputs, **{**options, at: value})
    return f(*inputs[:at], value, *inputs[at + 1 :], **options)


def _others_like(step: Step) -> Iterator[tuple[str, Replace]]:
    """Yield other parts that may be picked out, and other ways to enlarge."""
    if step.name == "interpolate":
        for how, mode in MODES.items():
            yield how, lambda f, a, k, mode=mode: f(*a, **{**k, **mode})
    if step.name == "argmax":
        yield "argmin", lambda f, a, k: a[0].argmin(*a[1:], **k)
    if step.name == "relu":
        for how, change in (
            ("a leaky ReLU, with 0.01 below zero,", lambda x: torch.where(x > 0, x, 0.01 * x)),
            ("a leaky ReLU, with 0.1 below zero,", lambda x: torch.where(x > 0, x, 0.1 * x)),
            ("softplus", torch.nn.functional.softplus),
            ("ELU", torch.nn.functional.elu),
            ("GELU", torch.nn.functional.gelu),
        ):
            yield how, lambda f, a, k, change=change: change(a[0])
    if step.name != "__getitem__" or len(step.inputs) != 2:
        return
    index = step.inputs[1] if isinstance(step.inputs[1], tuple) else (step.inputs[1],)
    x = step.inputs[0]
    if any(not isinstance(one, int | slice) for one in index) or any(isinstance(one, bool) for one in index):
        return
    for axis, one in enumerate(index):
        if isinstance(one, int):
            choices = [j for j in range(min(x.shape[axis], 12)) if j != one % x.shape[axis]]
        else:
            start, stop, stride = one.indices(x.shape[axis])
            choices = [
                slice(start + by, stop + by, stride) for by in (-1, 1) if start + by >= 0 and stop + by <= x.shape[axis]
            ]
        for other in choices:
            said = other if isinstance(other, int) else f"{other.start}:{other.stop}"
            new = (*index[:axis], other, *index[axis + 1 :])
            yield f"index {said} of axis {axis}", lambda f, a, k, new=new: f(a[0], new)
    if len(index) == 2 and x.dim() == 2:
        yield "rows and columns exchanged in it", lambda f, a, k: f(a[0].mT, a[1])


def _both(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    kind = next(one for one in (a, b) if isinstance(one, Tensor))
    return torch.as_tensor(a).to(kind), torch.as_tensor(b).to(kind)


def _checked(value: Tensor) -> Tensor:
    if not value.isfinite().all():
        raise ValueError("no answer comes of this")
    return value
