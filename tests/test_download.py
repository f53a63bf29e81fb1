"""Downloads that go wrong: what comes is whole and checked, or it is not there."""

import errno
import gzip
import os
import pickle
import re
import socket
from pathlib import Path

import pytest
import torch
import torchvision.models
from torchvision.datasets import utils

from helpers import course
from helpers.data import fetch, load_digits
from helpers.data.fetched import connection, public_files, public_world
from helpers.data.fetched.connection import FetchError
from helpers.models import load_classifier
from loopback import FILES, NAME, WEIGHTS, full_disk, left, made_files

FAULTS = {
    "404": "answers 404",
    "checksum": "wrong checksum",
    "truncated": "wrong checksum|connection",
    "stalls": "silent for 0.4 seconds",
    "mute": "no answer from 127.0.0.1",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["mnist", NAME])
def test_a_faulty_server_leaves_nothing_behind(server, tmp_path, capsys, monkeypatch, fault, name):
    if fault == "mute":
        monkeypatch.setattr(public_world, "GLANCE", 0.3)
        monkeypatch.setattr(public_world, "PATIENCE", 0.3)
    if fault == "stalls":
        monkeypatch.setattr(connection, "SILENCE", 0.4)
    server.fault, server.faulty = fault, "t10k-images" if name == "mnist" else "net"
    whole = {file for file in FILES if file.startswith("train")} if name == "mnist" and fault != "mute" else set()
    use = (
        (lambda **world: load_digits(**world).world)
        if name == "mnist"
        else (lambda **world: load_classifier(name, **world))
    )
    assert use() in ("course", "efficientnet_lite0")
    asked = len(server.asked)
    assert use() in ("course", "efficientnet_lite0")
    assert len(server.asked) == asked  # what failed once is not tried again unasked
    out = capsys.readouterr().out
    assert out.count("Going on in the course world") == 1
    assert out.count("\n") == 3
    assert left(tmp_path) == whole
    for asked in (lambda: fetch(name), lambda: use(world="public")):
        with pytest.raises(FetchError, match=FAULTS[fault]) as caught:
            asked()
        assert f"fetch({name!r})" in str(caught.value) and "COURSE_WORLD=course" in str(caught.value)
        assert left(tmp_path) == whole
    assert socket.getdefaulttimeout() is None
    server.fault = ""
    monkeypatch.setattr(public_world, "PATIENCE", 10)
    monkeypatch.setattr(connection, "SILENCE", 10)
    fetch(name)
    assert use() not in ("course", "efficientnet_lite0")


@pytest.mark.parametrize("name", ["mnist", NAME])
def test_a_full_disk_leaves_nothing_half_written(server, tmp_path, capsys, monkeypatch, name):
    full_disk(monkeypatch, utils if name == "mnist" else torch.hub)
    with pytest.raises(FetchError, match="the disk is full"):
        fetch(name)
    assert left(tmp_path) == set()
    assert server.asked.count(FILES[0]) <= 2  # no other file, no other mirror


def test_a_disk_that_fills_while_unpacking(server, tmp_path, monkeypatch):
    def write(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        with pytest.raises(FetchError, match="the disk is full"):
            fetch("mnist")
    assert left(tmp_path) == set(FILES)
    server.asked.clear()
    fetch("mnist")
    assert server.asked == []


def test_an_interrupted_download_goes_on_with_what_is_whole(server, tmp_path, monkeypatch):
    real = utils._urlretrieve

    def interrupted(url, filename, *args):
        if "t10k-images" in url:
            Path(filename).write_bytes(b"half")
            raise KeyboardInterrupt
        real(url, filename, *args)

    with monkeypatch.context() as patch:
        patch.setattr(utils, "_urlretrieve", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_digits()
    assert left(tmp_path) == set(FILES[:2])
    (tmp_path / "data" / "MNIST.part" / FILES[2]).write_bytes(b"half")  # as a kernel that was killed leaves it
    server.asked.clear()
    assert load_digits().world == "public"
    assert set(server.asked) == set(FILES[2:])
    assert left(tmp_path) == {Path(file).stem for file in FILES}


def test_the_second_mirror_helps(server, monkeypatch):
    mirrors = ["http://mirror.invalid/", server.url + "empty/", *public_files.MNIST_MIRRORS]
    monkeypatch.setattr(public_files, "MNIST_MIRRORS", mirrors)
    assert load_digits(world="public").world == "public"


def test_damaged_mnist_on_disk_is_named(server):
    fetch("mnist")
    raw = course.downloads() / "MNIST" / "raw"
    labels = (raw / "train-labels-idx1-ubyte").read_bytes()
    for file, data, fault in [
        ("train-images-idx3-ubyte", (raw / "train-images-idx3-ubyte").read_bytes()[:1000], "is damaged"),
        ("train-images-idx3-ubyte", labels, "does not hold MNIST"),
        ("train-labels-idx1-ubyte", b"", "is damaged"),
        ("train-labels-idx1-ubyte", gzip.compress(labels), "is damaged"),
    ]:
        good = (raw / file).read_bytes()
        (raw / file).write_bytes(data)
        with pytest.raises(FetchError, match=rf"{file} {fault}: delete it and run fetch\('mnist'\)"):
            load_digits()
        (raw / file).write_bytes(good)
    (raw / file).unlink()
    assert load_digits().world == "public"


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_damaged_or_foreign_weights_on_disk_are_named(server, tmp_path, monkeypatch, capsys):
    file = tmp_path / "torch" / "hub" / "checkpoints" / Path(WEIGHTS.url).name
    file.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for data, fault in [
        (made_files()[1][:5000], "is damaged"),
        (b"", "is damaged"),
        (b"<html>please log in</html>", "is damaged"),
        (pickle.dumps(Bomb(), 2), "is damaged"),
    ]:
        file.write_bytes(data)
        with pytest.raises(FetchError, match=rf"{re.escape(str(file))} {fault}: delete it and run fetch"):
            load_classifier(NAME, world="auto")
    torch.save({"a": Bomb()}, file)
    with pytest.raises(FetchError, match="is damaged"):
        load_classifier(NAME, world="auto")
    assert not Path("ran").exists()
    for state in ({"features.0.weight": torch.zeros(3)}, torchvision.models.squeezenet1_0().state_dict()):
        torch.save(state, file)
        with pytest.raises(FetchError, match="holds the weights of another net than squeezenet1_1: delete it"):
            load_classifier(NAME, world="auto")
    assert load_classifier(NAME) == "efficientnet_lite0", "in a lesson the real network takes its place"
    assert "holds the weights of another net" in capsys.readouterr().out
    assert server.asked == [] and "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_weights_that_are_not_torchvisions_are_noticed(server, tmp_path, capsys):
    fetch(NAME)
    assert "is not torchvision's" not in capsys.readouterr().out
    file = tmp_path / "torch" / "hub" / "checkpoints" / Path(WEIGHTS.url).name
    torch.save(torchvision.models.squeezenet1_1().state_dict(), file)
    assert load_classifier(NAME).world == "public"
    assert f"{file} is not torchvision's, as its checksum is not that in its name" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read_or_written(server, tmp_path, monkeypatch, capsys):
    (tmp_path / "data").write_text("a file, not a folder", encoding="utf-8")
    (tmp_path / "torch").write_text("a file, not a folder", encoding="utf-8")
    assert load_digits().world == "course" and load_classifier(NAME) == "efficientnet_lite0"
    assert capsys.readouterr().out.count("cannot be written to") == 2

    def refused(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(FetchError, match="cannot be read: allow yourself"):
        load_digits()
