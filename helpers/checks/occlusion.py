"""Checkers of lesson *occlusion*: the falls of occlusion spread over the pixels, and RISE for every class at once."""

from collections.abc import Callable

import torch
from torch import Tensor, einsum

from helpers.checks.core import ask, checker, close, name_the_mistake


def _sums(falls: Tensor, patch: int, stride: int, side: int) -> Tensor:
    """Return the sum of the falls [rows, columns] of all squares that cover a pixel, [side, side]."""
    pixel, corner = torch.arange(side), torch.arange(len(falls))[:, None] * stride
    covers = ((corner <= pixel) & (pixel < corner + patch)).float()  # [rows, side], the same for columns
    return einsum("ij,ih,jw->hw", falls, covers, covers)


def _last(falls: Tensor, patch: int, stride: int, side: int) -> Tensor:
    """Return what comes out if each square overwrites the ones before it."""
    result = torch.zeros(side, side)
    for i, row in enumerate(falls):
        for j, fall in enumerate(row):
            result[i * stride : i * stride + patch, j * stride : j * stride + patch] = fall
    return result


@checker
def check_spread(function: Callable[[Tensor, int, int, int], Tensor]) -> str:
    """Check ``function(falls [rows, columns], patch, stride, side) -> [side, side]`` on random falls."""
    random = torch.Generator().manual_seed(7)
    for rows, patch, stride in ((4, 5, 2), (3, 4, 4), (5, 7, 3)):
        side = (rows - 1) * stride + patch
        falls = torch.randn(rows, rows, generator=random)
        total = _sums(falls, patch, stride, side)
        count = _sums(torch.ones_like(falls), patch, stride, side)
        right = total / count
        mistakes = {
            "the sum is not divided by how many squares cover the pixel.": total,
            "the middle is right, the border is not: divide each pixel by its own number of squares.": (
                total / count.max()
            ),
            "you divide by the pixels of a square; divide by the number of squares over the pixel.": total / patch**2,
            "you divide by the number of all squares; divide by the number of those over the pixel.": total / rows**2,
            "rows and columns are swapped: i goes down, j to the right.": right.T,
            "each square overwrites the others; add them up, and count.": _last(falls, patch, stride, side),
            "the sign is turned; the falls are given, spread them as they are.": -right,
            "you took absolute values; a fall below zero is a gain, and counts as such.": (
                _sums(falls.abs(), patch, stride, side) / count
            ),
            "this is the number of squares, not their mean fall.": count,
        }
        got = ask(function, falls.clone(), patch, stride, side)
        name_the_mistake(got, mistakes, right, what=f"the map for squares of {patch} in steps of {stride}")
    return "squares that overlap and squares that touch, and the corners as the middle."


@checker
def check_rise_maps(function: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    """Check ``function(logits [n, classes], masks [n, H, W], keep) -> [classes, H, W]`` on random tensors."""
    random, n, keep = torch.Generator().manual_seed(8), 12, 0.3
    masks = (torch.rand(n, 5, 6, generator=random) < keep).float() * 0.8 + 0.1
    logits = torch.randn(n, 4, generator=random) + torch.tensor([3.0, -2.0, 6.0, 1.0])

    def gathered(scores: Tensor, masks: Tensor, divisor: float) -> Tensor:
        return einsum("nc,nij->cij", scores, masks) / divisor

    centred, whole = logits - logits.mean(0), n * keep * (1 - keep)
    right = gathered(centred, masks - keep, whole)
    mistakes = {
        "this is RISE as published, with its constant: centre the scores, divide by p (1 - p).": gathered(
            logits, masks, n * keep
        ),
        "the scores are not centred: take from each class its mean over the masks.": gathered(
            logits, masks - keep, whole
        ),
        "neither scores nor masks are centred.": gathered(logits, masks, whole),
        "you took one mean over all classes; each class has a mean of its own.": gathered(
            logits - logits.mean(), masks - keep, whole
        ),
        "you took each masked picture's mean over the classes; take each class's mean over the masks.": gathered(
            logits - logits.mean(1, keepdim=True), masks - keep, whole
        ),
        "you divide by p alone; centred it is p (1 - p).": gathered(centred, masks, n * keep),
        "you forgot to divide by the number of masks.": gathered(centred, masks, keep * (1 - keep)),
        "you forgot to divide by p (1 - p).": gathered(centred, masks, n),
        "these maps are of probabilities; the logits are asked for, as they come.": gathered(
            logits.softmax(1) - logits.softmax(1).mean(0), masks, whole
        ),
    }
    got = name_the_mistake(ask(function, logits.clone(), masks.clone(), keep), mistakes, right, what="the maps")
    shifted = ask(function, logits + 5, masks.clone(), keep)
    close(shifted, got, 1e-3, what="the map after adding 5 to all logits, which must change nothing,")
    return f"{len(got)} classes from {n} masks; adding 5 to every logit changes nothing."
