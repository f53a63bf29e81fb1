"""The scoreboard: every method of the course, and baselines, scored on pictures whose truth is known.

board = scoreboard(model, x, labels, objects, distractors, layer="layer4")
print(markdown(board))
"""

import operator
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers.attribution._common import Target, check_pictures, explaining, run, score, settle
from helpers.evaluation import SCORE_NAMES, score_maps
from helpers.evaluation.localisation import Masks, Scores, outlined
from helpers.evaluation.methods import METHODS_AND_BASELINES
from helpers.hooks import find_layer
from tools.scoreboard import cluster, saved_scores, work_units

if TYPE_CHECKING:
    from distributed import Client


def scoreboard(
    model: nn.Module,
    x: Tensor,
    target: Target,
    objects: Masks,
    distractors: Masks,
    *,
    layer: str | nn.Module,
    methods: Iterable[str] | None = None,
    seed: int = 0,
    outlines: Masks | None = None,
    client: "Client | None" = None,
    threads: int | None = None,
    folder: str | Path | None = None,
) -> dict[str, Scores]:
    """Return the scores of many methods on the same pictures.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; left as it was.
        x: pictures [N, C, H, W].
        target: what is asked of each picture, as for :func:`helpers.attribution.gradient`.
        objects, distractors, outlines: as for :func:`helpers.evaluation.score_maps`.
        layer: module or its name, for class activation maps.
        methods: names of rows in ``METHODS`` and ``BASELINES``, in the order wanted; all unless given.
        seed: of the noise in SmoothGrad, VarGrad, RISE and the random baseline. A picture's noise follows from the seed
            and the picture's number alone; it is the same for every set of methods.
        client: of a ``dask.distributed`` cluster that shares the work; see docs/cluster.md. The scores are those of
            the same call without it, bit for bit, on machines of one kind.
        threads: how many threads torch uses for a unit of work, here as on a worker, which does one unit at a time; as
            many as it is set to here unless given. Another number changes the last bits of some scores.
        folder: keeps the scores of each unit, so that the same call, made again, does only what is missing. What a
            score depends on is in its file's name; a target that is a function counts as the same if it gives the same
            scores, to the last bit, for these pictures and for thousands of drawn logits.

    Returns:
        For each row its scores, [N] each, on the CPU. All are NaN for a picture of which the method gives no map (it
        raises ValueError): for every picture, with CAM on a head with a hidden layer.

    Raises:
        TypeError, ValueError: no such row or layer; pictures, target, masks, seed, threads or client that cannot be
            used.
        ImportError: a client is given, and dask.distributed is not installed.
        RuntimeError: the cluster has no workers, lost them again and again, or has another torch or another course.
    """
    names = list(dict.fromkeys(METHODS_AND_BASELINES if methods is None else methods))
    if unknown := [name for name in names if name not in METHODS_AND_BASELINES]:
        raise ValueError(f"The scoreboard has no row {unknown[0]!r}; it has {', '.join(METHODS_AND_BASELINES)}.")
    seed = _whole("seed", seed, 0)
    threads = torch.get_num_threads() if threads is None else _whole("threads", threads, 1)
    if client is not None:
        cluster.check(client, threads)
    x, layer = check_pictures(x), find_layer(model, layer)
    with work_units.torch_threads(threads), explaining(model), torch.no_grad():
        logits = torch.cat([run(model, part) for part in x.split(work_units.BATCH)])
        score(logits, target)  # a wrong target is an error here, and not a gap in every row
        target = settle(logits, target)
    objects, distractors = torch.as_tensor(objects), torch.as_tensor(distractors)
    masks = (objects, distractors, outlined(objects) if outlines is None else torch.as_tensor(outlines))
    score_maps(torch.zeros(x.shape[0], *x.shape[2:]), *masks[:2], outlines=masks[2])  # refuses masks that do not fit
    asked = work_units.Asked(model, layer, x, target, masks, seed, threads, work_units.version())
    share = partial(_here, asked) if client is None else partial(cluster.spread, client, work_units.work, asked)
    todo = work_units.cut(names, len(x))
    done = share(todo) if folder is None else saved_scores.resumed(folder, asked, logits, todo, share)
    board = {name: {key: torch.full((len(x),), torch.nan) for key in (*SCORE_NAMES, "constant")} for name in names}
    for unit, scores in tqdm(done, total=len(todo), desc="scoreboard", delay=2, leave=False):
        for key, values in scores.items():
            board[unit.row][key][unit.first : unit.last] = values
    return board


def _here(asked: work_units.Asked, todo: Iterable[work_units.Unit]) -> Iterator[tuple[work_units.Unit, Scores]]:
    for unit in todo:
        yield unit, work_units.work(asked, unit)


def _whole(name: str, value: object, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; give a whole number, {least} or more.")
    return number
