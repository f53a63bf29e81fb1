"""What is explained: nine nets and their pictures; everyone gets the same classes and the same layer."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helpers import data
from helpers.data import shapes
from helpers.models import load_classifier
from tests.nets import pictures, random_net


class Subject(NamedTuple):
    """A net, its pictures [N, C, H, W], each picture's top class [N], and what the methods need to be told."""

    name: str
    model: nn.Module
    x: Tensor
    target: Tensor
    layer: str  # the last stage
    score_layer: str  # of Score-CAM, whose cost is one forward pass for each map, whichever the layer
    patch: int  # side and stride of the occluding square
    samples: int  # of SmoothGrad, and steps of integrated gradients

    @property
    def says(self) -> str:
        count, *size = self.x.shape
        return (
            f"{count} picture{'s' * (count > 1)} of {' x '.join(map(str, size))}; maps of {self.layer}, Score-CAM's of "
            f"{self.score_layer}; patches of {self.patch} pixels; {self.samples} samples and steps"
        )

    @property
    def rows(self) -> Tensor:
        return torch.arange(len(self.x))


class Large(NamedTuple):
    """A net of torchvision's with random weights, and what is asked of it; it gets one picture of ``side`` pixels."""

    net: str
    side: int
    layer: str
    score_layer: (
        str  # of resnet50 and mobilenet_v2 an early layer: the last has so many maps that it would take minutes
    )
    patch: int


LARGE = {
    "resnet18": Large("resnet18", 224, "layer4", "layer4", 32),
    "resnet50": Large("resnet50", 224, "layer4", "layer1", 32),
    "vgg16": Large("vgg16", 224, "features.29", "features.4", 56),
    "mobilenet_v2": Large("mobilenet_v2", 224, "features", "features.7", 32),
    "resnet18 at 96": Large("resnet18", 96, "layer4", "layer4", 12),
    "vgg11 with view": Large("vgg11", 96, "features.19", "features.4", 12),
}
SMALL = ("digits_cnn_mnist", "digits_cnn_mnist with view", "shapes_resnet")
NETS = (*LARGE, *SMALL)
QUICK = ("resnet18", "digits_cnn_mnist")


def subject(name: str, quick: bool = False) -> Subject:
    """Return a net as torchvision hands nets out, in eval() mode and not frozen, with pictures to explain.

    The large nets have random weights and get one picture; the course's have their own weights and get eight,
    in a quick run three. "With view" is the same net that flattens its maps by ``x.view(-1, n)``, as many do.
    """
    samples, count = (10, 3) if quick else (50, 8)
    if name in LARGE:
        samples = min(samples, 20) if name in ("resnet50", "vgg16") else samples
        net, side, layer, score_layer, patch = LARGE[name]
        if quick:
            side, score_layer, patch = 64, "layer1", 16
        model, x, layers = random_net(net), pictures(1, side), (layer, score_layer)
    elif name.startswith("digits_cnn"):
        model, x = load_classifier("digits_cnn_mnist").model, data.load_digits("generated", train=False).images[:count]
        layers, patch = ("layer3", "layer3"), 4
    elif name == "shapes_resnet":
        model, x = load_classifier(name).model, shapes.preprocess(shapes.one(count, seed=data.UNSEEN).images)
        layers, patch = ("layer4", "layer4"), 16
    else:
        raise ValueError(f"There is no net {name!r} here; there are {', '.join(NETS)}.")
    model = borrowed(with_view(model) if name.endswith("with view") else model)
    with torch.no_grad():
        target = model(x).argmax(1)
    return Subject(name, model, x, target, *layers, patch, samples)


def with_view(model: nn.Module) -> nn.Module:
    """Return a copy of ``digits_cnn_mnist`` or a VGG that flattens by ``view``, which asks for the ordinary layout."""

    class WithView(type(model)):
        def forward(self, x: Tensor) -> Tensor:
            if hasattr(self, "features"):
                return self.classifier(self.avgpool(self.features(x)).view(-1, self.classifier[0].in_features))
            maps = self.layer3(self.layer2(self.layer1(x)))
            return self.layer5(self.layer4(maps.view(-1, self.layer4[0].in_features)))

    model = copy.copy(model)
    model.__class__ = WithView
    return model


def borrowed(model: nn.Module, *, frozen: bool = False, inplace: bool = True) -> nn.Module:
    """Return a copy that shares the memory of the weights: each contender may hook and patch its own.

    Args:
        model: in any state.
        frozen: whether the copy's parameters take no gradient.
        inplace: ``False`` turns in-place ReLUs into ordinary ones, for libraries that cannot bear them.
    """
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=not frozen) for p in model.parameters()}
    model = copy.deepcopy(model, shared)
    for module in model.modules():
        if hasattr(module, "inplace") and not inplace:
            module.inplace = False
    return model.eval()


def last_linear(model: nn.Module) -> nn.Linear | None:
    """Return the linear layer of a net that is an average and this layer behind its last stage, else None."""
    if hasattr(model, "fc"):
        return model.fc
    last = model.classifier[-1] if hasattr(model, "classifier") else None
    return last if hasattr(model, "last_channel") else None  # MobileNet; a VGG has hidden layers before


def halves(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the net in two: pictures to the maps of its last stage, and these maps to logits."""
    if hasattr(model, "fc"):
        stages = (model.layer1, model.layer2, model.layer3, model.layer4)
        trunk = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, *stages)
        return trunk, nn.Sequential(model.avgpool, nn.Flatten(), model.fc)
    if hasattr(model, "last_channel"):  # MobileNet
        return model.features, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier)
    if hasattr(model, "features"):  # VGG, up to its last ReLU
        rest = (model.features[-1], model.avgpool, nn.Flatten(), model.classifier)
        return model.features[:-1], nn.Sequential(*rest)
    trunk = nn.Sequential(model.layer1, model.layer2, model.layer3)
    return trunk, nn.Sequential(nn.Flatten(), model.layer4, model.layer5)


def from_the_maps_on(s: Subject) -> Subject:
    """Return a subject whose pictures are the maps and whose net costs nothing: what a method itself takes."""
    with torch.no_grad():
        maps = halves(s.model)[0](s.x)
    model = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(maps.shape[1], 2)).eval()
    return s._replace(model=model, x=maps, target=torch.zeros(len(maps), dtype=torch.long), layer="0")
