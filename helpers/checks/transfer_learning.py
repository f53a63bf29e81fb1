"""Checkers of lesson *transfer_learning*: maps read by a hook that cleans up, and hidden units rescaled."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from helpers.checks.core import NotAnswered, Unknown, Wrong, ask, checker, close, left_as_it_was, name_the_mistake
from helpers.checks.traces import hooks_left, hooks_of

PARTS = ("the first weight", "the hidden bias", "the last weight", "the last bias")


@checker
def check_maps_of(function: Callable[[nn.Module, nn.Module, Tensor], Tensor]) -> str:
    """Check ``function(model, layer, x) -> the layer's output`` on a net whose next layer works in place."""
    model = _net()
    layer, x = model[1], torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(13))
    others: list[Tensor] = []
    layer.register_forward_hook(lambda layer, inputs, output: others.append(output))
    with torch.no_grad():
        before = model[0](x)
        right, logits = layer(before), model(x)
    mistakes = {
        "these are the values after the in-place ReLU behind the layer: keep a clone of what the hook is given.": (
            right.relu()
        ),
        "this is what the layer was given; the hook's third argument is its output.": before,
        "these are the model's scores; return what the hook has kept.": logits,
        "the pictures are averaged; return the maps of each.": right.mean(0),
    }
    others.clear()
    got = ask(function, model, layer, x.clone())
    name_the_mistake(got, mistakes, right, what="the layer's output", by=lambda model, layer, x: layer(model[0](x)))
    if isinstance(got, Tensor) and got.requires_grad:
        raise Wrong("the values are right, but they still hold the graph of the whole pass; detach them.")
    if len(others) != 1:
        raise Wrong(f"the layer ran {len(others)} times for one x; run the model once.")
    left_as_it_was()
    close(ask(function, model, layer, x[:2].clone()), right[:2], what="the output for two pictures")
    _survives_an_error(function, model, layer)
    return "the layer's own output, and after an error, too, no hook is left."


@checker
def check_rescaled(function: Callable[[nn.Sequential, Tensor], nn.Sequential]) -> str:
    """Check ``function(head, factors [U]) -> a head`` of Linear, ReLU, Linear with the same logits."""
    random = torch.Generator().manual_seed(13)
    head = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))  # 6 and 6: a wrong axis must not be an error
    for parameter in head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random)
    factors, pooled = torch.tensor([0.1, 0.5, 1.0, 2.0, 3.0, 10.0]), torch.randn(40, 6, generator=random)
    old = w, b, v, c = [parameter.detach().clone() for parameter in head.parameters()]
    logits, column = head(pooled).detach(), factors[:, None]

    def row(*parameters: Tensor) -> Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in parameters])

    mistakes = {
        "nothing has changed: these are the old units.": row(w, b, v, c),
        "the weights that leave the units are the old ones; divide them, or the logits change.": row(
            column * w, factors * b, v, c
        ),
        "the hidden bias is the old one; a unit is s times as large only if its bias is, too.": row(
            column * w, b, v / factors, c
        ),
        "both layers are multiplied; divide what leaves the units.": row(column * w, factors * b, v * factors, c),
        "it is the wrong way round: the units are divided and their outgoing weights multiplied.": row(
            w / column, b / factors, v * factors, c
        ),
        "you multiplied the columns of the first layer, which belong to its inputs; a unit is a row.": row(
            w * factors, factors * b, v / factors, c
        ),
        "only the outgoing weights are divided; the units are the old ones.": row(w, b, v / factors, c),
    }
    new = ask(function, copy.deepcopy(head), factors.clone())
    if not isinstance(new, nn.Module):
        raise Wrong(f"a head is asked for, Linear, ReLU and Linear, not a {type(new).__name__}.")
    if [parameter.shape for parameter in new.parameters()] != [parameter.shape for parameter in old]:
        raise Wrong("the new head must have the layers of the old one: Linear, ReLU, Linear, each with its bias.")
    right = row(column * w, factors * b, v / factors, c)
    try:
        name_the_mistake(
            row(*new.parameters()),
            mistakes,
            right,
            what="the new head's weights",
            by=lambda head, factors: row(*_scaled(head, factors)),
        )
    except Unknown:  # then say of which part it is
        for i, (what, got, one) in enumerate(zip(PARTS, new.parameters(), _scaled(head, factors), strict=True)):
            name_the_mistake(got, {}, one, what=what, by=lambda head, factors, i=i: _scaled(head, factors)[i])
        raise
    kind = next(new.parameters()).dtype
    gap = (close(ask(new, pooled.to(kind)), logits, 1e-3, what="the logits") - logits.double()).abs().max().item()
    one = ask(function, copy.deepcopy(head), torch.ones(6))
    close(row(*one.parameters()), row(*old), what="the weights of a head for factors of one")
    return f"units 0.1 to 10 times as large, and {len(pooled)} rows of logits the same, up to {gap:.0e}."


def _scaled(head: nn.Sequential, factors: Tensor) -> list[Tensor]:
    """Return the parameters of the head whose hidden units are ``factors`` times as large."""
    w, b, v, c = [parameter.detach() for parameter in head.parameters()]
    return [factors[:, None] * w, factors * b, v / factors, c]


def _net() -> nn.Sequential:
    """Return a small net in ``eval()`` with a ReLU that works in place behind its second convolution, ``net[1]``."""
    layers = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    random = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=random)
    return model.eval()


def _survives_an_error(function: Callable, model: nn.Module, layer: nn.Module) -> None:
    """Let the model stop behind the layer: the error must arrive here, and no hook may stay."""
    model[-1] = nn.Linear(5, 2)  # takes 5 values where 4 come
    hooks = hooks_of(model)
    try:
        function(model, layer, torch.zeros(1, 3, 8, 8))
    except NotAnswered:
        raise
    except Exception:
        for left in hooks_left(model, hooks):
            raise Wrong(f"the model stopped with an error, and {left}") from None
    else:
        raise Wrong("the model stopped with an error, and your function hid it; let it through.")
