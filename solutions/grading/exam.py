"""An exam of four questions, all of it drawn from a seed: its pictures, their planted cue, its nets, its answers.

The answers are computed here, from the seed, by those who grade; the exam itself holds none. It does not hold the seed
either. But this module is public, and what it computes follows from the files that the students have: whoever may use
it during the exam has the answers, without any seed. What that means for an exam stands in ``docs/teaching.md``.
"""

import functools
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from grading import bank
from grading.bank import NOTHING, Asked
from grading.parts import Part
from helpers import attribution, evaluation, plotting
from helpers.attribution.progress import watching
from helpers.checks import Wrong, checker, name_the_mistake
from helpers.data import planted_cues, shapes
from helpers.models import load_classifier

NOTEBOOK, DATA = "exam.ipynb", "exam.safetensors"
PICTURES, DRAWN = 6, 20
NETS = ("shapes_resnet", "shapes_watermark")  # the second one reads the watermark
MAPS = [(method, f"features.{i}") for method in ("grad_cam", "hires_cam") for i in (9, 11, 14, 16)]  # of shapes_vgg
STEPS = 32
CHECKS = ("other_class", "adds_up", "removed")  # of question 4, each of which refutes some maps
ALIKE, OFF = 0.5, 0.2  # a map is refuted above this rank correlation, or that far from adding up to 1
ANOTHER = "take another seed: run make exam again, without SEED_FILE."
POINTS = 64  # of integrated gradients


class Exam(NamedTuple):
    """What the students get (tensors, by name), and what the questions are about.

    ``tensors``: ``pictures`` and ``marked`` uint8 [N, 128, 128, 3], without and with the watermark; ``classes`` and
    ``distractors`` int64 [N], ``objects`` and ``watermarks`` bool [N, 128, 128]; the nets' weights, ``A.`` and ``B.``;
    ``maps`` float32 [2, 2, 128, 128], those of question 4 for the object's class, map 1 and map 2, and those for the
    distractor's; ``number`` int64 [], by which the notebook knows its data.
    """

    tensors: dict[str, Tensor]
    fell: str  # the letter of the net that reads the watermark
    picture: int  # of question 1, and the class that it asks for, that of the distractor
    category: int
    method: str  # of question 3
    layer: str
    judged: int  # the picture of question 4, the map that is refuted (1 or 2), the check that does it, how it was made
    refuted: int
    decides: str
    made: str


@functools.cache
def draw(seed: int) -> Exam:
    """Return the exam of a seed.

    Raises:
        ValueError: the seed is negative, or its pictures make no clear questions.
    """
    if seed < 0:
        raise ValueError(f"the seed is {seed}; give a number that is 0 or more.")
    rng = stream(seed, "exam")
    first = int(rng.integers(2**40, 2**50))
    plain, marked = planted_cues.planted(DRAWN, first), planted_cues.planted(DRAWN, first, watermark=0.0)
    letters = dict(zip("AB", rng.permutation(NETS).tolist(), strict=True))
    arrays = {"pictures": plain.images, "marked": marked.images, "classes": plain.labels, "distractors": plain.others}
    arrays |= {"objects": plain.objects, "watermarks": marked.watermarks}
    chosen = _pictures(arrays, rng)
    tensors = {name: torch.from_numpy(array[chosen]) for name, array in arrays.items()}
    for letter, name in letters.items():
        weights = load_classifier(name, world="course").model.state_dict()
        tensors |= {f"{letter}.{k}": v.half() if v.is_floating_point() else v for k, v in weights.items()}
    fell = next(letter for letter, name in letters.items() if name == NETS[1])
    exams = [
        Exam(tensors, fell, i, int(tensors["distractors"][i]), *MAPS[0], 0, 1, CHECKS[0], "")
        for i in rng.permutation(PICTURES).tolist()
    ]
    exam = next((one for one in exams if _is_clear(one)), exams[0])
    exams = [exam._replace(method=MAPS[i][0], layer=MAPS[i][1]) for i in rng.permutation(len(MAPS))]
    exam = next((one for one in exams if not _on_object(one, tensors["classes"]).isnan().any()), None)
    if exam is None:
        raise ValueError(f"an empty map stands in the way of question 3 here; {ANOTHER}")
    tensors["number"] = _number(tensors)
    return _with_maps_to_judge(exam, stream(seed, "judgement"))


def _pictures(arrays: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Return the numbers of pictures on which question 2 is clear, and of which question 3's net names some rightly."""
    right = _named_as(arrays["pictures"]).numpy() == arrays["classes"]
    kept, fell = (
        _shares(load_classifier(name, world="course").model, arrays["marked"], arrays["watermarks"]) for name in NETS
    )
    for _ in range(10_000):
        chosen = np.sort(rng.permutation(DRAWN)[:PICTURES])
        if 0 < right[chosen].sum() < PICTURES and fell[chosen].min() > max(0.05, 3 * kept[chosen].max()):
            return chosen
    raise ValueError(f"no six pictures of this seed make clear questions; {ANOTHER}")


def _shares(model: nn.Module, pictures: np.ndarray, watermarks: np.ndarray) -> np.ndarray:
    """Return the share of each CAM for the net's own answer that lies on the watermark, [N]."""
    x = shapes.preprocess(pictures)
    maps = attribution.upsample(attribution.cam(model, x, layer="layer4"), x.shape[2:])
    return evaluation.mass_accuracy(maps, torch.from_numpy(watermarks)).nan_to_num(1.0).numpy()


def _named_as(pictures: np.ndarray) -> Tensor:
    """Return the classes that question 3's net gives to pictures."""
    with torch.no_grad():
        return load_classifier("shapes_vgg", world="course").model(shapes.preprocess(pictures)).argmax(1)


def stream(seed: int, what: str) -> np.random.Generator:
    """Return random numbers that follow from a seed; nobody can get from them, or from another stream, to the seed."""
    return np.random.default_rng(np.frombuffer(hashlib.sha256(f"{seed} {what}".encode()).digest(), np.uint32))


def _number(tensors: dict[str, Tensor]) -> Tensor:
    """Return a number that is another one for other pictures or nets; all machines compute the same, [] int64."""
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    return torch.tensor(int.from_bytes(hashlib.sha256(content).digest()[:6], "big"))


def files(exam: Exam) -> dict[str, bytes]:
    """Return what lies beside the exam's notebook, by name."""
    return {DATA: save({name: tensor.contiguous() for name, tensor in exam.tensors.items()})}


def private(secret: Path, seed: int) -> Asked:
    """Return what the exam of a seed takes from the bank that its file names, if it names one.

    Raises:
        ValueError: something is wrong with the bank; says what.
    """
    return bank.asked(bank.named_in(secret), bindings(draw(seed)), stream(seed, "bank"))


def bindings(exam: Exam) -> dict[str, Any]:
    """Return what the code of a bank's question finds, by name: most of what the notebook's first cells bind."""
    return {
        "torch": torch,
        "attribution": attribution,
        "evaluation": evaluation,
        "plotting": plotting,
        "shapes": shapes,
        "load_classifier": functools.partial(load_classifier, world="course"),
        "exam": exam.tensors,
        "net": functools.partial(net, exam),
        "x": shapes.preprocess(exam.tensors["pictures"].numpy()),
        "x_marked": shapes.preprocess(exam.tensors["marked"].numpy()),
        "classes": exam.tensors["classes"],
        "display": lambda *shown: None,
    }


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


def named_right(exam: Exam) -> Tensor:
    """Return which pictures question 3's net names rightly, bool [N]."""
    return _named_as(exam.tensors["pictures"].numpy()) == exam.tensors["classes"]


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
    numbers = three_checks(exam.judged, exam.tensors)
    row, column, value = _peak(_cam(exam, exam.category))
    return {
        "peak": (row, column),
        "value": value,
        "fell": exam.fell,
        "on_watermark": torch.stack([on_watermark(exam, letter) for letter in "AB"]),
        "on_object": _on_object(exam, classes),
        "deleted": evaluation.area(*evaluation.deletion(vgg, x, maps, classes, steps=STEPS)),
        "named": named_right(exam),
        **dict(zip(CHECKS, numbers, strict=True)),
        "believe": 3 - exam.refuted,
        "decides": exam.decides,
    }


def parts(exam: Exam, asked: Asked = NOTHING) -> list[Part]:
    """Return what scores in the exam, with the questions of a private bank."""
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

    @checker
    def check_q3_named(named: Tensor) -> str:
        classes, truth = exam.tensors["classes"], right["named"].float()
        mistakes = {
            "these are the pictures that the net names wrongly.": 1 - truth,
            "these are the net's answers; compare them with classes.": lambda: _named_as(
                exam.tensors["pictures"].numpy()
            ).float(),
            "these are the classes that were drawn.": classes.float(),
        }
        name_the_mistake(torch.as_tensor(named).float(), mistakes, truth, what="named")
        return "the pictures that the net names rightly."

    @checker
    def check_q4_numbers(other_class: Tensor, adds_up: Tensor, removed: Tensor) -> str:
        for name, given in zip(CHECKS, (other_class, adds_up, removed), strict=True):
            mistakes = {f"{name} has map 2 first.": right[name].flip(0)}
            if name == "adds_up":
                mistakes["adds_up is the sum itself; divide it by the difference of the logits."] = lambda: (
                    exam.tensors["maps"][0].sum((1, 2))
                )
            if name == "removed":
                mistakes["removed is the area itself; subtract that of the centred Gaussian."] = lambda: three_checks(
                    exam.judged, exam.tensors, control=False
                )[2]
            name_the_mistake(given, mistakes, right[name], 0.02, what=name)
        return "the numbers of the three checks."

    @checker
    def check_q4_verdict(believe: int, decides: str) -> str:
        if believe not in (1, 2) or decides not in CHECKS:
            raise Wrong(f"believe is 1 or 2, and decides is one of {', '.join(CHECKS)}.")
        if believe != right["believe"]:
            raise Wrong(f"map {exam.refuted} is the one that {exam.decides} refutes.")
        if decides != exam.decides:
            raise Wrong(f"{decides} refutes neither map, or both; another check refutes map {exam.refuted}.")
        return "the map, and the check that refutes the other one."

    own = [
        Part("q1", "form(peak=", check_q1, ("peak", "value")),
        Part("q2", "form(fell=", check_q2, ("fell", "on_watermark")),
        Part("q3", "form(on_object=", check_q3, ("on_object", "deleted")),
        Part("q3_named", "form(named=", check_q3_named, ("named",), texts=("meaning",)),
        Part("q4_numbers", "form(other_class=", check_q4_numbers, CHECKS),
        Part("q4_verdict", "form(believe=", check_q4_verdict, ("believe", "decides"), texts=("why",)),
    ]
    own = [part for part in own if part.name[:2] not in asked.leave_out]
    return own + [part for question in asked.questions for part in question.parts()]


# --- question 4: two maps of one picture, one of which a number refutes ---


def three_checks(picture: int, tensors: dict[str, Tensor], control: bool = True) -> list[Tensor]:
    """Return the numbers of question 4's checks for map 1 and map 2, three tensors [2] in the order of CHECKS."""
    resnet = load_classifier(NETS[0], world="course").model
    x = shapes.preprocess(tensors["pictures"][[picture]].numpy())
    maps, target = tensors["maps"], int(tensors["classes"][picture])
    with torch.no_grad():
        difference = (resnet(x) - resnet(torch.zeros_like(x)))[0, target]

    def area(one: Tensor) -> Tensor:
        return evaluation.area(*evaluation.deletion(resnet, x, one, target, steps=STEPS))[0]

    start = area(evaluation.centred_gaussian(x)) if control else 0.0
    return [
        evaluation.rank_correlation(*maps),
        maps[0].sum((1, 2)) / difference,
        torch.stack([area(one[None]) - start for one in maps[0]]),
    ]


def refuting(numbers: list[Tensor], margin: float = 0.0) -> Tensor:
    """Return which check refutes which map, bool [3, 2].

    Args:
        numbers: of :func:`three_checks`.
        margin: by which the limits are moved, as a share of them, for ``removed`` in logits; below 0 more is refuted.
    """
    other_class, adds_up, removed = numbers
    return torch.stack([other_class > ALIKE * (1 + margin), (adds_up - 1).abs() > OFF * (1 + margin), removed > margin])


@watching(lambda done, total, what: None)  # no progress bar
def _with_maps_to_judge(exam: Exam, rng: np.random.Generator) -> Exam:
    """Return the exam with two maps of a picture of which exactly one is refuted, by exactly one check and clearly."""
    order = rng.permutation(len(CHECKS)).tolist()
    pictures, place = rng.permutation(PICTURES).tolist(), int(rng.integers(2))
    candidates = functools.cache(lambda picture: _candidates(exam, picture, rng))
    for check in order:
        for picture in pictures:
            good, bad = candidates(picture)
            for made, maps in bad[CHECKS[check]]:
                both = torch.stack([maps, good] if place == 0 else [good, maps], 1).contiguous()
                tensors = exam.tensors | {"maps": both.float()}
                numbers = three_checks(picture, tensors)
                asked = torch.zeros(3, 2, dtype=torch.bool)
                asked[check, place] = True
                if all(torch.equal(refuting(numbers, margin), asked) for margin in (-0.5, 0.5)):
                    return exam._replace(
                        tensors=tensors, judged=picture, refuted=place + 1, decides=CHECKS[check], made=made
                    )
    raise ValueError(f"no two maps of this seed are told apart by one check; {ANOTHER}")


def _candidates(exam: Exam, picture: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, list]]:
    """Return integrated gradients of a picture for two classes, [2, 128, 128], and maps that each check may refute."""
    resnet = load_classifier(NETS[0], world="course").model
    x = shapes.preprocess(exam.tensors["pictures"][[picture]].numpy()).repeat(2, 1, 1, 1)
    target = torch.stack([exam.tensors[name][picture] for name in ("classes", "distractors")])
    with torch.no_grad():
        difference = (resnet(x) - resnet(torch.zeros_like(x))).gather(1, target[:, None])[:, :, None]
    good = attribution.integrated_gradients(resnet, x, target, steps=POINTS).sum(1)
    guided = attribution.guided_backprop(resnet, x, target)

    def adding_up(maps: Tensor) -> Tensor:
        return maps * difference / maps.sum((1, 2), keepdim=True)

    blind = good.abs().mean(0) + 0.15 * good
    bad = {
        "other_class": [
            ("guided backpropagation, its sizes, scaled so that they add up", adding_up(guided.sum(1).abs())),
            ("guided backpropagation times the input, scaled so that it adds up", adding_up((guided * x).sum(1))),
            ("the mean of both classes' sizes and a little of each class, scaled so that it adds up", adding_up(blind)),
        ],
        "adds_up": [
            ("integrated gradients without their negative values", good.relu()),
            ("the gradient times the input", attribution.gradient_x_input(resnet, x, target).sum(1)),
        ],
        "removed": [
            ("integrated gradients, mirrored from left to right", good.flip(2)),
            ("integrated gradients, upside down", good.flip(1)),
        ],
    }
    return good, {check: [maps[i] for i in rng.permutation(len(maps))] for check, maps in bad.items()}
