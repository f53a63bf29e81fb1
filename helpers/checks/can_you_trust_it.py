"""Checkers of lesson *can_you_trust_it*: rank accuracy with its ties."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import Unknown, Wrong, ask, checker, name_the_mistake

TIES = "without ties this is right; with them, topk and argsort go by where values lie. Share the last places."


@checker
def check_my_rank_accuracy(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``function(maps [N, H, W], masks bool [N, H, W]) -> [N]``, the share of the k highest values inside."""
    random = torch.Generator().manual_seed(15)
    masks = torch.zeros(4, 5, 6, dtype=torch.bool)
    for i, size in enumerate((3, 6, 9, 13)):  # another k for each picture
        masks[i].view(-1)[torch.randperm(30, generator=random)[:size]] = True
    signed = torch.randn(4, 5, 6, generator=random)
    signed -= 1.5 * (signed.abs() > 1) * signed.sign().relu()  # so that sizes and values differ in order
    _compare(function, signed, masks, ties=False)
    tied = (torch.rand(4, 5, 6, generator=random) < 0.3).float()  # more ties at the last place than places, mostly
    tied[1] = 0
    _compare(function, tied, masks, ties=True)
    return "signed maps, masks of 3 to 13 pixels, and ties: a map of zeros gets its mask's share of the picture."


def _by_topk(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the rank accuracies of maps without ties."""
    shares = []
    for values, mask in zip(maps.flatten(1), masks.flatten(1), strict=True):
        highest = values.topk(int(mask.sum())).indices
        shares.append(mask[highest].double().mean())
    return torch.stack(shares)


def _compare(function: Callable, maps: Tensor, masks: Tensor, *, ties: bool) -> None:
    """Raise Wrong, with the mistake's name if it is known, or return."""
    flat, inside = maps.flatten(1), masks.flatten(1)
    size = inside.sum(1)

    def graded(values: Tensor, k: Tensor = size, *, count: Tensor | None = None, stable: bool = False) -> Tensor:
        last = values.sort(1, descending=True).values.gather(1, k[:, None] - 1)
        above, tied = values > last, values == last
        if stable:  # ties go to the first in reading order
            first = values.argsort(dim=1, descending=True, stable=True).argsort(1) < k[:, None]
            return (first & inside).sum(1) / k
        open_places = k - above.sum(1)
        hits = (above & inside).sum(1) + open_places * (tied & inside).sum(1) / tied.sum(1)
        return hits / (k if count is None else count)

    def threshold(strict: bool) -> Tensor:
        last = flat.sort(1, descending=True).values.gather(1, size[:, None] - 1)
        chosen = flat > last if strict else flat >= last
        return (chosen & inside).sum(1) / size

    def best() -> Tensor:
        last = flat.sort(1, descending=True).values.gather(1, size[:, None] - 1)
        above, tied = flat > last, flat == last
        return ((above & inside).sum(1) + torch.minimum(size - above.sum(1), (tied & inside).sum(1))) / size

    positive = flat.relu()
    mistakes = {
        "you rank sizes: a large negative value speaks against the class. Leave out abs().": lambda: graded(flat.abs()),
        "you choose the lowest values; the highest are asked for.": lambda: graded(-flat),
        "this is the mass accuracy; here only the order of the values counts.": lambda: (
            (positive * inside).sum(1) / positive.sum(1)
        ),
        "k differs from picture to picture: each mask's own number of pixels, and not the mean of all masks.": lambda: (
            graded(flat, size.float().mean().long().expand(4))
        ),
        "k is the first mask's number of pixels in all pictures; each has its own.": lambda: graded(
            flat, size[:1].expand(4)
        ),
        "k is one too many; it is the mask's number of pixels.": lambda: graded(flat, size + 1),
        "k is one too few; it is the mask's number of pixels.": lambda: graded(flat, (size - 1).clamp(min=1)),
        "one more place is given away than there are pixels in the mask.": lambda: graded(flat, size + 1, count=size),
        "negative values are set to zero before they are ranked; rank them as they are.": lambda: graded(flat.relu()),
        "this is the pointing game, the highest place alone; take the k highest.": lambda: inside.gather(
            1, flat.argmax(1, keepdim=True)
        )[:, 0].double(),
        "this is the area under the ROC curve; take the k highest values.": lambda: torch.stack(
            [(v[m][:, None] > v[~m]).double().mean() for v, m in zip(flat, inside, strict=True)]
        ),
        "this is the share of the sum, with its signs; only the order of the values counts.": lambda: (
            (flat * inside).sum(1) / flat.sum(1)
        ),
        "only values above all those outside count; take the k highest.": lambda: torch.stack(
            [(v[m] > v[~m].max()).double().mean() for v, m in zip(flat, inside, strict=True)]
        ),
        "this is the overlap divided by the union; divide by k.": lambda: graded(flat) / (2 - graded(flat)),
        "a constant map gets 0 here; it gets its mask's share of the picture.": lambda: torch.where(
            flat.amax(1) > flat.amin(1), graded(flat), 0.0
        ),
        "the limit is one quantile for all; k differs from picture to picture.": lambda: torch.stack(
            [row[v > v.quantile(0.75)].double().mean() for v, row in zip(flat, inside, strict=True)]
        ),
        "you divide by the picture's pixels; divide by k.": lambda: graded(flat, count=torch.tensor(30)),
        "these are counts; divide by k.": lambda: graded(flat, count=torch.tensor(1)),
        "the highest values of all pictures together are chosen; each picture has places of its own.": lambda: (
            _together(flat, inside)
        ),
        "the pictures are mixed: there is one number for each picture, [N].": lambda: graded(flat).mean(),
        TIES: lambda: graded(flat, stable=True),
        "all values that tie with the last place are counted, so more than k are chosen. Share the last places.": (
            lambda: threshold(strict=False)
        ),
        "values that tie with the last place are left out, so fewer than k are chosen. Share the last places.": (
            lambda: threshold(strict=True)
        ),
        "of values that tie you take those inside first, which flatters; each has the same chance.": best,
    }
    got, right = ask(function, maps.clone(), masks.clone()), graded(flat)
    try:
        name_the_mistake(got, mistakes, right, what="the rank accuracy", by=_by_topk)
    except Unknown:
        if ties and torch.as_tensor(got).shape == right.shape:  # topk without an order, random ones, ...
            raise Wrong(TIES) from None
        raise


def _together(flat: Tensor, inside: Tensor) -> Tensor:
    """Return the shares when all pictures compete for the same places."""
    last = flat.flatten().sort(descending=True).values[inside.sum() - 1]
    return ((flat >= last) & inside).sum(1) / inside.sum(1)
