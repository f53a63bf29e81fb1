"""What every attribution method shares: its arguments are checked, and the model is left exactly as it was.

A method reads: ``with explaining(model)``, then ``check_pictures``, then :func:`run` or :func:`scores_of` as often as
it needs the network, then its formula. What a method call finds out about its model in the first forward pass is kept
in a :class:`_Call` until its ``explaining`` block ends.

A **target** is what the caller asks for: ``None``, class numbers or a function. A **settled target** is what is left of
it when ``None`` has been replaced by the top classes of the unchanged pictures, so that all changed versions of a
picture are scored for the same class.
"""

import operator
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointError

from helpers.attribution._speed import LOOKS_AT_MEMORY, make_plain, needs_plain, turned
from helpers.attribution.progress import in_chunks
from helpers.hooks.capture import check_is_module, check_module

Target = int | Sequence[int] | Tensor | Callable[[Any], Tensor] | None
SettledTarget = Tensor | Callable[[Any], Tensor]

# ---------------------------------------------------------------------------------------------------------------------
# Pictures and texts


class Kind(NamedTuple):
    """One kind of input: its name, its number of dimensions, its shape, and the shape of a layer's maps for it."""

    one: str
    dims: int
    shape: str
    maps: str


PICTURE = Kind("picture", 4, "[N, C, H, W]", "[N, K, h, w]")
TEXT = Kind("text", 3, "[N, C, L]", "[N, K, l]")


def kind(x: Tensor) -> Kind:
    """Return what ``x`` is by its shape: a batch of texts, if it has three dimensions, else of pictures."""
    return TEXT if isinstance(x, Tensor) and x.dim() == TEXT.dims else PICTURE


def kind_for(model: nn.Module | None) -> Kind:
    """Return what ``model`` takes: texts, if its convolutions are Conv1d and none is a Conv2d, else pictures."""
    return TEXT if model is not None and isinstance(first_convolution(model), nn.Conv1d) else PICTURE


def first_convolution(model: nn.Module) -> nn.Conv1d | nn.Conv2d | None:
    """Return the Conv2d that stands first among the modules of ``model``, else its first Conv1d, else None."""
    of_texts = None
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module
        if of_texts is None and isinstance(module, nn.Conv1d):  # attention over channels uses one, too
            of_texts = module
    return of_texts


def places(maps: Tensor) -> tuple[int, ...]:
    """Return the dimensions of ``maps`` that count places, all behind [N, K]: (2, 3) for pictures, (2,) for texts."""
    return tuple(range(2, maps.dim()))


def which(bad: Tensor, x: Tensor) -> str:
    """Return the words for the first of ``x`` for which ``bad``, bool [N], is true: "Picture 2 of the batch"."""
    one = kind(x).one
    return f"The {one}" if len(bad) == 1 else f"{one.capitalize()} {int(bad.nonzero()[0])} of the batch"


def check_pictures(x: Tensor, model: nn.Module | None = None) -> Tensor:
    """Return a detached copy of ``x`` after checking that it is a batch of pictures, float [N, C, H, W].

    For a ``model`` that takes texts, see :func:`kind_for`, it has to be a batch of texts instead, float [N, C, L].

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
        cure = (
            "look up each word's vector and give these numbers"
            if due is TEXT
            else "turn them into floats as the network expects, with preprocess"
        )
        raise TypeError(f"The {due.one}s are {x.dtype}; {cure}.")
    if x.dim() != due.dims:
        raise ValueError(f"The {due.one}s have shape {list(x.shape)}; give {due.shape}, one {due.one} as x[None].")
    if x.numel() == 0:
        raise ValueError(f"The batch is empty, shape {list(x.shape)}; give at least one {due.one}.")
    if not torch.isfinite(x.sum()):  # the sum is quick, but may overflow
        bad = ~torch.isfinite(x).flatten(1).all(1)
        if bad.any():
            raise ValueError(f"{which(bad, x)} holds NaN or infinite values; look at where it was divided or read.")
    return x.detach().clone()


def baseline_like(baseline: float | Tensor, x: Tensor) -> Tensor:
    """Return the baseline, the values that stand for "nothing there", in the shape of ``x``.

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
        spot = "word" if kind(x) is TEXT else "colour"
        raise ValueError(
            f"The baseline, {given}, does not fit {kind(x).one}s {list(x.shape)}: give a number, a {spot} "
            f"{[x.shape[1], *[1] * (x.dim() - 2)]}, a {kind(x).one} {list(x.shape[1:])}, or one for each."
        )
    if not torch.isfinite(plain).all():
        raise ValueError("The baseline holds NaN or infinite values; look at where it was made.")
    return whole


def source_of_noise(generator: torch.Generator | None) -> torch.Generator:
    """Return ``generator``, or a fresh one with seed 0 for None.

    Raises:
        TypeError: something else, such as a seed.
        ValueError: one that is not on the CPU.
    """
    if generator is None:
        return torch.Generator().manual_seed(0)
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"The generator is {generator!r}; give torch.Generator().manual_seed(0), or another seed.")
    if generator.device.type != "cpu":
        raise ValueError(f"The generator is on {generator.device}; give torch.Generator(), on the CPU, for any device.")
    return generator


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless ``value`` is a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; give a whole number, 1 or more.")


# ---------------------------------------------------------------------------------------------------------------------
# The model while it is explained


@dataclass
class _Call:
    """What one method call knows about its model."""

    autocast: dict[str, torch.dtype]  # the caller's: kind of device -> precision
    made_in_inference_mode: bool = False  # whether parameters were made under torch.inference_mode()
    fast: bool | None = None  # whether the quick memory layout is used; None before the first forward pass
    mixes: bool = False  # whether the pictures of a batch change each other's scores
    rounding: float = 0.0  # relative size of the steps between the numbers that the model gives


_CALL: ContextVar[_Call | None] = ContextVar("call", default=None)
_LOCK = threading.RLock()  # one for all models, as models may share modules
_WARNED: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


@contextmanager
def explaining(model: nn.Module) -> Iterator[None]:
    """Inside the block the model is in ``eval()`` mode with frozen parameters, and gradients are on.

    Every module's own mode, every parameter's ``requires_grad`` and every buffer come back at the end, also after an
    error; a model may count its forward passes in a buffer.
    Frozen parameters make the gradient of an input cheaper: their own gradients are never computed. Only one thread at
    a time explains: otherwise one thread could restore the mode of a shared model while another still runs it.
    The caller's autocast applies to the model, see :func:`as_called`, but not to the sums of the method.

    Raises:
        TypeError: something that is not a module.
    """
    check_is_module(model)
    with _LOCK, ExitStack() as stack:
        outer = _CALL.get()
        casts = {d: torch.get_autocast_dtype(d) for d in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(d)}
        for device in casts:
            stack.enter_context(torch.autocast(device, enabled=False))
        before = _State(model)
        call = _Call(casts or (outer.autocast if outer else {}), before.made_in_inference_mode)
        stack.callback(_CALL.reset, _CALL.set(call))
        try:
            if any(mode for _, mode in before.modes):
                model.eval()
            for parameter, trainable in before.parameters:
                if trainable:
                    parameter.requires_grad_(False)
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            before.restore()


class _State:
    """What may change while a model is explained, as it is now: modes, ``requires_grad`` and buffers."""

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        parameters = [p for module in modules for p in module._parameters.values() if p is not None]
        if any(isinstance(p, UninitializedParameter) for p in parameters):
            check_module(model)  # names the module and the cure
        buffers = [(module, name, b) for module in modules for name, b in module._buffers.items() if b is not None]
        self.modes = [(module, module.training) for module in modules]
        self.parameters = [(p, p.requires_grad) for p in parameters if not p.is_inference()]
        self.buffers = [(m, name, b, b.detach().clone(), b._version) for m, name, b in buffers if not b.is_inference()]
        fixed = [t for t in chain(parameters, (b for _, _, b in buffers)) if t.is_inference()]
        self.made_in_inference_mode = any(t.is_floating_point() for t in fixed)

    def restore(self) -> None:
        """Put back what has changed, also a buffer that a forward pass has exchanged for another tensor."""
        for module, mode in self.modes:
            if module.training != mode:
                module.training = mode
        for parameter, trainable in self.parameters:
            if parameter.requires_grad != trainable:
                parameter.requires_grad_(trainable)
        for module, name, buffer, values, version in self.buffers:
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(values)
            if not isinstance(module, torch.jit.ScriptModule) and module._buffers.get(name) is not buffer:
                setattr(module, name, buffer)


@contextmanager
def as_called(device: torch.device) -> Iterator[None]:
    """Inside the block the model runs under the autocast that the caller of the method had, if any."""
    call = _CALL.get()
    dtype = call.autocast.get(device.type) if call else None
    if dtype is None:
        yield
    else:
        with torch.autocast(device.type, dtype=dtype):
            yield


class Watch(TorchFunctionMode):
    """Notes what a model does in a forward pass: random numbers, mixed pictures, a softmax, views of memory.

    It sees each call of a torch function and hands it on, which costs about a microsecond.
    """

    _RANDOM = {
        *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli"),
        *("bernoulli_", "normal_", "uniform_", "exponential_", "random_", "multinomial", "gumbel_softmax"),
    }
    _DROPOUTS = {
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
        *("dropout_", "feature_dropout"),
    }
    _WATCHED = {*_RANDOM, *_DROPOUTS, *LOOKS_AT_MEMORY, "batch_norm", "scaled_dot_product_attention"}

    def __init__(self) -> None:
        super().__init__()
        self.random: str | None = None
        self.mixes = self.plain = False
        self.last_probabilities: tuple[str, Any] = ("", None)  # the last softmax or sigmoid, and what it gave

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name in self._WATCHED:
            self._note(name, args, kwargs)
        result = func(*args, **kwargs)
        if name in ("softmax", "sigmoid"):
            self.last_probabilities = (name, result)
        return result

    def _note(self, name: str, args: tuple, kwargs: dict) -> None:
        if name in LOOKS_AT_MEMORY:
            if args and needs_plain(name, args[0], args[1:], kwargs):
                self.plain = True
                make_plain(args[0])
        elif name == "batch_norm":
            self.mixes |= bool(kwargs.get("training", args[5] if len(args) > 5 else False))
        elif name == "scaled_dot_product_attention":
            if kwargs.get("dropout_p", args[4] if len(args) > 4 else 0) > 0:
                self.random = name
        elif name in self._DROPOUTS:
            share = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            on = kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else True))
            if on and share > 0:
                self.random = name
        else:
            self.random = name


def run(model: nn.Module, x: Tensor, target: Target = None) -> Any:
    """Return the logits [N, classes] of ``model`` for ``x``, pictures or texts.

    They may come as they are, first in a tuple or list, under "logits" or "out" of a dict, or as ``.logits`` of an
    object; one number for each picture, [N], is read as a single class, [N, 1]. Where ``target`` is a function, what is
    not [N, classes] is returned as the model gave it, for the function to read.

    Raises:
        ValueError: the pictures do not fit the model, the output cannot be read, or the pictures of a batch change each
            other's scores.
    """
    call = _CALL.get() or _Call({})
    if call.made_in_inference_mode and torch.is_grad_enabled():
        raise ValueError(
            f"{type(model).__name__} was made under torch.inference_mode(), and such parameters let no gradient "
            "through: make it outside of that block, or give copy.deepcopy(model)."
        )
    try:
        with as_called(x.device):
            output = _forward(model, x, call)
    except (RuntimeError, NotImplementedError) as error:
        cure = _what_does_not_fit(model, x)
        if cure is None:
            raise
        raise ValueError(cure) from error
    if call.mixes and len(x) > 1:
        raise ValueError(
            f"{type(model).__name__} has a BatchNorm without running statistics, so that the {kind(x).one}s of a batch "
            f"change each other's scores, also in eval() mode: explain one {kind(x).one} at a time (with chunk=1 where "
            "a method has a chunk), or train with track_running_stats=True."
        )
    answer = read(output, len(x), target, kind(x).one)
    call.rounding = torch.finfo(answer.dtype).eps if isinstance(answer, Tensor) and answer.is_floating_point() else 0.0
    return answer


def read(output: Any, count: int, target: Target = None, one: str = PICTURE.one) -> Any:
    """Return the logits [count, classes] out of what a model gives; errors and functions as in :func:`run`."""
    logits = _logits(output, count)
    if callable(target) and (logits is None or _entry(output).dim() < 2):
        return output
    if logits is None:
        raise ValueError(_unreadable(output, count, one))
    return logits


def _forward(model: nn.Module, x: Tensor, call: _Call) -> Any:
    """Return what the model gives for a copy of ``x``, which may be changed in place; watch the first time.

    Turning the weights to the quick layout costs more than one or two pictures gain by it. A gradient to the picture
    itself is left in the plain layout, since with other rounding a ReLU flips now and then.
    """
    if call.fast is None and (output := _forward_alone(model, x)) is not None:
        return output
    fast = len(x) > 2 and not x.requires_grad if call.fast is None else call.fast
    given = turned(x) if fast else x
    given = x.clone() if given is x else given
    try:
        if call.fast is not None:
            return model(given)
        with Watch() as watch:
            output = model(given)
        _note_what_was_seen(model, x, output, watch, call)
        return output
    except RuntimeError:  # a layout error that watching could not predict, in compiled code for example
        if given.is_contiguous() or given.dim() != 4:
            raise
        call.fast = False
        return model(x.clone(memory_format=torch.contiguous_format))


def _forward_alone(model: nn.Module, x: Tensor) -> Any:
    """Return what the model gives for one picture on the way to its gradient, or None where it has to be watched.

    Watching costs some ten microseconds for each call of a torch function. One picture can do without: no other is
    mixed with it, it stays in the plain layout, random numbers move the generator, and the graph tells of a softmax.
    """
    if len(x) > 1 or x.device.type != "cpu" or not torch.is_grad_enabled():
        return None
    state = torch.get_rng_state()
    try:
        output = model(x.clone())
    except RuntimeError:
        return None  # again under the watch, which mends a layout
    if not torch.equal(state, torch.get_rng_state()):
        torch.set_rng_state(state)
        return None
    _warn_of_probabilities(model, _logits(output, len(x)))
    return output


def _note_what_was_seen(model: nn.Module, x: Tensor, output: Any, watch: Watch, call: _Call) -> None:
    """Keep what the first forward pass showed, and warn of random numbers and of probabilities."""
    call.fast, call.mixes = not watch.plain, watch.mixes
    if watch.random:
        _warn_once(
            model,
            f"{type(model).__name__} calls {watch.random}() also in eval() mode, so its answers are random, and a map "
            "explains one draw of them. For dropout write F.dropout(x, p, training=self.training), or nn.Dropout.",
        )
    _warn_of_probabilities(model, _logits(output, len(x)), watch)


def _warn_of_probabilities(model: nn.Module, logits: Tensor | None, watch: Watch | None = None) -> None:
    if logits is not None and (how := _probabilities(logits, watch)):
        module = nn.Sigmoid if how == "sigmoid" else nn.Softmax
        names = [name for name, part in model.named_modules() if name and isinstance(part, module)]
        cure = (
            f'model.set_submodule("{names[-1]}", torch.nn.Identity())' if names else f"leave the {how} out of forward"
        )
        _warn_once(
            model,
            f"{type(model).__name__} gives probabilities, not logits: its last step is a {how}, whose gradient nearly "
            f"vanishes where the network is sure, and which mixes the classes. Take it off: {cure}.",
        )


def _probabilities(logits: Tensor, watch: Watch | None) -> str | None:
    """Return "softmax" or "sigmoid" if that is how ``logits`` came about, as far as it can be seen, else None."""
    if watch is not None and watch.last_probabilities[1] is logits:
        return watch.last_probabilities[0]
    for how in ("Softmax", "Sigmoid"):
        if type(logits.grad_fn).__name__.startswith(f"{how}Backward"):
            return how.lower()
    rows = logits.detach()
    steps = 4 * torch.finfo(rows.dtype).eps
    one = rows.shape[1] > 1 and bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < max(steps, 1e-5)).all())
    return "softmax" if one else None


def _warn_once(model: nn.Module, message: str) -> None:
    said = _WARNED.setdefault(model, set())
    if message not in said:
        said.add(message)
        warnings.warn(message, UserWarning, stacklevel=2)


def _entry(output: Any) -> Any:
    """Return what should hold the logits, wherever it stands in what a model gives."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict):
        return output.get("logits", output.get("out"))
    if hasattr(output, "logits"):
        return output.logits
    return output[0] if isinstance(output, tuple | list) and output else None


def _logits(output: Any, count: int) -> Tensor | None:
    """Return logits [count, classes] out of what a model gives, or None where there are none."""
    entry = _entry(output)
    if not isinstance(entry, Tensor) or not entry.is_floating_point():
        return None
    if entry.dim() < 2 and entry.numel() == count:
        return entry.reshape(count, 1)
    return entry if entry.dim() == 2 and len(entry) == count else None


def _unreadable(output: Any, count: int, one: str) -> str:
    """Return the sentence for an output that holds no logits, with a target function that would read it."""
    shape = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
    entry = _entry(output)
    if isinstance(entry, Tensor) and not entry.is_floating_point():
        shape = f"{entry.dtype} {list(entry.shape)}"
    function = f"target=lambda output: ..., which returns one score for each {one}, shape [N]"
    if isinstance(output, dict) and isinstance(output.get("out"), Tensor):
        function = 'target=lambda output: output["out"][:, c].mean((1, 2)) for class c of a segmentation'
    elif isinstance(output, Tensor) and output.dim() == 4 and len(output) == count:
        function = "target=lambda output: output[:, c].mean((1, 2)) for class c of a segmentation"
    elif isinstance(output, tuple | list) and output and all(isinstance(part, dict) for part in output):
        function = 'target=lambda output: torch.stack([found["scores"].sum() for found in output]) for a detector'
    return (
        f"The model gives {shape}, not one row of logits for each {one}: give a target function, such as {function}, "
        "or wrap the model in a module whose forward returns [N, classes]."
    )


def _what_does_not_fit(model: nn.Module, x: Tensor) -> str | None:
    """Return the sentence for pictures on another device, with other channels or of another precision, or None."""
    one, name = kind(x).one, type(model).__name__
    weights = next((p for p in chain(model.parameters(), model.buffers()) if p.is_floating_point()), x)
    if weights.is_meta:
        return (
            f"{name} is on the meta device, where weights have no values: load it, with model.to_empty() and weights."
        )
    if weights.device != x.device:
        return f"The {one}s are on {x.device}, {name} is on {weights.device}: give x.to({str(weights.device)!r})."
    first = first_convolution(model)
    if first is not None and first.in_channels != x.shape[1]:
        values, cure = (
            ("numbers a word", "give [N, C, L], each word a column, with the word vectors that belong to the network")
            if kind(x) is TEXT
            else ("channels", "use the preprocess that belongs to the network")
        )
        return f"The {one}s have {x.shape[1]} {values}, {name} takes {first.in_channels}; {cure}."
    if weights.dtype != x.dtype:
        return f"The {one}s are {x.dtype}, the weights of {name} are {weights.dtype}: give x.to({weights.dtype})."
    return None


def quick(x: Tensor) -> Tensor:
    """Return ``x`` in the memory layout that this method call uses; :func:`run` does the same by itself."""
    call = _CALL.get()
    return turned(x) if call is not None and call.fast else x


def fast_layout() -> bool:
    """Return whether this method call uses the quick memory layout."""
    call = _CALL.get()
    return bool(call and call.fast)


def warn_if_rounded_away(model: nn.Module, changes: Tensor, scores: Tensor, tolerated: float = 0.0) -> None:
    """Warn once where changes of scores are no larger than the steps between numbers of the network's precision.

    Args:
        model: what is explained.
        changes: by how much the scores changed, any shape.
        scores: the scores themselves, any shape.
        tolerated: how large the steps may be without harm.
    """
    call = _CALL.get()
    if call is None or call.rounding < 1e-4:
        return
    step = call.rounding * scores.abs().max()
    if step > tolerated and changes.square().mean().sqrt() < 2 * step:
        _warn_once(
            model,
            f"{type(model).__name__} gives its scores in steps of about {step:.2g} (half precision), and the changes "
            "that this method measures are hardly larger, so its result is mostly rounding: use model.float().",
        )


# ---------------------------------------------------------------------------------------------------------------------
# Targets and scores


def wide(values: Tensor) -> Tensor:
    """Return ``values`` in float32 if they are float16 or bfloat16, in which sums lose their small parts."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def scores_of(model: nn.Module, x: Tensor, target: Target) -> Tensor:
    """Run ``model`` on ``x`` and return one score for each row, [N], at least in float32."""
    return score(run(model, x, target), target, len(x))


def score(logits: Any, target: Target, count: int | None = None) -> Tensor:
    """Return one score [N] for each row of ``logits`` [N, classes], at least in float32.

    Args:
        logits: what the network says before any softmax.
        target: ``None`` for each picture's top class, a class number, one for each picture (list, tuple, array or
            tensor [N]), or a function of the logits that returns [N] (for example
            ``lambda logits: logits[:, 3] - logits[:, 5]``).
        count: N, where ``logits`` is another thing, which a function reads.

    Raises:
        TypeError: another kind of target.
        ValueError: class numbers out of range or not one for each picture; a function that does not return [N]; a score
            that is NaN or infinite.
    """
    target = settle(logits, target)
    if not callable(target):
        return _check_finite(wide(logits.gather(1, target[:, None])[:, 0]))
    scores, count = target(logits), len(logits) if count is None else count
    if not isinstance(scores, Tensor) or scores.shape != (count,):
        raise ValueError(f"The target function must return one score for each picture, shape [{count}].")
    return _check_finite(wide(scores))


def _check_finite(scores: Tensor) -> Tensor:
    if not torch.isfinite(scores.sum()) and not (finite := torch.isfinite(scores)).all():
        raise ValueError(
            f"The score is {scores[~finite][0].item()}, of which no part can be told: look for NaN among the weights, "
            "a division by zero, or half precision that overflows (use model.float())."
        )
    return scores


def settle(logits: Any, target: Target) -> SettledTarget:
    """Return the settled target: class numbers, int64 [N], or the function; arguments and errors as in `score`.

    Methods that run the network on many versions of a picture settle the target once, on the unchanged picture, and
    take `of_rows` of it for each chunk. A target function is given a chunk of such rows: it must treat all alike.
    """
    if callable(target):
        return target
    count, classes = logits.shape
    if target is None:
        return logits.detach().argmax(1)
    chosen = _numbers(target).to(logits.device)
    if chosen.dim() == 0:
        chosen = chosen.expand(count).clone()
    elif len(chosen) != count:
        raise ValueError(f"{len(chosen)} targets for {count} pictures; give one class number for each.")
    if (chosen < 0).any() or (chosen >= classes).any():
        bad = chosen[(chosen < 0) | (chosen >= classes)][0].item()
        raise ValueError(f"Class {bad} is out of range: this network has {classes} classes, 0 to {classes - 1}.")
    return chosen


def _numbers(target: Any) -> Tensor:
    """Return class numbers as int64, [] for one or [N] for several."""
    if isinstance(target, bool):
        raise TypeError("The target is a bool; give a class number.")
    several = isinstance(target, list | tuple) or len(getattr(target, "shape", ())) == 1  # a tensor, an array
    try:
        chosen = torch.as_tensor(target) if several else torch.tensor(operator.index(target))
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"The target is a {type(target).__name__}; give None, a class number, one for each picture, or a function."
        ) from None
    if chosen.numel() and (chosen.is_floating_point() or chosen.is_complex() or chosen.dtype == torch.bool):
        raise TypeError(f"The target holds {chosen.dtype}; give whole class numbers, target.long() of a tensor.")
    if chosen.dim() > 1:
        raise TypeError(f"The target has shape {list(chosen.shape)}; give one class number for each picture, [N].")
    return chosen.long()


def of_rows(settled_target: SettledTarget, pictures: Tensor) -> SettledTarget:
    """Return the settled target of each row, where row r is a version of picture ``pictures[r]``, int64 [rows]."""
    return settled_target if callable(settled_target) else settled_target[pictures.to(settled_target.device)]


def settle_on_whole(model: nn.Module, x: Tensor, target: Target, chunk: int | None) -> SettledTarget:
    """Return the settled target of the unchanged pictures.

    A function is returned as it is; one picture runs then too, as the first pass fills the :class:`_Call`.
    """
    with torch.no_grad():
        if callable(target):
            run(model, x[:1], target)
            return target
        logits = [run(model, x[rows]) for rows in in_chunks(len(x), chunk, "whole pictures", x)]
        return settle(torch.cat(logits), target)


def scores_and_target_on_whole(
    model: nn.Module, x: Tensor, target: Target, chunk: int | None
) -> tuple[Tensor, SettledTarget]:
    """Return the score of each unchanged picture, [N], and the settled target."""
    found = []
    with torch.no_grad():
        for rows in in_chunks(len(x), chunk, "whole pictures", x):
            output = run(model, x[rows], target)
            found.append(score(output, target, len(rows)) if callable(target) else output)
        answer = torch.cat(found)
        return (answer, target) if callable(target) else (score(answer, target), settle(answer, target))


@contextmanager
def backward_pass(model: nn.Module) -> Iterator[None]:
    """Inside the block gradients are taken; the errors of `torch.utils.checkpoint` come out as a sentence.

    It runs a part of the model again in the backward pass, where neither hooks nor rules of a method reach it.

    Raises:
        ValueError: the model uses it, in a way in which the method cannot have its gradient.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, CheckpointError) and "checkpoint is incompatible with .grad()" not in str(error):
            raise
        raise ValueError(
            f"{type(model).__name__} uses torch.utils.checkpoint, which runs a part of it a second time in the "
            "backward pass, where this method cannot follow: switch it off while you explain, for example with "
            "model.gradient_checkpointing_disable() or memory_efficient=False; the values stay the same."
        ) from error


def without_autocast(x: Tensor) -> torch.autocast:
    """Return a context in which autocast is off on the device of ``x``, also where the caller has switched it on."""
    return torch.autocast(x.device.type if isinstance(x, Tensor) else "cpu", enabled=False)
