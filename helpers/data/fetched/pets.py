"""Photographs of cats and dogs with their outlines: the Oxford-IIIT Pets (Parkhi et al., 2012), in the public world.

They come only when asked for, with :func:`fetch`; the course ships none of them.
"""

from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from helpers import course
from helpers.data.fetched.connection import ERRORS, PATIENCE, FetchError, answering, downloading, reason

KINDS = ("cat", "dog")
SIZE = 774.0  # megabytes, in two archives
ANIMAL = 1  # in the dataset's own maps; 2 is the ground and 3 the border between them


class Pets(NamedTuple):
    """Photographs of cats and dogs, with their outlines.

    Attributes:
        images: N pictures, uint8 [H, W, 3], of many sizes.
        labels: class numbers int64 [N], 0 for a cat and 1 for a dog.
        masks: where the animal is, N times bool [H, W].
    """

    images: list[np.ndarray]
    labels: np.ndarray
    masks: list[np.ndarray]


def present() -> bool:
    """Tell whether the pictures are on disk and may be used: never in the course world."""
    folder = course.downloads() / "oxford-iiit-pet"
    return course.setting() != "course" and all((folder / part).is_dir() for part in ("images", "annotations"))


def fetch() -> None:
    """Download the pictures, 774 MB, into the folder of the public data.

    Raises:
        FetchError: the session is in the course world, or a file could not be fetched or is damaged.
    """
    if course.setting() == "course":
        raise FetchError("COURSE_WORLD=course stays off the network: set COURSE_WORLD=auto, then fetch again.")
    print(f"Oxford-IIIT Pets: {SIZE:.0f} MB{', here already' if present() else ''}")
    if present():
        return
    from torchvision.datasets import OxfordIIITPet, utils  # takes seconds to import

    urls = [url for url, _ in OxfordIIITPet._RESOURCES]
    cure = "Run pets.fetch() when that is mended, or set COURSE_WORLD=course."
    if not answering(urls, seconds=PATIENCE, again=True):
        raise FetchError(f"Oxford-IIIT Pets: no answer from {urlsplit(urls[0]).hostname}. {cure}")
    try:
        with downloading(utils, "Oxford-IIIT Pets", SIZE):
            OxfordIIITPet(course.downloads(), download=True)
    except ERRORS as error:
        raise FetchError(f"Oxford-IIIT Pets: {reason(error, urls[0], course.downloads())}. {cure}") from error


def load(count: int, train: bool = True) -> Pets:
    """Read pictures of the training or of the test half; cats and dogs take turns, breeds mix.

    Args:
        count: how many pictures, at most; one or more.
        train: True for the training half, False for the test half.

    Returns:
        Pictures, class numbers and masks, :class:`Pets`.

    Raises:
        ValueError: ``count`` is below one.
        FetchError: they are not here, or are damaged.
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for one picture or more.")
    from torchvision.datasets import OxfordIIITPet  # takes seconds to import

    try:
        half = OxfordIIITPet(course.downloads(), "trainval" if train else "test", ("binary-category", "segmentation"))
        kinds, rng = np.array(half._bin_labels), np.random.default_rng(0)
        turns = zip(*(rng.permutation(np.flatnonzero(kinds == kind)) for kind in (0, 1)), strict=False)
        chosen = [half[i] for pair in list(turns)[: -(-count // 2)] for i in pair][:count]
        pictures = [(np.array(picture), kind, np.array(outline) == ANIMAL) for picture, (kind, outline) in chosen]
        images, labels, masks = zip(*pictures, strict=True)
    except (RuntimeError, OSError, ValueError) as error:
        folder = course.downloads() / "oxford-iiit-pet"
        raise FetchError(f"{folder} is missing or damaged: delete it and run pets.fetch().") from error
    return Pets(list(images), np.array(labels), list(masks))
