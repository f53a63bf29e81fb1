"""Which methods are timed, against whom, what is the least they can cost, and what the course aims at."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from helpers import attribution
from tools.bench import cam_libraries, floors, libraries
from tools.bench import surrogate_libraries as surrogates
from tools.bench.libraries import Peer, close
from tools.bench.subjects import Subject, from_the_maps_on


class Aim(NamedTuple):
    """Time of ours / time of ``against`` (a peer, "fastest library" or "least") is to be at most ``ratio``."""

    against: str
    ratio: float
    settings: tuple[str, ...] = ()  # the nets that it is about; empty for all


class Case(NamedTuple):
    """One method. Each function takes what is explained and returns the call that is timed."""

    ours: Callable[[object], Callable[[], object]]
    peers: dict[str, Callable[[object], Peer | None]]  # None where the peer has no such thing
    aims: tuple[Aim, ...]
    least: Callable[[object], Callable[[], object]] | None = None
    least_is: str = ""
    forward: Callable[[object], Callable[[], object]] | None = floors.forward
    memory: bool = True


def plainly(name: str) -> Callable[[Subject], Callable[[], object]]:
    return lambda s: lambda: getattr(attribution, name)(s.model, s.x, s.target)


def at_layer(name: str) -> Callable[[Subject], Callable[[], object]]:
    return lambda s: lambda: getattr(attribution, name)(s.model, s.x, s.target, layer=s.layer)


def of_package(method: str, **options: bool) -> Callable[[Subject], Peer]:
    return lambda s: cam_libraries.grad_cam_package(method, s, s.layer, **options)


def ablation_of_package(s: Subject) -> Peer | None:
    if s.name in ("resnet50", "vgg16"):
        return None  # minutes for one picture
    return cam_libraries.grad_cam_package("AblationCAM", s, s.layer)


def one_alone(s: Subject) -> Peer:
    call = at_layer("grad_cam")(s)
    return Peer(call, lambda ours, theirs: close(ours["grad_cam"].relu(), theirs))


def smooth_grad(s: Subject) -> Callable[[], object]:
    return lambda: attribution.smooth_grad(
        s.model, s.x, s.target, samples=s.samples, generator=torch.Generator().manual_seed(0)
    )


def places(s: Subject) -> int:
    return 1 + (s.x.shape[2] // s.patch) * (s.x.shape[3] // s.patch)


def segmented(name: str, **options: int) -> Callable[[Subject], Callable[[], object]]:
    def build(s: Subject) -> Callable[[], object]:
        segments = surrogates.squares(s)
        return lambda: getattr(attribution, name)(s.model, s.x, s.target, segments=segments, **options)

    return build


CASES = {
    "gradient": Case(
        plainly("gradient"),
        {"captum": libraries.saliency},
        (Aim("captum", 1.05), Aim("least", 1.15)),
        floors.gradients(lambda s: 1),
        "a forward and a backward pass",
    ),
    "guided_backprop": Case(
        plainly("guided_backprop"),
        {"captum": libraries.guided_backprop},
        (Aim("captum", 1.05),),
        floors.gradients(lambda s: 1),
        "a forward and a backward pass",
    ),
    "integrated_gradients": Case(
        lambda s: lambda: attribution.integrated_gradients(s.model, s.x, s.target, steps=s.samples),
        {"captum": libraries.integrated_gradients},
        (Aim("captum", 0.8), Aim("least", 1.15)),
        floors.gradients(lambda s: s.samples),
        "a forward and a backward pass for each step",
    ),
    "smooth_grad": Case(
        smooth_grad,
        {"captum": libraries.smooth_grad},
        (Aim("captum", 0.8), Aim("least", 1.15)),
        floors.gradients(lambda s: s.samples),
        "a forward and a backward pass for each sample",
    ),
    "lrp": Case(
        lambda s: lambda: attribution.lrp(s.model, s.x, s.target, epsilon=libraries.EPSILON),
        {"zennit": libraries.zennit_lrp, "captum": libraries.captum_lrp},
        (Aim("zennit", 1.0),),
        floors.gradients(lambda s: 1),
        "a forward and a backward pass",
    ),
    "grad_cam": Case(
        at_layer("grad_cam"),
        {
            "captum": libraries.layer_grad_cam,
            "torchcam": cam_libraries.torchcam_grad_cam,
            "grad-cam": of_package("GradCAM"),
        },
        (Aim("fastest library", 1.05), Aim("grad-cam", 0.5)),
        floors.layer_gradient,
        "a forward pass, and the head backwards",
    ),
    "gradient_cams": Case(
        at_layer("gradient_cams"),
        {"one alone": one_alone},
        (Aim("one alone", 1.3),),
        floors.layer_gradient,
        "a forward pass, and the head backwards",
    ),
    "eigen_cam": Case(
        at_layer("eigen_cam"),
        {"grad-cam": of_package("EigenCAM", either_sign=True)},
        (Aim("grad-cam", 0.2),),
        floors.principal_map,
        "a forward pass to the layer, and one eigenvector",
    ),
    "eigen_cam, maps given": Case(
        lambda s: at_layer("eigen_cam")(from_the_maps_on(s)),
        {"grad-cam": lambda s: of_package("EigenCAM", either_sign=True)(from_the_maps_on(s))},
        (Aim("grad-cam", 0.2),),
        forward=None,
    ),
    "ablation_cam": Case(
        at_layer("ablation_cam"),
        {"grad-cam": ablation_of_package},
        (Aim("grad-cam", 0.01, ("resnet18", "mobilenet_v2")),),
        floors.ablated_heads,
        "a forward pass, and the head once for each map (a sum where it is linear)",
    ),
    "score_cam": Case(
        lambda s: lambda: attribution.score_cam(s.model, s.x, s.target, layer=s.score_layer),
        {
            "torchcam": cam_libraries.torchcam_score_cam,
            "grad-cam": lambda s: cam_libraries.grad_cam_package("ScoreCAM", s, s.score_layer),
        },
        (Aim("fastest library", 0.75),),
        floors.forwards(floors.masks),
        "a forward pass for each map that is not constant",
    ),
    "occlusion": Case(
        lambda s: lambda: attribution.occlusion(s.model, s.x, s.target, patch=s.patch),
        {"captum": libraries.occlusion, "captum, best chunk": libraries.occlusion_at_its_best},
        (Aim("captum", 0.7), Aim("captum, best chunk", 1.0)),
        floors.forwards(places),
        "a forward pass for each place, and one",
    ),
    "lime": Case(
        segmented("lime", samples=surrogates.SAMPLES),
        {
            "captum": lambda s: surrogates.captum_lime(s, 1),
            "captum, best chunk": lambda s: surrogates.at_best(surrogates.captum_lime, s),
            "lime": surrogates.lime_package,
        },
        (Aim("fastest library", 0.5, ("resnet18",)),),
        floors.forwards(lambda s: surrogates.SAMPLES),
        "a forward pass for each coalition",
    ),
    "kernel_shap": Case(
        segmented("kernel_shap", samples=surrogates.SAMPLES),
        {
            "captum": lambda s: surrogates.captum_kernel_shap(s, 1),
            "captum, best chunk": lambda s: surrogates.at_best(surrogates.captum_kernel_shap, s),
            "shap": surrogates.shap_package,
        },
        (Aim("fastest library", 0.5, ("resnet18",)),),
        floors.forwards(lambda s: surrogates.SAMPLES),
        "a forward pass for each coalition",
    ),
    "shapley_values": Case(
        segmented("shapley_values", permutations=surrogates.ORDERS),
        {
            "captum": lambda s: surrogates.captum_shapley(s, 1),
            "captum, best chunk": lambda s: surrogates.at_best(surrogates.captum_shapley, s),
        },
        (Aim("captum", 0.5),),
        floors.forwards(lambda s: surrogates.ORDERS * (surrogates.SIDE**2 - 1)),
        "a forward pass for each coalition",
    ),
    "deep_lift": Case(
        lambda s: lambda: attribution.deep_lift(libraries.averaging(s).model, s.x, s.target),
        {"captum": libraries.deep_lift},
        (Aim("captum", 1.05),),
        floors.gradients(lambda s: 1),
        "a forward and a backward pass",
    ),
}
