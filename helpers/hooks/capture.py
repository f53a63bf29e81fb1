"""Looking into a running network: find a layer, capture what it gives, or run no further than it."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin


def check_module(model: nn.Module) -> None:
    """Check that ``model`` is a module whose mode and parameters can be set and put back.

    Raises:
        TypeError: not a module, but a function, for example.
        ValueError: a module whose weights get their shape in the first forward pass, which has not been yet.
    """
    check_is_module(model)
    lazy = [m for m in model.modules() if isinstance(m, LazyModuleMixin) and m.has_uninitialized_params()]
    if lazy:
        raise ValueError(
            f"{type(model).__name__} has a {type(lazy[0]).__name__}, whose weights get their shape in the first "
            "forward pass: run it once, model(x), with pictures as you will give them."
        )


def check_is_module(model: nn.Module) -> None:
    """Raise TypeError unless ``model`` is a module, which is not a class of modules either."""
    if not isinstance(model, nn.Module):
        given = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise TypeError(
            f"The model is {given}; give a torch.nn.Module, whose mode and parameters can be set and put back. A "
            "function's code goes into the forward() of a small module that holds the network."
        )


def find_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """Return the module of ``model`` that ``layer`` names, or ``layer`` itself if it is one.

    Args:
        model: any network.
        layer: a name from ``dict(model.named_modules())``, such as "layer4" or "features.29", or a module of the model.

    Returns:
        The module itself, not a copy.

    Raises:
        TypeError: the model is not a module, or the layer neither a name nor a module.
        ValueError: the model has no such module, and the message lists names that it has; or the module is a part of
            compiled code, which calls nobody's hooks.

    Example:
        >>> from torch import nn
        >>> from helpers.hooks import find_layer
        >>> find_layer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "1")
        ReLU()
    """
    check_is_module(model)
    if isinstance(layer, nn.Module) and any(module is layer for module in model.modules()):
        return _open(layer)
    if isinstance(layer, str) and (named := _named(model, layer)) is not None:
        return _open(named)
    names = {name: module for name, module in model.named_modules() if name}
    if isinstance(layer, nn.Module):
        raise ValueError(
            f"This {type(layer).__name__} is not a part of the {type(model).__name__}; "
            f"take the layer from the same model, for example by name: {_candidates('', names)}."
        )
    if not isinstance(layer, str):
        raise TypeError(f"The layer is a {type(layer).__name__}; give a name, for example {_candidates('', names)}.")
    raise ValueError(
        f"{type(model).__name__} has no layer {layer!r}; it has {_candidates(layer, names)}."
        " All names: dict(model.named_modules())."
    )


def _named(model: nn.Module, name: str) -> nn.Module | None:
    """Return the module of that name, without a walk through all of them, or None."""
    module = model
    for part in name.split("."):
        children = module._modules  # of a torch.jit module not a dict, and without get()
        if part not in children or children[part] is None:
            return None
        module = children[part]
    return module


def _open(module: nn.Module) -> nn.Module:
    if isinstance(module, torch.jit.ScriptModule) and not isinstance(module, torch.jit.TopLevelTracedModule):
        raise ValueError(
            "Nobody can look at this layer, which is inside of a torch.jit module: use the model as it was before it "
            "was traced or scripted."
        )
    return module


def _candidates(layer: str, names: dict[str, nn.Module]) -> str:
    close = difflib.get_close_matches(layer, names, n=5, cutoff=0.6)
    shown = close or [name for name in names if "." not in name][:12]
    return ", ".join(repr(name) for name in shown) or "no layers inside"


class Maps:
    """What one layer gave in the last forward pass: its ``activations``, and their gradient on request.

    :func:`capture` makes it, and fills it when the model runs.

    Example:
        >>> import torch
        >>> from helpers.hooks import capture
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
        >>> with capture(net[0]) as maps:
        ...     logits = net(torch.zeros(1, 3, 8, 8))
        >>> maps.gradient(logits[:, 1]).shape
        torch.Size([1, 4, 6, 6])
    """

    def __init__(self) -> None:
        self._activations: Tensor | None = None

    @property
    def ran(self) -> bool:
        """Whether a forward pass went through the layer."""
        return self._activations is not None

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

        Args:
            score: one number or several, made of what the model gave in the captured forward pass.

        Raises:
            RuntimeError: the score does not depend on this layer, or gradients were switched off in the forward pass.
        """
        if not self.activations.requires_grad:
            raise RuntimeError(
                "The layer ran without gradients: look for a torch.no_grad() around it, or a torch.utils.checkpoint "
                "with use_reentrant=True, also inside of the model."
            )
        gradient = None
        if score.requires_grad:
            (gradient,) = torch.autograd.grad(score.sum(), self.activations, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise RuntimeError(
                "This score does not depend on the captured layer: capture a layer on its way, and look for a detach() "
                "or a no_grad behind it."
            )
        return gradient


@contextmanager
def capture(*layers: nn.Module) -> Iterator[Maps | tuple[Maps, ...]]:
    """Capture the output of layers during forward passes inside the block: one record for one layer, else a tuple.

    The next layer gets a copy of the output, so that an in-place ReLU cannot overwrite what was captured. Where
    nothing before the layer needs a gradient (a frozen model, an ordinary picture), the graph starts here: the trunk
    runs without a graph, and :meth:`Maps.gradient` walks back through the head only. A layer that runs several times
    in one forward pass is recorded at its last run.

    Args:
        layers: modules, for example ``model.layer4``, or from :func:`find_layer`.

    Yields:
        :class:`Maps`, or a tuple of them in the order of the layers. They may be read after the block.

    Raises:
        ValueError: no layer given.
        TypeError: something that is not a module is given, or a layer gives something other than one float tensor.

    Example:
        >>> import torch
        >>> from helpers.hooks import capture
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(inplace=True))
        >>> with capture(net[0]) as maps:
        ...     _ = net(torch.zeros(1, 3, 8, 8))
        >>> maps.activations.shape
        torch.Size([1, 4, 6, 6])
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


class _Reached(Exception):
    """Carries what a layer gave out of a forward pass that goes no further."""


@contextmanager
def run_to(model: nn.Module, layer: str | nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside the block, a function that runs the model as far as a layer and returns what the layer gives there.

    The layers behind do not run, so that they neither cost time nor change the output in place. Gradients flow back
    to the picture. A layer that is called several times is stopped at its first call.

    Args:
        model: any network, in the mode that it is in.
        layer: module, or name of a module.

    Yields:
        A function: input of the model -> output of the layer, in the layer's own shape.

    Raises:
        TypeError: the model is not a module, or the layer neither a name nor a module.
        ValueError: the model has no such layer, or never calls it.

    Example:
        >>> import torch
        >>> from helpers.hooks import run_to
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
        >>> with run_to(net, "0") as read:
        ...     read(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 4, 6, 6])
    """
    module = find_layer(model, layer)

    def stop(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        raise _Reached(output)

    def run(x: Tensor) -> Tensor:
        try:
            model(x)
        except _Reached as reached:
            return reached.args[0]
        raise ValueError(f"The model never calls this {type(module).__name__}: choose a layer that it runs.")

    with module.register_forward_hook(stop):
        yield run
