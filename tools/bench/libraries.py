"""captum's and zennit's calls for the same attributions, and how ours are compared with what they give.

A library's object is made once, outside the timed call, on a copy of its own. What a library cannot do (in-place ReLUs
under module hooks, frozen parameters) is not asked of it. For the libraries of activation maps see cam_libraries.py.
"""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tools.bench.clock import quickest
from tools.bench.subjects import Subject, borrowed

MODULES = {
    "captum": "captum",
    "grad-cam": "pytorch_grad_cam",
    "torchcam": "torchcam",
    "zennit": "zennit",
    "shap": "shap",
    "lime": "lime",
}
EPSILON = 1e-9  # of LRP: captum's default
TOLERANCE = 1e-3  # of a result's size
ROUNDED = 1e-2  # where rounding may switch a ReLU on the way back to the picture; in double precision it is 1e-12


class Peer(NamedTuple):
    """Somebody else's way to the same result, and what raises AssertionError if ours is not theirs."""

    call: Callable[[], object]
    check: Callable[[object, object], None]


def missing(name: str) -> bool:
    """Say whether the library that a peer's name begins with is not installed."""
    module = MODULES.get(name.split(",")[0])
    return module is not None and importlib.util.find_spec(module) is None


def close(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
    """Raise AssertionError unless the root mean square of the difference is that small a share of theirs."""
    assert ours.shape == theirs.shape, f"shape {list(ours.shape)}, theirs has {list(theirs.shape)}"
    size, gap = theirs.detach().norm(), (ours - theirs.detach()).norm()
    assert size > 0, "the peer's result is zero everywhere"
    assert gap <= tolerance * size, f"off by {gap / size:.2g} of its size"


def nearly(ours: Tensor, theirs: Tensor) -> None:
    close(ours, theirs, ROUNDED)


# --- captum ---


def saliency(s: Subject) -> Peer:
    from captum.attr import Saliency

    library = Saliency(borrowed(s.model))
    return Peer(lambda: library.attribute(s.x.clone().requires_grad_(), s.target, abs=False), nearly)


def integrated_gradients(s: Subject) -> Peer:
    from captum.attr import IntegratedGradients

    library = IntegratedGradients(borrowed(s.model))
    return Peer(lambda: library.attribute(s.x, target=s.target, n_steps=s.samples), nearly)


def smooth_grad(s: Subject) -> Peer:
    from captum.attr import NoiseTunnel, Saliency

    class SameNoise(NoiseTunnel):
        """Adds the noise that ours adds: drawn sample by sample, one for all pictures, a share of each one's range."""

        @staticmethod
        def _add_noise_to_input(x: Tensor, level: float, samples: int) -> Tensor:
            generator = torch.Generator().manual_seed(0)
            noise = torch.stack([torch.randn(x.shape[1:], generator=generator) for _ in range(samples)])
            spread = level * (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))
            return (x[:, None] + spread[:, None, None, None, None] * noise).flatten(0, 1)

    library, how = SameNoise(Saliency(borrowed(s.model))), {"nt_type": "smoothgrad", "stdevs": 0.15, "abs": False}
    return Peer(lambda: library.attribute(s.x, nt_samples=s.samples, target=s.target, **how), nearly)


def guided_backprop(s: Subject) -> Peer:
    from captum.attr import GuidedBackprop

    library = GuidedBackprop(borrowed(s.model, inplace=False))
    return Peer(lambda: library.attribute(s.x.clone().requires_grad_(), s.target), nearly)


def layer_grad_cam(s: Subject) -> Peer:
    from captum.attr import LayerGradCam

    model = borrowed(s.model, inplace=False)
    library = LayerGradCam(model, model.get_submodule(s.layer))
    return Peer(lambda: library.attribute(s.x, s.target)[:, 0], lambda ours, theirs: close(ours, theirs.relu()))


def occlusion(s: Subject, at_once: int = 1) -> Peer:
    from captum.attr import Occlusion

    library, window = Occlusion(borrowed(s.model)), (s.x.shape[1], s.patch, s.patch)

    def call() -> Tensor:
        with torch.no_grad():
            return library.attribute(s.x, window, window, target=s.target, perturbations_per_eval=at_once)[:, 0]

    return Peer(call, close)


def occlusion_at_its_best(s: Subject) -> Peer:
    peers = {str(chunk): occlusion(s, chunk) for chunk in (4, 16, 64)}
    return peers[quickest({chunk: peer.call for chunk, peer in peers.items()})]


def averaging(s: Subject) -> Subject:
    """Return the subject with average poolings in place of max poolings, of which captum's DeepLIFT loses a part."""
    model = borrowed(s.model)
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.MaxPool2d):
            model.set_submodule(name, torch.nn.AvgPool2d(module.kernel_size, module.stride, module.padding))
    return s._replace(model=model)


def deep_lift(s: Subject) -> Peer | None:
    from captum.attr import DeepLift

    if not s.name.startswith("vgg"):
        return None  # it needs each ReLU to be a module of its own, and knows no ReLU6
    library = DeepLift(borrowed(averaging(s).model, inplace=False))
    return Peer(lambda: library.attribute(s.x, baselines=torch.zeros_like(s.x), target=s.target), nearly)


def captum_lrp(s: Subject) -> Peer | None:
    from captum.attr import LRP

    if hasattr(s.model, "fc") or hasattr(s.model, "last_channel"):
        return None  # it does not see the sums of a residual net, see tests/test_relevance.py
    library = LRP(borrowed(s.model, inplace=False))
    return Peer(lambda: library.attribute(s.x.clone().requires_grad_(), s.target), nearly)


# --- zennit ---


def zennit_lrp(s: Subject) -> Peer | None:
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import LayerMapComposite
    from zennit.layer import Sum
    from zennit.rules import Epsilon, Norm, Pass
    from zennit.torchvision import ResNetCanonizer
    from zennit.types import Activation, AvgPool, Convolution, Linear

    if s.name == "shapes_resnet" or hasattr(s.model, "last_channel"):
        return None  # it knows the sums of torchvision's residual blocks only
    canonizer = ResNetCanonizer() if hasattr(s.model, "fc") else SequentialMergeBatchNorm()
    rules = [((Convolution, Linear), Epsilon(EPSILON)), ((AvgPool, Sum), Norm(EPSILON)), (Activation, Pass())]
    model = borrowed(s.model, inplace=False)
    asked = torch.nn.functional.one_hot(s.target, model(s.x).shape[1])
    library = Gradient(model, LayerMapComposite(rules, canonizers=[canonizer])).__enter__()
    return Peer(lambda: library(s.x.clone(), lambda y: y * asked)[1], nearly)
