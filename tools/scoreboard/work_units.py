"""The scoreboard in units of work: a row on a chunk of pictures, with scores that depend on nothing outside of it.

That is why a unit may be done in any order, on any machine, and a second time: noise is keyed by seed and picture.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from helpers.attribution._common import Target, of_rows
from helpers.course import ROOT
from helpers.evaluation import SCORE_NAMES, explain, score_maps
from helpers.evaluation.localisation import Scores
from helpers.evaluation.methods import METHODS_AND_BASELINES

BATCH = 25  # pictures of a unit, which go through the network at once; a batch is its pictures one by one


class Asked(NamedTuple):
    """All that the units of a scoreboard share. It holds what is large, and so goes to a worker once.

    ``x`` float [N, C, H, W]; ``target`` class numbers, int64 [N], or the function that was given; ``masks``, bool
    [N, H, W] each, of objects, distractors and outlines; ``threads`` are torch's; ``version`` is :func:`version`.
    """

    model: nn.Module
    layer: nn.Module
    x: Tensor
    target: Target
    masks: tuple[Tensor, Tensor, Tensor]
    seed: int
    threads: int
    version: str


class Unit(NamedTuple):
    """The row's name, and the numbers of its pictures: from ``first`` to the one before ``last``."""

    row: str
    first: int
    last: int


def cut(rows: Iterable[str], count: int) -> list[Unit]:
    """Return the units of a scoreboard of ``count`` pictures, row after row."""
    return [Unit(row, first, min(first + BATCH, count)) for row in rows for first in range(0, count, BATCH)]


def work(asked: Asked, unit: Unit) -> Scores:
    """Return the scores of a unit, [last - first] each, on the CPU; NaN for a picture that the row has no map of.

    Raises:
        RuntimeError: this machine has another torch, or another course, than the one that asks.
    """
    if version() != asked.version:
        raise RuntimeError(
            f"This worker has {version()}, the scoreboard was asked for with {asked.version}: bring both to the same "
            "version, or the scores would differ."
        )
    part = slice(unit.first, unit.last)
    with torch_threads(asked.threads):
        maps = _maps(asked, unit)
        found = ~maps.isnan().flatten(1).any(1)
        scores = {key: torch.full((len(maps),), torch.nan) for key in (*SCORE_NAMES, "constant")}
        if found.any():
            objects, distractors, outlines = (masks[part][found] for masks in asked.masks)
            for key, values in score_maps(maps[found], objects, distractors, outlines=outlines).items():
                scores[key][found] = values.float()
    return scores


@cache
def version() -> str:
    """Return the version of torch, and a hash of the code that makes maps and scores."""
    helpers, total = ROOT / "helpers", hashlib.sha256()
    paths = [path for room in ("attribution", "evaluation", "hooks") for path in (helpers / room).glob("*.py")]
    for path in sorted([*paths, Path(__file__)]):
        total.update(f"{path.name}\n{path.read_text(encoding='utf-8')}\n".encode())
    return f"torch {torch.__version__} and course {total.hexdigest()[:12]}"


def noise_of(seed: int, picture: int) -> torch.Generator:
    """Return the source of a picture's noise: its own, whatever was drawn for the pictures before it."""
    key = np.random.SeedSequence([seed, picture]).generate_state(1)  # seed + picture would give two of them one noise
    return torch.Generator().manual_seed(int(key[0]))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Inside the block torch uses ``count`` threads: how sums are cut, and so their last bits, depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _maps(asked: Asked, unit: Unit) -> Tensor:
    """Return the maps [n, H, W] of a unit on the CPU, NaN for the pictures that the row has no map of."""
    noisy, count = METHODS_AND_BASELINES[unit.row].noisy, unit.last - unit.first
    result = torch.full((count, *asked.x.shape[2:]), torch.nan)
    # A noisy method gives all pictures of a batch the same noise: one by one, each has its own.
    todo = list(torch.arange(count).split(1 if noisy else count))
    while todo:
        rows = todo.pop(0)
        pictures = unit.first + rows
        target = of_rows(asked.target, pictures)
        generator = noise_of(asked.seed, int(pictures[0])) if noisy else None
        try:
            maps = explain(unit.row, asked.model, asked.x[pictures], target, layer=asked.layer, generator=generator)
            result[rows] = maps.float().cpu()
        except ValueError:
            if len(rows) > 1:  # one picture without an answer must not cost the others theirs
                todo = [*rows.split(1), *todo]
    return result
