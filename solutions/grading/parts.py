"""The parts of the exercises that count, each with its checker and what the course gives to it."""

import contextlib
import functools
import io
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from helpers import data
from helpers.checks import exercises as checks
from helpers.course import DATASETS
from helpers.data import shapes
from helpers.models import load_classifier
from helpers.synthesis import class_means


class Part(NamedTuple):
    """A part of a notebook that scores one point or none.

    Attributes:
        name: of its column.
        mark: what stands in the code of the cell that it is graded after.
        check: a checker; it is given the ``answers``, the student's variables of these names, and then ``given()``.
        texts: the student's variables that hold free texts: no point is computed for them, the table shows them.
    """

    name: str
    mark: str
    check: Callable[..., bool | None]
    answers: tuple[str, ...]
    given: Callable[[], tuple[Any, ...]] = tuple
    texts: tuple[str, ...] = ()


def exercises() -> list[Part]:
    """Return the parts of lesson *exercises*, in the order of the notebook."""
    return [
        Part("q1", "check_q1(", checks.check_q1, ("prototypes",), _digits),
        Part("q2_cam", "check_q2_cam(", checks.check_q2_cam, ("strongest_cam",)),
        Part("q2_count", "check_q2_count(", checks.check_q2_count, ("maps_needed",)),
        Part("q3_cam", "check_q3_cam(", checks.check_q3_cam, ("grad_cam_at",)),
        Part(
            "q3_grades", "check_q3_grades(", checks.check_q3_grades, ("grades", "best_pointing", "best_energy"), _test
        ),
    ]


@functools.cache
def _digits() -> tuple[nn.Module, Tensor, Tensor]:
    """Return what ``check_q1`` is given in the notebook: the linear net, the class means, the picture of an 8."""
    with contextlib.redirect_stdout(io.StringIO()):
        digits = data.load_digits(world="course")
        classifier = load_classifier("digits_dnn_mnist", world="course")
    means = class_means(digits.images, digits.labels)
    return classifier.model, means, classifier.preprocess(DATASETS / "8.png")


@functools.cache
def _test() -> tuple[shapes.TwoShapes]:
    """Return what ``check_q3_grades`` is given in the notebook: a hundred pictures of two shapes."""
    return (shapes.two(100, seed=6),)
