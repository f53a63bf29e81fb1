"""helpers.report: layers are proposed, inputs looked at, maps checked, networks and pictures taken or refused."""

import re

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from helpers import data, evaluation
from helpers.data import shapes
from helpers.models import Classifier, load_classifier
from helpers.report import find_pictures, five_checks, inspect_input, load_any, propose_layers, write_report
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
from nets import slim
from test_contract import assert_same, state

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
    with pytest.raises(ValueError, match="both mean and std"):
        inspect_input(x, mean=0.5)


def test_exchanged_colours_are_noticed_by_a_network_that_needs_them():
    class Red(nn.Module):
        def forward(self, x):
            red, _, blue = x.mean((2, 3)).unbind(1)
            return torch.stack([10 * (red - blue).relu(), torch.zeros_like(red)], 1)

    x = torch.rand(5, 3, 8, 8) * torch.tensor([1.0, 0.5, 0.3])[:, None, None]
    assert inspect_input(x, Red()) == [] and "BGR" in inspect_input(x.flip(1), Red())[0]


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
        ("whole.pt", "runs code"),
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
    assert [file.name for file in files] == ["0.png", "1.png", "3.png"] and len(left_out) == 2
    assert "broken.jpg" in left_out[0] and "2 of 5" in left_out[1]
    for paths, words in ([str(folder / "nowhere")], "check the path"), ([str(folder / "notes.txt")], "no picture in"):
        with pytest.raises(Refused, match=words):
            find_pictures(paths)


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
    assert "http" not in page and "<script" not in page and "<link" not in page and "<b>cat" not in page
    assert set(re.findall(r'src="(\w+):', page)) == {"data"} and page.count("<img") == 16
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
    ],
)
def test_the_command_line_says_one_sentence(folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match=words):
        main(arguments)
