"""Pictures on slides: how large their letters come out, where their caption stands, and what is cut in two.

A slide has 1280 x 720 pixels. The figures of the course are saved at 110 dots an inch, and their smallest letters have
11 points (helpers/plotting/style.py), so that a picture that is shown at its own size has letters of 16.8 pixels.
"""

import base64
import io
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from helpers.plotting.style import STYLE

DPI = STYLE["figure.dpi"]
SMALLEST = 18.0  # pixels: the letters that can be read at the back of a room
LARGEST = 1.7  # times its own size: beyond, a saved picture looks coarse
POINTS = float(min(size for key, size in STYLE.items() if re.search("size$", key)))
SMALLER = {"intervals(": 10.0, "draw_network(": 9.2}  # points: these write smaller than the style says
WIDE, BESIDE, ALONE = (1248, 632), (860, 630), (1264, 704)  # the room of a picture and, below a wide one, its caption
LINE, LETTERS = 31, 100  # pixels a line of a caption below a picture, characters in it


@dataclass(frozen=True)
class Picture:
    """A saved picture: its kind, such as ``image/png``, its bytes, its words, its smallest letters in points."""

    kind: str
    data: bytes
    alt: str = ""
    points: float = POINTS

    @cached_property
    def size(self) -> tuple[float, float]:
        """Return width and height, in pixels at 110 dots an inch."""
        if self.kind == "image/svg+xml":
            sides = re.findall(rb"(?:width|height)=\"([\d.]+)(pt|px)?\"", self.data)[:2]
            width, height = (float(side) * (DPI / 72 if unit == b"pt" else 1.0) for side, unit in sides)
            return width, height
        with Image.open(io.BytesIO(self.data)) as image:
            return image.size

    def html(self, width: float, role: str) -> str:
        """Return the picture as HTML, so many pixels wide; ``role`` is the class of its figure."""
        alt = self.alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        height = width * self.size[1] / self.size[0]
        return (
            f'<figure class="{role}"><img alt="{alt}" style="width: {width:.0f}px; height: {height:.0f}px"'
            f' data-letters="{self.points * DPI / 72 / self.size[0]:.5f}"'
            f' src="data:{self.kind};base64,{base64.b64encode(self.data).decode()}"></figure>'
        )


@dataclass(frozen=True)
class Shown:
    """How a picture is shown: as HTML, and how many characters of its caption have room (0: it stands alone)."""

    picture: Picture
    role: str
    width: float
    room: int

    @property
    def html(self) -> str:
        """Return the picture as HTML."""
        return self.picture.html(self.width, self.role)


def text_height(picture: Picture, shown_width: float) -> float:
    """Return the size of a picture's smallest letters, in pixels, where it is shown so many pixels wide.

    The size is that of the font, as in CSS; a capital letter is about 0.7 of it high.
    """
    return picture.points * DPI / 72 * shown_width / picture.size[0]


def fitted(picture: Picture, room: tuple[float, float]) -> float:
    """Return the width at which a picture fills a room [width, height], without looking coarse."""
    width, height = picture.size
    return width * min(room[0] / width, room[1] / height, LARGEST)


def arrange(picture: Picture, needed: int) -> list[Shown]:
    """Return how a picture is shown so that its letters can be read, on one slide or on two.

    Args:
        picture: as it was saved.
        needed: the length of the first sentence of its caption, in characters.

    Returns:
        The picture above its caption or beside it; otherwise alone; otherwise its two halves. If nothing makes the
        letters large enough, the picture alone.
    """
    found = _with_caption(picture, needed)
    alone = Shown(picture, "alone", fitted(picture, ALONE), 0)
    if found:
        return [found]
    if text_height(picture, alone.width) >= SMALLEST:
        return [alone]
    halves = [_with_caption(half, 0) or Shown(half, "alone", fitted(half, ALONE), 0) for half in cut_in_two(picture)]
    good = halves and all(text_height(half.picture, half.width) >= SMALLEST for half in halves)
    return halves if good else [alone]


def _with_caption(picture: Picture, needed: int) -> Shown | None:
    """Return the picture with room for at least ``needed`` characters, where its letters come out large enough."""
    ways = []
    for lines in (4, 3, 2):
        width = fitted(picture, (WIDE[0], WIDE[1] - 8 - LINE * lines))
        if text_height(picture, width) >= SMALLEST and lines * LETTERS >= needed:
            left = (WIDE[1] - 8 - width * picture.size[1] / picture.size[0]) // LINE
            ways.append(Shown(picture, "wide", width, int(min(left, 5) * LETTERS)))
            break
    width = fitted(picture, BESIDE)
    column = (WIDE[0] - 60 - width) / 11.6  # characters a line
    room = int(min(column * 18, 800))
    if text_height(picture, width) >= SMALLEST and room >= needed and column > 24:
        ways.append(Shown(picture, "beside", width, room))
    return max(ways, key=lambda way: way.width, default=None)


def small(picture: Picture) -> str:
    """Return a picture that was shown before, small: a wide one above the text, another at its side."""
    width, height = picture.size
    if width > 2.1 * height:
        return picture.html(fitted(picture, (1152, 310)), "again above")
    return picture.html(fitted(picture, (520, 500)), "again")


def cut_in_two(picture: Picture) -> list[Picture]:
    """Cut a picture along the white band that parts its rows of panels, near the middle; nothing if there is none."""
    if picture.kind == "image/svg+xml":
        return []
    image = Image.open(io.BytesIO(picture.data)).convert("RGB")
    blank = (np.asarray(image).min(2) > 225).mean(1) > 0.995  # but for what JPEG adds
    edges = np.flatnonzero(np.diff(np.r_[0, blank, 0]))
    bands = [(first, end) for first, end in zip(edges[::2], edges[1::2], strict=True) if end - first >= 2]
    near = [band for band in bands if 0.3 < sum(band) / 2 / image.height < 0.7]
    if not near:
        return []
    first, end = max(near, key=lambda band: band[1] - band[0] - 40 * abs(sum(band) / 2 / image.height - 0.5))
    middle = (first + end) // 2
    halves = []
    for name, (top, bottom) in {"upper": (0, middle), "lower": (middle, image.height)}.items():
        file = io.BytesIO()
        image.crop((0, top, image.width, bottom)).save(file, "PNG")
        halves.append(Picture("image/png", file.getvalue(), f"{picture.alt} ({name} half)", picture.points))
    return halves
