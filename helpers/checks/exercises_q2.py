"""Checkers of exercise Q2: a class activation map from a few of the maps, and how many it takes."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, einsum

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


@checker
def check_q2_cam(function: Callable[[Tensor, Tensor, int], Tensor]) -> str:
    """Check ``function(maps [K, h, w], weight [K], keep) -> [h, w]`` on random maps."""
    random = torch.Generator().manual_seed(6)
    for k, keep, size in ((40, 20, (3, 5)), (9, 4, (4, 2)), (5, 5, (3, 3))):
        maps, weight = _maps(k, size, random)
        means = maps.mean((1, 2))
        chosen = means.topk(keep).indices
        right = _cam(maps, weight, chosen)
        mistakes = {
            "these are the first maps, not the strongest.": _cam(maps, weight, slice(keep)),
            "these are the maps with the largest weight; choose by mean activation.": _cam(
                maps, weight, weight.topk(keep).indices
            ),
            "these are the weakest maps; topk takes the largest.": _cam(maps, weight, (-means).topk(keep).indices),
            "you chose maps by their highest value; choose by their mean.": _cam(
                maps, weight, maps.amax((1, 2)).topk(keep).indices
            ),
            "you chose by weight times mean; here the mean alone decides.": _cam(
                maps, weight, (weight * means).topk(keep).indices
            ),
            "you chose maps but not their weights: map k goes with weight k.": einsum(
                "k,kij->ij", weight[:keep], maps[chosen]
            ),
            "the weights are missing: this is a sum of maps.": maps[chosen].sum(0),
            "the weights are missing: this is a mean of maps.": maps[chosen].mean(0),
            "all maps are in your sum.": _cam(maps, weight, slice(None)),
            "you divide by the number of maps; CAM adds them up.": right / keep,
            "negative values are gone; CAM has no ReLU.": right.relu(),
        }
        name_the_mistake(ask(function, maps.clone(), weight.clone(), keep), mistakes, right, what="the map")
    return "20 of 40, 4 of 9 and 5 of 5 maps give the right sums."


@checker
def check_q2_count(function: Callable[[Tensor, Tensor, float], int]) -> str:
    """Check ``function(maps [K, h, w], weight [K], share) -> n`` on random maps."""
    random = torch.Generator().manual_seed(6)
    cases = [(*_maps(k, (4, 3), random), share) for share in (0.9, 0.6) for k in (12, 30, 30, 50)]
    orders = [maps.mean((1, 2)).argsort(descending=True) for maps, _, _ in cases]

    def first(reached: Callable[..., Tensor], order: Sequence[Tensor] = orders) -> Tensor:
        """Count the maps up to the first n at which ``reached(sums of n maps, whole map)`` is the share."""
        counts = []
        for (maps, weight, share), chosen in zip(cases, order, strict=True):
            sums = (weight[chosen, None, None] * maps[chosen]).cumsum(0)
            counts.append((reached(sums.flatten(1), sums[-1].flatten()) >= share).long().argmax().item() + 1)
        return torch.tensor(counts)

    def fit(sums: Tensor, whole: Tensor) -> Tensor:
        return 1 - (sums - whole).norm(dim=1) / whole.norm()

    right, sizes = first(fit), torch.tensor([len(weight) for _, weight, _ in cases])
    by_weight = [weight.argsort(descending=True) for _, weight, _ in cases]
    mistakes = {
        "one too few: the first entry, number 0, is the map made of one.": right - 1,
        "one too many: n maps already reach the share.": right + 1,
        "you add the maps in the order in which they lie; add the strongest first.": first(
            fit, [torch.arange(len(order)) for order in orders]
        ),
        "you add the weakest maps first.": first(fit, [order.flip(0) for order in orders]),
        "you add the maps with the largest weight first; go by mean activation.": first(fit, by_weight),
        "this compares the scores (the maps' sums); compare the maps, place by place.": first(
            lambda sums, whole: sums.sum(1) / whole.sum()
        ),
        "this is the count for a correlation; share_of takes the length of what is missing.": first(_alike),
        "the lengths are squared; share_of divides plain lengths.": first(
            lambda sums, whole: 1 - ((sums - whole).norm(dim=1) / whole.norm()) ** 2
        ),
        "this is the share of the maps; their number is asked for.": right / sizes,
    }
    got = torch.stack([_number(ask(function, *(one.clone() for one in case[:2]), case[2])) for case in cases])
    name_the_mistake(got, mistakes, right, 1e-6, what=f"the count (for {len(cases)} random sets of maps)")
    return f"the counts for {len(cases)} random sets of maps, from {right.min()} to {right.max()} of them."


def _maps(k: int, size: tuple[int, int], random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return maps [k, h, w] of very different strength and weights [k] of both signs."""
    strength = torch.rand(k, 1, 1, generator=random) ** 2
    return strength * torch.rand(k, *size, generator=random) ** 3, torch.randn(k, generator=random) + 0.5


def _cam(maps: Tensor, weight: Tensor, chosen: Tensor | slice) -> Tensor:
    return einsum("k,kij->ij", weight[chosen], maps[chosen])


def _alike(sums: Tensor, whole: Tensor) -> Tensor:
    return F.cosine_similarity(sums - sums.mean(1, keepdim=True), (whole - whole.mean())[None], 1)


def _number(value: object) -> Tensor:
    try:
        return torch.as_tensor(float(value))
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"your function gives a {type(value).__name__}; asked for is one number.") from None
