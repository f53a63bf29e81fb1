"""Checkers of lesson *grad_cam*: Grad-CAM from maps and gradients, and the evidence against a class."""

from collections.abc import Callable

import torch
from torch import Tensor, einsum

from helpers.checks.core import ask, checker, name_the_mistake

Combine = Callable[[Tensor, Tensor], Tensor]


def _question() -> tuple[Tensor, Tensor]:
    """Return random maps and gradients [3, 6, 4, 5] of both signs; a map's average gradient is not near zero."""
    random = torch.Generator().manual_seed(5)
    maps, gradients = torch.randn(2, 3, 6, 4, 5, generator=random)
    return maps, gradients + torch.randn(3, 6, 1, 1, generator=random)


def _weighted(weights: Tensor, maps: Tensor) -> Tensor:
    """Return the maps [N, K, h, w] added up with weights [N, K]: [N, h, w]."""
    return einsum("nk,nkij->nij", weights, maps)


@checker
def check_grad_cam_from(function: Combine) -> str:
    """Check ``function(maps [N, K, h, w], gradients [N, K, h, w]) -> [N, h, w]`` on random tensors."""
    maps, gradients = _question()
    weights = gradients.mean((2, 3))
    signed = _weighted(weights, maps)
    right = signed.relu()
    channels = "you {} the gradient over the channels; average over the places, one weight for each map."
    mistakes = {
        "the gradient is not averaged over places: this is HiResCAM (lesson cam_family). Give each map one weight.": (
            gradients * maps
        )
        .sum(1)
        .relu(),
        channels.format("averaged"): (gradients.mean(1) * maps.sum(1)).relu(),
        channels.format("summed"): (gradients.sum(1) * maps.sum(1)).relu(),
        "the ReLU came too early: gradients keep their sign, only the weighted sum is cut.": _weighted(
            gradients.relu().mean((2, 3)), maps
        ).relu(),
        "your weights went through the ReLU; only the weighted sum does.": _weighted(weights.relu(), maps).relu(),
        "each map went through the ReLU; add them up first, with both signs.": (
            (weights[:, :, None, None] * maps).relu().sum(1)
        ),
        "the ReLU at the end is missing.": signed,
        "a map's weight is its largest gradient; take the mean over places.": _weighted(
            gradients.amax((2, 3)), maps
        ).relu(),
        "your weights have lost their signs; only the weighted sum is cut.": _weighted(weights.abs(), maps).relu(),
        "your weights went through a softmax; take the means as they are.": _weighted(weights.softmax(1), maps).relu(),
        "a map's weight is the spread of its gradient (std); take the mean.": _weighted(
            gradients.std((2, 3)), maps
        ).relu(),
        "the gradient is averaged along rows only; average over both axes of places.": (
            (gradients.mean(3, keepdim=True) * maps).sum(1).relu()
        ),
        "the gradient is averaged along columns only; average over both axes of places.": (
            (gradients.mean(2, keepdim=True) * maps).sum(1).relu()
        ),
        "you take the largest weighted map at each place; add them all up.": (
            (weights[:, :, None, None] * maps).amax(1).relu()
        ),
        "only the signs of the weights are left; take the means.": _weighted(weights.sign(), maps).relu(),
        "maps and gradients are exchanged: the gradient is averaged, and the map keeps its places.": _weighted(
            maps.mean((2, 3)), gradients
        ).relu(),
        "absolute values are taken; what is negative becomes 0.": signed.abs(),
        "you summed the gradient over places, so the map is h x w times too large; average it.": _weighted(
            gradients.sum((2, 3)), maps
        ).relu(),
        "you averaged the weighted maps over the channels; add them up.": right / maps.shape[1],
        "the pictures share their weights; average over places, not over the batch.": einsum(
            "k,nkij->nij", weights.mean(0), maps
        ).relu(),
        "your maps are scaled to [0, 1]; the raw map is asked for, plotting scales.": right
        / right.amax((1, 2), keepdim=True),
    }
    got = ask(function, maps.clone(), gradients.clone())
    name_the_mistake(
        got, mistakes, right, what="the map", by=lambda maps, gradients: _weighted(gradients.mean((2, 3)), maps).relu()
    )
    one = ask(function, maps[:1].clone(), gradients[:1].clone())
    name_the_mistake(one, {}, right[:1], what="the map of a batch of one picture")
    return "one weight for each map, one map for each picture."


@checker
def check_evidence_against(function: Combine) -> str:
    """Check ``function(maps [N, K, h, w], gradients [N, K, h, w]) -> [N, h, w]`` on random tensors."""
    maps, gradients = _question()
    weights = gradients.mean((2, 3))
    signed = _weighted(weights, maps)
    right = (-signed).relu()
    mistakes = {
        "this is Grad-CAM, the evidence for the class; turn the sign before the ReLU.": signed.relu(),
        "the sign was turned after the ReLU, which had removed what is asked for.": -signed.relu(),
        "the minus is still there; return how strong the evidence is, 0 or more.": signed.clamp(max=0),
        "evidence for the class is still in it, as negative values; cut it off.": -signed,
        "each map went through the ReLU, and without the minus; add up, turn the sign, then cut.": (
            (weights[:, :, None, None] * maps).relu().sum(1)
        ),
        "each map went through the ReLU; add them up first, with both signs.": (
            (-weights[:, :, None, None] * maps).relu().sum(1)
        ),
        "only maps with a negative weight are added up, and nothing is cut at the end.": _weighted(
            (-weights).relu(), maps
        ),
        "the ReLU came too early, and nothing is cut at the end.": _weighted((-gradients).relu().mean((2, 3)), maps),
        "this is 1 minus Grad-CAM; go back to the sum before its ReLU and turn its sign.": 1 - signed.relu(),
        "this is the distance to the highest value; turn the sign of the sum instead.": (
            signed.relu().amax((1, 2), keepdim=True) - signed.relu()
        ),
        "the sign of the maps is turned and cut; add up all maps first.": _weighted(weights, (-maps).relu()),
        "only Grad-CAM's zeros are marked; return how strong the evidence is.": (signed < 0).float(),
        "you took absolute values, so evidence for the class counts as well.": signed.abs(),
        "you kept only the maps with a negative weight; add up all maps, then cut.": _weighted(
            (-weights).relu(), maps
        ).relu(),
        "the ReLU came too early: average the gradients with their sign.": _weighted(
            (-gradients).relu().mean((2, 3)), maps
        ).relu(),
        "the gradient is not averaged over places; give each map one weight.": (-gradients * maps).sum(1).relu(),
    }
    got = ask(function, maps.clone(), gradients.clone())
    got = name_the_mistake(
        got,
        mistakes,
        right,
        what="the map",
        by=lambda maps, gradients: (-_weighted(gradients.mean((2, 3)), maps)).relu(),
    )
    share = (got.sum() / signed.abs().sum()).item()
    return f"on these random maps the ReLU of Grad-CAM hides {share:.0%} of the mass."
