"""The checkers of the exercises, by question: Q1 prototypes, Q2 CAM from a few maps, Q3 Grad-CAM at any layer."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, autograd, einsum, nn

from helpers import attribution, evaluation
from helpers.checks.core import Wrong, ask, checker, name_the_mistake
from helpers.data import shapes
from helpers.hooks import capture, find_layer
from helpers.models import load_classifier
from helpers.synthesis import class_prototypes

CHOSEN = torch.tensor([3, 1])
NEAR = 1.25  # an objective of so many times the least possible counts as arrived


@checker
def check_q1(prototypes: Tensor, net: nn.Module, means: Tensor, eight: Tensor) -> str:
    """Check prototypes [2, 1, 28, 28] of 3 and 1 on a linear net, for all class means [10, 1, 28, 28]."""
    x, own, start = _two_pictures(prototypes), means[CHOSEN], eight.expand(2, 1, 28, 28)
    for other, hint in (
        (start, "these are the 8 itself: no step reached them. Does your optimiser hold the tensor you return?"),
        (own, "these are the class means; the net has had no say in them."),
        (own.flip(0), "these are the class means, and in the wrong order; the net has had no say in them."),
    ):
        if torch.allclose(x, other, atol=1e-3):
            raise Wrong(hint)
    read, value, before = net(x).argmax(1).tolist(), _objective(net, x, own), _objective(net, start, own)
    if read == [1, 3]:
        raise Wrong("the net reads a 1 and a 3; asked for are 3 and 1, in this order.")
    if value >= before and read[0] != 3 and read[1] != 1:
        raise Wrong(f"the objective has risen, from {before:.2f} to {value:.2f}: go down, against its slope.")
    if read != [3, 1]:
        raise Wrong(f"the net reads them as {read[0]} and {read[1]}; asked for are 3 and 1.")

    for target, hint in (
        (start, "the squared error holds your pictures at the 8; it should hold each at its class mean."),
        (own.flip(0), "your 3 is held at the mean of the 1 and your 1 at that of the 3; put them in one order."),
        (means[:2], "your pictures are held at means[0] and means[1]; take the means of 3 and 1."),
        (torch.zeros_like(own), "your pictures are held at zero; take the means of 3 and 1."),
    ):
        straight, weight = _pull(net, x, target)
        if straight > 0.95 and weight > 0.003:
            raise Wrong(hint)
    straight, weight = _pull(net, x, own)
    if straight > 0.95 and not 0.06 < weight < 0.16:
        raise Wrong(
            f"this is the minimum for a weight of about {weight:.2g}; asked for is 0.1 times the *mean* square."
        )
    least = class_prototypes(net, own, CHOSEN).losses[-1]
    if value > NEAR * least:
        if x.min() >= 0 and x.max() <= 1:
            raise Wrong("your pixels are cut to 0 and 1; the minimum lies outside, leave them free.")
        if _way_to_the_means(net, x, start, own) < 0.05:
            raise Wrong("nothing draws your pictures to the class means: is 0.1 times the squared error in your loss?")
        raise Wrong(f"the objective is {value:.6f}, {value / least:.1f} times the least possible: go on descending.")
    return f"the net reads 3 and 1, and the objective is {value:.6f}; {least:.6f} is the least possible."


def _two_pictures(answer: object) -> Tensor:
    if hasattr(answer, "images"):
        raise Wrong("this is all that class_prototypes gives; take its .images.")
    if not isinstance(answer, Tensor):
        raise Wrong(f"your answer is a {type(answer).__name__}, not a tensor (torch.stack makes one of a list).")
    if answer.shape != (2, 1, 28, 28):
        raise Wrong(f"your answer has shape {list(answer.shape)}, asked for is [2, 1, 28, 28].")
    if not answer.isfinite().all():
        raise Wrong("your answer holds values that are NaN or infinite.")
    return answer.detach().cpu().float()


def _objective(net: nn.Module, x: Tensor, means: Tensor) -> float:
    return (F.cross_entropy(net(x), CHOSEN) + 0.1 * F.mse_loss(x, means)).item()


def _pull(net: nn.Module, x: Tensor, target: Tensor) -> tuple[float, float]:
    """Return how exactly the cross-entropy pulls away from ``target`` (1: exactly), and how hard.

    At the minimum of CE + w MSE(x, target) the two slopes cancel: the first number is 1, the second is w.
    """
    x = x.clone().requires_grad_()
    (push,) = autograd.grad(F.cross_entropy(net(x), CHOSEN), x)
    hold = 2 * (x.detach() - target) / x.numel()
    return -F.cosine_similarity(push.flatten(), hold.flatten(), 0).item(), (push.norm() / hold.norm()).item()


def _way_to_the_means(net: nn.Module, x: Tensor, start: Tensor, means: Tensor) -> float:
    """Return the share of the way to the means that was gone where a linear net is blind: there they alone pull."""
    seen = autograd.functional.jacobian(lambda picture: net(picture)[0], start[:1]).flatten(1)
    basis = torch.linalg.qr(seen.T)[0]
    left, whole = ((one - means).flatten(1) for one in (x, start))
    return 1 - ((left - left @ basis @ basis.T).norm() / (whole - whole @ basis @ basis.T).norm()).item()


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
            "you chose maps by the size of their weight; choose by mean activation.": _cam(
                maps, weight, weight.abs().topk(keep).indices
            ),
            "you chose by the size of weight times mean; here the mean alone decides.": _cam(
                maps, weight, (weight * means).abs().topk(keep).indices
            ),
            "you chose maps by their spread; choose by their mean.": _cam(
                maps, weight, maps.std((1, 2)).topk(keep).indices
            ),
            "the weights are sorted by themselves: map k goes with weight k.": einsum(
                "k,kij->ij", weight.sort(descending=True).values[:keep], maps[chosen]
            ),
            "one map is missing.": _cam(maps, weight, chosen[:-1]),
            "the sum is scaled up to all maps; add up the chosen ones only.": right * k / keep,
            "you chose maps but not their weights: map k goes with weight k.": einsum(
                "k,kij->ij", weight[:keep], maps[chosen]
            ),
            "the weights are missing: this is a sum of maps.": maps[chosen].sum(0),
            "the weights are missing: this is a mean of maps.": maps[chosen].mean(0),
            "all maps are in your sum.": _cam(maps, weight, slice(None)),
            "you divide by the number of maps; CAM adds them up.": right / keep,
            "negative values are gone; CAM has no ReLU.": right.relu(),
        }
        got = ask(function, maps.clone(), weight.clone(), keep)
        name_the_mistake(
            got,
            mistakes,
            right,
            what="the map",
            by=lambda maps, weight, keep: _cam(maps, weight, maps.mean((1, 2)).topk(keep).indices),
        )
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
            sums = partial_cams(maps, weight, chosen)
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
        "you add the maps by weight times mean activation; go by mean activation alone.": first(
            fit, [(weight * maps.mean((1, 2))).argsort(descending=True) for maps, weight, _ in cases]
        ),
        "you compare sums of absolute values; a map's length is the root of the sum of its squares.": first(
            lambda sums, whole: 1 - (sums - whole).abs().sum(1) / whole.abs().sum()
        ),
        "you compare the largest differences; a map's length is the root of the sum of its squares.": first(
            lambda sums, whole: 1 - (sums - whole).abs().amax(1) / whole.abs().max()
        ),
        "you compare the lengths of the maps; share_of takes the length of what is missing.": first(
            lambda sums, whole: sums.norm(dim=1) / whole.norm()
        ),
        "you divide by the length of the part; divide by that of the whole.": first(
            lambda sums, whole: 1 - (sums - whole).norm(dim=1) / sums.norm(dim=1)
        ),
        "this counts maps after which the share is not reached; one more map may lower it, so look for the first.": (
            lambda: torch.tensor(
                [
                    int((fit(sums.flatten(1), sums[-1].flatten()) < share).sum())
                    for (maps, weight, share), order in zip(cases, orders, strict=True)
                    for sums in [partial_cams(maps, weight, order)]
                ]
            )
        ),
        "this is the number whose share comes nearest; look for the first that reaches it.": lambda: torch.tensor(
            [
                int((fit(sums.flatten(1), sums[-1].flatten()) - share).abs().argmin()) + 1
                for (maps, weight, share), order in zip(cases, orders, strict=True)
                for sums in [partial_cams(maps, weight, order)]
            ]
        ),
        "you add the maps by their highest value; go by mean activation.": first(
            fit, [maps.amax((1, 2)).argsort(descending=True) for maps, _, _ in cases]
        ),
        "this is how many maps are left out; the number of those that are needed is asked for.": sizes - right,
        "the lengths are squared; share_of divides plain lengths.": first(
            lambda sums, whole: 1 - ((sums - whole).norm(dim=1) / whole.norm()) ** 2
        ),
        "this is the share of the maps; their number is asked for.": right / sizes,
    }
    got = torch.stack([_number(ask(function, *(one.clone() for one in case[:2]), case[2])) for case in cases])
    name_the_mistake(got, mistakes, right, 1e-6, what=f"the count (for {len(cases)} random sets of maps)")
    return f"the counts for {len(cases)} random sets of maps, from {right.min()} to {right.max()} of them."


def partial_cams(maps: Tensor, weight: Tensor, order: Tensor) -> Tensor:
    """Return the class activation maps of the first 1, 2, ... K feature maps, [K, h, w].

    Args:
        maps: the feature maps of one picture, [K, h, w].
        weight: the weights of a class, [K].
        order: the numbers of the maps, each once, [K]; entry n - 1 of the result is made of the first n of them.

    Returns:
        The partial sums of weight times map, [K, h, w]; the last of them is the whole map.

    >>> import torch
    >>> from helpers.checks.exercises import partial_cams
    >>> partial_cams(torch.ones(3, 1, 1), torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2, 0, 1])).flatten()
    tensor([4., 5., 7.])
    """
    return (weight[order, None, None] * maps[order]).cumsum(0)


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


LAYERS = ("features.1", "features.3", "features.6")  # of the random net: two of one size, one behind the pooling
TIE = 0.02  # two of a hundred pictures: grades as close as this do not tell two layers apart


@checker
def check_q3_cam(function: Callable[[nn.Module, Tensor, Tensor, str], Tensor]) -> str:
    """Check ``function(net, x [N, C, H, W], target [N], layer) -> [N, h, w]`` at each layer of a small random net."""
    net, x, target = _random_net()
    top = net(x).argmax(1)
    for layer in LAYERS:
        right = _grad_cam(net, x, target, layer)
        mistakes = {
            "the ReLU at the end is missing.": _grad_cam(net, x, target, layer, relu=False),
            "the gradients are not averaged over places; give each map one weight.": _grad_cam(
                net, x, target, layer, average=False
            ),
            "you summed the gradients over places; average them.": right * right[0].numel(),
            "this is the map for the net's own answer; target says which class is asked for.": _grad_cam(
                net, x, top, layer
            ),
            "all pictures are asked for target[0]; picture n is asked for target[n].": _grad_cam(
                net, x, target[:1].expand(len(x)), layer
            ),
            "the gradient is that of all logits together; take the logit of the class asked for.": _grad_cam(
                net, x, None, layer
            ),
            "the map is enlarged; the raw map, in the layer's own size, is asked for.": attribution.upsample(
                right, x.shape[2:]
            ),
            "your maps are scaled to [0, 1]; the raw map is asked for, plotting scales.": right
            / right.amax((1, 2), keepdim=True),
        }
        mistakes |= {
            "you took absolute values; what is negative becomes 0.": _grad_cam(net, x, target, layer, relu=False).abs(),
            "the mean over the batch makes each gradient smaller; sum the logits of the pictures.": right / len(x),
            "the gradient is that of a probability; take the logit, before any softmax.": _grad_cam(
                net, x, target, layer, score=lambda logits: logits.softmax(1)
            ),
            "the gradient is that of the loss; take the logit itself.": _grad_cam(
                net, x, target, layer, score=lambda logits: -logits.log_softmax(1)
            ),
            "the gradient is that of the mean loss; take the logit itself.": _grad_cam(
                net, x, target, layer, score=lambda logits: -logits.log_softmax(1) / len(x)
            ),
        }
        for other in set(LAYERS) - {layer}:
            mixed = f"the gradient is that of {layer}, the activations those of {other}; take both at one layer."
            mistakes[f"asked for {layer}, you give the map of {other}."] = _grad_cam(net, x, target, other)
            mistakes[mixed] = _grad_cam(net, x, target, layer, maps_of=other)
        got = ask(function, net, x.clone(), target.clone(), layer)
        name_the_mistake(got, mistakes, right, what=f"the map at {layer}", by=_grad_cam)
    return "the maps of three layers of a random net, two of 10 x 8 and one of 5 x 4 places."


def _random_net() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a frozen net of four classes, pictures [3, 2, 10, 8] and a class for each that it does not name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        blocks = [nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()]
        blocks += [nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()]
        head = nn.Sequential(nn.Flatten(), nn.Linear(120, 4))
        net = nn.Sequential(OrderedDict(features=nn.Sequential(*blocks), classifier=head)).eval()
        x = torch.randn(3, 2, 10, 8)
    net.requires_grad_(False)
    return net, x, (net(x).argmax(1) + torch.tensor([1, 2, 3])) % 4


def _grad_cam(
    net: nn.Module,
    x: Tensor,
    target: Tensor | None,
    layer: str,
    *,
    relu: bool = True,
    average: bool = True,
    maps_of: str | None = None,
    score: Callable[[Tensor], Tensor] = lambda logits: logits,
) -> Tensor:
    """Return Grad-CAM [N, h, w], or what comes of one mistake; without a target, the gradient of all logits."""
    with capture(find_layer(net, layer), find_layer(net, maps_of or layer)) as (own, maps):
        logits = score(net(x))
    gradient = own.gradient(logits if target is None else logits.gather(1, target[:, None]))
    if average:
        heat = einsum("nk,nkij->nij", gradient.mean((2, 3)), maps.activations)
    else:
        heat = (gradient * maps.activations).sum(1)
    return (heat.relu() if relu else heat).detach()


def grade(maps: Tensor, masks: np.ndarray) -> Tensor:
    """Return three shares for maps [N, h, w] and object masks bool [N, H, W], as one tensor [3].

    Of the maps, how many are highest inside the object's filled outline (the pointing game; Zhang et al., 2018); of a
    map's positive values, enlarged, how much lies on the object, on average; of the maps, how many are empty. An
    empty map, nowhere positive, points nowhere and puts nothing on the object.
    """
    large = attribution.upsample(maps.detach(), masks.shape[1:]).relu().flatten(1)
    inside, hull = (torch.from_numpy(one).flatten(1) for one in (masks, evaluation.hull(masks)))
    full = large.amax(1) > 0
    hits = hull.gather(1, large.argmax(1, keepdim=True))[:, 0] & full
    energy = (large * inside).sum(1) / large.sum(1).clamp(min=1e-30)
    return torch.stack([hits.float().mean(), energy.mean(), 1 - full.float().mean()])


@checker
def check_q3_grades(grades: Tensor, best_pointing: str, best_energy: str, test: shapes.TwoShapes) -> str:
    """Check the grades [L, 3] of every ReLU of ``shapes_vgg`` on ``test``, and the two layers named as the best.

    Asked is for the first object of each picture, and graded by the mask of that object.
    """
    vgg = load_classifier("shapes_vgg")
    layers = [f"features.{i}" for i, part in enumerate(vgg.model.features) if isinstance(part, nn.ReLU)]
    x, labels = shapes.preprocess(test.images), torch.from_numpy(test.labels)

    def graded(relu: bool = True, asked: int = 0, mask: int = 0) -> Tensor:
        maps = (attribution.grad_cam(vgg.model, x, labels[:, asked], layer=layer, relu=relu) for layer in layers)
        return torch.stack([grade(one, test.masks[:, mask]) for one in maps])

    right = graded()
    mistakes = {
        "the rows are in the order from last to first; begin at the input.": right.flip(0),
        "one row for each layer, please, one column for each of the three shares: this is turned round.": right.T,
        "these are percentages; give shares from 0 to 1.": 100 * right,
        "every row is that of the last layer; has your loop used its layer?": right[-1:].expand_as(right),
        "the maps have no ReLU: negative places still count when the map is enlarged.": lambda: graded(relu=False),
        "these are the grades for the second object; ask for the first, labels[:, 0].": lambda: graded(asked=1, mask=1),
        "the maps are those of the first object, the masks those of the second.": lambda: graded(mask=1),
        "the masks are those of the first object, the maps those of the second.": lambda: graded(asked=1),
    }
    got = name_the_mistake(grades, mistakes, right, 0.012, what="the table")  # one picture more or less
    named = {"pointing": best_pointing, "energy": best_energy}
    for column, (measure, layer) in enumerate(named.items()):
        if layer not in layers:
            raise Wrong(f"best_{measure} is {layer!r}; write one of {', '.join(layers)}.")
        value, top = got[layers.index(layer), column], got[:, column].max()
        if value < top - TIE - 1e-6:
            better = layers[got[:, column].argmax()]
            raise Wrong(f"by {measure}, {layer} has {value:.2f} in your table, and {better} has {top:.2f}.")
    return f"by pointing {best_pointing}, by energy {best_energy}, on {len(labels)} pictures."
