"""Checks for lesson *saliency*: a saliency map that leaves no trace, and guided backprop's rule at a ReLU."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


@checker
def check_saliency(saliency: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> str:
    """Check ``saliency(model, x [N, C, H, W], target [N]) -> [N, H, W]`` on a small random net with dropout."""
    generator = torch.Generator().manual_seed(3)
    model = _net(generator)
    x = torch.randn(4, 3, 8, 8, generator=generator)
    own = model.eval()(x).argsort(1)[:, 2]  # neither the top class nor the last, and not the same for all
    g = _gradient(model, x, lambda z: z.gather(1, own[:, None]))
    expected = g.abs().amax(1)

    training = copy.deepcopy(model).train()
    given, target = x.clone(), own.clone()
    first = ask(saliency, training, given, target)
    second = ask(saliency, copy.deepcopy(model).train(), x.clone(), own.clone())
    traces = _traces(training, given, x)
    if _differ(first, second):
        raise Wrong("two calls give two maps: dropout is on. Put the model into eval() before you run it.")
    name_the_mistake(first, _mistakes(model, x, own, g), expected, what="your map")
    for trace in traces:
        raise Wrong(trace)
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
        "these are the gates alone; multiply them with g.": gates,
        "g is multiplied by the ReLU's value; z only opens or closes the gate.": g.relu() * z.relu(),
        "the ReLU's own output comes back; it is g that goes further.": z * gates,
        "where z is exactly 0 the ReLU is off; the gate is z > 0, not z >= 0.": g * ((z >= 0) & (g > 0)),
        "g passes where either gate is open; both have to be.": g * ((z > 0) | (g > 0)),
        "the negative g are turned to positive; they have to be dropped.": g.abs() * (z > 0),
    }
    given = z.clone(), g.clone()
    got = ask(guided_relu_backward, *given)
    name_the_mistake(got, mistakes, g * gates, what="what goes back")
    if not (torch.equal(given[0], z) and torch.equal(given[1], g)):
        raise Wrong("the values are right, but your function wrote into its input; work on new tensors.")
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
        "this still has its channels; take the largest over dimension 1.": lambda: g.abs(),
        "this is the signed gradient with its channels; take the absolute value, then the largest over dimension 1.": (
            lambda: g
        ),
        "the map is scaled to a largest value of 1; leave it in its own units.": lambda: (
            g.abs().amax(1) / g.abs().amax((1, 2, 3))[:, None, None]
        ),
    }


def _traces(model: nn.Module, given: Tensor, x: Tensor) -> list[str]:
    """Say what a call left behind on a model that came in train() mode and on the picture."""
    left = []
    if any(parameter.grad is not None for parameter in model.parameters()):
        left.append("the map is right, but parameters now have a .grad; use torch.autograd.grad, not backward().")
    if not all(parameter.requires_grad for parameter in model.parameters()):
        left.append("the map is right, but the model's parameters came back frozen; leave requires_grad as it came.")
    if given.requires_grad or given.grad is not None or not torch.equal(given, x):
        left.append("the map is right, but x was changed (requires_grad or values); work on x.clone().")
    if not all(module.training for module in model.modules()):
        left.append("the map is right, but the model came in train() and went back in eval(); restore its mode.")
    return left


def _differ(first: object, second: object) -> bool:
    both = isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape
    return both and (first - second).abs().max().item() > 1e-4 * first.abs().max().item()
