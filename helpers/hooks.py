"""Looking into a running network: capture what a layer gives, and change how ReLUs pass gradients back.

Everything here is a context manager: when its block ends, by an error or otherwise, the network is as it was.
"""

import difflib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def find_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """Return the module of ``model`` that ``layer`` names ("layer4", "features.29"), or ``layer`` itself if it is one.

    Raises:
        ValueError: the model has no such module; the message lists names that it has.
    """
    names = {name: module for name, module in model.named_modules() if name}
    if isinstance(layer, nn.Module):
        if any(module is layer for module in model.modules()):
            return layer
        raise ValueError(
            f"This {type(layer).__name__} is not a part of the {type(model).__name__}; "
            f"take the layer from the same model, for example by name: {_candidates('', names)}."
        )
    if layer in names:
        return names[layer]
    raise ValueError(
        f"{type(model).__name__} has no layer {layer!r}; it has {_candidates(layer, names)}."
        " All names: dict(model.named_modules())."
    )


def _candidates(layer: str, names: dict[str, nn.Module]) -> str:
    close = difflib.get_close_matches(layer, names, n=5, cutoff=0.6)
    shown = close or [name for name in names if "." not in name][:12]
    return ", ".join(repr(name) for name in shown) or "no layers inside"


class Maps:
    """What one layer gave in the last forward pass: its ``activations``, and their gradient on request."""

    def __init__(self) -> None:
        self._activations: Tensor | None = None

    @property
    def activations(self) -> Tensor:
        """The layer's output, in the layer's own shape, safe from in-place changes by the layers that follow.

        Raises:
            RuntimeError: no forward pass went through the layer inside the ``with`` block.
        """
        if self._activations is None:
            raise RuntimeError("Nothing captured yet: run the model, model(x), inside the `with capture(...)` block.")
        return self._activations

    def gradient(self, score: Tensor) -> Tensor:
        """Return d score.sum() / d activations, in the shape of the activations; no parameter gets a ``.grad``.

        With one score per image this is each image's own gradient, since images do not mix in ``eval()`` mode.

        Raises:
            RuntimeError: the score does not depend on this layer, or gradients were switched off in the forward pass.
        """
        if not self.activations.requires_grad:
            raise RuntimeError("The forward pass ran without gradients: run it outside of torch.no_grad().")
        (gradient,) = torch.autograd.grad(score.sum(), self.activations, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise RuntimeError("This score does not depend on the captured layer: capture a layer on its way.")
        return gradient


@contextmanager
def capture(*layers: nn.Module) -> Iterator[Maps | tuple[Maps, ...]]:
    """Capture the output of layers during forward passes inside the block: one record for one layer, else a tuple.

    The next layer gets a copy of the output, so that an in-place ReLU cannot overwrite what was captured. Where
    nothing before the layer needs a gradient (a frozen model, an ordinary picture), the graph starts here: the trunk
    runs without a graph, and :meth:`Maps.gradient` walks back through the head only. A layer that runs several times
    in one forward pass is recorded at its last run.

    Raises:
        ValueError: no layer given.
        TypeError: something that is not a module is given, or a layer gives something other than one float tensor.
    """
    if not layers:
        raise ValueError("capture() needs at least one layer, for example capture(model.layer4).")
    for layer in layers:
        if not isinstance(layer, nn.Module):
            raise TypeError(f"capture() takes modules, got {type(layer).__name__}; use find_layer(model, name) first.")
    records = tuple(Maps() for _ in layers)

    def hook_for(record: Maps):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
            if not isinstance(output, Tensor) or not output.is_floating_point():
                raise TypeError(f"{type(module).__name__} does not give one float tensor; capture a layer inside it.")
            if torch.is_grad_enabled() and not output.requires_grad:
                output = output.detach().requires_grad_()
            record._activations = output
            return output.clone()

        return hook

    with ExitStack() as stack:
        for layer, record in zip(layers, records, strict=True):
            stack.callback(layer.register_forward_hook(hook_for(record)).remove)
        yield records[0] if len(records) == 1 else records


class _ModifiedReLU(torch.autograd.Function):
    """Forward: an ordinary ReLU, cut off at ``ceiling`` (ReLU6). Backward: one of the two rules of relu_rule."""

    @staticmethod
    def forward(ctx, z: Tensor, ceiling: float, guided: bool, inplace: bool) -> Tensor:
        ctx.open_gates = (z > 0) & (z < ceiling) if guided else None
        if inplace:
            ctx.mark_dirty(z)
            return z.clamp_(0, ceiling)
        return z.clamp(0, ceiling)

    @staticmethod
    def backward(ctx, g: Tensor):
        g = g.clamp(min=0)
        return (g if ctx.open_gates is None else g * ctx.open_gates), None, None, None


class relu_rule(TorchFunctionMode):  # noqa: N801 - used like a function: `with relu_rule("guided"):`
    """Inside the block every ReLU passes gradients back by another rule; its forward pass stays the same.

    With z the ReLU's input and g the gradient that arrives at its output,

    * the true rule gives ``g * 1[z > 0]``,
    * ``"deconv"`` gives ``g * 1[g > 0]`` (Zeiler and Fergus, 2014),
    * ``"guided"`` gives ``g * 1[g > 0] * 1[z > 0]`` (Springenberg et al., 2015).

    The mode sees the *call*, not the module: ``nn.ReLU``, ``F.relu``, ``torch.relu``, ``z.relu_()`` and ReLU6, reused,
    in-place or functional, all count, where module hooks miss the functional ones without a word.

    Attributes:
        count: how many ReLU calls were changed; zero means that the rule did nothing.

    Raises:
        ValueError: another rule's name.
    """

    _INPLACE = {F.relu_, torch.relu_, Tensor.relu_}
    _RELUS = {F.relu, torch.relu, Tensor.relu} | _INPLACE

    def __init__(self, rule: str) -> None:
        super().__init__()
        if rule not in ("guided", "deconv"):
            raise ValueError(f"relu_rule knows 'guided' and 'deconv', not {rule!r}.")
        self.guided = rule == "guided"
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Replace the call if it is a ReLU, and let every other call through."""
        kwargs = kwargs or {}
        if func in self._RELUS:
            ceiling = float("inf")
        elif func is F.relu6:
            ceiling = 6.0
        elif func is F.hardtanh and kwargs["min_val"] == 0:  # nn.ReLU6 is a Hardtanh from 0 to 6
            ceiling = float(kwargs["max_val"])
        else:
            return func(*args, **kwargs)
        self.count += 1
        inplace = func in self._INPLACE or kwargs.get("inplace", False)
        return _ModifiedReLU.apply(args[0] if args else kwargs["input"], ceiling, self.guided, inplace)
