"""Checkers of lesson *occlusion*: the falls of occlusion spread over the pixels, and RISE for every class at once."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, einsum

from helpers.checks.core import ask, checker, close, name_the_mistake


def _sums(falls: Tensor, patch: int, stride: int, side: int) -> Tensor:
    """Return the sum of the falls [rows, columns] of all squares that cover a pixel, [side, side]."""
    pixel, corner = torch.arange(side), torch.arange(len(falls))[:, None] * stride
    covers = ((corner <= pixel) & (pixel < corner + patch)).float()  # [rows, side], the same for columns
    return einsum("ij,ih,jw->hw", falls, covers, covers)


def _means(falls: Tensor, patch: int, stride: int, side: int) -> Tensor:
    """Return the mean of the falls of all squares that cover a pixel, [side, side]."""
    return _sums(falls, patch, stride, side) / _sums(torch.ones_like(falls), patch, stride, side)


def _last(falls: Tensor, patch: int, stride: int, side: int) -> Tensor:
    """Return what comes out if each square overwrites the ones before it."""
    result = torch.zeros(side, side)
    for i, row in enumerate(falls):
        for j, fall in enumerate(row):
            result[i * stride : i * stride + patch, j * stride : j * stride + patch] = fall
    return result


def _extreme(falls: Tensor, patch: int, stride: int, side: int, joined: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return what comes out if each square is joined with what stands at its pixels already."""
    result = torch.full((side, side), torch.nan)
    for i, row in enumerate(falls):
        for j, fall in enumerate(row):
            here = result[i * stride : i * stride + patch, j * stride : j * stride + patch]
            here[:] = torch.where(here.isnan(), fall, joined(here, fall))
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
            "you take the largest fall at each pixel; take the mean of all squares over it.": _extreme(
                falls, patch, stride, side, torch.maximum
            ),
            "you take the smallest fall at each pixel; take the mean of all squares over it.": _extreme(
                falls, patch, stride, side, torch.minimum
            ),
            "each square and what was there before are averaged, so late squares count more; add up, then divide.": (
                _extreme(falls, patch, stride, side, lambda a, b: (a + b) / 2)
            ),
            "your squares are as large as the stride; their side is patch.": _sums(falls, stride, stride, side),
            "the falls are enlarged between their centres (bilinear); each square spreads over its pixels.": (
                F.interpolate(falls[None, None], (side, side), mode="bilinear")[0, 0]
            ),
            "the falls are enlarged as if squares never overlapped; a square covers patch x patch pixels.": (
                F.interpolate(falls[None, None], (side, side))[0, 0]
            ),
            "you divide by the mean number of squares; divide each pixel by its own.": total / count.mean(),
            "you divide twice by the number of squares.": total / count**2,
            "your squares are patch apart; the next begins stride further.": (
                _sums(falls, patch, patch, side) / _sums(torch.ones_like(falls), patch, patch, side).clamp(min=1)
            ),
            "there is one square too many in your count; let it begin at 0.": total / (count + 1),
            "the sum is divided by the root of the number of squares; divide by the number.": total / count.sqrt(),
            "the last row and column of squares are missing.": _sums(falls[:-1, :-1], patch, stride, side)
            / _sums(torch.ones_like(falls[:-1, :-1]), patch, stride, side).clamp(min=1),
            "each square overwrites the others; add them up, and count.": _last(falls, patch, stride, side),
            "the sign is turned; the falls are given, spread them as they are.": -right,
            "you took absolute values; a fall below zero is a gain, and counts as such.": (
                _sums(falls.abs(), patch, stride, side) / count
            ),
            "this is the number of squares, not their mean fall.": count,
        }
        got = ask(function, falls.clone(), patch, stride, side)
        what = f"the map for squares of {patch} in steps of {stride}"
        name_the_mistake(got, mistakes, right, what=what, by=_means)
    return "squares that overlap and squares that touch, and the corners as the middle."


@checker
def check_rise_maps(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``function(logits [n, classes], masks [n, H, W]) -> [classes, H, W]`` on random tensors."""
    random, n = torch.Generator().manual_seed(8), 60
    masks = (torch.rand(n, 7, 8, generator=random) < 0.3).float() * 0.8 + 0.1  # from 0.1 to 0.9, as soft edges have it
    masks *= 0.7 + 0.3 * torch.rand(n, 7, 8, generator=random)
    logits = torch.randn(n, 4, generator=random) + torch.tensor([3.0, -2.0, 6.0, 1.0])
    mean, variance = masks.mean().item(), masks.var().item()

    def gathered(scores: Tensor, masks: Tensor, divisor: float | Tensor) -> Tensor:
        return einsum("nc,nij->cij", scores, masks) / divisor

    def by_gains(logits: Tensor, masks: Tensor) -> Tensor:
        return gathered(logits - logits.mean(0), masks - masks.mean(), len(masks) * masks.var())

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
        "these maps are of probabilities, and these are not centred either; take the logits as they come.": gathered(
            logits.softmax(1), masks, whole
        ),
        "the scores are counted from the lowest; take each class's mean over the masks.": gathered(
            logits - logits.amin(0), masks, whole
        ),
        "this is a correlation; divide by the variance of the masks alone.": lambda: gathered(
            centred / logits.std(0), (masks - masks.mean(0)) / masks.std(0), n - 1
        ),
        "the scores are counted from the first mask's; take each class's mean over the masks.": gathered(
            logits - logits[0], masks, whole
        ),
        "the scores are centred on their median; take the mean.": gathered(
            logits - logits.median(0).values, masks, whole
        ),
        "scores below the mean are cut off; a place may lower the score.": gathered(centred.relu(), masks, whole),
        "you divide by the sum of the masks; divide by their number times their variance.": gathered(
            centred, masks, masks.sum()
        ),
        "you divide each pixel by its own sum of masks; take one number for all pixels.": gathered(
            centred, masks, masks.sum(0)
        ),
        "the scores are divided by their spread; leave them in logits.": gathered(
            centred / logits.std(0), masks, whole
        ),
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
    # 1e-3: a variance that is divided by the number of values, or by one less, is the same here
    got = name_the_mistake(
        ask(function, logits.clone(), masks.clone()), mistakes, right, 1e-3, what="the maps", by=by_gains
    )
    shifted = ask(function, logits + 5, masks.clone())
    close(shifted, got, 1e-3, what="the map after adding 5 to all logits, which must change nothing,")
    return f"{len(got)} classes from {n} masks; adding 5 to every logit changes nothing."
