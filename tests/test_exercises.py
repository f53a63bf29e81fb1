"""The exercises: their checkers against right, wrong and missing answers; the blank notebook against its source."""

import importlib.util
import re
import sys
from functools import partial

import nbformat
import pytest
import torch
import torch.nn.functional as F
from torch import autograd, einsum

from helpers import attribution, data
from helpers.checks import NotAnswered, Wrong
from helpers.checks.exercises import (
    LAYERS,
    check_q1,
    check_q2_cam,
    check_q2_count,
    check_q3_cam,
    check_q3_grades,
    grade,
)
from helpers.course import DATASETS, ROOT
from helpers.data import shapes
from helpers.hooks import capture, find_layer
from helpers.models import load_classifier
from helpers.synthesis import class_means, class_prototypes
from tools.lessons import path


def verdict_of(capsys, check, *answer):
    """Return the checker's verdict and the one line that it printed."""
    capsys.readouterr()
    verdict = check(*answer)
    lines = capsys.readouterr().out.splitlines()
    return verdict, lines[-1]


# --- question 1 ---

CHOSEN = torch.tensor([3, 1])


@pytest.fixture(scope="module")
def one():
    """Return what question 1 gives: the linear net, the class means, the picture of an 8."""
    classifier, digits = load_classifier("digits_dnn_mnist"), data.load_digits(world="course")
    return classifier.model, class_means(digits.images, digits.labels), classifier.preprocess(DATASETS / "8.png")


def descend(one, *, weight=0.1, target=None, labels=CHOSEN, **options):
    net, means, eight = one
    target = means[CHOSEN] if target is None else target
    options = {"start": eight.repeat(2, 1, 1, 1)} | options
    return class_prototypes(net, target, labels, weight=weight, **options).images


def by_adam(one, *, steps=3000, sign=1, weight=0.1):
    net, means, eight = one
    x = eight.repeat(2, 1, 1, 1).requires_grad_()
    adam = torch.optim.Adam([x], lr=0.1)
    for _ in range(steps):
        adam.zero_grad()
        (sign * (F.cross_entropy(net(x), CHOSEN) + weight * F.mse_loss(x, means[CHOSEN]))).backward()
        adam.step()
    return x


RIGHT_1 = {
    "L-BFGS": descend,
    "Adam, and still asking for a gradient": by_adam,
    "from another start": lambda one: descend(one, start=torch.zeros(2, 1, 28, 28)),
    "one after the other": lambda one: torch.cat(
        [descend(one, target=one[1][[c]], labels=torch.tensor([c]), start=one[2]) for c in (3, 1)]
    ),
}
WRONG_1 = {
    "these are the 8 itself": lambda one: one[2].repeat(2, 1, 1, 1),
    "these are the class means; the net": lambda one: one[1][CHOSEN],
    "the class means, and in the wrong order": lambda one: one[1][CHOSEN.flip(0)],
    "the net reads a 1 and a 3": lambda one: descend(one).flip(0),
    "the objective has risen": partial(by_adam, steps=200, sign=-1),
    "reads them as 3 and 3": lambda one: descend(one)[[0, 0]],
    "holds your pictures at the 8": lambda one: descend(one, target=one[2].repeat(2, 1, 1, 1)),
    "your 3 is held at the mean of the 1": lambda one: descend(one, target=one[1][CHOSEN.flip(0)]),
    "held at means[0] and means[1]": lambda one: descend(one, target=one[1][:2]),
    "held at zero": lambda one: descend(one, target=torch.zeros(2, 1, 28, 28)),
    "nothing draws your pictures": lambda one: descend(one, weight=0.0),
    "a weight of about 0.2;": lambda one: descend(one, weight=0.2),
    "a weight of about 0.0": lambda one: descend(one, weight=0.01),
    "asked for is 0.1 times the *mean*": lambda one: descend(one, weight=0.1 * 2 * 784),
    "your pixels are cut": lambda one: descend(one).clamp(0, 1),
    "go on descending": partial(by_adam, steps=300),
    "take its .images": lambda one: class_prototypes(one[0], one[1][CHOSEN], CHOSEN, steps=1),
    "asked for is [2, 1, 28, 28]": lambda one: descend(one)[:, 0],
    "NaN or infinite": lambda one: descend(one) / 0,
    "torch.stack makes one": lambda one: list(descend(one)),
}


@pytest.mark.parametrize("way", RIGHT_1)
def test_q1_accepts_any_descent_that_arrives(way, one, capsys):
    verdict, line = verdict_of(capsys, check_q1, RIGHT_1[way](one), *one)
    assert verdict is True and line.startswith("Right: the net reads 3 and 1"), line


@pytest.mark.parametrize("hint", WRONG_1)
def test_q1_names_the_mistake(hint, one, capsys):
    verdict, line = verdict_of(capsys, check_q1, WRONG_1[hint](one), *one)
    assert verdict is False and line.startswith("Not yet: ") and hint in line, line


def test_q1_forgotten_weight_is_named_for_adam_too(one, capsys):
    assert "nothing draws your pictures" in verdict_of(capsys, check_q1, by_adam(one, weight=0, steps=500), *one)[1]


# --- question 2 ---


def cam_of(maps, weight, chosen):
    return (weight[chosen, None, None] * maps[chosen]).sum(0)


def strongest(maps, weight, keep):
    return cam_of(maps, weight, maps.mean((1, 2)).topk(keep).indices)


def masked(maps, weight, keep):
    """Set the weights of all other maps to zero; the maps are ranked one by one."""
    ranked = sorted(range(len(maps)), key=lambda k: -maps[k].sum().item())[:keep]
    return torch.tensordot(weight * torch.isin(torch.arange(len(maps)), torch.tensor(ranked)), maps, 1).numpy()


RIGHT_2 = {"topk": strongest, "masked weights, as an array": masked}
WRONG_2 = {
    "the first maps": lambda m, w, n: cam_of(m, w, torch.arange(n)),
    "the largest weight": lambda m, w, n: cam_of(m, w, w.topk(n).indices),
    "the weakest maps": lambda m, w, n: cam_of(m, w, m.mean((1, 2)).argsort()[:n]),
    "by their highest value": lambda m, w, n: cam_of(m, w, m.amax((1, 2)).topk(n).indices),
    "by weight times mean": lambda m, w, n: cam_of(m, w, (w * m.mean((1, 2))).topk(n).indices),
    "but not their weights": lambda m, w, n: einsum("k,kij->ij", w[:n], m[m.mean((1, 2)).topk(n).indices]),
    "this is a sum of maps": lambda m, w, n: m[m.mean((1, 2)).topk(n).indices].sum(0),
    "this is a mean of maps": lambda m, w, n: m[m.mean((1, 2)).topk(n).indices].mean(0),
    "all maps are in": lambda m, w, n: cam_of(m, w, torch.arange(len(m))),
    "by the number of maps": lambda m, w, n: strongest(m, w, n) / n,
    "CAM has no ReLU": lambda m, w, n: strongest(m, w, n).relu(),
    "asked for is [3, 5]; squeeze": lambda m, w, n: strongest(m, w, n)[None],
    "to every value of the map 1 is added": lambda m, w, n: strongest(m, w, n) + 1,
    "stopped with RuntimeError": lambda m, w, n: w @ m,
}


def count(maps, weight, share, *, order=None, reached=lambda part, whole: 1 - (part - whole).norm() / whole.norm()):
    order = maps.mean((1, 2)).argsort(descending=True) if order is None else order
    whole = cam_of(maps, weight, order)
    return next(n for n in range(1, len(maps) + 1) if reached(cam_of(maps, weight, order[:n]), whole) >= share)


def count_at_once(maps, weight, share):
    order = maps.mean((1, 2)).argsort(descending=True)
    sums = (weight[:, None, None] * maps)[order].cumsum(0).flatten(1)
    missing = (sums - sums[-1]).norm(dim=1) / sums[-1].norm()
    return (missing <= 1 - share).int().argmax() + 1


def correlation(part, whole):
    return torch.corrcoef(torch.stack([part.flatten(), whole.flatten()]))[0, 1]


RIGHT_COUNT = {"one by one": count, "cumsum": count_at_once}
WRONG_COUNT = {
    "one too few": lambda m, w, s: count(m, w, s) - 1,
    "one too many": lambda m, w, s: count(m, w, s) + 1,
    "in which they lie": lambda m, w, s: count(m, w, s, order=torch.arange(len(m))),
    "the weakest maps first": lambda m, w, s: count(m, w, s, order=m.mean((1, 2)).argsort()),
    "the largest weight first": lambda m, w, s: count(m, w, s, order=w.argsort(descending=True)),
    "compares the scores": lambda m, w, s: count(m, w, s, reached=lambda part, whole: part.sum() / whole.sum()),
    "for a correlation": lambda m, w, s: count(m, w, s, reached=correlation),
    "are squared": lambda m, w, s: count(
        m, w, s, reached=lambda part, whole: 1 - (part - whole).square().sum() / whole.square().sum()
    ),
    "the share of the maps": lambda m, w, s: count(m, w, s) / len(m),
    "every value of the count (for 8 random sets of maps) is 20": lambda m, w, s: 20,
    "asked for is one number": lambda m, w, s: [1, 2],
}


@pytest.mark.parametrize("way", RIGHT_2)
def test_q2_accepts_any_right_way(way, capsys):
    assert verdict_of(capsys, check_q2_cam, RIGHT_2[way])[0] is True


@pytest.mark.parametrize("hint", WRONG_2)
def test_q2_names_the_mistake(hint, capsys):
    verdict, line = verdict_of(capsys, check_q2_cam, WRONG_2[hint])
    assert verdict is False and hint in line, line


@pytest.mark.parametrize("way", RIGHT_COUNT)
def test_q2_count_accepts_any_right_way(way, capsys):
    assert verdict_of(capsys, check_q2_count, RIGHT_COUNT[way])[0] is True


@pytest.mark.parametrize("hint", WRONG_COUNT)
def test_q2_count_names_the_mistake(hint, capsys):
    verdict, line = verdict_of(capsys, check_q2_count, WRONG_COUNT[hint])
    assert verdict is False and hint in line, line


# --- question 3 ---


def own_hook(net, x, target, layer):
    """A right answer without capture: a plain hook, and a picture that asks for its gradient."""
    kept = []
    handle = net.get_submodule(layer).register_forward_hook(lambda module, inputs, output: kept.append(output))
    scores = net(x.requires_grad_())[range(len(x)), target]
    handle.remove()
    gradient = autograd.grad(scores.sum(), kept[0])[0]
    return F.relu((gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1)).detach().numpy()


def leaking(net, x, target, layer):
    net.get_submodule(layer).register_forward_hook(lambda module, inputs, output: None)
    return by_steps(net, x, target, layer)


def by_steps(net, x, target, layer, *, score=None, weights=lambda g: g.mean((2, 3), keepdim=True), other=None):
    with capture(find_layer(net, layer), find_layer(net, other or layer)) as (own, maps):
        logits = net(x)
    score = logits.gather(1, target[:, None]) if score is None else score(logits)
    return (weights(own.gradient(score)) * maps.activations).sum(1).relu()


def turned(layer):
    """Return the next layer of the random net, the first after the last."""
    return LAYERS[(LAYERS.index(layer) + 1) % len(LAYERS)]


def scaled(net, x, target, layer):
    maps = by_steps(net, x, target, layer)
    return maps / maps.amax((1, 2), keepdim=True)


RIGHT_3 = {
    "the helper": lambda net, x, target, layer: attribution.grad_cam(net, x, target, layer=layer),
    "the four steps": by_steps,
    "a hook of one's own": own_hook,
}


def left_in_train(net, x, target, layer):
    maps = by_steps(net, x, target, layer)
    net.train()
    return maps


WRONG_3 = {
    "`net` came in eval() and went back in train()": left_in_train,
    "the ReLU at the end is missing": lambda net, x, target, layer: attribution.grad_cam(
        net, x, target, layer=layer, relu=False
    ),
    "not averaged over places": partial(by_steps, weights=lambda g: g),
    "summed the gradients": partial(by_steps, weights=lambda g: g.sum((2, 3), keepdim=True)),
    "for the net's own answer": lambda net, x, target, layer: attribution.grad_cam(net, x, layer=layer),
    "asked for target[0]": lambda net, x, target, layer: by_steps(net, x, target[:1].repeat(3), layer),
    "all logits together": partial(by_steps, score=lambda logits: logits),
    "the map is enlarged": lambda *a: attribution.upsample(by_steps(*a), (10, 8)),
    "scaled to [0, 1]": scaled,
    "take both at one layer": lambda net, x, target, layer: by_steps(net, x, target, layer, other=turned(layer)),
    "you give the map of features.6": lambda net, x, target, layer: by_steps(net, x, target, LAYERS[-1]),
    "1 hook of yours is still in `net`": leaking,
    "has no layer 'layer4'": lambda net, x, target, layer: by_steps(net, x, target, "layer4"),
}


@pytest.mark.parametrize("way", RIGHT_3)
def test_q3_accepts_any_right_way(way, capsys):
    verdict, line = verdict_of(capsys, check_q3_cam, RIGHT_3[way])
    assert verdict is True, line


@pytest.mark.parametrize("hint", WRONG_3)
def test_q3_names_the_mistake(hint, capsys):
    verdict, line = verdict_of(capsys, check_q3_cam, WRONG_3[hint])
    assert verdict is False and hint in line, line


def test_q3_leaves_the_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    check_q3_cam(by_steps)
    assert torch.equal(torch.rand(1), expected)


@pytest.fixture(scope="module")
def three():
    """Return ten pictures of two shapes, the names of the ReLUs, and the tables of their grades."""
    test, net = shapes.two(10, seed=6), load_classifier("shapes_vgg").model
    layers = [f"features.{i}" for i in (1, 4, 6, 9, 11, 14, 16)]
    x, labels = shapes.preprocess(test.images), torch.from_numpy(test.labels)

    def table(asked=0, mask=0, relu=True):
        maps = [attribution.grad_cam(net, x, labels[:, asked], layer=at, relu=relu) for at in layers]
        return torch.stack([grade(one, test.masks[:, mask]) for one in maps])

    return test, layers, table(), table(relu=False), table(1, 1), table(0, 1), table(1, 0)


def best(table, layers):
    return layers[table[:, 0].argmax()], layers[table[:, 1].argmax()]


def test_q3_grades_accepts_the_table_and_a_tie(three, capsys):
    test, layers, table, *_ = three
    assert verdict_of(capsys, check_q3_grades, table, *best(table, layers), test)[0] is True
    ties = [layers[i] for i in (table[:, 0] >= table[:, 0].max() - 0.02).nonzero()[:, 0]]
    for layer in ties:
        assert verdict_of(capsys, check_q3_grades, table.numpy(), layer, best(table, layers)[1], test)[0] is True


def test_q3_grades_names_the_mistake(three, capsys):
    test, layers, table, signed, second, masks_of_second, maps_of_second = three
    right = best(table, layers)
    for hint, answer in {
        "begin at the input": (table.flip(0), *right),
        "turned round": (table.T, *right),
        "percentages": (100 * table, *right),
        "has your loop used its layer": (table[-1:].expand(7, 3), *right),
        "the maps have no ReLU": (signed, *right),
        "the grades for the second object": (second, *right),
        "the maps are those of the first object, the masks": (masks_of_second, *right),
        "the masks are those of the first object, the maps": (maps_of_second, *right),
        "asked for is [7, 3]": (table[:, :2], *right),
        "best_pointing is 'last'": (table, "last", right[1]),
        "by pointing, features.1 has": (table, layers[0], right[1]),
        "by energy, features.4 has": (table, right[0], layers[1]),
    }.items():
        verdict, line = verdict_of(capsys, check_q3_grades, *answer, test)
        assert verdict is False and hint in line, line


def test_grade_on_maps_whose_truth_is_known():
    masks = torch.zeros(4, 16, 16, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    masks[1, 6:10, 6:10] = False  # a ring: its hole belongs to the outline, not to the object
    maps = torch.zeros(4, 16, 16)
    maps[0, 5, 5], maps[1, 8, 8], maps[2, 0, 0], maps[2, 5, 5] = 2.0, 1.0, 3.0, 1.0
    pointing, energy, empty = grade(maps, masks.numpy()).tolist()
    assert (pointing, energy, empty) == (0.5, (1 + 0 + 0.25 + 0) / 4, 0.25)
    assert torch.equal(grade(maps - 10 * (maps == 0), masks.numpy()), grade(maps, masks.numpy()))


# --- blank answers, strict mode ---


def blanks(three):
    nothing = (lambda *a: None, lambda *a: ..., ..., None)
    yield from ((check, (answer,)) for check in (check_q2_cam, check_q2_count, check_q3_cam) for answer in nothing)
    yield check_q1, (..., None, None, None)
    yield check_q3_grades, (..., "?", "?", three[0])
    yield check_q3_grades, (three[2], "?", "features.16", three[0])


def test_a_blank_answer_is_quiet(three, capsys):
    for check, answer in blanks(three):
        verdict, line = verdict_of(capsys, check, *answer)
        assert verdict is None and line.startswith("Not answered yet"), check.__name__


def test_strict_mode_makes_blanks_and_wrong_answers_fail(one, three, monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")
    for check, answer in blanks(three):
        with pytest.raises(NotAnswered):
            check(*answer)
    for check, answer in (
        (check_q1, (one[1][CHOSEN], *one)),
        (check_q2_cam, (WRONG_2["the first maps"],)),
        (check_q2_count, (WRONG_COUNT["one too few"],)),
        (check_q3_cam, (WRONG_3["summed the gradients"],)),
        (check_q3_grades, (three[2], "features.1", "features.1", three[0])),
    ):
        with pytest.raises(Wrong, match="Not yet: "):
            check(*answer)
    assert check_q2_cam(strongest) is True


# --- the notebooks ---


@pytest.fixture(scope="module")
def make():
    path = ROOT / "solutions" / "make_exercises.py"
    spec = importlib.util.spec_from_file_location("make_exercises", path)
    module, kept = importlib.util.module_from_spec(spec), list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = kept
    return module


@pytest.fixture(scope="module")
def notebooks():
    return [nbformat.read(path("exercises", folder), as_version=4) for folder in ("solutions", "notebooks")]


def test_the_blank_notebook_is_what_its_source_makes(make, notebooks):
    answered, written = notebooks
    assert make.same(make.blank(answered), written), "run: make solutions"
    text = "\n".join(cell.source for cell in written.cells)
    code = "\n".join(cell.source for cell in written.cells if cell.cell_type == "code")
    assert "SOLUTION" not in text and code.count("...  # your code here") == 5
    assert "STRICT" not in text and "STRICT" in answered.cells[2].source


def test_the_blank_notebook_ran_and_waits(notebooks):
    said = "".join(out.get("text", "") for cell in notebooks[1].cells for out in cell.get("outputs", []))
    assert said.count("Not answered yet") == 5 and "Right" not in said and "Ellipsis" not in said


def test_the_answers_are_checked_where_a_wrong_one_stops_the_run(notebooks):
    said = "".join(out.get("text", "") for cell in notebooks[0].cells for out in cell.get("outputs", []))
    assert said.count("Right: ") == 5 and "Not yet" not in said and "Not answered" not in said


def test_each_question_shows_the_picture_to_expect_below_its_answer(notebooks):
    """As an output, which GitHub and Colab show, and in both notebooks the same cells draw it."""
    drawn = []
    for notebook in notebooks:
        pictures, question = {}, ""
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                question = re.findall(r"^## (.+)$", cell.source, re.M)[-1:] or question
            shown = [out for out in cell.get("outputs", []) if any("image/" in kind for kind in out.get("data", {}))]
            if shown:
                pictures.setdefault(question[0], []).append(cell.source)
        drawn.append(pictures)
        assert sum(len(pictures.get(name, ())) for name in pictures if name.startswith("Question")) >= 5
        assert sum(name.startswith("Question") for name in pictures) == 3
    assert drawn[0] == drawn[1]
