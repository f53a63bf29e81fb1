"""Curves in the course's style, also live ones; lessons import them from ``helpers.plotting``."""

import time
import uuid
from collections.abc import Mapping
from typing import Any, Literal

import matplotlib as mpl
import numpy as np

from helpers.plotting.style import STYLE, CourseFigure, canvas, numbers


def _label_ends(axes: Any, ends: list[tuple[str, float, float, Any]]) -> None:
    """Write each curve's name at its end, a line's height apart where two would touch."""
    axes.figure.draw_without_rendering()  # the layout decides where on paper the ends lie
    points = 72 / axes.figure.dpi
    placed = -np.inf
    for label, x, y, colour in sorted(ends, key=lambda end: end[2]):
        height = axes.transData.transform((x, y))[1] * points
        placed = max(height, placed + 15)
        axes.annotate(
            label,
            (x, y),
            (7, placed - height),
            textcoords="offset points",
            color=colour,
            va="center",
            weight="bold",
        )


@mpl.rc_context(STYLE)
def curves(
    lines: Mapping[str, Any],
    *,
    xlabel: str = "step",
    ylabel: str = "loss",
    log: bool | Literal["x", "y", "xy"] = False,
    title: str | None = None,
    size: tuple[float, float] = (8.0, 3.6),
    alt: str | None = None,
) -> CourseFigure:
    """Draw curves, each named at its end in its own colour.

    Args:
        lines: ``{"name": values [N]}`` or ``{"name": (x [N], y [N])}``.
        xlabel: what runs along the horizontal axis, with its unit.
        ylabel: what runs along the vertical axis, with its unit.
        log: logarithmic axes: True or "y", "x", "xy".
        title: above the figure.
        size: of the figure, in inches.
        alt: the figure in words; made from the names and end values unless given.

    Returns:
        The figure, which shows itself as the last line of a cell.

    Raises:
        ValueError: no curve, an empty curve, or nothing finite (positive, on a log axis) in it.

    >>> from helpers.plotting import curves
    >>> figure = curves({"train": [2.0, 1.0, 0.5], "test": [2.5, 1.5, 1.0]})
    >>> figure.alt
    'Curves of loss over step: train ends at 0.5; test ends at 1.'
    """
    if not lines:
        raise ValueError("There is no curve to draw; give at least one: curves({'name': values}).")
    figure, axes = canvas(size=size)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title or "")
    logs = "y" if log is True else log or ""
    axes.set(xscale="log" if "x" in logs else "linear", yscale="log" if "y" in logs else "linear")
    ends = []
    for label, values in lines.items():
        x, y = values if isinstance(values, tuple) else (None, values)
        y = numbers(y).ravel().astype(float)
        x = np.arange(1, len(y) + 1) if x is None else numbers(x).ravel()
        good = np.flatnonzero(np.isfinite(y) & (y > 0 if "y" in logs else True))
        if len(good) == 0:
            raise ValueError(f"The curve {label!r} has no finite value{' above zero' * ('y' in logs)} to draw.")
        colour = axes.plot(x, np.where(np.isfinite(y), y, np.nan))[0].get_color()
        ends.append((label, x[good[-1]], y[good[-1]], colour))
    _label_ends(axes, ends)
    spoken = "; ".join(f"{label} ends at {y:.3g}" for label, _, y, _ in ends)
    figure.alt = alt or f"Curves of {ylabel} over {xlabel}: {spoken}."
    return figure


class LiveCurve:
    """A curve that grows while a loop runs, and stays in the saved notebook as one plain picture.

    Outside a notebook it only keeps the numbers. Calling it adds one value to each curve that is named.

    Args:
        every: seconds between two drawings, at least.
        options: ``xlabel``, ``ylabel``, ``log``, ``title``, ``size`` and ``alt``, what :func:`curves` takes.

    Attributes:
        values: ``{name: list of numbers}``, what was added so far.

    >>> from helpers.plotting import LiveCurve
    >>> with LiveCurve(log=True) as live:
    ...     for step in range(3):
    ...         live(loss=1 / (step + 1), accuracy=0.5)
    >>> live.values["accuracy"]
    [0.5, 0.5, 0.5]
    """

    def __init__(self, *, every: float = 0.5, **options: Any) -> None:
        self.values: dict[str, list[float]] = {}
        self._every, self._options, self._next = every, options, 0.0
        self._id, self._shown = uuid.uuid4().hex, False

    def __enter__(self) -> "LiveCurve":
        self._next = time.monotonic() + self._every
        return self

    def __call__(self, **values: float) -> None:
        """Add one value to each named curve, and redraw if the last drawing is old.

        Args:
            values: ``name=number``; an underscore in a name is shown as a space.
        """
        for label, value in values.items():
            self.values.setdefault(label.replace("_", " "), []).append(float(value))
        if time.monotonic() >= self._next:
            self._draw()

    def __exit__(self, *error: object) -> None:
        self._draw()

    def _draw(self) -> None:
        from IPython import get_ipython

        shell = get_ipython()
        if not self.values or shell is None or not hasattr(shell, "kernel"):
            return
        started = time.monotonic()
        try:
            figure = curves(self.values, **self._options)
        except ValueError:  # nothing finite yet
            return
        figure._ipython_display_(display_id=self._id, update=self._shown)
        self._shown = True
        now = time.monotonic()
        self._next = now + max(self._every, 5 * (now - started))  # draw for a sixth of the time
