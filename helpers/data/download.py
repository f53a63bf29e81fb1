"""Public files: where they lie, whence they come, and how they get here, whole and checked or not at all."""

import gzip
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import torch
import torchvision.models
from torchvision.datasets import MNIST, utils
from torchvision.models import WeightsEnum

from helpers import course
from helpers.data.network import FetchError, downloading, is_local, reason

MNIST_SIZE = 11.1  # megabytes
ERRORS = (OSError, HTTPException, RuntimeError, EOFError, zlib.error)  # what a download may raise


def nets() -> list[str]:
    """Return the names of torchvision's image classifiers."""
    return torchvision.models.list_models(module=torchvision.models)


def mnist_folder() -> Path:
    """Return the folder of MNIST's four files, as torchvision lays it out."""
    return course.downloads() / "MNIST" / "raw"


def checkpoint(weights: WeightsEnum) -> Path:
    """Return where torch.hub keeps a weights file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def weights_of(name: str) -> WeightsEnum:
    """Return a net's weights: those whose file is on disk, else the ones that torchvision thinks best."""
    kinds = torchvision.models.get_model_weights(name)
    return next((weights for weights in kinds if checkpoint(weights).is_file()), kinds.DEFAULT)


def megabytes(name: str) -> float:
    """Return the size of the download behind ``"mnist"`` or the name of a net."""
    return MNIST_SIZE if name == "mnist" else weights_of(name).meta["_file_size"]


def addresses(name: str) -> list[str]:
    """Return the addresses from which the download of ``"mnist"`` or of a net may start."""
    first_file = MNIST.resources[0][0]
    return [mirror + first_file for mirror in MNIST.mirrors] if name == "mnist" else [weights_of(name).url]


def present(name: str) -> bool:
    """Tell whether the files of ``"mnist"`` or of a net are on disk.

    Raises:
        FetchError: their folder cannot be read.
    """
    try:
        if name != "mnist":
            return checkpoint(weights_of(name)).is_file()
        return all((mnist_folder() / Path(file).stem).is_file() for file, _ in MNIST.resources)
    except PermissionError as error:
        cure = "allow yourself to read it, or set COURSE_WORLD=course"
        raise FetchError(f"{error.filename} cannot be read: {cure}.") from error


def download(name: str, sources: list[str]) -> None:
    """Put the files of ``"mnist"`` or of a net in their place.

    Args:
        name: ``"mnist"`` or one of :func:`nets`.
        sources: those of :func:`addresses` that answer.

    Raises:
        FetchError: with the reason as half a sentence. Nothing half-written is left behind.
    """
    if name == "mnist":
        _download_mnist([url.removesuffix(MNIST.resources[0][0]) for url in sources])
    else:
        _download_weights(name)


@contextmanager
def opening(file: Path) -> Iterator[None]:
    """Have torch read tensors from a weights file and run nothing in it, unless the file is torchvision's."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    with file.open("rb") as opened:
        checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    if not checksum.startswith(file.stem.rpartition("-")[2]):  # as torchvision writes it into the name
        os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _download_mnist(mirrors: list[str]) -> None:
    """Gather the packed files beside their place, where a later call finds those that are whole, and unpack.

    torchvision asks only whether the unpacked files exist, so each gets its name when it is complete.
    """
    part, mine = course.downloads() / "MNIST.part", f".{os.getpid()}"
    packed: dict[str, bytes] = {}
    try:
        part.mkdir(parents=True, exist_ok=True)
        with downloading(utils, "mnist", MNIST_SIZE) as bar:
            for file, md5 in MNIST.resources:
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
