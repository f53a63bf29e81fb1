"""Means with their intervals, row by row, in the course's style; lessons import it from ``helpers.plotting``."""

from collections.abc import Collection, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np

from helpers.plotting.style import COLOURS, SOFT, STYLE, CourseFigure, canvas

Means = Mapping[str, Mapping[str, tuple[float, ...]]]
PALE, GREY = "#f5f5f5", "#737373"
MARKERS = "oDs^vP"  # of boards beside each other: colour is not all that tells them apart
HEIGHT, GAP = 0.25, 0.7  # of a row, in inches; between methods and baselines, in rows
SPREAD = 0.36  # of the dots in a row where there are several, in rows


@mpl.rc_context(STYLE)
def intervals(
    rows: Means | Mapping[str, Means],
    *,
    baselines: Collection[str] = (),
    less: Collection[str] = (),
    columns: Mapping[str, str] | None = None,
    title: str | None = None,
    note: str = "",
    width: float = 10.4,
    alt: str | None = None,
) -> CourseFigure:
    """Draw a scoreboard: a panel for each column, and in each row a dot with its 95 % interval.

    Args:
        rows: ``{row: {column: (mean, half width)}}``, shares from 0 to 1, drawn in per cent; NaN where there is none.
            An interval is drawn no further than from 0 to 100. One that is not even is given as ``(mean, low, high)``.
            Several such boards, ``{name: rows}``, stand beside each other in colours.
        baselines: rows to set off in grey, below; through each panel runs a line at the best of them.
        less: the columns of which less is better.
        columns: ``{column: what to write above it}``, also which columns are drawn and in what order; all unless given.
        title: above the figure.
        note: a sentence below the figure, such as what a mark at a row's name means.
        width: of the figure, in inches.
        alt: the figure in words; made from the best rows unless given.

    Returns:
        The figure, which shows itself as the last line of a cell.

    Raises:
        ValueError: there is no row, a row lacks a column, or a column has no number.

    >>> from helpers.plotting import intervals
    >>> rows = {"Grad-CAM": {"hit": (0.90, 0.03)}, "centre": {"hit": (0.25, 0.05)}}
    >>> figure = intervals(rows, baselines=["centre"])
    >>> figure.alt.split(";")[1]
    ' the best of each column: hit: Grad-CAM 90, best baseline 25.'
    """
    boards = _boards(rows)
    methods = list(dict.fromkeys(row for board in boards.values() for row in board if row not in baselines))
    below = list(dict.fromkeys(row for board in boards.values() for row in board if row in baselines))
    first = next(iter(boards.values()))
    columns = columns or {column: column for column in next(iter(first.values()))}
    values = {column: _numbers(boards, [*methods, *below], column) for column in columns}
    y = np.arange(len(methods) + len(below), dtype=float)
    y[len(methods) :] += GAP if methods else 0
    labelled = len(boards) > 1
    figure, axes = canvas(
        1, len(columns), size=(width, HEIGHT * (y[-1] + 1) + 1.1 + 0.3 * labelled + 0.3 * bool(title))
    )
    axes = [axes] if len(columns) == 1 else list(axes[0])
    for axis, (column, head) in zip(axes, columns.items(), strict=True):
        _panel(axis, y, values[column], len(methods), column in less, labelled)
        axis.set_title(f"{head}\n", loc="left")
        axis.text(0, 1.008, "less is better" if column in less else "more is better", color=SOFT, size=10,
                  transform=axis.transAxes, va="bottom")  # fmt: skip
        axis.set_yticks(y, [*methods, *below] if axis is axes[0] else [])
    for label in axes[0].get_yticklabels()[len(methods) :]:
        label.set_color(GREY)
    legend = "dot and bar: mean and its 95 % interval, in per cent" + "; dashed: the best baseline" * bool(below)
    figure.supxlabel(f"{legend}\n{note}" if note else legend, color=SOFT, size=10)
    if labelled:
        looks = list(zip(COLOURS, MARKERS, strict=True))[: len(boards)]
        dots = [mpl.lines.Line2D([], [], color=colour, marker=marker) for colour, marker in looks]
        figure.legend(dots, list(boards), loc="outside upper right", ncols=len(boards))
    if title:
        figure.suptitle(title, size=13)
    figure.alt = alt or _in_words(values, boards, methods, below, columns, less)
    return figure


def _panel(axis: Any, y: np.ndarray, values: np.ndarray, methods: int, less: bool, labelled: bool) -> None:
    """Draw ``values`` [boards, rows, 3], in per cent, at heights ``y``; the rows from ``methods`` on are baselines."""
    for band in y[::2]:
        axis.axhspan(band - 0.5, band + 0.5, color=PALE, lw=0, zorder=0)
    best = _best(values[:, methods:, 0], less)
    shift = np.linspace(-SPREAD / 2, SPREAD / 2, len(values)) if labelled else [0.0]
    same = np.allclose(values[:, methods:], values[0, methods:], rtol=0, atol=1e-3, equal_nan=True)
    for number, (board, off) in enumerate(zip(values, shift, strict=True)):
        look = {"ms": 5.5 if MARKERS[number] == "o" else 4.8, "elinewidth": 2, "clip_on": False, "zorder": 3}
        _dots(axis, board[:methods], y[:methods] + off, fmt=MARKERS[number], color=COLOURS[number], **look)
        if not same or number == 0:
            _dots(axis, board[methods:], y[methods:] + off * (not same), fmt=MARKERS[number], color=GREY, **look)
        for place in y[np.isnan(board[:, 0])]:
            axis.text(0.02, place + off, "no such map", color=COLOURS[number] if labelled else SOFT, size=8.5,
                      style="italic", va="center", transform=axis.get_yaxis_transform())  # fmt: skip
    if best is not None:
        axis.axvline(best, color=GREY, ls=(0, (4, 3)), lw=1.3, zorder=1)
    reach = np.nanmax(values)
    axis.set(xlim=(0, min(1.06 * reach, 103)), ylim=(y[-1] + 0.5, -0.5))
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=True))
    axis.tick_params(left=False)


def _dots(axis: Any, numbers: np.ndarray, y: np.ndarray, **look: Any) -> None:
    mean, low, high = numbers.T
    ends = np.nan_to_num([mean - low.clip(0), high.clip(None, 100) - mean]).clip(0)  # a share ends at 0 and at 100
    axis.errorbar(mean, y, xerr=ends, **look)


def _boards(rows: Any) -> dict[str, Means]:
    """Return boards by name, also of a single one, after a look at their depth."""
    inner = next((value for board in rows.values() for value in board.values()), None)
    if inner is None:
        raise ValueError("There is no row to draw; give {row: {column: (mean, half width)}}.")
    return dict(rows) if isinstance(inner, Mapping) else {"": rows}


def _numbers(boards: Mapping[str, Means], rows: list[str], column: str) -> np.ndarray:
    """Return a column's means and ends of intervals in per cent, [boards, rows, 3]; NaN where a board lacks the row."""
    gap = {column: (np.nan, np.nan)}
    try:
        values = [[_ends(*board.get(row, gap)[column]) for row in rows] for board in boards.values()]
    except KeyError:
        raise ValueError(
            f"A row has no column {column!r}; give every row all columns, NaN where there is none."
        ) from None
    values = 100 * np.array(values, dtype=float)
    if np.isnan(values[..., 0]).all():
        raise ValueError(f"The column {column!r} has no number to draw.")
    return values


def _ends(mean: float, half_or_low: float, high: float | None = None) -> tuple[float, float, float]:
    """Return mean, lower and upper end of an interval that is given by its half width, or by both ends."""
    return (mean, mean - half_or_low, mean + half_or_low) if high is None else (mean, half_or_low, high)


def _best(means: np.ndarray, less: bool) -> float | None:
    means = means[~np.isnan(means)]
    return None if means.size == 0 else float(means.min() if less else means.max())


def _in_words(
    values: dict[str, np.ndarray], boards: Mapping, methods: list, below: list, columns: Mapping, less: Collection
) -> str:
    spoken = []
    for column, numbers in values.items():
        for board, means in zip(boards, numbers[:, : len(methods), 0], strict=True):
            if np.isnan(means).all():
                continue
            best = np.nanargmin(means) if column in less else np.nanargmax(means)
            line = _best(numbers[:, len(methods) :, 0], column in less)
            told = f", best baseline {line:.0f}" if line is not None else ""
            spoken.append(f"{columns[column]}{f' ({board})' * bool(board)}: {methods[best]} {means[best]:.0f}{told}")
    counted = f"{len(methods)} methods" + f" and {len(below)} baselines" * bool(below)
    return f"Scoreboard of {counted} in per cent; the best of each column: {'; '.join(spoken)}."
