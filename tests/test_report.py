"""helpers.report: layers are proposed, inputs looked at, maps checked, networks and pictures taken or refused."""

import re
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from helpers import data, evaluation
from helpers.data import shapes
from helpers.models import Classifier, load_classifier
from helpers.report import (
    Findings,
    Row,
    find_pictures,
    five_checks,
    inspect_input,
    load_any,
    propose_layers,
    write_report,
)
from helpers.report.__main__ import main
from helpers.report.five_checks import (
    _class_sensitivity,
    _deletion,
    _mosaics,
    _randomisation,
    draw_anew,
    methods_for,
    mosaics_of,
)
from helpers.report.loading import Refused
from helpers.report.page import CHECKS, _for_the_eye, _pictures, _places, _trained_on, _verdict, frame_share
from nets import slim
from test_contract import assert_same, state

NET = "shapes_resnet"

# --- layers ---

TRANSFORMER = {"image_size": 64, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
WINDOWS = {
    "patch_size": [4, 4],
    "embed_dim": 8,
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 1, 1, 1],
    "window_size": [2, 2],
}
BLOCK = torchvision.models.convnext.CNBlockConfig
STAGES = [BLOCK(8, 16, 2), BLOCK(16, None, 1)]
FAMILIES = {  # torchvision's, with random weights: how it is built, the first layer proposed, its channels, has a CAM
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), "layer4", 512, True),
    "vgg11_bn": (lambda: slim("vgg11_bn"), "features.27", 512, False),
    "densenet121": (lambda: torchvision.models.densenet121(weights=None), "features", 1024, True),
    "efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(weights=None), "features", 1280, True),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(weights=None), "features", 1280, True),
    "convnext": (lambda: torchvision.models.ConvNeXt(STAGES), "features", 16, False),
    "squeezenet1_1": (lambda: torchvision.models.squeezenet1_1(weights=None), "features", 512, True),
    "vit": (
        lambda: torchvision.models.VisionTransformer(**TRANSFORMER),
        "encoder.layers.encoder_layer_1.ln_1",
        16,
        False,
    ),
    "swin": (lambda: torchvision.models.SwinTransformer(**WINDOWS), "permute", 64, True),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_usual_layer_comes_first(name):
    build, layer, channels, has_cam = FAMILIES[name]
    torch.manual_seed(0)
    net = build()  # in train() mode, which must come back
    before = state(net)
    found = propose_layers(net, torch.rand(1, 3, 64, 64))
    assert_same(before, state(net))
    assert (found[0].name, found[0].channels, found[0].has_cam) == (layer, channels, has_cam)
    sizes = [one.sides[0] * one.sides[1] for one in found]
    assert sizes == sorted(set(sizes)) and all(one.name in dict(net.named_modules()) for one in found)
    assert "closest to the score" in found[0].reason and all("finer" in one.reason for one in found[1:])


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("efficientnet_lite0", ["features", "features.11", "features.5", "features.3"]),
        ("shapes_resnet", ["layer4", "layer2", "layer1", "relu"]),
        ("shapes_vit", ["blocks.2.norm1", "stem.5", "stem.4", "stem.2"]),
    ],
)
def test_the_layers_of_the_course(name, layers):
    classifier = load_classifier(name)
    side = 224 if name == "efficientnet_lite0" else 128
    found = propose_layers(classifier.model, torch.rand(1, 3, side, side))
    assert [one.name for one in found] == layers and found[0].name == classifier.layer


class ByPassed(nn.Module):
    """A layer that sees half of the channels is no candidate: the score has another way to the picture."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.part = nn.Conv2d(8, 4, 3, padding=1)
        self.last = nn.Linear(12, 5)

    def forward(self, x):
        maps = self.stem(x).relu()
        both = torch.cat([maps, self.part(maps)], 1)
        return {"logits": self.last(both.mean((2, 3)))}


def test_a_layer_with_a_by_pass_is_left_out():
    assert [one.name for one in propose_layers(ByPassed(), torch.rand(1, 3, 16, 16))] == ["stem"]


def test_without_maps_there_is_a_sentence():
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    with pytest.raises(ValueError, match="needs no layer"):
        propose_layers(net, torch.rand(1, 3, 4, 4))


# --- inputs ---

MEAN, STD = 127 / 255, 128 / 255  # of EfficientNet-Lite0
ON, OFF = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def given():
    classifier = load_classifier("efficientnet_lite0")
    return classifier.preprocess(list(data.photographs().values())), classifier.model


MISTAKES = {  # words of the sentence that each must get: what is done to right input x, or to its pixels p from 0 to 1
    "as pixels do": lambda x, p: p,
    "divide by 255, then subtract": lambda x, p: 255 * p,
    "whole numbers": lambda x, p: (255 * p).byte(),
    "float64": lambda x, p: x.double(),
    "float16": lambda x, p: x.half(),
    "channels last": lambda x, p: x.permute(0, 2, 3, 1),
    "one channel": lambda x, p: x.mean(1, keepdim=True),
    "opacity": lambda x, p: torch.cat([x, torch.ones_like(x[:, :1])], 1),
    "beyond black": lambda x, p: (p - ON) / OFF,
    "or twice": lambda x, p: (x - MEAN) / STD,
    "within a hundredth": lambda x, p: p / 255,
    "divided by 255 twice.": lambda x, p: (p / 255 - MEAN) / STD,
    "divide by 255, then": lambda x, p: (255 * p - MEAN) / STD,
    "normalised with other": lambda x, p: (p - torch.tensor([0.485, 0.456, 406])[:, None, None]) / OFF,
    "trained on 224": lambda x, p: nn.functional.interpolate(x, (64, 64)),
    "equal": lambda x, p: x.mean(1, keepdim=True).expand(-1, 3, -1, -1),
    "NaN": lambda x, p: torch.where(x > 0.9, torch.nan, x),
    "no picture": lambda x, p: torch.zeros_like(x),
    "ndarray": lambda x, p: x.numpy(),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_usual_mistakes_are_noticed_on_each_photograph(words):
    x, _ = given()
    net = nn.Conv2d(3, 1, 1)
    wrong = MISTAKES[words](x, x * STD + MEAN)
    for one in range(len(x)):
        found = inspect_input(wrong[one : one + 1], net, mean=MEAN, std=STD, side=224)
        if words != "NaN" or not np.isfinite(np.asarray(wrong[one])).all():
            assert any(words in sentence for sentence in found), found


def test_right_input_gets_no_sentence_but_for_a_grey_photograph():
    x, _ = given()
    found = [inspect_input(one[None], mean=MEAN, std=STD, side=224) for one in x]
    grey = list(data.photographs()).index("camera")
    assert [bool(one) for one in found] == [number == grey for number in range(len(x))]
    assert "grey pictures" in found[grey][0] and inspect_input(x, mean=MEAN, std=STD, side=224) == []


def test_other_numbers_than_those_of_imagenet_are_noticed():
    x, _ = given()
    pixels = x * STD + MEAN
    recipe = {"mean": ON.flatten().tolist(), "std": OFF.flatten().tolist()}
    assert inspect_input((pixels - ON) / OFF, **recipe) == []
    assert "go only from" in inspect_input(2 * pixels - 1, **recipe)[0]
    bytes_recipe = {"mean": 0.0, "std": 1 / 255}  # a network that takes pixels from 0 to 255
    assert inspect_input(255 * pixels, **bytes_recipe) == []
    assert "divide by 255" in inspect_input(255 * 255 * pixels, **bytes_recipe)[0]
    with pytest.raises(ValueError, match="both mean and std"):
        inspect_input(x, mean=0.5)


def test_exchanged_colours_are_noticed_by_a_network_that_needs_them():
    class Red(nn.Module):
        def forward(self, x):
            red, _, blue = x.mean((2, 3)).unbind(1)
            return torch.stack([10 * (red - blue).relu(), torch.zeros_like(red)], 1)

    x = torch.rand(5, 3, 8, 8) * torch.tensor([1.0, 0.5, 0.3])[:, None, None]
    assert inspect_input(x, Red()) == [] and "BGR" in inspect_input(x.flip(1), Red())[0]


def test_three_pictures_that_disagree_say_nothing_of_the_colours():
    """Two standard errors of three pictures are no 95 % interval: Student's t asks for 4.3."""
    gains = torch.tensor([0.1, 0.5, 0.9])  # mean 0.5, standard error 0.23

    class Surer(nn.Module):
        def forward(self, x):
            exchanged = bool(x[0, 0, 0, 0] < x[0, 2, 0, 0])
            sure = (torch.full((3,), 0.3).log() + exchanged * gains).exp()
            return torch.stack([sure, *[(1 - sure) / 9] * 9], 1).log()

    x = torch.zeros(3, 3, 8, 8)
    x[:, 0] = torch.linspace(0.1, 1, 64).view(8, 8)
    assert not any("BGR" in sentence for sentence in inspect_input(x, Surer()))


# --- five checks ---


@pytest.fixture(scope="module")
def small():
    classifier = load_classifier("shapes_resnet")
    return classifier, classifier.preprocess(list(shapes.one(6, 5).images))


def test_five_checks_of_three_methods(small):
    classifier, x = small
    found = five_checks(classifier.model, x[:4], layer="layer4")
    assert list(found.maps) == ["Grad-CAM", "integrated gradients", "occlusion"]
    assert all(maps.shape == (4, 128, 128) for maps in found.maps.values())
    rows = {(row.method, row.check): row for row in found.rows}
    assert len(rows) == 15
    assert rows["Grad-CAM", "completeness"].holds and rows["Grad-CAM", "mosaics"].holds is not False
    assert rows["Grad-CAM", "class sensitivity"].holds and rows["occlusion", "completeness"].value is None
    assert "4 pictures are an example" in found.verdicts["Grad-CAM"]


@pytest.mark.parametrize("target", [10, -1, torch.tensor([0, 1]), 0.5])
def test_a_class_that_is_not_there_is_refused(small, target):
    classifier, x = small
    with pytest.raises(ValueError, match=r"give a class from 0 to 9, one for all 3 pictures or one for each"):
        five_checks(classifier.model, x[:3], target=target, layer="layer4")


def test_maps_that_know_no_class_or_no_network_fail(small):
    classifier, x = small
    top = classifier.model(x).argmax(1)
    edges = evaluation.sobel(x)
    assert _class_sensitivity("edges", edges, edges, edges, classes=10).holds is False
    assert _class_sensitivity("edges", edges, edges, edges, classes=1).holds is None, "there is no other class"
    assert _randomisation("edges", edges, edges).holds is False
    (row,) = _deletion(classifier.model, x, top, {"noise": evaluation.random_maps(x)}, seed=1)
    assert row.holds is not True
    blind = {"edges": lambda model, x, classes: evaluation.sobel(x).expand(len(classes), -1, -1, -1)}
    (row,) = _mosaics(classifier.model, x, top, blind, "layer4", seed=0)
    assert row.holds is None and abs(row.value - 0.25) < 0.05, "noise about chance is no failure"


def test_only_a_clear_difference_fails_a_map(small):
    x = torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 8)  # four plain pictures, each of its own class

    def own_place(model, x, classes):  # [K, N, H, W], as the checks ask for it
        return (x[None, :, 0] == classes[..., None, None]).float()

    methods = {"right": own_place, "exchanged": lambda *given: 1 - own_place(*given)}
    right, exchanged = _mosaics(None, x, torch.arange(4), methods, None, seed=0)
    assert (right.holds, right.value) == (True, 1.0) and (exchanged.holds, exchanged.value) == (False, 0.0)
    classifier, x = small
    top = classifier.model(x).argmax(1)
    upside_down = {"upside down": -methods_for("layer4")["Grad-CAM"](classifier.model, x, top[None])[0]}
    (row,) = _deletion(classifier.model, x, top, upside_down, seed=1)
    assert row.holds is False and row.value < 0


def test_the_mosaics_hold_four_pictures_and_know_their_quarters():
    x = torch.arange(5.0)[:, None, None, None].expand(5, 3, 9, 8)
    for mosaic, masks in mosaics_of(x, torch.tensor([0, 1, 2, 2, 1]), 10):
        assert mosaic.shape == (1, 3, 9, 8) and set(masks) == {0, 1, 2}
        for category, mask in masks.items():
            assert {round(v.item()) for v in mosaic[0, 0][mask].unique()} <= {
                i for i, t in enumerate([0, 1, 2, 2, 1]) if t == category
            }
    assert list(mosaics_of(x, torch.zeros(5, dtype=torch.int64))) == []


def test_every_weight_is_drawn_anew():
    net = torchvision.models.SwinTransformer(**WINDOWS)
    before = {name: value.clone() for name, value in net.named_parameters()}
    draw_anew(net, 1)
    same = [name for name, value in net.named_parameters() if torch.equal(value, before[name])]
    assert all(before[name].unique().numel() == 1 for name in same)  # such as a norm's, which begins at 1 and 0


def test_the_model_is_left_as_it_was(small):
    classifier, x = small
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    five_checks(classifier.model, x[:1, :, ::4, ::4], layer="layer4")
    assert all(torch.equal(value, before[name]) for name, value in classifier.model.state_dict().items())


def test_without_a_layer_there_are_three_methods_all_the_same():
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    found = five_checks(net, torch.rand(1, 3, 4, 4))
    assert list(found.maps) == ["gradient x input", "integrated gradients", "occlusion"]


# --- what is taken and what is refused ---

MODEL_FILE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(body, nn.Linear(16, 3))

def nothing():
    return 3

def broken():
    raise KeyError("weights")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MODEL_FILE, encoding="utf-8")
    for i, image in enumerate(shapes.one(5, 3).images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    return tmp_path


def net_of(folder):
    scope = {}
    exec(MODEL_FILE, scope)
    return scope["build"]().eval()


def test_a_function_in_a_file_is_taken(folder):
    found = load_any(f"{folder}/mine.py:build", side=32, classes=["a", "b", "c"])
    assert isinstance(found, Classifier) and found.categories == ["a", "b", "c"] and found.layer == ""
    x = found.preprocess([folder / "0.png", folder / "1.png"])
    assert (
        x.shape == (2, 3, 32, 32)
        and inspect_input(x, found.model, mean=ON.flatten().tolist(), std=OFF.flatten().tolist()) == []
    )


def test_a_file_with_a_dataclass_is_taken_and_leaves_no_module(folder):
    lines = ["from __future__ import annotations", "from dataclasses import dataclass", "@dataclass", "class Size:"]
    (folder / "sizes.py").write_text("\n".join([*lines, "    side: int = 3", MODEL_FILE]), encoding="utf-8")
    before = set(sys.modules)
    assert load_any(f"{folder}/sizes.py:build", side=32, classes=["a", "b", "c"]).categories == ["a", "b", "c"]
    assert not [name for name in set(sys.modules) - before if "sizes" in name]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("mine.py", "give .*mine.py:function"),
        ("mine.py:other", "it has build, nothing, broken"),
        ("mine.py:nothing", "returns a int"),
        ("mine.py:broken", "KeyError"),
        ("nowhere.py:build", "check the path"),
        ("nowhere.pt", "check the path"),
        ("weights.pt", "load_state_dict"),
        ("whole.pt", "can run any code"),
        ("weights.safetensors", "load_state_dict"),
        ("net.onnx", "not a network of PyTorch"),
        ("0.png", "no file of PyTorch"),
        ("fixed.pt2", "dynamic_shapes"),
        ("broken.pt2", "torch.export.save"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_cure(folder, model, words):
    net = net_of(folder)
    torch.save(net.state_dict(), folder / "weights.pt")
    torch.save(net, folder / "whole.pt")
    for name in ("weights.safetensors", "net.onnx", "broken.pt2"):
        (folder / name).write_bytes(b"something")
    if model == "fixed.pt2":
        torch.export.save(torch.export.export(net, (torch.rand(1, 3, 32, 32),)), folder / model)
    with pytest.raises(Refused, match=words):
        load_any(f"{folder}/{model}", side=32)


def test_names_that_are_not_here_are_refused(monkeypatch):
    monkeypatch.setenv("COURSE_WORLD", "course")
    with pytest.raises(Refused, match="did you mean.*Taken are"):
        load_any("resnet19")
    with pytest.raises(Refused, match="weights of resnet18 are not here"):
        load_any("resnet18")
    with pytest.raises(Refused, match="with --side"):
        load_any(f"{__file__}:needs_square")


def needs_square():
    """A network for 64 pixels alone."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))


def test_scripted_and_exported_networks_are_taken(folder):
    net, x = net_of(folder), torch.rand(2, 3, 32, 32)
    torch.jit.save(torch.jit.trace(net, x), str(folder / "scripted.pt"))
    shapes_ = ({0: torch.export.Dim.AUTO},)
    torch.export.save(torch.export.export(net, (x,), dynamic_shapes=shapes_), folder / "exported.pt2")
    for name in ("scripted.pt", "exported.pt2"):
        found = load_any(f"{folder}/{name}", side=32)
        assert torch.allclose(found.model(x), net(x), atol=1e-6), name
        page = write_report(found, [folder / "0.png", folder / "1.png"], folder / "report.html")
        assert page.read_text(encoding="utf-8").count("<img") == 8
    assert "0.1" in [one.name for one in propose_layers(found.model, x)]


def test_pictures_are_found(folder):
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    (folder / "broken.jpg").write_bytes(b"no picture")
    files, left_out = find_pictures([str(folder)], most=3)
    assert [file.name for file in files] == ["0.png", "1.png", "3.png"] and len(left_out) == 3
    assert "2 files" in left_out[0] and "(.py, .txt)" in left_out[0]
    assert "broken.jpg" in left_out[1] and "2 of 5" in left_out[2]
    for paths, words in ([str(folder / "nowhere")], "check the path"), ([str(folder / "notes.txt")], "no picture in"):
        with pytest.raises(Refused, match=words):
            find_pictures(paths)
    with pytest.raises(Refused, match="--most 0 leaves no picture"):
        find_pictures([str(folder)], most=0)


KINDS = """
from types import SimpleNamespace
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=3, wrap=lambda logits: logits):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.last, self.wrap = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, classes), wrap

    def forward(self, x):
        return self.wrap(self.last(self.body(x).relu().mean((2, 3))))

def plain(): return Net()
def in_tuple(): return Net(wrap=lambda logits: (logits, "more"))
def in_dict(): return Net(wrap=lambda logits: {"logits": logits})
def in_object(): return Net(wrap=lambda logits: SimpleNamespace(logits=logits))
def one_logit(): return Net(1)
def flat(): return Net(1, lambda logits: logits[:, 0])
def half(): return Net().half()
def bfloat16(): return Net().bfloat16()
def double(): return Net().double()
def softmax(): return Net(wrap=lambda logits: logits.softmax(1))
def own_key(): return Net(wrap=lambda logits: {"scores": logits})
def segmentation(): return nn.Conv2d(3, 5, 3)
def in_out(): return Net(wrap=lambda logits: {"out": logits[:, :, None, None].expand(-1, -1, 8, 8)})
def labels(): return Net(wrap=lambda logits: logits.argmax(1))
def words(): return Net(wrap=lambda logits: "cat")
def one_row(): return Net(wrap=lambda logits: logits[:1])
def stops(): return Net(wrap=lambda logits: {}["logits"])
def half_inside(): return Net(wrap=lambda logits: nn.Linear(3, 3).half()(logits))
class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3 * 32 * 32, 4)
    def forward(self, x):
        return self.last(x.view(1, -1))
def views(): return Views()
"""


@pytest.fixture
def kinds(folder):
    (folder / "kinds.py").write_text(KINDS, encoding="utf-8")
    return folder


@pytest.mark.parametrize("function", ["in_tuple", "in_dict", "in_object"])
def test_logits_are_read_wherever_they_stand(kinds, function):
    found, plain = (load_any(f"{kinds}/kinds.py:{one}", side=32) for one in (function, "plain"))
    x = found.preprocess([kinds / "0.png", kinds / "1.png"])
    assert found.top(x, 3) == plain.top(x, 3) and len(found.categories) == 3
    page = write_report(found, [kinds / "0.png", kinds / "1.png"], kinds / "report.html")
    assert page.read_text(encoding="utf-8").count("<img") == 8


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("own_key", r"dict with 'scores', where 'logits' is looked for.*output\[.scores.\]"),
        ("segmentation", r"has places, as a segmentation.*output\.mean\(\(2, 3\)\)"),
        ("in_out", r'for example output\["out"\]\.mean'),
        ("labels", "int64, which are no logits"),
        ("words", "a str, and no logits"),
        ("one_row", "takes one picture at a time.*gives 1 row for 2 pictures"),
        ("views", r"takes one picture at a time.*x\.flatten\(1\)"),
        ("stops", "stopped with KeyError"),
        ("half_inside", r"two precisions.*\.float\(\)"),
    ],
)
def test_what_is_no_row_of_logits_is_refused_with_its_own_cure(kinds, function, words):
    with pytest.raises(Refused, match=words) as caught:
        load_any(f"{kinds}/kinds.py:{function}", side=32)
    assert "--side" not in str(caught.value).split("With two pictures")[0]  # that is the cure of another error


@pytest.mark.parametrize("function", ["half", "bfloat16", "double"])
def test_other_precisions_are_turned_into_float32_and_the_page_says_so(kinds, function):
    found = load_any(f"{kinds}/kinds.py:{function}", side=32)
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}
    assert "turned them into float32" in found.remarks[0]
    right = load_any(f"{kinds}/kinds.py:plain", side=32)
    x = found.preprocess([kinds / "0.png"])
    assert torch.allclose(found.model(x), right.model(x), atol=0.05)
    assert found.remarks[0] in write_report(found, [kinds / "0.png"], kinds / "page.html").read_text(encoding="utf-8")
    found.model.half()
    with pytest.raises(Refused, match=r"are float16, and its pictures float32: write \.float\(\)"):
        write_report(found, [kinds / "0.png"], kinds / "page.html")


@pytest.mark.parametrize("function", ["one_logit", "flat"])
def test_one_logit_has_the_share_of_a_sigmoid(kinds, function):
    found = load_any(f"{kinds}/kinds.py:{function}", side=32, classes=["cat"])
    x = found.preprocess([kinds / "0.png", kinds / "1.png"])
    ((name, share),) = found.top(x)[1]
    assert name == "cat" and abs(share - found.model(x).sigmoid().flatten()[1].item()) < 1e-6
    text = write_report(found, [kinds / "0.png", kinds / "1.png"], kinds / "page.html").read_text(encoding="utf-8")
    assert "; one logit; " in text and "1 classes" not in text and f"cat, {share:.0%}, the sigmoid of its" in text
    with pytest.raises(Refused, match="has one logit, and --classes 2 names"):
        load_any(f"{kinds}/kinds.py:{function}", side=32, classes=["cat", "dog"])


def test_warnings_on_the_network_stand_on_each_page(kinds):
    found = load_any(f"{kinds}/kinds.py:softmax", side=32)
    assert found.remarks[-1].startswith("Net gives probabilities")
    for remarks in found.remarks, (), ():  # as loaded, and as a classifier made by hand, twice
        said, found.remarks = [], remarks
        page = write_report(found, [kinds / "0.png", kinds / "1.png"], kinds / "page.html", say=said.append)
        assert "<li>Net gives probabilities, not logits" in page.read_text(encoding="utf-8")
        assert sum("gives probabilities" in line for line in said) == 1


def test_what_was_assumed_is_said_and_what_was_given_is_not(kinds):
    model = f"{kinds}/kinds.py:plain"
    (remark,) = load_any(model).remarks
    assert remark.startswith("Assumed: mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225, side 224.")
    found = load_any(model, side=32, std=[0.25])
    assert found.remarks[0].startswith("Assumed: mean 0.485, 0.456, 0.406.")
    assert (found.mean, found.std, found.side) == ((0.485, 0.456, 0.406), (0.25,), 32)
    assert load_any(model, side=32, mean=[0.5], std=[0.25]).remarks == ()


def test_the_input_is_compared_with_the_numbers_of_the_classifier(kinds):
    found = load_any(f"{kinds}/kinds.py:plain", side=32, mean=[0.5], std=[0.25])
    right = found.preprocess
    pictures = [kinds / "0.png", kinds / "1.png"]
    for preprocess, beyond in (right, False), (lambda many: 4 * right(many), True):
        found.preprocess = preprocess
        text = write_report(found, pictures, kinds / "page.html").read_text(encoding="utf-8")
        assert "with mean 0.5 and std 0.25." in text
        assert ("beyond black" in text) == beyond and "trained on 64 x 64" not in text
    found.side = 64
    found.preprocess = right
    page = write_report(found, pictures, kinds / "page.html")
    assert "trained on 64 x 64" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["shapes_resnet", "efficientnet_lite0"])
def test_the_numbers_of_the_courses_networks_are_those_of_their_preprocess(name):
    found = load_classifier(name)
    black, white = (bound.flatten() for bound in found.bounds)
    mean, std = torch.tensor(found.mean), torch.tensor(found.std)
    assert torch.allclose(black, -mean / std, atol=1e-5) and torch.allclose(white, (1 - mean) / std, atol=1e-5)


def test_options_that_would_not_be_used_are_refused(kinds):
    with pytest.raises(Refused, match="brings its own preprocess and classes: leave out --side, --mean, --classes"):
        load_any("shapes_resnet", side=64, mean=[0.0], classes=["a"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"std": [0.0]}, "--std 0 is not above 0"),
        ({"std": [0.2, 0.2]}, "3 channels"),
        ({"mean": [123.7, 116.3, 103.5]}, "divide both by 255"),
        ({"side": 0}, "--side 0 is no size"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(kinds, options, words):
    with pytest.raises(Refused, match=words):
        load_any(f"{kinds}/kinds.py:plain", **({"side": 32} | options))
    with pytest.raises(ValueError, match="numbers above 0"):
        inspect_input(torch.rand(1, 3, 8, 8), mean=0.5, std=0)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_traced_networks_of_torchvision_and_of_the_course_are_taken(tmp_path, capfd):
    torch.manual_seed(0)
    for name, net in ("resnet", torchvision.models.resnet18(weights=None)), ("course", load_classifier(NET).model):
        x = torch.rand(2, 3, 64, 64)
        torch.jit.save(torch.jit.trace(net.eval(), x), str(tmp_path / f"{name}.pt"))
        assert torch.allclose(load_any(f"{tmp_path}/{name}.pt", side=64).model(x), net(x), atol=1e-5)
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    torch.jit.save(torch.jit.trace(grey, torch.rand(2, 1, 8, 8)), str(tmp_path / "grey.pt"))
    assert load_any(f"{tmp_path}/grey.pt", side=8).mean == (0.0,)
    capfd.readouterr()
    (tmp_path / "broken.pt2").write_bytes((tmp_path / "grey.pt").read_bytes()[:-200])
    with pytest.raises(Refused, match="cannot be read as a file of torch.export"):
        load_any(f"{tmp_path}/broken.pt2")
    assert capfd.readouterr().err == ""


# --- the page ---


def test_the_page_holds_everything_and_says_what_was_found(folder, capsys):
    classes = folder / "classes.txt"
    classes.write_text("<b>cat</b>\ndog\nhorse\n", encoding="utf-8")
    out = folder / "page.html"
    main(
        [
            f"{folder}/mine.py:build",
            str(folder),
            "--to",
            str(out),
            "--side",
            "32",
            "--classes",
            str(classes),
            "--most",
            "4",
        ]
    )
    assert capsys.readouterr().out == f"Wrote {out}.\n"
    page = out.read_text(encoding="utf-8")
    assert "http" not in page and "<script" not in page and "<b>cat" not in page
    assert re.findall(r"<link[^>]*>", page) == ['<link rel="icon" href="data:,">'], "it asks nobody for anything"
    assert set(re.findall(r'src="(\w+):', page)) == {"data"} and page.count("<img") == 16
    assert "class-blind mean of the feature maps" in page and "; 3 classes; trained on unknown pictures." in page
    assert "2 files in" in page and "<li>Assumed: mean 0.485" in page
    assert len(re.findall(r"Grad-CAM for [^:]*: \u2212?[\d.e-]+ to", page)) == 4
    assert len(re.findall('<p class="verdict (yes|no|open)"><b class="\\1">', page)) == 3
    for words in (
        "prefers-color-scheme: dark",
        'name="viewport"',
        "What may be concluded",
        "<code>0.1</code>",
        "an example",
    ):
        assert words in page
    for check in ("Completeness", "Class sensitivity", "Randomisation", "Deletion", "Mosaics"):
        assert f"<h3>{check}</h3>" in page
    assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []


def findings(maps, holds):
    rows = [Row(check, "occlusion", 1.0, None, held, "Words.") for check, held in zip(CHECKS, holds, strict=True)]
    return Findings(torch.zeros(len(maps), dtype=torch.int64), {"occlusion": maps}, rows, {"occlusion": "Read it."})


@pytest.mark.parametrize(
    ("holds", "kind"),
    [
        ((None, True, True, True, True), "yes"),
        ((None, True, True, True, None), "open"),
        ((None, None, True, False, None), "no"),
        ((False, True, True, True, True), "open"),  # its verdict says to read the order of the values, not their size
    ],
)
def test_the_edge_of_a_verdict_has_the_colour_of_its_checks(holds, kind):
    text = _verdict(findings(torch.rand(2, 8, 8), holds), "occlusion")
    assert f'class="verdict {kind}"' in text and ": passed</b>" not in text and ": failed</b>" not in text


def test_maps_without_positive_values_have_no_positive_evidence():
    x = torch.rand(2, 3, 16, 16)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    text = "".join(_places(net, x, findings(-torch.rand(2, 16, 16), [None] * 5), "1"))
    assert "no positive evidence" in text and "nan" not in text
    blind = frame_share(evaluation.mean_of_maps(net, x, layer="1"))[0]
    assert f"feature maps</th><td>{blind:.0%} of the positive evidence" in text


def test_maps_of_pixels_are_summed_for_the_eye():
    values = torch.rand(65, 66)
    seen, words = _for_the_eye(values, "integrated gradients")
    assert seen.shape == values.shape and "4 x 4" in words
    assert torch.allclose(seen[4, 8], values[4:8, 8:12].sum()) and torch.allclose(seen[64, 65], values[64:, 64:].sum())
    for other in (values, "Grad-CAM"), (values[:28, :28], "integrated gradients"):  # no dust; too few pixels
        assert torch.equal(_for_the_eye(*other)[0], other[0])


def test_too_few_pictures_and_too_few_answers_are_said_once(kinds):
    found = load_any(f"{kinds}/kinds.py:plain", side=32)
    text = write_report(found, [kinds / "0.png"], kinds / "page.html").read_text(encoding="utf-8")
    assert text.count("Give two or more pictures") == 1 and "1 picture of 32 x 32 pixels" in text
    text = write_report(found, [kinds / "0.png"] * 3, kinds / "page.html").read_text(encoding="utf-8")
    assert text.count("All 3 pictures have the same answer") == 1


def test_the_recipes_of_the_courses_weights_are_put_in_words():
    assert _trained_on("ImageNet") == "trained on ImageNet"
    text = _trained_on(load_classifier("shapes_resnet").trained_on)
    assert "7,000 of one shape, 1,000 of one shape away from the centre, and 2,000 of two shapes" in text
    text = _trained_on(load_classifier("shapes_watermark").trained_on)
    assert text.endswith("with a watermark that tells the class, beginning with the weights of shapes_resnet")


def test_a_preprocess_that_gives_something_else_is_refused(kinds):
    found = load_any(f"{kinds}/kinds.py:plain", side=32)
    right = found.preprocess
    for wrong, words in (lambda many: right(many).numpy(), "a ndarray"), (lambda many: right(many[:1]), "input of 1"):
        found.preprocess = wrong
        with pytest.raises((TypeError, ValueError), match=words):
            write_report(found, [kinds / "0.png", kinds / "1.png"], kinds / "page.html")
    found.preprocess, found.categories = right, ["a", "b"]
    with pytest.raises(ValueError, match="3 logits and 2 categories"):
        write_report(found, [kinds / "0.png"], kinds / "page.html")


@pytest.mark.parametrize("count", [1, 3])
def test_each_picture_needs_its_title(folder, count):
    with pytest.raises(ValueError, match=f"{count} titles for 2 pictures"):
        write_report(
            load_classifier(NET), [folder / "0.png", folder / "1.png"], folder / "a.html", titles=["a"] * count
        )


def test_pictures_of_four_channels_are_shown_as_their_mean():
    seen = torch.rand(2, 4, 8, 8)
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier(net, list("abcd"), lambda pictures: seen, "1", "course", "four", "nothing")
    text = "".join(_pictures(classifier, seen, findings(torch.rand(2, 8, 8), [None] * 5), ["one", "two"]))
    assert text.count("<img") == 4


@pytest.mark.parametrize("layer", ["layer9", "fc"])
def test_a_layer_is_looked_at_before_anything_is_computed(folder, monkeypatch, layer):
    monkeypatch.setattr("helpers.report.page.five_checks", lambda *a, **k: pytest.fail("the checks have begun"))
    with pytest.raises(ValueError, match="layer"):
        write_report(load_classifier(NET), [folder / "0.png"], folder / "page.html", layer=layer)


def test_half_a_page_is_never_left(folder, monkeypatch):
    out = folder / "page.html"
    out.write_text("the page of yesterday", encoding="utf-8")
    monkeypatch.setattr("helpers.report.page.Path.chmod", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(SystemExit, match="disk full"):
        main([f"{folder}/mine.py:build", str(folder / "0.png"), "--to", str(out), "--side", "32"])
    assert out.read_text(encoding="utf-8") == "the page of yesterday"
    assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet19", "."], "did you mean"),
        (["shapes_resnet", "nowhere"], "check the path"),
        (["shapes_resnet", "0.png", "--layer", "layer9"], "has no layer"),
        (["shapes_resnet", "0.png", "--to", "nowhere/page.html"], "There is no folder"),
        (["shapes_resnet", "0.png", "--side", "64"], "leave out --side"),
        (["shapes_resnet", "0.png", "--most", "0"], "--most 0 leaves no picture"),
        (["mine.py:build", "0.png", "--classes", "nowhere.txt"], "nowhere.txt, cannot be read: check the path"),
        (["mine.py:build", "0.png", "--classes", "0.png"], "no text file"),
        (["mine.py:build", "0.png", "--std", "0"], "--std 0"),
    ],
)
def test_the_command_line_says_one_sentence(folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match=words):
        main(arguments)


@pytest.mark.parametrize(("to", "words"), [(".", "is a folder"), ("nowhere/page.html", "There is no folder")])
def test_where_the_page_goes_is_looked_at_before_the_network_is_loaded(folder, monkeypatch, to, words):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("helpers.report.__main__.load_any", lambda *a, **k: pytest.fail("the network is loaded"))
    with pytest.raises(SystemExit, match=words):
        main(["shapes_resnet", "0.png", "--to", to])
