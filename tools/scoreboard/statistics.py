"""From the scores of single questions to what may be said of methods: scenes, intervals, differences, places.

A scene is a picture that was asked about once or more often; its questions are not independent, so they are averaged
first. Scenes are independent. Several networks, trained anew, each have scenes of their own.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.evaluation.localisation import Scores

SHARES = ("pointing", "both")  # of scenes: 0 or 1 for most, so that their intervals are Wilson's
DRAWS = 2000  # of the bootstrap
QUANTILE = 1.959964  # of the normal distribution, for 95 %

Board = dict[str, Scores]


class Difference(NamedTuple):
    """The mean of paired differences, half the width of its 95 % interval, on how many scenes, and its p-value."""

    mean: float
    half: float
    scenes: int
    p: float


def by_scene(board: Mapping[str, Scores], questions: int) -> Board:
    """Return the scores of scenes, whose ``questions`` stand one after the other in ``board``.

    The scores are averaged over the questions. ``both`` is the share of scenes in which the pointing game is right for
    every question: a map that is the same for all questions can seldom have that. A scene with a question that a method
    has no map for has no score at all.
    """
    scenes: Board = {}
    for name, scores in board.items():
        grouped = {key: values.view(-1, questions) for key, values in scores.items()}
        scenes[name] = {key: values.mean(1) for key, values in grouped.items()}
        scenes[name]["both"] = grouped["pointing"].prod(1)
        missing = grouped["rank"].isnan().any(1)
        for values in scenes[name].values():
            values[missing] = torch.nan
    return scenes


def together(boards: list[Board]) -> Board:
    """Put the scenes of several networks one after the other."""
    return {name: {key: torch.cat([b[name][key] for b in boards]) for key in boards[0][name]} for name in boards[0]}


def common(board: Mapping[str, Scores]) -> Tensor:
    """Return which scenes every row has a map of, bool [scenes]; rows without any map are not asked."""
    missing = [scores["rank"].isnan() for scores in board.values()]
    return ~torch.stack([gaps for gaps in missing if not gaps.all()]).any(0)


def estimate(key: str, values: Tensor) -> tuple[float, float, float]:
    """Return the mean over scenes and the ends of its 95 % interval; NaN where there is none.

    For shares it is the interval of Wilson (1927), which has a length also where all scenes are right. The pointing
    game, averaged over the questions of a scene, varies less than a share of single scenes; so its interval is too wide
    rather than too narrow.
    """
    values = values[~values.isnan()]
    if len(values) < 2:
        return (values.item() if len(values) else float("nan")), float("nan"), float("nan")
    mean, n = values.mean().item(), len(values)
    if key in SHARES:
        middle = (mean + QUANTILE**2 / (2 * n)) / (1 + QUANTILE**2 / n)
        half = QUANTILE / (1 + QUANTILE**2 / n) * (mean * (1 - mean) / n + (QUANTILE / (2 * n)) ** 2) ** 0.5
        return mean, max(middle - half, 0.0), min(middle + half, 1.0)
    half = _t_quantile(n) * values.std().item() / n**0.5
    return mean, mean - half, mean + half


def difference(one: Tensor, other: Tensor) -> Difference:
    """Return the paired difference of two rows on the scenes that both have a score of (Student's t)."""
    gaps = (one - other).double()
    gaps = gaps[~gaps.isnan()]
    n = len(gaps)
    if n < 2:
        return Difference(float("nan"), float("nan"), n, float("nan"))
    mean, error = gaps.mean().item(), gaps.std().item() / n**0.5
    if error == 0:
        return Difference(mean, 0.0, n, 1.0 if mean == 0 else 0.0)
    from scipy.special import stdtr

    return Difference(mean, _t_quantile(n) * error, n, 2 * float(stdtr(n - 1, -abs(mean) / error)))


def places(values: Mapping[str, Tensor], groups: list[int], *, less: bool = False) -> dict[str, tuple[int, int]]:
    """Return between which places each row stands, from 1 for the best, in 95 % of the bootstrap's draws.

    Args:
        values: for each row its scores of the same scenes, none missing.
        groups: how many scenes each network has, in turn: each draw takes as many of each network's scenes, with
            repetition.
        less: whether less is better.
    """
    rows = list(values)
    table = np.stack([values[row].double().numpy() for row in rows], 1) * (-1 if less else 1)
    source, ranks = np.random.default_rng(0), np.empty((DRAWS, len(rows)))
    ends = np.cumsum(groups)
    for draw in range(DRAWS):
        picked = np.concatenate(
            [source.integers(end - size, end, size) for size, end in zip(groups, ends, strict=True)]
        )
        means = table[picked].mean(0)
        ranks[draw] = 1 + (means[None] > means[:, None] + 1e-12).sum(1)  # rows that score the same share a place
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="nearest")
    return {row: (int(low[i]), int(high[i])) for i, row in enumerate(rows)}


def _t_quantile(n: int) -> float:
    from scipy.special import stdtrit  # only here: it takes a quarter of a second

    return float(stdtrit(n - 1, 0.975))
