"""Explanations by trying: change the input, run the network again, and see what becomes of the score."""

import math
from collections.abc import Callable, Iterator
from numbers import Integral

import torch
from torch import Tensor, einsum, nn

from helpers.attribution._common import (
    Target,
    check_pictures,
    explaining,
    filled,
    kind,
    of_rows,
    quick,
    run,
    score,
    settle,
)
from helpers.attribution.progress import in_chunks

Sides = int | tuple[int, ...]
Windows = list[Tensor]  # bool [rows, H], [columns, W]: the lines of pixels that each place of a patch covers


def occluded_logits(
    model: nn.Module,
    x: Tensor,
    *,
    patch: Sides,
    stride: Sides | None = None,
    baseline: float | Tensor = 0.0,
    chunk: int | None = None,
) -> Tensor:
    """Return what the network says while a patch covers part of the picture: each place of the patch, every class.

    The patch's upper left corner stands at 0, stride, 2 stride, ... in both directions, until the last pixel is
    covered; the last patches may reach over the edge and are clipped. One forward pass for each place and picture.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes.
        patch: side of the patch in pixels, or (rows, columns); in words for texts.
        stride: step from place to place in pixels, or (down, right); the patch's own size unless given.
        baseline: what the patch shows, in the units of ``x``: a number, a colour [C, 1, 1], a picture [C, H, W],
            or a picture for each, [N, C, H, W] (such as ``x`` blurred); for texts a word [C, 1], and so on.
        chunk: how many covered pictures go through the network at once; as many as are fast unless given.

    Returns:
        Logits [N, rows, columns, classes], detached; [N, places, classes] for texts.

    Raises:
        TypeError, ValueError: pictures, patch, stride, baseline or chunk that cannot be used, with the cure.
    """
    with explaining(model), torch.no_grad():
        x = quick(check_pictures(x, model))
        windows = _windows(x, patch, stride)
        logits = torch.cat([found for _, found in _covered(model, x, windows, baseline, chunk)])
    return logits.view(len(x), *map(len, windows), -1)


def occlusion(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    patch: Sides,
    stride: Sides | None = None,
    baseline: float | Tensor = 0.0,
    chunk: int | None = None,
) -> Tensor:
    """Return how far the score falls when a pixel is covered, averaged over the patches that cover it.

    For each place of the patch ``f(x) - f(x with the patch)`` (Zeiler and Fergus, 2014), added to all pixels of the
    patch and divided by how many patches cover each: fewer do so near the border.

    Args:
        model, x, patch, stride, baseline, chunk: as for :func:`occluded_logits`.
        target: as for :func:`gradient`; a picture's top class is that of the picture uncovered.

    Returns:
        Signed map [N, H, W], or [N, L], detached, in logits; below zero where the score rises when covered.

    Raises:
        TypeError, ValueError: as for :func:`occluded_logits`, or a target that cannot be used.
    """
    with explaining(model), torch.no_grad():
        x = quick(check_pictures(x, model))
        windows = _windows(x, patch, stride)
        before, question = uncovered(model, x, target, chunk)
        after = [
            score(logits, of_rows(question, pictures))
            for pictures, logits in _covered(model, x, windows, baseline, chunk)
        ]
        fall = (before[:, None] - torch.cat(after).view(len(x), -1)).unflatten(1, [len(lines) for lines in windows])
        return _spread(fall, windows) / _spread(torch.ones_like(fall[:1]), windows)


def uncovered(model: nn.Module, x: Tensor, target: Target, chunk: int | None) -> tuple[Tensor, Tensor | Callable]:
    """Return the score of each whole picture [N], and the settled question."""
    logits = torch.cat([run(model, x[numbers]) for numbers in in_chunks(len(x), chunk, "whole pictures", x)])
    return score(logits, target), settle(logits, target)


def _windows(x: Tensor, patch: Sides, stride: Sides | None) -> Windows:
    """Return which lines of pixels each place of the patch covers, from top to bottom and from left to right."""
    patch = _sides("patch", patch, x)
    stride = patch if stride is None else _sides("stride", stride, x)
    if any(p > side for p, side in zip(patch, x.shape[2:], strict=True)):
        raise ValueError(f"patch {patch} is larger than the {kind(x).one}, {tuple(x.shape[2:])}; give a smaller one.")
    if any(s > p for s, p in zip(stride, patch, strict=True)):
        raise ValueError(f"stride {stride} is larger than patch {patch}: it leaves gaps that are never covered.")
    windows = []
    for side, p, s in zip(x.shape[2:], patch, stride, strict=True):
        first = torch.arange(math.ceil((side - p) / s) + 1, device=x.device)[:, None] * s
        pixel = torch.arange(side, device=x.device)
        windows.append((first <= pixel) & (pixel < first + p))
    return windows


def _sides(name: str, value: Sides, x: Tensor) -> tuple[int, ...]:
    directions = x.dim() - 2
    sides = tuple(value) if isinstance(value, tuple | list) and len(value) == directions else (value,) * directions
    if not all(isinstance(side, Integral) and side >= 1 for side in sides):
        raise ValueError(f"{name} is {value!r}; give {kind(x).sides}.")
    return sides


def _spread(values: Tensor, windows: Windows) -> Tensor:
    """Return for each pixel the sum of the values [N, rows, columns] of the places that cover it, [N, H, W]."""
    for lines in windows:  # the first direction of places becomes the last one of pixels
        values = einsum("np...,ps->n...s", values, lines.to(values))
    return values


def _covered(
    model: nn.Module, x: Tensor, windows: Windows, baseline: float | Tensor, chunk: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the numbers of pictures [rows] and their logits [rows, classes], covered at one place after the other."""
    plain, counts = filled(baseline, x), [len(lines) for lines in windows]
    places = math.prod(counts)
    for rows in in_chunks(len(x) * places, chunk, "occlusion", x):
        rows = rows.to(x.device)
        pictures, place = rows // places, torch.unravel_index(rows % places, counts)
        patches = torch.ones_like(rows, dtype=torch.bool)[:, None]  # [rows, 1], then a direction more each time
        for lines, number in zip(windows, place, strict=True):
            patches = patches[..., None] & lines[number].view(len(rows), *[1] * (patches.dim() - 1), -1)
        yield pictures, run(model, quick(torch.where(patches, plain[pictures], x[pictures])))


def rise(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    samples: int = 2000,
    cells: int = 7,
    keep: float = 0.5,
    centred: bool = True,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the scores of randomly masked pictures, gathered where the masks let the picture through (RISE).

    A mask M is a coarse grid whose cells are 1 with probability p = ``keep`` and else 0, shifted at random and
    enlarged with soft edges. From n masks, Petsiuk, Das and Saenko (2018) take ``1/(n p) sum f(x M) M``. This adds
    the mean score to every place, and noise in proportion. Centred, ``sum (f(x M) - mean f) (M - p) / (n p (1 - p))``
    has no such constant. Had the masks hard edges, it would estimate the score with a place shown less the score with
    it hidden; soft edges make it smaller.

    Args:
        model, x, target: as for :func:`occlusion`. Where a mask is 0 the network sees zeros.
        samples: how many masks, the same for all pictures; each costs every picture a forward pass.
        cells: how many cells of the grid span the picture, in either direction, or the text.
        keep: the share of the picture that is shown, between 0 and 1.
        centred: which of the two formulas.
        chunk: how many masked pictures go through the network at once; as many as are fast unless given.
        generator: draws the masks, on the CPU; one with a fixed seed unless given.

    Returns:
        Map [N, H, W], or [N, L], detached, in logits; signed if centred.

    Raises:
        TypeError, ValueError: an argument that cannot be used; the message names the cure.
    """
    if min(samples, cells) < 1:
        raise ValueError(f"samples is {samples} and cells is {cells}; both must be 1 or more.")
    if not 0 < keep < 1:
        raise ValueError(f"keep is {keep}; give the share of the picture that is shown, more than 0 and less than 1.")
    generator = generator or torch.Generator().manual_seed(0)
    with explaining(model), torch.no_grad():
        x = quick(check_pictures(x, model))
        before, question = uncovered(model, x, target, chunk)
        # Drawn here and not in the loop: the chunk must not change them. Two cells more than span the picture.
        directions = x.dim() - 2
        grids = torch.rand(samples, *[cells + 2] * directions, generator=generator) < keep
        shifts = torch.rand(samples, directions, generator=generator)
        start, middle = (before, keep) if centred else (torch.zeros_like(before), 0.0)
        fall, light = x.new_zeros(2, len(x), *x.shape[2:])
        change = torch.zeros_like(before)
        for rows in in_chunks(samples * len(x), chunk, "RISE", x):
            pictures, drawn = (rows % len(x)).to(x.device), rows // len(x)
            masks = _enlarged(grids[drawn].to(x), shifts[drawn].to(x), x.shape[2:])
            logits = run(model, quick(x[pictures] * masks[:, None]))
            scores = score(logits, of_rows(question, pictures)) - start[pictures]
            change.index_add_(0, pictures, scores)
            light.index_add_(0, pictures, masks - middle)
            fall.index_add_(0, pictures, einsum("k,k...->k...", scores, masks - middle))
        if not centred:
            return fall / (samples * keep)
        return (fall - einsum("n,n...->n...", change / samples, light)) / (samples * keep * (1 - keep))


def _enlarged(grids: Tensor, shifts: Tensor, size: torch.Size) -> Tensor:
    """Return masks [k, H, W] from grids [k, cells + 2, cells + 2] and shifts [k, 2] in cells, 0 to 1; so for texts.

    Bilinear: between the centres of four cells lies a mixture of them, written as a product of two hat functions.
    Every pixel has such four, also at the border, so that mean and variance of a mask are the same everywhere.
    """
    cell = torch.arange(grids.shape[1]).to(grids)
    for side, shift in zip(size, shifts.T, strict=True):
        place = (torch.arange(side).to(grids) + 0.5) / side * (len(cell) - 2) + shift[:, None]
        hats = (1 - (place[:, :, None] - cell).abs()).relu()
        grids = einsum("kc...,ksc->k...s", grids, hats)  # the first direction of cells becomes the last one of pixels
    return grids
