"""Pictures of every kind become one kind; and the block on the network holds."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.data import Picture, pictures, read_picture
from helpers.models import Classifier
from no_network import attempts


def test_pictures_of_photographs():
    classifier = Classifier(torch.nn.Identity(), [], lambda picture: picture, "", "public", "resnet18", "")
    found = pictures(classifier, 2)
    assert [picture.categories for picture in found] == [(285,), (967,)] and found[0].masks == ()
    with pytest.raises(ValueError, match="ask for one picture or more"):
        pictures(classifier, 0)


def test_read_picture_makes_one_kind_of_all(tmp_path):
    rgb = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    for same in (
        rgb,
        Image.fromarray(rgb),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        torch.from_numpy(rgb),
    ):
        assert np.array_equal(read_picture(same), rgb)
    assert np.array_equal(read_picture(Picture(rgb, "noise", ())), rgb)
    for grey in (rgb[:, :, 0], rgb[:, :, :1]):
        assert np.array_equal(read_picture(grey), np.stack([rgb[:, :, 0]] * 3, 2))
    clear = np.dstack([rgb, np.zeros((6, 8), np.uint8)])
    assert (read_picture(clear) == 255).all()
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert (read_picture(tmp_path / "clear.png") == 255).all()
    deep = Image.fromarray(rgb[:, :, 0].astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    assert np.array_equal(read_picture(tmp_path / "deep.png")[:, :, 1], rgb[:, :, 0])


def test_read_picture_turns_a_photograph_upright(tmp_path):
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: the left half belongs on top
    picture.save(tmp_path / "turned.png", exif=exif)
    upright = read_picture(tmp_path / "turned.png")
    assert upright.shape == (40, 20, 3) and upright[:20].min() == 255 and upright[20:].max() == 0


def test_read_picture_refuses_in_one_sentence(tmp_path):
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("no picture")
    for file in ("cut.png", "text.jpg"):
        with pytest.raises(ValueError, match=f"{file} cannot be read as a picture"):
            read_picture(tmp_path / file)
    for file in ("none.png", "."):
        with pytest.raises(FileNotFoundError, match="There is no picture .*: check the path"):
            read_picture(tmp_path / file)
    with pytest.raises(ValueError, match="save the picture on this machine"):
        read_picture("https://example.org/cat.jpg")
    for shape in ((3, 20, 20), (20, 20, 2), (2, 20, 20, 3), (20,), (0, 5, 3)):
        with pytest.raises(ValueError, match="is no picture: put the colours last"):
            read_picture(np.zeros(shape, np.uint8))
    with pytest.raises(TypeError, match="is uint8"):
        read_picture(np.zeros((4, 4, 3)))
    with pytest.raises(TypeError, match="not NoneType"):
        read_picture(None)


def test_the_network_is_blocked_here_and_in_every_python_started_from_here():
    attempts.clear()
    for reach in (
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.getaddrinfo("example.org", 80),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53)),
    ):
        with pytest.raises(OSError, match="the tests allow no"):
            reach()
    assert attempts == ["192.0.2.1", "example.org", "example.org", "192.0.2.1"]
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "the tests allow no look-up of 192.0.2.1" in child.stderr
    assert (os.environ["COURSE_WORLD"], os.environ["MPLBACKEND"]) == ("course", "agg")
