"""The checkers of lesson *transfer_learning* accept the folded solutions, name each known mistake and wait."""

import copy
from contextlib import suppress

import torch
from torch import nn

from answers import answer_tests
from helpers.checks import transfer_learning


def hooked(keep, *, safe=True, run=lambda model, x: model(x)):
    """Return a ``maps_of`` that keeps ``keep(layer, inputs, output)``; not safe: the hook stays after an error."""

    def maps_of(model, layer, x):
        kept = []
        handle = layer.register_forward_hook(lambda *given: kept.append(keep(*given)))
        if not safe:
            run(model, x)
            handle.remove()
            return kept[-1]
        try:
            run(model, x)
        finally:
            handle.remove()
        return kept[-1]

    return maps_of


def clone(layer, inputs, output):
    return output.detach().clone()


def handle_as_context(model, layer, x):
    kept = []
    with torch.no_grad(), layer.register_forward_hook(lambda layer, inputs, output: kept.append(output.clone())):
        model(x)
    return kept[0]


def with_a_class(model, layer, x):
    class Hook:
        def __enter__(self):
            self.handle = layer.register_forward_hook(self)
            return self

        def __call__(self, layer, inputs, output):
            self.maps = output.detach().clone()

        def __exit__(self, *error):
            self.handle.remove()

    with Hook() as hook:
        model(x)
    return hook.maps.numpy()


def never_removed(model, layer, x):
    kept = []
    layer.register_forward_hook(lambda *given: kept.append(clone(*given)))
    model(x)
    return kept[0]


def all_cleared(model, layer, x):
    try:
        return never_removed(model, layer, x)
    finally:
        layer._forward_hooks.clear()


def error_hidden(model, layer, x):
    kept = []
    with layer.register_forward_hook(lambda *given: kept.append(clone(*given))), suppress(RuntimeError):
        model(x)
    return kept[0]


def left_in_train(model, layer, x):
    found = hooked(clone)(model, layer, x)
    model.train()
    return found


def zeroed(model, x):
    model(x)
    x.zero_()


RIGHT_MAPS = {
    "handle as a context": handle_as_context,
    "a class, numpy": with_a_class,
    "clone, then detach": hooked(lambda layer, inputs, output: output.clone().detach()),
    "a copy as a list": hooked(lambda layer, inputs, output: torch.tensor(output.tolist())),
}


def no_longer_in_place(model, layer, x):
    model[2].inplace = False
    return hooked(clone)(model, layer, x)


WRONG_MAPS = {
    "the setting inplace of layer '2'": no_longer_in_place,
    "after the in-place ReLU": hooked(lambda layer, inputs, output: output.detach()),
    "what the layer was given": hooked(lambda layer, inputs, output: inputs[0].detach().clone()),
    "these are the model's scores": lambda model, layer, x: model(x).detach(),
    "the pictures are averaged": hooked(lambda layer, inputs, output: output.detach().mean(0)),
    "the graph of the whole pass": hooked(lambda layer, inputs, output: output.clone()),
    "but 1 hook of yours is still in `model`": never_removed,
    "a hook that somebody else had set is gone": all_cleared,
    "and 1 hook of yours is still": hooked(clone, safe=False),
    "your function hid it": error_hidden,
    "ran 2 times": hooked(clone, run=lambda model, x: [model(x), model(x)]),
    "wrote into `x`": hooked(clone, run=zeroed),
    "restore its mode": left_in_train,
}


def head_of(w, b, v, c):
    head = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    for parameter, values in zip(head.parameters(), (w, b, v, c), strict=True):
        parameter.data = values.detach().clone()
    return head


def changed(rule):
    """Return a ``rescaled`` by ``rule(w, b, v, c, s) -> new w, b, v, c``."""
    return lambda head, s: head_of(*rule(*head.parameters(), s))


def in_place(head, factors):
    head[0].weight.data *= factors[:, None]
    head[0].bias.data *= factors
    head[2].weight.data /= factors
    return head


def into_factors(head, factors):
    new = in_place(copy.deepcopy(head), factors)
    factors.zero_()
    return new


RIGHT_HEADS = {
    "a deep copy": lambda head, s: in_place(copy.deepcopy(head), s),
    "diagonal matrices": changed(lambda w, b, v, c, s: (s.diag() @ w, s.diag() @ b, v @ s.diag().inverse(), c)),
}
WRONG_HEADS = {
    "nothing has changed": lambda head, s: copy.deepcopy(head),
    "are the old ones; divide them": changed(lambda w, b, v, c, s: (s[:, None] * w, s * b, v, c)),
    "the hidden bias is the old one": changed(lambda w, b, v, c, s: (s[:, None] * w, b, v / s, c)),
    "both layers are multiplied": changed(lambda w, b, v, c, s: (s[:, None] * w, s * b, v * s, c)),
    "the wrong way round": changed(lambda w, b, v, c, s: (w / s[:, None], b / s, v * s, c)),
    "you multiplied the columns": changed(lambda w, b, v, c, s: (w * s, s * b, v / s, c)),
    "only the outgoing weights": changed(lambda w, b, v, c, s: (w, b, v / s, c)),
    "every value of the last bias is 2 times too large": changed(
        lambda w, b, v, c, s: (s[:, None] * w, s * b, v / s, 2 * c)
    ),
    "0.weight of `head` has changed": in_place,
    "wrote into `factors`": into_factors,
    "not a Tensor": lambda head, s: head[0].weight * s[:, None],
    "must have the layers of the old one": lambda head, s: nn.Linear(6, 3),
}

ANSWERS = {
    "maps_of": (RIGHT_MAPS, WRONG_MAPS),
    "rescaled": (RIGHT_HEADS, WRONG_HEADS),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    transfer_learning, "transfer_learning", ANSWERS
)
