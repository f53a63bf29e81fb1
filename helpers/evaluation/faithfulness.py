"""Deletion and insertion: does the score go with the pixels that the map calls important?"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from helpers.attribution._common import (
    Target,
    check_pictures,
    explaining,
    filled,
    of_rows,
    quick,
    run,
    score,
)
from helpers.attribution.occlusion import uncovered
from helpers.attribution.progress import in_chunks
from helpers.evaluation.scores import check_maps

Baseline = float | Tensor | Callable[[Tensor, Tensor], Tensor]


def deletion(
    model: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Target = None,
    *,
    steps: int = 50,
    baseline: Baseline = 0.0,
    probability: bool = False,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the score while pixels are removed, the highest of the map first (Petsiuk, Das and Saenko, 2018).

    A faithful map makes it fall early: a small :func:`area` is good. Pixels are removed in all channels at once; of
    equal values the upper left goes first, in reading order. A map with large even regions, such as a Grad-CAM with its
    zeros, is therefore graded partly by this order: see how it does with ``maps.flip(2)`` and ``x.flip(3)``.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        maps: [N, H, W]; only the order of their values counts.
        target: as for :func:`helpers.attribution.gradient`; a picture's top class is that of the whole picture.
        steps: how many equal parts of the pixels are removed one after the other; ``steps + 1`` forward passes each.
        baseline: what is seen where a pixel is gone: a number, a tensor that broadcasts to ``x``, such as ``x``
            blurred, or a function of pictures and pixels that are gone, bool [R, H, W], which returns the pictures
            without them, such as :func:`imputed`. In normalised pictures 0 is the mean colour and not black.
        probability: score by softmax probabilities, as the paper does, instead of logits.
        chunk: how many versions go through the network at once; as many as are fast unless given.

    Returns:
        Fractions [steps + 1], the true shares of pixels removed, from 0 to 1; scores [N, steps + 1], detached.

    Raises:
        TypeError, ValueError: an argument that cannot be used; the message names the cure.
    """
    return _curves(model, x, maps, target, steps, baseline, probability, chunk, insert=False)


def insertion(
    model: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Target = None,
    *,
    steps: int = 50,
    baseline: Baseline = 0.0,
    probability: bool = False,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the score while pixels are put into the baseline, the highest of the map first (Petsiuk et al., 2018).

    A faithful map makes it rise early: a large :func:`area` is good. Arguments, errors and ties as for
    :func:`deletion`; the fractions are the true shares of pixels shown.
    """
    return _curves(model, x, maps, target, steps, baseline, probability, chunk, insert=True)


def area(fractions: Tensor, scores: Tensor) -> Tensor:
    """Return the area under each curve, [N], by the trapezoid rule over the true fractions.

    Over all fractions from 0 to 1 it is the mean score on the way.

    Args:
        fractions: [S + 1], rising.
        scores: [N, S + 1].

    Raises:
        ValueError: shapes that do not fit, or fractions that do not rise.
    """
    if fractions.dim() != 1 or scores.dim() != 2 or len(fractions) != scores.shape[1] or len(fractions) < 2:
        raise ValueError(
            f"Fractions {list(fractions.shape)} and scores {list(scores.shape)} do not fit; give [S + 1] and "
            "[N, S + 1], as deletion and insertion return them."
        )
    if (fractions.diff() <= 0).any():
        raise ValueError("The fractions do not rise from each to the next; give them as deletion returns them.")
    return torch.trapezoid(scores, fractions, dim=1)


def _curves(
    model: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Target,
    steps: int,
    baseline: Baseline,
    probability: bool,
    chunk: int | None,
    *,
    insert: bool,
) -> tuple[Tensor, Tensor]:
    """Return fractions [S + 1] and scores [N, S + 1] on the way from the picture to the baseline, or back."""
    with explaining(model), torch.no_grad():
        x = check_pictures(x)
        maps = check_maps(maps, x[:, 0].shape).to(x.device)
        pixels = maps[0].numel()
        if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= pixels:
            raise ValueError(f"steps is {steps!r}; give a whole number from 1 to {pixels}, the pixels of a picture.")
        plain = None if callable(baseline) else filled(baseline, x)
        _, question = uncovered(model, x, target, chunk)
        order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
        place = order.argsort(1).view_as(maps)  # of each pixel in the order of its picture
        counts = torch.arange(steps + 1, device=x.device) * pixels // steps
        scores = []
        for rows in in_chunks(len(x) * len(counts), chunk, "insertion" if insert else "deletion", x):
            rows = rows.to(x.device)
            pictures, step = rows // len(counts), rows % len(counts)
            gone = (place[pictures] < counts[step, None, None]) ^ insert
            if plain is None:
                left = baseline(x[pictures], gone)
                if not isinstance(left, Tensor) or left.shape != x[pictures].shape:
                    raise ValueError(
                        "The function given as baseline must return the pictures without the pixels that are gone, "
                        f"{list(x[pictures].shape)}."
                    )
            else:
                left = torch.where(gone[:, None], plain[pictures], x[pictures])
            logits = run(model, quick(left))
            scores.append(score(logits.softmax(1) if probability else logits, of_rows(question, pictures)))
        return counts.to(x.dtype) / pixels, torch.cat(scores).view(len(x), -1)
