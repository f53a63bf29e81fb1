"""Pictures of shapes in which one ingredient can be switched while all else stays: counterfactuals with their truth.

The pictures look like those of :func:`helpers.data.shapes.one`. There one stream of random numbers draws all of a
picture, so that another texture would move the object, too. Here each ingredient has a stream of its own: place,
colour, texture, light and shadow, the ground, what is scribbled on it, and the camera's grain. What an ingredient does
to a network is then the difference of two scores, with it and without it, for the same picture.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from helpers.data.painters.scenery import (
    BANDS,
    CLOUDS,
    COLUMNS,
    ROWS,
    SIDE,
    bare_ground,
    colour,
    colour_unlike,
    filled,
    paint,
    scribbled,
    smooth,
    texture,
)
from helpers.data.shapes import ONE, Shapes, _check, _place, _turns

PLACE, COLOUR, TEXTURE, SHADING, GROUND, GROUND_COLOUR, SCRIBBLES, CAMERA = range(8)  # the streams
KIND = 17  # part of a picture's seed; 0 to 2 are those of shapes.one and shapes.two
TEXTURES = {"plain": CLOUDS, "striped": BANDS}
HUES = {"red": 0.65, "yellow": 1.6, "green": 2.4, "blue": 4.9}  # angles in CIE Lab, in radians
VIVID = 40.0  # the least chroma of a hue that is asked for
HOLE = 0.55  # radius of a hole, as a share of the largest circle that fits into the object
TIP = 0.25  # radius of a rounded tip, as a share of that of a disc of the object's area

CONCEPTS = {  # what is switched: without it, with it
    "striped": ({"texture": "plain"}, {"texture": "striped"}),
    "red": ({}, {"hue": "red"}),
    "red ground": ({}, {"ground": "red"}),
    "scribbles": ({"scribbles": False}, {"scribbles": True}),
    "pointed tips": ({"rounded": True}, {"rounded": False}),
    "hole": ({"hole": False}, {"hole": True}),
    "object": ({"visible": False}, {"visible": True}),
}


def scenes(
    count: int,
    seed: int = 0,
    *,
    categories: Sequence[int] | None = None,
    texture: str | None = None,
    hue: str | None = None,
    hole: bool | None = None,
    rounded: bool = False,
    ground: str | None = None,
    scribbles: bool = True,
    visible: bool = True,
) -> Shapes:
    """Draw ``count`` pictures with one object each; two calls that differ in one ingredient differ in it alone.

    Args:
        count: how many pictures; the classes take turns, and the first pictures are the same whatever the count.
        seed: fixes all that is not asked for.
        categories: the class numbers that take turns, if not the ten of ``shapes.CATEGORIES``.
        texture: of the object, "plain" (soft spots) or "striped"; any of six kinds unless given.
        hue: of the object, one of ``HUES``; its lightness stays as drawn, and its chroma is ``VIVID`` at least.
        hole: True for a round hole in the middle of the object, False for none; unless given, only a ring has one.
        rounded: whether tips that point outwards are rounded off.
        ground: the hue of the ground, one of ``HUES``; as drawn unless given.
        scribbles: whether twigs, squiggles, arcs and pebbles lie on the ground.
        visible: whether the object is there.

    Returns:
        Pictures, class numbers and masks, :class:`helpers.data.shapes.Shapes`; the masks show where the object is, or
        would be.

    Raises:
        ValueError: ``count`` or ``seed`` is negative; an unknown class, texture or hue.

    >>> from helpers.data import counterfactuals
    >>> plain = counterfactuals.scenes(2, seed=1, texture="plain")
    >>> striped = counterfactuals.scenes(2, seed=1, texture="striped")
    >>> bool((plain.masks == striped.masks).all())
    True
    """
    _check(count, seed)
    for name, value, known in (("texture", texture, TEXTURES), ("hue", hue, HUES), ("ground", ground, HUES)):
        if value is not None and value not in known:
            raise ValueError(f"{name} is {value!r}; there are {', '.join(map(repr, known))}.")
    labels = _turns(count, categories, least=1)[:, 0]
    images, masks = np.empty((count, SIDE, SIDE, 3), np.uint8), np.empty((count, SIDE, SIDE), bool)
    for i, label in enumerate(labels):
        streams = _Streams(seed, i)
        outlines = _place(streams(PLACE), label, ONE)
        as_drawn = _ground(streams, None, True)
        picture = as_drawn.copy() if ground is None and scribbles else _ground(streams, ground, scribbles)
        cover = smooth(_shape(outlines, hole, rounded))
        masks[i] = cover >= 0.5
        shading = streams(SHADING)
        light = shading.uniform(0, 2 * np.pi)
        if visible:
            # The colour differs from the ground as it was drawn, whatever is switched.
            lab = colour_unlike(streams(COLOUR), as_drawn[smooth(filled(outlines)) >= 0.5])
            surface = _surface(streams(TEXTURE), _turned(lab, hue), texture)
            paint(shading, picture, cover, surface, light)
        images[i] = _photographed(streams(CAMERA), picture, light)
    return Shapes(images, labels, masks)


def pairs(concept: str, count: int, seed: int = 0, *, categories: Sequence[int] | None = None) -> tuple[Shapes, Shapes]:
    """Draw the same pictures twice, without a concept and with it.

    Args:
        concept: one of ``CONCEPTS``: "striped" (against plain), "red" and "red ground" (against the colour as drawn),
            "scribbles" (against a bare ground), "pointed tips" (against rounded ones), "hole" (against none) or
            "object" (against an empty ground).
        count: how many pictures; the classes take turns.
        seed: fixes all else.
        categories: the class numbers that take turns, if not the ten of ``shapes.CATEGORIES``.

    Returns:
        Pictures without and with it, two :class:`helpers.data.shapes.Shapes`.

    Raises:
        ValueError: an unknown concept; ``count`` or ``seed`` is negative; an unknown class.

    >>> from helpers.data import counterfactuals
    >>> without, with_it = counterfactuals.pairs("hole", 2, seed=1)
    >>> bool((with_it.masks.sum((1, 2)) < without.masks.sum((1, 2))).all())
    True
    """
    if concept not in CONCEPTS:
        raise ValueError(f"There is no concept {concept!r}; there are {', '.join(map(repr, CONCEPTS))}.")
    without, with_it = (scenes(count, seed, categories=categories, **switches) for switches in CONCEPTS[concept])
    return without, with_it


class _Streams:
    """The random numbers of one picture: ``streams(PLACE)`` begins those of an ingredient anew."""

    def __init__(self, seed: int, number: int) -> None:
        self.start = [seed, KIND, number]

    def __call__(self, ingredient: int) -> np.random.Generator:
        return np.random.default_rng([*self.start, ingredient])


def _ground(streams: _Streams, hue: str | None, scribbles: bool) -> np.ndarray:
    lab = _turned(colour(streams(GROUND_COLOUR), (2, 28), (28, 86)), hue)
    bare = bare_ground(streams(GROUND), lab)
    return scribbled(streams(SCRIBBLES), bare) if scribbles else bare.astype(np.float32) / 255


def _turned(lab: np.ndarray, hue: str | None) -> np.ndarray:
    """Return a Lab colour [3] as it is, or of the hue that is asked for."""
    if hue is None:
        return lab
    chroma = max(VIVID, np.hypot(*lab[1:]))
    return np.array([lab[0], chroma * np.cos(HUES[hue]), chroma * np.sin(HUES[hue])])


def _surface(stream: np.random.Generator, lab: np.ndarray, kind: str | None) -> np.ndarray:
    return texture(stream, lab, TEXTURES.get(kind))


def _shape(outlines: list[np.ndarray], hole: bool | None, rounded: bool) -> np.ndarray:
    """Return the object on the fine grid, 0 or 255, with the hole and the tips that are asked for."""
    fine = filled(outlines[:1])
    left, top, width, height = cv2.boundingRect(fine)
    part = fine[top - 1 : top + height + 1, left - 1 : left + width + 1]  # a view; objects keep off the frame
    if rounded:  # what a disc of this radius reaches from inside
        radius = TIP * np.sqrt((part > 0).sum() / np.pi)
        centres = cv2.distanceTransform(part, cv2.DIST_L2, 5) >= radius
        part[:] = 255 * (cv2.distanceTransform(255 - 255 * centres.astype(np.uint8), cv2.DIST_L2, 5) < radius)
    if hole and len(outlines) == 1:
        _, radius, _, centre = cv2.minMaxLoc(cv2.distanceTransform(part, cv2.DIST_L2, 5))
        cv2.circle(part, centre, round(HOLE * radius), 0, cv2.FILLED)
    if hole is not False and len(outlines) > 1:
        fine[filled(outlines[1:]) > 0] = 0
    return fine


def _photographed(stream: np.random.Generator, picture: np.ndarray, light: float) -> np.ndarray:
    slope = (COLUMNS - SIDE / 2) * np.cos(light) + (ROWS - SIDE / 2) * np.sin(light)
    picture = picture * (1 - stream.uniform(0, 0.3) * slope[..., None] / SIDE)
    picture += stream.normal(0, stream.uniform(0.005, 0.025), picture.shape)
    return np.clip(picture * 255, 0, 255).round().astype(np.uint8)
