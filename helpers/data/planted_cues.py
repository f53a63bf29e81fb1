"""Pictures of shapes with planted cues: an object that is asked for, a distractor, and a watermark.

The pictures are those of :func:`helpers.data.shapes.two`. The watermark, a small label with a printed class number,
may name the object's class. It comes from a random stream of its own, keyed by seed, part and number: so every picture
exists with and without it, and with another number on it, and every other pixel is the same.
"""

from typing import NamedTuple

import cv2
import numpy as np

from helpers.data import shapes
from helpers.data.painters.scenery import FINE, SIDE

WATERMARK = 3  # part of a watermark's seed; the kinds of pictures in shapes have 0 to 2
LABEL = (16, 18)  # height and width of the watermark, in pixels
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


def planted(count: int, seed: int = 0, *, watermark: float | None = None) -> Planted:
    """Draw ``count`` pictures with an object and a distractor, and with a watermark if asked for.

    Returns :class:`Planted`, pictures and where each cue is.

    Args:
        count: how many pictures; the first ones are the same whatever the count. The object's classes take turns.
        seed: fixes the pictures; ``watermark`` changes nothing but the watermark's pixels.
        watermark: the share of pictures whose watermark names the object's class; the others name one of the nine
            other classes, each as likely. With 1 it always names the class, with 0.1 only by chance. Among a multiple
            of ten pictures the share is kept to the nearest picture, and each class has its part to within one. None:
            no watermark. It lies in one of the four corners and covers what is there.

    Raises:
        ValueError: ``count`` or ``seed`` is negative, or ``watermark`` is not from 0 to 1.

    >>> from helpers.data.planted_cues import planted
    >>> given_away = planted(4, seed=1, watermark=1.0)
    >>> given_away.images.shape, given_away.labels.tolist(), given_away.tags.tolist()
    ((4, 128, 128, 3), [0, 1, 2, 3], [0, 1, 2, 3])
    >>> int(given_away.watermarks[0].sum())  # a label of 16 by 18 pixels
    288
    """
    if count < 0 or seed < 0:
        raise ValueError(f"count is {count} and seed is {seed}; give numbers that are 0 or more.")
    if watermark is not None and not 0 <= watermark <= 1:
        raise ValueError(f"watermark is {watermark}; give a share from 0 over 0.1 (chance) to 1, or None for none.")
    images, labels, masks = shapes.two(count, seed)
    tags, marks = np.full(count, -1), np.zeros((count, SIDE, SIDE), bool)
    honest = _honest(labels[:, 0], watermark or 0.0)
    for i in range(count if watermark is not None else 0):
        rng = np.random.default_rng([seed, WATERMARK, i])
        wrong = (labels[i, 0] + rng.integers(1, CLASSES)) % CLASSES
        tags[i] = labels[i, 0] if honest[i] else wrong
        place = _place(rng)
        images[i][place] = _label(rng, tags[i])
        marks[i][place] = True
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


def _place(rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw where the watermark lies: near one of the four corners."""
    first, gap, sides = rng.integers(0, 2, 2), rng.integers(2, 6, 2), np.array(LABEL)
    start = np.where(first, gap, SIDE - sides - gap).tolist()
    return tuple(slice(here, here + side) for here, side in zip(start, LABEL, strict=True))


def _label(rng: np.random.Generator, number: int) -> np.ndarray:
    """Print a class number on a pale label, uint8 [16, 18, 3]; paper and ink vary a little."""
    paper, ink = rng.integers(215, 250, 3), rng.integers(0, 40, 3)
    height, width = (FINE * side for side in LABEL)
    printed = np.zeros((height, width), np.uint8)
    font, scale, thick = cv2.FONT_HERSHEY_SIMPLEX, 0.55 * FINE, 2 * FINE
    (wide, high), _ = cv2.getTextSize(str(number), font, scale, thick)
    cv2.putText(printed, str(number), ((width - wide) // 2, (height + high) // 2), font, scale, 255, thick)
    amount = cv2.resize(printed, LABEL[::-1], interpolation=cv2.INTER_AREA)[..., None] / 255
    return (paper + amount * (ink - paper)).round().astype(np.uint8)
