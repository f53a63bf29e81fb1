"""Pictures, maps, and maps laid over pictures, in the course's one style. Nothing here knows of networks.

Pictures and maps are torch tensors or arrays: [H, W], [1, H, W], [3, H, W] or [H, W, 3], uint8 or float. A
map is scaled for the eye and says its range; a signed one is centred on zero, red for and blue against; one
that is zero everywhere says so. NaN or infinite values are a ValueError.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from helpers.curves import LiveCurve, curves
from helpers.figures import STYLE, CourseFigure, as_array, canvas, split_batch, use_style
from helpers.intervals import intervals
from helpers.panels import SIGNED, Look, draw_bar, draw_panel, limits_of, look_of
from helpers.texts import coloured_text, word_bars

__all__ = [
    "LiveCurve",
    "canvas",
    "coloured_text",
    "compare",
    "curves",
    "grid",
    "intervals",
    "overlay",
    "use_style",
    "word_bars",
]
WIDEST = 10.4  # inches


def _share(looks: list[Look], maps: list, mapped: list[int]) -> list[Look]:
    """Give the maps numbered in ``mapped`` one look; signed as soon as one of them is."""
    signed = any(looks[i].cmap == SIGNED for i in mapped)
    limits = limits_of([maps[i] for i in mapped], signed)
    cmap = SIGNED if signed else looks[mapped[0]].cmap
    return [Look(*limits, cmap, True) if i in mapped else look for i, look in enumerate(looks)]


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
        images: batch [N, ...] or list. A map is scaled by itself (or see ``shared_scale``), a picture in
            [0, 1] is not. None in the list, with ``over``: that picture alone.
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

    Raises:
        ValueError: nothing to draw, a wrong shape, NaN, or not one title, picture or mask for each panel.
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
        looks = _share(looks, maps, mapped)

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
    """Draw a map over its picture, with the outline of a known mask; arguments as in :func:`grid`.

    Returns the figure, or the given ``ax`` with the panel drawn into it.
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
    """Draw a picture, and beside it each named map laid over it; arguments as in :func:`grid`."""
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
