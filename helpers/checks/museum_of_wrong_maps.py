"""Checker of lesson *museum_of_wrong_maps*: does a number tell a wrong map from the right one, on new nets?"""

import copy
import random
from collections.abc import Callable
from numbers import Number as AnyNumber
from statistics import median

import torch
from torch import Tensor, nn

from helpers.checks.core import Wrong, ask, checker
from helpers.checks.wrong_maps import EXHIBITS, Method, net, pictures

Number = Callable[[Method, nn.Module, Tensor], float]

NETS = 8
MARGIN = 1e-4  # of the range of all values: what lies closer may be rounding
MEANS = ("loop", "hidden layer", "image gradient")  # exhibits whose right map has the logit, less b, as its mean

_SHOWN: list[Method] = []  # the method that is shown now, and once more for each call


def _method(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """Return the maps of the method that is shown; both are this one function, and only their maps tell them apart."""
    _SHOWN.append(_SHOWN[0])
    return _SHOWN[0](model, x, target)


_method.__name__ = _method.__qualname__ = "method"


@checker
def check_exposes(name: str, number: Number) -> str:
    """Check that ``number(method, model, x)`` separates exhibit ``name``'s wrong maps from the right ones.

    Both methods are given to ``number`` on eight random nets, in any order and under one name. All of its values for
    the wrong method must lie on one side of all those for the right one, and not by rounding only.
    """
    if name not in EXHIBITS:
        raise Wrong(f"there is no exhibit {name!r}; there are {', '.join(map(repr, EXHIBITS))}.")
    wrong, right, change = EXHIBITS[name]
    order, values, calls = random.Random(16), {wrong: [], right: []}, 0
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for seed in range(NETS):
            model, x = net(seed), pictures(seed)
            change(model, x)
            for method in order.sample((wrong, right), 2):
                for again in range(2):
                    torch.manual_seed(100 * seed + again)
                    value, asked = _ask_once(number, method, copy.deepcopy(model), x.clone())
                    values[method].append(value)
                    calls += asked
    if not calls:
        raise Wrong("your function never calls method(model, x, target), so it cannot know whose map it judges.")
    verdict = _verdict(values[wrong], values[right])
    if name in MEANS:
        _check_mean(number, wrong, right, change)
    return verdict


def _check_mean(number: Number, wrong: Method, right: Method, change: Callable[[nn.Module, Tensor], None]) -> None:
    """Raise Wrong if a number takes the sum of a map for its mean.

    It then vanishes for a right map that is too small by the count of its places, for which it should be large; and
    parts wrong and right only because its values for the right map are the largest of all.
    """

    def too_small(model: nn.Module, x: Tensor, target: int) -> Tensor:
        maps = right(model, x, target)
        return maps / maps[0].numel()

    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        model, x = net(0), pictures(0)
        change(model, x)
        methods = (wrong, right, too_small)
        bad, good, small = (abs(_ask_once(number, m, copy.deepcopy(model), x.clone())[0]) for m in methods)
    if small < 1e-3 * good and abs(small - bad) > 0.1 * bad:
        raise Wrong(
            f"your number takes the sum of the map where its mean belongs. For the right map it is {good:.3g}, "
            f"and for the same map, divided by the count of its places, {small:.3g}; but mean(map) + b is the logit."
        )


def _ask_once(number: Number, method: Method, model: nn.Module, x: Tensor) -> tuple[float, int]:
    """Return the number for one method, and how often it asked for a map."""
    _SHOWN[:] = [method]
    value = ask(lambda: number(_method, model, x)) if callable(number) else ask(number)
    calls = len(_SHOWN) - 1
    if isinstance(value, Tensor) or hasattr(value, "__array__"):
        value = torch.as_tensor(value)
        if value.numel() != 1:
            raise Wrong(f"your function returns {list(value.shape)} values; return one number, such as their maximum.")
        value = value.item()
    if not isinstance(value, AnyNumber) or isinstance(value, complex):
        raise Wrong(f"your function returns a {type(value).__name__}; return one number.")
    value = float(value)
    if value != value or value in (float("inf"), -float("inf")):
        raise Wrong(f"your number is {value}. Return a finite one: count what is not finite, and never divide by zero.")
    return value, calls


def _verdict(wrong: list[float], right: list[float]) -> str:
    """Say how the numbers of the wrong method and of the right one part; raise Wrong if they do not."""
    low, high = min(wrong + right), max(wrong + right)
    if low == high:
        raise Wrong(f"your number is {low:.3g} whatever it is given; let it depend on the map.")
    sign = 1 if median(wrong) >= median(right) else -1
    bad, good = sorted(sign * value for value in wrong), sorted(sign * value for value in right)
    said = (
        f"The wrong map gives {min(wrong):.3g} to {max(wrong):.3g}, the right one {min(right):.3g} to {max(right):.3g}"
    )
    if bad[0] - good[-1] > MARGIN * (high - low):
        return f"{said}, on {NETS} random nets."
    if max(abs(a - b) for a, b in zip(wrong, right, strict=True)) <= MARGIN * (high - low):
        raise Wrong(f"the wrong map and the right one get the same number on each net, for instance {right[0]:.3g}.")
    drift = max(abs(right[i] - right[i + 1]) for i in range(0, len(right), 2))
    if drift > 0.1 * (high - low):
        raise Wrong(
            f"asked twice about one right map, your number moves by up to {drift:.3g}: it changes from call to call."
        )
    _, cut = min((sum(v < c for v in bad) + sum(v >= c for v in good), c) for c in bad + good)
    missed, condemned = sum(v < cut for v in bad), sum(v >= cut for v in good)
    if condemned > missed:
        raise Wrong(f"your number condemns the right map too, in {condemned} of {len(good)} cases. {said}.")
    if missed > condemned:
        raise Wrong(f"your number lets the wrong map pass in {missed} of {len(bad)} cases. {said}.")
    raise Wrong(f"your number does not part the two. {said}.")
