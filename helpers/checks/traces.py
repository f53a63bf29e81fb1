"""What a function has changed in the things that it was given: values, hooks, modes, gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Look = Callable[[], list[str]]  # called again after the run, it says what has changed, one clause for each change

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PLAIN = (bool, int, float, str, tuple)  # settings of a layer, such as a dropout's p


def hooks_of(model: nn.Module) -> set[tuple[int, str, int]]:
    """Return a key for each hook of every kind on all modules of a model."""
    parts = enumerate(model.modules())
    return {(i, kind, key) for i, part in parts for kind in HOOKS for key in getattr(part, kind)}


def hooks_left(model: nn.Module, before: set[tuple[int, str, int]], name: str = "the model") -> list[str]:
    """Say which hooks are gone or new since ``hooks_of(model)`` was ``before``."""
    now, said = hooks_of(model), []
    if before - now:
        said.append(f"a hook that somebody else had set is gone from {name}; remove only your own, by its handle.")
    if new := len(now - before):
        theirs = "hook of yours is" if new == 1 else "hooks of yours are"
        said.append(f"{new} {theirs} still in {name}; remove each by its handle, in `finally`.")
    return said


def watch(name: str, value: Any) -> Look:
    """Remember what ``value`` is like now; the function that is returned says what has changed since.

    Tensors, arrays, modules, and lists of them are watched; nothing is said of other things.

    >>> import torch
    >>> from helpers.checks.traces import watch
    >>> x = torch.zeros(2)
    >>> look = watch("x", x)
    >>> x[0] = 1
    >>> look()
    ['your function wrote into `x`; work on a copy, x.clone().']
    """
    if isinstance(value, Tensor):
        return _of_tensor(name, value)
    if isinstance(value, np.ndarray):
        before = value.copy()
        said = [f"your function wrote into `{name}`; work on a copy, {name}.copy()."]
        return lambda: [] if np.array_equal(before, value) else said
    if isinstance(value, nn.Module):
        return _of_module(name, value)
    if isinstance(value, list | tuple):
        items, looks = list(value), [watch(f"{name}[{i}]", item) for i, item in enumerate(value)]
        longer = [f"the list `{name}` has other entries than before; work on a copy, list({name})."]

        def of_list() -> list[str]:
            same = len(items) == len(value) and all(a is b for a, b in zip(items, value, strict=True))
            return longer * (not same) + [clause for look in looks for clause in look()]

        return of_list
    return list


def _of_tensor(name: str, x: Tensor) -> Look:
    before, said = x.detach().clone(), [f"your function wrote into `{name}`; work on a copy, {name}.clone()."]

    def look() -> list[str]:
        same = x.shape == before.shape and torch.equal(x.detach().nan_to_num(), before.nan_to_num())
        return [] if same else said

    return look


def _of_module(name: str, model: nn.Module) -> Look:
    parts, before = dict(model.named_modules()), hooks_of(model)
    modes = [part.training for part in parts.values()]
    asks = [parameter.requires_grad for parameter in model.parameters()]
    grads = [parameter.grad for parameter in model.parameters()]
    values = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
    settings = {key: _settings(part) for key, part in parts.items()}

    def look() -> list[str]:
        if list(map(id, dict(model.named_modules()).values())) != list(map(id, parts.values())):
            return [f"`{name}` has other layers than before; work on copy.deepcopy({name})."]
        said = hooks_left(model, before, f"`{name}`")
        if [part.training for part in parts.values()] != modes:
            came, went = ("train()", "eval()") if modes[0] else ("eval()", "train()")
            whole = f"`{name}` came in {came} and went back in {went}; restore its mode."
            some = f"a part of `{name}` went back in another mode, train() or eval(); restore the mode of each."
            said.append(some if model.training == modes[0] else whole)
        if [parameter.requires_grad for parameter in model.parameters()] != asks:
            how = "came back frozen" if any(asks) else "came frozen and now ask for a gradient"
            said.append(f"parameters of `{name}` {how}; leave requires_grad as it came.")
        if any(new.grad is not old for new, old in zip(model.parameters(), grads, strict=True)):
            said.append(f"parameters of `{name}` now have a .grad; use torch.autograd.grad, not backward().")
        now = model.state_dict()
        if changed := [key for key in values if not torch.equal(now[key], values[key])]:
            said.append(f"{changed[0]} of `{name}` has changed; work on copy.deepcopy({name}).")
        for key, part in parts.items():
            if other := [s for s, old in settings[key].items() if getattr(part, s, None) != old]:
                said.append(f"the setting {other[0]} of layer {key!r} of `{name}` has changed; put it back.")
        return said

    return look


def _settings(part: nn.Module) -> dict[str, Any]:
    found = {key: value for key, value in vars(part).items() if isinstance(value, PLAIN)}
    return {key: value for key, value in found.items() if key != "training" and not key.startswith("_")}
