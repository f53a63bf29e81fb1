"""Checkers of exercise Q3: Grad-CAM at any layer, and the layer whose maps find the object best."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, einsum, nn

from helpers import attribution
from helpers.checks.core import Wrong, ask, checker, name_the_mistake
from helpers.data import shapes
from helpers.hooks import capture, find_layer
from helpers.models import load_classifier

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
        for other in set(LAYERS) - {layer}:
            mixed = f"the gradient is that of {layer}, the activations those of {other}; take both at one layer."
            mistakes[f"asked for {layer}, you give the map of {other}."] = _grad_cam(net, x, target, other)
            mistakes[mixed] = _grad_cam(net, x, target, layer, maps_of=other)
        got = ask(function, net, x.clone(), target.clone(), layer)
        name_the_mistake(got, mistakes, right, what=f"the map at {layer}")
    if any(part._forward_hooks or part._backward_hooks for part in net.modules()):
        raise Wrong("the maps are right, but a hook is left in the net; `with capture(...)` takes it away.")
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
) -> Tensor:
    """Return Grad-CAM [N, h, w], or what comes of one mistake; without a target, the gradient of all logits."""
    with capture(find_layer(net, layer), find_layer(net, maps_of or layer)) as (own, maps):
        logits = net(x)
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
    inside, hull = (torch.from_numpy(one).flatten(1) for one in (masks, shapes.hull(masks)))
    full = large.amax(1) > 0
    hits = hull.gather(1, large.argmax(1, keepdim=True))[:, 0] & full
    energy = (large * inside).sum(1) / large.sum(1).clamp(min=1e-30)
    return torch.stack([hits.float().mean(), energy.mean(), 1 - full.float().mean()])


@checker
def check_q3_grades(grades: Tensor, best_pointing: str, best_energy: str, test: shapes.Shapes) -> str:
    """Check the grades [L, 3] of every ReLU of ``shapes_vgg`` on ``test``, and the two layers named as the best."""
    vgg = load_classifier("shapes_vgg")
    layers = [f"features.{i}" for i, part in enumerate(vgg.model.features) if isinstance(part, nn.ReLU)]
    x, labels = shapes.preprocess(test.images), torch.from_numpy(test.labels)

    def graded(relu: bool) -> Tensor:
        maps = (attribution.grad_cam(vgg.model, x, labels, layer=layer, relu=relu) for layer in layers)
        return torch.stack([grade(one, test.masks) for one in maps])

    right = graded(relu=True)
    mistakes = {
        "the rows are in the order from last to first; begin at the input.": right.flip(0),
        "one row for each layer, please, one column for each of the three shares: this is turned round.": right.T,
        "these are percentages; give shares from 0 to 1.": 100 * right,
        "every row is that of the last layer; has your loop used its layer?": right[-1:].expand_as(right),
        "the maps have no ReLU: negative places still count when the map is enlarged.": lambda: graded(relu=False),
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
