"""Forest scenes with and without a camouflaged tank, under clouds or in the sun, with their masks.

Forest, tank, sky and noise of a scene come from random streams of their own, keyed by seed, part and number. So every
scene also exists under the other sky and without its tank, and every other pixel is the same: the light on the forest
does not depend on the sky.
"""

from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from helpers.data.painters import forest
from helpers.data.painters.scenery import SIDE as CANVAS

SIDE = CANVAS // 2  # scenes are painted twice as large, then averaged
FOREST, TANK, SUN, CLOUDS, GRAIN = range(5)  # parts of a scene


class Tanks(NamedTuple):
    """Scenes and the truth about them; * is [N], or [2, 2, N] for counterfactuals.

    ``images`` uint8 [*, 64, 64, 3] in RGB; ``labels`` int64 [*], 1 = tank; ``cloudy`` int64 [*], 1 = clouds, 0 = sun;
    ``skies``, ``tanks`` and ``shadows`` bool [*, 64, 64]: the pixels that show any sky, any of the tank, and those
    that only its shadow may darken.
    """

    images: np.ndarray
    labels: np.ndarray
    cloudy: np.ndarray
    skies: np.ndarray
    tanks: np.ndarray
    shadows: np.ndarray


def scenes(count: int, seed: int = 0, *, bias: float = 0.5) -> Tanks:
    """Draw ``count`` scenes; every second one has a tank. Returns them with their truth, :class:`Tanks`.

    Args:
        count: how many scenes; the first ones are the same whatever the count. With bias 0.5 a multiple of four
            holds each of the four combinations of tank and sky equally often.
        seed: fixes the scenes; another bias changes nothing but some of the skies.
        bias: the share of scenes under the legend's sky, which is clouds with a tank and sun without. 1 is the
            legend, 0.5 a world where the sky tells nothing, 0 the legend reversed. The share is kept to the
            nearest scene among those with a tank, and among those without.

    Raises:
        ValueError: ``count`` or ``seed`` is negative, or ``bias`` is not from 0 to 1.

    >>> from helpers.data.tanks import scenes
    >>> legend = scenes(4, seed=1, bias=1.0)
    >>> legend.images.shape, legend.labels.tolist(), legend.cloudy.tolist()
    ((4, 64, 64, 3), [0, 1, 0, 1], [0, 1, 0, 1])
    """
    if not 0 <= bias <= 1:
        raise ValueError(f"bias is {bias}; give a share from 0 (reversed) over 0.5 (no link) to 1 (always).")
    _check(count, seed)
    turn, labels = np.divmod(np.arange(count), 2)
    before, after = (np.floor(bias * k + 0.5 + 1e-9) for k in (turn, turn + 1))  # 1e-9: 0.29 * 50 is just under 14.5
    cloudy = np.where(after > before, labels, 1 - labels)
    images, *masks = (part[:, 0, 0] for part in _draw(seed, labels[:, None], cloudy[:, None]))
    return Tanks(images, labels, cloudy, *masks)


def counterfactuals(count: int, seed: int = 0) -> Tanks:
    """Draw each scene of ``scenes(count, seed)`` without and with its tank, in the sun and under clouds.

    Args:
        count: how many scenes, each in four versions.
        seed: fixes the scenes.

    Returns:
        :class:`Tanks` whose arrays are [2, 2, N, ...]: by tank (0 = none), by sky (0 = sun, 1 = clouds) and by number.

    Raises:
        ValueError: ``count`` or ``seed`` is negative.

    >>> from helpers.data.tanks import counterfactuals
    >>> versions = counterfactuals(3, seed=1)
    >>> versions.images.shape, versions.labels[:, 0, 0].tolist(), versions.cloudy[0, :, 0].tolist()
    ((2, 2, 3, 64, 64, 3), [0, 1], [0, 1])
    """
    _check(count, seed)
    both = np.tile(np.arange(2), (count, 1))
    images, *masks = (np.moveaxis(part, 0, 2) for part in _draw(seed, both, both))
    labels, cloudy = np.indices(images.shape[:3])[:2]
    return Tanks(images, labels, cloudy, *masks)


def preprocess(images: np.ndarray) -> Tensor:
    """Turn RGB scenes into the input of a net: (value / 255 - 0.5) / 0.25, channels first.

    Args:
        images: uint8 [N, 64, 64, 3], or one scene [64, 64, 3].

    Returns:
        float32 [N, 3, 64, 64], from -2, black, to 2, white.

    Raises:
        TypeError: the pictures are not uint8.
        ValueError: they have another shape.

    >>> from helpers.data.tanks import preprocess, scenes
    >>> preprocess(scenes(2, seed=1).images).shape
    torch.Size([2, 3, 64, 64])
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"preprocess takes uint8 pictures (0 to 255), not {images.dtype}; convert them first.")
    if images.ndim not in (3, 4) or images.shape[-3:] != (SIDE, SIDE, 3):
        raise ValueError(
            f"preprocess takes scenes [N, {SIDE}, {SIDE}, 3] or [{SIDE}, {SIDE}, 3], not {list(images.shape)}; "
            "pick one tank and one sky from counterfactuals first, or resize."
        )
    scaled = (images.reshape(-1, SIDE, SIDE, 3).astype(np.float32) / 255 - 0.5) / 0.25
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def _check(count: int, seed: int) -> None:
    if count < 0 or seed < 0:
        raise ValueError(f"count is {count} and seed is {seed}; give numbers that are 0 or more.")


def _draw(seed: int, tanks: np.ndarray, skies: np.ndarray) -> list[np.ndarray]:
    """Draw scene n with each of ``tanks[n]`` under each of ``skies[n]``: images, then masks, [N, T, S, 64, 64, ...]."""
    shape = (*tanks.shape, skies.shape[1], SIDE, SIDE)
    images, masks = np.empty((*shape, 3), np.uint8), np.empty((3, *shape), bool)
    for n in range(len(tanks)):
        lands = [_land(seed, n, tank) for tank in tanks[n]]
        over = [_sky(seed, n, cloudy) for cloudy in skies[n]]
        rng = _stream(seed, GRAIN, n)
        grain = 0.013 * rng.standard_normal((SIDE, SIDE, 1), np.float32)
        grain = grain + 0.008 * rng.standard_normal((SIDE, SIDE, 3), np.float32)
        for (t, (canvas, shadow)), (s, sky) in product(enumerate(lands), enumerate(over)):
            picture, shows = cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB), canvas[..., 3]
            opened, armour = shows == forest.OPEN, shows == forest.ARMOUR
            cv2.copyTo(sky, opened[: len(sky)].astype(np.uint8), picture[: len(sky)])
            picture = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) + grain
            images[n, t, s] = (picture * 255).clip(0, 255).round()
            masks[:, n, t, s] = [_halved(mask) for mask in (opened, armour, shadow)]
    masks[2] &= ~masks[1]
    return [images, *masks]


def _stream(seed: int, part: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, part, number])


def _halved(mask: np.ndarray) -> np.ndarray:
    """Return, bool [64, 64], the pixels with any of their four points in ``mask``."""
    return mask[::2, ::2] | mask[1::2, ::2] | mask[::2, 1::2] | mask[1::2, 1::2]


def _sky(seed: int, number: int, cloudy: int) -> np.ndarray:
    return forest.clouded(_stream(seed, CLOUDS, number)) if cloudy else forest.sunny(_stream(seed, SUN, number))


def _land(seed: int, number: int, with_tank: int) -> tuple[np.ndarray, np.ndarray]:
    """Paint the land from far to near; return the canvas [128, 128, 4] and the tank's shadow, bool [128, 128]."""
    rng, own = _stream(seed, FOREST, number), _stream(seed, TANK, number)
    horizon = CANVAS * rng.uniform(0.40, 0.48)
    canvas, edge = forest.ground(rng, horizon)
    pieces = sorted(forest.trees(rng, horizon, edge) + forest.growth(rng, horizon), key=lambda piece: piece[0])
    near = own.uniform(0.5, 0.93)  # 0 on the horizon, 1 at the picture's lower edge
    row, length = horizon + near * (CANVAS - horizon), CANVAS * (0.32 + 0.18 * near) * own.uniform(0.93, 1.07)
    foot = own.uniform(0.42 * length, CANVAS - 0.42 * length) + 1j * row
    forest.grow(canvas, [piece for piece in pieces if piece[0] <= row])
    shadow = forest.tank(own, canvas, foot, length) if with_tank else np.zeros(canvas.shape[:2], bool)
    forest.grow(canvas, [piece for piece in pieces if piece[0] > row])
    return canvas, shadow
