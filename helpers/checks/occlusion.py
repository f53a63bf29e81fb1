"""Checkers of lesson *occlusion*: the falls of occlusion spread over the pixels, and RISE for every class at once."""

from collections.abc import Callable

import torch
from torch import Tensor, einsum

from helpers.checks.core import Wrong, ask, checker, close, name_the_mistake


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
            "the map is turned upside down: row i * stride counts from the top.": right.flip(0),
            "negative falls are missing; covering may raise the score, so leave out the ReLU.": right.relu(),
            "the map is scaled to one; the falls keep their unit, logits.": right / right.abs().max(),
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
def check_rise_maps(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``function(logits [n, classes], masks [n, H, W]) -> [classes, H, W]`` on random tensors."""
    random, n = torch.Generator().manual_seed(8), 60
    masks = (torch.rand(n, 7, 8, generator=random) < 0.3).float() * 0.8 + 0.1  # from 0.1 to 0.9, as soft edges have it
    logits = torch.randn(n, 4, generator=random) + torch.tensor([3.0, -2.0, 6.0, 1.0])
    mean, variance = masks.mean().item(), masks.var().item()

    def gathered(scores: Tensor, masks: Tensor, divisor: float | Tensor) -> Tensor:
        return einsum("nc,nij->cij", scores, masks) / divisor

    centred, whole = logits - logits.mean(0), n * variance
    right = gathered(centred, masks - mean, whole)
    mistakes = {
        "this is RISE as published, with its constant: centre the scores, divide by the variance.": gathered(
            logits, masks, n * mean
        ),
        "the scores are not centred: take from each class its mean over the masks.": gathered(
            logits, masks - mean, whole
        ),
        "neither scores nor masks are centred.": gathered(logits, masks, whole),
        "you took one mean over all classes; each class has a mean of its own.": gathered(
            logits - logits.mean(), masks - mean, whole
        ),
        "you took each masked picture's mean over the classes; take each class's mean over the masks.": gathered(
            logits - logits.mean(1, keepdim=True), masks - mean, whole
        ),
        "you divide by p (1 - p), the variance of masks of zeros and ones; these are soft: masks.var().": gathered(
            centred, masks - mean, n * mean * (1 - mean)
        ),
        "you divide by p alone; for gains it is the variance of the masks.": gathered(centred, masks, n * mean),
        "you divide by the standard deviation; the slope has the variance below.": gathered(
            centred, masks, n * variance**0.5
        ),
        "you divide each pixel by a variance of its own; take one number, masks.var().": gathered(
            centred, masks, n * masks.var(0)
        ),
        "you forgot to divide by the number of masks.": gathered(centred, masks, variance),
        "you forgot to divide by the variance of the masks.": gathered(centred, masks, n),
        "you neither divide by the number of masks nor by their variance.": gathered(centred, masks, 1),
        "the sign is turned: a place whose showing raises the score has a gain above zero.": -right,
        "negative gains are missing; a place may lower the score, so leave out the ReLU.": right.relu(),
        "you took absolute values; a gain below zero counts as such.": right.abs(),
        "these maps are of probabilities; the logits are asked for, as they come.": gathered(
            logits.softmax(1) - logits.softmax(1).mean(0), masks, whole
        ),
    }
    given = logits.clone(), masks.clone()
    # 1e-3: a variance that is divided by the number of values, or by one less, is the same here
    got = name_the_mistake(ask(function, *given), mistakes, right, 1e-3, what="the maps")
    if not (torch.equal(given[0], logits) and torch.equal(given[1], masks)):
        raise Wrong("the maps are right, but your function changes its input: write y = y - y.mean(0), not y -= ...")
    shifted = ask(function, logits + 5, masks.clone())
    close(shifted, got, 1e-3, what="the map after adding 5 to all logits, which must change nothing,")
    return f"{len(got)} classes from {n} masks; adding 5 to every logit changes nothing."
