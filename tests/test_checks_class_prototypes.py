"""The checkers of lesson *class_prototypes* accept its own solutions and others as right, and name the mistakes."""

import pytest
import torch
import torch.nn.functional as F

from folded import solution
from helpers.checks import class_prototypes

CHECKS = {"class_spread": class_prototypes.check_class_spread, "collapse": class_prototypes.check_collapse}


def groups(images, labels):
    return [images[labels == c] for c in range(10)]


def by_squares(images, labels):
    """The other formula on paper, with its rounding clamped."""
    one_hot = F.one_hot(labels, 10).float()
    means, squares = (torch.einsum("nk,nchw->kchw", one_hot / one_hot.sum(0), values) for values in (images, images**2))
    return (squares - means**2).clamp(min=0).sqrt()


def product(net):
    return net.dense3.weight @ net.dense2.weight @ net.dense1.weight


def bias(net):
    return net(torch.zeros(1, 784))[0]


RIGHT = {
    "class_spread": [
        lambda x, y: torch.stack([group.std(0, correction=0) for group in groups(x, y)]),
        lambda x, y: torch.stack([group.var(0, correction=0) for group in groups(x, y)]).sqrt().numpy(),
        by_squares,
    ],
    "collapse": [
        lambda net: (product(net), bias(net)),
        lambda net: ((net(torch.eye(784).view(784, 1, 28, 28)) - bias(net)).T, bias(net)),
        lambda net: [product(net).double(), bias(net)[None]],
    ],
}
WRONG = {
    "class_spread": [
        (lambda x, y: torch.stack([g.var(0, correction=0) for g in groups(x, y)]), "the variance"),
        (lambda x, y: torch.stack([g.std(0) for g in groups(x, y)]), "one picture less"),
        (lambda x, y: torch.stack([((g - x.mean(0)) ** 2).mean(0).sqrt() for g in groups(x, y)]), "class mean"),
        (lambda x, y: torch.stack([((g - g.mean(0)) ** 2).sum(0).sqrt() for g in groups(x, y)]), "not divided"),
        (
            lambda x, y: torch.stack([(((g - g.mean(0)) ** 2).sum(0) / len(x)).sqrt() for g in groups(x, y)]),
            "the number of all pictures",
        ),
        (lambda x, y: torch.stack([(g - g.mean(0)).abs().mean(0) for g in groups(x, y)]), "mean distance"),
        (lambda x, y: torch.stack([g.mean(0) for g in groups(x, y)]), "its spread is asked for"),
        (lambda x, y: torch.stack([g.std(correction=0) for g in groups(x, y)]), "keep the pixels apart"),
        (lambda x, y: x.std(0, correction=0).repeat(10, 1, 1, 1), "the same spread"),
        (
            lambda x, y: torch.stack([((g**2).mean(0) - g.mean(0) ** 2 - 1e-9).sqrt() for g in groups(x, y)]),
            "NaN in pixels that never change",
        ),
        (lambda x, y: torch.stack([g.std(0, correction=0) for g in groups(x, y)])[:, 0], "shape"),
        (lambda x, y: x[y].nosuch, "stopped with"),
    ],
    "collapse": [
        (lambda net: (product(net).T, bias(net)), "other way round"),
        (lambda net: (net.dense1.weight @ net.dense2.weight @ net.dense3.weight, bias(net)), "stands on the left"),
        (lambda net: (net.dense3.weight, bias(net)), "the last layer's alone"),
        (lambda net: (product(net), net.dense3.bias), "dense3's bias alone"),
        (lambda net: (product(net), torch.zeros(10)), "b is zero"),
        (lambda net: (product(net), net.dense3.weight @ net.dense2.bias + net.dense3.bias), "dense1's bias"),
        (
            lambda net: (product(net), net.dense3.weight @ net.dense2.weight @ net.dense1.bias + net.dense3.bias),
            "dense2's bias",
        ),
        (lambda net: product(net), "return two things"),
        (lambda net: (product(net), bias(net) + 1), "to every value of b 1 is added"),
    ],
}


def cases(table):
    return [(name, *(case if isinstance(case, tuple) else (case,))) for name in table for case in table[name]]


@pytest.mark.parametrize("name", CHECKS)
def test_the_lessons_own_solution_is_right(name, capsys):
    assert CHECKS[name](solution("class_prototypes", name)) is True
    assert capsys.readouterr().out.startswith("Right: ")


@pytest.mark.parametrize(("name", "answer"), cases(RIGHT))
def test_any_right_way_is_right(name, answer):
    with torch.no_grad():
        assert CHECKS[name](answer) is True


@pytest.mark.parametrize(("name", "answer", "hint"), cases(WRONG))
def test_wrong_answers_get_their_own_hint(name, answer, hint, capsys):
    assert CHECKS[name](answer) is False
    said = capsys.readouterr().out
    assert said.startswith("Not yet: ") and hint in said


def test_all_hints_differ(capsys):
    for name, check in CHECKS.items():
        said = []
        for answer, _ in WRONG[name]:
            check(answer)
            said.append(capsys.readouterr().out)
        assert len(set(said)) == len(said)


@pytest.mark.parametrize("name", CHECKS)
def test_a_blank_is_not_answered_yet(name, capsys):
    def blank(*inputs): ...

    assert CHECKS[name](blank) is None
    assert "Not answered yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", CHECKS)
def test_the_students_random_numbers_are_left_alone(name):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    CHECKS[name](RIGHT[name][0])
    assert torch.equal(torch.rand(3), expected)
