"""The checkers of lesson *look_inside* accept the folded solutions, name each known mistake and wait."""

import torch

from answers import answer_tests
from helpers.checks import look_inside
from helpers.hooks import capture


def with_hooks(model, layers, x, keep=lambda inputs, output: output.detach().clone(), *, clean=True, index=None):
    """Outputs in the order of `layers`; the options make the usual mistakes."""
    outputs = [None] * len(layers)

    def listen(place):
        def hook(layer, inputs, output):
            outputs[place] = keep(inputs, output)

        return hook

    hooks = [layer.register_forward_hook(listen(i if index is None else index)) for i, layer in enumerate(layers)]
    try:
        model(x)
    finally:
        if clean:
            for hook in hooks:
                hook.remove()
    return outputs


def with_capture(model, layers, x):
    with capture(*layers) as records:
        model(x)
    return tuple(record.activations for record in records)


def not_after_an_error(model, layers, x):
    outputs = {}
    hooks = [one.register_forward_hook(lambda m, i, o: outputs.update({m: o.clone()})) for one in layers]
    model(x)
    for hook in hooks:
        hook.remove()
    return [outputs[one] for one in layers]


def in_running_order(model, layers, x):
    outputs = []
    hooks = [one.register_forward_hook(lambda m, i, o: outputs.append(o.clone())) for one in layers]
    model(x)
    for hook in hooks:
        hook.remove()
    return outputs


def clearing_all(model, layers, x):
    outputs = with_hooks(model, layers, x)
    for layer in layers:
        layer._forward_hooks.clear()
    return outputs


def swallowing(model, layers, x):
    try:
        return with_hooks(model, layers, x)
    except RuntimeError:
        return []


def same_everywhere(model, layers, x):
    return [with_hooks(model, layers, x)[0]] * 2


def one_run_for_each_layer(model, layers, x):
    return [with_hooks(model, [layer], x)[0] for layer in layers]


def changing_the_picture(model, layers, x):
    outputs = with_hooks(model, layers, x)
    x.zero_()
    return outputs


def leaving_the_mode(model, layers, x):
    return with_hooks(model.eval(), layers, x)


def leaving_frozen_parameters(model, layers, x):
    return with_hooks(model.requires_grad_(False), layers, x)


RIGHT_OUTPUTS = {"hooks": with_hooks, "capture": with_capture}


def part_by_part(model, layers, x):
    found = {}
    for part in model:
        x = part(x)
        found[part] = x.detach().clone()
    return [found[layer] for layer in layers]


WRONG_OUTPUTS = {
    "this network's forward does more": part_by_part,
    "are the layers' inputs": lambda m, ls, x: with_hooks(m, ls, x, lambda inputs, output: inputs[0].clone()),
    "wrote over your output": lambda m, ls, x: with_hooks(m, ls, x, lambda inputs, output: output),
    "order in which the layers run": in_running_order,
    "one of the places stayed empty": lambda m, ls, x: with_hooks(m, ls, x, index=-1),
    "every place holds the same": same_everywhere,
    "but 2 hooks of yours are still in `m`": lambda m, ls, x: with_hooks(m, ls, x, clean=False),
    "somebody else had set is gone": clearing_all,
    "when the model stops with an error, 2 hooks of yours": not_after_an_error,
    "kept it to itself": swallowing,
    "two layers were asked for": lambda m, ls, x: with_hooks(m, ls, x)[:1],
    "the model ran 2 times": one_run_for_each_layer,
    "wrote into `x`": changing_the_picture,
    "restore its mode": leaving_the_mode,
    "leave requires_grad as it came": leaving_frozen_parameters,
    "a list of tensors": lambda m, ls, x: torch.stack(with_hooks(m, ls, x)),
}


def backwards(layers):
    size = 1
    for kernel, stride in reversed(layers):
        size = (size - 1) * stride + kernel
    return size, torch.tensor([stride for _, stride in layers]).prod()


def forwards(layers, early=False, less=1, start=1):
    size, step = start, 1
    for kernel, stride in layers:
        step *= stride if early else 1
        size += (kernel - less) * step
        step *= 1 if early else stride
    return size, step


def wrong_way(layers):
    return backwards(layers[::-1])


RIGHT_FIELDS = {
    "from the last layer": backwards,
    "a list": lambda layers: list(forwards(layers)),
    "a tensor": lambda layers: torch.tensor(forwards(layers)),
}
WRONG_FIELDS = {
    "the kernels are added up": lambda layers: (sum(k for k, _ in layers), forwards(layers)[1]),
    "the strides are left out": lambda layers: (1 + sum(k - 1 for k, _ in layers), forwards(layers)[1]),
    "add first, then multiply": lambda layers: forwards(layers, early=True),
    "adds k times the step": lambda layers: forwards(layers, less=0),
    "you start from 0": lambda layers: forwards(layers, start=0),
    "begin with the last layer": wrong_way,
    "swapped": lambda layers: forwards(layers)[::-1],
    "the last layer's stride; the strides before": lambda layers: (forwards(layers)[0], layers[-1][1]),
    "the strides are added": lambda layers: (forwards(layers)[0], sum(s for _, s in layers)),
    "the step stays 1": lambda layers: (forwards(layers)[0], 1),
    "stride is missing in the step": lambda layers: (forwards(layers)[0], forwards(layers[:-1])[1]),
    "two numbers are asked for": lambda layers: forwards(layers)[0],
    "1 is added": lambda layers: (forwards(layers)[0] + 1, forwards(layers)[1]),
}

ANSWERS = {
    "outputs": (RIGHT_OUTPUTS, WRONG_OUTPUTS),
    "receptive_field": (RIGHT_FIELDS, WRONG_FIELDS),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    look_inside, "look_inside", ANSWERS
)
