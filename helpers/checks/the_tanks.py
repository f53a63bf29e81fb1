"""Checkers of lesson *the_tanks*: which change turns a verdict, and pictures in which the sky tells nothing."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


@checker
def check_flip_rates(function: Callable[[Tensor], tuple[float, float]]) -> str:
    """Check ``function(verdicts bool [2, 2, N]) -> (share turned by the tank, share turned by the sky)``."""
    chances = torch.tensor([[[0.5], [0.6]], [[0.9], [0.2]]])  # effects of both signs, which may cancel
    verdicts = torch.rand(2, 2, 40, generator=torch.Generator().manual_seed(14)) < chances
    v = verdicts.double()
    tank, sky = v[1] - v[0], v[:, 1] - v[:, 0]  # [sky, forest], [tank, forest]
    label = torch.tensor([0.0, 1.0])[:, None, None]
    expected = torch.stack([tank.abs().mean(), sky.abs().mean()])
    mistakes = {
        "they are the wrong way round: the first dimension is the tank, the second the sky; return (tank, sky).": (
            expected.flip(0)
        ),
        "opposite changes cancel in your mean; count a change whichever way it goes.": torch.stack(
            [tank.mean(), sky.mean()]
        ),
        "opposite changes cancel in your mean before you drop its sign; count a change whichever way it goes.": (
            torch.stack([tank.mean().abs(), sky.mean().abs()])
        ),
        "you compare shares of verdicts; compare the verdicts of each forest with one another, pair by pair.": (
            torch.stack([tank.mean(1).abs().mean(), sky.mean(1).abs().mean()])
        ),
        "these are numbers of pairs; divide by how many pairs there are.": torch.stack(
            [tank.abs().sum(), sky.abs().sum()]
        ),
        "you divide by the number of forests, but each has two pairs: take the mean over both.": 2 * expected,
        "you divide by the number of verdicts; there are half as many pairs.": expected / 2,
        "only one of the two pairs of each forest is counted: those in the sun, those without a tank.": torch.stack(
            [tank[0].abs().mean(), sky[0].abs().mean()]
        ),
        "only one of the two pairs of each forest is counted: those under clouds, those with a tank.": torch.stack(
            [tank[1].abs().mean(), sky[1].abs().mean()]
        ),
        "this counts forests where either pair changes; take the mean over both pairs.": torch.stack(
            [tank.abs().amax(0).mean(), sky.abs().amax(0).mean()]
        ),
        "this counts forests where both pairs change; take the mean over both pairs.": torch.stack(
            [tank.abs().amin(0).mean(), sky.abs().amin(0).mean()]
        ),
        "only changes from no to yes are counted; count both ways.": torch.stack(
            [(tank > 0).double().mean(), (sky > 0).double().mean()]
        ),
        "only changes from yes to no are counted; count both ways.": torch.stack(
            [(tank < 0).double().mean(), (sky < 0).double().mean()]
        ),
        "these are shares of verdicts 'tank'; count how often two verdicts differ.": torch.stack(
            [v[1].mean(), v[:, 1].mean()]
        ),
        "this says whether any verdict changes; give the share of those that do.": torch.stack(
            [tank.abs().max(), sky.abs().max()]
        ),
        "this is the share of pairs in which either verdict is 'tank'; count pairs that differ.": torch.stack(
            [torch.maximum(v[0], v[1]).mean(), torch.maximum(v[:, 0], v[:, 1]).mean()]
        ),
        "you change the tank and the sky at once; change one and keep the other.": torch.stack(
            [(v[0, 0] - v[1, 1]).abs().mean(), (v[0, 1] - v[1, 0]).abs().mean()]
        ),
        "you divide by the number of verdicts 'tank'; divide by the number of pairs.": torch.stack(
            [tank.abs().sum() / v[0].sum(), sky.abs().sum() / v[:, 0].sum()]
        ),
        "these are the shares of pairs in which nothing changes.": 1 - expected,
        "you compare neighbouring forests; compare the two versions of one forest.": lambda: torch.stack(
            [v.diff(dim=2).abs().mean()] * 2
        ),
        "this is how often the verdict is wrong; a flip needs no label, compare verdicts with verdicts.": torch.stack(
            [(v - label).abs().mean()] * 2
        ),
    }
    name_the_mistake(
        ask(function, verdicts.clone()),
        mistakes,
        expected,
        what="the pair of shares",
        by=lambda v: torch.stack([(v[0] != v[1]).double().mean(), (v[:, 0] != v[:, 1]).double().mean()]),
    )
    legend = torch.zeros(2, 2, 7, dtype=torch.bool)
    legend[:, 1] = True
    name_the_mistake(
        ask(function, legend), {}, torch.tensor([0.0, 1.0]), what="the pair for a net that follows the sky"
    )
    return "a net that follows the sky gets 0 by the tank and 1 by the sky."


@checker
def check_decorrelate(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``function(labels [N], cloudy [N]) -> indices [M]`` of a largest part with four boxes of one size."""
    random = np.random.default_rng(14)
    for sizes in ((31, 9, 5, 47), (8, 33, 60, 12), (20, 20, 20, 20), (40, 0, 0, 40)):
        box = torch.from_numpy(random.permutation(np.repeat(np.arange(4), sizes)))
        labels, cloudy = box // 2, box % 2
        chosen = _indices(ask(function, labels.clone(), cloudy.clone()), len(box))
        _judge(torch.bincount(box[chosen], minlength=4).tolist(), list(sizes))
    return "four boxes of one size, as large as the smallest allows; and nothing is left of the legend."


def _indices(answer: Tensor, count: int) -> Tensor:
    """Return the answer as distinct indices below ``count``, int64 [M]."""
    if isinstance(answer, Tensor | np.ndarray) and str(answer.dtype).endswith("bool"):
        raise Wrong("this is a mask; return the indices where it is true: mask.nonzero()[:, 0].")
    try:
        chosen = torch.as_tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"the answer is a {type(answer).__name__}; return one tensor of indices.") from None
    if chosen.dim() != 1:
        raise Wrong(f"the indices have shape {list(chosen.shape)}; return one row of them, [M].")
    if len(chosen) and (chosen != chosen.long()).any():
        raise Wrong("indices are whole numbers.")
    chosen = chosen.long()
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < count:
        raise Wrong(f"indices run from 0 to {count - 1}; yours run from {chosen.min()} to {chosen.max()}.")
    if len(chosen.unique()) < len(chosen):
        raise Wrong("some pictures are chosen twice; a copy holds nothing new, leave pictures out instead.")
    return chosen


def _judge(got: list[int], sizes: list[int]) -> None:
    """Name what is wrong with a choice of ``got[2 label + cloudy]`` pictures out of ``sizes``."""
    if len(set(got)) == 1:
        if got[0] < min(sizes):
            raise Wrong(f"{got[0]} of each combination are balanced, but {min(sizes)} could be had; lose no more.")
        return
    empty_sun, empty_clouds, tank_sun, tank_clouds = got
    found = (
        f"of {sizes[0]}, {sizes[1]}, {sizes[2]} and {sizes[3]} pictures (no tank in the sun, no tank under clouds, "
        f"tank in the sun, tank under clouds) you keep {got[0]}, {got[1]}, {got[2]} and {got[3]}"
    )
    if got == sizes:
        raise Wrong(f"these are all the pictures; {found}.")
    if min(sizes) == 0:
        raise Wrong(f"where a combination is missing no part is balanced, so nothing can be kept: {found}.")
    if not (empty_sun or tank_clouds):
        raise Wrong(f"only pictures against the legend are left: now the sky tells the label the other way; {found}.")
    if empty_sun * tank_clouds == empty_clouds * tank_sun:
        raise Wrong(f"the sky tells nothing now, but the four shall come equally often: {found}.")
    if empty_sun + empty_clouds == tank_sun + tank_clouds and empty_sun + tank_sun == empty_clouds + tank_clouds:
        raise Wrong(f"tanks and skies are each balanced, but not together, so the sky still tells: {found}.")
    if empty_sun + empty_clouds == tank_sun + tank_clouds:
        raise Wrong(f"the labels are balanced, but the sky still tells the label: {found}.")
    if empty_sun + tank_sun == empty_clouds + tank_clouds:
        raise Wrong(f"the skies are balanced, but they still tell the label: {found}.")
    raise Wrong(f"the four combinations shall come equally often; {found}.")
