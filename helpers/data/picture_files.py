"""Pictures of any kind made one kind: uint8 [H, W, 3]."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

PHONE_FORMATS = {  # the brand in the first bytes of a file: what it is
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC picture, as phones take"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF picture"),
}
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, TypeError, NotImplementedError)  # of broken files


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what is known of it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        title: what it shows.
        categories: class numbers of what it shows, in the numbering of the classifier it was made for.
        masks: for each of these a bool mask [H, W] of where it is; empty when that is not known.
        licence: who may use it, where it was not drawn by the course.

    >>> import numpy as np
    >>> from helpers.data import Picture
    >>> picture = Picture(np.zeros((20, 30, 3), np.uint8), "a dark night", categories=(3,))
    >>> picture.title, picture.image.shape, picture.masks
    ('a dark night', (20, 30, 3), ())
    """

    image: np.ndarray
    title: str
    categories: tuple[int, ...]
    masks: tuple[np.ndarray, ...] = ()
    licence: str = ""


def read_picture(picture: object) -> np.ndarray:
    """Return any picture as uint8 [H, W, 3] in RGB.

    A photograph is turned upright, as its camera noted in the EXIF data. Transparent parts are laid on white. Grey
    becomes RGB. The scale of the values is never guessed: whole numbers of 8 bits go from 0 to 255, of 16 bits from 0
    to 65535, floats from 0 to 1. Of an animation the first picture is taken.

    Args:
        picture: one of

            - the path of a file;
            - the bytes of a file, or a file opened in binary mode;
            - a PIL image;
            - a :class:`helpers.data.Picture`;
            - an array: uint8 or uint16 of any value, or float in [0, 1]; [H, W], [H, W, 1], [H, W, 3] or [H, W, 4],
              where a fourth channel is the opacity;
            - a tensor, as an array; its channels may also come first, [1, H, W], [3, H, W] or [4, H, W].

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is none of these, or an array of another type of numbers.
        ValueError: the file cannot be read as a picture, the array has another shape, or its values do not fit its
            type. The sentence says what to do.

    >>> import numpy as np
    >>> from helpers.data import read_picture
    >>> read_picture(np.zeros((20, 30), np.uint8)).shape
    (20, 30, 3)
    >>> read_picture(np.full((2, 2), 0.5)).max()
    np.uint8(128)
    """
    picture = getattr(picture, "image", picture)
    if isinstance(picture, np.ndarray | torch.Tensor):
        image = _from_array(picture)
    elif isinstance(picture, Image.Image):
        image = _upright(picture, "This picture")
    elif isinstance(picture, bytes | bytearray | memoryview):
        image = _decoded(bytes(picture), "This file")
    elif hasattr(picture, "read") and not isinstance(picture, str | os.PathLike):
        image = _decoded(picture.read(), "This file")
    elif isinstance(picture, str | os.PathLike):
        image = _from_path(os.fspath(picture))
    else:
        kind = type(picture).__name__
        raise TypeError(f"A picture is a path, a PIL image or an array, not {kind}: give one of these.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _from_path(name: str) -> Image.Image:
    if name.startswith(("http://", "https://")):
        raise ValueError(f"{name} is an address: save the picture on this machine and give its path.")
    path = Path(name).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the path of one picture in it.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no picture {path} (looked in {Path.cwd()}): check the path.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: allow yourself to read it, or copy it.") from error
    return _decoded(data, str(path))


def _decoded(data: bytes, name: str) -> Image.Image:
    """Decode the bytes of a picture file, turned upright; ``name`` is what a sentence about it begins with."""
    if not data:
        raise ValueError(_unreadable(name, "it is empty"))
    if not isinstance(data, bytes):
        raise TypeError(f"{name} is opened as text: open it in binary mode, open(path, 'rb').")
    try:
        opened = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        if data[4:8] == b"ftyp" and data[8:12] in PHONE_FORMATS:
            cure = "convert it to JPEG or PNG first, or have the phone save 'most compatible' pictures"
            raise ValueError(f"{name} is {PHONE_FORMATS[data[8:12]]}: {cure}.") from error
        raise ValueError(_unreadable(name)) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} has too many pixels to be opened: make it smaller.") from error
    except DECODER_ERRORS as error:
        raise ValueError(_unreadable(name)) from error
    return _upright(opened, name)


def _unreadable(name: str, fault: str = "it is damaged, or no JPEG or PNG file") -> str:
    return f"{name} cannot be read as a picture: {fault}. Choose a JPEG or PNG file that is whole."


def _upright(image: Image.Image, name: str) -> Image.Image:
    """Load an image, turn it as its camera noted, and bring its values to 8 bits; the caller's image stays as it is."""
    try:
        image = ImageOps.exif_transpose(image)  # a new image; a file that is cut short fails here
        if image.mode.startswith(("I", "F")):
            return Image.fromarray(_in_8_bits(np.asarray(image), name))
        if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"):
            raise _WrongValues(_unreadable(name, f"its colours are of the kind {image.mode}"))
    except _WrongValues:
        raise
    except DECODER_ERRORS as error:
        raise ValueError(_unreadable(name)) from error
    return image


class _WrongValues(ValueError):
    """A picture whose numbers do not say how bright it is; the text is the sentence for the reader."""


def _in_8_bits(values: np.ndarray, name: str) -> np.ndarray:
    """Bring 16 bits, or floats in [0, 1], to uint8. The scale is that of the type, whatever values occur."""
    if values.dtype.kind == "f":
        if values.size and not bool(((values >= 0) & (values <= 1)).all()):
            ends = f"from {values.min():.3g} to {values.max():.3g}"
            cure = "give it before preprocessing, divide 0 to 255 by 255, or convert it to uint8"
            raise _WrongValues(f"{name} holds floats {ends}; a picture in floats goes from 0 to 1: {cure}.")
        return (255 * values.astype(np.float64)).round().astype(np.uint8)
    if values.size and (values.min() < 0 or values.max() > 65535 or 0 < values.max() <= 255):
        cure = "scale it to 0 to 255 and convert it to uint8"
        ends = f"from {values.min()} to {values.max()}"
        raise _WrongValues(f"{name} holds numbers {ends}, where 16 bits go from 0 to 65535: {cure}.")
    return (values.astype(np.float64) / 257).round().astype(np.uint8)


def _from_array(given: np.ndarray | torch.Tensor) -> Image.Image:
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu()
        given = given.float() if given.is_floating_point() else given  # NumPy has no bfloat16
        if given.dim() == 3 and given.shape[0] in (1, 3, 4) and given.shape[2] not in (1, 3, 4):
            given = given.permute(1, 2, 0)
    array = np.asarray(given)
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16):
        cure = "convert it, values from 0 to 255 for instance by picture.astype('uint8')"
        raise TypeError(f"A picture as an array is uint8 (0 to 255) or float (0 to 1), not {array.dtype}: {cure}.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        cure = "put the colours last, [H, W, 3], and give one picture at a time"
        raise ValueError(f"An array of shape {list(array.shape)} is no picture: {cure}.")
    if array.dtype != np.uint8:
        array = _in_8_bits(array, "This array")
    return Image.fromarray(np.ascontiguousarray(array))
