"""Localisation: do maps lie on the object? Several scores at once, their means, and a table of many methods.

A score is one number for each picture, a share from 0 to 1, or NaN where there is none: where the map is nowhere
positive (its mass), or where the network has no such map (all scores). A method is never left out for that;
:func:`score_table` counts the gaps.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from helpers.evaluation.methods import BASELINES, METHODS_AND_BASELINES
from helpers.evaluation.scores import constant, hull, interval, mass_accuracy, pointing, rank_accuracy

SCORE_NAMES = {  # their headings in the table
    "mass": "mass on the object",
    "rank": "rank accuracy",
    "pointing": "pointing game",
    "distractor": "mass on the distractor",
}
LESS_IS_BETTER = ("distractor",)
Masks = Tensor | np.ndarray
Scores = dict[str, Tensor]


def score_maps(maps: Tensor, objects: Masks, distractors: Masks, *, outlines: Masks | None = None) -> Scores:
    """Return the scores of maps [N, H, W]: how much of them lies on the object, and how much on the distractor.

    Args:
        maps: signed, in the picture's size.
        objects: bool [N, H, W], where the evidence for the score is.
        distractors: bool [N, H, W], where something else is that a map might point to; arrays will do.
        outlines: bool [N, H, W], where the maximum may lie; the objects' filled convex hulls unless given, as a ring
            has a hole where a coarse map peaks.

    Returns:
        ``mass`` and ``distractor``, the share of the map's positive part on object and distractor; ``rank``, the share
        of the highest values that lie on the object; ``pointing``, whether the maximum lies in the outline: [N] each,
        see :mod:`helpers.evaluation.scores`. ``constant``, 1 where the map has one value everywhere, and so the scores
        of a guess.

    Raises:
        TypeError, ValueError: maps or masks that cannot be scored.

    >>> import torch
    >>> from helpers import evaluation
    >>> maps = torch.tensor([[[3.0, 1.0], [0.0, -4.0]]])
    >>> objects, distractors = maps == 3, maps == 1
    >>> scores = evaluation.score_maps(maps, objects, distractors)
    >>> scores["mass"], scores["distractor"]
    (tensor([0.7500]), tensor([0.2500]))
    """
    objects, distractors = torch.as_tensor(objects), torch.as_tensor(distractors)
    outlines = outlined(objects) if outlines is None else torch.as_tensor(outlines)
    return {
        "mass": mass_accuracy(maps, objects),
        "rank": rank_accuracy(maps, objects),
        "pointing": pointing(maps, outlines),
        "distractor": mass_accuracy(maps, distractors),
        "constant": constant(maps).to(maps.dtype),
    }


def summary(scores: Mapping[str, Scores]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return for each method and score its mean over pictures, and the half width of the mean's 95 % interval.

    Pictures without a score are left out; NaN where none is left, or, for the half width, only one.

    Args:
        scores: for each method, by its name, what :func:`score_maps` returns.

    Returns:
        For each method, for each name in ``SCORE_NAMES``, two numbers.

    Raises:
        KeyError: a method without one of the scores.

    >>> import torch
    >>> from helpers import evaluation
    >>> one = {"mass": torch.tensor([0.4, 0.6]), **dict.fromkeys(("rank", "pointing", "distractor"), torch.zeros(2))}
    >>> mean, half = evaluation.summary({"my method": one})["my method"]["mass"]
    >>> round(mean, 2)
    0.5
    """
    return {method: {key: _interval(values[key]) for key in SCORE_NAMES} for method, values in scores.items()}


def score_table(scores: Mapping[str, Scores], heads: Mapping[str, str] = SCORE_NAMES) -> str:
    """Return a table of methods in Markdown: per cent, mean and half width of its 95 % interval over pictures.

    Passes through the network are those that one picture costs, see :class:`helpers.evaluation.methods.Method`. "No
    mass" counts the maps that are nowhere positive, and so have no mass to share out, "constant" those with one value
    everywhere. A method that the network has no answer for says so. Baselines are in italics.

    Args:
        scores: for each method, by its name, what :func:`score_maps` returns.
        heads: which scores, and what stands above them.

    Returns:
        The lines of the table.

    Raises:
        KeyError: a method without one of the scores.

    >>> import torch
    >>> from helpers import evaluation
    >>> maps = torch.tensor([[[3.0, 1.0], [0.0, -4.0]]] * 2)
    >>> found = evaluation.score_maps(maps, maps == 3, maps == 1)
    >>> print(evaluation.score_table({"Sobel": found}, {"mass": "mass on the object"}))
    | method | forward | backward | mass on the object | no mass | constant |
    | --- | ---: | ---: | ---: | ---: | ---: |
    | *Sobel* | 0 | 0 | 75.0 ± 0.0 | 0 | 0 |
    """
    first = ["method", "forward", "backward", *heads.values(), "no mass", "constant"]
    lines = [first, ["---", *["---:"] * (len(first) - 1)]]
    for name, means in summary(scores).items():
        values, method = scores[name], METHODS_AND_BASELINES.get(name)
        found = ~values["rank"].isnan()
        cells = [_per_cent(*means[key]) for key in heads]
        counts = [int(values["mass"][found].isnan().sum()), int(values["constant"][found].sum())]
        missing = len(found) - int(found.sum())
        label = f"*{name}*".replace("|", "\\|") if name in BASELINES else name
        if missing:
            label += " (no such map)" if missing == len(found) else f" (no map of {missing} of {len(found)} pictures)"
        passes = [method.forward, method.backward] if method else ["", ""]
        lines.append([label, *passes, *cells, *map(str, counts)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def outlined(masks: Tensor) -> Tensor:
    """Return the masks as filled convex hulls, where a map may point to.

    Args:
        masks: bool [N, H, W], on any device.

    Returns:
        bool [N, H, W], on the same device.

    Raises:
        ValueError: masks of another number of dimensions.

    >>> import torch
    >>> ring = torch.tensor([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]]).bool()
    >>> bool(outlined(ring).all())
    True
    """
    return torch.from_numpy(hull(masks.cpu().numpy())).to(masks.device)


def _interval(values: Tensor) -> tuple[float, float]:
    values = torch.as_tensor(values)
    values = values[~values.isnan()]
    if len(values) < 2:
        return (values.item() if len(values) else float("nan")), float("nan")
    return tuple(part.item() for part in interval(values))


def _per_cent(mean: float, half: float) -> str:
    if np.isnan(mean):
        return "-"
    return f"{100 * mean:.1f}" + ("" if np.isnan(half) else f" ± {100 * half:.1f}")
