"""Explanations of a classifier's score: ``method(model, x, target=None, ...)``, all under one contract.

``x`` is float [N, C, H, W]. ``target`` is ``None`` (each picture's top class), an int, ints [N], or a function of the
logits that returns [N]. Scores are logits. Gradient methods return signed [N, C, H, W], CAM methods raw maps [N, h, w];
nothing is scaled or resized here (:func:`pixel_map` and :func:`upsample` do that). Nothing is left behind: no hook, no
changed mode, no ``requires_grad``, no ``.grad``.
"""

from helpers.attribution.averaged_gradients import integrated_gradients, smooth_grad, var_grad
from helpers.attribution.averaging_cam import cam
from helpers.attribution.cams import (
    grad_cam,
    grad_cam_plus_plus,
    gradient_cams,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    xgrad_cam,
)
from helpers.attribution.full_grad import full_grad, full_gradients
from helpers.attribution.gradient_free_cams import ablation_cam, eigen_cam, score_cam
from helpers.attribution.gradients import deconvnet, gradient, gradient_x_input, guided_backprop
from helpers.attribution.maps import pixel_map, upsample
from helpers.attribution.perturbation import occluded_logits, occlusion
from helpers.attribution.random_masks import rise
from helpers.attribution.relevance import lrp

__all__ = [
    "ablation_cam",
    "cam",
    "deconvnet",
    "eigen_cam",
    "full_grad",
    "full_gradients",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "gradient_cams",
    "gradient_x_input",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "integrated_gradients",
    "layer_cam",
    "lrp",
    "occluded_logits",
    "occlusion",
    "pixel_map",
    "rise",
    "score_cam",
    "smooth_grad",
    "upsample",
    "var_grad",
    "xgrad_cam",
]
