"""The data of both worlds, behind doors that look the same in each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from helpers.data.digits import load as load_course_digits
from helpers.data.fetched.public_world import chosen_world, fetch, mnist, ready
from helpers.data.picture_files import photographs, read_picture
from helpers.data.shapes import CATEGORIES, one

if TYPE_CHECKING:
    from helpers.models.load import Classifier

__all__ = ["Digits", "Picture", "fetch", "load_digits", "pictures", "read_picture"]

UNSEEN = 3000  # seed of shapes that no net was trained on


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what is known of it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        title: what it shows.
        categories: class numbers of what it shows, in the numbering of the classifier it was made for.
        masks: bool [H, W], where each of these is; empty when that is not known.
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
        labels: int64 [N].
        world: where they come from, ``"course"`` or ``"public"``.
    """

    images: Tensor
    labels: Tensor
    world: str


def load_digits(train: bool = True, world: str | None = None) -> Digits:
    """Return MNIST in the public world, the course's own digits in the course world, and say which.

    Args:
        train: the training half, or the test half.
        world: ``"auto"``, ``"course"`` or ``"public"``, instead of ``COURSE_WORLD``.

    Raises:
        ValueError: an unknown world.
        FetchError: MNIST's files are damaged, or in the public world are not here and cannot be fetched.
    """
    found = _digits(train, chosen_world(world))
    whose = "MNIST" if found.world == "public" else "the course's own"
    print(f"Digits: {whose}, {len(found.images):,} {'training' if train else 'test'} pictures.")
    return found


def pictures(classifier: "Classifier", count: int = 6) -> list[Picture]:
    """Return pictures of one thing each that suit a classifier: shapes, photographs or handwritten digits.

    Shapes and digits show the classes in turn, shapes with their masks; photographs are three at most.

    Raises:
        ValueError: ``count`` is below one.
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
