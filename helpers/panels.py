"""One panel: a picture, a map, or a map laid over its picture, with its range in words and an outline.

Lessons draw with ``helpers.plotting``, which puts panels together.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch.nn.functional as F
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from torch import from_numpy

from helpers.figures import SOFT, numbers

HEAT, SIGNED = "inferno", "RdBu_r"  # perceptually uniform; diverging; both safe for colour-blind eyes
HALO = [patheffects.withStroke(linewidth=4, foreground="white")]


class Look(NamedTuple):
    """How values become colours: the ends of the scale, the colour map, whether to say the range."""

    low: float
    high: float
    cmap: str
    say: bool


def look_of(values: np.ndarray, over: bool, signed: bool | None = None, cmap: str | None = None) -> Look:
    """Choose the look of values [H, W] or [H, W, 3], which lie ``over`` a picture or stand alone."""
    if signed is None:
        signed = over and values.min() < -1e-3 * np.abs(values).max()
    cmap = (SIGNED if signed else HEAT) if over else cmap or (SIGNED if signed else "gray")
    if cmap == "gray" and not signed and values.min() >= 0 and 0.5 <= values.max() <= 1:
        return Look(0.0, 1.0, cmap, False)  # a picture, and not a faint map that happens to lie in [0, 1]
    return Look(*limits_of([values], signed), cmap, True)


def limits_of(arrays: Sequence[np.ndarray], signed: bool) -> tuple[float, float]:
    """Return the ends of a scale that has zero in it (in its middle, if signed)."""
    low, high = min(0.0, *(a.min() for a in arrays)), max(0.0, *(a.max() for a in arrays))
    top = max(-low, high) or 1.0
    return (-top, top) if signed else (low, high if high > low else top)


def in_words(value: float, top: float) -> str:
    """Write a number with three digits of the largest one beside it: 0.00 beside 3.21."""
    decimals = 2 - int(np.floor(np.log10(top))) if top else 2
    value = 0.0 if abs(value) < 1e-3 * top else value
    text = f"{value:.{max(decimals, 0)}f}" if -2 <= decimals <= 4 else f"{value:.1e}" if value else "0"
    return text.replace("-", "\N{MINUS SIGN}")


def lay_over(picture: np.ndarray, scaled: np.ndarray, cmap: str) -> np.ndarray:
    """Colour a map scaled to [0, 1] over a greyed picture; the stronger the map, the less picture."""
    grey = picture @ (0.299, 0.587, 0.114) if picture.ndim == 3 else picture
    if grey.min() < 0 or grey.max() > 1:
        grey = (grey - grey.min()) / (np.ptp(grey) or 1.0)
    strength = np.abs(2 * scaled - 1) if cmap == SIGNED else scaled
    first, last = (0.08, 0.92) if cmap == SIGNED else (0.2, 1.0)  # the darkest ends would hide the picture
    colour = mpl.colormaps[cmap](first + (last - first) * scaled)[..., :3]
    alpha = (0.85 * np.clip(1.25 * strength, 0, 1) ** 0.8)[..., None]
    return (1 - alpha) * (0.12 + 0.6 * grey[..., None]) + alpha * colour


def draw_outline(ax: Axes, mask: Any, size: tuple[int, int]) -> None:
    """Draw the edge of a mask [H, W], or of several, white in a dark casing: to be seen on any ground."""
    several = isinstance(mask, tuple | list) or numbers(mask).ndim == 3
    for one in mask if several else [mask]:
        inside = numbers(one).astype(float)
        if inside.shape != size:
            raise ValueError(f"A mask must have its picture's size {list(size)}; got {list(inside.shape)}.")
        x, y = np.arange(-1, size[1] + 1), np.arange(-1, size[0] + 1)
        for colour, width in (("#202020", 3.2), ("white", 1.5)):
            ax.contour(x, y, np.pad(inside, 1), [0.5], colors=colour, linewidths=width)


def draw_bar(axes: Axes | list[Axes], look: Look, over: bool) -> None:
    """Put a bar beside one panel, or one beside all; colours over pictures are shown on mid-grey."""
    low, high, cmap, _ = look
    if over:
        cmap = ListedColormap(lay_over(np.full((1, 256), 0.45), np.linspace(0, 1, 256)[None], cmap)[0])
    scale = ScalarMappable(Normalize(low, high), cmap)
    if isinstance(axes, list):
        bar = axes[0].figure.colorbar(scale, ax=axes, shrink=0.75, aspect=22, pad=0.015)
    else:
        bar = axes.figure.colorbar(scale, cax=axes.inset_axes((1.04, 0, 0.06, 1)))
    ticks = [low, high] if min(-low, high) < 0.15 * (high - low) else [low, 0, high]
    bar.set_ticks(ticks, labels=[in_words(tick, max(-low, high)) if tick else "0" for tick in ticks])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, pad=3)


def draw_panel(ax: Axes, values: np.ndarray, under: np.ndarray | None, look: Look, mask: Any, inches: float) -> None:
    """Draw values, or values over a picture, so many inches wide; say their range, or that they are zero."""
    shown = np.clip((values - look.low) / (look.high - look.low), 0, 1)
    if under is not None:
        heat = from_numpy(np.ascontiguousarray(shown))[None, None]
        heat = F.interpolate(heat, under.shape[:2], mode="bilinear", align_corners=False)[0, 0].numpy()
        shown = lay_over(under, heat, look.cmap)
    ax.imshow(shown, look.cmap, vmin=0, vmax=1)
    if mask is not None:
        draw_outline(ax, mask, shown.shape[:2])
    ax.set(xlim=(-0.5, shown.shape[1] - 0.5), ylim=(shown.shape[0] - 0.5, -0.5), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if not values.any():
        place = {"transform": ax.transAxes, "ha": "center", "va": "center", "path_effects": HALO}
        ax.text(0.5, 0.5, "zero\neverywhere", **place)
    elif look.say:
        ends = [in_words(end, np.abs(values).max()) for end in (values.min(), values.max())]
        narrow = len("".join(ends)) + 4 > 10 * inches
        ax.set_xlabel(("\nto " if narrow else " to ").join(ends), fontsize=11, color=SOFT, labelpad=4)
