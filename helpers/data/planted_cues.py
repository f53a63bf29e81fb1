"""Pictures of shapes with planted cues: an object that is asked for, a distractor, and a watermark.

The pictures are those of :func:`helpers.data.shapes.two`. The watermark, a small label with a printed class number,
may name the object's class. It comes from a random stream of its own, keyed by seed, part and number: so every picture
exists with and without it, with another number on it, at another place and in another size, and every other pixel is
the same. So the size of the evidence and its place can be changed one at a time.
"""

from typing import NamedTuple

import cv2
import numpy as np

from helpers.data import shapes
from helpers.data.painters.scenery import FINE, SIDE

WATERMARK = 3  # part of a watermark's seed; the kinds of pictures in shapes have 0 to 2
LABEL = (16, 18)  # height and width of the watermark, in pixels, times its scale
PLACES = ("corner", "edge", "inside", "anywhere")
GAPS = (2, 6)  # between the watermark and a border that it lies at: 2 to 5 pixels
FREE = 20  # at least so many pixels to every other border
TRIES = 8  # places that are drawn for a watermark that is not in a corner; the one that hides least is taken
CLASSES = len(shapes.CATEGORIES)


class Planted(NamedTuple):
    """Pictures with planted cues, and where each cue is. The three masks of a picture have no pixel in common.

    ``images`` uint8 [N, 128, 128, 3] in RGB; ``labels`` int64 [N], the class of the object that is asked for;
    ``others`` int64 [N], the distractor's class, never the same; ``objects`` and ``distractors`` bool
    [N, 128, 128], what is seen of them; ``tags`` int64 [N], the class that the watermark names, -1 without one;
    ``watermarks`` bool [N, 128, 128], the whole label, empty without one.
    """

    images: np.ndarray
    labels: np.ndarray
    others: np.ndarray
    objects: np.ndarray
    distractors: np.ndarray
    tags: np.ndarray
    watermarks: np.ndarray


def planted(
    count: int, seed: int = 0, *, watermark: float | None = None, place: str = "corner", scale: int = 1
) -> Planted:
    """Draw ``count`` pictures with an object and a distractor, and with a watermark if asked for.

    Returns :class:`Planted`, pictures and where each cue is.

    Args:
        count: how many pictures; the first ones are the same whatever the count. The object's classes take turns.
        seed: fixes the pictures; ``watermark`` changes nothing but the watermark's pixels.
        watermark: the share of pictures whose watermark names the object's class; the others name one of the nine
            other classes, each as likely. With 1 it always names the class, with 0.1 only by chance. Among a multiple
            of ten pictures the share is kept to the nearest picture, and each class has its part to within one. None:
            no watermark.
        place: where the watermark lies. "corner": 2 to 5 pixels from two borders; it covers what is there. "edge": 2 to
            5 pixels from one border and at least 20 from the others. "inside": at least 20 pixels from every border.
            "anywhere": each place in the picture is as likely. Of the last three kinds eight places are drawn, and the
            one that hides least of the objects is taken.
        scale: the watermark has 16 x 18 pixels times this; 1 or 2.

    Raises:
        ValueError: ``count`` or ``seed`` is negative, ``watermark`` is not from 0 to 1, or there is no such ``place``
            or ``scale``.

    >>> from helpers.data.planted_cues import planted
    >>> given_away = planted(4, seed=1, watermark=1.0)
    >>> given_away.images.shape, given_away.labels.tolist(), given_away.tags.tolist()
    ((4, 128, 128, 3), [0, 1, 2, 3], [0, 1, 2, 3])
    >>> int(given_away.watermarks[0].sum())  # a label of 16 by 18 pixels
    288
    """
    if count < 0 or seed < 0:
        raise ValueError(f"count is {count} and seed is {seed}; give numbers that are 0 or more.")
    if place not in PLACES or scale not in (1, 2):
        raise ValueError(f"place is {place!r} and scale is {scale!r}; give one of {', '.join(PLACES)}, and 1 or 2.")
    if watermark is not None and not 0 <= watermark <= 1:
        raise ValueError(f"watermark is {watermark}; give a share from 0 over 0.1 (chance) to 1, or None for none.")
    images, labels, masks = shapes.two(count, seed)
    tags, marks = np.full(count, -1), np.zeros((count, SIDE, SIDE), bool)
    honest = _honest(labels[:, 0], watermark or 0.0)
    for i in range(count if watermark is not None else 0):
        rng = np.random.default_rng([seed, WATERMARK, i])
        wrong = (labels[i, 0] + rng.integers(1, CLASSES)) % CLASSES
        tags[i] = labels[i, 0] if honest[i] else wrong
        here = _place(rng, place, scale, masks[i].any(0))
        images[i][here] = _label(rng, tags[i], scale)
        marks[i][here] = True
    seen = masks & ~marks[:, None]
    return Planted(images, labels[:, 0].copy(), labels[:, 1].copy(), seen[:, 0], seen[:, 1], tags, marks)


def _honest(labels: np.ndarray, share: float) -> np.ndarray:
    """Return which watermarks name the object, bool [N]: the classes' turns are staggered, so that the sum is right.

    Of the first k pictures of a class floor(share k + phase) are honest; over ten evenly spaced phases these sum to
    10 k share, rounded.
    """
    turn = np.arange(len(labels)) // CLASSES
    phase = (3 * labels % CLASSES + 0.5) / CLASSES + 1e-9  # 1e-9: for sums that are just under a whole number
    return np.floor(share * (turn + 1) + phase) > np.floor(share * turn + phase)


def _place(rng: np.random.Generator, place: str, scale: int, objects: np.ndarray) -> tuple[slice, slice]:
    """Draw where the watermark lies; ``objects``, bool [128, 128], should be hidden as little as can be."""
    sides = scale * np.array(LABEL)
    if place == "corner":
        return _slices(_at_border(rng, sides), sides)
    drawn = [_slices(_start(rng, place, sides), sides) for _ in range(TRIES)]
    return min(drawn, key=lambda here: objects[here].sum())


def _start(rng: np.random.Generator, place: str, sides: np.ndarray) -> np.ndarray:
    """Draw the upper left pixel of a watermark that is not asked to lie in a corner, [2]."""
    if place == "anywhere":
        return rng.integers(GAPS[0], SIDE - sides - GAPS[0] + 1)
    start = rng.integers(FREE, SIDE - sides - FREE + 1)
    if place == "edge":
        axis = rng.integers(0, 2)
        start[axis] = _at_border(rng, sides)[axis]
    return start


def _at_border(rng: np.random.Generator, sides: np.ndarray) -> np.ndarray:
    """Draw the first row and column of a watermark near one of the four corners, [2]."""
    first, gap = rng.integers(0, 2, 2), rng.integers(*GAPS, 2)
    return np.where(first, gap, SIDE - sides - gap)


def _slices(start: np.ndarray, sides: np.ndarray) -> tuple[slice, slice]:
    return tuple(slice(here, here + side) for here, side in zip(start.tolist(), sides.tolist(), strict=True))


def _label(rng: np.random.Generator, number: int, scale: int = 1) -> np.ndarray:
    """Print a class number on a pale label, uint8 [16, 18, 3] times the scale; paper and ink vary a little."""
    paper, ink = rng.integers(215, 250, 3), rng.integers(0, 40, 3)
    sides = tuple(scale * side for side in LABEL)
    height, width = (FINE * side for side in sides)
    printed = np.zeros((height, width), np.uint8)
    font, size, thick = cv2.FONT_HERSHEY_SIMPLEX, 0.55 * FINE * scale, 2 * FINE * scale
    (wide, high), _ = cv2.getTextSize(str(number), font, size, thick)
    cv2.putText(printed, str(number), ((width - wide) // 2, (height + high) // 2), font, size, 255, thick)
    amount = cv2.resize(printed, sides[::-1], interpolation=cv2.INTER_AREA)[..., None] / 255
    return (paper + amount * (ink - paper)).round().astype(np.uint8)
