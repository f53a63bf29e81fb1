"""The checkers of lesson *cam* accept the folded solutions, name each known mistake and wait."""

import pytest
import torch
import torch.nn.functional as F

import helpers.checks.cam as checker
from folded import solution


def cam(weight, maps):
    return torch.einsum("nk,nkij->nij", weight, maps)


def scaled(m):
    low, high = m.amin((1, 2), keepdim=True), m.amax((1, 2), keepdim=True)
    return (m - low) / (high - low)


WRONG_MAPS = {
    "same class": lambda head, maps, target: torch.einsum("k,nkij->nij", head.weight[target[0]], maps),
    "count alike": lambda head, maps, target: maps.mean(1),
    "sum over channels": lambda head, maps, target: maps.sum(1),
    "bias": lambda head, maps, target: cam(head.weight[target], maps) + head.bias[target][:, None, None],
    "negative values": lambda head, maps, target: cam(head.weight[target], maps).relu(),
    "weights went through a softmax": lambda head, maps, target: cam(head.weight.softmax(1)[target], maps),
    "maps went through a softmax": lambda head, maps, target: torch.softmax(
        cam(head.weight[target], maps).flatten(1), 1
    ).view(len(maps), *maps.shape[2:]),
    "scaled to": lambda head, maps, target: scaled(cam(head.weight[target], maps)),
    "more than one map": lambda head, maps, target: torch.einsum("ck,nkij->ncij", head.weight, maps),
    "same letter n": lambda head, maps, target: torch.einsum("ck,nkij->ncij", head.weight[target], maps),
    "places are gone": lambda head, maps, target: cam(head.weight[target], maps).mean((1, 2)),
    "even the logit": lambda head, maps, target: head(maps.mean((2, 3))).gather(1, target[:, None])[:, 0],
}


def mass(maps, masks, **options):
    options = {"mode": "bilinear", "align_corners": False} | options
    return F.interpolate(maps[:, None], masks.shape[1:], **options)[:, 0]


def share(values, masks):
    return (values * masks).sum((1, 2)) / values.sum((1, 2)).clamp(min=1e-9)


WRONG_SHARES = {
    "negative values still count": lambda maps, masks: (
        (mass(maps, masks) * masks).sum((1, 2)) / mass(maps, masks).sum((1, 2))
    ),
    "absolute values": lambda maps, masks: share(mass(maps, masks).abs(), masks),
    "before enlarging": lambda maps, masks: share(mass(maps.relu(), masks), masks),
    "count positive pixels": lambda maps, masks: share((mass(maps, masks) > 0).float(), masks),
    "area of the mask": lambda maps, masks: (mass(maps, masks).relu() * masks).sum((1, 2)) / masks.sum((1, 2)),
    "mass inside; divide": lambda maps, masks: (mass(maps, masks).relu() * masks).sum((1, 2)),
    "share outside": lambda maps, masks: share(mass(maps, masks).relu(), ~masks),
    "corners are aligned": lambda maps, masks: share(mass(maps, masks, align_corners=True).relu(), masks),
    "one number": lambda maps, masks: share(mass(maps, masks).relu(), masks).mean(),
    "outvote": lambda maps, masks: (mass(maps, masks).relu() * masks).sum() / mass(maps, masks).relu().sum(),
    "percentages": lambda maps, masks: 100 * share(mass(maps, masks).relu(), masks),
    "a weak map gets another share": lambda maps, masks: (
        (mass(maps, masks).relu() * masks).sum((1, 2)) / mass(maps, masks).relu().sum((1, 2)).clamp(min=1)
    ),
    "gives NaN": lambda maps, masks: (
        (mass(maps, masks).relu() * masks).sum((1, 2)) / mass(maps, masks).relu().sum((1, 2))
    ),
    "has shape": lambda maps, masks: share(mass(maps, masks).relu(), masks)[:, None],
}

CHECKS = {
    "class_activation_map": (checker.check_class_activation_map, WRONG_MAPS),
    "mass_inside": (checker.check_mass_inside, WRONG_SHARES),
}


@pytest.mark.parametrize("name", CHECKS)
def test_accepts_the_folded_solution(name, capsys):
    assert CHECKS[name][0](solution("cam", name)) is True
    assert capsys.readouterr().out.startswith("Right: ")


def test_accepts_other_right_ways():
    def with_a_loop(head, maps, target):
        found = [(head.weight[c][:, None, None] * m).sum(0) for m, c in zip(maps, target, strict=True)]
        return torch.stack(found).detach().numpy()

    def with_a_loop_and_numpy(maps, masks):
        large = mass(maps, masks).relu().numpy()
        pairs = zip(large, masks.numpy(), strict=True)
        return [float(m[inside].sum() / m.sum()) if m.any() else 0.0 for m, inside in pairs]

    assert checker.check_class_activation_map(with_a_loop) is True
    assert checker.check_mass_inside(with_a_loop_and_numpy) is True


@pytest.mark.parametrize(("name", "hint"), [(name, hint) for name in CHECKS for hint in CHECKS[name][1]])
def test_names_the_mistake(name, hint, capsys):
    check, wrong = CHECKS[name]
    assert check(wrong[hint]) is False
    said = capsys.readouterr().out
    assert said.startswith("Not yet: ") and hint in said
    for other in wrong:
        assert (
            other == hint
            or other not in said
            or hint in ("sum over channels", "same letter n", "even the logit", "outvote")
        )


@pytest.mark.parametrize("name", CHECKS)
def test_waits_for_an_answer(name, capsys):
    check, _ = CHECKS[name]
    assert check(lambda *inputs: None) is None and check(None) is None and check(...) is None
    assert capsys.readouterr().out.count("Not answered yet") == 3


@pytest.mark.parametrize("name", CHECKS)
def test_strict_mode_raises(name, monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")
    check, wrong = CHECKS[name]
    with pytest.raises(AssertionError):
        check(lambda *inputs: None)
    with pytest.raises(AssertionError):
        check(next(iter(wrong.values())))
