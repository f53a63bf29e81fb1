"""Film reviews of the public world: fetched once through nltk's index, checked, and read by nltk's readers."""

import hashlib
import io
import re
import socket
import sys
import time
import urllib.request
import warnings
import zipfile

import nltk.data
import nltk.downloader
import pytest
import torch
from torchvision.datasets import utils

from helpers.data import fetch
from helpers.data.fetched import connection, film_reviews, public_world
from helpers.data.fetched.connection import FetchError
from loopback import full_disk, left
from no_network import attempts

COUNT = 40  # sentences of each kind
ZIPS = {"sentence_polarity.zip", "opinion_lexicon.zip"}
HEADER = ";" * 40 + "\n; \n; Opinion Lexicon\n;\n; a list, one word a line\n;\n" + ";" * 40 + "\n\n"


def sentence(kind: str, i: int) -> list[str]:
    return [kind, f"number{i}", "is", "the", "café's", "own", "."]


def packed(package: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{package}/", b"")
        for name, data in files.items():
            archive.writestr(f"{package}/{name}", data)
    return buffer.getvalue()


def made_packages() -> dict[str, bytes]:
    """Both packages, small, with the folders, the files and the encodings of the real ones."""
    sentences = {
        f"rt-polarity.{kind}": "".join(" ".join(sentence(kind, i)) + " \n" for i in range(COUNT)).encode()
        for kind in ("neg", "pos")
    }
    words = {"positive-words.txt": "a+\nabound\n\ngood\n", "negative-words.txt": "2-faced\nnaïve\nbad\n"}
    return {
        "sentence_polarity.zip": packed("sentence_polarity", {"README": b"Sentence polarity", **sentences}),
        "opinion_lexicon.zip": packed(
            "opinion_lexicon", {name: (HEADER + text).encode("latin-1") for name, text in words.items()}
        ),
    }


def index(url: str, packages: dict[str, bytes], **sums: str) -> bytes:
    """An index like nltk's: a line for each package, one for a package that nobody asks for, and a collection."""
    lines = [
        f'<package id="{file[:-4]}" name="{file}" subdir="corpora" unzip="1" unzipped_size="99" size="{len(data)}" '
        f'checksum="{hashlib.md5(data).hexdigest()}" {sums.get(file[:-4], "")} url="{url}packages/{file}"/>'
        for file, data in {**packages, "other.zip": b""}.items()
    ]
    group = '<collection id="all" name="all"><item ref="opinion_lexicon"/><item ref="gone"/></collection>'
    text = f"<packages>{''.join(lines)}</packages><collections>{group}</collections>"
    return f'<?xml version="1.0"?>\n<nltk_data>{text}</nltk_data>'.encode()


@pytest.fixture
def mirror(server, monkeypatch):
    """The stand-in server with nltk's index and both packages, in place of the public one."""
    packages = made_packages()
    server.files = {**packages, "index.xml": index(server.url, packages)}
    monkeypatch.setattr(nltk.downloader.Downloader, "DEFAULT_URL", server.url + "index.xml")
    monkeypatch.setattr(nltk.downloader, "urlopen", urllib.request.urlopen)  # nltk's own refuses this machine
    return server


def place(tmp_path, package: str):
    return tmp_path / "data" / "nltk_data" / "corpora" / f"{package}.zip"


def test_fetched_once_then_read(mirror, tmp_path, capfd, monkeypatch):
    before = (list(nltk.data.path), getattr(nltk.downloader, "NETWORK_TIMEOUT", None), socket.getdefaulttimeout())
    assert not film_reviews.present()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fetch("reviews")
        assert film_reviews.present() and left(tmp_path) == ZIPS
        assert mirror.asked.count("index.xml") == 1 and set(mirror.asked) == {"index.xml", *ZIPS}
        asked = len(mirror.asked)
        mirror.fault = "mute"  # what is here needs no answer from the network
        fetch("reviews")
        assert all(public_world.ready("reviews", world) for world in ("auto", "public"))
        sentences, labels = film_reviews.load()
        praise, blame = film_reviews.lexicon()
    assert len(mirror.asked) == asked
    assert labels.dtype == torch.int64 and len(labels) == len(sentences) == 2 * COUNT * 9 // 10
    assert praise == {"a+", "abound", "good"} and blame == {"2-faced", "naïve", "bad"}
    assert isinstance(praise, frozenset) and isinstance(blame, frozenset)
    out, err = capfd.readouterr()
    assert out == "reviews: 0.5 MB\nreviews: 0.5 MB, here already\n"
    assert "reviews" in err and err.count("\n") == 1  # the bar
    after = (list(nltk.data.path), getattr(nltk.downloader, "NETWORK_TIMEOUT", None), socket.getdefaulttimeout())
    assert after == before


def test_the_split_is_fixed_disjoint_and_complete(mirror):
    fetch("reviews")
    both = [film_reviews.load(), film_reviews.load(train=False)]
    for sentences, labels in both:
        assert labels.tolist() == [0, 1] * (len(sentences) // 2)
        assert [words[0] for words in sentences] == [("neg", "pos")[label] for label in labels]
    train, test = ({tuple(words) for words in sentences} for sentences, _ in both)
    everything = {tuple(sentence(kind, i)) for kind in ("neg", "pos") for i in range(COUNT)}
    assert len(test) == 2 * COUNT // 10 and not train & test and train | test == everything
    assert film_reviews.load()[0] == both[0][0]
    drawn = [11, 25, 27, 38, 4, 5, 24, 14]  # the same on every machine; another numpy may not change it unseen
    assert [words[1] for words in both[1][0]] == [f"number{i}" for i in drawn]


def test_small_enough_to_come_unasked(mirror, tmp_path, capfd):
    assert public_world.ready("reviews", "auto") and left(tmp_path) == ZIPS
    assert len(film_reviews.load()[0]) == 2 * COUNT * 9 // 10
    assert capfd.readouterr().out == ""


def test_the_course_world_touches_neither_network_nor_files(mirror, tmp_path, monkeypatch):
    attempts.clear()
    assert not public_world.ready("reviews", "course")
    monkeypatch.setenv("COURSE_WORLD", "course")
    with pytest.raises(FetchError, match="set COURSE_WORLD=auto"):
        fetch("reviews")
    assert mirror.asked == [] == attempts and left(tmp_path) == set()
    with pytest.raises(FetchError, match=r"sentence_polarity\.zip is not here: run fetch\('reviews'\), or set"):
        film_reviews.load()
    with pytest.raises(FetchError, match=r"opinion_lexicon\.zip is not here: run fetch\('reviews'\), or set"):
        film_reviews.lexicon()


def test_without_a_network_one_line_once(mirror, capfd, monkeypatch):
    monkeypatch.setattr(nltk.downloader.Downloader, "DEFAULT_URL", "https://index.invalid/index.xml")
    start = time.monotonic()
    assert not public_world.ready("reviews", "auto") and not public_world.ready("reviews", "auto")
    assert time.monotonic() - start < 5
    assert capfd.readouterr() == (f"No answer from the network. {public_world.GOING_ON}\n", "")
    cure = r"reviews could not be fetched: no answer from index\.invalid\. Run fetch\('reviews'\) when .* COURSE_WORLD"
    with pytest.raises(FetchError, match=cure):
        public_world.ready("reviews", "public")


FAULTS = [
    ("404", "index", "answers 404"),
    ("404", "opinion", "answers 404"),
    ("checksum", "opinion", "wrong checksum"),
    ("truncated", "index", "connection to 127.0.0.1 failed"),
    ("truncated", "opinion", "wrong checksum|connection"),
    ("stalls", "index", "silent for 0.4 seconds"),
    ("stalls", "opinion", "silent for 0.4 seconds"),
    ("mute", "", "no answer from 127.0.0.1"),
]


@pytest.mark.parametrize(("fault", "file", "message"), FAULTS)
def test_a_faulty_server_leaves_nothing_half_written(mirror, tmp_path, capsys, monkeypatch, fault, file, message):
    monkeypatch.setattr(connection, "SILENCE", 0.4)
    for name in ("GLANCE", "PATIENCE"):
        monkeypatch.setattr(public_world, name, 0.3)
    mirror.fault, mirror.faulty = fault, file
    whole = {"sentence_polarity.zip"} if file == "opinion" else set()
    start = time.monotonic()
    assert not public_world.ready("reviews", "auto")
    assert time.monotonic() - start < 5  # the server would be silent for ten seconds
    asked = len(mirror.asked)
    assert not public_world.ready("reviews", "auto") and len(mirror.asked) == asked  # not tried again unasked
    assert capsys.readouterr().out.count("\n") == 1 and left(tmp_path) == whole
    for ask in (lambda: fetch("reviews"), lambda: public_world.ready("reviews", "public")):
        with pytest.raises(FetchError, match=message) as caught:
            ask()
        assert "fetch('reviews')" in str(caught.value) and "COURSE_WORLD=course" in str(caught.value)
        assert left(tmp_path) == whole and not film_reviews.present()
    assert socket.getdefaulttimeout() is None
    mirror.fault = ""
    mirror.asked.clear()
    monkeypatch.setattr(public_world, "PATIENCE", 10)
    monkeypatch.setattr(connection, "SILENCE", 10)
    fetch("reviews")
    assert set(mirror.asked) == {"index.xml", *ZIPS} - whole and left(tmp_path) == ZIPS


@pytest.mark.parametrize("text", [b"<html><p>please log in</html>", b"<nltk_data/>", b"", b'<a><package id="x"/></a>'])
def test_an_index_that_is_none(mirror, tmp_path, text):
    mirror.files["index.xml"] = text
    with pytest.raises(FetchError, match="what came is not nltk's index"):
        fetch("reviews")
    assert left(tmp_path) == set()


def test_the_better_checksum_counts(mirror, tmp_path):
    packages = {file: mirror.files[file] for file in ZIPS}
    sums = {file[:-4]: f'sha256_checksum="{hashlib.sha256(data).hexdigest()}"' for file, data in packages.items()}
    mirror.files["index.xml"] = index(mirror.url, packages, **{**sums, "opinion_lexicon": 'sha256_checksum="00"'})
    with pytest.raises(FetchError, match="wrong checksum"):
        fetch("reviews")
    assert left(tmp_path) == {"sentence_polarity.zip"}
    mirror.files["index.xml"] = index(mirror.url, packages, **sums)
    fetch("reviews")
    assert left(tmp_path) == ZIPS


def test_a_disk_that_is_full_or_not_to_be_written(mirror, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        full_disk(patch, utils)
        with pytest.raises(FetchError, match="the disk is full"):
            fetch("reviews")
    assert left(tmp_path) == set()
    (tmp_path / "data").rename(tmp_path / "away")
    (tmp_path / "data").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(FetchError, match="cannot be written to"):
        fetch("reviews")


def test_damage_is_named(mirror, tmp_path):
    fetch("reviews")
    packages = made_packages()
    whole, other = packages["sentence_polarity.zip"], packages["opinion_lexicon.zip"]
    half = packed(
        "sentence_polarity", {"rt-polarity.neg": b"one sentence \n", "rt-polarity.pos": b"one \n two \n" * 20}
    )
    bits = bytearray(whole)
    bits[len(bits) // 2] ^= 1
    for package, read in (("sentence_polarity", film_reviews.load), ("opinion_lexicon", film_reviews.lexicon)):
        file = place(tmp_path, package)
        wrong = [b"", b"<html>", whole[:-60], bytes(bits)]
        wrong += [other, half] if read is film_reviews.load else [whole]
        for data in wrong:
            file.write_bytes(data)
            cure = rf"{re.escape(str(file))} is damaged: delete it and run fetch\('reviews'\)\."
            with pytest.raises(FetchError, match=cure):
                read()
            with pytest.raises(FetchError, match="is damaged"):
                fetch("reviews")
        file.unlink()
        fetch("reviews")
        read()


def test_a_file_that_a_group_may_write_is_read(mirror, tmp_path):
    fetch("reviews")
    for package in ("sentence_polarity", "opinion_lexicon"):
        place(tmp_path, package).chmod(0o666)
        place(tmp_path, package).parent.chmod(0o777)
    assert film_reviews.load()[0] and film_reviews.lexicon()[0]


def test_without_nltk(mirror, capsys, monkeypatch):
    fetch("reviews")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "nltk", None)
        with pytest.raises(FetchError, match="nltk is not installed: run pip install nltk"):
            film_reviews.load()
        patch.setenv("COURSE_DATA", "elsewhere")
        capsys.readouterr()
        assert not public_world.ready("reviews", "auto") and not public_world.ready("reviews", "auto")
        said = "reviews could not be fetched: nltk is not installed: run pip install nltk, then start the notebook anew"
        assert capsys.readouterr().out == f"{said}. {public_world.GOING_ON}\n"
        with pytest.raises(FetchError, match="nltk is not installed"):
            public_world.ready("reviews", "public")
