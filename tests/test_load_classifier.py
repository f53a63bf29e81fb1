"""One door to all classifiers: the course's nets, their stand-ins, their layers and their preprocessing."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models
from PIL import Image
from safetensors.torch import save_file

import helpers.models.load
from helpers import course, models
from helpers.data import Picture, photograph, pictures
from helpers.models import load_classifier

NETS = {
    "digits_dnn_mnist": models.MnistDNN,
    "digits_cnn_mnist": models.MnistCNN,
    "shapes_resnet": models.ShapesResNet,
    "shapes_vgg": models.ShapesVGG,
    "shapes_watermark": models.ShapesResNet,
    "shapes_vit": models.ShapesViT,
}


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """A folder with untrained weights for the course's nets, in half precision."""
    monkeypatch.setattr(course, "DATASETS", tmp_path)
    (tmp_path / "weights").mkdir()
    torch.manual_seed(0)
    for name, kind in NETS.items():
        state = {key: value.half() for key, value in kind().state_dict().items()}
        save_file(state, tmp_path / "weights" / f"{name}.safetensors")
    return tmp_path / "weights"


@pytest.mark.parametrize("name", NETS)
def test_course_nets(weights, name):
    classifier = load_classifier(name)
    assert (classifier.name, classifier.world, len(classifier.categories)) == (name, "course", 10)
    assert isinstance(classifier.model, NETS[name]) and not classifier.model.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in classifier.model.parameters())
    found = pictures(classifier, 12)
    batch = classifier.preprocess(found)
    assert batch.shape == ((12, 1, 28, 28) if "digits" in name else (12, 3, 128, 128))
    assert classifier.model(batch).shape == (12, 10)
    assert torch.equal(batch[3:4], classifier.preprocess(found[3].image))
    if "shapes" in name:
        maps = dict(classifier.model.named_modules())[classifier.layer]
        shapes = []
        maps.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
        classifier.model(batch)
        assert shapes == [(12, 65, 64) if name == "shapes_vit" else (12, 128, 8, 8)]  # tokens, or maps
    assert all(isinstance(picture, Picture) and picture.image.dtype == np.uint8 for picture in found)
    assert sorted({picture.categories[0] for picture in found}) == list(range(10))
    assert [len(picture.masks) for picture in found] == [int("shapes" in name)] * 12


@pytest.mark.parametrize(
    "name", ["resnet18", "resnext50_32x4d", "squeezenet1_1", "densenet161", "vgg16", "vgg11_bn", "alexnet"]
)
def test_the_real_network_takes_the_place_of_torchvisions_and_a_line_says_so_each_time(capsys, name):
    for _ in range(2):
        classifier = load_classifier(name)
        assert (classifier.name, classifier.world) == ("efficientnet_lite0", "course")
        assert capsys.readouterr().out == f"In place of {name}: efficientnet_lite0, the real network that is here.\n"


@pytest.mark.parametrize("name", ["shapes_resnet", "shapes_vgg", "shapes_watermark"])
def test_a_net_of_shapes_takes_no_photograph(name):
    classifier = load_classifier(name)
    with pytest.raises(ValueError, match=rf"451 x 300 pixels; {name} knows ten shapes .*'efficientnet_lite0'"):
        classifier.preprocess(photograph("chelsea"))
    assert classifier.preprocess(pictures(classifier, 1)).shape == (1, 3, 128, 128)


@pytest.mark.parametrize("name", ["digits_cnn_mnist", "shapes_resnet"])
def test_bounds_are_black_and_white_and_unprocess_undoes_preprocess(name):
    classifier = load_classifier(name)
    black, white = classifier.bounds
    channels = 1 if name == "digits_cnn_mnist" else 3
    assert black.shape == white.shape == (1, channels, 1, 1) and (black < white).all()
    picture = np.random.default_rng(0).integers(0, 256, (28, 28) if channels == 1 else (128, 128, 3), np.uint8)
    seen = classifier.unprocess(classifier.preprocess(picture).requires_grad_())
    expected = torch.from_numpy(picture).float().view(*picture.shape[:2], channels).permute(2, 0, 1) / 255
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-6)
    assert classifier.unprocess(torch.full((1, channels, 4, 4), 99.0)).max() == 1, "beyond white is white"


def test_missing_and_bad_weights_name_file_and_cure(weights):
    file = weights / "shapes_vgg.safetensors"
    for data, fault in [
        (b"", "is damaged"),
        (file.read_bytes()[:3000], "is damaged"),
        (b"x" * 500, "is damaged"),
    ]:
        file.write_bytes(data)
        with pytest.raises(RuntimeError, match=rf"shapes_vgg.safetensors {fault}.*`make data`"):
            load_classifier("shapes_vgg")
    save_file({"features.0.weight": torch.zeros(3)}, file)
    with pytest.raises(RuntimeError, match="shapes_vgg.safetensors does not fit shapes_vgg: .*`make data`"):
        load_classifier("shapes_vgg")
    file.unlink()
    with pytest.raises(RuntimeError, match="shapes_vgg.safetensors is missing: .*`make data`"):
        load_classifier("shapes_vgg")


def test_unknown_names_get_candidates():
    with pytest.raises(ValueError, match="no classifier 'resnet19'; did you mean resnet18"):
        load_classifier("resnet19")
    with pytest.raises(ValueError, match="did you mean efficientnet_lite0, digits_dnn_mnist"):
        load_classifier("?")


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("wide_resnet50_2", "layer4"),
        ("squeezenet1_0", "features"),
        ("densenet121", "features"),
    ]
    + [
        ("vgg11", "features.19"),
        ("vgg16", "features.29"),
        ("vgg19", "features.35"),
        ("vgg11_bn", "features.27"),
    ],
)
def test_last_stage_of_the_lessons_nets(name, layer):
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
    assert helpers.models.load._last_stage(name, model, None) == layer
    assert layer in dict(model.named_modules())


@pytest.mark.parametrize(
    ("name", "layer"),
    [("mobilenet_v2", "features"), ("shufflenet_v2_x0_5", "conv5"), ("mnasnet0_5", "layers")],
)
def test_last_stage_of_other_nets(name, layer):
    model = torchvision.models.get_model(name).eval()
    preprocess = helpers.models.load._each(lambda picture: torch.zeros(3, 96, 96))
    assert helpers.models.load._last_stage(name, model, preprocess) == layer
    assert not any(module._forward_hooks for module in model.modules())


def test_preprocess_of_digits(weights, tmp_path):
    preprocess = load_classifier("digits_cnn_mnist").preprocess
    digit = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(digit).save(tmp_path / "digit.png")
    as_float = torch.from_numpy(digit).float() / 255
    for picture in (
        digit,
        np.stack([digit] * 3, 2),
        tmp_path / "digit.png",
        as_float,
        as_float[None],
        as_float.numpy(),
    ):
        torch.testing.assert_close(preprocess(picture), as_float[None, None])
    assert preprocess([digit, as_float]).shape == preprocess(torch.rand(2, 1, 28, 28)).shape == (2, 1, 28, 28)
    for other in (np.full((40, 60), 255, np.uint8), torch.ones(56, 56)):
        torch.testing.assert_close(preprocess(other), torch.ones(1, 1, 28, 28))
    for bad in (as_float * 255, torch.full((28, 28), torch.nan), torch.rand(3, 28, 28)):
        with pytest.raises(ValueError, match="values from 0 to 1"):
            preprocess(bad)
    with pytest.raises(ValueError, match="no picture in this list"):
        preprocess([])
