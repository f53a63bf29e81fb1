"""Checkers of lesson *look_inside*: reading the outputs of layers with hooks, and the size of a receptive field."""

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from helpers.checks.core import NotAnswered, Wrong, ask, checker, left_as_it_was, name_the_mistake
from helpers.checks.traces import hooks_left, hooks_of


class _Stops(RuntimeError):
    """What the checker's own broken network raises."""


class _Net(nn.Sequential):
    """A network that does more than to run its parts one after the other, as most do."""

    def forward(self, x: Tensor) -> Tensor:
        """Halve the values behind the first ReLU."""
        x = self[1](self[0](x)) / 2
        for part in self[2:]:
            x = part(x)
        return x


class _Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Stop, as a network does that meets a picture it cannot take."""
        raise _Stops("this network stops on purpose")


@checker
def check_outputs(function: Callable[[nn.Module, Sequence[nn.Module], Tensor], Sequence[Tensor]]) -> str:
    """Check ``function(model, layers, x) -> [what each layer gives]``, which runs once and leaves no trace."""
    model, runs = _network(), []
    first, second = model[0], model[2]
    first.register_forward_hook(lambda layer, inputs, output: runs.append(1))  # somebody else's, which has to stay
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one = first(x)
        two = second(one.relu() / 2)
    runs.clear()
    got = _call(function, model, [second, first], x.clone())
    if len(got) != 2:
        raise Wrong(f"two layers were asked for, and {len(got)} outputs came back.")
    if any(output is None for output in got):
        raise Wrong(
            "one of the places stayed empty: each hook must know its own place. A loop variable inside a hook has, by"
            " the time the hook runs, the last of its values."
        )
    mistakes = {
        "these are the layers' inputs; a hook gets them second, and the output third.": one.relu() / 2,
        "the layers are run one after the other, and this network's forward does more; run the model itself, once, and "
        "read its layers with hooks.": second(one.relu()).detach(),
        "the second layer is run on the pictures' own values; run the model, and read with hooks.": lambda: second(
            torch.cat([x, x[:, :1]], 1)
        ).detach(),
        "an in-place ReLU behind the layer wrote over your output; keep a clone of it.": two.relu(),
        "the outputs stand in the order in which the layers run; asked for is the order of `layers`.": one,
    }
    name_the_mistake(got[0], mistakes, two, what="the first output")
    name_the_mistake(got[1], {"every place holds the same output; each hook needs its own place.": two}, one)
    if len(runs) > 1:
        raise Wrong(f"the outputs are right, but the model ran {len(runs)} times; one run serves all layers.")

    left_as_it_was()
    broken = _Net(*model, _Broken())
    hooks = hooks_of(broken)
    try:
        function(broken, [second, first], x)
    except _Stops:
        pass
    else:
        raise Wrong("a model stopped with an error, and your function kept it to itself; let it through.")
    for left in hooks_left(broken, hooks):
        raise Wrong(f"when the model stops with an error, {left}")
    return "the outputs of both layers stand in the right order, and no hook stays, even after an error."


@checker
def check_receptive_field(function: Callable[[list[tuple[int, int]]], tuple[int, int]]) -> str:
    """Check ``function([(kernel, stride), ...]) -> (size, step)``."""
    random = torch.Generator().manual_seed(0)
    cases = [[(3, 1)], [(3, 1), (3, 1)], [(3, 1), (2, 2), (3, 1)], [(11, 4), (3, 2), (5, 1), (3, 2), (3, 1)]]
    for count in (2, 3, 5, 8):
        pairs = torch.randint(1, 6, (count, 2), generator=random).tolist()
        cases.append([(kernel, min(kernel, stride)) for kernel, stride in pairs])
    answers = []
    for layers in cases:
        answer = ask(function, list(layers))
        if isinstance(answer, int | float) or torch.as_tensor(answer).numel() != 2:
            raise Wrong("two numbers are asked for, `return size, step`.")
        answers.append(torch.as_tensor(answer, dtype=torch.float64).flatten())
    sizes, steps = torch.stack(answers).T
    right = [_field(layers) for layers in cases]

    def each(one: Callable[[list[tuple[int, int]]], int]) -> Tensor:
        return torch.tensor([one(layers) for layers in cases], dtype=torch.float64)

    mistakes = {
        "the kernels are added up; the second of two 3x3 layers adds only 2 pixels, k - 1.": each(
            lambda layers: sum(kernel for kernel, _ in layers)
        ),
        "the strides are left out: behind a stride of 2, neighbours are 2 pixels apart.": each(
            lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers)
        ),
        "a layer's own stride counts only for the layers behind it: add first, then multiply the step.": each(
            lambda layers: _field(layers, early=True)[0]
        ),
        "each layer adds k times the step; it is (k - 1) times the step.": each(
            lambda layers: _field(layers, add=lambda kernel: kernel)[0]
        ),
        "you start from 0; before any layer, a unit is a pixel and sees 1.": each(lambda layers: _field(layers)[0] - 1),
        "you walk from the picture with the rule for walking back, (size - 1) * stride + kernel; begin with the last"
        " layer.": each(_walked_the_wrong_way),
        "each layer adds (k - 1) times its own stride; take the product of the strides before it.": each(
            lambda layers: 1 + sum((kernel - 1) * stride for kernel, stride in layers)
        ),
        "the kernels are multiplied; each layer adds (k - 1) times the step.": each(
            lambda layers: math.prod(kernel for kernel, _ in layers)
        ),
        "this is the largest kernel; each layer adds (k - 1) times the step.": each(
            lambda layers: max(kernel for kernel, _ in layers)
        ),
        "each layer adds half its kernel, one side of it; both sides count, k - 1.": each(
            lambda layers: _field(layers, add=lambda kernel: kernel // 2)[0]
        ),
        "the size is multiplied by each stride; it grows by (k - 1) times the step.": each(
            lambda layers: functools.reduce(lambda size, layer: size * layer[1] + layer[0] - 1, layers, 1)
        ),
        "the step in your sum is the stride of the layer before alone; multiply all strides before.": each(
            lambda layers: 1 + sum((k - 1) * s for (k, _), s in zip(layers, [1, *[s for _, s in layers]], strict=False))
        ),
        "you multiply by the stride of each layer alone, and add each kernel whole.": each(
            lambda layers: 1 + sum(kernel * stride for kernel, stride in layers)
        ),
        "the last layer is missing.": each(lambda layers: _field(layers[:-1])[0]),
        "the layers are taken from the last to the first; begin at the picture.": each(
            lambda layers: _field(layers[::-1])[0]
        ),
        "size and step are swapped.": each(lambda layers: _field(layers)[1]),
        "this is how far it reaches to one side; the whole side is asked for.": each(
            lambda layers: _field(layers)[0] // 2
        ),
        "this is the number of pixels; the length of a side is asked for.": each(lambda layers: _field(layers)[0] ** 2),
        "the first layer is missing.": each(lambda layers: _field(layers[1:])[0]),
    }
    name_the_mistake(sizes, mistakes, [size for size, _ in right], 1e-9, what="the size, for eight nets,")
    mistakes = {
        "the step is the last layer's stride; the strides before it count too.": each(lambda layers: layers[-1][1]),
        "the strides are added; each one multiplies the step.": each(
            lambda layers: sum(stride for _, stride in layers)
        ),
        "the step is the product of the kernels; the strides multiply it.": each(
            lambda layers: math.prod(kernel for kernel, _ in layers)
        ),
        "the step is the largest stride; each stride multiplies it.": each(
            lambda layers: max(stride for _, stride in layers)
        ),
        "the step is a power of the first layer's stride; multiply the strides of all layers.": each(
            lambda layers: layers[0][1] ** len(layers)
        ),
        "the step is the product of the strides, less or more 1; take the product itself.": each(
            lambda layers: _field(layers)[1] + 1
        ),
        "the step is the first layer's stride; the strides behind it count too.": each(lambda layers: layers[0][1]),
        "the step is multiplied by the stride less one, or its sum; it is the product of all strides.": each(
            lambda layers: 1 + sum(stride - 1 for _, stride in layers)
        ),
        "the step stays 1; each stride multiplies it.": each(lambda layers: 1),
        "the last layer's stride is missing in the step.": each(lambda layers: _field(layers)[1] // layers[-1][1]),
    }
    name_the_mistake(steps, mistakes, [step for _, step in right], 1e-9, what="the step, for eight nets,")
    size, step = _field(cases[3])
    return f"a unit of AlexNet's third convolution sees {size} x {size} pixels, its neighbour the same {step} further."


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    relu = nn.ReLU(inplace=True)
    return _Net(nn.Conv2d(3, 4, 3, padding=1), relu, nn.Conv2d(4, 4, 3, padding=1), relu)


def _call(function: Callable, *inputs: object) -> list:
    """Return the list that a student's function gives; one with only some places filled is an answer too."""
    given = []

    @functools.wraps(function)
    def keeping(*each: object) -> bool:
        given[:] = [function(*each)]
        return True

    ask(keeping if callable(function) else function, *inputs)
    if given[0] is None or given[0] is ...:
        raise NotAnswered
    if not isinstance(given[0], list | tuple):
        raise Wrong(f"a list of tensors is asked for, one for each layer, not a {type(given[0]).__name__}.")
    if given[0] and all(output is None for output in given[0]):
        raise NotAnswered
    return list(given[0])


def _field(
    layers: list[tuple[int, int]], *, early: bool = False, add: Callable[[int], int] = lambda kernel: kernel - 1
) -> tuple[int, int]:
    """Return (size, step) of a receptive field; ``early`` and ``add`` make two usual mistakes."""
    size = step = 1
    for kernel, stride in layers:
        step *= stride if early else 1
        size += add(kernel) * step
        step *= 1 if early else stride
    return size, step


def _walked_the_wrong_way(layers: list[tuple[int, int]]) -> int:
    size = 1
    for kernel, stride in layers:
        size = (size - 1) * stride + kernel
    return size
