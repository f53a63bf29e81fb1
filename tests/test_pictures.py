"""Pictures of every kind become one kind; and the block on the network holds."""

import io
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError

from helpers.data import Picture, pictures, read_picture
from helpers.explorer.page import picture_in
from helpers.models import Classifier
from no_network import attempts


def test_pictures_of_photographs():
    classifier = Classifier(torch.nn.Identity(), [], lambda picture: picture, "", "public", "resnet18", "")
    found = pictures(classifier, 2)
    assert [picture.categories for picture in found] == [(967, 968), (872,)] and found[0].masks == ()
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


def door(name, image, path, **options):
    """A picture file given in one of the ways that read_picture takes: its path, its bytes, opened, opened by PIL."""
    image.save(path, **options)
    return {
        "path": lambda: path,
        "text": lambda: str(path),
        "bytes": path.read_bytes,
        "memory": lambda: memoryview(path.read_bytes()),
        "opened": lambda: path.open("rb"),
        "PIL": lambda: Image.open(path),
        "loaded": lambda: (opened := Image.open(path), opened.load())[0],
        "upload": lambda: picture_in(({"content": memoryview(path.read_bytes())},)),
    }[name]()


DOORS = ("path", "text", "bytes", "memory", "opened", "PIL", "loaded", "upload")


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize(("orientation", "bright"), [(1, "left"), (3, "right"), (6, "top"), (8, "bottom")])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_a_photograph_is_turned_upright_through_every_door(tmp_path, name, orientation, bright, kind):
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation  # how the camera was held: where the file's left half belongs
    upright = read_picture(door(name, picture, tmp_path / f"turned.{kind}", exif=exif))
    assert upright.shape == ((20, 40, 3) if orientation in (1, 3) else (40, 20, 3))
    grey, half = upright.mean(2), upright.shape[0] // 2
    parts = {"left": grey[:, :10], "right": grey[:, -10:], "top": grey[: half - 2], "bottom": grey[half + 2 :]}
    assert (
        parts[bright].min() > 240
        and parts[{"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[bright]].max() < 15
    )


def test_the_callers_picture_stays_as_it_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (40, 20)).save(file, "jpeg", exif=exif)
    opened = Image.open(file)
    assert [read_picture(opened).shape for _ in range(2)] == [(40, 20, 3)] * 2
    assert opened.size == (40, 20) and opened.getexif()[0x0112] == 6
    values = np.linspace(0, 1, 12).reshape(3, 4)
    tensor = torch.from_numpy(values.copy()).requires_grad_()
    read_picture(values), read_picture(tensor)
    assert np.array_equal(values, np.linspace(0, 1, 12).reshape(3, 4)) and np.array_equal(tensor.detach(), values)


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("dark", [1, 4, 1000], ids=["bright", "darker", "nearly black"])
def test_floats_are_never_stretched(tmp_path, dark):
    share = (RAMP / 255 / dark).astype(np.float32)
    Image.fromarray(share).save(tmp_path / "share.tif")
    tensor = torch.from_numpy(share)
    for picture in (share, share.astype(float), tensor, tensor[None], Image.fromarray(share), tmp_path / "share.tif"):
        found = read_picture(picture)
        assert found.dtype == np.uint8 and found.shape == (16, 16, 3)
        assert np.abs(found[..., 0] - RAMP / dark).max() <= 0.51


def in_16_bits(values, folder):
    """The same 16-bit picture as an array, opened by PIL, and in files."""
    Image.fromarray(values).save(folder / "deep.png")
    Image.fromarray(values).save(folder / "deep.tif")
    Image.fromarray(values.astype(np.int32)).save(folder / "deep32.tif")
    return values, Image.fromarray(values), *(folder / name for name in ("deep.png", "deep.tif", "deep32.tif"))


@pytest.mark.parametrize("dark", [1, 4, 200], ids=["bright", "darker", "nearly black"])
def test_16_bits_are_never_stretched(tmp_path, dark):
    for picture in in_16_bits(RAMP.astype(np.uint16) * 257 // dark, tmp_path):
        found = read_picture(picture)
        assert found.dtype == np.uint8 and found.shape == (16, 16, 3)
        assert np.abs(found[..., 0] - RAMP / dark).max() <= 0.51


def test_8_bits_in_16_are_refused_and_not_shown_as_black(tmp_path):
    for picture in in_16_bits(RAMP.astype(np.uint16), tmp_path):
        with pytest.raises(ValueError, match="from 0 to 255, where 16 bits go from 0 to 65535: scale it"):
            read_picture(picture)


def test_black_and_white_of_every_depth():
    for kind, top in ((np.uint8, 255), (np.uint16, 65535), (np.float16, 1), (np.float32, 1), (np.float64, 1)):
        assert read_picture(np.zeros((4, 5), kind)).max() == 0
        assert read_picture(np.full((4, 5, 3), top, kind)).min() == 255
    assert read_picture(torch.ones(3, 4, 5, dtype=torch.bfloat16)).min() == 255


@pytest.mark.parametrize("values", [(0, 255), (-1, 1), (0, 1.02), (0, np.nan), (0, np.inf)])
def test_floats_beyond_0_to_1_are_refused_with_the_cure(tmp_path, values):
    picture = np.full((6, 6), values[0], np.float32)
    picture[2:] = values[1]
    Image.fromarray(picture).save(tmp_path / "float.tif")
    for given, name in (
        (picture, "This array"),
        (torch.from_numpy(picture), "This array"),
        (tmp_path / "float.tif", "float.tif"),
    ):
        with pytest.raises(
            ValueError, match=rf"{name} holds floats from .* goes from 0 to 1: .*divide 0 to 255 by 255"
        ):
            read_picture(given)


def test_numbers_of_other_kinds_are_refused_with_the_cure(tmp_path):
    for kind in (np.int64, np.int32, np.uint32, bool):
        with pytest.raises(TypeError, match=r"is uint8 \(0 to 255\) or float \(0 to 1\), not .*: convert it"):
            read_picture(np.zeros((4, 4, 3), kind))
    for values in ([[0, 200]], [[0, 70000]], [[-5, 300]]):
        Image.fromarray(np.array(values, np.int32)).save(tmp_path / "whole.tif")
        with pytest.raises(ValueError, match="whole.tif holds numbers from .* 16 bits go from 0 to 65535: scale it"):
            read_picture(tmp_path / "whole.tif")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_colours_of_every_kind_keep_their_brightness(mode):
    for grey in (0, 255):
        picture = Image.new("RGB", (6, 8), (grey,) * 3)
        picture = picture.convert("P").convert("PA") if mode == "PA" else picture.convert(mode)
        assert np.abs(read_picture(picture).astype(int) - grey).max() <= 1


def test_colours_that_cannot_be_turned_into_rgb_are_named():
    with pytest.raises(ValueError, match="its colours are of the kind LAB"):
        read_picture(Image.new("LAB", (4, 4)))


def test_transparent_colours_of_a_palette_are_white(tmp_path):
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([10, 20, 30] + [0] * 765)
    picture.save(tmp_path / "clear.png", transparency=0)
    picture.save(tmp_path / "clear.gif", transparency=0)
    assert all((read_picture(tmp_path / name) == 255).all() for name in ("clear.png", "clear.gif"))


def test_channels_come_first_in_tensors_alone():
    rgb = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    first = torch.from_numpy(rgb).permute(2, 0, 1)
    assert np.array_equal(read_picture(first), rgb)
    assert np.array_equal(read_picture(first[:1]), np.stack([rgb[..., 0]] * 3, 2))
    opaque = torch.cat([first, torch.full((1, 6, 8), 255, dtype=torch.uint8)])
    assert np.array_equal(read_picture(opaque), rgb)
    assert np.array_equal(read_picture(first.float() / 255), rgb)
    for array in (first.numpy(), first.numpy()[:1], first[None]):
        with pytest.raises(ValueError, match="is no picture: put the colours last"):
            read_picture(array)


def test_read_picture_refuses_in_one_sentence(tmp_path):
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for file, fault in (("cut.png", "it is damaged"), ("text.jpg", "no JPEG or PNG"), ("empty.jpg", "it is empty")):
        for given, name in ((tmp_path / file, file), ((tmp_path / file).read_bytes(), "This file")):
            with pytest.raises(
                ValueError, match=f"{name} cannot be read as a picture: .*{fault}.*Choose a JPEG or PNG"
            ):
                read_picture(given)
    with pytest.raises(ValueError, match="This picture cannot be read as a picture: it is damaged"):
        read_picture(Image.open(tmp_path / "cut.png"))
    with pytest.raises(FileNotFoundError, match="There is no picture .*: check the path"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(ValueError, match="is a folder: give the path of one picture in it"):
        read_picture(tmp_path)
    with pytest.raises(ValueError, match="save the picture on this machine"):
        read_picture("https://example.org/cat.jpg")
    with (
        (tmp_path / "text.jpg").open(encoding="utf-8") as text,
        pytest.raises(TypeError, match="open it in binary mode"),
    ):
        read_picture(text)
    for shape in ((3, 20, 20), (20, 20, 2), (2, 20, 20, 3), (20,), (0, 5, 3)):
        with pytest.raises(ValueError, match="is no picture: put the colours last"):
            read_picture(np.zeros(shape, np.uint8))
    with pytest.raises(TypeError, match="not NoneType"):
        read_picture(None)


@pytest.mark.parametrize(
    ("brand", "kind"), [(b"heic", "a HEIC picture"), (b"mif1", "a HEIC picture"), (b"avif", "an AVIF picture")]
)
def test_pictures_of_phones_are_named(tmp_path, monkeypatch, brand, kind):
    def unknown(*args, **kwargs):
        raise UnidentifiedImageError

    monkeypatch.setattr(Image, "open", unknown)  # newer versions of Pillow may know AVIF
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(100))
    with pytest.raises(ValueError, match=f"phone.heic is {kind}.*: convert it to JPEG or PNG first"):
        read_picture(tmp_path / "phone.heic")
    with pytest.raises(ValueError, match=f"This file is {kind}"):
        picture_in(({"content": memoryview((tmp_path / "phone.heic").read_bytes())},))


def test_a_picture_with_too_many_pixels_is_named(tmp_path, monkeypatch):
    Image.new("L", (50, 50)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="huge.png has too many pixels to be opened: make it smaller"):
        read_picture(tmp_path / "huge.png")


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
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, encoding="utf-8")
    assert "the tests allow no look-up of 192.0.2.1" in child.stderr
    assert (os.environ["COURSE_WORLD"], os.environ["MPLBACKEND"]) == ("course", "agg")
