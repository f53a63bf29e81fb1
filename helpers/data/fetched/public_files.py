"""Public files: where they lie, whence they come, and how they get here, whole and checked or not at all.

torchvision takes seconds to import, so it is imported only where one of its networks, or its downloader, is needed.
"""

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from helpers import course
from helpers.data.fetched import film_reviews
from helpers.data.fetched.connection import ERRORS, FetchError, downloading, is_local, reason

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

MNIST_SIZE = 11.1  # megabytes
MNIST_MIRRORS = ["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"]
MNIST_FILES = {  # packed, with their MD5 sums
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


class Source(NamedTuple):
    """What is behind a name: megabytes, addresses to start from, whether it is here, and what gets it from them."""

    megabytes: float
    addresses: Callable[[], list[str]]
    present: Callable[[], bool]
    download: Callable[[list[str]], None]


def nets() -> list[str]:
    """Return the names of torchvision's image classifiers."""
    import torchvision.models

    return torchvision.models.list_models(module=torchvision.models)


def mnist_folder() -> Path:
    """Return the folder of MNIST's four files, as torchvision lays it out."""
    return course.downloads() / "MNIST" / "raw"


def checkpoint(weights: "WeightsEnum") -> Path:
    """Return where torch.hub keeps a weights file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def weights_of(name: str) -> "WeightsEnum":
    """Return a net's weights: those whose file is on disk, else the ones that torchvision thinks best."""
    import torchvision.models

    kinds = torchvision.models.get_model_weights(name)
    return next((weights for weights in kinds if checkpoint(weights).is_file()), kinds.DEFAULT)


def source(name: str) -> Source:
    """Return what is behind a name.

    Args:
        name: ``"mnist"``, ``"reviews"`` or the name of one of torchvision's image classifiers.

    Returns:
        Its size, its addresses, whether it is here, and what fetches it.
    """
    if name in DATA_SETS:
        return DATA_SETS[name]
    weights = weights_of(name)
    file, size = checkpoint(weights), weights.meta["_file_size"]
    return Source(size, lambda: [weights.url], file.is_file, lambda sources: _download_weights(name))


def megabytes(name: str) -> float:
    """Return the size of the download behind a name, in megabytes.

    Args:
        name: ``"mnist"``, ``"reviews"`` or the name of one of torchvision's image classifiers.
    """
    return source(name).megabytes


def addresses(name: str) -> list[str]:
    """Return the addresses from which the download behind a name may start.

    Args:
        name: ``"mnist"``, ``"reviews"`` or the name of one of torchvision's image classifiers.

    Raises:
        FetchError: the package that knows them is not installed.
    """
    return source(name).addresses()


def present(name: str) -> bool:
    """Tell whether the files behind a name are on disk.

    Args:
        name: ``"mnist"``, ``"reviews"`` or the name of one of torchvision's image classifiers.

    Raises:
        FetchError: their folder cannot be read.
    """
    try:
        return source(name).present()
    except PermissionError as error:
        cure = "allow yourself to read it, or set COURSE_WORLD=course"
        raise FetchError(f"{error.filename} cannot be read: {cure}.") from error


def download(name: str, sources: list[str]) -> None:
    """Put the files behind a name in their place.

    Args:
        name: ``"mnist"``, ``"reviews"`` or the name of one of torchvision's image classifiers.
        sources: those of :func:`addresses` that answer.

    Raises:
        FetchError: with the reason as half a sentence. Nothing half-written is left behind.
    """
    source(name).download(sources)


@contextmanager
def opening(file: Path) -> Iterator[None]:
    """Have torch read tensors from a weights file and run nothing in it, unless the file is torchvision's.

    Where it is not, a line says so: torchvision writes the beginning of the checksum into the file's name.
    """
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    with file.open("rb") as opened:
        checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    if not checksum.startswith(file.stem.rpartition("-")[2]):
        os.environ[name] = "1"
        course.say_once(f"{file} is not torchvision's, as its checksum is not that in its name: look where it is from.")
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _mnist_addresses() -> list[str]:
    return [mirror + next(iter(MNIST_FILES)) for mirror in MNIST_MIRRORS]


def _mnist_present() -> bool:
    return all((mnist_folder() / Path(file).stem).is_file() for file in MNIST_FILES)


def _download_mnist(sources: list[str]) -> None:
    """Gather the packed files beside their place, where a later call finds those that are whole, and unpack.

    torchvision asks only whether the unpacked files exist, so each gets its name when it is complete.
    """
    from torchvision.datasets import utils

    mirrors = [url.removesuffix(next(iter(MNIST_FILES))) for url in sources]
    part, mine = course.downloads() / "MNIST.part", f".{os.getpid()}"
    packed: dict[str, bytes] = {}
    try:
        part.mkdir(parents=True, exist_ok=True)
        with downloading(utils, "mnist", MNIST_SIZE) as bar:
            for file, md5 in MNIST_FILES.items():
                if utils.check_integrity(part / file, md5):
                    bar.update((part / file).stat().st_size)
                else:
                    _download_one(mirrors, part, file, md5)
                packed[file] = (part / file).read_bytes()
                # looked at once more, in memory: another notebook may be writing the same file
                if hashlib.md5(packed[file], usedforsecurity=False).hexdigest() != md5:
                    raise RuntimeError(f"{file} has changed")
        mnist_folder().mkdir(parents=True, exist_ok=True)
        for file, data in packed.items():
            (part / f"{file}{mine}").write_bytes(gzip.decompress(data))
        for file in packed:
            (part / f"{file}{mine}").replace(mnist_folder() / Path(file).stem)
    except ERRORS as error:
        raise FetchError(reason(error, mirrors[-1], course.downloads())) from error
    finally:
        for leftover in part.glob(f"*{mine}"):
            leftover.unlink()
    shutil.rmtree(part, ignore_errors=True)


def _download_one(mirrors: list[str], part: Path, file: str, md5: str) -> None:
    from torchvision.datasets import utils

    for mirror in mirrors:
        try:
            return utils.download_url(mirror + file, part, file, md5)
        except BaseException as error:
            (part / file).unlink(missing_ok=True)
            if mirror == mirrors[-1] or is_local(error) or not isinstance(error, ERRORS):
                raise


def _download_weights(name: str) -> None:
    weights = weights_of(name)
    file = checkpoint(weights)
    others = set(file.parent.glob(f"{file.name}.*"))  # of another notebook that is fetching the same net
    try:
        with downloading(torch.hub, name, megabytes(name)):
            weights.get_state_dict(progress=True, check_hash=True)
    except ERRORS as error:
        raise FetchError(reason(error, weights.url, file.parent)) from error
    finally:
        for leftover in set(file.parent.glob(f"{file.name}.*")) - others:
            leftover.unlink(missing_ok=True)


DATA_SETS = {  # of data; every other name is a net's
    "mnist": Source(MNIST_SIZE, _mnist_addresses, _mnist_present, _download_mnist),
    "reviews": Source(film_reviews.SIZE, film_reviews.addresses, film_reviews.present, film_reviews.download),
}
