"""What every attribution method promises: a checked question, and a model left exactly as it was."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Kind(NamedTuple):
    """One kind of input, and the words for it."""

    one: str
    dims: int
    shape: str
    maps: str  # what a layer gives for it
    values: str  # what C counts
    spot: str  # what has these C values
    as_floats: str  # cures
    fitting: str
    sides: str


PICTURE = Kind(
    one="picture",
    dims=4,
    shape="[N, C, H, W]",
    maps="[N, K, h, w]",
    values="channels",
    spot="colour",
    as_floats="turn them into floats as the network expects, with preprocess",
    fitting="use the preprocess that belongs to the network",
    sides="whole pixels, 1 or more, or two such numbers, (rows, columns)",
)
TEXT = Kind(
    one="text",
    dims=3,
    shape="[N, C, L]",
    maps="[N, K, l]",
    values="numbers a word",
    spot="word",
    as_floats="look up each word's vector and give these numbers",
    fitting="give [N, C, L], each word a column, with the word vectors that belong to the network",
    sides="how many words, 1 or more",
)


def kind(x: Tensor) -> Kind:
    """Return what ``x`` is by its shape: a batch of texts, if it has three dimensions, else of pictures."""
    return TEXT if isinstance(x, Tensor) and x.dim() == TEXT.dims else PICTURE


def kind_for(model: nn.Module | None) -> Kind:
    """Return what ``model`` takes: texts, if its first convolution is a Conv1d, else pictures."""
    return TEXT if model is not None and isinstance(first_convolution(model), nn.Conv1d) else PICTURE


def first_convolution(model: nn.Module) -> nn.Conv1d | nn.Conv2d | None:
    """Return the convolution that stands first among the modules of ``model``, or None."""
    return next((module for module in model.modules() if isinstance(module, nn.Conv1d | nn.Conv2d)), None)


def places(maps: Tensor) -> tuple[int, ...]:
    """Return the dimensions of ``maps`` that count places, all behind [N, K]: (2, 3) for pictures, (2,) for texts."""
    return tuple(range(2, maps.dim()))


def check_layer(maps: Tensor, x: Tensor) -> Tensor:
    """Return ``maps``, what a layer gives for ``x``, after checking that they are maps in as many directions as ``x``.

    Raises:
        ValueError: another shape, such as that of a linear layer.
    """
    if maps.dim() != x.dim():
        raise ValueError(f"The layer gives {list(maps.shape)}, not maps {kind(x).maps}: choose a convolutional layer.")
    return maps


Target = int | Tensor | Callable[[Tensor], Tensor] | None


@contextmanager
def explaining(model: nn.Module) -> Iterator[None]:
    """Inside the block the model is in ``eval()`` mode with frozen parameters, and gradients are on.

    Every module's own mode and every parameter's ``requires_grad`` come back at the end, also after an error.
    Frozen parameters make the gradient of an input cheaper: their own gradients are never computed.
    """
    modes = [(module, module.training) for module in model.modules()]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in trainable:
            parameter.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter in trainable:
            parameter.requires_grad_(True)


def check_pictures(x: Tensor, model: nn.Module | None = None) -> Tensor:
    """Return a detached copy of ``x`` after checking that it is a batch of pictures, float [N, C, H, W].

    For a ``model`` whose first convolution is a Conv1d it has to be a batch of texts instead, float [N, C, L].

    Raises:
        TypeError: not a tensor, or not of floats.
        ValueError: another number of dimensions, empty, or with values that are NaN or infinite.
    """
    return check_kind(x, kind_for(model))


def check_kind(x: Tensor, due: Kind) -> Tensor:
    """Return a detached copy of ``x`` after checking that it is a batch of this kind; errors as in `check_pictures`."""
    if not isinstance(x, Tensor):
        raise TypeError(f"The {due.one}s must be a tensor, not {type(x).__name__}; use torch.from_numpy or preprocess.")
    if not x.is_floating_point():
        raise TypeError(f"The {due.one}s are {x.dtype}; {due.as_floats}.")
    if x.dim() != due.dims:
        raise ValueError(f"The {due.one}s have shape {list(x.shape)}; give {due.shape}, one {due.one} as x[None].")
    if x.numel() == 0:
        raise ValueError(f"The batch is empty, shape {list(x.shape)}; give at least one {due.one}.")
    if not torch.isfinite(x.sum()) and not torch.isfinite(x).all():  # the sum is quick, but may overflow
        raise ValueError(f"The {due.one}s hold NaN or infinite values; look at where they were divided or read.")
    return x.detach().clone()


def filled(baseline: float | Tensor, x: Tensor) -> Tensor:
    """Return the baseline, which stands for "nothing there", as one of its kind for each of ``x``.

    Args:
        baseline: a number, a colour [C, 1, 1], a picture [C, H, W], or one for each, in the units of ``x``; for texts
            a number, a word [C, 1], a text [C, L], or one for each.
        x: pictures [N, C, H, W], or texts [N, C, L].

    Raises:
        ValueError: another kind or shape of baseline, or one that is not finite.
    """
    try:
        plain = torch.as_tensor(baseline).detach().to(x)
        whole = plain.broadcast_to(x.shape)
    except (TypeError, ValueError, RuntimeError):
        plain = whole = None
    if plain is None or plain.dim() not in (0, x.dim() - 1, x.dim()):  # a row of values would broadcast, but sideways
        given = f"shape {list(baseline.shape)}" if isinstance(baseline, Tensor) else f"a {type(baseline).__name__}"
        raise ValueError(
            f"The baseline, {given}, does not fit {kind(x).one}s {list(x.shape)}: give a number, a {kind(x).spot} "
            f"{[x.shape[1], *[1] * (x.dim() - 2)]}, a {kind(x).one} {list(x.shape[1:])}, or one for each."
        )
    if not torch.isfinite(plain).all():
        raise ValueError("The baseline holds NaN or infinite values; look at where it was made.")
    return whole


def run(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits [N, classes] of ``model`` for ``x``, pictures or texts.

    Raises:
        ValueError: the channels of ``x`` do not fit the first convolution, or the output is not [N, classes].
    """
    try:
        logits = model(x)
    except RuntimeError as error:
        first = first_convolution(model)
        if first is not None and first.in_channels != x.shape[1]:
            raise ValueError(
                f"The {kind(x).one}s have {x.shape[1]} {kind(x).values}, {type(model).__name__} takes "
                f"{first.in_channels}; {kind(x).fitting}."
            ) from error
        raise
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"The model gives {shape}, not one row of logits for each {kind(x).one}: wrap it so that it does."
        )
    return logits


def score(logits: Tensor, target: Target) -> Tensor:
    """Return one score [N] for each row of ``logits`` [N, classes].

    Args:
        logits: what the network says before any softmax.
        target: ``None`` for each picture's top class, a class number, an integer tensor [N], or a function of the
            logits that returns [N] (for example ``lambda logits: logits[:, 3] - logits[:, 5]``).

    Raises:
        TypeError: another kind of target.
        ValueError: class numbers out of range or not one for each picture; a function that does not return [N].
    """
    target = settle(logits, target)
    if not callable(target):
        return logits.gather(1, target[:, None])[:, 0]
    scores = target(logits)
    if not isinstance(scores, Tensor) or scores.shape != logits.shape[:1]:
        raise ValueError(f"The target function must return one score for each picture, shape [{len(logits)}].")
    return scores


def settle(logits: Tensor, target: Target) -> Tensor | Callable[[Tensor], Tensor]:
    """Return the question as class numbers, int64 [N], or as the function it is; arguments and errors as in `score`.

    Methods that run the network on many versions of a picture settle ``None`` once, on the picture itself, and then
    ask for `of_rows` of the result. They give a function the rows of many versions at once: it must treat all alike.
    """
    count, classes = logits.shape
    if callable(target):
        return target
    if target is None:
        return logits.detach().argmax(1)
    if isinstance(target, Tensor) and target.dim() == 1:
        if target.is_floating_point() or target.dtype == torch.bool:
            raise TypeError(f"The target tensor is {target.dtype}; give whole class numbers, target.long().")
        if len(target) != count:
            raise ValueError(f"{len(target)} targets for {count} pictures; give one class number for each.")
        chosen = target.to(logits.device).long()
    else:
        if isinstance(target, bool):
            raise TypeError("The target is a bool; give a class number.")
        try:
            number = operator.index(target)
        except TypeError:
            raise TypeError(
                f"The target is a {type(target).__name__}; give None, a class number, a tensor of them, or a function."
            ) from None
        chosen = torch.full((count,), number, device=logits.device)
    if (chosen < 0).any() or (chosen >= classes).any():
        bad = chosen[(chosen < 0) | (chosen >= classes)][0].item()
        raise ValueError(f"Class {bad} is out of range: this network has {classes} classes, 0 to {classes - 1}.")
    return chosen


def of_rows(settled: Tensor | Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor | Callable[[Tensor], Tensor]:
    """Return the settled question for rows that are versions of the pictures numbered ``pictures``, int64 [rows]."""
    return settled if callable(settled) else settled[pictures.to(settled.device)]


def quick(x: Tensor) -> Tensor:
    """Return ``x`` in the memory layout that convolves fastest: channels last for pictures on the CPU."""
    if x.dim() != 4 or x.device.type != "cpu":
        return x
    return x.to(memory_format=torch.channels_last)  # also for one channel


def wide(values: Tensor) -> Tensor:
    """Return half precision as float32, in which sums of many values are exact enough; other values as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def without_autocast(x: Tensor) -> torch.autocast:
    """Return a block in which nothing is turned into half precision on the device of ``x``, whatever the caller did."""
    return torch.autocast(x.device.type if isinstance(x, Tensor) else "cpu", enabled=False)
