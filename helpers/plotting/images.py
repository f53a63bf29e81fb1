"""Pictures, maps, and maps laid over pictures, in the course's one style. Nothing here knows of networks.

Pictures and maps are torch tensors or arrays: [H, W], [1, H, W], [3, H, W] or [H, W, 3], uint8 or float. A
map is scaled for the eye and says its range; a signed one is centred on zero, red for and blue against; one
that is zero everywhere says so. NaN or infinite values are a ValueError.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch.nn.functional as F
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from torch import from_numpy

from helpers.plotting.style import (
    HEAT,
    SIGNED,
    SOFT,
    STYLE,
    CourseFigure,
    as_array,
    canvas,
    in_words,
    limits_of,
    numbers,
    split_batch,
)

HALO = [patheffects.withStroke(linewidth=4, foreground="white")]
WIDEST = 10.4  # inches


@mpl.rc_context(STYLE)
def grid(
    images: Any,
    titles: Sequence | None = None,
    *,
    over: Any = None,
    masks: Sequence | None = None,
    columns: int | None = None,
    row_labels: Sequence[str] | None = None,
    col_labels: Sequence[str] | None = None,
    cmap: str | None = None,
    signed: bool | None = None,
    colourbar: bool = False,
    shared_scale: bool = False,
    width: float | None = None,
    alt: str | None = None,
) -> CourseFigure:
    """Draw pictures or maps in rows and columns; with ``over``, each map laid over its picture.

    Args:
        images: a batch [N, H, W], [N, 1, H, W], [N, 3, H, W] or [N, H, W, 3], or a list of such pictures or maps, uint8
            or float. A map is scaled by itself (or see ``shared_scale``), a picture in [0, 1] is not. None in the list,
            with ``over``: that picture alone.
        titles: above each panel.
        over: pictures beneath the maps, a batch or list of N, or one for all; maps are resized to them.
        masks: for each panel None, a bool mask [H, W] or several, drawn as an outline.
        columns: how many panels stand in a row; chosen to suit N unless given.
        row_labels: left of each row.
        col_labels: above each column.
        cmap: matplotlib's colour map, grey unless given; over pictures it is always the course's own.
        signed: centre the colours on zero; None: where a map over a picture has negative values.
        colourbar: a small bar beside each panel, in place of the range below it.
        shared_scale: one scale, and one bar, for all maps of the figure.
        width: of the figure, in inches.
        alt: the figure in words; made from the titles unless given.

    Returns:
        The figure, which shows itself as the last line of a cell.

    Raises:
        ValueError: nothing to draw, a wrong shape, NaN, or not one title, picture or mask for each panel.

    >>> import numpy as np
    >>> from helpers.plotting import grid
    >>> figure = grid(np.zeros((3, 28, 28)), ["a", "b", "c"])
    >>> figure.alt, len(figure.axes)
    ('Pictures, 3 panels: a, b, c.', 3)
    """
    over_pictures = over is not None
    kind = "map" if over_pictures else "picture"
    maps = [None if image is None else as_array(image, kind) for image in split_batch(images)]
    unders = [as_array(one) for one in split_batch(over, one_picture=True)] if over_pictures else [None]
    unders = unders * len(maps) if len(unders) == 1 else unders
    for name, given in (("images", maps or ()), ("titles", titles), ("over", unders), ("masks", masks)):
        if given is not None and (len(given) != len(maps) or not maps):
            raise ValueError(f"{name} has {len(given)} entries for {len(maps)} panels; give one for each.")

    panels = [(under, None) if m is None else (m, under) for m, under in zip(maps, unders, strict=True)]
    asked = [(signed, cmap) if m is not None and m.ndim == 2 else (None, None) for m in maps]  # pictures are no maps
    looks = [look_of(values, under is not None, *one) for (values, under), one in zip(panels, asked, strict=True)]
    mapped = [i for i, values in enumerate(maps) if values is not None and values.ndim == 2]
    if shared_scale and mapped:
        looks = share_look(looks, maps, mapped)

    rows = -(-len(maps) // 8)
    columns = columns or (len(col_labels) if col_labels else -(-len(maps) // rows))
    rows = -(-len(maps) // columns)
    width = width or min(WIDEST, 3.3 * columns)
    tallest = max(values.shape[0] / values.shape[1] for values, _ in panels)
    figure, axes = canvas(rows, columns, size=(width, rows * (width / columns * tallest + 0.5)))
    figure.set_layout_engine("compressed")
    axes = list(np.ravel(axes))
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for i, (ax, look) in enumerate(zip(axes, looks, strict=False)):
        bar = colourbar and not shared_scale and i in mapped
        look = look._replace(say=look.say and not bar)
        draw_panel(ax, *panels[i], look, masks[i] if masks else None, width / columns)
        head = [str(labels[i]) for labels in (col_labels if i < columns else None, titles) if labels]
        letters = max(6, int(10 * width / columns))
        ax.set_title("\n".join(textwrap.fill(line, letters, break_long_words=False) for line in head))
        if row_labels and i % columns == 0:
            label = textwrap.fill(str(row_labels[i // columns]), 14)
            ax.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        if bar:
            draw_bar(ax, look, over_pictures)
    if shared_scale and mapped:
        draw_bar(axes, looks[mapped[0]], over_pictures)
    named = ", ".join(map(str, titles or [*(row_labels or ()), *(col_labels or ())]))
    what = "Maps over pictures" if over_pictures else "Pictures"
    figure.alt = alt or f"{what}, {len(maps)} panel{'s' * (len(maps) > 1)}{': ' * bool(named)}{named}."
    return figure


@mpl.rc_context(STYLE)
def overlay(
    image: Any,
    heat: Any,
    *,
    title: str = "",
    ax: Axes | None = None,
    mask: Any = None,
    signed: bool | None = None,
    alt: str | None = None,
) -> CourseFigure | Axes:
    """Draw a map over its picture, with the outline of a known mask.

    Args:
        image: the picture, [H, W], [1, H, W], [3, H, W] or [H, W, 3]; uint8, or float in [0, 1].
        heat: the map, [h, w] or [1, h, w]; enlarged to the picture's size, and scaled by itself.
        title: above the panel.
        ax: matplotlib's Axes to draw into; None makes a figure.
        mask: bool [H, W], or several of them, drawn as an outline.
        signed: centre the colours on zero; None: where the map has negative values.
        alt: the figure in words; made from the title unless given.

    Returns:
        The figure, or the given ``ax`` with the panel drawn into it.

    Raises:
        ValueError: a wrong shape, a mask of another size than the picture, or NaN.

    >>> import numpy as np
    >>> from helpers.plotting import overlay
    >>> figure = overlay(np.zeros((32, 32, 3)), np.ones((4, 4)), title="Grad-CAM")
    >>> figure.alt
    'Maps over pictures, 1 panel: Grad-CAM.'
    """
    if ax is None:
        return grid([heat], [title], over=[image], masks=[mask], signed=signed, width=4.2, alt=alt)
    values, under = as_array(heat, "map"), as_array(image)
    draw_panel(ax, values, under, look_of(values, True, signed), mask, inches=3.0)
    ax.set_title(title)
    return ax


def compare(
    image: Any,
    heats: Mapping[str, Any],
    *,
    mask: Any = None,
    title: str = "picture",
    signed: bool | None = None,
    shared_scale: bool = False,
    columns: int | None = None,
    alt: str | None = None,
) -> CourseFigure:
    """Draw a picture, and beside it each named map laid over it.

    Args:
        image: the picture, [H, W], [1, H, W], [3, H, W] or [H, W, 3]; uint8, or float in [0, 1].
        heats: ``{name: map}``, each [h, w] or [1, h, w]; enlarged to the picture's size.
        mask: bool [H, W], or several of them, drawn as an outline on every map.
        title: above the picture itself.
        signed: centre the colours on zero; None: where a map has negative values.
        shared_scale: one scale, and one bar, for all maps; else each is scaled by itself.
        columns: how many panels stand in a row; chosen to suit unless given.
        alt: the figure in words; made from the names unless given.

    Returns:
        The figure, which shows itself as the last line of a cell.

    Raises:
        ValueError: a wrong shape, a mask of another size than the picture, or NaN.

    >>> import numpy as np
    >>> from helpers.plotting import compare
    >>> figure = compare(np.zeros((32, 32, 3)), {"CAM": np.ones((4, 4)), "edges": np.ones((32, 32))})
    >>> figure.alt
    'Maps over pictures, 3 panels: picture, CAM, edges.'
    """
    return grid(
        [None, *heats.values()],
        [title, *heats],
        over=[image],
        masks=[None] + [mask] * len(heats),
        columns=columns,
        signed=signed,
        shared_scale=shared_scale,
        alt=alt,
    )


# --- what a figure is made of ---


class Look(NamedTuple):
    """How values become colours: the ends of the scale, the colour map, whether to write the range below the panel."""

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


def share_look(looks: list[Look], maps: list, mapped: list[int]) -> list[Look]:
    """Give the maps numbered in ``mapped`` one look; it is signed as soon as one of them is."""
    signed = any(looks[i].cmap == SIGNED for i in mapped)
    limits = limits_of([maps[i] for i in mapped], signed)
    cmap = SIGNED if signed else looks[mapped[0]].cmap
    return [Look(*limits, cmap, True) if i in mapped else look for i, look in enumerate(looks)]


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
