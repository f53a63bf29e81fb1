"""Pictures, maps over pictures, curves, scores and words, in the course's one style.

Only :func:`draw_network` runs a network, once, to see the sizes of its layers.
"""

from helpers.plotting.images import compare, grid, overlay
from helpers.plotting.lines import LiveCurve, curves
from helpers.plotting.networks import draw_network
from helpers.plotting.scores import intervals
from helpers.plotting.style import canvas, use_style
from helpers.plotting.text import coloured_text, word_bars

__all__ = [
    "LiveCurve",
    "canvas",
    "coloured_text",
    "compare",
    "curves",
    "draw_network",
    "grid",
    "intervals",
    "overlay",
    "use_style",
    "word_bars",
]
