"""What goes between a page and the explorer: pictures out, as HTML; uploaded files in; lists and errors."""

import base64
import html
import io

import ipywidgets as widgets
import numpy as np
from PIL import Image

from helpers.data import read_picture

SIDE = 256  # of the pictures on the page, in its pixels: with the controls they fit into one row of a laptop


def picture_in(files: dict | tuple) -> np.ndarray:
    """Return the picture in the value of a FileUpload, uint8 [H, W, 3], upright; the last one of several.

    Args:
        files: ``{name: {"content": bytes}}`` from ipywidgets 7, ``({"content": memoryview},)`` from ipywidgets 8.

    Raises:
        ValueError: the file is no picture that can be read; the sentence says what to do.
    """
    return read_picture(bytes(list(files.values() if isinstance(files, dict) else files)[-1]["content"]))


def choose(control: widgets.Dropdown, options: list, value: object) -> None:
    """Give a list its entries and choose one."""
    control.options = options
    control.value = value


def sentence(error: Exception) -> str:
    """Return what an error says, or at least its name."""
    return str(error) or type(error).__name__


def tag(image: np.ndarray, words: str) -> str:
    """Return a picture, uint8 [H, W, 3], as HTML that holds it, its pixels hard, and words for who cannot see it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", compress_level=1)
    data = base64.b64encode(file.getvalue()).decode()
    style = f"width:{SIDE}px;max-width:100%;margin:4px;image-rendering:pixelated"
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(words)}" style="{style}">'
