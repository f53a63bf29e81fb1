"""Checker of exercise Q1: the prototypes of 3 and 1 on a linear net, reached from a picture of an 8."""

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn

from helpers.checks.core import Wrong, checker
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
