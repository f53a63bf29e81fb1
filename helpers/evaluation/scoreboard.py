"""The scoreboard: every method of the course, and baselines, graded on pictures whose truth is known.

    board = scoreboard(model, x, labels, objects, distractors, layer="layer4")
    print(markdown(board))

A grade is one number for each picture, a share from 0 to 1, or NaN where there is none: where the map is nowhere
positive (its mass), or where the network has no such map (all grades). Rows stay, and :func:`markdown` counts the gaps.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers.attribution.contract import Target, check_pictures, explaining, of_rows, run, score, settle
from helpers.data.shapes import hull
from helpers.evaluation.rows import BASELINES, METHODS, ROWS, explain
from helpers.evaluation.scores import constant, interval, mass_accuracy, pointing, rank_accuracy
from helpers.hooks import find_layer

__all__ = ["BASELINES", "GRADES", "METHODS", "explain", "grade", "markdown", "scoreboard", "summary"]
GRADES = {  # and how they stand above the table
    "mass": "mass on the object",
    "rank": "rank accuracy",
    "pointing": "pointing game",
    "distractor": "mass on the distractor",
}
LESS_IS_BETTER = ("distractor",)
BATCH = 25  # pictures that go through the network at once; a batch is its pictures one by one
Masks = Tensor | np.ndarray
Grades = dict[str, Tensor]


def grade(maps: Tensor, objects: Masks, distractors: Masks, *, outlines: Masks | None = None) -> Grades:
    """Return the grades of maps [N, H, W]: how well they find the object, and whether they fall for the distractor.

    Args:
        maps: signed, in the picture's size.
        objects: bool [N, H, W], where the evidence for the score is.
        distractors: bool [N, H, W], where something else is that a map might point to.
        outlines: bool [N, H, W], where the maximum may lie; the objects' filled convex hulls unless given, as a ring
            has a hole where a coarse map peaks.

    Returns:
        ``mass`` and ``distractor``, the share of the map's positive part on object and distractor; ``rank``, the share
        of the highest values that lie on the object; ``pointing``, whether the maximum lies in the outline: [N] each,
        see :mod:`helpers.evaluation.scores`. ``constant``, 1 where the map has one value everywhere, and so the grades
        of a guess.

    Raises:
        TypeError, ValueError: maps or masks that cannot be graded.
    """
    objects, distractors = torch.as_tensor(objects), torch.as_tensor(distractors)
    outlines = _filled(objects) if outlines is None else torch.as_tensor(outlines)
    return {
        "mass": mass_accuracy(maps, objects),
        "rank": rank_accuracy(maps, objects),
        "pointing": pointing(maps, outlines),
        "distractor": mass_accuracy(maps, distractors),
        "constant": constant(maps).to(maps.dtype),
    }


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
) -> dict[str, Grades]:
    """Return the grades of many methods on the same pictures.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; left as it was.
        x: pictures [N, C, H, W].
        target: what is asked of each picture, as for :func:`helpers.attribution.gradient`.
        objects, distractors, outlines: as for :func:`grade`.
        layer: module or its name, for class activation maps.
        methods: names of rows in ``METHODS`` and ``BASELINES``, in the order wanted; all unless given.
        seed: of the noise in SmoothGrad, VarGrad, RISE and the random baseline. Every picture has noise of its own,
            so that pictures stay independent; it is the same for every set of methods.

    Returns:
        For each row its grades, [N] each, on the CPU. All are NaN for a picture of which the method gives no map (it
        raises ValueError): for every picture, with CAM on a head with a hidden layer.

    Raises:
        TypeError, ValueError: no such row or layer; pictures, target or masks that cannot be used.
    """
    names = list(ROWS if methods is None else methods)
    if unknown := [name for name in names if name not in ROWS]:
        raise ValueError(f"The scoreboard has no row {unknown[0]!r}; it has {', '.join(ROWS)}.")
    x, layer = check_pictures(x), find_layer(model, layer)
    with explaining(model), torch.no_grad():  # a wrong question is an error here, and not a gap in every row
        logits = torch.cat([run(model, part) for part in x.split(BATCH)])
        score(logits, target)
        question = settle(logits, target)
    objects, distractors = torch.as_tensor(objects), torch.as_tensor(distractors)
    masks = (objects, distractors, _filled(objects) if outlines is None else torch.as_tensor(outlines))
    grade(torch.zeros(x.shape[0], *x.shape[2:]), *masks[:2], outlines=masks[2])  # refuses masks that do not fit
    board = {}
    for name in tqdm(names, desc="scoreboard", delay=2, leave=False):
        maps = _maps(name, model, x, question, layer, seed)
        found = ~maps.isnan().flatten(1).any(1)
        board[name] = {key: torch.full((len(x),), torch.nan) for key in (*GRADES, "constant")}
        if found.any():
            seen = grade(maps[found], masks[0][found], masks[1][found], outlines=masks[2][found])
            for key, values in seen.items():
                board[name][key][found] = values.float()
    return board


def summary(board: Mapping[str, Grades]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return for each row and grade its mean over pictures, and the half width of the mean's 95 % interval.

    Pictures without a grade are left out; NaN where none is left, or, for the half width, only one.
    """
    return {row: {key: _interval(grades[key]) for key in GRADES} for row, grades in board.items()}


def markdown(board: Mapping[str, Grades], heads: Mapping[str, str] = GRADES) -> str:
    """Return the scoreboard as a table in Markdown: per cent, mean and half width of its 95 % interval over pictures.

    Passes through the network are those that one picture costs, see :class:`helpers.evaluation.rows.Row`. "No mass"
    counts the maps that are nowhere positive, and so have no mass to share out, "constant" those with one value
    everywhere. A row that the network has no answer for says so. Baselines are in italics.

    Args:
        board: what :func:`scoreboard` returns.
        heads: which grades, and what stands above them.
    """
    first = ["method", "forward", "backward", *heads.values(), "no mass", "constant"]
    lines = [first, ["---", *["---:"] * (len(first) - 1)]]
    for name, means in summary(board).items():
        grades, row = board[name], ROWS.get(name)
        found = ~grades["rank"].isnan()
        cells = [_per_cent(*means[key]) for key in heads]
        counts = [int(grades["mass"][found].isnan().sum()), int(grades["constant"][found].sum())]
        missing = len(found) - int(found.sum())
        label = f"*{name}*".replace("|", "\\|") if name in BASELINES else name
        if missing:
            label += " (no such map)" if missing == len(found) else f" (no map of {missing} of {len(found)} pictures)"
        passes = [row.forward, row.backward] if row else ["", ""]
        lines.append([label, *passes, *cells, *map(str, counts)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _maps(name: str, model: nn.Module, x: Tensor, question: Target, layer: nn.Module, seed: int) -> Tensor:
    """Return a row's maps [N, H, W] on the CPU, NaN for the pictures it has no map of."""
    generator = torch.Generator().manual_seed(seed)
    result = torch.full((len(x), *x.shape[2:]), torch.nan)
    # A noisy method gives all pictures of a batch the same noise: one by one, each has its own.
    todo = list(torch.arange(len(x)).split(1 if ROWS[name].noisy else BATCH))
    while todo:
        rows = todo.pop(0)
        asked = of_rows(question, rows) if not callable(question) else question
        try:
            result[rows] = explain(name, model, x[rows], asked, layer=layer, generator=generator).float().cpu()
        except ValueError:
            if len(rows) > 1:  # one picture without an answer must not cost the others theirs
                todo = [*rows.split(1), *todo]
    return result


def _filled(masks: Tensor) -> Tensor:
    return torch.from_numpy(hull(masks.cpu().numpy())).to(masks.device)


def _interval(values: Tensor) -> tuple[float, float]:
    values = values[~values.isnan()]
    if len(values) < 2:
        return (values.item() if len(values) else float("nan")), float("nan")
    return tuple(part.item() for part in interval(values))


def _per_cent(mean: float, half: float) -> str:
    if np.isnan(mean):
        return "-"
    return f"{100 * mean:.1f}" + ("" if np.isnan(half) else f" ± {100 * half:.1f}")
