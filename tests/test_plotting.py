"""Plotting: what it accepts, what it says, what it refuses, and that a notebook shows each figure once."""

import base64
import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from helpers import plotting
from helpers.course import ROOT
from helpers.plotting.images import lay_over, look_of
from helpers.plotting.style import SIGNED, as_array, in_words, split_batch

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
HEAT = RNG.random((6, 8)) * 3.21


def panels(figure):
    return [ax for ax in figure.axes if ax.axison and ax.images]


def texts(ax):
    return [ax.get_title(), ax.get_xlabel(), *(text.get_text() for text in ax.texts)]


@pytest.mark.parametrize(
    "picture",
    [
        PICTURE,
        PICTURE / 255,
        PICTURE[..., 0],
        torch.from_numpy(PICTURE).permute(2, 0, 1),
        torch.rand(3, 24, 32, requires_grad=True),
        torch.rand(1, 24, 32, dtype=torch.bfloat16),
        torch.randn(1, 3, 24, 32),
        np.dstack([PICTURE, PICTURE[..., :1]]),
        Image.fromarray(PICTURE),
    ],
)
def test_every_kind_of_picture_and_map(picture):
    for heat in (
        HEAT,
        torch.tensor(HEAT, requires_grad=True)[None],
        torch.tensor(HEAT).half(),
        np.ones((6, 8), int),
    ):
        figure = plotting.overlay(picture, heat)
        assert figure.axes[0].images[0].get_array().shape == (24, 32, 3)
    assert len(panels(plotting.grid([picture, picture]))) == 2


def test_nothing_is_changed():
    picture, heat = PICTURE.copy(), torch.tensor(HEAT, requires_grad=True)
    plotting.compare(picture, {"a": heat, "b": -heat}, shared_scale=True)
    assert (picture == PICTURE).all() and heat.grad is None and heat.requires_grad
    assert torch.equal(heat.detach(), torch.tensor(HEAT))


def test_a_batch_is_split_and_a_single_picture_is_not():
    assert len(split_batch(torch.zeros(10, 1, 28, 28))) == 10
    assert len(split_batch(torch.zeros(3, 28, 28))) == 3
    assert len(split_batch(torch.zeros(3, 28, 28), one_picture=True)) == 1
    assert len(split_batch(PICTURE)) == len(split_batch(HEAT)) == 1
    assert as_array(torch.zeros(3, 28, 28)).shape == (28, 28, 3)


def test_the_range_stands_below_a_map_and_not_below_a_picture():
    heat = np.linspace(0, 3.21, 48).reshape(6, 8)
    below = [ax.get_xlabel() for ax in panels(plotting.compare(PICTURE, {"map": heat, "signed": heat - 1}))]
    assert below == ["", "0.00 to 3.21", "\N{MINUS SIGN}1.00 to 2.21"]
    assert panels(plotting.grid([heat / 3.21]))[0].get_xlabel() == ""
    assert panels(plotting.grid([heat / 321]))[0].get_xlabel() == "0.0000 to 0.0100"
    assert [in_words(value, 1234) for value in (-1234, 0)] == ["\N{MINUS SIGN}1234", "0"]
    assert [in_words(value, 3e-7) for value in (3e-7, 1e-12)] == ["3.0e\N{MINUS SIGN}07", "0"]


@pytest.mark.parametrize("over", [None, PICTURE])
def test_zero_everywhere_is_said(over):
    ax = panels(plotting.grid([torch.zeros(6, 8)], over=over))[0]
    assert "zero\neverywhere" in texts(ax) and ax.get_xlabel() == ""
    assert np.isfinite(ax.images[0].get_array()).all()
    figure = plotting.compare(PICTURE, {"a": HEAT * 0, "b": HEAT * 0}, shared_scale=True)
    figure.draw_without_rendering()
    assert sum("zero\neverywhere" in texts(ax) for ax in panels(figure)) == 2


def test_red_is_for_blue_is_against_and_cold_shows_the_picture():
    grey = np.full((1, 3), 0.5)
    against, nothing, supports = lay_over(grey, np.array([[0.0, 0.5, 1.0]]), SIGNED)[0]
    assert supports[0] > 2 * supports[2] and against[2] > 2 * against[0] / 1.5
    assert np.ptp(nothing) == 0
    assert np.ptp(lay_over(grey, np.zeros((1, 3)), "inferno")) == 0


def test_a_map_is_signed_when_it_has_negative_values_over_a_picture():
    assert look_of(HEAT - 1, True)[:3] == (-(HEAT - 1).max(), (HEAT - 1).max(), SIGNED)
    assert look_of(HEAT - 1e-9, True).cmap == "inferno"
    assert look_of(HEAT - 1, True, signed=False).cmap == "inferno"
    assert look_of(HEAT - 1, False).cmap == "gray"


def test_a_picture_beside_signed_maps_stays_as_it_is():
    figure = plotting.grid([None, HEAT - 1], over=[PICTURE], signed=True, shared_scale=True)
    ax = panels(figure)[0]
    assert np.allclose(ax.images[0].get_array(), PICTURE / 255) and not ax.get_xlabel()


def test_heat_is_resized_as_torch_does_it():
    heat = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    shown = panels(plotting.overlay(np.zeros((8, 8)), heat))[0].images[0].get_array()
    bright = shown.sum(2)
    assert np.unravel_index(bright.argmax(), bright.shape) == (0, 6)  # half-pixel centres: flat beyond 0.75
    assert np.allclose(bright[:, 6], bright[:, 7]) and np.allclose(bright[0], bright[1])


def test_shared_scale_makes_equal_values_equal_colours():
    low, high = np.array([[0.0, 1.0]]), np.array([[0.0, 2.0]])
    apart = plotting.grid([low, high], over=np.zeros((1, 2)))
    shared = plotting.grid([low, high], over=np.zeros((1, 2)), shared_scale=True)

    def top(figure):
        return [ax.images[0].get_array()[0, 1] for ax in panels(figure)[:2]]

    assert np.allclose(*top(apart)) and not np.allclose(*top(shared))
    assert len(shared.axes) == 3 and len(apart.axes) == 2


def test_colour_bars_and_layout():
    figure = plotting.grid(torch.rand(10, 1, 28, 28) * 2, range(10), columns=5, colourbar=True)
    figure.draw_without_rendering()
    assert [ax.get_title() for ax in figure.axes] == [str(i) for i in range(10)]
    assert all(len(ax.child_axes) == 1 and ax.get_xlabel() == "" for ax in figure.axes)
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 5)
    wide = plotting.grid(torch.rand(30, 8, 8), columns=10, row_labels="abc", col_labels=range(10))
    assert wide.get_figwidth() <= 11 and [ax.get_ylabel() for ax in wide.axes[::10]] == ["a", "b", "c"]
    assert len(panels(plotting.grid(torch.rand(9, 8, 8)))) == 9


def test_a_mask_is_outlined_and_must_fit():
    mask = np.zeros((24, 32), bool)
    mask[:8, 4:9] = True
    for given in (mask, torch.from_numpy(mask), (mask, ~mask), np.stack([mask, mask])):
        ax = panels(plotting.overlay(PICTURE, HEAT, mask=given))[0]
        assert len(ax.collections) == (2 if getattr(given, "ndim", 3) == 2 else 4)
        assert ax.get_xlim() == (-0.5, 31.5) and ax.get_ylim() == (23.5, -0.5)
    with pytest.raises(ValueError, match=r"picture's size \[24, 32\]; got \[6, 8\]"):
        plotting.overlay(PICTURE, HEAT, mask=HEAT > 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused(bad):
    heat = HEAT.copy()
    heat[0, 0] = bad
    with pytest.raises(ValueError, match="The map holds NaN or infinite values"):
        plotting.overlay(PICTURE, heat)
    with pytest.raises(ValueError, match="The picture holds NaN"):
        plotting.grid([heat])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.grid([]), "images has 0 entries"),
        (lambda: plotting.grid([HEAT], ["a", "b"]), "titles has 2 entries for 1 panels"),
        (lambda: plotting.grid([HEAT] * 3, over=[PICTURE] * 2), "over has 2 entries for 3 panels"),
        (lambda: plotting.grid([np.zeros((2, 5, 5))]), r"\[3, H, W\] or \[H, W, 3\]; got \[2, 5, 5\]"),
        (
            lambda: plotting.overlay(PICTURE, PICTURE),
            r"A map to draw is \[H, W\], \[1, H, W\]; got \[24, 32, 3\]",
        ),
        (lambda: plotting.grid([np.zeros((0, 5))]), r"got \[0, 5\]"),
        (lambda: plotting.curves({}), "no curve"),
        (lambda: plotting.curves({"loss": [0.0, -1.0]}, log=True), "'loss' has no finite value above zero"),
        (lambda: plotting.curves({"loss": [np.nan]}), "'loss' has no finite value to draw"),
        (lambda: plotting.intervals({}), "no row to draw"),
        (lambda: plotting.intervals({"a": {"mass": (np.nan, np.nan)}}), "'mass' has no number to draw"),
        (lambda: plotting.intervals({"a": {"mass": (0.5, 0.1)}, "b": {}}), "A row has no column 'mass'"),
    ],
)
def test_bad_input_is_named_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_curves_are_named_at_their_ends_and_never_on_top_of_each_other():
    same = torch.linspace(1, 0.5, 20, requires_grad=True)
    figure = plotting.curves({"a": same, "b": same.detach(), "c": ([10, 20, 40], [1, 2, np.nan])}, log=True)
    names = figure.axes[0].texts
    assert [text.get_text() for text in names] == ["a", "b", "c"] and figure.axes[0].get_yscale() == "log"
    assert names[1].xyann[1] - names[0].xyann[1] >= 14
    assert "a ends at 0.5" in figure.alt and "c ends at 2" in figure.alt


def test_intervals_draw_every_number_and_the_best_baseline():
    nothing = (np.nan, np.nan)
    rows = {
        "good": {"mass": (0.6, 0.05), "wrong": (0.1, 0.02)},
        "none": {"mass": nothing, "wrong": nothing},
        "Sobel": {"mass": (0.2, 0.01), "wrong": (0.3, 0.01)},
        "random": {"mass": (0.1, 0.01), "wrong": (0.2, np.nan)},
    }
    figure = plotting.intervals(
        rows, baselines=("Sobel", "random"), less=("wrong",), columns={"mass": "m", "wrong": "w"}
    )
    mass, wrong = figure.axes
    assert [label.get_text() for label in mass.get_yticklabels()] == list(rows)
    (good, below), lines = mass.containers, [line for line in mass.lines if len(set(line.get_xdata())) == 1]
    np.testing.assert_allclose(good.lines[0].get_xdata(), [60, np.nan])
    np.testing.assert_allclose(below.lines[0].get_xdata(), [20, 10])
    np.testing.assert_allclose(good.lines[2][0].get_segments()[0][:, 0], [55, 65])
    assert below.lines[0].get_ydata()[0] - good.lines[0].get_ydata()[1] > 1  # set off
    assert [line.get_xdata()[0] for line in lines if line.get_linestyle() != "None"] == [20]
    assert [line.get_xdata()[0] for line in wrong.lines if line.get_linestyle() == "--"] == [20]
    assert [mass.get_title("left").strip(), wrong.get_title("left").strip()] == ["m", "w"]
    assert {"more is better", "no such map"} <= set(texts(mass)) and "less is better" in texts(wrong)
    assert "m: good 60, best baseline 20; w: good 10, best baseline 20" in figure.alt
    assert "2 methods and 2 baselines" in figure.alt


def test_intervals_of_two_boards_stand_beside_each_other():
    one, other = {"a": {"mass": (0.6, 0.1)}, "b": {"mass": (0.2, 0.1)}}, {"a": {"mass": (0.5, 0.1)}}
    figure = plotting.intervals({"ResNet": one, "VGG": other}, baselines=("b",))
    (axis,), (legend,) = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ResNet", "VGG"]
    first, second = axis.containers[0].lines[0], axis.containers[-2].lines[0]
    assert first.get_xdata() == [60] and second.get_xdata() == [50] and first.get_ydata() < second.get_ydata()
    assert first.get_color() != second.get_color() and first.get_marker() != second.get_marker()
    assert "no such map" in texts(axis) and "(VGG): a 50" in figure.alt


def test_no_figure_is_left_in_pyplot_and_no_setting_changed():
    before = dict(mpl.rcParams)
    plotting.compare(PICTURE, {"map": HEAT})
    plotting.curves({"loss": [1, 2]})
    plotting.intervals({"a": {"mass": (0.5, 0.1)}})
    figure, axes = plotting.canvas(2, 3)
    assert plotting.overlay(PICTURE, HEAT, ax=axes[1, 2]) is axes[1, 2] and axes.shape == (2, 3)
    assert plt.get_fignums() == [] and dict(mpl.rcParams) == before


def test_style_is_readable_and_colour_blind_safe():
    with mpl.rc_context():
        plotting.use_style()
        sizes = ("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "legend.fontsize")
        assert min(mpl.rcParams[size] for size in sizes) >= 11
    assert mpl.rcParams["image.cmap"] != "jet"


def test_live_curve_outside_a_notebook_only_keeps_the_numbers(capsys):
    with plotting.LiveCurve(every=0) as live:
        for step in range(3):
            live(loss=torch.tensor(1.0 / (step + 1)), test_loss=2)
    assert live.values == {"loss": pytest.approx([1, 1 / 2, 1 / 3]), "test loss": [2, 2, 2]}
    assert capsys.readouterr().out == ""


def test_a_notebook_shows_each_figure_once_small_and_with_its_words():
    cells = [
        "import sys; sys.path.insert(0, '..'); import numpy as np\n"
        "from helpers.plotting import LiveCurve, compare, curves, grid, overlay, use_style\nuse_style()",
        "rng = np.random.default_rng(0)\ngrid(rng.random((4, 28, 28)), 'abcd')",
        "figure = overlay(rng.random((300, 400, 3)), rng.random((7, 7)))\ndisplay(figure)\n1 + 1",
        "with LiveCurve(every=0.01) as live:\n    for step in range(30):\n        live(loss=1 / (step + 1))",
        "curves({'a': [1, 2]}); None",
    ]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, resources={"metadata": {"path": str(ROOT / "tests")}}, timeout=120).execute()
    nbformat.validate(notebook)
    assert not notebook.metadata.get("widgets")
    shown = [[out for out in cell.outputs if out.output_type == "display_data"] for cell in notebook.cells]
    assert [len(outs) for outs in shown] == [0, 1, 1, 1, 0]
    kinds = [next(kind for kind in out.data if kind.startswith("image/")) for outs in shown for out in outs]
    assert kinds == ["image/png", "image/jpeg", "image/png"]
    for out, kind in zip((out for outs in shown for out in outs), kinds, strict=True):
        picture = Image.open(io.BytesIO(base64.b64decode(out.data[kind])))
        assert picture.width <= 1200 and len(out.data[kind]) < 300_000
        assert out.metadata[kind]["alt"] == out.data["text/plain"]
    assert "loss ends at 0.0333" in shown[3][0].data["text/plain"]


@pytest.mark.parametrize("values", [HEAT * 1j, np.full((4, 4), "a")])
def test_what_is_no_real_number_is_not_drawn(values):
    with pytest.raises(ValueError, match="made of real numbers"):
        plotting.grid([values])


def test_a_function_has_no_layers_to_draw():
    with pytest.raises(TypeError, match="The model is a function; give a torch.nn.Module"):
        plotting.draw_network(lambda x: x, (3, 8, 8))
