"""Skies, a forest and a camouflaged tank: the brush behind the scenes of ``tanks``.

A canvas is float32 [128, 128, 4]: RGB in [0, 1], then what each point shows, so that the masks are exact.
Edges stay hard here and turn smooth when the scene is averaged to half its size. Points are complex numbers.
"""

import cv2
import numpy as np

from helpers.data.painters.scenery import COLUMNS, ROWS, SIDE, clouds

OPEN, LAND, ARMOUR = range(3)  # what a point shows: the sky, the forest, the tank
SKY = 68  # rows that a sky has; the land never begins lower
FLAT = np.minimum(2 * np.arange(SKY), SIDE - 1)  # rows of noise that make clouds lie flat
HEIGHT = (1 - ROWS[:SKY] / (0.5 * SIDE)).clip(0, 1)  # 1 at the sky's top, 0 where the land begins


def _colours(*rgb: tuple[float, float, float]) -> np.ndarray:
    return np.array(rgb, np.float32)


BLUE, HAZE, GREY, MIST, GOLD = _colours(
    (0.26, 0.52, 0.87), (0.76, 0.88, 0.95), (0.49, 0.51, 0.55), (0.77, 0.78, 0.78), (1, 0.97, 0.75)
)
MOSS, STRAW, SOIL, BARK, STONE = _colours(
    (0.31, 0.38, 0.16), (0.50, 0.47, 0.25), (0.55, 0.46, 0.32), (0.25, 0.19, 0.13), (0.44, 0.43, 0.39)
)
FAR, FIR, LEAF, RUST = _colours((0.27, 0.37, 0.34), (0.11, 0.21, 0.13), (0.22, 0.33, 0.11), (0.40, 0.32, 0.11))
COAT = _colours((0.18, 0.23, 0.12), (0.30, 0.35, 0.17), (0.40, 0.33, 0.19))
STEEL, WHEEL = _colours((0.11, 0.11, 0.09), (0.30, 0.29, 0.21))

CIRCLE = np.exp(2j * np.pi * np.arange(20) / 20)
WAVES = np.stack([part for n in (3, 5, 7) for part in ((CIRCLE**n).real, (CIRCLE**n).imag)])
# The tank's outlines, seen from its left: length 1, it faces right, its tracks stand on height 0.
TRACKS = np.array([-0.5 - 0.1j, -0.41, 0.37, 0.5 - 0.09j, 0.44 - 0.15j, -0.46 - 0.15j])
WHEELS = [x - 0.06j + 0.052 * CIRCLE for x in np.linspace(-0.37, 0.33, 6)]
HULL = np.array([-0.51 - 0.12j, -0.47 - 0.22j, 0.3 - 0.22j, 0.51 - 0.13j, 0.47 - 0.09j, -0.48 - 0.09j])
TURRET = np.array([-0.24 - 0.21j, -0.21 - 0.31j, -0.06 - 0.35j, 0.12 - 0.33j, 0.21 - 0.26j, 0.18 - 0.21j])
HATCH = np.array([-0.12 - 0.34j, -0.1 - 0.38j, -0.38j, 0.02 - 0.33j])
BARREL = np.array(
    [-0.022j, 0.46 - 0.018j, 0.46 - 0.03j, 0.53 - 0.03j, 0.53 + 0.03j, 0.46 + 0.03j, 0.46 + 0.018j, 0.022j]
)
ABOVE, BELOW = np.array([[[1], [1], [0]], [[0], [1], [1]]], np.uint8)  # a point and its neighbour

Piece = tuple[float, np.ndarray, np.ndarray]  # the row of its foot, its outline, its colour


def sunny(rng: np.random.Generator) -> np.ndarray:
    """Paint a blue sky with wisps and the sun's disc, [68, 128, 3]."""
    wisps = (0.6 * clouds(rng, 5) + 0.4 * clouds(rng, 12))[FLAT]
    sky = _mix(HAZE, _tint(rng, BLUE, 0.03), HEIGHT**0.8)
    sky += (1 - sky) * (3 * wisps - rng.uniform(1.6, 2.2)).clip(0, 0.75)
    x, y, radius = rng.uniform((8, 6, 4.5), (SIDE - 8, 26, 7))
    away = np.hypot(COLUMNS[:SKY] - np.float32(x), ROWS[:SKY] - np.float32(y)) / np.float32(radius)
    sky += (GOLD[:, None, None] - sky) * np.where(away < 1, 1, 0.65 * np.exp(1 - away))
    return cv2.merge(list(sky))


def clouded(rng: np.random.Generator) -> np.ndarray:
    """Paint a grey sky of soft clouds, darker overhead, [68, 128, 3]."""
    bulk = (0.58 * clouds(rng, 5) + 0.28 * clouds(rng, 11) + 0.14 * clouds(rng, 24))[FLAT]
    sky = _mix(MIST, _tint(rng, GREY, 0.06), HEIGHT) + 0.6 * (bulk - 0.5)
    return cv2.merge(list(sky.clip(0, 1)))


def ground(rng: np.random.Generator, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Paint far woods and a clearing, half of the time with a path; return the canvas and the clearing's edge [128]."""
    edge = horizon + 7 * (clouds(rng, 4)[0] - 0.5)
    grain, fine = clouds(rng, 50), clouds(rng, 18)
    crowns = edge - np.float32(rng.uniform(5, 9)) - 6 * clouds(rng, 7)[0] - 3.5 * grain[0]
    near = ((ROWS - edge) / np.float32(SIDE - horizon)).clip(0, 1)
    land = _mix(MOSS, STRAW, (1.6 * clouds(rng, 5) + 0.9 * fine + 0.3 * near - 0.8).clip(0, 1))
    start, bend, swing, wide = rng.uniform((0, -60, -12, 8), (SIDE, 60, 12, 17)).astype(np.float32)
    soil, woods = _tint(rng, SOIL), _tint(rng, FAR)
    if rng.random() < 0.5:
        along = ((ROWS[:, :1] - horizon) / (SIDE - horizon)).clip(0, 1).astype(np.float32)
        path = start + bend * along + swing * np.sin(5 * along)
        trodden = 1.6 - np.abs(COLUMNS - path + 8 * fine - 4) / (1 + wide * along)
        land += (soil[:, None, None] - land) * (0.75 * trodden.clip(0, 1))
    land *= (0.62 + 2.5 * near).clip(0, 1) * (0.82 + 0.36 * grain)
    far = woods[:, None, None] * (0.75 + 0.5 * grain[:SKY])
    np.copyto(land[:, :SKY], far, where=edge > ROWS[:SKY])
    shows = np.where(crowns > ROWS, np.float32(OPEN), np.float32(LAND))
    return cv2.merge([*land, shows]), edge


def trees(rng: np.random.Generator, horizon: float, edge: np.ndarray) -> list[Piece]:
    """Draw firs and broad-leaved trees along the edge of the clearing."""
    pieces = []
    for near, x, size, kind in rng.uniform((0.01, 0, 0.15, 0), (0.16, SIDE - 1, 0.26, 1), (rng.integers(7, 14), 4)):
        foot, height = x + 1j * (edge[int(x)] + near * (SIDE - horizon)), SIDE * size * (1 + 2 * near)
        pieces += (_fir if kind < 0.6 else _broadleaf)(rng, foot, height)
    return pieces


def growth(rng: np.random.Generator, horizon: float) -> list[Piece]:
    """Draw what lies and grows on the clearing: grass, bushes, stones and logs."""
    pieces = []
    spans = (0.15, 0, 0.6, 0, 0), (1.1, SIDE, 1.3, 1, 1)
    for near, x, size, kind, mix in rng.uniform(*spans, (rng.integers(16, 28), 5)):
        foot, size = x + 1j * (horizon + near * (SIDE - horizon)), SIDE * (0.035 + 0.045 * near) * size
        if kind < 0.5:
            blades = np.linspace(-0.6, 0.6, 11).astype(complex)
            blades[1::2] += rng.uniform(-0.3, 0.3, 5) - 1j * rng.uniform(0.5, 1.3, 5)
            colour = _tint(rng, MOSS + (STRAW - MOSS) * mix, 0.2)
            pieces += [
                (foot.imag, foot + size * blades, colour),
                (foot.imag, foot + 0.6 * size * blades, 0.75 * colour),
            ]
        elif kind < 0.74:
            pieces += _round(rng, foot, foot - 0.4j * size, 0.8 * size, 0.55 * size, LEAF if mix < 0.7 else RUST)
        elif kind < 0.88:
            pieces += _round(rng, foot, foot - 0.2j * size, 0.45 * size, 0.28 * size, STONE)
        else:
            log, bark = 1.2 * size * np.exp(1j * rng.normal(0, 0.2)), _tint(rng, BARK, 0.2)
            for high, colour in ((0, bark), (-0.15, 1.5 * bark)):  # whole, then its lit upper side
                side = np.array([-1 - 0.28j, 1 - 0.28j, 1 + 1j * high, -1 + 1j * high])
                pieces.append((foot.imag, foot + log * side, colour))
    return pieces


def grow(canvas: np.ndarray, pieces: list[Piece]) -> None:
    """Paint pieces of the forest over what is there, in place and in their order."""
    points, start = _corners(np.concatenate([[], *(outline for _, outline, _ in pieces)])), 0
    for _, outline, colour in pieces:
        first, start = start, start + len(outline)
        cv2.fillPoly(canvas, [points[first:start]], (*colour.tolist(), LAND), cv2.LINE_8, 4)


def tank(rng: np.random.Generator, canvas: np.ndarray, foot: complex, length: float) -> np.ndarray:
    """Paint a tank that stands on ``foot``, in place; return where its shadow falls, bool [128, 128]."""
    top, left = int(foot.imag - 0.6 * length), max(0, int(foot.real - 0.75 * length))
    window = np.s_[top : int(foot.imag + 0.15 * length), left : int(foot.real + 0.75 * length)]
    view, field = canvas[window], clouds(rng, int(rng.integers(11, 16)))[window]
    aside, below = COLUMNS[window] - np.float32(foot.real), ROWS[window] - np.float32(foot.imag)
    reach = (aside / np.float32(0.56 * length)) ** 2 + (below / np.float32(0.08 * length)) ** 2
    view[..., :3] *= 1 - (0.7 * (1 - reach)).clip(0, 0.5)[..., None]
    coat = np.stack([_tint(rng, colour, 0.1) for colour in COAT])[(field > 0.42).astype(int) + (field > 0.6)]
    facing, turned = rng.choice([-1, 1]), rng.uniform(-0.1, 0.06)
    pitch, raised = np.exp(1j * rng.normal(0, 0.05)), np.exp(-1j * rng.uniform(-0.02, 0.2))
    parts = [([TRACKS], STEEL), (WHEELS, WHEEL), ([turned + 0.12 - 0.28j + BARREL * raised], coat)]
    parts += [([outline], coat) for outline in (turned + HATCH, turned + TURRET, HULL)]
    for outlines, paint in parts:
        turns = [outline * pitch for outline in outlines]
        corners = [_corners(foot - left - 1j * top + length * (facing * z.real + 1j * z.imag)) for z in turns]
        mask = cv2.fillPoly(np.zeros(field.shape, np.uint8), corners, 1, cv2.LINE_8, 4)
        here = mask > 0  # upper rims catch the light, lower ones lie in the shade
        light = 0.05 + cv2.erode(mask, BELOW)[here] * np.float32(0.3) - 0.35 * cv2.erode(mask, ABOVE)[here]
        view[here, :3] = (paint if paint.ndim == 1 else paint[here]) * (1 + light[:, None])
        view[here, 3] = ARMOUR
    shadow = np.zeros(canvas.shape[:2], bool)
    shadow[window] = reach < 1
    return shadow


def _corners(outline: np.ndarray) -> np.ndarray:
    """Return complex points as OpenCV wants them with a shift of 4: int32 [P, 2] in sixteenths of a pixel."""
    return np.rint(16 * outline).astype(complex).view(np.float64).reshape(-1, 2).astype(np.int32)


def _mix(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Blend two colours by how much of the other there is, [H, W]; return [3, H, W]."""
    return one[:, None, None] + (other - one)[:, None, None] * share


def _tint(rng: np.random.Generator, colour: np.ndarray, spread: float = 0.12) -> np.ndarray:
    draw = rng.standard_normal(4, np.float32)
    return np.maximum(colour * (1 + spread * draw[0]) + 0.012 * draw[1:], 0.02)


def _round(
    rng: np.random.Generator, foot: complex, centre: complex, wide: float, high: float, colour: np.ndarray
) -> list[Piece]:
    """Draw something round and bumpy: its dark outline, then patches lit from the upper left."""
    colour, bumps = _tint(rng, colour, 0.15), 1 + rng.normal(0, 0.075, (4, 6)) @ WAVES
    blobs = bumps * (wide * CIRCLE.real + 1j * high * CIRCLE.imag)
    aside = rng.uniform(-0.55, 0.35, 3) * wide + 1j * rng.uniform(-0.55, 0.25, 3) * high
    patches = [(foot.imag, centre + aside[k] + 0.42 * blobs[k], lit * colour) for k, lit in enumerate((0.9, 1.1, 1.35))]
    return [(foot.imag, centre + blobs[3], 0.72 * colour), *patches]


def _trunk(rng: np.random.Generator, foot: complex, height: float) -> Piece:
    return foot.imag, foot + height * np.array([-0.035, 0.035, 0.025 - 0.5j, -0.025 - 0.5j]), _tint(rng, BARK, 0.2)


def _broadleaf(rng: np.random.Generator, foot: complex, height: float) -> list[Piece]:
    leaf, wide = LEAF if rng.random() < 0.8 else RUST, height * rng.uniform(0.26, 0.36)
    return [_trunk(rng, foot, height), *_round(rng, foot, foot - 0.62j * height, wide, 0.38 * height, leaf)]


def _fir(rng: np.random.Generator, foot: complex, height: float) -> list[Piece]:
    """Draw a trunk, five tiers of dark branches, and their lit left half."""
    tiers, half = np.arange(1, 6) / 5, height * rng.uniform(0.17, 0.27)
    tips = half * tiers * rng.uniform(0.8, 1.15, (2, 5)) * [[-1], [1]] - 1j * height * (1 - 0.9 * tiers)
    both = np.stack([tips, 0.5 * tips.real + 1j * (tips.imag - 0.03 * height)], 2).reshape(2, -1)
    colour, tip = _tint(rng, FIR, 0.18), -1j * height
    whole, lit = np.concatenate([[tip], both[0], both[1, ::-1]]), np.concatenate([[tip], both[0], [-0.1j * height]])
    return [_trunk(rng, foot, 0.5 * height), (foot.imag, foot + whole, colour), (foot.imag, foot + lit, 1.5 * colour)]
