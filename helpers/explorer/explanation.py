"""What the explorer shows, without its buttons: a picture's map by one method, the numbers that check it, both as one.

shown = explore(load_classifier("shapes_resnet"), picture, "cam")
print(*shown.numbers, sep="\n")                      # the score, what the map adds up to, its grades
blend(shown.seen, shown.heat, opacity=0.7)           # uint8 [H, W, 3]
"""

import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from helpers import attribution
from helpers.data import Picture, mosaics, photographs, pictures
from helpers.data.shapes import CATEGORIES, two
from helpers.evaluation.methods import METHODS, METHODS_AND_BASELINES, explain
from helpers.evaluation.scores import constant, mass_accuracy, pointing
from helpers.explorer.completeness import Sum, sum_of
from helpers.models import Classifier
from helpers.plotting.images import Look, lay_over, look_of, share_look

UNSEEN = 3001  # seed of pictures that no net was trained on
QUICK = 10  # passes through the network that nobody has to wait for
TILE = 112  # pixels of a photograph in a mosaic, so that the whole of it is as large as a network's input
MANY = 20  # classes from which on a list is sorted by name
UNITS = {  # of a method's values, where other methods have the same; all others have a unit of their own
    **dict.fromkeys(("gradient", "smooth_grad"), "logits per unit of the input"),
    **dict.fromkeys(
        ("gradient_x_input", "integrated_gradients", "gradient_shap", "deep_lift", "lrp"), "logits per pixel"
    ),
    **dict.fromkeys(("grad_cam", "hires_cam", "xgrad_cam", "layer_cam"), "logits per place of the layer"),
    **dict.fromkeys(("lime", "kernel_shap"), "logits per superpixel"),
    "cam": "logits, averaged over places",
    "occlusion": "logits lost when covered",
}


class Explored(NamedTuple):
    """An explanation to look at, and what was measured of it.

    Attributes:
        heat: the map, float [H, W].
        seen: the picture as the network sees it, uint8 [H, W, 3].
        method: the name of the method.
        target: the class number that was explained.
        score: its logit.
        sum: what the map's values have to add up to; None for a method that promises nothing of the kind.
        inside: the share of the map's positive part on the object asked for; None where its place is not known.
        hit: 1 if the map's maximum lies on it, else 0; None where its place is not known.
        seconds: how long the method took, alone.
        numbers: all this in sentences.
    """

    heat: Tensor
    seen: np.ndarray
    method: str
    target: int
    score: float
    sum: Sum | None
    inside: float | None
    hit: float | None
    seconds: float
    numbers: list[str]


def explore(
    classifier: Classifier, picture: object, method: str, *, category: int | None = None, layer: str | None = None
) -> Explored:
    """Explain one score of one picture, and check it.

    Args:
        classifier: from ``load_classifier``.
        picture: a :class:`helpers.data.Picture`, whose truth is used, or whatever else ``read_picture`` reads: a
            path, a PIL image, an array [H, W, 3].
        method: a name in ``helpers.evaluation.methods.METHODS``: any attribution method of the course; or one in
            ``BASELINES``, to have beside it what knows nothing of the class.
        category: class number; the highest class unless given.
        layer: name of a layer that gives maps [N, K, h, w], for class activation maps; the classifier's own unless
            given.

    Returns:
        The map, the picture as the network sees it, and what was measured, :class:`Explored`.

    Raises:
        TypeError, ValueError: an unknown method, layer or class, a picture that cannot be read, or a map that the
            network has not; the message says what to choose instead.

    >>> from helpers.data import pictures
    >>> from helpers.explorer import explore
    >>> from helpers.models import load_classifier
    >>> classifier = load_classifier("shapes_resnet")
    >>> shown = explore(classifier, pictures(classifier)[3], "grad_cam", category=3)
    >>> tuple(shown.heat.shape), shown.seen.shape, shown.hit
    ((128, 128), (128, 128, 3), 1.0)
    """
    if method not in METHODS_AND_BASELINES:
        raise ValueError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    layer, model, x = layer or classifier.layer, classifier.model, input_of(classifier, picture)
    with torch.no_grad():
        logits = model(x)[0]
    target = int(logits.argmax()) if category is None else category
    begun = time.perf_counter()
    heat = explain(method, model, x, target, layer=layer)[0]
    seconds = time.perf_counter() - begun
    total = sum_of(method, classifier.model, x, target, layer, heat)
    inside, hit, grades = _grades(picture, target, classifier.categories, heat)
    numbers = _scores(logits, target, classifier.categories)
    numbers += [str(total)] if total else []
    alone = "It has one value everywhere, and so says nothing." if constant(heat[None]) else ""
    numbers += [*grades, f"The map goes from {heat.min():.3g} to {heat.max():.3g}. {alone}".strip()]
    numbers.append(f"{method} took {seconds:.2f} s.")
    seen = seen_by(classifier, picture)
    return Explored(heat, seen, method, target, logits[target].item(), total, inside, hit, seconds, numbers)


def input_of(classifier: Classifier, picture: object) -> Tensor:
    """Return a picture as the network's input [1, C, H, W]: preprocessed, or whole if masks say what lies where."""
    x = classifier.preprocess(picture)  # refuses what the network does not know
    return classifier.uncut(picture) if getattr(picture, "masks", ()) else x


def seen_by(classifier: Classifier, picture: object) -> np.ndarray:
    """Return a picture as the network sees it, resized and perhaps cropped, uint8 [H, W, 3]."""
    x = classifier.unprocess(input_of(classifier, picture))[0]
    return (255 * x.expand(3, -1, -1)).round().byte().permute(1, 2, 0).numpy()


def unit_of(method: str) -> str:
    """Return the unit of a method's values in words; "a unit of its own" if no other method has the same."""
    return UNITS.get(method, "a unit of its own")


def same_unit(*answers: Explored) -> bool:
    """Return whether the values of several maps can be compared: they come from one method, or have the same unit."""
    methods = {answer.method for answer in answers}
    return len(methods) == 1 or (methods <= set(UNITS) and len({UNITS[method] for method in methods}) == 1)


def colour_scales(*answers: Explored) -> list[Look]:
    """Choose the colour scales of maps that are drawn side by side.

    Args:
        answers: one or more, from :func:`explore`.

    Returns:
        A scale for each: the same for all if they come from one method or have the same unit, else each its own.

    >>> from helpers.data import pictures
    >>> from helpers.explorer import explore
    >>> from helpers.explorer.explanation import colour_scales
    >>> from helpers.models import load_classifier
    >>> classifier = load_classifier("shapes_resnet")
    >>> one, two, three = (explore(classifier, pictures(classifier)[3], m) for m in ("grad_cam", "layer_cam", "cam"))
    >>> scales = [colour_scales(one, two), colour_scales(one, three)]
    >>> [first == second for first, second in scales]
    [True, False]
    """
    heats = [answer.heat.numpy() for answer in answers]
    looks = [look_of(heat, True) for heat in heats]
    return share_look(looks, heats, list(range(len(heats)))) if same_unit(*answers) else looks


def blend(image: np.ndarray, heat: Tensor, opacity: float, look: Look | None = None) -> np.ndarray:
    """Lay a map over the picture it belongs to.

    Args:
        image: the picture, uint8 [H, W, 3].
        heat: the map, float [H, W].
        opacity: from 0, the picture alone, to 1, as the lessons draw it.
        look: the colour scale, from :func:`colour_scales`; the map's own unless given.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: an opacity that is not from 0 to 1, or a map of another size: enlarge it with ``upsample``.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}; give a share from 0 to 1.")
    if tuple(heat.shape) != image.shape[:2]:
        raise ValueError(f"The map {list(heat.shape)} and the picture {list(image.shape)} differ: upsample the map.")
    picture, values = image / 255, heat.numpy()
    look = look or look_of(values, True)
    over = lay_over(picture, np.clip((values - look.low) / (look.high - look.low), 0, 1), look.cmap)
    return (255 * ((1 - opacity) * picture + opacity * over)).clip(0, 255).round().astype(np.uint8)


def bar(look: Look, opacity: float) -> np.ndarray:
    """Return the colours of a scale from its low to its high end, over mid-grey, uint8 [1, 256, 3]."""
    return blend(np.full((1, 256, 3), 115, np.uint8), torch.linspace(look.low, look.high, 256)[None], opacity, look)


def slow(method: str) -> bool:
    """Return whether a method takes many passes through the network."""
    forward = METHODS_AND_BASELINES[method].forward
    return not forward.isdigit() or int(forward) > QUICK


def layers(model: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the layers, at most two names deep, that give maps larger than 1 x 1 for ``x``, and their shape [K, h, w].

    From first to last, as the picture passes them; one forward pass.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    names = {module: name for name, module in model.named_modules() if name and name.count(".") <= 1}

    def note(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) > 1:
            shapes[names[module]] = tuple(output.shape[1:])

    handles = [module.register_forward_hook(note) for module in names]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def methods_of(model: nn.Module, x: Tensor) -> list[str]:
    """Return the names of the methods to offer for a network: those of attention only where it has some."""
    try:
        attribution.attention_rollout(model, x)
    except ValueError:
        return [method for method in METHODS if not method.startswith("attention")]
    return list(METHODS)


def classes_of(classifier: Classifier, picture: Picture) -> list[tuple[str, int]]:
    """Return names and numbers of all classes, those of the picture first, the rest by name where there are many."""
    first = [(classifier.categories[i], i) for i in picture.categories]
    rest = [(name, i) for i, name in enumerate(classifier.categories) if i not in picture.categories]
    return first + (sorted(rest, key=lambda entry: entry[0].lower()) if len(rest) > MANY else rest)


def offered(classifier: Classifier) -> list[Picture]:
    """Return pictures that suit a classifier.

    For a network of ImageNet they are photographs, then mosaics of four photographs; for a net of the course's shapes
    six drawings of two things, then one of each. Of mosaics and drawings it is known what lies where.

    Args:
        classifier: from ``load_classifier``.

    Returns:
        A list of :class:`helpers.data.Picture`.

    >>> from helpers.explorer import offered
    >>> from helpers.models import load_classifier
    >>> [picture.title for picture in offered(load_classifier("shapes_resnet"))][:2]
    ['disc and square', 'square and triangle']
    """
    if classifier.trained_on == "ImageNet":
        return pictures(classifier, 10) + _mosaics()
    if classifier.categories != list(CATEGORIES):
        return pictures(classifier, 10)
    drawn, pairs = two(6, UNSEEN), []
    for image, labels, masks in zip(drawn.images, drawn.labels.tolist(), drawn.masks, strict=True):
        title = " and ".join(CATEGORIES[label] for label in labels)
        pairs.append(Picture(image, title, tuple(labels), tuple(masks)))
    return pairs + pictures(classifier, 10)


def _mosaics() -> list[Picture]:
    """Return mosaics of the photographs that are here."""
    names = tuple(name for name, picture in photographs().items() if picture.categories)
    if len(names) < 4:  # a package with photographs is not installed, and a line has said so
        return []
    made = mosaics(4, names=names, side=TILE)
    return [Picture(one.image, f"mosaic: {', '.join(one.names)}", one.categories, tuple(one.masks)) for one in made]


def _scores(logits: Tensor, target: int, categories: list[str]) -> list[str]:
    shares, best = logits.softmax(0), logits.topk(3).indices.tolist()
    seen = ", ".join(f"{categories[i]} {logits[i]:.2f} ({shares[i]:.1%})" for i in best)
    return [f"Asked for {categories[target]}: logit {logits[target]:.3f}. Highest: {seen}."]


def _grades(
    picture: object, target: int, categories: list[str], heat: Tensor
) -> tuple[float | None, float | None, list[str]]:
    """Return the share of the map's positive part on the thing asked for, whether its maximum is, and sentences."""
    if not isinstance(picture, Picture) or not picture.masks:
        return None, None, []
    name = categories[target]
    if target not in picture.categories:
        return None, None, [f"There is no {name} in this picture."]
    mask = torch.from_numpy(picture.masks[picture.categories.index(target)])[None]
    if mask.shape[1:] != heat.shape:
        return None, None, []
    inside, hit = mass_accuracy(heat[None], mask).item(), pointing(heat[None], mask).item()
    if inside != inside:  # NaN
        return None, hit, [f"It has no positive part, on the {name} or elsewhere."]
    where = "on" if hit == 1 else "beside" if hit == 0 else "partly on"
    return (
        inside,
        hit,
        [
            f"{inside:.0%} of its positive part lies on the {name}, which covers {mask.float().mean():.0%} of all; "
            f"its maximum lies {where} it."
        ],
    )
