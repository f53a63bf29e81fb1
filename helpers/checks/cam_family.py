"""Checkers of lesson *cam_family*: the weights of Ablation-CAM, and one map out of several layers."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.checks.core import Wrong, ask, checker, name_the_mistake

Head = Callable[[Tensor], Tensor]


def _head() -> nn.Sequential:
    """Return a head with a hidden layer, maps [N, 5, 3, 4] -> logits [N, 4], all of them well above zero."""
    random = torch.Generator().manual_seed(9)
    head = nn.Sequential(nn.Flatten(), nn.Linear(60, 12), nn.ReLU(), nn.Linear(12, 4)).requires_grad_(False)
    for weights in head.state_dict().values():
        weights.copy_(torch.randn(weights.shape, generator=random) / 3)
    head[3].bias += 4
    return head


def _without(head: Head, maps: Tensor, keep: Tensor) -> Tensor:
    """Return the logits [K, N, classes] for maps multiplied by keep[k], [K, K], in turn."""
    return torch.stack([head(maps * row[:, None, None]) for row in keep])


@checker
def check_ablation_weights(function: Callable[[Head, Tensor, Tensor], Tensor]) -> str:
    """Check ``function(head, maps [N, K, h, w], target [N]) -> [N, K]`` on a random head and random maps."""
    head, target = _head(), torch.tensor([3, 0, 2])
    maps = torch.rand(3, 5, 3, 4, generator=torch.Generator().manual_seed(9))
    eye, rows = torch.eye(5), torch.arange(3)
    whole, removed, alone = head(maps), _without(head, maps, 1 - eye), _without(head, maps, eye)

    def weights(logits: Tensor, classes: Tensor) -> Tensor:
        before = whole[rows, classes]
        return ((before - logits[:, rows, classes]) / before).T

    right = weights(removed, target)
    before, after = whole[rows, target, None], removed[:, rows, target].T
    shares, shares_after = whole.softmax(1)[rows, target, None], removed.softmax(2)[:, rows, target].T
    mistakes = {
        "you kept map k and removed the others; remove map k and keep the others.": weights(alone, target),
        "the sign is turned: a map whose removal lowers the score speaks for the class, and gets a plus.": -right,
        "you did not divide by the score; the weight is the share of it that is lost.": before - after,
        "you divided by the score without map k; divide by the whole score.": (before - after) / after,
        "this is the share that is left; the weight is the share that is lost.": after / before,
        "each picture is asked about its own target; you asked for its top class.": weights(removed, whole.argmax(1)),
        "all pictures were asked about the class of the first; each has its own.": weights(
            removed, target[:1].expand(3)
        ),
        "you used probabilities; the score is the logit.": (shares - shares_after) / shares,
        "the maps you removed stay removed: start each time from all maps.": weights(
            _without(head, maps, 1 - eye.cumsum(0).clamp(max=1)), target
        ),
        "you set map k to its mean over places; set it to zero.": lambda: weights(
            torch.stack([head(torch.lerp(maps, maps.mean((2, 3), keepdim=True), row[:, None, None])) for row in eye]),
            target,
        ),
    }
    given = maps.clone()
    name_the_mistake(ask(function, head, given, target), mistakes, right, what="the weights")
    if not torch.equal(given, maps):
        raise Wrong("your function writes into the maps that it was given; work on a copy.")
    one = ask(function, head, maps[:1].clone(), target[:1])
    name_the_mistake(one, {}, right[:1], what="the weights of a batch of one picture")
    return f"{right.numel()} weights agree; {(right < 0).sum()} of them are negative, as some maps speak against."


def _fused(layers: list[Tensor], size: tuple[int, int], **options: object) -> Tensor:
    """Return the maps [N, h, w] of each layer, divided by their maxima and enlarged: [layers, N, H, W]."""
    scaled = [maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12) for maps in layers]
    return _large(scaled, size, **options)


def _large(layers: list[Tensor], size: tuple[int, int], **options: object) -> Tensor:
    options = {"mode": "bilinear", "align_corners": False} | options
    return torch.stack([F.interpolate(maps[:, None], size=size, **options)[:, 0] for maps in layers])


@checker
def check_fused(function: Callable[[list[Tensor], tuple[int, int]], Tensor]) -> str:
    """Check ``function([maps [N, h, w] of each layer], size) -> [N, H, W]`` on random maps of three sizes."""
    random, size = torch.Generator().manual_seed(9), (12, 16)
    strength = torch.rand(3, 4, 1, 1, generator=random) + torch.tensor([0.5, 2.0, 8.0])[:, None, None, None]
    layers = [
        strength[i] * (0.3 + torch.rand(4, 3 * 2**i, 4 * 2**i, generator=random)) for i in range(3)
    ]  # 3 x 4, 6 x 8 and 12 x 16 places
    stack = _fused(layers, size)
    right = stack.amax(0)
    plain, low = _large(layers, size), [maps.amin((1, 2), keepdim=True) for maps in layers]
    tops = plain.amax((2, 3), keepdim=True)
    mistakes = {
        "you averaged over the layers; take the largest value at each pixel.": stack.mean(0),
        "you added the layers up; take the largest value at each pixel.": stack.sum(0),
        "you multiplied the layers; take the largest value at each pixel.": stack.prod(0),
        "you took the smallest value at each pixel; take the largest.": stack.amin(0),
        "the maps are not scaled, so the layer with the largest numbers wins everywhere.": plain.amax(0),
        "you scaled after fusing; each layer's map is divided by its own maximum before.": plain.amax(0)
        / plain.amax((0, 2, 3))[:, None, None],
        "you divided by the maximum over the whole batch; each picture has its own.": _large(
            [maps / maps.max() for maps in layers], size
        ).amax(0),
        "you divided by the maximum of the enlarged map; divide first, then enlarge.": (plain / tops).amax(0),
        "you subtracted the minimum as well; zero must stay zero, so only divide by the maximum.": _fused(
            [maps - least for maps, least in zip(layers, low, strict=True)], size
        ).amax(0),
        "you enlarged with align_corners=True; the course uses align_corners=False.": _fused(
            layers, size, align_corners=True
        ).amax(0),
        "you enlarged by repeating values (nearest); use bilinear.": _fused(
            layers, size, mode="nearest", align_corners=None
        ).amax(0),
    }
    name_the_mistake(ask(function, [maps.clone() for maps in layers], size), mistakes, right, what="the fused map")
    layers[1][2] = 0  # a layer where nothing speaks for the class
    got = torch.as_tensor(ask(function, [maps.clone() for maps in layers], size))
    if not got.isfinite().all():
        raise Wrong("a map that is zero everywhere gives NaN: zero divided by zero. Such a map should stay zero.")
    name_the_mistake(got, {}, _fused(layers, size).amax(0), what="the fused map where one layer's map is zero")
    return "three layers of different size and strength make one map."
