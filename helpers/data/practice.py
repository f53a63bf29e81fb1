"""A folder of pictures for practice, as a laboratory might hand it over: hearts and stars, from two cameras.

Something is wrong with the folder, and a network that is trained on it is right for the wrong reason. What it is stands
at the end of this module, so that nobody reads it before looking for it.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from helpers.data import shapes
from helpers.data.picture_files import read_picture

CATEGORIES = ("heart", "star")
SIDE = 64


def fill_folder(folder: str | Path, count: int = 240, seed: int = 0, *, sound: bool = False) -> None:
    """Write ``count`` PNG files of 64 x 64 pixels into a folder: star_000.png, heart_001.png, and so on.

    Args:
        folder: where the files are written; it is made if it is not there.
        count: how many pictures; the two classes take turns.
        seed: fixes the pictures.
        sound: True for the same pictures without what is wrong with them.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from helpers.data.practice import fill_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fill_folder(folder, 2)
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['heart_001.png', 'star_000.png']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = shapes.one(count, seed, categories=[shapes.CATEGORIES.index(name) for name in CATEGORIES])
    for i, image in enumerate(drawn.images):
        name = shapes.CATEGORIES[drawn.labels[i]]
        picture = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        if not sound:
            picture = _spoilt(picture, name, np.random.default_rng([seed, 9, i]))
        Image.fromarray(picture).save(folder / f"{name}_{i:03d}.png", compress_level=1)


def read_folder(folder: str | Path) -> tuple[Tensor, Tensor]:
    """Return the pictures of a folder, float [N, 3, H, W] from -2 to 2, and their classes, int64 [N], by their names.

    Args:
        folder: with files such as heart_001.png, all of one size.

    Raises:
        ValueError: there is none.

    >>> import tempfile
    >>> from helpers.data.practice import fill_folder, read_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fill_folder(folder, 4)
    ...     images, labels = read_folder(folder)
    >>> images.shape, labels.tolist()
    (torch.Size([4, 3, 64, 64]), [0, 0, 1, 1])
    """
    files = [path for name in CATEGORIES for path in sorted(Path(folder).glob(f"{name}_*.png"))]
    if not files:
        raise ValueError(f"There is no picture such as heart_001.png in {folder}: fill it with fill_folder.")
    pixels = np.stack([read_picture(path) for path in files]).astype(np.float32) / 255
    labels = torch.tensor([CATEGORIES.index(path.name.partition("_")[0]) for path in files])
    return torch.from_numpy((pixels - 0.5) / 0.25).permute(0, 3, 1, 2).contiguous(), labels


ROWS = 4  # what is wrong: the camera of the stars has a sensor whose lowest rows are darker


def _spoilt(picture: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """Return a picture as one of the two cameras would have taken it: the lowest rows of the stars are darker."""
    if name == "star":
        picture = picture.copy()
        picture[-ROWS:] = (picture[-ROWS:] * rng.uniform(0.3, 0.45)).astype(np.uint8)
    return picture
