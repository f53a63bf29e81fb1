"""What goes between a page and the explorer: pictures out, as HTML; uploaded files in; lists and errors."""

import base64
import html
import io
import re
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from PIL import Image
from traitlets import Unicode

from helpers.data import read_picture
from helpers.plotting.images import Look
from helpers.plotting.style import in_words

# Pixels of a picture on the page: three stand in one row beside the controls, on 1280 pixels with a list of files.
NARROW, WIDE = 176, 300
WIDTH = "16rem"  # of the controls
COARSE = 160  # pixels of a picture below which each of them is drawn as a square


def picture_in(files: dict | tuple) -> np.ndarray:
    """Return the picture in the value of a FileUpload, uint8 [H, W, 3], upright; the last one of several.

    Args:
        files: ``{name: {"content": bytes}}`` from ipywidgets 7, ``({"name": str, "content": memoryview},)`` from
            ipywidgets 8.

    Raises:
        ValueError: the file is no picture that can be read; the sentence begins with its name, if that is known, and
            says what to do.
    """
    named = files if isinstance(files, dict) else {file.get("name", ""): file for file in files}
    name, file = list(named.items())[-1]
    try:
        return read_picture(bytes(file["content"]))
    except ValueError as error:
        raise ValueError((name or "This file") + str(error).removeprefix("This file")) from error


def choose(control: widgets.Dropdown, options: list, value: object) -> None:
    """Give a list its entries and choose one."""
    control.options = options
    control.value = value


def sentence(error: Exception) -> str:
    """Return what an error says, or at least its name; a list of the explorer stands in for code that loads a net."""
    said = str(error) or type(error).__name__
    return re.sub(r"use load_classifier\('(\w+)'\)", r"choose \1 in the list network", said)


def chooser(take: Callable[[dict | tuple, str], None], refuse: Callable[[str], None]) -> widgets.DOMWidget:
    """Return a button with which a reader chooses a picture file of their own.

    With the package anywidget a large photograph is shrunk in the browser, and a file that the browser can neither read
    nor send is refused there. Without it, ipywidgets' own button sends each file as it is.

    Args:
        take: called with the file, as :func:`picture_in` reads it, and with a sentence if it was shrunk, or "".
        refuse: called with a sentence that says why a file was not sent.
    """
    try:
        import anywidget
    except ImportError:
        wide = widgets.Layout(width=WIDTH)
        plain = widgets.FileUpload(
            accept="image/*", multiple=False, description="your own picture, up to 5 MB", layout=wide
        )
        plain.observe(lambda event: take(event["new"], ""), "value")
        return plain

    class Chooser(anywidget.AnyWidget):
        _esm = Path(__file__).with_name("browser.js")
        label, width = Unicode("your own picture").tag(sync=True), Unicode(WIDTH).tag(sync=True)

    def hear(chooser: object, message: dict, buffers: list) -> None:
        if "refused" in message:
            refuse(message["refused"])
        else:
            take(({"name": message["name"], "content": buffers[0]},), message["note"])

    button = Chooser()
    button.on_msg(hear)
    return button


def row(figures: list[str]) -> str:
    """Return figures side by side, as HTML; they stand below each other where the page is narrow."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(figures)}</div>'


def figure(image: np.ndarray, words: str, title: str, below: str = "", sentences: list[str] = ()) -> str:
    """Return a picture with all that belongs to it, as HTML.

    Args:
        image: uint8 [H, W, 3].
        words: the picture for who cannot see it.
        title: above it.
        below: HTML directly below it, from :func:`scale`.
        sentences: below that.
    """
    hard = "image-rendering:pixelated;" if image.shape[1] < COARSE else ""
    picture = f'<img src="{_data(image)}" alt="{html.escape(words)}" style="{hard}display:block;width:100%">'
    text = "".join(f"<div>{html.escape(one)}</div>" for one in sentences)
    line = "font-weight:bold;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"  # so that pictures are level
    return (
        f'<figure style="flex:1 1 {NARROW}px;max-width:{WIDE}px;margin:0;line-height:1.4">'
        f'<div style="{line}" title="{html.escape(title)}">{html.escape(title)}</div>'
        f"{picture}{below}<figcaption>{text}</figcaption></figure>"
    )


def scale(colours: np.ndarray, look: Look, unit: str) -> str:
    """Return a colour scale with its numbers, as HTML.

    Args:
        colours: from the low to the high end, uint8 [1, W, 3].
        look: whose ends are written, and zero if it lies between them.
        unit: of the numbers, in words.
    """
    top = max(-look.low, look.high)
    ends = [look.low, *([0.0] if look.low < 0 < look.high else []), look.high]
    ticks = [in_words(end, top) if end else "0" for end in ends]
    numbers = "".join(f"<span>{tick}</span>" for tick in ticks)
    words = html.escape(f"Colour scale from {ticks[0]} to {ticks[-1]}, {unit}")
    return (
        f'<img src="{_data(colours)}" alt="{words}" style="display:block;width:100%;height:10px;margin-top:4px">'
        f'<div style="display:flex;justify-content:space-between">{numbers}</div>'
        f'<div style="text-align:center">{html.escape(unit)}</div>'
    )


def status(sentences: list[str], wrong: list[str]) -> str:
    """Return sentences in the page's own colour, as HTML; what is wrong comes first, with a red line beside it."""
    marked = "border-left:4px solid #d33;padding-left:8px;margin-bottom:4px"
    errors = "".join(f'<div class="wrong" style="{marked}">{html.escape(one)}</div>' for one in wrong)
    lines = "".join(f"<div>{html.escape(one)}</div>" for one in sentences if one)
    return f'<div role="status" style="line-height:1.5">{errors}{lines}</div>'


def _data(image: np.ndarray) -> str:
    """Return a picture, uint8 [H, W, 3], as an address that holds it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
