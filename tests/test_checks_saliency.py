"""The checkers of lesson *saliency*: the notebook's own solutions pass, named mistakes get their own message."""

import pytest
import torch
import torch.nn.functional as F

from folded import solution
from helpers.checks import saliency


def gradient(model, x, score, mode=False):
    """Return d score / dx, in eval() unless ``mode``; the model's mode comes back."""
    before = model.training
    model.train(mode)
    x = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(score(model(x)).sum(), x)
    model.train(before)
    return g


def own(target):
    return lambda z: z.gather(1, target[:, None])


def of(score, reduce=lambda g: g.abs().amax(1), mode=False):
    """Make a saliency function of ``score(logits, target)`` and of what is done with the gradient."""
    return lambda model, x, target: reduce(gradient(model, x, lambda z: score(z, target), mode))


def picked(z, target):
    return z.gather(1, target[:, None])


def filling_grads(model, x, target):
    before = model.training
    model.eval()
    x = x.clone().requires_grad_()
    picked(model(x), target).sum().backward()
    model.train(before)
    return x.grad.abs().amax(1)


def touching_x(model, x, target):
    return gradient(model, x.requires_grad_(), own(target)).abs().amax(1)


def leaving_eval(model, x, target):
    model.eval()
    return gradient(model, x, own(target)).abs().amax(1)


def freezing(model, x, target):
    model.requires_grad_(False)
    return gradient(model, x, own(target)).abs().amax(1)


def leaving_a_hook(model, x, target):
    model[1].register_full_backward_hook(lambda *given: None)
    return of(picked)(model, x, target)


def without_dropout(model, x, target):
    model[2].p = 0.0
    return of(picked)(model, x, target)


WRONG_MAPS = {
    "sum of all logits": of(lambda z, t: z),
    "this is the softmax's gradient": of(lambda z, t: picked(z.softmax(1), t)),
    "this is the log-softmax's gradient": of(lambda z, t: picked(z.log_softmax(1), t)),
    "mean loss": of(lambda z, t: F.cross_entropy(z, t)),
    "top class": of(lambda z, t: z.amax(1)),
    "first target": of(lambda z, t: z[:, t[0]]),
    "every target is used for every picture": of(lambda z, t: z[:, t]),
    "divided by their number": of(lambda z, t: picked(z, t).mean()),
    "dropout is on": of(picked, mode=True),
    "absolute value is missing": of(picked, lambda g: g.amax(1)),
    "signed sum": of(picked, lambda g: g.sum(1)),
    "they cancel": of(picked, lambda g: g.sum(1).abs()),
    "sizes are summed": of(picked, lambda g: g.abs().sum(1)),
    "sizes are averaged": of(picked, lambda g: g.abs().mean(1)),
    "still has its channels": of(picked, lambda g: g.abs()),
    "signed gradient with its channels": of(picked, lambda g: g),
    "multiplied by the picture": lambda m, x, t: (gradient(m, x, own(t)) * x).abs().amax(1),
    "scaled to a largest value": of(picked, lambda g: g.abs().amax(1) / g.abs().amax((1, 2, 3))[:, None, None]),
    "now have a .grad": filling_grads,
    "has requires_grad now": touching_x,
    "went back in eval()": leaving_eval,
    "came back frozen": freezing,
    "1 hook of yours is still in `model`": leaving_a_hook,
    "the setting p of layer '2' of `model` has changed": without_dropout,
    "stopped with": lambda model, x: x,
}

WRONG_RULES = {
    "true gradient's rule": lambda z, g: g * (z > 0),
    "deconvnet's rule": lambda z, g: g * (g > 0),
    "gates alone": lambda z, g: (z > 0) & (g > 0),
    "multiplied by the ReLU's value": lambda z, g: z.relu() * g.relu(),
    "ReLU's own output": lambda z, g: z * ((z > 0) & (g > 0)),
    "not z >= 0": lambda z, g: g * (g > 0) * (z >= 0),
    "both have to be": lambda z, g: g * ((z > 0) | (g > 0)),
    "turned to positive": lambda z, g: g.abs() * (z > 0),
    "wrote into `g`": lambda z, g: g.clamp_(min=0) * (z > 0),
}


def one_by_one(model, x, target):
    parts = [gradient(model, x[i : i + 1], lambda z, i=i: z[:, target[i]]) for i in range(len(x))]
    return torch.cat(parts).abs().max(1).values


@pytest.mark.parametrize("answer", ["solution", one_by_one], ids=["solution", "one by one"])
def test_a_right_saliency_passes(answer, capsys):
    assert saliency.check_saliency(solution("saliency", "saliency") if answer == "solution" else answer) is True
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize("hint", WRONG_MAPS)
def test_a_wrong_saliency_gets_its_own_message(hint, capsys):
    assert saliency.check_saliency(WRONG_MAPS[hint]) is False
    said = capsys.readouterr().out
    assert [other for other in WRONG_MAPS if other in said] == [hint]


@pytest.mark.parametrize("answer", ["solution", lambda z, g: torch.where(z > 0, g.clamp(min=0), 0)])
def test_a_right_rule_passes(answer, capsys):
    function = solution("saliency", "guided_relu_backward") if answer == "solution" else answer
    assert saliency.check_guided_relu_backward(function) is True
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize("hint", WRONG_RULES)
def test_a_wrong_rule_gets_its_own_message(hint, capsys):
    assert saliency.check_guided_relu_backward(WRONG_RULES[hint]) is False
    said = capsys.readouterr().out
    assert [other for other in WRONG_RULES if other in said] == [hint]


@pytest.mark.parametrize("check", [saliency.check_saliency, saliency.check_guided_relu_backward])
def test_a_blank_is_not_wrong(check, capsys):
    assert check(lambda *inputs: None) is None
    assert check() is None
    assert "Not answered yet" in capsys.readouterr().out
