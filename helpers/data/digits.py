"""Digits that look handwritten: drawn from stroke skeletons, kept in MNIST's file format and framing."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from helpers.course import DATASETS
from helpers.data.fetched.idx_format import read_idx
from helpers.data.painters.digit_skeletons import SKELETONS

RAW = DATASETS / "digits" / "MNIST" / "raw"
SCALE = 4  # supersampling of the canvas
CANVAS = 36  # its side in pixels of the final picture
FAINT = 40  # ink up to this grey is left out of the box
PEN = (0.77, 0.29)  # log of the pen's width in pixels: mean, spread
HANDS = (  # for each digit: mean slant (x grows by it per height), mean log of width over height, boldness
    (0.16, -0.02, 1.15),
    (0.25, -0.05, 1.1),
    (0.13, 0.1, 1.0),
    (0.12, 0.03, 1.0),
    (0.24, 0.03, 0.93),
    (0.16, 0.07, 0.95),
    (0.08, 0.0, 1.0),
    (0.03, 0.2, 1.07),
    (0.17, 0.05, 0.97),
    (0.22, 0.0, 0.95),
)


def generate(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw random digits, framed as in MNIST: a box of 20x20, its centre of mass in the middle of 28x28.

    Image i depends on ``seed`` and i alone, so a later call with the same seed and a larger count repeats it.

    Args:
        count: how many.
        seed: a number, 0 or more.

    Returns:
        (images uint8 [count, 28, 28] white on black, labels int64 [count]); every class is equally likely.

    Raises:
        ValueError: ``count`` or ``seed`` is negative.

    >>> from helpers.data.digits import generate
    >>> images, labels = generate(5, seed=1)
    >>> images.shape, images.dtype, labels.shape
    ((5, 28, 28), dtype('uint8'), (5,))
    """
    if count < 0 or seed < 0:
        raise ValueError(f"count is {count} and seed is {seed}; give numbers that are 0 or more.")
    labels = np.empty(count, np.int64)
    images = np.empty((count, 28, 28), np.uint8)
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        labels[i] = rng.integers(10)
        images[i] = _draw(int(labels[i]), rng)
    return images, labels


def _draw(digit: int, rng: Generator) -> np.ndarray:
    """Return one picture of a digit, uint8 [28, 28], as the next random numbers of ``rng`` have it."""
    strokes = [_pen_track(stroke, rng) for stroke in SKELETONS[digit](rng)]
    lengths = [len(stroke) for stroke in strokes]
    track = _distort(np.concatenate(strokes), digit, rng)
    width = np.exp(rng.normal(*PEN)) * HANDS[digit][2] * (1 if rng.random() < 0.92 else 1.5)
    width = np.clip(width, 1.3, 6.5)
    track *= (20 - width) / max(np.ptp(track, axis=0).max(), 1e-3)
    if digit != 1:  # a thick pen cannot write a narrow digit: it would fill its loops
        width = min(width, max(1.4, 1.1 * np.sqrt(np.linalg.eigvalsh(np.cov(track.T))[0])))
    pressure = 1 + 0.15 * np.sin(np.linspace(0, rng.uniform(3, 9), len(track)) + rng.uniform(0, 2 * np.pi))
    pressure += rng.normal(0, rng.uniform(0.02, 0.12), len(track))
    return frame(_ink(track, lengths, width * pressure, rng.uniform(0, 0.4)))


@lru_cache
def _spline(points: int, steps: int = 6) -> np.ndarray:
    """Return the matrix [samples, points] that takes control points to a Catmull-Rom curve through them."""
    segment, t = np.divmod(np.linspace(0, points - 1, (points - 1) * steps + 1), 1)
    last = segment == points - 1
    segment, t = np.where(last, segment - 1, segment).astype(int), np.where(last, 1.0, t)[:, None]
    value = np.eye(points)
    slope = np.gradient(value, axis=0)
    return (
        (2 * t**3 - 3 * t**2 + 1) * value[segment]
        + (t**3 - 2 * t**2 + t) * slope[segment]
        + (3 * t**2 - 2 * t**3) * value[segment + 1]
        + (t**3 - t**2) * slope[segment + 1]
    )


def _pen_track(stroke: list[list], rng: Generator) -> np.ndarray:
    """Return the points [n, 2] along a stroke, its control points moved a little at random."""
    curves, end = [], []
    for part in stroke:
        points = np.array([*end, *part], float)
        points[len(end) :] += rng.normal(0, 0.022, (len(part), 2))
        curves.append(_spline(len(points)) @ points)
        end = [points[-1]]
    return np.concatenate(curves)


def _distort(track: np.ndarray, digit: int, rng: Generator) -> np.ndarray:
    """Write the same digit with another hand: waves in the track, then aspect, slant and rotation."""
    x, y = track[:, 0], track[:, 1] - 0.5
    wave, phase, size = rng.uniform(2, 6, 4), rng.uniform(0, 2 * np.pi, 4), rng.normal(0, 0.035, 4)
    wavy = size * np.sin(wave * np.stack([y, x, y, x], 1) + phase)
    x, y = x + wavy[:, 0] + wavy[:, 1], y + wavy[:, 2] + wavy[:, 3]
    lean, spread, turn = rng.normal(0, (0.23, 0.17, 6)).clip((-0.5, -0.36, -14), (0.5, 0.36, 14))
    slant, stretch, turn = HANDS[digit][0] + lean, np.exp(HANDS[digit][1] + spread), np.radians(turn)
    x = x * stretch - slant * y
    return np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)


def _ink(track: np.ndarray, lengths: list[int], widths: np.ndarray, blur: float) -> np.ndarray:
    """Draw strokes on a large canvas: track [n, 2] and widths [n] in final pixels, lengths of the strokes."""
    canvas = np.zeros((CANVAS * SCALE,) * 2, np.uint8)
    middle = (track.min(0) + track.max(0)) / 2
    points = np.round((track - middle + CANVAS / 2) * SCALE * 16).astype(np.int32)  # in 16ths, for cv2's shift
    thick = np.maximum(1, np.round(widths * SCALE)).astype(int)
    start = 0
    for length in lengths:
        for i in range(start, start + length - 1, 3):
            piece = points[i : min(i + 4, start + length)]
            cv2.polylines(canvas, [piece], False, 255, int(thick[i]), cv2.LINE_8, 4)
        start += length
    return cv2.GaussianBlur(canvas, (0, 0), blur * SCALE) if blur * SCALE > 0.3 else canvas


def frame(canvas: np.ndarray) -> np.ndarray:
    """Frame a drawing as MNIST does (LeCun et al., 1998).

    Its box is scaled to 20 pixels, and its centre of mass moved to the middle of the picture.

    Args:
        canvas: uint8 [H, W], white on black.

    Returns:
        The digit, uint8 [28, 28].

    Raises:
        ValueError: the canvas is empty.

    >>> import numpy as np
    >>> from helpers.data.digits import frame
    >>> canvas = np.zeros((100, 60), np.uint8)
    >>> canvas[10:90, 25:35] = 255  # a stroke from top to bottom
    >>> framed = frame(canvas)
    >>> framed.shape, int((framed.max(1) > 0).sum())
    ((28, 28), 20)
    """
    if canvas.max(initial=0) <= FAINT:
        raise ValueError("There is no ink on the canvas; draw in white on black.")
    rows, columns = (np.flatnonzero((canvas > FAINT).any(axis)) for axis in (1, 0))
    box = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(side * 20 / max(box.shape))) for side in box.shape)
    small = cv2.resize(box, (width, height), interpolation=cv2.INTER_AREA)
    moments = cv2.moments(small)
    top = int(np.clip(round(13.5 - moments["m01"] / moments["m00"]), 0, 28 - height))
    left = int(np.clip(round(13.5 - moments["m10"] / moments["m00"]), 0, 28 - width))
    picture = np.zeros((28, 28), np.uint8)
    picture[top : top + height, left : left + width] = small
    return picture


def load(train: bool = True) -> tuple[Tensor, Tensor]:
    """Read the course's digits: 4,000 for training, 2,000 for testing, as ``generate`` has drawn them.

    Args:
        train: True for the training pictures, False for the test pictures.

    Returns:
        (images float32 [N, 1, 28, 28] in [0, 1], labels int64 [N]).

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.

    >>> from helpers.data.digits import load
    >>> images, labels = load(train=False)
    >>> images.shape, labels.shape
    (torch.Size([2000, 1, 28, 28]), torch.Size([2000]))
    """
    part = "train" if train else "t10k"
    images = read_idx(RAW / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(RAW / f"{part}-labels-idx1-ubyte.gz")
    return torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(labels).long()
