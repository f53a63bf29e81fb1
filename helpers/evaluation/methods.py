"""Every attribution method of the course, and the baselines, each as one map a picture and under one name.

What the methods return, [N, C, H, W] or the coarse map of a layer, becomes one map [N, H, W] in this way:

- Methods whose values are shares of the score (gradient x input, integrated gradients, GradientSHAP, DeepLIFT, LRP) are
  summed over channels and keep their sign: what speaks against the class is not counted as evidence for it.
- Methods that tell how strongly the score reacts (gradient, SmoothGrad, VarGrad, guided backpropagation, deconvnet,
  Guided Grad-CAM) give the largest size over channels, as saliency maps do.
- Class activation maps are enlarged to the picture, raw: those that end in a ReLU have no negative part.
- Occlusion, RISE, LIME and KernelSHAP are maps of the picture already, signed; FullGrad and the mask of extremal
  perturbation too, never negative. LIME and KernelSHAP have one value for each superpixel.
- Attention rollout and the relevance of attention are enlarged as class activation maps are. They need a transformer.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helpers import attribution
from helpers.attribution._common import Target
from helpers.evaluation.baselines import absolute_input, centred_gaussian, mean_of_maps, random_maps, sobel

SAMPLES = 25  # noisy copies for SmoothGrad and VarGrad, points on the way for integrated gradients and GradientSHAP
MASKS = 500  # of RISE
COALITIONS = 500  # of the some fifty superpixels of LIME and KernelSHAP
STEPS = 60  # of extremal perturbation
PATCH, STRIDE = 24, 12  # of occlusion, in pixels
LRP = {"rule": "gamma"}

Maps = Callable[[nn.Module, Tensor, Target, str | nn.Module, torch.Generator | None], Tensor]


class Method(NamedTuple):
    """How a method makes its maps, and what a picture costs.

    Attributes:
        maps: ``maps(model, x, target, layer, generator)`` returns [N, H, W].
        forward, backward: how many passes through the network a picture costs: K is the number of the layer's maps that
            are not zero everywhere, "head" a pass through the layers behind it alone.
        noisy: whether it draws from the generator.
    """

    maps: Maps
    forward: str = "0"
    backward: str = "0"
    noisy: bool = False


def _pixels(method: Callable, forward: str, backward: str, how: str, noisy: bool = False, **options) -> Method:
    """Return a method that gives one value for each channel of each pixel."""

    def maps(model: nn.Module, x: Tensor, target: Target, layer: str, generator: torch.Generator | None) -> Tensor:
        drawn = {"generator": generator} if noisy else {}
        return attribution.pixel_map(method(model, x, target, **options, **drawn), how)

    return Method(maps, forward, backward, noisy)


def _picture(method: Callable, forward: str, backward: str, noisy: bool = False, **options) -> Method:
    """Return a method that gives one value for each pixel."""

    def maps(model: nn.Module, x: Tensor, target: Target, layer: str, generator: torch.Generator | None) -> Tensor:
        return method(model, x, target, **options, **({"generator": generator} if noisy else {}))

    return Method(maps, forward, backward, noisy)


def _coarse(method: Callable, forward: str, backward: str) -> Method:
    """Return a class activation map."""

    def maps(model: nn.Module, x: Tensor, target: Target, layer: str, generator: torch.Generator | None) -> Tensor:
        return attribution.upsample(method(model, x, target, layer=layer), x.shape[2:])

    return Method(maps, forward, backward)


def _attention(method: Callable, backward: str, asked: bool) -> Method:
    """Return a map of a transformer's tokens; ``asked`` says whether it is asked for a class."""

    def maps(model: nn.Module, x: Tensor, target: Target, layer: str, generator: torch.Generator | None) -> Tensor:
        return attribution.upsample(method(model, x, target) if asked else method(model, x), x.shape[2:])

    return Method(maps, "1", backward)


def _mean_of_maps(model: nn.Module, x: Tensor, target: Target, layer: str, generator: object) -> Tensor:
    return attribution.upsample(mean_of_maps(model, x, layer=layer), x.shape[2:])


def _guided_grad_cam(model: nn.Module, x: Tensor, target: Target, layer: str, generator: object) -> Tensor:
    return attribution.pixel_map(attribution.guided_grad_cam(model, x, target, layer=layer), "max_abs")


METHODS: dict[str, Method] = {  # in the order of the lessons
    "gradient": _pixels(attribution.gradient, "1", "1", "max_abs"),
    "gradient_x_input": _pixels(attribution.gradient_x_input, "1", "1", "sum"),
    "deconvnet": _pixels(attribution.deconvnet, "1", "1", "max_abs"),
    "guided_backprop": _pixels(attribution.guided_backprop, "1", "1", "max_abs"),
    "cam": _coarse(attribution.cam, "1", "0"),
    "grad_cam": _coarse(attribution.grad_cam, "1", "head"),
    "occlusion": _picture(attribution.occlusion, "101", "0", patch=PATCH, stride=STRIDE),
    "rise": _picture(attribution.rise, f"{MASKS + 1}", "0", noisy=True, samples=MASKS),
    "lime": _picture(attribution.lime, f"{COALITIONS + 3}", "0", noisy=True, samples=COALITIONS),
    "kernel_shap": _picture(attribution.kernel_shap, f"{COALITIONS + 3}", "0", noisy=True, samples=COALITIONS),
    "smooth_grad": _pixels(
        attribution.smooth_grad, f"{SAMPLES + 1}", f"{SAMPLES}", "max_abs", noisy=True, samples=SAMPLES
    ),
    "var_grad": _pixels(attribution.var_grad, f"{SAMPLES + 1}", f"{SAMPLES}", "max_abs", noisy=True, samples=SAMPLES),
    "integrated_gradients": _pixels(
        attribution.integrated_gradients, f"{SAMPLES + 1}", f"{SAMPLES}", "sum", steps=SAMPLES
    ),
    "gradient_shap": _pixels(
        attribution.gradient_shap, f"{SAMPLES + 1}", f"{SAMPLES}", "sum", noisy=True, samples=SAMPLES
    ),
    "grad_cam_plus_plus": _coarse(attribution.grad_cam_plus_plus, "1", "head"),
    "hires_cam": _coarse(attribution.hires_cam, "1", "head"),
    "xgrad_cam": _coarse(attribution.xgrad_cam, "1", "head"),
    "layer_cam": _coarse(attribution.layer_cam, "1", "head"),
    "guided_grad_cam": Method(_guided_grad_cam, "2", "1, head"),
    "score_cam": _coarse(attribution.score_cam, "K + 5", "0"),
    "ablation_cam": _coarse(attribution.ablation_cam, "1, head K", "0"),
    "eigen_cam": _coarse(attribution.eigen_cam, "1", "0"),
    "extremal_perturbation": _picture(
        attribution.extremal_perturbation, f"{STEPS + 3}", f"{STEPS}", noisy=True, steps=STEPS
    ),
    "full_grad": _picture(attribution.full_grad, "1", "1"),
    "lrp": _pixels(attribution.lrp, "3", "3", "sum", **LRP),
    "deep_lift": _pixels(attribution.deep_lift, "2", "1", "sum"),
    "attention_rollout": _attention(attribution.attention_rollout, "0", asked=False),
    "attention_relevance": _attention(attribution.attention_relevance, "1", asked=True),
}
CLASS_BLIND = ("eigen_cam", "attention_rollout")  # methods that are asked for no class
BASELINES: dict[str, Method] = {  # they know nothing of the class, and but for the last they never see the network
    "random": Method(lambda model, x, target, layer, generator: random_maps(x, generator), noisy=True),
    "centred Gaussian": Method(lambda model, x, target, layer, generator: centred_gaussian(x)),
    "|x|": Method(lambda model, x, target, layer, generator: absolute_input(x)),
    "Sobel": Method(lambda model, x, target, layer, generator: sobel(x)),
    "mean of maps": Method(_mean_of_maps, "1"),
}
METHODS_AND_BASELINES = METHODS | BASELINES


def explain(
    name: str,
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: str | nn.Module,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the maps of a method or baseline, by its name, in the picture's size.

    Args:
        name: of a method in ``METHODS`` or a baseline in ``BASELINES``; the baselines look at ``x`` alone, but for
            the mean of all maps of a layer.
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes.
        target: which score to explain: ``None`` for each picture's top class, a class number, one class number for
            each picture [N], or a function of the logits that returns [N].
        layer: module or its name, for class activation maps.
        generator: source of the noise, on the CPU, of the methods that draw some (``METHODS[name].noisy``) and of the
            random baseline; one with seed 0 unless given.

    Returns:
        One map a picture, [N, H, W], detached, signed where the method is.

    Raises:
        ValueError: no such name; or the network has no such map, as with ``cam`` and a head with a hidden layer.
        TypeError, ValueError: what the method itself refuses.

    >>> import torch
    >>> from helpers import evaluation
    >>> pool = torch.nn.AdaptiveAvgPool2d(1)
    >>> head = pool, torch.nn.Flatten(), torch.nn.Linear(4, 5)
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), *head)
    >>> evaluation.explain("grad_cam", net, torch.rand(2, 3, 8, 8), target=1, layer="1").shape
    torch.Size([2, 8, 8])
    """
    if not isinstance(name, str) or name not in METHODS_AND_BASELINES:
        raise ValueError(f"There is no method {name!r}; there are {', '.join(METHODS_AND_BASELINES)}.")
    return METHODS_AND_BASELINES[name].maps(model, x, target, layer, generator)
