"""Pictures of shapes whose truth is known: one or two textured objects on cluttered ground, with their masks.

A picture depends on its seed and its number alone. Colour, texture, place, size and angle do not depend on the class:
only the outline tells a heart from a star.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from helpers.data.painters.scenery import COLUMNS, ROWS, SIDE, ground, put

CATEGORIES = ("disc", "square", "triangle", "star", "cross", "ring", "crescent", "heart", "arrow", "flower")
EXTRA = ("drop", "bolt")  # numbers 10 and 11: drawn only when asked for; no net of the course has seen them
ONE, OFF_CENTRE, TWO = range(3)  # part of a picture's seed
RADII = {
    ONE: (0.18, 0.32),
    OFF_CENTRE: (0.17, 0.24),
    TWO: (0.17, 0.24),
}  # of an object, as a share of the side


class Shapes(NamedTuple):
    """Pictures with one object each.

    Attributes:
        images: uint8 [N, 128, 128, 3] in RGB.
        labels: class numbers, int64 [N].
        masks: where the object is, bool [N, 128, 128].
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


class TwoShapes(NamedTuple):
    """Pictures with two objects each.

    Attributes:
        images: uint8 [N, 128, 128, 3] in RGB.
        labels: class numbers of both objects, int64 [N, 2].
        masks: where each object is, bool [N, 2, 128, 128].
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def one(count: int, seed: int = 0, *, off_centre: bool = False, categories: Sequence[int] | None = None) -> Shapes:
    """Draw ``count`` pictures with one object each; the classes take turns.

    Args:
        count: how many pictures; the first ones are the same whatever the count.
        seed: fixes the pictures.
        off_centre: keep the object's bounding box clear of the picture's centre, where the centre baseline points.
        categories: the class numbers that take turns, if not the ten of ``CATEGORIES``; ``EXTRA`` has 10 and 11.

    Returns:
        Pictures, class numbers and masks, :class:`Shapes`.

    Raises:
        ValueError: ``count`` or ``seed`` is negative, or ``categories`` is empty or holds an unknown class.

    >>> from helpers.data.shapes import CATEGORIES, one
    >>> drawn = one(3, seed=1)
    >>> drawn.images.shape, [CATEGORIES[label] for label in drawn.labels], drawn.masks.shape
    ((3, 128, 128, 3), ['disc', 'square', 'triangle'], (3, 128, 128))
    """
    _check(count, seed)
    labels = _turns(count, categories, least=1)[:, :1]
    images, masks = _pictures(labels, seed, OFF_CENTRE if off_centre else ONE)
    return Shapes(images, labels[:, 0], masks[:, 0])


def two(count: int, seed: int = 0, *, categories: Sequence[int] | None = None) -> TwoShapes:
    """Draw ``count`` pictures with two objects of different classes that keep apart; all pairs take turns.

    Args:
        count: how many pictures; the first ones are the same whatever the count.
        seed: fixes the pictures.
        categories: the class numbers that take turns, if not the ten of ``CATEGORIES``; ``EXTRA`` has 10 and 11.

    Returns:
        Pictures, and the class numbers and masks of both objects, :class:`TwoShapes`.

    Raises:
        ValueError: ``count`` or ``seed`` is negative, or ``categories`` has fewer than two classes or an unknown one.

    >>> from helpers.data.shapes import two
    >>> drawn = two(3, seed=1)
    >>> drawn.labels.tolist(), drawn.masks.shape
    ([[0, 1], [1, 2], [2, 3]], (3, 2, 128, 128))
    """
    _check(count, seed)
    labels = _turns(count, categories, least=2)
    images, masks = _pictures(labels, seed, TWO)
    return TwoShapes(images, labels, masks)


def preprocess(images: np.ndarray) -> Tensor:
    """Turn RGB pictures into the input of the course's nets: (value / 255 - 0.5) / 0.25, channels first.

    A picture of another size than 128 by 128 is resized as a whole, not cropped.

    Args:
        images: uint8 [N, H, W, 3], or one picture [H, W, 3].

    Returns:
        float32 [N, 3, 128, 128], from -2, black, to 2, white.

    Raises:
        TypeError: the pictures are not uint8.
        ValueError: they are not [N, H, W, 3] or [H, W, 3].

    >>> import numpy as np
    >>> from helpers.data.shapes import preprocess
    >>> preprocess(np.zeros((5, 60, 80, 3), np.uint8)).shape
    torch.Size([5, 3, 128, 128])
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"preprocess takes uint8 pictures (0 to 255), not {images.dtype}; convert them first.")
    if images.ndim not in (3, 4) or images.shape[-1] != 3 or images.size == 0:
        raise ValueError(
            f"preprocess takes RGB pictures [N, H, W, 3] or [H, W, 3], not {list(images.shape)}; "
            "put the three colour channels last and leave transparency out."
        )
    images = images if images.ndim == 4 else images[None]
    if images.shape[1:3] != (SIDE, SIDE):
        images = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])
    scaled = (images.astype(np.float32) / 255 - 0.5) / 0.25
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def _check(count: int, seed: int) -> None:
    if count < 0 or seed < 0:
        raise ValueError(f"count is {count} and seed is {seed}; give numbers that are 0 or more.")


def _turns(count: int, categories: Sequence[int] | None, least: int) -> np.ndarray:
    """Return class numbers [count, 2]: the first takes turns, the second differs and moves on each round."""
    chosen = np.arange(len(CATEGORIES)) if categories is None else np.unique(np.asarray(categories, np.int64))
    if len(chosen) < least or chosen.min() < 0 or chosen.max() >= len(CATEGORIES + EXTRA):
        raise ValueError(f"categories is {categories}; give {least} or more class numbers from 0 to 11.")
    turn, n = np.arange(count), len(chosen)
    return chosen[np.stack([turn, turn + 1 + turn // n % max(1, n - 1)], 1) % n].reshape(count, 2)


def _pictures(labels: np.ndarray, seed: int, kind: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(labels), SIDE, SIDE, 3), np.uint8)
    masks = np.empty((*labels.shape, SIDE, SIDE), bool)
    for i, classes in enumerate(labels):
        rng = np.random.default_rng([seed, kind, i])
        picture, light = ground(rng), rng.uniform(0, 2 * np.pi)
        for k, outlines in enumerate(_places(rng, classes, kind)):
            masks[i, k] = put(rng, picture, outlines, light)
        slope = (COLUMNS - SIDE / 2) * np.cos(light) + (ROWS - SIDE / 2) * np.sin(light)
        picture *= 1 - rng.uniform(0, 0.3) * slope[..., None] / SIDE
        picture += rng.normal(0, rng.uniform(0.005, 0.025), picture.shape)  # the camera's grain
        images[i] = np.clip(picture * 255, 0, 255).round()
    return images, masks


def _outlines() -> list[list[np.ndarray]]:
    """Return the closed outlines of all classes, complex numbers of size about 1; a second one is a hole."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    circle, corners = np.exp(1j * angle), np.arange(10)
    arm = np.array([1 - 0.31j, 1 + 0.31j, 0.31 + 0.31j])
    tip = np.exp(0.87j) - 0.5  # of the crescent, seen from the middle of its inner arc
    bay = 0.5 + np.abs(tip) * np.exp(1j * np.linspace(-np.angle(tip), np.angle(tip) - 2 * np.pi, 50))
    heart = 16 * np.sin(angle) ** 3 + 1j * sum(a * np.cos(n * angle) for n, a in enumerate((1, -13, 5, 2, 1)))
    arrow = np.array([-1 - 0.25j, 0.08 - 0.25j, 0.08 - 0.72j, 1.02])
    bolt = np.array([0.55 + 1.05j, 0.25 + 1.05j, -0.55 - 0.1j, -0.05 - 0.1j, -0.3 - 1.05j, 0.6 + 0.2j, 0.1 + 0.2j])
    return [
        [0.86 * circle],
        [1.06 * 1j ** corners[:4]],
        [1.1 * np.exp(2j * np.pi / 3 * corners[:3])],
        [np.where(corners % 2, 0.44, 1.08) * np.exp(1j * np.pi / 5 * corners)],
        [0.97 * np.concatenate([arm * 1j**k for k in range(4)])],
        [0.95 * circle, 0.5 * circle],
        [0.2 + np.concatenate([np.exp(1j * np.linspace(0.87, 2 * np.pi - 0.87, 70)), bay])],
        [heart / 16.5],
        [np.concatenate([arrow, arrow[2::-1].conj()])],
        [(0.4 + 0.6 * np.abs(np.cos(2.5 * angle)) ** 0.6) * circle],
        [1.05 * np.cos(angle) + 0.9j * np.sin(angle) * np.sin(angle / 2) ** 1.5],
        [bolt],
    ]


OUTLINES = _outlines()


def _place(rng: np.random.Generator, number: int, kind: int) -> list[np.ndarray]:
    """Scale, stretch, shear and turn a class's outlines; return them [P, 2] in pixels, whole in the frame."""
    size, stretch = SIDE * rng.uniform(*RADII[kind]), np.exp(rng.normal(0, 0.08))
    shear, turn = rng.normal(0, 0.06), np.exp(1j * rng.uniform(0, 2 * np.pi))
    bent = [(z.real * stretch + shear * z.imag + 1j * z.imag / stretch) * turn for z in OUTLINES[number]]
    points = [size * np.stack([z.real, z.imag], 1) for z in bent]
    centre = rng.uniform(3 - points[0].min(0), SIDE - 3 - points[0].max(0))
    return [part + centre for part in points]


def _places(rng: np.random.Generator, classes: np.ndarray, kind: int) -> list[list[np.ndarray]]:
    """Place the objects, anew if an off-centre one reaches the centre or two come close."""
    while True:
        placed = [_place(rng, number, kind) for number in classes]
        first, last = placed[0][0], placed[-1][0]
        if kind == OFF_CENTRE and np.all((first.min(0) < SIDE / 2 + 1.5) & (first.max(0) > SIDE / 2 - 1.5)):
            continue
        wider = last + 0.2 * (last - last.mean(0))
        hulls = [cv2.convexHull(line.astype(np.float32)) for line in (first, wider)]
        if kind != TWO or cv2.intersectConvexConvex(*hulls)[0] == 0:
            return placed
