"""Deletion and insertion: does the score change most with the pixels where the map is highest?"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from helpers.attribution._common import (
    SettledTarget,
    Target,
    baseline_like,
    check_pictures,
    explaining,
    of_rows,
    run,
    score,
    scores_and_target_on_whole,
    scores_of,
    wide,
)
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
    r"""Return the score while pixels are removed, the highest of the map first (Petsiuk, Das and Saenko, 2018).

    .. math:: s(f) = y_c \big( x \text{ without the share } f \text{ of pixels that are highest in the map} \big)

    A faithful map makes it fall early: a small :func:`area` is good. Pixels are removed in all channels at once; of
    equal values the upper left goes first, in reading order. A map with large even regions, such as a Grad-CAM with its
    zeros, is therefore scored partly by this order: compare with ``maps.flip(2)`` and ``x.flip(3)``.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        maps: [N, H, W]; only the order of their values counts.
        target: which score to follow: ``None`` for the top class of each whole picture, a class number, one class
            number for each picture [N], or a function of the logits that returns [N].
        steps: how many equal parts of the pixels are removed one after the other; ``steps + 1`` forward passes each.
        baseline: what is seen where a pixel is gone: a number, a tensor that broadcasts to ``x``, such as ``x``
            blurred, or a function of pictures and pixels that are gone, bool [R, H, W], which returns the pictures
            without them, such as :func:`imputed`. In normalised pictures 0 is the mean colour and not black.
        probability: score by softmax probabilities, as the paper does, instead of logits.
        chunk: how many versions go through the network at once; as many as are fast unless given.

    Returns:
        Fractions [steps + 1], the true shares of pixels removed, from 0 to 1; scores [N, steps + 1], detached. Both in
        float32 at least.

    Raises:
        TypeError, ValueError: an argument that cannot be used; the message names the cure.

    >>> import torch
    >>> from helpers import evaluation
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))
    >>> fractions, scores = evaluation.deletion(net, torch.rand(2, 3, 4, 4), torch.rand(2, 4, 4), target=1, steps=4)
    >>> fractions
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    >>> scores.shape
    torch.Size([2, 5])
    """
    with explaining(model), torch.no_grad():
        x = check_pictures(x)
        ranks = _ranks(maps, x)
        counts = _counts(steps, ranks)
        without = _remover(baseline, x)
        _, settled_target = scores_and_target_on_whole(model, x, target, chunk)
        scores = []
        for pictures, count in _versions(x, counts, chunk, "deletion"):
            gone = ranks[pictures] < count
            scores.append(_scores(model, without(pictures, gone), of_rows(settled_target, pictures), probability))
        return counts.to(wide(x).dtype) / ranks[0].numel(), torch.cat(scores).view(len(x), -1)


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
    r"""Return the score while pixels are put into the baseline, the highest of the map first (Petsiuk et al., 2018).

    .. math:: s(f) = y_c \big( \text{baseline with the share } f \text{ of pixels of } x \text{ that are highest} \big)

    A faithful map makes it rise early: a large :func:`area` is good. Pixels are shown in all channels at once; of equal
    values the upper left comes first, in reading order.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        maps: [N, H, W]; only the order of their values counts.
        target: which score to follow: ``None`` for the top class of each whole picture, a class number, one class
            number for each picture [N], or a function of the logits that returns [N].
        steps: how many equal parts of the pixels are shown one after the other; ``steps + 1`` forward passes each.
        baseline: what is seen where a pixel is not shown: a number, a tensor that broadcasts to ``x``, such as ``x``
            blurred, or a function of pictures and pixels that are gone, bool [R, H, W], which returns the pictures
            without them, such as :func:`imputed`. In normalised pictures 0 is the mean colour and not black.
        probability: score by softmax probabilities, as the paper does, instead of logits.
        chunk: how many versions go through the network at once; as many as are fast unless given.

    Returns:
        Fractions [steps + 1], the true shares of pixels shown, from 0 to 1; scores [N, steps + 1], detached. Both in
        float32 at least.

    Raises:
        TypeError, ValueError: an argument that cannot be used; the message names the cure.

    >>> import torch
    >>> from helpers import evaluation
    >>> net, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)), torch.rand(2, 3, 4, 4)
    >>> fractions, scores = evaluation.insertion(net, x, torch.rand(2, 4, 4), target=1, steps=4)
    >>> torch.allclose(scores[:, -1], net(x)[:, 1])  # at the end the whole picture is there
    True
    """
    with explaining(model), torch.no_grad():
        x = check_pictures(x)
        ranks = _ranks(maps, x)
        counts = _counts(steps, ranks)
        without = _remover(baseline, x)
        _, settled_target = scores_and_target_on_whole(model, x, target, chunk)
        scores = []
        for pictures, count in _versions(x, counts, chunk, "insertion"):
            gone = ranks[pictures] >= count
            scores.append(_scores(model, without(pictures, gone), of_rows(settled_target, pictures), probability))
        return counts.to(wide(x).dtype) / ranks[0].numel(), torch.cat(scores).view(len(x), -1)


def area(fractions: Tensor, scores: Tensor) -> Tensor:
    """Return the area under each curve, [N], by the trapezoid rule over the true fractions.

    Over all fractions from 0 to 1 it is the mean score on the way.

    Args:
        fractions: [S + 1], rising.
        scores: [N, S + 1].

    Returns:
        [N], in the units of the scores.

    Raises:
        TypeError: not tensors.
        ValueError: shapes that do not fit, fractions that do not rise, values that are NaN or infinite.

    >>> import torch
    >>> from helpers import evaluation
    >>> evaluation.area(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[4.0, 2.0, 0.0], [1.0, 1.0, 1.0]]))
    tensor([2., 1.])
    """
    if not isinstance(fractions, Tensor) or not isinstance(scores, Tensor):
        kinds = f"{type(fractions).__name__} and {type(scores).__name__}"
        raise TypeError(f"Fractions and scores are {kinds}; give tensors, as deletion and insertion return them.")
    if fractions.dim() != 1 or scores.dim() != 2 or len(fractions) != scores.shape[1] or len(fractions) < 2:
        raise ValueError(
            f"Fractions {list(fractions.shape)} and scores {list(scores.shape)} do not fit; give [S + 1] and "
            "[N, S + 1], as deletion and insertion return them."
        )
    if (fractions.diff() <= 0).any():
        raise ValueError("The fractions do not rise from each to the next; give them as deletion returns them.")
    if not (fractions.isfinite().all() and scores.isfinite().all()):
        raise ValueError("Fractions or scores hold NaN or infinite values, under which there is no area.")
    return torch.trapezoid(wide(scores), fractions, dim=1)


def _ranks(maps: Tensor, x: Tensor) -> Tensor:
    """Return each pixel's place in the order of its picture, [N, H, W], 0 for the highest value of the map."""
    maps = check_maps(maps, x[:, 0].shape).to(x.device)
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(1).view_as(maps)


def _counts(steps: int, ranks: Tensor) -> Tensor:
    """Return how many pixels are moved up to each step, [steps + 1], from none to all."""
    pixels = ranks[0].numel()
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= pixels:
        raise ValueError(f"steps is {steps!r}; give a whole number from 1 to {pixels}, the pixels of a picture.")
    return torch.arange(steps + 1, device=ranks.device) * pixels // steps


def _remover(baseline: Baseline, x: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function of picture numbers [R] and pixels that are gone [R, H, W] to the pictures without them."""
    if not callable(baseline):
        plain = baseline_like(baseline, x)
        return lambda pictures, gone: torch.where(gone[:, None], plain[pictures], x[pictures])

    def without(pictures: Tensor, gone: Tensor) -> Tensor:
        left = baseline(x[pictures], gone)
        if not isinstance(left, Tensor) or left.shape != x[pictures].shape:
            raise ValueError(
                "The function given as baseline must return the pictures without the pixels that are gone, "
                f"{list(x[pictures].shape)}."
            )
        return left

    return without


def _versions(x: Tensor, counts: Tensor, chunk: int | None, what: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield picture numbers [R] and counts of pixels [R, 1, 1], all steps of the first picture first."""
    for rows in in_chunks(len(x) * len(counts), chunk, what, x):
        rows = rows.to(x.device)
        yield rows // len(counts), counts[rows % len(counts), None, None]


def _scores(model: nn.Module, x: Tensor, settled_target: SettledTarget, probability: bool) -> Tensor:
    if not probability:
        return scores_of(model, x, settled_target)
    logits = run(model, x, settled_target)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError(
            "probability=True needs one row of logits for each picture, and the model gives something else: leave it "
            "out, and let the target function make probabilities."
        )
    return score(wide(logits).softmax(1), settled_target)
