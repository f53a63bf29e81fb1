"""The data of both worlds, behind doors that look the same in each: digits, pictures, picture files, downloads.

Below the doors lie the generators (``digits``, ``shapes``, ``planted_cues``, ``tanks``, ``reviews``), which draw
pictures and write texts whose truth is known; what they paint with, in ``painters``; and what comes from elsewhere,
in ``fetched``.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from helpers.data.digits import load as load_course_digits
from helpers.data.fetched.public_world import chosen_world, fetch, mnist, ready
from helpers.data.picture_files import photographs, read_picture
from helpers.data.shapes import CATEGORIES, one

__all__ = ["Digits", "Picture", "fetch", "load_digits", "pictures", "read_picture"]

UNSEEN = 3000  # seed of shapes that no net was trained on


class Named(Protocol):
    """What :func:`pictures` asks of a classifier: the name and the world of its network."""

    name: str
    world: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what is known of it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        title: what it shows.
        categories: class numbers of what it shows, in the numbering of the classifier it was made for.
        masks: for each of these a bool mask [H, W] of where it is; empty when that is not known.

    >>> import numpy as np
    >>> from helpers.data import Picture
    >>> picture = Picture(np.zeros((20, 30, 3), np.uint8), "a dark night", categories=(3,))
    >>> picture.title, picture.image.shape, picture.masks
    ('a dark night', (20, 30, 3), ())
    """

    image: np.ndarray
    title: str
    categories: tuple[int, ...]
    masks: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits.

    Attributes:
        images: float32 [N, 1, 28, 28] in [0, 1], white on black.
        labels: int64 [N], from 0 to 9.
        world: where they come from, ``"course"`` or ``"public"``.

    >>> import torch
    >>> from helpers.data import Digits
    >>> digits = Digits(torch.zeros(5, 1, 28, 28), torch.arange(5), "course")
    >>> digits.images.shape, digits.world
    (torch.Size([5, 1, 28, 28]), 'course')
    """

    images: Tensor
    labels: Tensor
    world: str


def load_digits(train: bool = True, world: str | None = None) -> Digits:
    """Return MNIST in the public world, the course's own digits in the course world, and print which.

    The course's digits are 20,000 for training and 2,000 for testing, drawn by :mod:`helpers.data.digits`. MNIST
    (LeCun et al., 1998) has 60,000 and 10,000. In the world ``"auto"`` MNIST is used if it is here or can be fetched.

    Args:
        train: True for the training pictures, False for the test pictures.
        world: ``"auto"``, ``"course"`` or ``"public"``; None for what ``COURSE_WORLD`` says.

    Returns:
        The pictures and their labels, :class:`Digits`.

    Raises:
        ValueError: an unknown world.
        FetchError: MNIST's files are damaged, or in the public world are not here and cannot be fetched.

    >>> from helpers.data import load_digits
    >>> digits = load_digits(train=False, world="course")
    Digits: the course's own, 2,000 test pictures.
    >>> digits.images.shape, digits.labels.shape
    (torch.Size([2000, 1, 28, 28]), torch.Size([2000]))
    """
    found = _digits(train, chosen_world(world))
    whose = "MNIST" if found.world == "public" else "the course's own"
    print(f"Digits: {whose}, {len(found.images):,} {'training' if train else 'test'} pictures.")
    return found


def pictures(classifier: Named, count: int = 6) -> list[Picture]:
    """Return pictures of one thing each that suit a classifier: shapes, photographs or handwritten digits.

    Shapes and digits show the classes in turn, shapes with their masks; photographs are three at most. No network of
    the course was trained on any of them.

    Args:
        classifier: from :func:`helpers.models.load_classifier`; only its ``name`` and its ``world`` are looked at.
        count: how many pictures, one or more.

    Returns:
        A list of :class:`Picture`.

    Raises:
        ValueError: ``count`` is below one.

    >>> from helpers.data import pictures
    >>> from helpers.models import load_classifier
    >>> found = pictures(load_classifier("shapes_resnet"), 3)
    >>> [picture.title for picture in found], found[0].image.shape
    (['disc', 'square', 'triangle'], (128, 128, 3))
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for one picture or more.")
    if classifier.name.startswith("digits"):
        found = _digits(train=False, world=chosen_world())
        first = [(found.labels == i % 10).nonzero()[i // 10].item() for i in range(count)]
        grey = (found.images[first, 0] * 255).round().byte().numpy()
        return [Picture(np.stack([grey[i]] * 3, 2), f"a {i % 10}", (i % 10,)) for i in range(count)]
    if classifier.world == "public":
        return [Picture(image, title, (category,)) for image, title, category in photographs()[:count]]
    drawn = one(count, UNSEEN)
    return [
        Picture(image, CATEGORIES[label], (int(label),), (mask,))
        for image, label, mask in zip(drawn.images, drawn.labels, drawn.masks, strict=True)
    ]


def _digits(train: bool, world: str) -> Digits:
    if not ready("mnist", world):
        return Digits(*load_course_digits(train), "course")
    images, labels = mnist(train)
    return Digits(images[:, None].float() / 255, labels, "public")
