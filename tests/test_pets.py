"""Cats and dogs of the public world: read with their masks when they are here, fetched only when asked for."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from helpers.data.fetched import connection, pets
from helpers.data.fetched.connection import FetchError
from loopback import left

COUNT = 6  # pictures in each half


def packed(folder):
    """The two archives, tiny: of each half COUNT pictures, cats first; an animal is a bright block of its own place."""
    names = {half: [f"{kind}_{half}_{i}" for kind in "cd" for i in range(COUNT // 2)] for half in ("trainval", "test")}
    rng = np.random.default_rng(0)
    for part in ("images", "annotations/trimaps"):
        (folder / part).mkdir(parents=True)
    for half, files in names.items():
        lines = []
        for i, name in enumerate(files):
            outline = np.full((20 + i, 30), 2, np.uint8)
            outline[4:12, 5 + i : 15 + i] = 3
            outline[5:11, 6 + i : 14 + i] = 1
            picture = rng.integers(0, 50, (*outline.shape, 3), np.uint8)
            picture[outline == 1] += 200
            Image.fromarray(picture).save(folder / "images" / f"{name}.jpg", quality=100, subsampling=0)
            Image.fromarray(outline).save(folder / "annotations" / "trimaps" / f"{name}.png")
            lines.append(f"{name} {i + 1} {1 + (name[0] == 'd')} 1\n")
        (folder / "annotations" / f"{half}.txt").write_text("".join(lines), encoding="utf-8")
    archives = {}
    for part in ("images", "annotations"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", encoding="utf-8") as archive:
            archive.add(folder / part, part)
        archives[f"{part}.tar.gz"] = buffer.getvalue()
    return archives


@pytest.fixture
def oxford(server, tmp_path_factory, monkeypatch):
    """The stand-in server with the two archives, in place of the public one."""
    archives = packed(tmp_path_factory.mktemp("pets"))
    server.files.update(archives)
    resources = [(server.url + name, hashlib.md5(data).hexdigest()) for name, data in archives.items()]
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", resources)
    return server


def test_nothing_is_fetched_unasked(oxford, tmp_path):
    assert not pets.present()
    with pytest.raises(FetchError, match=r"missing or damaged: delete it and run pets\.fetch"):
        pets.load(4)
    assert oxford.asked == [] and left(tmp_path) == set()


def test_fetched_once_then_read(oxford, monkeypatch, capsys):
    pets.fetch()
    assert pets.present() and set(oxford.asked) == {"images.tar.gz", "annotations.tar.gz"}
    asked = len(oxford.asked)
    oxford.fault = "mute"  # what is here needs no answer from the network
    monkeypatch.setattr(pets, "PATIENCE", 0.3)
    pets.fetch()
    assert len(oxford.asked) == asked
    assert "774 MB\n" in (out := capsys.readouterr().out) and "774 MB, here already" in out
    for half in (pets.load(4), pets.load(4, train=False)):
        assert half.labels.tolist() == [0, 1, 0, 1]
        for image, mask in zip(half.images, half.masks, strict=True):
            assert image.dtype == np.uint8 and image.shape == (*mask.shape, 3) and mask.sum() == 48
            assert image[mask].min() > 150 > image[~mask].max()
    assert len(pets.load(3).images) == 3 and len(pets.load(500).images) == COUNT
    first, more = pets.load(2).images[0], pets.load(6).images[0]
    np.testing.assert_array_equal(first, more)
    assert not np.array_equal(first, pets.load(2, train=False).images[0])


def test_the_course_world_has_no_pets(oxford, monkeypatch):
    pets.fetch()
    asked = len(oxford.asked)
    monkeypatch.setenv("COURSE_WORLD", "course")
    assert not pets.present()
    with pytest.raises(FetchError, match="set COURSE_WORLD=auto"):
        pets.fetch()
    assert len(oxford.asked) == asked


@pytest.mark.parametrize(
    ("fault", "message"), [("404", "answers 404"), ("checksum", "wrong checksum"), ("stalls", "silent for 0.4 seconds")]
)
def test_a_faulty_server_is_named_and_a_second_try_is_whole(oxford, monkeypatch, fault, message):
    monkeypatch.setattr(connection, "SILENCE", 0.4)
    oxford.fault, oxford.faulty = fault, "annotations"
    with pytest.raises(FetchError, match=message) as caught:
        pets.fetch()
    assert "pets.fetch()" in str(caught.value) and not pets.present()
    oxford.fault = ""
    monkeypatch.setattr(connection, "SILENCE", 10)
    pets.fetch()
    assert len(pets.load(6).images) == 6


def test_no_answer_from_the_server(oxford, monkeypatch):
    monkeypatch.setattr(pets, "PATIENCE", 0.3)
    oxford.fault = "mute"
    with pytest.raises(FetchError, match=r"no answer from 127\.0\.0\.1\. Run pets\.fetch"):
        pets.fetch()


def test_a_damaged_folder_says_so(oxford, tmp_path):
    pets.fetch()
    next(tmp_path.rglob("c_trainval_0.jpg")).write_bytes(b"no picture")
    with pytest.raises(FetchError, match="missing or damaged"):
        pets.load(6)
    next(tmp_path.rglob("test.txt")).unlink()
    with pytest.raises(FetchError, match="missing or damaged"):
        pets.load(2, train=False)
