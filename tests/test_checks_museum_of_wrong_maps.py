"""The checker of lesson *museum_of_wrong_maps* accepts any number that exposes a wrong map, and explains others."""

import copy
import itertools
import random
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from answers import answer_tests
from folded import solution
from helpers.checks import museum_of_wrong_maps, wrong_maps

LESSON = "museum_of_wrong_maps"
CLASSES = range(10)
count = itertools.count()


def largest(a, b):
    return (a - b).abs().max()


def alike(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]


def misses(bias, method, model, x):
    """Return how far mean(map) + b misses the logits, for the worst class."""
    return max(largest(method(model, x, c).mean((1, 2)) + bias(model)[c], model(x)[:, c]).item() for c in CLASSES)


def sums(method, model, x):
    """Return how far sum(map) + b misses the logits: a usual mistake, which parts the two nevertheless."""
    logits = model(x)[:, 4] - model.fc.bias[4]
    return largest(method(model, x, 4).sum((1, 2)), logits) / logits.abs().max()


def fits(method, model, x):
    """Return whether mean(map) + b is the logit."""
    return torch.allclose(method(model, x, 4).mean((1, 2)) + model.fc.bias[4], model(x)[:, 4], atol=1e-4)


def renumbered(method, model, x):
    """Return how far the map moves when the hidden units of the head change places."""
    new, order = copy.deepcopy(model), torch.randperm(12)
    new.fc[0].weight.data, new.fc[2].weight.data = model.fc[0].weight[order], model.fc[2].weight[:, order]
    assert torch.allclose(new(x), model(x), atol=1e-5)
    return largest(method(new, x, 3), method(model, x, 3))


def tidied(method, model, x):
    """Return how far the map moves when no ReLU works in place."""
    tidy = copy.deepcopy(model)
    for module in tidy.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return largest(method(tidy, x, 3), method(model, x, 3))


def weights_by_hand(method, model, x):
    """Return the difference from CAM written anew, for a head of one layer and the class that wins least."""
    c = model(x).amax(0).argmin()
    maps = model.layer4(torch.relu(model.conv1(x)))
    return largest(method(model, x, c), torch.einsum("k,nkij->nij", model.fc.weight[c], maps))


def summed(method, model, x):
    """Return how far the sum of the map, in place of its mean, misses the logits."""
    return largest(method(model, x, 4).sum((1, 2)) + model.fc.bias[4], model(x)[:, 4])


RIGHT = {
    "loop": {
        "difference of two classes": lambda m, net, x: largest(m(net, x, 3), m(net, x, 7)),
        "correlation of two classes": lambda m, net, x: alike(m(net, x, 3), m(net, x, 7)).item(),
        "small for wrong": lambda m, net, x: -float(torch.equal(m(net, x, 0), m(net, x, 1))),
        "a bool": lambda m, net, x: torch.equal(m(net, x, 0), m(net, x, 1)),
        "numpy": lambda m, net, x: torch.stack([m(net, x, c) for c in CLASSES]).std(0).mean().numpy(),
        "the logits": partial(misses, lambda net: net.fc.bias),
        "by hand": weights_by_hand,
    },
    "sum of all": {
        "asked twice": lambda m, net, x: largest(m(net, x, 3), m(net, x, 3)),
        "correlation of two calls": lambda m, net, x: alike(m(net, x, 3), m(net, x, 3)),
    },
    "guided": {
        "twice the contrast": lambda m, net, x: m(net, 2 * x, 3).norm() / m(net, x, 3).norm(),
        "exactly the same for two classes": lambda m, net, x: torch.equal(m(net, x, 3), m(net, x, 7)),
    },
    "hidden layer": {"renumbered": renumbered, "the logits": partial(misses, lambda net: net.fc[-1].bias)},
    "image gradient": {
        "the logits": partial(misses, lambda net: net.fc.bias),
        "by hand": weights_by_hand,
        "a bool": fits,
        "a negative number": lambda m, net, x: -misses(lambda net: net.fc.bias, m, net, x),
    },
    "integrated": {
        "completeness": lambda m, net, x: largest(m(net, x, 3).sum((1, 2)), (net(x) - net(0 * x))[:, 3]),
        "black pixels": lambda m, net, x: (m(net, x, 3) * (x.sum(1) == 0)).abs().sum(),
    },
    "in place": {"tidied": tidied},
    "lost point": {
        "two pictures": lambda m, net, x: alike(*m(net, x, 3)[:2]),
        "spread over pictures": lambda m, net, x: m(net, x, 3).std(0).mean() / m(net, x, 3).std(),
    },
    "nothing": {
        "all classes": lambda m, net, x: sum((~m(net, x, c).isfinite()).sum() for c in CLASSES),
        "any NaN": lambda m, net, x: any(m(net, x, c).isnan().any() for c in CLASSES),
    },
}
WRONG = {
    "loop": {
        "whatever it is given": lambda m, net, x: (m(net, x, 3), 1.0)[1],
        "never calls method": lambda m, net, x: net(x).sum(),
        "return one number, such as their maximum": lambda m, net, x: m(net, x, 3) - m(net, x, 7),
        "returns a str": lambda m, net, x: str(largest(m(net, x, 3), m(net, x, 7))),
        "your number is inf": lambda m, net, x: 1 / largest(m(net, x, 3), m(net, x, 7)),
        "get the same number on each net": lambda m, net, x: (m(net, x, 3), net(x).sum())[1],
        "changes from call to call": lambda m, net, x: m(net, x, 3).mean() + 10 * torch.randn(()),
        "your function stopped with RuntimeError": lambda m, net, x: m(net, x[:, :1], 3).max(),
    },
    "sum of all": {"condemns the right map too": lambda m, net, x: largest(m(net, x, 3), m(net, x, 7))},
    "nothing": {
        "lets the wrong map pass": lambda m, net, x: m(net, x, 3).isnan().sum(),
        "your number is nan": lambda m, net, x: sum(m(net, x, c).sum() for c in CLASSES),
    },
    "image gradient": {
        "lets the wrong map pass": sums,
        "get the same number on each net": lambda m, net, x: m(net, x, 3).abs().max(),
    },
    "in place": {"whatever it is given": lambda m, net, x: largest(m(net, x, 3), m(net, x, 3))},
    "lost point": {"condemns the right map too": lambda m, net, x: alike(m(net, x, 3), m(net, x, 7))},
    "hidden layer": {"condemns the right map too": lambda m, net, x: largest(m(net, x, 3), m(net, x, 4))},
}
PAIRS = {kind: [(name, way) for name in table for way in table[name]] for kind, table in (("r", RIGHT), ("w", WRONG))}
EXERCISES = {"class_blind": "loop", "missed_score": "image gradient", "moved_by_memory": "in place"}

checks = SimpleNamespace(
    **{f"check_{name}": partial(museum_of_wrong_maps.check_exposes, exhibit) for name, exhibit in EXERCISES.items()}
)
ANSWERS = {name: (RIGHT[exhibit], WRONG[exhibit]) for name, exhibit in EXERCISES.items()}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(checks, LESSON, ANSWERS)


@pytest.mark.parametrize(("name", "way"), [pair for pair in PAIRS["r"] if pair[0] not in EXERCISES.values()])
def test_any_number_that_exposes_is_accepted(name, way):
    assert museum_of_wrong_maps.check_exposes(name, RIGHT[name][way]) is True


@pytest.mark.parametrize(("name", "hint"), [pair for pair in PAIRS["w"] if pair[0] not in EXERCISES.values()])
def test_a_number_that_does_not_expose_is_told_why(name, hint, capsys):
    assert museum_of_wrong_maps.check_exposes(name, WRONG[name][hint]) is False
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize(
    "peek",
    [
        lambda m, net, x: (m(net, x, 3), len(m.__name__))[1],
        lambda m, net, x: (m(net, x, 3), id(m) % 1009)[1],
        lambda m, net, x: (m(net, x, 3), sum("_loop" in repr(c.cell_contents) for c in m.__closure__ or ()))[1],
        lambda m, net, x: (m(net, x, 3), next(count) % 2)[1],
        lambda m, net, x: (m(net, x, 3), random.random())[1],
    ],
    ids=["name", "identity", "closure", "turn", "luck"],
)
@pytest.mark.parametrize("name", ["loop", "guided", "nothing"])
def test_who_does_not_look_at_the_map_finds_nothing(name, peek):
    assert museum_of_wrong_maps.check_exposes(name, peek) is False


@pytest.mark.parametrize("name", wrong_maps.EXHIBITS)
def test_where_both_are_wrong_or_both_are_right_nothing_is_exposed(name, monkeypatch):
    wrong, right, change = wrong_maps.EXHIBITS[name]
    monkeypatch.setattr(museum_of_wrong_maps, "NETS", 3)  # not even on so few
    for method in (wrong, right):
        monkeypatch.setitem(wrong_maps.EXHIBITS, name, (method, partial(method), change))
        assert museum_of_wrong_maps.check_exposes(name, next(iter(RIGHT[name].values()))) is False


@pytest.mark.parametrize("name", wrong_maps.EXHIBITS)
def test_the_methods_of_the_museum_leave_the_net_as_it_was_and_return_maps(name):
    wrong, right, change = wrong_maps.EXHIBITS[name]
    net, x = wrong_maps.net(0), wrong_maps.pictures(0)
    change(net, x)
    before, logits = x.clone(), net(x)
    for method in (wrong, right):
        maps = method(net, x, 3)
        assert maps.ndim == 3 and len(maps) == len(x) and not maps.requires_grad
        assert not any(module.training for module in net.modules())
        assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(x, before) and torch.equal(net(x), logits)


def test_the_number_gets_a_net_of_its_own_and_the_generator_stays():
    def spoils(method, model, x):
        found = largest(method(model, x, 3), method(model, x, 7))
        model.fc.weight.zero_()
        x.zero_()
        return found

    state = torch.get_rng_state()
    assert museum_of_wrong_maps.check_exposes("loop", spoils) is True
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_exhibit_is_named_and_a_blank_waits(capsys):
    assert museum_of_wrong_maps.check_exposes("a loop", RIGHT["loop"]["a bool"]) is False
    assert "there is no exhibit 'a loop'" in capsys.readouterr().out
    assert museum_of_wrong_maps.check_exposes("loop", "?") is None
    assert museum_of_wrong_maps.check_exposes("loop", 3) is False


@pytest.mark.parametrize("name", EXERCISES)
def test_the_folded_numbers_hold_on_no_more_than_their_own_exhibit(name):
    """The right map, put in the wrong one's place, is not condemned."""
    _, right, change = wrong_maps.EXHIBITS[EXERCISES[name]]
    net, x = wrong_maps.net(99), wrong_maps.pictures(99)
    change(net, x)
    found = float(solution(LESSON, name)(right, net, x))
    assert found > 0.01 if name == "class_blind" else found < 1e-5
