"""The drawing of a network: true to scale, true to what runs, readable, and nothing left behind."""

import re
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from helpers.models import MnistCNN, ShapesResNet, ShapesVGG
from helpers.plotting import draw_network


def on_meta(name):
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None)


NETS = {  # made anew for each test
    "MnistCNN": (MnistCNN, (1, 28, 28)),
    "ShapesVGG": (ShapesVGG, (3, 128, 128)),
    "ShapesResNet": (ShapesResNet, (3, 128, 128)),
    "vgg11": (lambda: on_meta("vgg11"), (3, 224, 224)),
    "resnet18": (lambda: on_meta("resnet18"), (3, 224, 224)),
}
MNIST = [  # worked out by hand: pooling pads by one pixel
    ("input", "1 × 28 × 28"),
    ("conv 3×3", "32 × 28 × 28"),
    ("pool", "32 × 15 × 15"),
    ("conv 3×3", "64 × 15 × 15"),
    ("pool", "64 × 8 × 8"),
    ("conv 3×3", "128 × 8 × 8"),
    ("pool", "128 × 5 × 5"),
    ("linear", "625"),
    ("linear", "10"),
]


def faces(figure, which):
    """Each box's face as (width, height) in points, from left to right and row by row."""
    return [patch.get_xy()[:4] for patch in figure.axes[0].patches if patch.get_gid() == which]


def sizes(figure):
    return [tuple(corners[2] - corners[0]) for corners in faces(figure, "front")]


def steps(figure):
    """The boxes as (name, shape), from the words of the figure."""
    listed = figure.alt.partition(". ")[2].rstrip(".").split("; ")
    return [tuple(one.split(": ")) for one in listed]


def test_each_layer_that_makes_new_numbers_is_drawn_once():
    figure = draw_network(MnistCNN(), (1, 28, 28))
    assert steps(figure) == MNIST
    assert len(sizes(figure)) == len(MNIST)
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert "conv 3×3\n32 maps\n28×28" in labels and "linear\n625" in labels and "input\n1 channel\n28×28" in labels


@pytest.mark.parametrize("name", ["MnistCNN", "ShapesVGG", "vgg11"])
def test_boxes_are_to_scale(name):
    make, size = NETS[name]
    figure = draw_network(make(), size)
    shapes = [tuple(map(int, shape.split(" × "))) for _, shape in steps(figure)]
    boxes = [(*box, *shape) for box, shape in zip(sizes(figure), shapes, strict=True) if len(shape) == 3]
    thick, high = ([box[i] / box[i + 2] for box in boxes] for i in (0, 1))
    assert max(thick) == pytest.approx(min(thick)) and max(high) == pytest.approx(min(high))
    depth = [corners[1][0] - corners[0][0] for corners in faces(figure, "right")][: len(boxes)]
    assert [d / box[4] for d, box in zip(depth, boxes, strict=True)] == pytest.approx(
        [depth[0] / boxes[0][4]] * len(boxes)
    )
    bars = [(box[1], shape[0]) for box, shape in zip(sizes(figure), shapes, strict=True) if len(shape) == 1]
    assert [high / units for high, units in bars] == pytest.approx([bars[0][0] / bars[0][1]] * len(bars))


def test_a_wide_picture_gives_wide_maps():
    figure = draw_network(nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 20, 40))
    assert "8 × 10 × 20" in figure.alt
    assert "conv 3×3\n8 maps\n10×20\nstride 2" in [text.get_text() for text in figure.axes[0].texts]
    (low, _, top, _), right = faces(figure, "front")[1], faces(figure, "right")[1]
    slanted = right[1] - right[0]
    assert slanted[0] == pytest.approx(slanted[1])
    assert (top - low)[1] / 10 == pytest.approx(slanted[0] / 20 / 0.26)


@pytest.mark.parametrize("name", NETS)
def test_words_are_large_enough_and_do_not_touch(name):
    make, size = NETS[name]
    figure = draw_network(make(), size)
    figure.canvas.draw()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 9
    places = [text.get_window_extent() for text in texts]
    assert not [(a, b) for a, b in combinations(range(len(texts)), 2) if places[a].overlaps(places[b])]
    page = figure.bbox
    for place in places:
        assert page.x0 <= place.x0 and place.x1 <= page.x1 and page.y0 <= place.y0 and place.y1 <= page.y1
    for text, place in zip(texts, places, strict=True):  # and no box stands on them
        boxes = [patch.get_window_extent() for patch in figure.axes[0].patches if patch.get_gid() == "front"]
        assert not any(place.padded(-1).overlaps(box) for box in boxes), text.get_text()
    assert figure.get_figwidth() < 11.6


def test_a_notebook_shows_it_as_svg_with_words(monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: shown.append((data, options)))
    for _ in range(2):
        draw_network(MnistCNN(), (1, 28, 28))._ipython_display_()
    (data, options), again = shown
    assert set(data) == {"image/svg+xml", "text/plain"} and options["raw"]
    assert options["metadata"]["image/svg+xml"]["alt"] == data["text/plain"]
    svg = data["image/svg+xml"]
    assert "<image" not in svg and ">conv 3×3<" in svg and len(svg) < 60_000
    assert again[0] == data, "two runs save the same file"


def test_numbers_made_in_code_are_seen():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(16, 5)

        def forward(self, x):
            x = self.conv2(F.max_pool2d(F.relu(self.conv1(x)), 2))
            return self.fc(x.mean((2, 3)))

    figure = draw_network(Written(), (3, 20, 20))
    assert [shape for name, shape in steps(figure) if name == "in code"] == ["8 × 9 × 9", "16"]
    assert any("made in the model's code" in text.get_text() for text in figure.axes[0].texts)


def test_what_changes_nothing_is_not_drawn():
    same = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(6), nn.Flatten())
    figure = draw_network(nn.Sequential(same, nn.Dropout(), nn.Linear(144, 2)), (3, 6, 6))
    assert [name for name, _ in steps(figure)] == ["input", "conv 1×1", "linear"]


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_0", "googlenet", "densenet121"])
def test_other_networks_can_be_drawn(name):
    with torch.device("meta"):
        options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        model = torchvision.models.get_model(name, weights=None, **options)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert len(re.findall("conv ", draw_network(model, (3, 224, 224)).alt)) == convolutions


def left_behind(model):
    return [len(module._forward_hooks) for module in model.modules()], [m.training for m in model.modules()]


def test_the_network_is_left_as_it_was():
    model = ShapesResNet().double()
    model.layer2.eval()
    mark = model.conv1.register_forward_hook(lambda *given: None)
    before, weights = left_behind(model), {k: v.clone() for k, v in model.state_dict().items()}
    draw_network(model, (3, 128, 128))
    assert left_behind(model) == before
    with pytest.raises(ValueError, match="ShapesResNet stopped on a picture"):
        draw_network(model, (4, 128, 128))
    assert left_behind(model) == before
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    mark.remove()


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):
        draw_network(MnistCNN(), (28, 28))
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):
        draw_network(MnistCNN(), (1, 0, 28))
    with pytest.raises(ValueError, match="made for"):
        draw_network(MnistCNN(), (1, 60, 60))
    with pytest.raises(ValueError, match="no convolution"):
        draw_network(nn.Sequential(nn.ReLU()), (1, 8, 8))
