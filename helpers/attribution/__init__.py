"""Explanations of a classifier's score: ``method(model, x, target=None, ...)``, all under one contract.

``x`` is float [N, C, H, W]. ``target`` is ``None`` (each picture's top class), an int, ints [N], or a function of the
logits that returns [N]. Scores are logits. Gradient methods return signed [N, C, H, W], CAM methods raw maps [N, h, w];
nothing is scaled or resized here (:func:`pixel_map` and :func:`upsample` do that). Nothing is left behind: no hook, no
changed mode, no ``requires_grad``, no ``.grad``.
"""

from helpers.attribution.cams import cam, grad_cam
from helpers.attribution.gradients import deconvnet, gradient, guided_backprop
from helpers.attribution.maps import pixel_map, upsample

__all__ = ["cam", "deconvnet", "grad_cam", "gradient", "guided_backprop", "pixel_map", "upsample"]
