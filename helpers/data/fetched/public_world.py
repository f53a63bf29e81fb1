"""The public world: whether a lesson uses MNIST and torchvision's ImageNet nets, and how to open them."""

import difflib
from pickle import UnpicklingError
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from helpers import course
from helpers.data.fetched import film_reviews
from helpers.data.fetched.connection import GLANCE, PATIENCE, FetchError, answering
from helpers.data.fetched.idx_format import read_idx
from helpers.data.fetched.public_files import (
    DATA_SETS,
    addresses,
    checkpoint,
    download,
    megabytes,
    mnist_folder,
    nets,
    opening,
    present,
    weights_of,
)

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

UNASKED = 100  # megabytes: a file that is not smaller comes only with fetch()
GOING_ON = "Going on in the course world, with its own data and nets."
_given_up: set[str] = set()  # downloads that failed in this session and are not tried again unasked


def chosen_world(world: str | None = None) -> str:
    """Return ``world`` if it is given, else that of the session.

    Args:
        world: ``"auto"``, ``"course"`` or ``"public"``; None for what ``COURSE_WORLD`` says.

    Raises:
        ValueError: it is none of the three.
    """
    if world is None:
        return course.setting()
    if world not in course.WORLDS:
        raise ValueError(f"world is {world!r}; use one of {', '.join(course.WORLDS)}, or leave it out.")
    return world


def ready(name: str, world: str) -> bool:
    """Decide whether to use the public files behind a name, and fetch them where the world allows it.

    Args:
        name: ``"mnist"``, ``"reviews"`` or the name of one of torchvision's image classifiers.
        world: in ``"course"``, they are not used; in ``"auto"``, they are if they are here, or small and to
            be had, and what hinders is said in one line, once; in ``"public"``, they must be.

    Raises:
        FetchError: in the public world, they are not here and cannot be fetched.
    """
    if world == "course":
        return False
    if present(name):
        return True
    small = megabytes(name) < UNASKED
    if world == "public":
        if not small:
            cure = f"run fetch({name!r}), or set COURSE_WORLD=course"
            raise FetchError(f"{name} ({megabytes(name):.0f} MB) is not here: {cure}.")
        _fetch_now(name)
        return True
    if not small or name in _given_up:
        return False
    try:
        sources = answering(addresses(name), seconds=GLANCE)
        if not sources:
            course.say_once(f"No answer from the network. {GOING_ON}")
            return False
        download(name, sources)
    except FetchError as error:
        _given_up.add(name)
        course.say_once(f"{name} could not be fetched: {error}. {GOING_ON}")
        return False
    return True


def fetch(*names: str) -> None:
    """Download public files ahead of the lessons, each with its size, a bar and a check.

    Args:
        names: ``"mnist"``, ``"photographs"``, ``"reviews"``, or any image classifier of torchvision, such as
            ``"resnet18"``.

    Raises:
        ValueError: a name is unknown, or none is given.
        FetchError: the session is in the course world, or a file could not be fetched or is damaged.

    >>> from helpers.data import fetch
    >>> fetch("photographs")  # doctest: +SKIP
    photographs: here already, they come with scikit-image
    >>> fetch()
    Traceback (most recent call last):
    ValueError: fetch() needs a name, for instance fetch('mnist', 'resnet18').
    """
    known = [*DATA_SETS, "photographs"]
    if not names:
        raise ValueError("fetch() needs a name, for instance fetch('mnist', 'resnet18').")
    for name in names:
        if name not in known and name not in nets():
            close = difflib.get_close_matches(str(name), [*known, *nets()], 4, 0.5) or [*known, "resnet18"]
            raise ValueError(f"There is nothing called {name!r} to fetch; did you mean {', '.join(close)}?")
    if course.setting() == "course":
        raise FetchError("COURSE_WORLD=course stays off the network: set COURSE_WORLD=auto, then fetch again.")
    for name in names:
        if name == "photographs":
            print("photographs: here already, they come with scikit-image")
            continue
        here = present(name)
        print(f"{name}: {megabytes(name):.1f} MB{', here already' if here else ''}")
        if not here:
            _fetch_now(name)
        _open(name)  # damage is found now, not in the lesson


def mnist(train: bool = True) -> tuple[Tensor, Tensor]:
    """Read MNIST (LeCun et al., 1998) from disk.

    Args:
        train: True for the 60,000 training pictures, False for the 10,000 test pictures.

    Returns:
        (images uint8 [N, 28, 28], labels int64 [N]).

    Raises:
        FetchError: the files are not there, or one of them is damaged.
    """
    part = "train" if train else "t10k"
    files = [mnist_folder() / f"{part}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    arrays = []
    for file in files:
        try:
            arrays.append(torch.from_numpy(read_idx(file)))
        except FileNotFoundError as error:
            raise FetchError(f"{file} is not here: run fetch('mnist'), or set COURSE_WORLD=course.") from error
        except (ValueError, OSError) as error:
            raise FetchError(f"{file} is damaged: delete it and run fetch('mnist').") from error
    images, labels = arrays
    for file, good in (
        (files[0], images.shape[1:] == (28, 28)),
        (files[1], labels.shape == images.shape[:1]),
    ):
        if not good:
            raise FetchError(f"{file} does not hold MNIST: delete it and run fetch('mnist').")
    return images, labels.long()


def net(name: str) -> tuple[nn.Module, "WeightsEnum"]:
    """Build one of torchvision's image classifiers with the weights that are on disk.

    Args:
        name: the name of one of torchvision's image classifiers.

    Returns:
        (the network, its entry in torchvision's list of weights, which knows classes and preprocessing).

    Raises:
        FetchError: the file is not there, is damaged, or holds the weights of another net.
    """
    import torchvision.models  # takes seconds: only where one of its networks is built

    weights = weights_of(name)
    file = checkpoint(weights)
    cure = f"delete it and run fetch({name!r})"
    try:
        with opening(file):
            return torchvision.models.get_model(name, weights=weights, progress=False), weights
    except FileNotFoundError as error:
        raise FetchError(f"{file} is not here: run fetch({name!r}), or set COURSE_WORLD=course.") from error
    except (RuntimeError, UnpicklingError, EOFError, OSError, LookupError, TypeError, ValueError) as error:
        other = isinstance(error, RuntimeError) and "state_dict" in str(error)
        fault = f"holds the weights of another net than {name}" if other else "is damaged"
        raise FetchError(f"{file} {fault}: {cure}.") from error


def _open(name: str) -> None:
    if name == "mnist":
        mnist(), mnist(train=False)
    elif name == "reviews":
        film_reviews.load(), film_reviews.lexicon()
    else:
        net(name)


def _fetch_now(name: str) -> None:
    """Download what was asked for, patiently; a failure says why and what to do."""
    try:
        sources = answering(addresses(name), seconds=PATIENCE, again=True)
        if not sources:
            hosts = " and ".join(str(urlsplit(url).hostname) for url in addresses(name))
            raise FetchError(f"no answer from {hosts}")
        download(name, sources)
    except FetchError as error:
        cure = f"Run fetch({name!r}) when that is mended, or set COURSE_WORLD=course."
        raise FetchError(f"{name} could not be fetched: {error}. {cure}") from error
    _given_up.discard(name)
