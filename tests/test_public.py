"""The public world against a server on this machine: which world is used, and what is said."""

import socket
import time
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

from helpers import course
from helpers.data import fetch, load_digits, pictures
from helpers.data.fetched import public_files, public_world
from helpers.data.fetched.connection import FetchError
from helpers.models import load_classifier
from loopback import FILES, NAME, WEIGHTS, left
from no_network import attempts

ASSETS = course.ROOT.parent / "shared" / "assets"
needs_assets = pytest.mark.skipif(
    not (ASSETS / "MNIST" / "raw").is_dir(), reason="needs real MNIST, weights and photographs in ../shared/assets"
)


def test_mnist_comes_whole_with_one_bar_and_one_line(server, tmp_path, capsys):
    train, test = load_digits(), load_digits(train=False)
    assert (train.world, train.images.shape, test.labels.tolist()) == (
        "public",
        (30, 1, 28, 28),
        list(range(10)),
    )
    assert train.images.dtype == torch.float32 and 0 <= train.images.min() < train.images.max() <= 1
    assert train.labels.dtype == torch.int64
    images, labels = public_world.mnist(train=False)
    reference = MNIST(course.downloads(), train=False)
    assert images.dtype == torch.uint8 and torch.equal(images, reference.data)
    assert torch.equal(labels, reference.targets)
    assert left(tmp_path) == {Path(file).stem for file in FILES}
    out, err = capsys.readouterr()
    assert out == "Digits: real ones, 30 of MNIST, for training.\nDigits: real ones, 10 of MNIST, for testing.\n"
    assert "mnist" in err and err.count("\n") == 1
    assert socket.getdefaulttimeout() is None


def test_weights_come_whole_with_one_bar_and_no_line(server, tmp_path, capsys):
    classifier = load_classifier(NAME)
    assert (classifier.world, classifier.name, classifier.layer) == ("public", NAME, "features")
    assert classifier.categories[285] == "Egyptian cat" and not classifier.model.training
    assert not any(parameter.requires_grad for parameter in classifier.model.parameters())
    assert [picture.categories for picture in pictures(classifier)][:2] == [(967, 968), (872,)]
    out, err = capsys.readouterr()
    assert out == "" and NAME in err and err.count("\n") == 1
    assert left(tmp_path) == {Path(WEIGHTS.url).name}
    asked = len(server.asked)
    load_classifier(NAME, world="public")
    assert len(server.asked) == asked


@pytest.mark.parametrize("hangs", [False, True])
def test_without_a_network_one_line_once_within_five_seconds(server, capsys, monkeypatch, hangs):
    def silence(*args, **kwargs) -> None:
        server.done.wait(30)
        raise OSError

    monkeypatch.setattr(public_files, "MNIST_MIRRORS", ["https://mirror.invalid/a/", "http://other.invalid/"])
    monkeypatch.setattr(WEIGHTS.value, "url", "https://weights.invalid/net-12345678.pth")
    if hangs:
        monkeypatch.setattr(socket, "getaddrinfo", silence)
    start = time.monotonic()
    for _ in range(2):
        assert load_digits().world == "course"
        assert load_classifier(NAME) == "efficientnet_lite0"
    assert time.monotonic() - start < 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "No answer from the network. Going on in the course world, with its own data and nets."
    assert lines[1:] == 2 * [
        "Digits: real ones, 4,000 of MNIST, for training.",
        f"In place of {NAME}: efficientnet_lite0, the real network that is here.",
    ]


def test_the_course_world_touches_neither_network_nor_public_files(server, monkeypatch):
    fetch("mnist", NAME)
    server.asked.clear()
    attempts.clear()
    monkeypatch.setenv("COURSE_WORLD", "course")
    assert load_digits().world == "course" and load_classifier("vgg19") == "efficientnet_lite0"
    assert load_classifier(NAME) == "efficientnet_lite0"
    assert load_digits(train=False, world="public").world == "public"
    with pytest.raises(FetchError, match="set COURSE_WORLD=auto"):
        fetch("mnist")
    assert server.asked == [] == attempts


def test_a_large_file_comes_only_when_asked_for(server, capsys, monkeypatch):
    attempts.clear()
    assert load_classifier("vgg19") == "efficientnet_lite0"
    assert "fetch('vgg19') gets vgg19, 548 MB" in capsys.readouterr().out
    with pytest.raises(FetchError, match=r"vgg19 \(548 MB\) is not here: run fetch\('vgg19'\), or set"):
        load_classifier("vgg19", world="public")
    assert attempts == []
    monkeypatch.setattr(public_world, "UNASKED", 1)
    assert load_classifier(NAME) == "efficientnet_lite0" and server.asked == []
    fetch(NAME)
    assert load_classifier(NAME).world == "public"


def test_fetch_says_what_it_does(server, capsys):
    fetch("photographs", NAME, NAME)
    assert capsys.readouterr().out.splitlines() == [
        "photographs: here already, they come with scikit-image",
        f"{NAME}: 4.7 MB",
        f"{NAME}: 4.7 MB, here already",
    ]
    with pytest.raises(ValueError, match="did you mean resnet18, "):
        fetch("mnist", "resnet19")
    with pytest.raises(ValueError, match="needs a name"):
        fetch()
    assert not any("train" in name for name in server.asked)


def test_worlds_are_checked(monkeypatch):
    with pytest.raises(ValueError, match="use one of auto, course, public"):
        load_digits(world="imagenet")
    with pytest.raises(ValueError, match="use one of auto, course, public"):
        load_classifier("shapes_vgg", world="Course")
    monkeypatch.setenv("COURSE_WORLD", "nowhere")
    with pytest.raises(ValueError, match="set it to one of auto, course, public"):
        load_digits()


@needs_assets
def test_real_mnist(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_WORLD", "public")
    monkeypatch.setenv("COURSE_DATA", str(ASSETS))
    found = load_digits(train=False)
    assert found.images.shape == (10_000, 1, 28, 28) and found.labels[:5].tolist() == [7, 2, 1, 0, 4]
    images, labels = public_world.mnist()
    assert images.shape == (60_000, 28, 28) and labels.bincount().tolist()[:2] == [5923, 6742]


@needs_assets
def test_real_imagenet_weights(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_WORLD", "public")
    monkeypatch.setenv("TORCH_HOME", str(ASSETS / "torch"))
    classifier = load_classifier("squeezenet1_0")
    photos = [ASSETS / "photos" / name for name in ("snake.png", "great_grey_owl.jpg", "toucan.jpg", "cat_dog.png")]
    names = ["king snake", "great grey owl", "toucan", "bull mastiff", "espresso"]
    with torch.no_grad():
        logits = classifier.model(classifier.preprocess([*photos, *pictures(classifier, 1)]))
    assert [classifier.categories[i] for i in logits.argmax(1)] == names
    assert "is not torchvision's" in capsys.readouterr().out  # that file was saved anew
