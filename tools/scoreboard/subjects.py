"""What the scoreboard asks: networks, the pictures they are shown, and where the truth lies in each.

A subject's networks are those that ``make data SEED=1`` (2, 3) left in build/nets, each with pictures of its own; where
they are missing, the network that comes with the course takes their place. The real network is always one and the same.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.course import ROOT
from helpers.data import mosaics, shapes
from helpers.data.planted_cues import planted
from helpers.models import Classifier, load_classifier

NETS = ROOT / "build" / "nets"
ANEW = (1, 2, 3)  # which of them
SEED = 4000  # plus the network's number; no network was trained on these pictures
CELLS = tuple(product(("corner", "edge", "inside"), (1, 2)))  # where a watermark lies, and how large it is
ON_OBJECT = {
    "mass": "mass on the object",
    "rank": "rank accuracy",
    "pointing": "pointing game",
    "both": "right for both",
    "distractor": "mass on the other",
}


class Asked(NamedTuple):
    """Questions: pictures ``x`` [N, C, H, W], classes [N], and masks, bool [N, H, W], of truth and distractor."""

    x: Tensor
    target: Tensor
    truth: np.ndarray
    distractors: np.ndarray


class Subject(NamedTuple):
    """One kind of network on one kind of picture.

    Attributes:
        name: of the network.
        title: what it is, for headings.
        text: what is asked, and what counts as right.
        questions: how many are asked about each scene.
        heads: which scores, and what stands above them.
        scenes: how many for each network.
        ask: ``ask(classifier, scenes, seed)`` draws the pictures.
    """

    name: str
    title: str
    text: str
    questions: int
    heads: Mapping[str, str]
    scenes: int
    ask: Callable[[Classifier, int, int], Asked]


def both_objects(classifier: Classifier, scenes: int, seed: int) -> Asked:
    """Pictures of two objects, each asked for in turn; the other one is the distractor."""
    drawn = planted(scenes, seed)
    x = shapes.preprocess(drawn.images).repeat_interleave(2, 0)
    target = np.stack([drawn.labels, drawn.others], 1).reshape(-1)
    first, second = drawn.objects, drawn.distractors
    truth = np.stack([first, second], 1).reshape(-1, *first.shape[1:])
    return Asked(x, torch.from_numpy(target), truth, np.stack([second, first], 1).reshape(truth.shape))


def watermarks(classifier: Classifier, scenes: int, seed: int) -> Asked:
    """Pictures with a watermark in three places and two sizes, the same scenes in each; the objects distract."""
    each = scenes // len(CELLS)
    parts = [planted(each, seed, watermark=0.1, place=place, scale=scale) for place, scale in CELLS]
    x = torch.cat([shapes.preprocess(part.images) for part in parts])
    tags = torch.from_numpy(np.concatenate([part.tags for part in parts]))
    truth = np.concatenate([part.watermarks for part in parts])
    return Asked(x, tags, truth, np.concatenate([part.objects | part.distractors for part in parts]))


def two_photographs(classifier: Classifier, scenes: int, seed: int) -> Asked:
    """Mosaics of four photographs, of which two are asked for; each distracts from the other."""
    drawn = mosaics(scenes, seed, side=112)
    source, rows = np.random.default_rng(seed), []
    for mosaic in drawn:
        one, other = source.permutation(4)[:2]
        rows += [
            (mosaic.image, mosaic.categories[a], mosaic.masks[a], mosaic.masks[b])
            for a, b in ((one, other), (other, one))
        ]
    images, target, truth, distractors = zip(*rows, strict=True)
    x = torch.cat([classifier.uncut(image) for image in images])
    return Asked(x, torch.tensor(target), np.stack(truth), np.stack(distractors))


TWO_OBJECTS = (
    "Each picture has two objects of different classes, and each is asked for in turn; the other one distracts."
)
SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("efficientnet_lite0", "The real network on mosaics of photographs", "Each mosaic holds four of nine "
                "photographs. Two of them are asked for in turn; a map is right in the quarter of the one asked for, "
                "which is 25 % of the picture.",
                2, ON_OBJECT | {"mass": "mass in the quarter", "distractor": "mass in the other quarter"}, 16,
                two_photographs),
        Subject("shapes_resnet", "A small ResNet that names shapes", TWO_OBJECTS, 2, ON_OBJECT, 36, both_objects),
        Subject("shapes_vgg", "A small VGG that names shapes", TWO_OBJECTS, 2, ON_OBJECT, 36, both_objects),
        Subject("shapes_vit", "A small vision transformer that names shapes", TWO_OBJECTS, 2, ON_OBJECT, 36,
                both_objects),
        Subject("shapes_watermark", "A small ResNet that reads a watermark", "The network names the class printed on a "
                "label, in pictures whose objects tell nothing of it. So the evidence is known, and not only hoped "
                "for: the truth is the label, and both objects distract. It lies in a corner, at an edge or inside, "
                "in two sizes.",
                1, {key: ON_OBJECT[key] for key in ("rank", "pointing")}
                | {"mass": "mass on the label", "distractor": "mass on the objects"}, 66, watermarks),
    )
}  # fmt: skip


def numbers_of(subject: Subject) -> tuple[int, ...]:
    """Return the numbers of a subject's networks that are here, trained anew; 0 stands for the one that is shipped."""
    here = tuple(k for k in ANEW if (NETS / str(k) / f"{subject.name}.safetensors").is_file())
    return here or (0,)


@contextmanager
def trained_anew(number: int) -> Iterator[None]:
    """Inside the block, ``load_classifier`` gives the network of this number in place of the one that is shipped."""
    before = os.environ.get("COURSE_WEIGHTS")
    os.environ["COURSE_WEIGHTS"] = str(NETS / str(number)) if number else ""
    try:
        yield
    finally:
        os.environ.pop("COURSE_WEIGHTS") if before is None else os.environ.__setitem__("COURSE_WEIGHTS", before)


def load(subject: Subject, number: int) -> Classifier:
    """Return one of a subject's networks."""
    with trained_anew(number):
        return load_classifier(subject.name)
