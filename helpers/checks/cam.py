"""Checkers of lesson *cam*: a class activation map for a batch, and the mass of a map inside a mask."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, einsum, nn

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


@checker
def check_class_activation_map(function: Callable[[nn.Linear, Tensor, Tensor], Tensor]) -> str:
    """Check ``function(head, maps [N, K, h, w], target [N]) -> [N, h, w]`` on random maps and a random head."""
    random = torch.Generator().manual_seed(4)
    head = nn.Linear(6, 5)
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=random)
    maps, target = torch.rand(4, 6, 3, 5, generator=random), torch.tensor([3, 0, 3, 2])
    weight, bias = head.weight.detach(), head.bias.detach()

    every = einsum("ck,nkij->ncij", weight, maps)
    right = every[torch.arange(4), target]
    low, high = right.amin((1, 2), keepdim=True), right.amax((1, 2), keepdim=True)
    alike = "the channels count alike in your map; each needs its weight for the class asked for."
    one_class = "every picture has the map of the same class; picture n asks for target[n]."
    too_many = "there is more than one map for a picture; of all classes keep target[n] for picture n."
    no_place = "the places are gone: average nothing, the map is what stands before the average."
    mistakes = {
        one_class: every[:, target[0]],
        "the bias is in your map; it belongs to no place. Leave it out.": right + bias[target][:, None, None],
        alike: maps.mean(1),
        alike + " (A sum over channels has no class.)": maps.sum(1),
        "negative values are gone; a place may speak against a class. Leave out the ReLU.": right.relu(),
        "your weights went through a softmax; take them as they are.": einsum(
            "nk,nkij->nij", weight.softmax(1)[target], maps
        ),
        "your maps went through a softmax; the raw map is asked for.": right.flatten(1).softmax(1).view_as(right),
        "your maps are scaled to [0, 1]; the raw map is asked for, plotting scales.": (right - low) / (high - low),
        too_many: every,
        too_many + " (Index weight and maps with the same letter n.)": every[:, target],
        no_place: right.mean((1, 2)),
        no_place + " (This is even the logit.)": right.mean((1, 2)) + bias[target],
    }
    got = name_the_mistake(ask(function, head, maps.clone(), target.clone()), mistakes, right, what="the map")
    gap = (got.mean((1, 2)) + bias[target] - head(maps.mean((2, 3))).gather(1, target[:, None])[:, 0]).abs().max()
    one = ask(function, head, maps[1:2].clone(), target[1:2].clone())
    name_the_mistake(one, {}, right[1:2], what="the map of a batch of one picture")
    return f"mean(map) + bias misses each picture's logit by {gap:.0e}."


@checker
def check_mass_inside(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``function(maps [N, h, w], masks bool [N, H, W]) -> [N]`` on random maps and boxes."""
    random = torch.Generator().manual_seed(4)
    maps = torch.randn(4, 3, 4, generator=random)
    masks = torch.zeros(4, 18, 20, dtype=torch.bool)
    for n, (top, left) in enumerate(((0, 0), (6, 3), (9, 11), (2, 8))):
        masks[n, top : top + 8, left : left + 7 + n] = True

    def larger(values: Tensor, align_corners: bool = False) -> Tensor:
        return F.interpolate(values[:, None], masks.shape[1:], mode="bilinear", align_corners=align_corners)[:, 0]

    def share(mass: Tensor) -> Tensor:
        return (mass * masks).sum((1, 2)) / mass.sum((1, 2))

    large = larger(maps)
    mass = large.relu()
    inside = (mass * masks).sum((1, 2))
    one_number = "there is one number for the whole batch; return one for each picture, [N]."
    mistakes = {
        "negative values still count; set them to zero after enlarging.": share(large),
        "you took absolute values; what speaks against the class is no evidence for it.": share(large.abs()),
        "you set negative values to zero before enlarging; enlarge first, then clip.": share(larger(maps.relu())),
        "you count positive pixels; a strong pixel should weigh more than a weak one.": share((large > 0).float()),
        "you divide by the area of the mask; divide by the map's whole positive mass.": inside / masks.sum((1, 2)),
        "this is the mass inside; divide it by the map's whole positive mass.": inside,
        "this is the share outside the mask.": 1 - share(mass),
        "corners are aligned in your enlargement; use align_corners=False.": share(larger(maps, True).relu()),
        one_number: share(mass).mean(),
        one_number + " (And a strong map must not outvote a weak one.)": inside.sum() / mass.sum(),
        "the numbers are percentages; return shares from 0 to 1.": 100 * share(mass),
    }
    result = ask(function, maps.clone(), masks.clone())
    name_the_mistake(result, mistakes, share(mass), what="the mass inside")

    silent = maps.clone()
    silent[2] = -silent[2].abs()
    expected = share(mass)
    expected[2] = 0
    again = torch.as_tensor(ask(function, silent, masks.clone()))
    if not again.isfinite().all():
        raise Wrong("a map without positive values gives NaN, zero divided by zero; return 0 for it.")
    name_the_mistake(again, {}, expected, what="the mass inside, with one map that has no positive value,")
    return f"and a map without positive values gets {again[2].item():.0f}."
