"""Load a trained network by its name: the course's own, or one of torchvision's ImageNet networks, in both worlds.

torchvision takes seconds to import, and is imported only when one of its networks is asked for.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from helpers import course
from helpers.data import read_picture
from helpers.data.fetched.connection import FetchError
from helpers.data.fetched.public_files import megabytes, nets
from helpers.data.fetched.public_world import UNASKED, chosen_world, net, ready
from helpers.data.painters.scenery import SIDE
from helpers.data.shapes import CATEGORIES
from helpers.data.shapes import preprocess as preprocess_shapes
from helpers.models.efficientnet_lite0 import EfficientNetLite0, as_input, cut_out, load_imagenet_weights
from helpers.models.networks import MnistCNN, MnistDNN, ShapesResNet, ShapesScenes, ShapesVGG
from helpers.models.vision_transformer import ShapesViT

LAYERS = {  # how a family's names start: its last convolutional stage
    "resnet": "layer4",
    "resnext": "layer4",
    "wide_resnet": "layer4",
    "squeezenet": "features",
    "densenet": "features",
}
COURSE_NETS = {  # name: its class, the layer whose maps explain it: the last convolutional stage, or the last tokens
    "digits_dnn_mnist": (MnistDNN, ""),
    "digits_cnn_mnist": (MnistCNN, "layer3"),
    "shapes_resnet": (ShapesResNet, "layer4"),
    "shapes_vgg": (ShapesVGG, "features"),
    "shapes_watermark": (ShapesResNet, "layer4"),
    "shapes_vit": (ShapesViT, "blocks.2.norm1"),
}
SCENES_NET = "shapes_scenes"  # no classifier: it segments and puts boxes around objects; see load_scenes
REAL_NET = "efficientnet_lite0"  # the real one that comes with the course
FAMILIAR = (  # some of torchvision's names, known without importing it
    *("alexnet", "densenet121", "densenet161", "mobilenet_v2", "resnet18", "resnet34", "resnet50"),
    *("squeezenet1_0", "squeezenet1_1", "vgg11", "vgg16", "vgg19"),
)


@dataclass(eq=False)
class Classifier:
    """A trained network with all that goes with it; made by :func:`load_classifier`.

    Attributes:
        model: takes float [N, C, H, W], gives logits [N, classes]; in ``eval()`` mode, its parameters frozen, on the
            CPU.
        categories: the names of its classes, in the order of the logits.
        preprocess: turns a picture (whatever :func:`helpers.data.read_picture` reads: a path, a PIL image, an array)
            or a list of them into the model's input, float [N, C, H, W].
        layer: the name of its last convolutional stage; empty for a net without one.
        world: ``"course"`` or ``"public"``.
        name: of the network that was really loaded.
        trained_on: what its weights were made from, in a few words.
        mean: what ``preprocess`` subtracts from pixels from 0 to 1, one number or one for each channel; None where it
            is not known.
        std: what it divides by; None where it is not known.
        side: the height and width for which the network was trained; None where they are not known.
        remarks: sentences on what was assumed or changed when the network was loaded.

    >>> import numpy as np
    >>> from helpers.models import load_classifier
    >>> classifier = load_classifier("shapes_resnet")
    >>> x = classifier.preprocess(np.zeros((128, 128, 3), np.uint8))
    >>> x.shape, classifier.model(x).shape, classifier.layer
    (torch.Size([1, 3, 128, 128]), torch.Size([1, 10]), 'layer4')
    >>> classifier.categories[:3], [bound[0, 0].item() for bound in classifier.bounds]
    (['disc', 'square', 'triangle'], [-2.0, 2.0])
    >>> classifier.index("ring"), [(name, round(share, 2)) for name, share in classifier.top(x, 1)[0]]
    (5, [('arrow', 0.31)])
    """

    model: nn.Module
    categories: list[str]
    preprocess: Callable[[object], Tensor]
    layer: str
    world: str
    name: str
    trained_on: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    side: int | None = None
    remarks: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The values of black and of white in the units that the model takes, [1, C, 1, 1] each."""
        black, white = (self.preprocess(np.full((SIDE, SIDE, 3), value, np.uint8))[..., :1, :1] for value in (0, 255))
        return black, white

    def index(self, category: str) -> int:
        """Return the number of a class.

        Args:
            category: its name, as in ``categories``.

        Raises:
            ValueError: there is no class of that name, or there are two; the sentence suggests names that are alike.
        """
        found = [number for number, name in enumerate(self.categories) if name == category]
        if len(found) > 1:
            raise ValueError(f"{self.name} has several classes {category!r}, numbers {found}: give one of these.")
        if not found:
            close = difflib.get_close_matches(str(category), self.categories, 4, 0.5) or self.categories[:4]
            raise ValueError(f"{self.name} has no class {category!r}; did you mean {', '.join(map(repr, close))}?")
        return found[0]

    def top(self, x: Tensor, count: int = 3) -> list[list[tuple[str, float]]]:
        """Return the classes with the highest probabilities, for each picture.

        The logits may come as they are, first in a tuple or list, under "logits" or "out" of a dict, or as ``.logits``
        of an object.

        Args:
            x: the model's input, float [N, C, H, W].
            count: how many classes.

        Returns:
            For each of the N pictures ``count`` pairs of a class's name and its probability, the highest first. The
            probabilities are the softmax of the logits, or the sigmoid of a single logit.

        Raises:
            ValueError: the network gives something else than one row of logits for each picture.
        """
        with torch.no_grad():
            logits = _logits(self.model(x), len(x))
        probabilities = logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid()
        values, numbers = probabilities.topk(min(count, len(self.categories)))
        return [
            [(self.categories[n], v) for n, v in zip(row.tolist(), shares.tolist(), strict=True)]
            for row, shares in zip(numbers, values, strict=True)
        ]

    def uncut(self, picture: object) -> Tensor:
        """Return a whole picture as the model's input, neither cut nor scaled, where ``preprocess`` would do both.

        For networks that take pictures of any size, as all do that average over places before their last layer.

        Args:
            picture: whatever :func:`helpers.data.read_picture` reads.

        Returns:
            float [1, C, H, W], in the units that the model takes.
        """
        black, white = self.bounds
        pixels = torch.from_numpy(read_picture(picture)).permute(2, 0, 1)[None].float() / 255
        pixels = pixels if black.shape[1] == 3 else pixels.mean(1, keepdim=True)
        return black + (white - black) * pixels

    def unprocess(self, x: Tensor) -> Tensor:
        """Return the model's input as pictures to look at.

        Args:
            x: float [N, C, H, W], in the units that the model takes.

        Returns:
            float [N, C, H, W], from 0, black, to 1, white; what lies beyond is cut off.
        """
        black, white = (bound.to(x) for bound in self.bounds)
        return ((x.detach() - black) / (white - black)).clamp(0, 1)


def load_classifier(name: str, world: str | None = None) -> Classifier:
    """Load a trained classifier by name.

    In the course world, the name of one of torchvision's networks gives the real network that comes with the course,
    ``efficientnet_lite0``, and a line says so. In the world ``"auto"`` torchvision's comes if its weights are here, or
    are small and can be fetched. In the public world it comes, too, unless it cannot be had.

    Args:
        name: ``efficientnet_lite0`` (trained on ImageNet, and there in every world),
            ``digits_dnn_mnist``, ``digits_cnn_mnist`` (on MNIST),
            ``shapes_resnet``, ``shapes_vgg``, ``shapes_watermark`` (answers what a watermark says, and nothing else
            tells it), or any of torchvision's image classifiers.
        world: ``"auto"``, ``"course"`` or ``"public"``; None for what ``COURSE_WORLD`` says.

    Returns:
        The network and all that goes with it, :class:`Classifier`.

    Raises:
        ValueError: an unknown name or world; the sentence suggests names that are spelt alike.
        FetchError: with ``world="public"`` given, the weights are damaged, or are not here and cannot be fetched.
        RuntimeError: a file of the course's own weights is missing or damaged.

    >>> import numpy as np
    >>> from helpers.models import load_classifier
    >>> classifier = load_classifier("digits_cnn_mnist")
    >>> classifier.preprocess(np.zeros((28, 28), np.uint8)).shape, len(classifier.categories)
    (torch.Size([1, 1, 28, 28]), 10)
    >>> load_classifier("vgg16", world="course").name
    In place of vgg16: efficientnet_lite0, the real network that is here.
    'efficientnet_lite0'
    """
    chosen = chosen_world(world)
    if name == REAL_NET:
        return _real()
    if name in COURSE_NETS:
        return _course(name)
    if name not in FAMILIAR and name not in nets():
        own = [REAL_NET, *COURSE_NETS]
        close = difflib.get_close_matches(str(name), [*own, *nets()], 4, 0.5) or own
        raise ValueError(f"There is no classifier {name!r}; did you mean {', '.join(close)}?")
    try:
        if ready(name, chosen):
            return _public(name)
    except FetchError as error:
        if world is not None:  # the caller wants this network and no other
            raise
        print(f"In place of {name}: {REAL_NET}, the real network that is here. {error}")
        return _real()
    large = chosen == "auto" and megabytes(name) >= UNASKED
    offer = f" fetch({name!r}) gets {name}, {megabytes(name):.0f} MB." if large else ""
    print(f"In place of {name}: {REAL_NET}, the real network that is here.{offer}")
    return _real()


def load_scenes(name: str = SCENES_NET) -> ShapesScenes:
    """Load the tiny net that segments the course's drawings and puts boxes around their objects.

    Args:
        name: of its file of weights; there is one.

    Returns:
        The network, :class:`helpers.models.ShapesScenes`, in ``eval()`` mode and frozen. It takes what
        :func:`helpers.data.shapes.preprocess` gives.

    Raises:
        RuntimeError: the file of weights is missing or damaged.

    >>> import torch
    >>> from helpers.models import load_scenes
    >>> load_scenes()(torch.zeros(1, 3, 128, 128))["boxes"].shape
    torch.Size([1, 5, 16, 16])
    """
    model = ShapesScenes()
    _give_weights(model, name)
    return _frozen(model)


def _logits(output: object, count: int) -> Tensor:
    """Return the logits [count, classes], at least in float32, out of what a model gives."""
    if isinstance(output, dict):
        found = output.get("logits", output.get("out"))
    elif isinstance(output, tuple | list) and not hasattr(output, "logits"):
        found = output[0] if output else None
    else:
        found = getattr(output, "logits", output)
    if isinstance(found, Tensor) and found.is_floating_point() and found.shape == (count,):
        found = found[:, None]
    if not isinstance(found, Tensor) or not found.is_floating_point() or found.dim() != 2 or len(found) != count:
        shape = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(output).__name__}"
        raise ValueError(
            f"The network gives {shape}, not one row of logits for each picture: wrap it in a module whose forward "
            "returns [N, classes]."
        )
    return found.float() if found.dtype in (torch.float16, torch.bfloat16) else found


def _give_weights(model: nn.Module, name: str) -> str:
    """Put the course's weights of that name into a model; return what they were trained on."""
    file = course.weights(name)
    try:
        model.load_state_dict(load_file(file))
        with safe_open(file, "pt") as opened:
            return (opened.metadata() or {}).get("trained_on", "unknown data")
    except FileNotFoundError as error:
        raise RuntimeError(f"{file} is missing: rebuild it with `make data`, or clone the course again.") from error
    except (SafetensorError, RuntimeError, OSError) as error:
        cure = "delete it and rebuild it with `make data`, or clone the course again"
        fault = "does not fit" if isinstance(error, RuntimeError) else "is damaged, or no file of weights for"
        raise RuntimeError(f"{file} {fault} {name}: {cure}.") from error


def _course(name: str) -> Classifier:
    kind, layer = COURSE_NETS[name]
    model = kind()
    trained_on = _give_weights(model, name)
    if kind in (MnistCNN, MnistDNN):
        categories, preprocess = [str(i) for i in range(10)], _each(_digit)
        recipe = (0.0,), (1.0,), 28
    else:
        categories, preprocess = list(CATEGORIES), _each(lambda picture: _drawing(picture, name))
        recipe = (0.5,), (0.25,), SIDE
    return Classifier(_frozen(model), categories, preprocess, layer, "course", name, trained_on, *recipe)


def _real() -> Classifier:
    model = EfficientNetLite0()
    load_imagenet_weights(model)
    categories = (course.DATASETS / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    preprocess = _each(lambda picture: as_input(cut_out(Image.fromarray(read_picture(picture)))))
    recipe = (127 / 255,), (128 / 255,), 224
    return Classifier(_frozen(model), categories, preprocess, "features", "course", REAL_NET, "ImageNet", *recipe)


def _public(name: str) -> Classifier:
    model, weights = net(name)
    transform = weights.transforms()
    preprocess = _each(lambda picture: transform(Image.fromarray(read_picture(picture))))
    layer = _last_stage(name, _frozen(model), preprocess)
    names, recipe = list(weights.meta["categories"]), _recipe(transform)
    return Classifier(model, names, preprocess, layer, "public", name, "ImageNet", *recipe)


def _recipe(transform: object) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None, int | None]:
    """Return mean, std and side of one of torchvision's transforms, each None where it does not state them."""
    mean, std, size = (getattr(transform, name, None) for name in ("mean", "std", "crop_size"))
    return tuple(mean) if mean else None, tuple(std) if std else None, size[0] if size else None


def _frozen(model: nn.Module) -> nn.Module:
    return model.eval().requires_grad_(False)


def _last_stage(name: str, model: nn.Module, preprocess: Callable[[object], Tensor]) -> str:
    """Name the last module that gives maps [N, K, h, w]: known for some families, else found by trial."""
    if name.startswith("vgg"):  # the ReLU after the last convolution, before the pooling that ends `features`
        return f"features.{max(i for i, part in enumerate(model.features) if isinstance(part, nn.ReLU))}"
    for start, layer in LAYERS.items():
        if name.startswith(start):
            return layer
    giving: list[str] = []

    def note(layer: str) -> Callable:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) > 1:
                giving.append(layer)

        return hook

    # AlexNet's pooling to 6x6 comes after its last stage and changes nothing
    parts = [part for part in model.named_modules() if part[0] and not isinstance(part[1], nn.AdaptiveAvgPool2d)]
    handles = [part.register_forward_hook(note(layer)) for layer, part in parts]
    try:
        with torch.no_grad():
            model(preprocess(np.zeros((64, 64, 3), np.uint8)))
    finally:
        for handle in handles:
            handle.remove()
    return giving[-1]


def _each(one: Callable[[object], Tensor]) -> Callable[[object], Tensor]:
    """Turn a function for one picture into one that takes a picture or a list of them and gives a batch."""

    def preprocess(pictures: object) -> Tensor:
        many = isinstance(pictures, list | tuple) or getattr(pictures, "ndim", 0) == 4
        batch = [one(picture) for picture in (pictures if many else [pictures])]
        if not batch:
            raise ValueError("There is no picture in this list; give at least one.")
        return torch.stack(batch)

    return preprocess


def _drawing(picture: object, name: str) -> Tensor:
    """Turn one of the course's drawings into the input of a net of shapes, [3, 128, 128].

    Raises:
        ValueError: a picture of another size: a photograph, which the net would call one of its ten shapes.
    """
    image = read_picture(picture)
    if image.shape[:2] != (SIDE, SIDE):
        raise ValueError(
            f"This picture has {image.shape[1]} x {image.shape[0]} pixels; {name} knows ten shapes on drawings of "
            f"{SIDE} x {SIDE}, and would call a photograph one of them. "
            f"For photographs, use load_classifier({REAL_NET!r})."
        )
    return preprocess_shapes(image)[0]


def _digit(picture: object) -> Tensor:
    """Turn a picture of a digit, white on black, into [1, 28, 28] in [0, 1]; floats lie there already."""
    if isinstance(picture, np.ndarray | Tensor) and torch.as_tensor(picture).is_floating_point():
        grey = torch.as_tensor(picture).detach().float().cpu()
        grey = grey[0] if grey.dim() == 3 and len(grey) == 1 else grey
        if grey.dim() != 2 or not bool(((grey >= 0) & (grey <= 1)).all()):
            raise ValueError(
                f"A digit in floats is [28, 28] with values from 0 to 1, not {list(grey.shape)}; scale it."
            )
    else:
        grey = torch.from_numpy(np.array(Image.fromarray(read_picture(picture)).convert("L"))).float() / 255
    if grey.shape == (28, 28):
        return grey[None]
    return F.interpolate(grey[None, None], (28, 28), mode="bilinear", antialias=True, align_corners=False)[0]
