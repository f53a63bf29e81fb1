"""Explanations by trying: change the picture, run the network again, and see what becomes of the score."""

import math
from collections.abc import Callable, Iterator
from numbers import Integral

import torch
from torch import Tensor, einsum, nn

from helpers.attribution.contract import (
    Target,
    check_pictures,
    explaining,
    filled,
    of_rows,
    quick,
    run,
    score,
    settle,
)
from helpers.attribution.progress import in_chunks

Sides = int | tuple[int, int]
Windows = tuple[Tensor, Tensor]  # bool [rows, H], [columns, W]: the lines of pixels that each place of a patch covers


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
        patch: side of the patch in pixels, or (rows, columns).
        stride: step from place to place in pixels, or (down, right); the patch's own size unless given.
        baseline: what the patch shows, in the units of ``x``: a number, a colour [C, 1, 1], a picture [C, H, W],
            or a picture for each, [N, C, H, W] (such as ``x`` blurred).
        chunk: how many covered pictures go through the network at once; as many as are fast unless given.

    Returns:
        Logits [N, rows, columns, classes], detached.

    Raises:
        TypeError, ValueError: pictures, patch, stride, baseline or chunk that cannot be used, with the cure.
    """
    with explaining(model), torch.no_grad():
        x = quick(check_pictures(x))
        windows = _windows(x, patch, stride)
        logits = torch.cat([found for _, found in _covered(model, x, windows, baseline, chunk)])
    return logits.view(len(x), len(windows[0]), len(windows[1]), -1)


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
        Signed map [N, H, W], detached, in logits; below zero where the score rises when covered.

    Raises:
        TypeError, ValueError: as for :func:`occluded_logits`, or a target that cannot be used.
    """
    with explaining(model), torch.no_grad():
        x = quick(check_pictures(x))
        down, right = _windows(x, patch, stride)
        before, question = uncovered(model, x, target, chunk)
        after = [
            score(logits, of_rows(question, pictures))
            for pictures, logits in _covered(model, x, (down, right), baseline, chunk)
        ]
        fall = before[:, None, None] - torch.cat(after).view(len(x), len(down), len(right))
        down, right = down.to(x), right.to(x)
        return einsum("nij,ih,jw->nhw", fall, down, right) / (down.sum(0)[:, None] * right.sum(0))


def uncovered(model: nn.Module, x: Tensor, target: Target, chunk: int | None) -> tuple[Tensor, Tensor | Callable]:
    """Return the score of each whole picture [N], and the settled question."""
    logits = torch.cat([run(model, x[numbers]) for numbers in in_chunks(len(x), chunk, "whole pictures", x)])
    return score(logits, target), settle(logits, target)


def _windows(x: Tensor, patch: Sides, stride: Sides | None) -> Windows:
    """Return which lines of pixels each place of the patch covers, from top to bottom and from left to right."""
    patch = _sides("patch", patch)
    stride = patch if stride is None else _sides("stride", stride)
    if any(p > side for p, side in zip(patch, x.shape[2:], strict=True)):
        raise ValueError(f"patch {patch} is larger than the picture, {tuple(x.shape[2:])}; give a smaller one.")
    if any(s > p for s, p in zip(stride, patch, strict=True)):
        raise ValueError(f"stride {stride} is larger than patch {patch}: it leaves gaps that are never covered.")
    windows = []
    for side, p, s in zip(x.shape[2:], patch, stride, strict=True):
        first = torch.arange(math.ceil((side - p) / s) + 1, device=x.device)[:, None] * s
        pixel = torch.arange(side, device=x.device)
        windows.append((first <= pixel) & (pixel < first + p))
    return windows[0], windows[1]


def _sides(name: str, value: Sides) -> tuple[int, int]:
    rows, columns = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
    if not all(isinstance(side, Integral) and side >= 1 for side in (rows, columns)):
        raise ValueError(f"{name} is {value!r}; give whole pixels, 1 or more, or two such numbers, (rows, columns).")
    return rows, columns


def _covered(
    model: nn.Module, x: Tensor, windows: Windows, baseline: float | Tensor, chunk: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the numbers of pictures [rows] and their logits [rows, classes], covered at one place after the other."""
    plain = filled(baseline, x)
    down, right = windows
    places = len(down) * len(right)
    for rows in in_chunks(len(x) * places, chunk, "occlusion", x):
        rows = rows.to(x.device)
        pictures, place = rows // places, rows % places
        patches = down[place // len(right), None, :, None] & right[place % len(right), None, None, :]
        yield pictures, run(model, quick(torch.where(patches, plain[pictures], x[pictures])))
