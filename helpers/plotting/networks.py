"""A network drawn to scale, as the boxes of numbers that one picture becomes on its way through it."""

import io
from contextlib import ExitStack
from math import prod
from typing import Any, NamedTuple

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Polygon
from torch import Tensor, nn

from helpers.plotting.style import COLOURS, INK, SOFT, STYLE, CourseFigure

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
FILL = {"input": "#8c8c8c", "convolution": COLOURS[0], "pooling": COLOURS[5], "linear": COLOURS[2], "code": COLOURS[3]}
MEANING = {"code": "made in the model's code"}  # in the legend, where the name of a kind does not say enough
SIDE, THICK, STICK = 128.0, 32.0, 6.0  # points: the largest map's side, the most channels, a vector's width
SLANT = 0.26  # how far the back of a box is shifted to the right and up, as a share of its depth
LETTER, LINE, GAP = 9.2, 12.5, 7.0  # points: size of the letters, between lines, between columns
WIDEST = 800.0  # points of a row; what does not fit goes into the next


class _Step(NamedTuple):
    """One box: the kind and name of what made it, its shape without the batch, its label line by line."""

    kind: str
    name: str
    shape: tuple[int, ...]
    label: tuple[str, ...]


class _Vector(CourseFigure):
    """A figure that a notebook shows as SVG: sharp at any size, its words selectable."""

    def _ipython_display_(self, **options: Any) -> None:
        from IPython.display import display

        svg = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.alt}):
            self.savefig(svg, format="svg", metadata={"Title": self.alt, "Date": None})
        kind = "image/svg+xml"
        display({kind: svg.getvalue(), "text/plain": self.alt}, metadata={kind: {"alt": self.alt}}, raw=True, **options)


@mpl.rc_context(STYLE)
def draw_network(model: nn.Module, size: tuple[int, int, int]) -> CourseFigure:
    """Draw a network's feature maps as boxes to scale, in the order in which its layers run.

    One empty picture goes through the network, and hooks note what each layer makes of it. A box is as high and as
    deep as its maps and as thick as they are many; a vector is a bar on a scale of its own. Drawn are the input, each
    convolution and linear layer, and whatever else changes how many numbers there are. Shortcuts and branches are not
    drawn. The network may live on any device, ``"meta"`` included, and is left as it was.

    Args:
        model: takes pictures [1, C, H, W].
        size: (C, H, W) of a picture.

    Returns:
        The figure, which shows itself as the last line of a cell.

    Raises:
        TypeError: not a module.
        ValueError: ``size`` is not three positive numbers, the model does not run on such a picture, or nothing in it
            can be drawn.

    >>> from torch import nn
    >>> from helpers.plotting import draw_network
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    >>> figure = draw_network(net, (1, 6, 6))
    >>> figure.alt
    'Sequential as 4 boxes to scale. input: 1 × 6 × 6; conv 3×3: 4 × 4 × 4; pool: 4 × 2 × 2; linear: 2.'
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"The model is a {type(model).__name__}; give a torch.nn.Module, whose layers can be drawn.")
    steps = _steps(model, size)
    sides = [max(step.shape[1:]) for step in steps if len(step.shape) == 3]
    pixel = SIDE / max(sides)
    channel = THICK / max(step.shape[0] for step in steps if len(step.shape) == 3)
    unit = SIDE / max((step.shape[0] for step in steps if len(step.shape) == 1), default=1)

    def sized(step: _Step) -> tuple[float, float, float]:
        """Return thickness, height and depth in points."""
        if len(step.shape) == 1:
            return STICK, step.shape[0] * unit, STICK
        return step.shape[0] * channel, step.shape[1] * pixel, step.shape[2] * pixel

    rows: list[list[tuple[_Step, float]]] = [[]]  # of steps and the widths of their columns
    for step in steps:
        thick, _, deep = sized(step)
        width = GAP + max(thick + SLANT * deep, 0.6 * LETTER * max(map(len, step.label)))
        if rows[-1] and sum(w for _, w in rows[-1]) + width > WIDEST:
            rows.append([])
        rows[-1].append((step, width))

    height = SIDE * (1 + SLANT) + 5 * LINE  # of a row, with its labels
    wide, high = max(sum(w for _, w in row) for row in rows) + 2 * GAP, height * len(rows) + 2.5 * LINE
    wide = max(wide, 430.0)  # the legend's own width
    figure = _Vector(figsize=(wide / 72, high / 72))
    ax = figure.add_axes((0, 0, 1, 1))  # one unit of the drawing is one point
    ax.set(xlim=(0, wide), ylim=(0, high))
    ax.set_axis_off()
    for i, row in enumerate(rows):
        middle, left = high - height * i - GAP - SIDE * (1 + SLANT) / 2, GAP
        right = left + sum(w for _, w in row)
        ax.annotate("", (right, middle), (left, middle), arrowprops={"arrowstyle": "->", "color": SOFT}, zorder=0)
        for step, width in row:
            _box(ax, left + width / 2, middle, *sized(step), step)
            left += width
    _legend(ax, steps)
    boxes = "; ".join(f"{step.name}: {' × '.join(map(str, step.shape))}" for step in steps)
    figure.alt = f"{type(model).__name__} as {len(steps)} boxes to scale. {boxes}."
    return figure


@torch.no_grad()
def _steps(model: nn.Module, size: tuple[int, int, int]) -> list[_Step]:
    size = tuple(size)
    if len(size) != 3 or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError(f"size is (C, H, W) of one picture, for example (3, 224, 224), not {size}.")
    steps = [_step("input", "input", size)]

    def note(module: nn.Module, inputs: tuple, output: Any) -> None:
        if not inputs or not isinstance(inputs[0], Tensor) or not isinstance(output, Tensor):
            return
        given, made = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
        if prod(given) not in {prod(step.shape) for step in steps} and len(given) in (1, 3):
            steps.append(_step("code", "in code", given))  # no module made this: pooling by F, torch.cat, a mean
        if isinstance(module, CONVOLUTIONS):
            steps.append(_step("convolution", f"conv {_times(module.kernel_size)}", made, module.stride))
        elif isinstance(module, nn.Linear) and len(made) == 1:
            steps.append(_step("linear", "linear", made))
        elif prod(made) != prod(given) and len(made) in (1, 3):
            pool = "Pool" in type(module).__name__
            steps.append(_step("pooling" if pool else "code", "pool" if pool else type(module).__name__, made))

    modes = [(module, module.training) for module in model.modules()]
    anything = next(model.parameters(), torch.zeros(()))
    model.eval()
    try:
        with ExitStack() as stack:
            for module in model.modules():
                if not module._modules:
                    stack.callback(module.register_forward_hook(note).remove)
            model(torch.zeros(1, *size, device=anything.device, dtype=anything.dtype))
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} stopped on a picture {size} with {type(error).__name__}: {error}. "
            "Give the size that it was made for."
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    if len(steps) == 1:
        raise ValueError(f"{type(model).__name__} has no convolution, pooling or linear layer to draw.")
    return steps


def _step(kind: str, name: str, shape: tuple[int, ...], stride: tuple[int, ...] = (1, 1)) -> _Step:
    if len(shape) == 1:
        return _Step(kind, name, shape, (name, f"{shape[0]:,}"))
    if kind == "pooling":  # as many maps as before
        return _Step(kind, name, shape, (name, _times(shape[1:])))
    many = "channel" if kind == "input" else "map"
    label = (name, f"{shape[0]} {many}{'s' * (shape[0] > 1)}", _times(shape[1:]))
    return _Step(kind, name, shape, (*label, f"stride {max(stride)}") if max(stride) > 1 else label)


def _times(numbers: tuple[int, ...]) -> str:
    return "×".join(map(str, numbers))


def _box(ax: Axes, x: float, y: float, thick: float, high: float, deep: float, step: _Step) -> None:
    """Draw a box with its centre at (x, y), seen from the right and above, and its label below."""
    shift, half = SLANT * deep / 2, high / 2
    left, right, low, top = x - thick / 2 - shift, x + thick / 2 - shift, y - half - shift, y + half - shift
    back = 2 * shift
    faces = {
        "front": (0.0, [(left, low), (right, low), (right, top), (left, top)]),
        "top": (0.45, [(left, top), (right, top), (right + back, top + back), (left + back, top + back)]),
        "right": (0.7, [(right, low), (right + back, low + back), (right + back, top + back), (right, top)]),
    }
    for face, (white, corners) in faces.items():
        colour = [white + (1 - white) * part for part in to_rgb(FILL[step.kind])]
        ax.add_patch(Polygon(corners, facecolor=colour, edgecolor=INK, linewidth=0.5, joinstyle="round", gid=face))
    ax.text(x, low - 3, "\n".join(step.label), ha="center", va="top", fontsize=LETTER, linespacing=1.15)


def _legend(ax: Axes, steps: list[_Step]) -> None:
    kinds = [kind for kind in FILL if any(step.kind == kind for step in steps)]
    x, y = 2 * GAP, LINE
    for kind in kinds:
        words = MEANING.get(kind, kind)
        ax.add_patch(Polygon([(x, y), (x + 9, y), (x + 9, y + 9), (x, y + 9)], facecolor=FILL[kind]))
        ax.text(x + 13, y + 4.5, words, va="center", fontsize=LETTER + 1, color=SOFT)
        x += 30 + 0.6 * (LETTER + 1) * len(words)
