"""Which layers of a network can be explained: candidates by map size, each with the reason for it."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import padding, pooling

from helpers.attribution import cam
from helpers.attribution._common import check_pictures, explaining, run, scores_of
from helpers.attribution._layer_maps import arrangement
from helpers.hooks.capture import check_is_module

_POOLINGS = (
    *(pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveMaxPoolNd, pooling._AdaptiveAvgPoolNd),
    *(nn.LPPool2d, nn.FractionalMaxPool2d),
)
_NO_LAYERS = (*_POOLINGS, padding._ConstantPadNd, padding._ReflectionPadNd, padding._ReplicationPadNd)


class Layer(NamedTuple):
    """A layer whose output is maps, or tokens that stand for places of the picture.

    Attributes:
        name: as in ``dict(model.named_modules())``; what the keyword ``layer`` of a method takes.
        sides: (h, w), the size of its maps.
        channels: how many maps there are.
        has_cam: whether the network has an exact class activation map at this layer.
        reason: why it is proposed, in a sentence.

    >>> from helpers.report import Layer
    >>> Layer("layer4", (7, 7), 512, True, "The last maps.").sides
    (7, 7)
    """

    name: str
    sides: tuple[int, int]
    channels: int
    has_cam: bool
    reason: str


class _Seen(NamedTuple):
    """What a module gave in a forward pass, and in which place it ended."""

    order: int
    output: Tensor


def propose_layers(model: nn.Module, x: Tensor, count: int = 4) -> list[Layer]:
    """Return layers at which a network can be explained, the usual choice first.

    The network runs once, and each module is noted with the shape of its output. A module is a candidate if its
    output is maps [N, K, h, w], or can be read as such (channels last, tokens in a square grid), if it is no pooling
    and no padding, and if the score of the top class has a gradient there. The last condition leaves out, for example,
    the last block of a vision transformer, whose patch tokens the class token no longer reads. For each size of the
    maps one candidate is kept: of maps the outermost module that nothing by-passes, of tokens the last LayerNorm.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; left as it was.
        x: one picture or more, [N, C, H, W], in the units that the network takes; only the first is used.
        count: how many layers at most.

    Returns:
        A list of :class:`Layer`, from the smallest maps to the largest.

    Raises:
        TypeError, ValueError: a model or pictures that cannot be used; no layer gives maps.

    >>> import torch
    >>> from torch import nn
    >>> from helpers.report import propose_layers
    >>> stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.ReLU())
    >>> net = nn.Sequential(stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    >>> [(layer.name, layer.sides, layer.channels) for layer in propose_layers(net, torch.rand(1, 3, 16, 16))]
    [('0', (6, 6), 8), ('0.1', (16, 16), 4)]
    """
    given, model = model, _without_zero_weights(model)
    with explaining(model):
        x = check_pictures(x[:1] if isinstance(x, Tensor) and x.dim() == 4 else x, model)
        seen, score = _run(model, x)
        names = {id(module): name for name, module in reversed(list(model.named_modules()))}
        groups: dict[tuple[int, int], list[tuple[nn.Module, Tensor, bool]]] = {}
        outputs = [note.output for note in seen.values()]
        slopes = torch.autograd.grad(score, outputs, allow_unused=True) if outputs and score.requires_grad else []
        for (module, note), slope in zip(seen.items(), slopes, strict=False):
            maps = _as_maps(module, note.output, slope, x)
            if maps is not None and names[id(module)]:
                entry = (module, maps, note.output.dim() == 3)
                groups.setdefault(tuple(maps.shape[2:]), []).append(entry)
        found = []
        for sides in sorted(groups, key=lambda sides: sides[0] * sides[1])[: max(1, count)]:
            chosen = _choose(model, x, groups[sides], seen, names)
            if chosen is not None:
                found.append((names[id(chosen[0])], sides, chosen[1].shape[1], chosen[2]))
    if not found:
        raise ValueError(
            f"No layer of {type(model).__name__} gives maps of places on the way to its score: take a method that "
            "needs no layer, such as integrated_gradients or occlusion."
        )
    return [_described(given, x, number, *one) for number, one in enumerate(found)]


def _without_zero_weights(model: nn.Module) -> nn.Module:
    """Return the model, or, where a layer's weights are all zero, as in a new head, a copy with others there.

    Through a head of zeros no gradient comes, and so no layer could be told from one that is not used.
    """
    check_is_module(model)

    def asleep(module: nn.Module) -> bool:
        return isinstance(module, nn.Linear | nn.Conv2d) and not module.weight.count_nonzero()

    if not any(asleep(module) for module in model.modules()):
        return model
    model = copy.deepcopy(model)
    random = torch.Generator().manual_seed(0)
    for module in filter(asleep, model.modules()):
        module.weight.data = (0.02 * torch.randn(module.weight.shape, generator=random)).to(module.weight)
    return model


def _run(model: nn.Module, x: Tensor) -> tuple[dict[nn.Module, _Seen], Tensor]:
    """Return what each module gave in a forward pass, by the end of its last run, and the score of the top class."""
    seen: dict[nn.Module, _Seen] = {}
    x = x.clone().requires_grad_()

    def note(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and output.requires_grad:
            seen.pop(module, None)
            seen[module] = _Seen(len(seen), output)

    hooked = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    handles = [module.register_forward_hook(note) for module in hooked if module is not model]
    try:
        score = scores_of(model, x, None).sum()
    finally:
        for handle in handles:
            handle.remove()
    return {module: _Seen(order, one.output) for order, (module, one) in enumerate(seen.items())}, score


def _as_maps(module: nn.Module, output: Tensor, slope: Tensor | None, x: Tensor) -> Tensor | None:
    """Return a module's output as maps with more than one place, or None: no maps, no gradient, or a pooling."""
    if slope is None or _last_part(module, _NO_LAYERS) or output.dim() not in (3, 4):
        return None
    try:
        arrange = arrangement(module, output, x, None)
    except ValueError:
        return None
    if not arrange(slope).count_nonzero():
        return None
    maps = arrange(output)
    return maps if min(maps.shape[2:]) > 1 else None


def _last_part(module: nn.Module, kinds: tuple[type, ...]) -> bool:
    """Return whether a module, or the last one inside a Sequential, is of one of these kinds."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return isinstance(module, kinds)


def _choose(
    model: nn.Module, x: Tensor, group: list, seen: dict[nn.Module, _Seen], names: dict[int, str]
) -> tuple[nn.Module, Tensor, bool] | None:
    """Return one candidate of a size: of tokens the last LayerNorm, of maps the outermost with no by-pass."""
    tokens = [one for one in group if one[2]]
    if tokens:  # a block's output is normalised before it is read, and gradient x token sums to zero before that
        normed = [one for one in tokens if isinstance(one[0], nn.LayerNorm)]
        return max(normed or tokens, key=lambda one: seen[one[0]].order)
    ranked = sorted(group, key=lambda one: (names[id(one[0])].count("."), -seen[one[0]].order))
    return next((one for one in ranked[:40] if _on_every_way(model, one[0], x)), None)


def _on_every_way(model: nn.Module, module: nn.Module, x: Tensor) -> bool:
    """Return whether the score depends on the picture through this module alone."""
    with module.register_forward_hook(lambda module, inputs, output: output.detach()):
        return not run(model, x.clone().requires_grad_()).requires_grad


def _described(
    model: nn.Module, x: Tensor, number: int, name: str, sides: tuple[int, int], channels: int, tokens: bool
) -> Layer:
    """Return a layer with the reason why it is proposed."""
    h, w = sides
    what = "tokens" if tokens else "maps"
    pixels = f"{x.shape[2] / h:.3g} x {x.shape[3] / w:.3g} pixels"
    if number:
        reason = (
            f"The last {what} of {h} x {w}: finer, one value for {pixels}, but further from the score. "
            "Check on mosaics whether its maps still follow the class."
        )
        return Layer(name, sides, channels, False, reason)
    try:
        cam(model, x, layer=name)
        has_cam = True
    except (ValueError, TypeError):
        has_cam = False
    before = "tokens that the class token still reads" if tokens else "maps before the places are averaged or flattened"
    reason = f"The last {before}: {h} x {w}, one value for {pixels}, closest to the score."
    return Layer(name, sides, channels, has_cam, reason + " It has an exact CAM." * has_cam)
