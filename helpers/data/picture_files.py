"""Pictures of any kind made one kind: uint8 [H, W, 3]; and three photographs that show ImageNet classes."""

import os
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageOps

# Shipped inside scikit-image: what it calls them, what a lesson calls them, and their ImageNet class.
PHOTOGRAPHS = (
    ("chelsea", "Chelsea the cat", 285),
    ("coffee", "a cup of coffee", 967),
    ("rocket", "a rocket", 657),
)


def photographs() -> list[tuple[np.ndarray, str, int]]:
    """Return three photographs as (uint8 [H, W, 3], title, ImageNet class); they need no network."""
    return [(getattr(skimage.data, name)(), title, category) for name, title, category in PHOTOGRAPHS]


def read_picture(picture: object) -> np.ndarray:
    """Return any picture as uint8 [H, W, 3] in RGB.

    A file is turned upright as its camera noted; transparency is laid on white; grey becomes RGB.

    Args:
        picture: a path; a PIL image; a :class:`helpers.data.Picture`; or an array or tensor, uint8 [H, W],
            [H, W, 1], [H, W, 3] or [H, W, 4].

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is none of these, or an array that is not uint8.
        ValueError: the file cannot be read as a picture, or the array has another shape.
    """
    picture = getattr(picture, "image", picture)
    if isinstance(picture, str | os.PathLike):
        picture = _open(os.fspath(picture))
    elif isinstance(picture, np.ndarray | torch.Tensor):
        picture = _checked(np.asarray(picture))
    elif not isinstance(picture, Image.Image):
        raise TypeError(f"A picture is a path, a PIL image or a uint8 array, not {type(picture).__name__}.")
    if picture.mode.startswith(("I", "F")):  # more than 8 bits a pixel; converting these would clip them
        values = np.asarray(picture, dtype=np.float64)
        top = 65535 if picture.mode.startswith("I") and values.max() > 255 else 255
        picture = Image.fromarray((values * (255 / top)).round().clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def _open(name: str) -> Image.Image:
    if name.startswith(("http://", "https://")):
        raise ValueError(f"{name} is an address: save the picture on this machine and give its path.")
    path = Path(name).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no picture {path} (looked in {Path.cwd()}): check the path.")
    try:
        with Image.open(path) as opened:
            return ImageOps.exif_transpose(opened)  # loads it: a file that is cut short fails here
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read: allow yourself to read it, or copy it.") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture: it is damaged, or no JPEG or PNG file.") from error


def _checked(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        cure = "convert it, values in [0, 1] for instance by (255 * picture).round().astype('uint8')"
        raise TypeError(f"A picture as an array is uint8 (0 to 255), not {array.dtype}: {cure}.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        cure = "put the colours last, [H, W, 3], and give one picture at a time"
        raise ValueError(f"An array of shape {list(array.shape)} is no picture: {cure}.")
    return Image.fromarray(np.ascontiguousarray(array))
