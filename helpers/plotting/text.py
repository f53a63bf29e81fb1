"""Words in the colours of a map, and the same as bars; lessons import them from ``helpers.plotting``.

A coloured text is HTML with everything said twice: strong words are bold, words of the truth underlined, so that it can
be read without colours (in print, on GitHub, which drops them) and as plain text.
"""

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from helpers.plotting.style import (
    COLOURS,
    INK,
    SIGNED,
    SOFT,
    STYLE,
    CourseFigure,
    canvas,
    in_words,
    limits_of,
    numbers,
)

FAINT, STRONG = 0.05, 0.5  # shares of the scale: below is left without colour, from here on bold
Texts = Sequence[Sequence[str]]


class ColouredText:
    """A text that shows itself in a notebook: ``html`` where that can be shown, else the plain ``text``.

    Attributes:
        html: the text with its colours.
        text: the same without colours.
    """

    def __init__(self, html: str, text: str) -> None:
        self.html, self.text = html, text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text


def coloured_text(
    texts: Texts,
    maps: Any,
    titles: Sequence[str] | None = None,
    *,
    marks: Any = None,
    unit: str = "logits",
) -> ColouredText:
    """Return texts whose words have the colours of their values: red for, blue against, one scale for all.

    Args:
        texts: the words of each, without padding.
        maps: signed, one value a word: [N, L], or a list of [L]; what stands behind a text's last word is left out.
        titles: before each text.
        marks: bool, in the shape of ``maps``: words to underline, such as those that are known to count.
        unit: of the values, for the legend.

    Returns:
        The text, which shows itself as the last line of a cell.

    Raises:
        ValueError: nothing to show; not one map, title or mark for each text; fewer values than words; NaN.

    >>> from helpers.plotting import coloured_text
    >>> shown = coloured_text([["not", "bad", "."]], [[2.0, -1.0, 0.0]], marks=[[True, True, False]])
    >>> print(shown)
    _not_(+2) _bad_(-1).
    """
    values = _fitted(texts, maps, "maps")
    underlined = [np.zeros(len(text), bool) for text in texts] if marks is None else _fitted(texts, marks, "marks")
    if titles is not None and len(titles) != len(texts):
        raise ValueError(f"There are {len(titles)} titles for {len(texts)} texts; give one for each.")
    top = limits_of(values, signed=True)[1]
    rows, plain = [], []
    for number, text in enumerate(texts):
        words = list(zip(text, values[number] / top, underlined[number], strict=True))
        title = titles[number] if titles is not None else ""
        head = f"<strong>{html.escape(title)}</strong><br>" if title else ""
        spans = "".join(_gap(word) + _span(*entry) for word, entry in zip(text, words, strict=True)).strip()
        rows.append(f'<p style="line-height:1.9;margin:0 0 0.9em">{head}{spans}</p>')
        said = "".join(_gap(word) + _said(*entry, top) for word, entry in zip(text, words, strict=True)).strip()
        plain.append(textwrap.fill(f"{title}: {said}" if title else said, 110))
    coloured = any(one.any() for one in values)
    legend = _legend(top if coloured else 0.0, unit, marks is not None)
    return ColouredText(f"<div>{''.join(rows)}{legend}</div>", "\n\n".join(plain))


def _span(word: str, value: float, marked: bool) -> str:
    shown = html.escape(word)
    shown = f"<u>{shown}</u>" if marked else shown
    shown = f"<b>{shown}</b>" if abs(value) >= STRONG else shown
    if abs(value) < FAINT:
        return shown
    return f'<span style="{_paint(value)}">{shown}</span>'


def _paint(value: float) -> str:
    colour = mpl.colormaps[SIGNED](0.5 + 0.42 * value)  # the darkest ends would hide the word
    ink = "#ffffff" if _luminance(colour[:3]) < 0.179 else "#000000"  # the one with more contrast, 4.5 or better
    return f"background-color:{to_hex(colour)};color:{ink};border-radius:3px;padding:1px 3px"


def _luminance(colour: Sequence[float]) -> float:
    """Return the relative luminance of a colour, red, green and blue from 0 to 1, as WCAG 2 defines it."""
    shares = np.asarray(colour)
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def _said(word: str, value: float, marked: bool, top: float) -> str:
    word = f"_{word}_" if marked else word
    return f"{word}({value * top:+.2g})" if abs(value) >= FAINT else word


def _gap(word: str) -> str:
    return "" if word in {".", ",", "!", "?", ";", ":"} else " "


def _legend(top: float, unit: str, marked: bool) -> str:
    parts = ["<u>underlined</u>: known to count"] if marked else []
    if top:
        steps = "".join(f'<span style="{_paint(v)}">&nbsp;&nbsp;</span>' for v in np.linspace(-1, 1, 9))
        low, high = (in_words(end, top) for end in (-top, top))
        parts.insert(0, f"against {low} {steps} {high} for ({html.escape(unit)})")
    return f"<p><small>{'; '.join(parts)}</small></p>" if parts else ""


@mpl.rc_context(STYLE)
def word_bars(
    text: Sequence[str],
    maps: Mapping[str, Any],
    *,
    mark: Any = None,
    ylabel: str = "logits",
    alt: str | None = None,
) -> CourseFigure:
    """Draw one text along the axis, and above its words a bar for each value, a panel for each map, on one scale.

    Args:
        text: the words, without padding.
        maps: ``{name: values}``, signed, one value a word, [L]; what stands behind the last word is left out.
        mark: bool [L]: words to print in bold and darker bars.
        ylabel: the unit of the values.
        alt: the figure in words; made from each map's strongest words unless given.

    Returns:
        The figure, which shows itself as the last line of a cell.

    Raises:
        ValueError: no map or no word, fewer values than words, or NaN.

    >>> from helpers.plotting import word_bars
    >>> figure = word_bars(["not", "bad"], {"gradient": [2.0, -1.0]})
    >>> figure.alt
    "Bars over the words of a text. gradient: highest at 'not', 'bad'."
    """
    if not maps or not len(text):
        raise ValueError("There is nothing to draw; give a text with words and at least one map.")
    values = {name: _fitted([text], [map_], "maps")[0] for name, map_ in maps.items()}
    marked = np.zeros(len(text), bool) if mark is None else _fitted([text], [mark], "mark")[0].astype(bool)
    low, high = min(v.min() for v in values.values()), max(v.max() for v in values.values())
    figure, axes = canvas(len(maps), 1, size=(10.4, 1.25 * len(maps) + 1.0))
    panels = [axes] if len(maps) == 1 else list(axes[:, 0])
    for panel, (name, heights) in zip(panels, values.items(), strict=True):
        colours = [COLOURS[0] if value < 0 else COLOURS[1] for value in heights]
        bars = panel.bar(np.arange(len(text)), heights, color=colours, width=0.75)
        for bar, known in zip(bars, marked, strict=True):
            bar.set_alpha(1.0 if known else 0.45)
        panel.axhline(0, color=SOFT, linewidth=0.8)
        panel.spines["bottom"].set_visible(False)
        panel.set_title(name, loc="left")
        panel.set(xlim=(-0.6, len(text) - 0.4), ylim=(1.1 * min(low, 0), 1.1 * max(high, 0) or 1), xticks=[])
        panel.set_ylabel(ylabel)
    panels[-1].set_xticks(np.arange(len(text)), text, rotation=90)
    for label, known in zip(panels[-1].get_xticklabels(), marked, strict=True):
        label.set(weight="bold" if known else "normal", color=INK if known else SOFT)
    panels[-1].tick_params(axis="x", length=0)
    spoken = "; ".join(f"{name}: highest at {_highest(text, heights)}" for name, heights in values.items())
    figure.alt = alt or f"Bars over the words of a text. {spoken}."
    return figure


def _highest(text: Sequence[str], values: np.ndarray) -> str:
    order = np.argsort(-values, kind="stable")[:3]
    return ", ".join(f"{text[i]!r}" for i in order)


def _fitted(texts: Texts, maps: Any, what: str) -> list[np.ndarray]:
    """Return for each text its values, as many as it has words."""
    given = [numbers(one) for one in maps]
    if not len(texts) or len(given) != len(texts):
        raise ValueError(f"{what} has {len(given)} entries for {len(texts)} texts; give one for each of one or more.")
    for text, values in zip(texts, given, strict=True):
        if isinstance(text, str) or not len(text):
            raise ValueError("A text is empty or one string; give its words, text.split().")
        if values.ndim != 1 or len(values) < len(text):
            raise ValueError(f"{what} needs one value for each of {len(text)} words; got {list(values.shape)}.")
        if not np.isfinite(values[: len(text)]).all():
            raise ValueError(f"{what} holds NaN or infinite values; find out where they arise.")
    return [values[: len(text)] for text, values in zip(texts, given, strict=True)]
