"""Sentences from film reviews, each one praise or blame, and a lexicon of such words, in the public world.

The sentence polarity data of Pang and Lee (2005), known as MR since Kim (2014): 5331 sentences of each kind. The
opinion lexicon of Hu and Liu (2004). nltk's index says where both lie, its readers read them; the course ships neither.
"""

import hashlib
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from helpers import course
from helpers.data.fetched import connection
from helpers.data.fetched.connection import ERRORS, FetchError, downloading, reason

if TYPE_CHECKING:
    from nltk.data import PathPointer
    from nltk.downloader import Package

SENTENCES, WORDS = "sentence_polarity", "opinion_lexicon"  # nltk's names for them
SIZE = 0.4913  # megabytes, both together
TEST = 10  # one sentence of so many is kept for the test
SEED = 0  # of the split
DAMAGE = (OSError, ValueError, LookupError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)


def archive(package: str) -> Path:
    """Return where a package of nltk's lies, packed, as nltk lays it out.

    Args:
        package: its name, ``"sentence_polarity"`` or ``"opinion_lexicon"``.
    """
    return course.downloads() / "nltk_data" / "corpora" / f"{package}.zip"


def present() -> bool:
    """Tell whether sentences and lexicon are on disk.

    Raises:
        PermissionError: their folder cannot be read.
    """
    return all(archive(package).is_file() for package in (SENTENCES, WORDS))


def addresses() -> list[str]:
    """Return the address of nltk's index, from which the download starts.

    Raises:
        FetchError: nltk is not installed.
    """
    return [_nltk().downloader.Downloader.DEFAULT_URL]


def download(sources: list[str]) -> None:
    """Put the packages that are missing in their place, packed as they come.

    nltk's own downloader checks nothing in its older versions, and leaves half a file when a connection breaks. So its
    index only says what to fetch and which checksum it must have.

    Args:
        sources: those of :func:`addresses` that answer.

    Raises:
        FetchError: with the reason as half a sentence. Nothing half-written is left behind.
    """
    from torchvision.datasets import utils  # takes seconds to import

    nltk, folder, url = _nltk(), archive(SENTENCES).parent, sources[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as part, downloading(utils, "reviews", SIZE):
            for package in _index(nltk, url):
                url, packed = package.url, Path(part, f"{package.id}.zip")
                utils.download_url(url, part, packed.name)
                if not _whole(packed, package):
                    raise RuntimeError(f"{package.id} has another checksum")
                packed.replace(archive(package.id))
    except ERRORS as error:
        raise FetchError(reason(error, url, course.downloads())) from error


def load(train: bool = True) -> tuple[list[list[str]], Tensor]:
    """Read the sentences of the training or of the test part: nine of ten, or the tenth.

    The split is the same on every machine. Blame and praise take turns, each in an order drawn once.

    Args:
        train: True for the nine of ten sentences to train with, False for the tenth.

    Returns:
        (sentences, each a list of words and punctuation in lower case, labels int64 [N], 1 = praise).

    Raises:
        FetchError: the file is not here or is damaged, or nltk is not installed.
    """
    with _reading(SENTENCES) as (readers, inside):
        files = [f"rt-polarity.{kind}" for kind in ("neg", "pos")]
        reader = readers.CategorizedSentencesCorpusReader(inside, files, cat_pattern=r".*\.(\w+)", encoding="utf-8")
        both = [list(reader.sents(file)) for file in files]
        dice, chosen = np.random.default_rng(SEED), []
        for sentences in both:
            order, kept = dice.permutation(len(sentences)), len(sentences) // TEST
            chosen.append([sentences[i] for i in (order[kept:] if train else order[:kept])])
        mixed = [sentence for pair in zip(*chosen, strict=True) for sentence in pair]
    return mixed, torch.arange(len(mixed)) % 2


def lexicon() -> tuple[frozenset[str], frozenset[str]]:
    """Read the opinion lexicon of Hu and Liu (2004).

    Returns:
        (words of praise, words of blame), in lower case.

    Raises:
        FetchError: the file is not here or is damaged, or nltk is not installed.
    """
    with _reading(WORDS) as (readers, inside):
        files = ["positive-words.txt", "negative-words.txt"]
        # Latin-1: in Latin-2, as nltk.corpus has it, naïve would become naďve
        reader = readers.OpinionLexiconCorpusReader(inside, files, encoding="iso-8859-1")
        praise, blame = (frozenset(filter(None, reader.words(file))) for file in files)
    return praise, blame


def _nltk() -> ModuleType:
    """Import nltk, which takes seconds, only when it is needed, and keep its warnings out of the notebook."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import nltk.corpus.reader
            import nltk.data
            import nltk.downloader
    except ImportError as error:
        raise FetchError("nltk is not installed: run pip install nltk, then start the notebook anew") from error
    return nltk


def _index(nltk: ModuleType, url: str) -> list["Package"]:
    """Ask nltk's index for those of the two packages that are not here, their addresses and checksums."""
    module = nltk.downloader
    limit = getattr(module, "NETWORK_TIMEOUT", None)
    module.NETWORK_TIMEOUT = connection.SILENCE  # in place of two minutes; older versions heed the socket's own limit
    try:
        index = module.Downloader(url, str(archive(SENTENCES).parents[1]))
        return [index.info(package) for package in (SENTENCES, WORDS) if not archive(package).is_file()]
    except (ValueError, TypeError, SyntaxError) as error:  # not XML, or not this XML
        raise ConnectionError("what came is not nltk's index") from error
    finally:
        module.NETWORK_TIMEOUT = limit


def _whole(packed: Path, package: "Package") -> bool:
    """Compare a file with its checksum in nltk's index: the SHA-256 where there is one, else the MD5."""
    sha256 = getattr(package, "sha256_checksum", None)
    found = hashlib.new("sha256" if sha256 else "md5", packed.read_bytes(), usedforsecurity=False).hexdigest()
    return found == (sha256 or package.checksum)


@contextmanager
def _reading(package: str) -> Iterator[tuple[ModuleType, "PathPointer"]]:
    """Open a package for nltk's readers, and give them with the folder inside it; a failure names the file.

    nltk reads only below the folders of ``nltk.data.path``, so ours is there while we read. The file is opened here,
    because nltk would refuse one that others of the user's group may write to, as a shared folder of a class has it.
    """
    nltk, file = _nltk(), archive(package)
    ours = str(file.parents[1].absolute())
    nltk.data.path.append(ours)
    try:
        with zipfile.ZipFile(file) as opened:
            yield nltk.corpus.reader, nltk.data.ZipFilePathPointer(opened, f"{package}/")
    except FileNotFoundError as error:
        raise FetchError(f"{file} is not here: run fetch('reviews'), or set COURSE_WORLD=course.") from error
    except DAMAGE as error:
        raise FetchError(f"{file} is damaged: delete it and run fetch('reviews').") from error
    finally:
        nltk.data.path.remove(ours)
