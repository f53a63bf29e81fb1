"""Checkers of lesson *can_you_trust_it*: rank accuracy with its ties, and a network with one stage drawn anew."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

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


class _Net(nn.Module):
    """A stage of several layers, with BatchNorm, and a stage that is one layer; every parameter has been trained."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)
        self.stage = nn.Sequential(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.Sequential(nn.Conv2d(5, 5, 1), nn.ReLU()))
        self.stage2, self.backstage = nn.Conv2d(5, 5, 1), nn.Conv2d(5, 5, 1)  # names that hold another one's
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.backstage(self.stage2(self.stage(self.stem(x)))).mean((2, 3)))


def _trained() -> _Net:
    """Return the net in eval() mode, with weights, buffers and torch's own random numbers as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(15)
        net = _Net().eval()
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(3 + torch.rand(tensor.shape))
    return net


@checker
def check_with_new(function: Callable[[nn.Module, str], nn.Module]) -> str:
    """Check ``function(model, stage) -> a copy of the model``, all layers in the stage of this name drawn anew."""
    for stage in ("stage", "fc", "stage.2"):
        net = _trained()
        before = copy.deepcopy(net.state_dict())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(16)
            got = ask(function, net, stage)
            torch.manual_seed(17)
            other = ask(function, _trained(), stage)
        _judge(net, before, got, other, stage)
    return "a stage with BatchNorm, one inside another, and a single layer: drawn anew, and the model is untouched."


def _judge(net: nn.Module, before: dict[str, Tensor], got: object, other: object, stage: str) -> None:
    """Raise Wrong with the first thing that is not as it should be."""
    if not isinstance(got, nn.Module) or set(got.state_dict()) != set(before):
        layer = isinstance(got, nn.Module) and set(got.state_dict()) == set(net.get_submodule(stage).state_dict())
        found = "only the stage" if layer else f"this: {type(got).__name__}"
        raise Wrong(f"the whole model is asked for, with its stage changed; your function returns {found}.")
    after, again = got.state_dict(), other.state_dict()
    names = [name for name, tensor in before.items() if tensor.is_floating_point()]
    inside = [name for name in names if name.startswith(f"{stage}.")]
    if any(not torch.equal(net.state_dict()[name], before[name]) for name in names):
        shared = "the copy shares its layers (copy.copy is too shallow)" if got is not net else "it is the model itself"
        raise Wrong(f"the model that was given has changed: {shared}. Begin with copy.deepcopy.")
    if got is net:
        raise Wrong("this is the model itself; return a changed copy.")
    same = [name for name in inside if torch.equal(after[name], before[name])]
    if len(same) == len(inside):
        raise Wrong(f"nothing in {stage!r} is new: draw its layers anew, in the copy and not in another one.")
    if same and all("running" in name for name in same):
        raise Wrong("BatchNorm keeps its running statistics; its reset_parameters() forgets them too.")
    if same:
        raise Wrong(
            f"{same[0]} is as before: {stage!r} holds several layers, some inside others; go through modules()."
        )
    spoilt = [name for name in names if name not in inside and not torch.equal(after[name], before[name])]
    if spoilt and all(stage in name for name in spoilt):
        raise Wrong(
            f"{spoilt[0]} has changed, too, in a layer whose name only resembles {stage!r}; take "
            f"get_submodule({stage!r}), or names that begin with '{stage}.', with the dot."
        )
    if spoilt:
        raise Wrong(f"{spoilt[0]} has changed, too: only what lies inside {stage!r} is to be drawn anew.")
    if all((after[name] == 0).all() for name in inside):
        raise Wrong("the stage is zero now, and the net dead behind it; draw random weights with reset_parameters().")
    weights = [name for name in inside if name.endswith("weight") and after[name].dim() > 1]
    if any(torch.equal(after[name].flatten().sort().values, before[name].flatten().sort().values) for name in weights):
        raise Wrong("the old weights are still there, in another order; draw them anew with reset_parameters().")
    if any(torch.equal(after[name], again[name]) for name in weights):
        raise Wrong("two calls give the same weights: do not set a seed in your function.")
    if any(after[name].abs().max() > 1 for name in weights):
        raise Wrong("the new weights are not those of a net before training: use each layer's reset_parameters().")
    if got.training != net.training or any(m.training for m in got.modules()):
        raise Wrong("the copy is in train() mode, the model in eval(): leave the mode alone.")
