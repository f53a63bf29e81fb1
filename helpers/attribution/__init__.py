"""Explanations of a classifier's score: ``method(model, x, target=None, ...)``, all under one contract.

``x`` is float [N, C, H, W], or [N, C, L], see below. ``target`` is ``None`` (each picture's top class), a class number,
one for each picture (list, tuple, array or tensor), or a function of the logits that returns [N]. Scores are logits.
Gradient methods return signed [N, C, H, W], CAM methods raw maps [N, h, w]; nothing is scaled or resized here
(:func:`pixel_map` and :func:`upsample` do that). The model stays as it was: no hook, mode, ``requires_grad``
or ``.grad`` is changed. Only one thread at a time runs a method; the others wait.

The model is a ``torch.nn.Module``. Its logits [N, classes] may come alone, first in a tuple or list, under "logits" or
"out" of a dict, or as ``.logits`` of an object; a regression may give [N]. What a segmentation or a detector gives is
handed to a target function as it is. Where the network works in half precision or under autocast, sums are kept, and
returned, in float32. A warning comes where a network gives probabilities in place of logits, or draws random
numbers in ``eval()`` mode.

Methods with a ``layer`` read maps [N, K, h, w] from it. Tokens [N, T, K] and channels that come last, [N, h, w, K], are
re-arranged by the function ``as_maps``, such as :func:`helpers.hooks.tokens_as_maps` and
:func:`helpers.hooks.channels_last_as_maps`; without one, this is guessed where the module and the picture's sides leave
no doubt.

A network whose convolutions are Conv1d takes texts in place of pictures: float [N, C, L], N rows of L words with
C numbers each. All methods serve both, as a text is a picture one line high: what a docstring says of [N, C, H, W],
[N, K, h, w], [N, H, W] and a colour [C, 1, 1] holds for [N, C, L], [N, K, l], [N, L] and a word [C, 1], and a patch, a
stride and a size are one number. Word numbers have no gradient, so the texts are word vectors, and the network begins
behind its embedding. Padding counts as words too: a mean over places or a random mask does not stop where a text ends.
A network without any convolution takes pictures. A single picture [C, H, W] has the shape of C texts: the methods tell
the two apart by the network, :func:`pixel_map` and :func:`upsample` cannot.
"""

from helpers.attribution.attention import attention_relevance, attention_rollout
from helpers.attribution.cams import (
    cam,
    grad_cam,
    grad_cam_plus_plus,
    gradient_cams,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    xgrad_cam,
)
from helpers.attribution.deep_lift import deep_lift
from helpers.attribution.extremal import extremal_perturbation
from helpers.attribution.full_grad import full_grad, full_gradients
from helpers.attribution.gradient_free_cams import ablation_cam, eigen_cam, score_cam
from helpers.attribution.gradients import deconvnet, gradient, gradient_x_input, guided_backprop
from helpers.attribution.maps import pixel_map, upsample
from helpers.attribution.occlusion import occluded_logits, occlusion, rise
from helpers.attribution.paths import gradient_shap, integrated_gradients, smooth_grad, var_grad
from helpers.attribution.relevance import lrp
from helpers.attribution.surrogates import kernel_shap, lime, shapley_values, superpixels

__all__ = [
    "ablation_cam",
    "attention_relevance",
    "attention_rollout",
    "cam",
    "deconvnet",
    "deep_lift",
    "eigen_cam",
    "extremal_perturbation",
    "full_grad",
    "full_gradients",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "gradient_cams",
    "gradient_shap",
    "gradient_x_input",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "integrated_gradients",
    "kernel_shap",
    "layer_cam",
    "lime",
    "lrp",
    "occluded_logits",
    "occlusion",
    "pixel_map",
    "rise",
    "score_cam",
    "shapley_values",
    "smooth_grad",
    "superpixels",
    "upsample",
    "var_grad",
    "xgrad_cam",
]
