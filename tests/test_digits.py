"""The course's digits: what the generator draws, the files that are shipped, and the nets trained on them."""

import gzip
import runpy

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.datasets import MNIST

from helpers.course import DATASETS, ROOT
from helpers.data.digits import RAW, frame, generate, load
from helpers.data.fetched.idx_format import read_idx, write_idx
from helpers.models import MnistCNN, MnistDNN
from helpers.training import measure_accuracy

REAL = ROOT.parent / "shared" / "assets" / "MNIST" / "raw"
FILES = [f"{part}-{name}-ubyte.gz" for part in ("train", "t10k") for name in ("images-idx3", "labels-idx1")]
NETS = {
    "digits_cnn_mnist": MnistCNN,
    "digits_dnn_mnist": MnistDNN,
}


@pytest.fixture(scope="module")
def drawn():
    return generate(400, seed=7)


def trained(name):
    model = NETS[name]().eval()
    weights = load_file(DATASETS / "weights" / f"{name}.safetensors")
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    return model


def test_generate_gives_bytes_and_every_class(drawn):
    images, labels = drawn
    assert images.shape == (400, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (400,) and labels.dtype == np.int64
    assert set(labels) == set(range(10))


def test_a_digit_depends_on_seed_and_number_alone(drawn):
    images, labels = generate(20, seed=7)
    assert np.array_equal(images, drawn[0][:20]) and np.array_equal(labels, drawn[1][:20])
    assert not np.array_equal(images, generate(20, seed=8)[0])


def test_generate_refuses_a_negative_count():
    with pytest.raises(ValueError, match="count is -1"):
        generate(-1)


def test_digits_are_framed_as_in_mnist(drawn):
    grid = np.arange(28) - 13.5
    for image in drawn[0].astype(float):
        rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
        box = (np.ptp(rows) + 1, np.ptp(columns) + 1)
        assert 18 <= max(box) <= 20
        centre = np.array([image.sum(1) @ grid, image.sum(0) @ grid]) / image.sum()
        assert np.abs(centre).max() < 1


def test_frame_refuses_an_empty_canvas():
    with pytest.raises(ValueError, match="no ink"):
        frame(np.zeros((50, 50), np.uint8))


def test_frame_keeps_the_aspect_of_a_drawing():
    canvas = np.zeros((200, 300), np.uint8)
    canvas[20:120, 30:80] = 255
    rows, columns = (np.flatnonzero(frame(canvas).any(axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (20, 10)


@pytest.mark.parametrize("part", ["TRAIN", "TEST"])
def test_shipped_digits_are_what_the_script_draws(part):
    seed = runpy.run_path(str(ROOT / "tools" / "make_digits.py"))[part][1]
    images, labels = generate(150, seed)
    shipped, shipped_labels = load(part == "TRAIN")
    assert np.array_equal(labels, shipped_labels[:150])
    # OpenCV's anti-aliasing may differ between versions by a few grey levels at the edges
    difference = np.abs(images - shipped[:150, 0].numpy() * 255).mean((1, 2))
    assert (difference < 2).mean() >= 0.99


@pytest.mark.parametrize(("train", "count"), [(True, 4_000), (False, 2_000)])
def test_load_gives_tensors_for_the_nets(train, count):
    images, labels = load(train)
    assert images.shape == (count, 1, 28, 28) and images.dtype == torch.float32
    assert images.min() == 0 and images.max() == 1
    assert labels.shape == (count,) and labels.dtype == torch.int64
    assert (labels.bincount(minlength=10) / count - 0.1).abs().max() < 0.025


def test_torchvision_reads_the_shipped_files(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress((RAW / name).read_bytes()))
    for train in (True, False):
        images, labels = load(train)
        read = MNIST(tmp_path, train=train)
        assert torch.equal(read.data, (images[:, 0] * 255).round().byte())
        assert torch.equal(read.targets, labels)


@pytest.mark.parametrize("digit", [8, 0, 3])
def test_the_pictures_of_the_exercise_are_told_right(digit):
    image = cv2.imread(str(DATASETS / f"{digit}.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (28, 28) and image.dtype == np.uint8
    assert image[0].max() == 0 and image.max() > 200
    batch = torch.from_numpy(image)[None, None].float() / 255
    assert trained("digits_cnn_mnist")(batch).softmax(1)[0, digit] > 0.8


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_give_back_what_was_written(tmp_path, dtype, ending):
    array = np.arange(-30, 30).reshape(3, 4, 5).astype(dtype)
    paths = [tmp_path / f"{name}{ending}" for name in ("first", "second")]
    for path in paths:
        write_idx(path, array)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    read = read_idx(paths[0])
    assert read.dtype == array.dtype and np.array_equal(read, array)
    read[0] = 0  # it may be written to


def test_idx_files_may_be_empty(tmp_path):
    write_idx(tmp_path / "empty", np.zeros((0, 28, 28), np.uint8))
    assert read_idx(tmp_path / "empty").shape == (0, 28, 28)


def test_write_idx_refuses_types_that_the_format_lacks(tmp_path):
    with pytest.raises(ValueError, match="int64; convert"):
        write_idx(tmp_path / "labels", np.arange(3))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("picture", lambda data: b"\x89PNG" + data, "not an idx file"),
        ("type", lambda data: b"\0\0\x07" + data[3:], "not an idx file"),
        ("nothing", lambda data: b"", "not an idx file"),
        ("header", lambda data: data[:9], "cut short"),
        ("body", lambda data: data[:-1], "cut short"),
        ("text.gz", lambda data: b"<html>", "not a gzip file"),
        ("half.gz", lambda data: gzip.compress(data)[:-12], "cut short"),
        ("bits.gz", lambda data: gzip.compress(data)[:15] + b"\xff" * 12, "damaged|cut short"),
        ("tail.gz", lambda data: gzip.compress(data[:-5]), "cut short"),
    ],
)
def test_bad_idx_files_say_what_is_wrong(tmp_path, name, change, message):
    write_idx(tmp_path / "good", np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    (tmp_path / name).write_bytes(change((tmp_path / "good").read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", NETS)
def test_weights_are_small_and_say_where_they_come_from(name):
    path = DATASETS / "weights" / f"{name}.safetensors"
    assert path.stat().st_size < 4.3e6
    with safe_open(path, "pt") as file:
        about = file.metadata()
        assert all(file.get_tensor(key).dtype == torch.float16 for key in file.keys())  # noqa: SIM118
    assert about["trained_on"].startswith("MNIST") == name.endswith("mnist")
    assert {"recipe", "accuracy_course_test", "accuracy_mnist_test"} <= set(about)
    told = [f"{100 * float(about[f'accuracy_{part}_test']):.2f} %" for part in ("mnist", "course")]
    (row,) = [
        line
        for line in (DATASETS / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `{name}`")
    ]
    assert row.endswith(f"| {told[0]} | {told[1]} |"), "datasets/README.md tells other figures"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real MNIST is not in ../shared/assets/MNIST")
@pytest.mark.parametrize(
    ("name", "bar", "step"),
    [
        ("digits_cnn_mnist", 0.992, 4),
        ("digits_dnn_mnist", 0.92, 1),
    ],
)
def test_shipped_nets_know_mnist(name, bar, step):
    images, labels = (read_idx(REAL / f"t10k-{part}-ubyte") for part in ("images-idx3", "labels-idx1"))
    images = torch.from_numpy(images[::step])[:, None].float() / 255
    assert measure_accuracy(trained(name), images, torch.from_numpy(labels[::step]).long()) >= bar
