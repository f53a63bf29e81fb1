"""Checkers of lesson *cam_family*: Grad-CAM with positive gradients, and one map out of several layers."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


@checker
def check_grad_cam_plus(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``function(A [N, K, h, w], G [N, K, h, w]) -> [N, h, w]`` on random maps and gradients of both signs."""
    random = torch.Generator().manual_seed(9)
    A, G = (torch.randn(3, 5, 3, 4, generator=random) for _ in range(2))
    places = {"dim": (2, 3), "keepdim": True}
    positive = G.relu()
    weights = positive.mean(**places)
    right = (weights * A).sum(1).relu()
    mistakes = {
        "a ReLU is missing: the gradient is set to zero where it is negative, before the average.": (
            (G.mean(**places) * A).sum(1).relu()
        ),
        "the ReLU comes too late: set negative gradients to zero first, then take the average over places.": (
            (G.mean(**places).relu() * A).sum(1).relu()
        ),
        "the weights are not averaged over places: this is LayerCAM. Give each map one weight.": (
            (positive * A).sum(1).relu()
        ),
        "you took the gradient times the maps, which is HiResCAM; the weight of a map is the mean of its positive "
        "gradients.": (G * A).sum(1).relu(),
        "you kept the positive products; the ReLU belongs to the gradient alone.": (G * A).relu().sum(1),
        "you averaged gradient times map, and lost the places of the map; average the gradient alone.": (
            ((positive * A).mean(**places) * A).sum(1).relu()
        ),
        "you took the absolute value of the gradient; negative gradients count as zero.": (
            (G.abs().mean(**places) * A).sum(1).relu()
        ),
        "you added the gradients up over places; take their mean.": (positive.sum(**places) * A).sum(1).relu(),
        "you took the largest positive gradient; take the mean over places.": (
            (positive.amax(**places) * A).sum(1).relu()
        ),
        "you take the largest weighted map at each place; add them up.": (weights * A).amax(1).relu(),
        "you kept the negative gradients; keep the positive ones.": (((-G).relu().mean(**places) * A).sum(1).relu()),
        "maps and gradients are exchanged: the gradients make the weights.": (
            (A.relu().mean(**places) * G).sum(1).relu()
        ),
        "the positive gradients are squared; take their mean.": ((positive.square().mean(**places) * A).sum(1).relu()),
        "the weights went through a softmax; take the means as they are.": ((weights.softmax(1) * A).sum(1).relu()),
        "the gradient is averaged along one axis of places only; average over both.": (
            (positive.mean(2, keepdim=True) * A).sum(1).relu()
        ),
        "the gradient is averaged along one axis of places only; average over both. (Over columns.)": (
            (positive.mean(3, keepdim=True) * A).sum(1).relu()
        ),
        "the gradient is averaged over the maps as well; each map has a weight of its own.": (
            (positive.mean((1, 2, 3), keepdim=True) * A).sum(1).relu()
        ),
        "this is near to Grad-CAM++, with its factor; here the mean of the positive gradients is the weight.": (
            ((1 / (2 + A.sum(**places) * G) * positive).mean(**places) * A).sum(1).relu()
        ),
        "you took absolute values at the end; what is negative becomes 0.": (weights * A).sum(1).abs(),
        "you divided by the number of positive gradients; the mean is over all places.": (
            (positive.sum(**places) / (G > 0).sum(**places) * A).sum(1).relu()
        ),
        "the last ReLU is missing: the map keeps only what is positive.": (weights * A).sum(1),
        "the last ReLU comes too early: add up over the maps first.": (weights * A).relu().sum(1),
        "you averaged over the maps; add them up.": (weights * A).mean(1).relu(),
        "the weights are averaged over the whole batch; each picture has its own.": (
            (weights.mean(0, keepdim=True) * A).sum(1).relu()
        ),
        "you did not use the gradient: this is the class-blind sum of the maps.": A.sum(1).relu(),
    }
    got = ask(function, A.clone(), G.clone())
    name_the_mistake(got, mistakes, right, what="the map", by=lambda A, G: (G.relu().mean(**places) * A).sum(1).relu())
    name_the_mistake(ask(function, A[:1].clone(), G[:1].clone()), {}, right[:1], what="the map of a single picture")
    return "one weight for each map, the mean of its positive gradients."


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
        "you took the median of the layers; take the largest value at each pixel.": stack.median(0).values,
        "this is the last layer alone; take the largest value of all.": stack[-1],
        "this is the first layer alone; take the largest value of all.": stack[0],
        "you took the geometric mean of the layers; take the largest value at each pixel.": stack.prod(0) ** (1 / 3),
        "you enlarged with bicubic; use bilinear.": _fused(layers, size, mode="bicubic").amax(0),
        "each map is divided by its sum; divide by its largest value.": _large(
            [maps / maps.sum((1, 2), keepdim=True) for maps in layers], size
        ).amax(0),
        "each row of a map is divided by its own largest value; take one for the whole map.": _large(
            [maps / maps.amax(2, keepdim=True) for maps in layers], size
        ).amax(0),
        "each map is divided by the largest of the batch at each place; take one for the whole map of a picture.": (
            _large([maps / maps.amax(0, keepdim=True) for maps in layers], size).amax(0)
        ),
        "each map is standardised; divide by its largest value only.": _large(
            [(m - m.mean((1, 2), keepdim=True)) / m.std((1, 2), keepdim=True) for m in layers], size
        ).amax(0),
        "the root of each map is taken; leave it out.": _large(
            [(maps / maps.amax((1, 2), keepdim=True)).sqrt() for maps in layers], size
        ).amax(0),
        "you took the length over the layers; take the largest value.": stack.norm(dim=0),
        "the sum over the layers is cut off at 1; take the largest value.": stack.sum(0).clamp(max=1),
        "each map is divided by its length; divide by its largest value.": _large(
            [maps / maps.norm(dim=(1, 2), keepdim=True) for maps in layers], size
        ).amax(0),
        "each map is divided by its mean; divide by its largest value.": _large(
            [maps / maps.mean((1, 2), keepdim=True) for maps in layers], size
        ).amax(0),
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
    got = ask(function, [maps.clone() for maps in layers], size)
    name_the_mistake(got, mistakes, right, what="the fused map", by=lambda maps, size: _fused(maps, size).amax(0))
    layers[1][2] = 0  # a layer where nothing speaks for the class
    size = (13, 18)  # of no layer, so that enlarging lowers each peak
    got = torch.as_tensor(ask(function, [maps.clone() for maps in layers], size))
    if not got.isfinite().all():
        raise Wrong("a map that is zero everywhere gives NaN: zero divided by zero. Such a map should stay zero.")
    right = _fused(layers, size).amax(0)
    scaled = "you divide once more at the end; each map is divided by its own maximum, before it is enlarged."
    mistakes = {scaled: right / right.amax((1, 2), keepdim=True)}
    name_the_mistake(got, mistakes, right, what="the fused map where one layer's map is zero")
    return "three layers of different size and strength make one map."
