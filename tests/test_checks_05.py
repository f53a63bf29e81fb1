"""The checkers of lesson 05 accept the folded solutions, name each known mistake, and wait for an answer."""

import pytest
import torch
import torch.nn.functional as F

from folded import solution
from helpers.checks import lesson_05


def add_up(weights, maps):
    return torch.einsum("nk,nkij->nij", weights, maps)


def mean(gradients):
    return gradients.mean((2, 3))


WRONG_MAPS = {
    "HiResCAM": lambda A, G: (G * A).sum(1).relu(),
    "averaged the gradient over the channels": lambda A, G: torch.einsum("nij,nkij->nij", G.mean(1), A).relu(),
    "summed the gradient over the channels": lambda A, G: (G.sum(1, keepdim=True) * A).sum(1).relu(),
    "ReLU came too early": lambda A, G: add_up(mean(G.relu()), A).relu(),
    "weights went through the ReLU": lambda A, G: add_up(mean(G).relu(), A).relu(),
    "each map went through the ReLU": lambda A, G: (mean(G)[..., None, None] * A).relu().sum(1),
    "ReLU at the end is missing": lambda A, G: add_up(mean(G), A),
    "h x w times too large": lambda A, G: add_up(G.sum((2, 3)), A).relu(),
    "over the channels; add them up": lambda A, G: (mean(G)[..., None, None] * A).mean(1).relu(),
    "share their weights": lambda A, G: add_up(G.mean((0, 2, 3)).expand(len(A), -1), A).relu(),
    "scaled to": lambda A, G: F.normalize(add_up(mean(G), A).relu().flatten(1), float("inf")).view(-1, *A.shape[2:]),
    "squeeze": lambda A, G: add_up(mean(G), A).relu()[:, None],
    "batch of one": lambda A, G: add_up(mean(G), A).relu().squeeze(),
    "stopped with": lambda A, G: add_up(G.mean((1, 2)), A).relu(),
}
WRONG_EVIDENCE = {
    "this is Grad-CAM": lambda A, G: add_up(mean(G), A).relu(),
    "turned after the ReLU": lambda A, G: -add_up(mean(G), A).relu(),
    "minus is still there": lambda A, G: add_up(mean(G), A).clamp(max=0),
    "cut it off": lambda A, G: -add_up(mean(G), A),
    "absolute values": lambda A, G: add_up(mean(G), A).abs(),
    "only the maps with a negative weight": lambda A, G: add_up((-mean(G)).relu(), A).relu(),
    "ReLU came too early": lambda A, G: add_up(mean((-G).relu()), A).relu(),
    "not averaged over places": lambda A, G: (-G * A).sum(1).relu(),
}
RIGHT_MAPS = {
    "keepdim": lambda A, G: (G.mean((2, 3), keepdim=True) * A).sum(1).clamp(min=0),
    "loop": lambda A, G: torch.stack(
        [F.relu(sum(g.mean() * a for a, g in zip(*one, strict=True))) for one in zip(A, G, strict=True)]
    ),
    "matrix product": lambda A, G: (mean(G)[:, None] @ A.flatten(2)).view(len(A), *A.shape[2:]).relu(),
    "numpy": lambda A, G: add_up(mean(G), A).relu().numpy(),
    "in place": lambda A, G: A.mul_(mean(G)[..., None, None]).sum(1).relu_(),
}


@pytest.mark.parametrize("name", ["grad_cam_from", "evidence_against"])
def test_the_folded_solution_is_right_and_a_blank_is_not_wrong(name, capsys):
    check = getattr(lesson_05, f"check_{name}")
    assert check(solution("05_grad_cam", name)) is True
    assert "Right" in capsys.readouterr().out
    for blank in (lambda maps, gradients: ..., lambda maps, gradients: None):
        assert check(blank) is None
        assert "Not answered yet" in capsys.readouterr().out


@pytest.mark.parametrize("way", RIGHT_MAPS)
def test_any_right_way_is_accepted(way):
    assert lesson_05.check_grad_cam_from(RIGHT_MAPS[way]) is True


@pytest.mark.parametrize("way", ["gradients", "minimum"])
def test_the_minus_may_stand_anywhere_before_the_relu(way):
    right = {
        "gradients": lambda A, G: add_up(mean(-G), A).relu(),
        "minimum": lambda A, G: -add_up(mean(G), A).clamp(max=0),
    }
    assert lesson_05.check_evidence_against(right[way]) is True


@pytest.mark.parametrize("hint", WRONG_MAPS)
def test_a_wrong_map_gets_its_own_hint(hint, capsys):
    assert lesson_05.check_grad_cam_from(WRONG_MAPS[hint]) is False
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize("hint", WRONG_EVIDENCE)
def test_wrong_evidence_gets_its_own_hint(hint, capsys):
    assert lesson_05.check_evidence_against(WRONG_EVIDENCE[hint]) is False
    assert hint in capsys.readouterr().out


def test_strict_refuses_a_wrong_answer(monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(AssertionError, match="ReLU at the end is missing"):
        lesson_05.check_grad_cam_from(WRONG_MAPS["ReLU at the end is missing"])
