"""Colours, surfaces, cluttered ground and painted objects: the brush behind the pictures of shapes.

Pictures here are float32 [128, 128, 3], RGB in [0, 1]; colours are CIE Lab, where equal steps look equal.
"""

import cv2
import numpy as np

SIDE = 128
FINE = 4  # outlines are filled on a grid this much finer, then averaged: smooth edges, whatever the OpenCV
Span = tuple[float, float]
TWIG, SQUIGGLE, ARC, PEBBLE = range(4)
CLOUDS, BANDS = 0, 3  # two of the six kinds of texture: soft spots, and crisp bands
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def colour(rng: np.random.Generator, chroma: Span, lightness: Span) -> np.ndarray:
    """Draw a Lab colour [3] of any hue; chroma 0 is grey and 60 vivid, lightness goes from 0 to 100."""
    hue, strength = rng.uniform(0, 2 * np.pi), rng.uniform(*chroma)
    return np.array([rng.uniform(*lightness), strength * np.cos(hue), strength * np.sin(hue)])


def rgb(lab: np.ndarray) -> np.ndarray:
    """Return a Lab colour [3] as RGB in [0, 1]."""
    return cv2.cvtColor(lab.astype(np.float32)[None, None], cv2.COLOR_Lab2RGB)[0, 0].clip(0, 1)


def clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Draw smooth noise [128, 128], about 0 to 1, with ``cells`` random values along each side."""
    return cv2.resize(rng.random((cells, cells), np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def texture(rng: np.random.Generator, lab: np.ndarray, kind: int | None = None) -> np.ndarray:
    """Draw a surface [128, 128, 3] of one colour and a neighbour of it: clouds, bands, weave or grain.

    A ``kind`` that is given, such as ``CLOUDS`` or ``BANDS``, replaces the one that would be drawn.
    """
    paler, lighter = rng.uniform(0.6, 1.1), rng.choice([-1, 1]) * rng.uniform(7, 20)
    other = lab * [1, paler, paler] + [lighter, *rng.normal(0, 6, 2)]
    angle, pace = rng.uniform(0, np.pi), rng.uniform(0.25, 0.9)
    bent = 2.5 * clouds(rng, 4)
    drawn = rng.integers(6)
    kind = drawn if kind is None else kind
    if kind in (2, 3, 4):
        wave = np.sin(pace * (COLUMNS * np.cos(angle) + ROWS * np.sin(angle)) + bent)
    if kind == 0:
        amount = clouds(rng, int(rng.integers(3, 9)))
    elif kind == 1:
        amount = 0.6 * clouds(rng, 5) + 0.4 * clouds(rng, int(rng.integers(16, 40)))
    elif kind in (2, 3):  # soft bands, crisp bands
        amount = 0.5 + (0.5 if kind == 2 else 2.5) * wave
    elif kind == 4:
        amount = 0.5 + wave * np.sin(pace * (ROWS * np.cos(angle) - COLUMNS * np.sin(angle)))
    else:
        amount = clouds(rng, 64)
    return rgb(lab) + np.clip(amount, 0, 1)[..., None] * (rgb(other) - rgb(lab))


def ground(rng: np.random.Generator) -> np.ndarray:
    """Draw a textured ground with twigs, squiggles, arcs and pebbles on it: like objects, but of no class."""
    return scribbled(rng, bare_ground(rng, colour(rng, (2, 28), (28, 86))))


def bare_ground(rng: np.random.Generator, lab: np.ndarray) -> np.ndarray:
    """Draw a textured ground of one colour, without anything on it, uint8 [128, 128, 3]."""
    picture = texture(rng, lab) + 0.2 * (clouds(rng, 3) - 0.5)[..., None]
    return (picture.clip(0, 1) * 255).astype(np.uint8)


def scribbled(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Draw twigs, squiggles, arcs and pebbles into a uint8 ground, in place, and return it as float32 in [0, 1]."""
    for _ in range(rng.poisson(7)):
        paint, start = (rgb(colour(rng, (4, 48), (20, 90))) * 255).tolist(), rng.uniform(0, SIDE, 2)
        kind = rng.integers(4)
        path = ((start + _path(rng, kind)) * 16).round().astype(np.int32)
        if kind == PEBBLE:
            cv2.fillPoly(picture, [path], paint, cv2.LINE_AA, 4)
        else:
            cv2.polylines(picture, [path], False, paint, int(rng.integers(1, 5)), cv2.LINE_AA, 4)
    return picture.astype(np.float32) / 255


def _path(rng: np.random.Generator, kind: int) -> np.ndarray:
    t, phase = np.linspace(0, 1, 40)[:, None], rng.uniform(0, 2 * np.pi, 3)
    if kind == TWIG:
        return t * rng.normal(0, 45, 2) + t * (1 - t) * rng.normal(0, 45, 2)
    if kind == SQUIGGLE:
        steps = t * rng.normal(0, 25, 2)
        return steps + np.sin(t * rng.uniform(5, 14, 2) + phase[:2]) * rng.uniform(3, 9, 2)
    if kind == ARC:  # stays open: it is no ring
        turn = phase[0] + t * rng.uniform(1.5, 3.5)
        return np.hstack([np.cos(turn), np.sin(turn)]) * rng.uniform(8, 22, 2)
    turn = phase[0] + t * 2 * np.pi  # too bumpy for a disc, too small for the rest
    bumps = 1 + 0.3 * np.sin(2 * turn + phase[1]) + 0.08 * np.sin(3 * turn + phase[2])
    return bumps * np.hstack([np.cos(turn), np.sin(turn)]) * rng.uniform(3, 11, 2)


def put(rng: np.random.Generator, picture: np.ndarray, outlines: list[np.ndarray], light: float) -> np.ndarray:
    """Paint an object into ``picture`` in place and return its mask, bool [128, 128].

    Args:
        rng: the source of its colour, texture, and whether it has a shadow, a rounded edge and a contour.
        picture: what lies behind it; the colour is chosen to differ from that.
        outlines: closed lines [P, 2] in pixels (x, y); a second one is a hole.
        light: the direction in radians in which shadows fall.
    """
    cover = smooth(filled(outlines))
    mask = cover >= 0.5
    surface = texture(rng, colour_unlike(rng, picture[mask]))
    paint(rng, picture, cover, surface, light)
    return mask


def filled(outlines: list[np.ndarray]) -> np.ndarray:
    """Return what closed lines [P, 2] in pixels enclose, 0 or 255 on the fine grid, uint8 [512, 512]."""
    fine = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
    corners = [((line + 0.5) * FINE * 16 - 8).round().astype(np.int32) for line in outlines]
    return cv2.fillPoly(fine, corners, 255, cv2.LINE_8, 4)


def smooth(fine: np.ndarray) -> np.ndarray:
    """Return how much of each pixel a shape on the fine grid covers, float32 [128, 128] from 0 to 1."""
    return cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def colour_unlike(rng: np.random.Generator, behind: np.ndarray) -> np.ndarray:
    """Draw the Lab colour [3] of an object, one that differs clearly from the mean of RGB pixels [P, 3] behind it."""
    behind = cv2.cvtColor(behind.mean(0)[None, None], cv2.COLOR_RGB2Lab)[0, 0]
    lab = colour(rng, (8, 58), (22, 90))
    while np.linalg.norm(lab - behind) < 32:
        lab = colour(rng, (8, 58), (22, 90))
    return lab


def paint(rng: np.random.Generator, picture: np.ndarray, cover: np.ndarray, surface: np.ndarray, light: float) -> None:
    """Paint a surface [128, 128, 3] into ``picture``, in place, as far as ``cover`` [128, 128] reaches.

    Whether the object has a shadow, a rounded edge and a contour is drawn.
    """
    fall = np.array([np.cos(light), np.sin(light)])
    shadow, edge, contour = rng.random(3) < (0.55, 0.5, 0.35)
    if shadow:
        moved = cv2.warpAffine(cover, np.c_[np.eye(2), fall * rng.uniform(2, 5)], (SIDE, SIDE))
        picture *= 1 - rng.uniform(0.3, 0.5) * cv2.GaussianBlur(moved, (0, 0), 2)[..., None]
    if edge:  # bright where the object faces the light, dark where it turns away
        soft = cv2.GaussianBlur(cover, (0, 0), 2)
        slope = cv2.Sobel(soft, cv2.CV_32F, 1, 0) * fall[0] + cv2.Sobel(soft, cv2.CV_32F, 0, 1) * fall[1]
        surface = surface + rng.uniform(0.15, 0.35) * slope[..., None].astype(np.float32)
    if contour:
        surface = surface * (1 - 0.7 * (1 - cv2.erode(cover, np.ones((3, 3), np.uint8)))[..., None])
    picture += cover[..., None] * (surface - picture)
