"""The course's figure: one calm style, safe for colour-blind eyes, shown once; its scales; what may be drawn."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

INK, SOFT = "#1c1c1c", "#5a5a5a"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b0508c", "#56b4e9", "#e69f00")  # after Okabe and Ito (2008)
HEAT, SIGNED = "inferno", "RdBu_r"  # perceptually uniform; diverging; both safe for colour-blind eyes
STYLE = {
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "white",
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": "#e6e6e6",
    "lines.linewidth": 2.2,
    "image.cmap": HEAT,
}


def use_style() -> None:
    """Give all matplotlib figures that are made from now on the style of the course.

    >>> import matplotlib
    >>> from helpers.plotting import use_style
    >>> use_style()
    >>> matplotlib.rcParams["image.cmap"]
    'inferno'
    """
    mpl.rcParams.update(STYLE)


def small_file(image: Image.Image) -> tuple[str, bytes]:
    """Return a picture as a small file, and its kind: lines as a PNG of 256 colours, photographs as a JPEG.

    Args:
        image: RGB.

    Returns:
        ``"image/png"`` or ``"image/jpeg"``, and the file.

    >>> from PIL import Image
    >>> small_file(Image.new("RGB", (40, 20), "white"))[0]
    'image/png'
    """
    lines, photograph, exact = io.BytesIO(), io.BytesIO(), np.asarray(image).astype(np.int16)
    few = image.quantize(256)
    few.save(lines, "PNG", optimize=True)
    image.save(photograph, "JPEG", quality=86, subsampling="4:2:0", optimize=True, progressive=True)
    wrong = np.abs(np.asarray(few.convert("RGB")) - exact).mean(2)
    inked = (exact < 250).any(2)  # on white paper nothing can go wrong
    good = not inked.any() or wrong[inked].mean() < 2  # of 255 steps: not to be seen
    if good and len(lines.getvalue()) <= len(photograph.getvalue()):
        return "image/png", lines.getvalue()
    return "image/jpeg", photograph.getvalue()


class CourseFigure(Figure):
    """A figure that shows itself in a notebook, once, as a small file, with its content in words (``alt``).

    It stands outside pyplot, so nothing shows it a second time: as the last line of a cell it appears by
    itself, earlier in a cell write ``display(figure)``.
    """

    alt = "Figure"

    def __repr__(self) -> str:
        return self.alt

    def _ipython_display_(self, **options: Any) -> None:
        from IPython.display import display

        png = io.BytesIO()
        self.savefig(png, format="png", bbox_inches="tight", pad_inches=0.08)
        kind, data = small_file(Image.open(png).convert("RGB"))
        bundle = {kind: base64.b64encode(data).decode(), "text/plain": self.alt}
        display(bundle, metadata={kind: {"alt": self.alt}}, raw=True, **options)


@mpl.rc_context(STYLE)
def canvas(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (7.0, 3.6), alt: str = "Figure"
) -> tuple[CourseFigure, Any]:
    """Return a figure and its empty axes.

    Args:
        rows: how many axes stand below each other.
        columns: how many axes stand beside each other.
        size: width and height of the figure, in inches.
        alt: the figure in words.

    Returns:
        (figure, axes): one Axes, or an array [rows, columns]. As the last line of a cell the figure shows itself.

    >>> from helpers.plotting import canvas
    >>> figure, axes = canvas(1, 3, alt="Three empty panels.")
    >>> axes.shape, figure.alt
    ((1, 3), 'Three empty panels.')
    """
    figure = CourseFigure(figsize=size, layout="constrained")
    figure.alt = alt
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes[0, 0] if rows == columns == 1 else axes


def limits_of(arrays: Sequence[np.ndarray], signed: bool) -> tuple[float, float]:
    """Return the ends (low, high) of one scale for all arrays; zero is on it, in its middle if it is ``signed``."""
    low, high = min(0.0, *(a.min() for a in arrays)), max(0.0, *(a.max() for a in arrays))
    top = max(-low, high) or 1.0
    return (-top, top) if signed else (low, high if high > low else top)


def in_words(value: float, top: float) -> str:
    """Write a number with three digits of the largest one beside it: 0.00 beside 3.21."""
    decimals = 2 - int(np.floor(np.log10(top))) if top else 2
    value = 0.0 if abs(value) < 1e-3 * top else value
    text = f"{value:.{max(decimals, 0)}f}" if -2 <= decimals <= 4 else f"{value:.1e}" if value else "0"
    return text.replace("-", "\N{MINUS SIGN}")


def numbers(values: Any) -> np.ndarray:
    """Return torch tensors (any device, with or without gradient), arrays and lists as an array."""
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()


def as_array(image: Any, what: str = "picture") -> np.ndarray:
    """Return float [H, W] or, of a picture, [H, W, 3]; a picture's bytes become [0, 1], a map's stay."""
    raw = numbers(image)
    if raw.dtype.kind not in "biuf":
        raise ValueError(f"A {what} to draw is made of real numbers; got {raw.dtype}.")
    array = raw / 255 if raw.dtype == np.uint8 and what == "picture" else raw.astype(float)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] in (1, 4):
        array = array[..., 0] if array.shape[2] == 1 else array[..., :3]
    colour = array.ndim == 3 and array.shape[2] == 3 and what == "picture"
    if array.size == 0 or not (array.ndim == 2 or colour):
        wanted = "[H, W], [1, H, W]" + ", [3, H, W] or [H, W, 3]" * (what == "picture")
        raise ValueError(f"A {what} to draw is {wanted}; got {list(raw.shape)}.")
    if not np.isfinite(array).all():
        raise ValueError(f"The {what} holds NaN or infinite values; find out where they arise.")
    return array


def split_batch(images: Any, *, one_picture: bool = False) -> list:
    """Split [N, ...] into its pictures or maps; a list stays one, a single picture becomes a list of one.

    [3, H, W] is taken for three maps, with ``one_picture`` for one picture in colour.
    """
    shape = getattr(images, "shape", ())
    colour = len(shape) == 3 and (shape[-1] == 3 < shape[0] or one_picture and shape[0] in (1, 3))
    return [images] if colour or len(shape) == 2 else list(images)
