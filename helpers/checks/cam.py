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
        "your weights have lost their signs; a negative weight speaks against the class.": einsum(
            "nk,nkij->nij", weight[target].abs(), maps
        ),
        "negative weights are cut off; they speak against the class and belong to the map.": einsum(
            "nk,nkij->nij", weight[target].relu(), maps
        ),
        "these are the maps of the net's own answers; picture n asks for target[n].": lambda: every[
            torch.arange(4), head(maps.mean((2, 3))).argmax(1)
        ],
        "the mean weight of all classes is taken off; take the weights as they are.": einsum(
            "nk,nkij->nij", (weight - weight.mean(0))[target], maps
        ),
        "the classes went through a softmax at each place; the raw map is asked for.": every.softmax(1)[
            torch.arange(4), target
        ],
        "all pictures have the feature maps of the first.": einsum("nk,kij->nij", weight[target], maps[0]),
        "only the signs of the weights are left; take the weights.": einsum(
            "nk,nkij->nij", weight[target].sign(), maps
        ),
        "these are the numbers of the classes that are highest at each place; take the map of target.": every.argmax(1),
        "you take the largest channel at each place; add all channels up.": (
            (weight[target][:, :, None, None] * maps).amax(1)
        ),
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
    got = ask(function, head, maps.clone(), target.clone())
    got = name_the_mistake(
        got, mistakes, right, what="the map", by=lambda h, m, t: einsum("nk,nkij->nij", h.weight[t], m)
    )
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

    def larger(values: Tensor, align_corners: bool | None = False, mode: str = "bilinear") -> Tensor:
        return F.interpolate(values[:, None], masks.shape[1:], mode=mode, align_corners=align_corners)[:, 0]

    def stretched(values: Tensor) -> Tensor:
        return values - values.amin((1, 2), keepdim=True)

    def share(mass: Tensor) -> Tensor:
        return (mass * masks).sum((1, 2)) / mass.sum((1, 2))

    def by_shares(maps: Tensor, masks: Tensor) -> Tensor:
        mass = larger(maps).relu()
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
        "you enlarged by repeating values (nearest); use bilinear.": share(larger(maps, None, "nearest").relu()),
        "you enlarged with bicubic; use bilinear.": share(larger(maps, False, "bicubic").relu()),
        "this is the mass inside over the mass outside; divide by the whole.": inside / (mass.sum((1, 2)) - inside),
        "values are cut off at 1 too; only negative values are set to zero.": share(large.clamp(0, 1)),
        "the values are squared; take them as they are.": share(mass**2),
        "the minimum is taken off, so that negative values count; set them to zero.": share(stretched(large)),
        "this is the pointing game, the highest pixel alone; take all positive values.": (
            masks.flatten(1).gather(1, large.flatten(1).argmax(1, keepdim=True))[:, 0].double()
        ),
        "this is the mean inside over the mean of the map; take sums.": (inside / masks.sum((1, 2)))
        / mass.mean((1, 2)),
        "the mask is made smaller; enlarge the map.": lambda: (
            (maps.relu() * F.interpolate(masks[:, None].float(), maps.shape[1:])[:, 0]).sum((1, 2))
            / maps.relu().sum((1, 2))
        ),
        "this is the mean value inside; divide the sum inside by that of the whole map.": (mass * masks).mean((1, 2)),
        "this is the highest value inside over the highest of all; take sums.": (mass * masks).amax((1, 2))
        / mass.amax((1, 2)),
        "values below the map's mean are left out; only those below zero are.": share(
            large * (large > large.mean((1, 2), keepdim=True))
        ),
        "this is the share outside the mask.": 1 - share(mass),
        "corners are aligned in your enlargement; use align_corners=False.": share(larger(maps, True).relu()),
        one_number: share(mass).mean(),
        one_number + " (And a strong map must not outvote a weak one.)": inside.sum() / mass.sum(),
        "the numbers are percentages; return shares from 0 to 1.": 100 * share(mass),
    }
    result = ask(function, maps.clone(), masks.clone())
    name_the_mistake(result, mistakes, share(mass), what="the mass inside", by=by_shares)

    silent = maps.clone()
    silent *= 1e-3  # the share does not depend on the strength
    silent[2] = -silent[2].abs()
    expected = share(mass)
    expected[2] = 0
    again = torch.as_tensor(ask(function, silent, masks.clone()))
    if not again.isfinite().all():
        raise Wrong("a map without positive values gives NaN, zero divided by zero; return 0 for it.")
    small = (
        "a weak map gets another share than a strong one; what you add to the divisor, or cut it off at, is too large."
    )
    if (
        torch.as_tensor(again).shape == expected.shape
        and again[2] == 0
        and not torch.allclose(again.double(), expected.double(), rtol=1e-2)
    ):
        raise Wrong(small)
    name_the_mistake(again, {}, expected, what="the mass inside, with one map that has no positive value,")
    return f"and a map without positive values gets {again[2].item():.0f}."
