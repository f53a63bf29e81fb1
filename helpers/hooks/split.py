"""Cutting a network behind a layer: the layers before run once, those behind as often as one likes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, fx, nn

from helpers.hooks.capture import find_layer

Trunk = Callable[[Tensor], tuple[Tensor, ...]]
Head = Callable[..., Tensor]

# Calls that read a tensor's shape, type or number, so that their result is not a tensor made of the pictures.
_SIZES = {"size", "dim", "ndimension", "numel", "nelement", "stride", "type", "get_device", "item", "tolist"}


def split_by_hook(model: nn.Module, layer: nn.Module) -> tuple[Trunk, Head]:
    """Return a trunk and a head that both run the whole model: one notes the layer's last output, one replaces it.

    Right for any model, but the head takes as long as the model. Run the trunk first.
    """
    runs = 0  # of the layer in one forward pass; it may be called several times

    def trunk(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal runs
        outputs = []

        def note(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
            outputs.append(output)
            return output.clone()

        with layer.register_forward_hook(note):
            model(x.clone())
        if not outputs:
            raise ValueError(f"The model never calls this {type(layer).__name__}: split it at a layer that it runs.")
        runs = len(outputs)
        return outputs[-1], x

    def head(maps: Tensor, x: Tensor) -> Tensor:
        run = 0

        def replace(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor | None:
            nonlocal run
            run += 1
            return maps.clone() if run == runs else None

        with layer.register_forward_hook(replace):
            return model(x.clone())

    trunk.carries = 1
    return trunk, head


class _Whole(nn.Module):
    """A module that calls the model, so that tracing goes through ``model(x)`` and its hooks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Path(fx.Tracer):
    """Follows the code of the modules that hold the layer; every other module is one step."""

    proxy_buffer_attributes = True  # a buffer can then meet the stand-in for a number, as parameters always can

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m is self.layer or all(part is not self.layer for part in m.modules())


@contextmanager
def _notes_kept(model: nn.Module) -> Iterator[None]:
    """Give back, after the block, what the modules have noted on themselves, as ``self.features = x`` does in forward.

    A stand-in that stayed there would meet the next real picture.
    """
    kept = [(vars(module), dict(vars(module))) for module in model.modules()]
    inner = [(value, value.copy()) for _, notes in kept for value in notes.values() if isinstance(value, dict | list)]
    try:
        yield
    finally:
        for notes, before in (*kept, *inner):
            notes.clear()
            notes.extend(before) if isinstance(notes, list) else notes.update(before)


def split_by_graph(model: nn.Module, layer: nn.Module) -> tuple[Trunk, Head]:
    """Return a trunk and a head made of the steps before and behind the layer, each run once.

    Raises:
        Exception: of any kind, where the model's code cannot be followed with stand-ins for tensors.
    """
    whole = _Whole(model)
    with _notes_kept(model):
        steps = list(_Path(layer).trace(whole).nodes)
    idle = [step for step in steps if step.op.startswith("call") and not step.users]
    if idle:
        raise ValueError(f"Nobody uses the result of {idle[0]}: it may be there to change a tensor in place.")
    cut = [step for step in steps if step.op == "call_module" and whole.get_submodule(step.target) is layer][-1]
    pictures = next(step for step in steps if step.op == "placeholder")
    logits = steps[-1].args[0]

    behind, tensors = {cut}, {pictures}  # steps that depend on the layer; steps that give tensors made of the pictures
    for step in steps:
        if not behind.isdisjoint(step.all_input_nodes):
            behind.add(step)
        if not tensors.isdisjoint(step.all_input_nodes) and step.target is not getattr and step.target not in _SIZES:
            tensors.add(step)
    before = tensors - behind
    met = _back_from([logits], until=before | {cut})
    carried = [step for step in steps if step in met & before]
    trunk = _part(whole, steps, [pictures], (cut, *carried))
    trunk.carries = len(carried)
    return trunk, _part(whole, steps, [cut, *carried], logits)


def _back_from(wanted: list[fx.Node], until: set[fx.Node]) -> set[fx.Node]:
    """Return the steps that ``wanted`` need, themselves included, looking no further back than ``until``."""
    found, waiting = set(), list(wanted)
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += [] if step in until else step.all_input_nodes
    return found


def _part(whole: nn.Module, steps: list[fx.Node], given: list[fx.Node], wanted: fx.Node | tuple) -> fx.GraphModule:
    """Return a module that computes the steps ``wanted`` from copies of the steps ``given``."""
    graph = fx.Graph()
    inputs = [graph.placeholder(step.name) for step in given]
    copies = {step: graph.call_method("clone", (name,)) for step, name in zip(given, inputs, strict=True)}
    needed = _back_from(list(wanted) if isinstance(wanted, tuple) else [wanted], until=set(given))
    for step in steps:
        if step in needed and step not in copies:
            copies[step] = graph.node_copy(step, copies.__getitem__)
    graph.output(fx.node.map_arg(wanted, copies.__getitem__))
    return fx.GraphModule(whole, graph)


def split_at(model: nn.Module, layer: str | nn.Module, *, follow: bool = True) -> tuple[Trunk, Head]:
    """Cut a network behind a layer: ``model(x)`` is ``head(*trunk(x))``, and the head runs alone on changed maps.

    ``trunk(x)`` gives ``(maps, *carried)``: the layer's output at its last run, and whatever by-passes it on the way to
    the logits, such as a shortcut; ``trunk.carries`` tells how many these are, and where it is 0 the maps are enough.
    ``head(maps, *carried)`` gives the logits. Neither overwrites what it is given. For many versions of one picture's
    maps, repeat the rows of ``carried`` as those of the maps.

    The way from the layer to the logits is found by running the code around the layer once with stand-ins for tensors
    (the proxies of torch.fx); modules that do not hold the layer stay whole. Code that looks at numbers on that way
    (``if x.mean() > 0``), or that changes a tensor in place and does not use the result, cannot be followed: then the
    head runs the whole model on the carried pictures and puts the maps in, which gives the same and takes longer. With
    ``follow=False`` it always does. Use it where ``head(*trunk(x))`` differs from the model's logits, as it may with
    code such as ``isinstance(x, Tensor)``, which gives another answer for a stand-in.

    The halves share the model's modules. Split in the mode, ``eval()`` or ``train()``, in which you will run them.

    Args:
        model: any network with one tensor as its input.
        layer: module, or name of a module, where the network is cut.
        follow: whether the code between layer and logits is looked for; ``False`` takes the slow and safe way.

    Returns:
        ``trunk`` and ``head``, two functions.

    Raises:
        TypeError: the model is not a module, or the layer neither a name nor a module.
        ValueError: the model has no such layer.

    Example:
        >>> import torch
        >>> from helpers.hooks import split_at
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
        >>> trunk, head = split_at(net, "0")
        >>> x = torch.ones(1, 3, 8, 8)
        >>> bool(torch.equal(head(*trunk(x)), net(x)))
        True
    """
    module = find_layer(model, layer)
    if follow:
        try:
            return split_by_graph(model, module)
        except Exception:  # the user's code may raise any error when it is given stand-ins
            pass
    return split_by_hook(model, module)
