"""Checks for lesson *saliency*: a saliency map that leaves no trace, and guided backprop's rule at a ReLU."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn

from helpers.checks.core import Wrong, ask, checker, left_as_it_was, name_the_mistake


@checker
def check_saliency(saliency: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> str:
    """Check ``saliency(model, x [N, C, H, W], target [N]) -> [N, H, W]`` on a small random net with dropout."""
    generator = torch.Generator().manual_seed(3)
    model = _net(generator)
    x = torch.randn(4, 3, 8, 8, generator=generator)
    own = model.eval()(x).argsort(1)[:, 2]  # neither the top class nor the last, and not the same for all
    g = _gradient(model, x, lambda z: z.gather(1, own[:, None]))
    expected = g.abs().amax(1)

    def by_logits(_: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        return _gradient(model, x, lambda z: z.gather(1, target[:, None])).abs().amax(1)

    training = copy.deepcopy(model).train()
    given = x.clone()
    first = ask(saliency, training, given, own.clone())
    second = ask(saliency, copy.deepcopy(model).train(), x.clone(), own.clone())
    if _differ(first, second):
        raise Wrong("two calls give two maps: dropout is on. Put the model into eval() before you run it.")
    name_the_mistake(first, _mistakes(model, x, own, g), expected, what="your map", by=by_logits)
    left_as_it_was()
    if given.requires_grad or given.grad is not None:
        raise Wrong("the map is right, but x came without a gradient and has requires_grad now; work on x.clone().")
    return "the slope of each picture's own logit, and nothing left behind."


@checker
def check_guided_relu_backward(guided_relu_backward: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``guided_relu_backward(z, g)``, tensors of one shape, on random numbers with exact zeros among z."""
    generator = torch.Generator().manual_seed(4)
    z, g = (torch.randn(3, 4, 5, generator=generator) for _ in range(2))
    z[:, 0] = 0
    gates = (z > 0) & (g > 0)
    mistakes = {
        "this is the true gradient's rule: a negative g still passes.": g * (z > 0),
        "this is the deconvnet's rule: g also passes where the ReLU was off.": g * (g > 0),
        "the gate of g is turned: negative g pass and positive ones are dropped.": g.clamp(max=0) * (z > 0),
        "the gate of z is turned: g passes where the ReLU was off.": g.relu() * (z < 0),
        "this is the smaller of z and g; z only opens or closes the gate.": torch.minimum(z.relu(), g.relu()),
        "g is multiplied by z, also where the ReLU was off; z only opens or closes the gate.": g.relu() * z,
        "this is z times g; z only opens or closes the gate.": (z * g).relu(),
        "these are the gates alone; multiply them with g.": gates,
        "g is multiplied by the ReLU's value; z only opens or closes the gate.": g.relu() * z.relu(),
        "the ReLU's own output comes back; it is g that goes further.": z * gates,
        "where z is exactly 0 the ReLU is off; the gate is z > 0, not z >= 0.": g * ((z >= 0) & (g > 0)),
        "g passes where either gate is open; both have to be.": g * ((z > 0) | (g > 0)),
        "the negative g are turned to positive; they have to be dropped.": g.abs() * (z > 0),
    }
    got = ask(guided_relu_backward, z.clone(), g.clone())
    name_the_mistake(got, mistakes, g * gates, what="what goes back", by=lambda z, g: g * ((z > 0) & (g > 0)))
    return "g passes where it is positive and the ReLU was on."


def _net(generator: torch.Generator) -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(6 * 6 * 6, 5)
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def _gradient(model: nn.Module, x: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    x = x.clone().requires_grad_()
    return autograd.grad(score(model(x)).sum(), x)[0]


def _mistakes(model: nn.Module, x: Tensor, own: Tensor, g: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return wrong maps by their hints; ``g`` [N, C, H, W] is the true gradient."""

    def by(score: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
        return lambda: _gradient(model, x, score).abs().amax(1)

    softmax = "this is the softmax's gradient; it fades where the net is sure. Take the logit, before any softmax."
    return {
        "this is the gradient of the sum of all logits; take only the logit of target, for instance with gather.": by(
            lambda z: z
        ),
        softmax: by(lambda z: z.softmax(1).gather(1, own[:, None])),
        "this is the log-softmax's gradient, or the loss's, which mixes in all classes. Take the logit itself.": by(
            lambda z: F.cross_entropy(z, own, reduction="sum")
        ),
        "this is the gradient of the mean loss, which mixes in all classes. Take the logit itself.": by(
            lambda z: F.cross_entropy(z, own)
        ),
        "this explains each picture's top class; target asks for another.": by(lambda z: z.amax(1)),
        "the first target is used for every picture; each has its own.": by(lambda z: z[:, own[0]]),
        "every target is used for every picture (z[:, target]); pick one a row, for instance with gather.": by(
            lambda z: z[:, own]
        ),
        "the pictures' gradients are divided by their number: sum the scores, a mean shrinks them.": lambda: (
            g.abs().amax(1) / len(g)
        ),
        "the absolute value is missing: a strong negative slope counts as much.": lambda: g.amax(1),
        "this is the signed sum over channels; take the absolute value, then the largest.": lambda: g.sum(1),
        "the channels are summed before the absolute value, so they cancel. Absolute value first, then the largest.": (
            lambda: g.sum(1).abs()
        ),
        "the channels' sizes are summed; the largest of them is asked for.": lambda: g.abs().sum(1),
        "the channels' sizes are averaged; the largest of them is asked for.": lambda: g.abs().mean(1),
        "the gradient is multiplied by the picture; that is another method (lesson better_gradients).": (
            lambda: (g * x).abs().amax(1)
        ),
        "this is the length over the channels; the largest size is asked for.": lambda: g.norm(dim=1),
        "this is the smallest size over the channels; the largest is asked for.": lambda: g.abs().amin(1),
        "the largest slope is taken before its absolute value; absolute value first, then the largest.": lambda: g.amax(
            1
        ).abs(),
        "these are the numbers of the channels (argmax); take their values (amax).": lambda: g.abs().argmax(1),
        "this is the first channel alone; take the largest size of all.": lambda: g[:, 0].abs(),
        "negative slopes are cut off; a strong negative slope counts as much.": lambda: g.relu().amax(1),
        "the mean logit is taken off the score; take the logit of target alone.": by(
            lambda z: z.gather(1, own[:, None]) - z.mean(1, keepdim=True)
        ),
        "this still has its channels; take the largest over dimension 1.": lambda: g.abs(),
        "this is the signed gradient with its channels; take the absolute value, then the largest over dimension 1.": (
            lambda: g
        ),
        "the map is scaled to a largest value of 1; leave it in its own units.": lambda: (
            g.abs().amax(1) / g.abs().amax((1, 2, 3))[:, None, None]
        ),
    }


def _differ(first: object, second: object) -> bool:
    both = isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape
    return both and (first - second).abs().max().item() > 1e-4 * first.abs().max().item()
