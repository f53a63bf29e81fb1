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

from helpers.data import Picture, pictures
from helpers.data.shapes import CATEGORIES, two
from helpers.evaluation.methods import METHODS, explain
from helpers.evaluation.scores import constant, mass_accuracy, pointing
from helpers.explorer.completeness import Sum, sum_of
from helpers.models import Classifier
from helpers.plotting.images import lay_over, look_of

UNSEEN = 3001  # seed of pictures that no net was trained on
QUICK = 10  # passes through the network that nobody has to wait for


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
        method: a name in ``helpers.evaluation.methods.METHODS``: any attribution method of the course.
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
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    layer, model, x = layer or classifier.layer, classifier.model, classifier.preprocess(picture)
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


def seen_by(classifier: Classifier, picture: object) -> np.ndarray:
    """Return a picture as the network sees it, resized and perhaps cropped, uint8 [H, W, 3]."""
    x = classifier.unprocess(classifier.preprocess(picture))[0]
    return (255 * x.expand(3, -1, -1)).round().byte().permute(1, 2, 0).numpy()


def blend(image: np.ndarray, heat: Tensor, opacity: float) -> np.ndarray:
    """Lay a map over the picture it belongs to.

    Args:
        image: the picture, uint8 [H, W, 3].
        heat: the map, float [H, W].
        opacity: from 0, the picture alone, to 1, as the lessons draw it.

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
    look = look_of(values, True)
    over = lay_over(picture, np.clip((values - look.low) / (look.high - look.low), 0, 1), look.cmap)
    return (255 * ((1 - opacity) * picture + opacity * over)).clip(0, 255).round().astype(np.uint8)


def slow(method: str) -> bool:
    """Return whether a method takes many passes through the network."""
    forward = METHODS[method].forward
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


def offered(classifier: Classifier) -> list[Picture]:
    """Return pictures that suit a classifier; for a net of the course's shapes six of two things, then one of each.

    Args:
        classifier: from ``load_classifier``.

    Returns:
        A list of :class:`helpers.data.Picture`.

    >>> from helpers.explorer import offered
    >>> from helpers.models import load_classifier
    >>> [picture.title for picture in offered(load_classifier("shapes_resnet"))][:2]
    ['disc and square', 'square and triangle']
    """
    if classifier.categories != list(CATEGORIES):
        return pictures(classifier, 10)
    drawn, pairs = two(6, UNSEEN), []
    for image, labels, masks in zip(drawn.images, drawn.labels.tolist(), drawn.masks, strict=True):
        title = " and ".join(CATEGORIES[label] for label in labels)
        pairs.append(Picture(image, title, tuple(labels), tuple(masks)))
    return pairs + pictures(classifier, 10)


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
