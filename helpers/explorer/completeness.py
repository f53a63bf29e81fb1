"""What a method's values must add up to, if anything, and whether they do: the explorer's check of a map."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from helpers import attribution
from helpers.evaluation.methods import SAMPLES

EXACT = 0.01  # share up to which a sum is said to hold, without a word about how well
AVERAGING = ("grad_cam", "hires_cam", "xgrad_cam")  # signed, they are CAM itself where a net has one


class Sum(NamedTuple):
    """What values add up to, and what they must add up to.

    Attributes:
        of: the values, as the subject of a sentence.
        found: their sum, in logits.
        due: what it must be, in logits.
        within: how far the two may differ, as a share of ``due``, or of one logit if ``due`` is smaller.
        reason: why they may differ by more, where one is known.

    >>> print(Sum("The map", found=9.6, due=10.0, within=0.05))
    The map must add up to 10.000, and add up to 9.600: they do within 5% (off by 0.4).
    """

    of: str
    found: float
    due: float
    within: float
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether they do."""
        return abs(self.found - self.due) <= self.within * max(1, abs(self.due))

    def __str__(self) -> str:
        off, scale = abs(self.found - self.due), max(1, abs(self.due))
        if off <= EXACT * scale and self.holds:
            says = "they do"
        elif self.holds:
            says = f"they do within {self.within:.0%}{'' if scale > 1 else ' of one logit'} (off by {off:.3g})"
        else:
            says = f"they miss it by {off:.3g}" + (f"; {self.reason}" if self.reason else "")
        return f"{self.of} must add up to {self.due:.3f}, and add up to {self.found:.3f}: {says}."


def sum_of(method: str, model: nn.Module, x: Tensor, target: int, layer: str, heat: Tensor) -> Sum | None:
    """Return what has to hold for a method's values; None where nothing has to.

    Args:
        method: its name in ``helpers.evaluation.methods.METHODS``.
        model: a classifier in ``eval()`` mode.
        x: one picture [1, C, H, W].
        target: class number.
        layer: name of the layer of a class activation map.
        heat: the map that ``explain`` made of it, [H, W].
    """
    with torch.no_grad():
        score = model(x)[0, target].item()
    if method == "cam" or method in AVERAGING:
        return _of_a_cam(method, model, x, target, layer, score)
    if method == "integrated_gradients":
        with torch.no_grad():
            rise = score - model(torch.zeros_like(x))[0, target].item()
        return Sum(
            f"Its values, from {SAMPLES} points between a picture of zeros and this one,",
            heat.sum().item(),
            rise,
            0.05,
            f"{SAMPLES} points are few for this network",
        )
    if method in ("gradient_x_input", "full_grad"):
        try:
            of_input, of_biases = attribution.full_gradients(model, x, target)
        except ValueError:  # the net is not made of straight pieces
            return None
        total = of_input.sum().item() + sum(part.sum().item() for part in of_biases.values())
        return Sum("Gradient x input and the parts of the biases", total, score, 1e-3)
    return None


def _of_a_cam(method: str, model: nn.Module, x: Tensor, target: int, layer: str, score: float) -> Sum | None:
    """Return the check of CAM, or of a method that is CAM at this layer; None where it is not."""
    try:
        cam = attribution.cam(model, x, target, layer=layer)
    except ValueError:
        return None
    head = [part for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]
    linear = isinstance(head, nn.Linear)
    bias = head.bias[target].item() if linear and head.bias is not None else 0.0  # a convolution's is in its maps
    if method == "cam":
        return Sum("The map's mean and the class's bias", cam.mean().item() + bias, score, 1e-3)
    maps = attribution.gradient_cams(model, x, target, layer=layer, relu=False)
    if not linear or not torch.allclose(maps["grad_cam"], maps["hires_cam"], 1e-3, 1e-5):  # its slope differs by place
        return None
    return Sum("The map, before its ReLU, and the class's bias", maps[method].sum().item() + bias, score, 1e-3)
