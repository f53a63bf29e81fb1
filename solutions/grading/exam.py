"""An exam of three questions, all of it drawn from a seed: its pictures, their planted cue, its nets, its answers.

The answers are computed here, from the seed, by those who grade; the exam itself holds none. Whoever has the course and
guesses the seed has them too: take a long number that nobody guesses.
"""

import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from grading.parts import Part
from helpers import attribution, evaluation
from helpers.checks import Wrong, checker, name_the_mistake
from helpers.data import planted_cues, shapes
from helpers.models import load_classifier

NOTEBOOK, DATA = "exam.ipynb", "exam.safetensors"
PICTURES, DRAWN = 6, 20
NETS = ("shapes_resnet", "shapes_watermark")  # the second one reads the watermark
MAPS = [(method, f"features.{i}") for method in ("grad_cam", "hires_cam") for i in (9, 11, 14, 16)]  # of shapes_vgg
STEPS = 32
KIND = 0xE4A  # part of the seed: no exam has the pictures of a lesson


class Exam(NamedTuple):
    """What the students get (tensors, by name), and what the questions are about.

    ``tensors``: ``pictures`` and ``marked`` uint8 [N, 128, 128, 3], without and with the watermark; ``classes`` and
    ``distractors`` int64 [N], ``objects`` and ``watermarks`` bool [N, 128, 128]; the nets' weights, ``A.`` and ``B.``.
    """

    tensors: dict[str, Tensor]
    fell: str  # the letter of the net that reads the watermark
    picture: int  # of question 1, and the class that it asks for, that of the distractor
    category: int
    method: str  # of question 3
    layer: str


@functools.cache
def draw(seed: int) -> Exam:
    """Return the exam of a seed.

    Raises:
        ValueError: the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"the seed is {seed}; give a number that is 0 or more.")
    rng = np.random.default_rng([seed, KIND])
    first, chosen = int(rng.integers(2**40, 2**50)), np.sort(rng.permutation(DRAWN)[:PICTURES])
    plain, marked = planted_cues.planted(DRAWN, first), planted_cues.planted(DRAWN, first, watermark=0.0)
    letters = dict(zip("AB", rng.permutation(NETS).tolist(), strict=True))
    arrays = {"pictures": plain.images, "marked": marked.images, "classes": plain.labels, "distractors": plain.others}
    arrays |= {"objects": plain.objects, "watermarks": marked.watermarks}
    tensors = {name: torch.from_numpy(array[chosen]) for name, array in arrays.items()}
    for letter, name in letters.items():
        weights = load_classifier(name, world="course").model.state_dict()
        tensors |= {f"{letter}.{k}": v.half() if v.is_floating_point() else v for k, v in weights.items()}
    fell = next(letter for letter, name in letters.items() if name == NETS[1])
    exams = [
        Exam(tensors, fell, i, int(tensors["distractors"][i]), *MAPS[0]) for i in rng.permutation(PICTURES).tolist()
    ]
    exam = next((one for one in exams if _is_clear(one)), exams[0])
    exams = [exam._replace(method=MAPS[i][0], layer=MAPS[i][1]) for i in rng.permutation(len(MAPS))]
    return next(one for one in exams if not _on_object(one, tensors["classes"]).isnan().any())


def files(exam: Exam) -> dict[str, bytes]:
    """Return what lies beside the exam's notebook, by name."""
    return {DATA: save({name: tensor.contiguous() for name, tensor in exam.tensors.items()})}


def fingerprint(exam: Exam) -> str:
    """Return what the notebook knows its data by."""
    return hashlib.sha256(files(exam)[DATA]).hexdigest()[:16]


def net(exam: Exam, letter: str) -> nn.Module:
    """Return net A or B."""
    model = load_classifier(NETS[0], world="course").model
    own = {name[2:]: tensor for name, tensor in exam.tensors.items() if name.startswith(f"{letter}.")}
    model.load_state_dict(own)
    return model


# --- the answers, and the likely mistakes ---


def _cam(exam: Exam, target: int | None) -> Tensor:
    x = shapes.preprocess(exam.tensors["pictures"][[exam.picture]].numpy())
    return attribution.cam(load_classifier(NETS[0], world="course").model, x, target, layer="layer4")[0]


def _peak(cam: Tensor) -> tuple[int, int, float]:
    place = int(cam.argmax())
    return place // cam.shape[1], place % cam.shape[1], cam.max().item()


def _is_clear(exam: Exam) -> bool:
    """Tell whether question 1's map has one strong peak off the diagonal, that of the net's own answer another."""
    cam, other = _cam(exam, exam.category), _cam(exam, None)
    (row, column, value), second = _peak(cam), cam.flatten().topk(2).values[1]
    return value > 5 and second < 0.97 * value and row != column and (row, column) != _peak(other)[:2]


def on_watermark(exam: Exam, letter: str, pictures: str = "marked") -> Tensor:
    """Return for each picture the share of the CAM for a net's own answer that lies on the watermark, [N]."""
    x = shapes.preprocess(exam.tensors[pictures].numpy())
    maps = attribution.upsample(attribution.cam(net(exam, letter), x, layer="layer4"), x.shape[2:])
    return evaluation.mass_accuracy(maps, exam.tensors["watermarks"])


def _maps(exam: Exam, target: Tensor | None, relu: bool = False) -> tuple[nn.Module, Tensor, Tensor]:
    """Return question 3's net, the pictures as its input, and the maps, enlarged."""
    vgg, x = load_classifier("shapes_vgg", world="course").model, shapes.preprocess(exam.tensors["pictures"].numpy())
    maps = getattr(attribution, exam.method)(vgg, x, target, layer=exam.layer, relu=relu)
    return vgg, x, attribution.upsample(maps, x.shape[2:])


def _on_object(exam: Exam, target: Tensor | None, relu: bool = False) -> Tensor:
    return evaluation.mass_accuracy(_maps(exam, target, relu)[2], exam.tensors["objects"])


def answers(exam: Exam) -> dict[str, Any]:
    """Return the answer to each question by the name of its variable."""
    classes = exam.tensors["classes"]
    vgg, x, maps = _maps(exam, classes)
    row, column, value = _peak(_cam(exam, exam.category))
    return {
        "peak": (row, column),
        "value": value,
        "fell": exam.fell,
        "on_watermark": torch.stack([on_watermark(exam, letter) for letter in "AB"]),
        "on_object": _on_object(exam, classes),
        "deleted": evaluation.area(*evaluation.deletion(vgg, x, maps, classes, steps=STEPS)),
    }


def parts(exam: Exam) -> list[Part]:
    """Return the exam's questions, to be graded."""
    right = answers(exam)

    @checker
    def check_q1(peak: tuple[int, int], value: float) -> str:
        given = name_the_mistake(peak, {}, torch.zeros(2), float("inf"), what="peak").tolist()
        if given != list(right["peak"]):
            for hint, cam in (
                ("this is where the map for the net's own answer has its peak.", _cam(exam, None)),
                ("row and column are exchanged.", _cam(exam, exam.category).T),
            ):
                if given == list(_peak(cam)[:2]):
                    raise Wrong(hint)
            raise Wrong("the map has its peak at another place.")
        maps = _cam(exam, exam.category)
        mistakes = {
            "the value is divided by the number of places; CAM adds up.": right["value"] / maps.numel(),
            "the value is that of a map scaled to 1.": 1.0,
        }
        name_the_mistake(value, mistakes, right["value"], 0.01, what="value")
        return "the peak and its value."

    @checker
    def check_q2(fell: str, on_watermark_: Tensor) -> str:
        if fell != right["fell"]:
            raise Wrong(f"fell is {str(fell)[:20]!r}; the other net fell for the watermark.")
        shares = right["on_watermark"]
        mistakes = {
            "the rows are exchanged; net A comes first.": shares.flip(0),
            "these are shares on the pictures without the watermark.": lambda: torch.stack(
                [on_watermark(exam, letter, "pictures") for letter in "AB"]
            ),
            "these are percentages; give shares from 0 to 1.": 100 * shares,
        }
        name_the_mistake(on_watermark_, mistakes, shares, 0.01, what="on_watermark")
        return "the net that fell, and the shares."

    @checker
    def check_q3(on_object: Tensor, deleted: Tensor) -> str:
        classes = exam.tensors["classes"]
        mistakes = {
            "these are the maps for the net's own answers.": lambda: _on_object(exam, None),
            "the maps had a ReLU before they were enlarged.": lambda: _on_object(exam, classes, relu=True),
        }
        name_the_mistake(on_object, mistakes, right["on_object"], 0.01, what="on_object")
        name_the_mistake(deleted, {}, right["deleted"], 0.03, what="deleted")
        return "the shares and the areas."

    return [
        Part("q1", "form(peak=", check_q1, ("peak", "value")),
        Part("q2", "form(fell=", check_q2, ("fell", "on_watermark")),
        Part("q3", "form(on_object=", check_q3, ("on_object", "deleted")),
    ]
