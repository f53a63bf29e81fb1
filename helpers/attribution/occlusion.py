"""Explanations by perturbation: change the input, run the network again, and measure how the score changes.

Each is a loop over **rows**: a row is one changed picture, and a chunk of rows goes through the network at once. Sums
are kept in float32 also where the network works in half precision.
"""

import math
from collections.abc import Iterator
from numbers import Integral

import torch
from torch import Tensor, einsum, nn

from helpers.attribution._common import (
    Target,
    baseline_like,
    check_pictures,
    explaining,
    kind,
    of_rows,
    run,
    scores_and_target_on_whole,
    scores_of,
    source_of_noise,
    warn_if_rounded_away,
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
    r"""Return the logits while a patch covers part of the picture, for each place of the patch and each class.

    .. math:: y(x_p), \quad x_p = b \text{ under the patch at place } p, \text{ and } x \text{ elsewhere}

    The patch's upper left corner stands at 0, stride, 2 stride, ... in both directions, until the last pixel is
    covered; the last patches may reach over the edge and are clipped. One forward pass for each place and picture.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        patch: side of the patch in pixels, or (rows, columns); in words for texts.
        stride: step from place to place in pixels, or (down, right); the patch's own size unless given.
        baseline: what the patch shows, in the units of ``x``: a number, a colour [C, 1, 1], a picture [C, H, W],
            or a picture for each, [N, C, H, W] (such as ``x`` blurred); for texts a word [C, 1], and so on.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.

    Returns:
        Logits [N, rows, columns, classes], detached; [N, places, classes] for texts.

    Raises:
        TypeError: the model is not a module, or the pictures are not a tensor of floats.
        ValueError: pictures, patch, stride, baseline or chunk that cannot be used; the message names the cure.

    Source:
        Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.occluded_logits(net, torch.rand(1, 3, 8, 8), patch=4).shape
        torch.Size([1, 2, 2, 2])
    """
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        windows, plain = _windows(x, patch, stride), baseline_like(baseline, x)
        logits = torch.cat([run(model, covered) for _, _, covered in _covered(x, plain, windows, chunk)])
        if logits.isnan().any():
            raise ValueError(
                f"{type(model).__name__} gives NaN, of which no part can be told: look for NaN among the weights, a "
                "division by zero, or half precision that overflows (use model.float())."
            )
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
    r"""Return how far the score falls when a pixel is covered, averaged over the patches that cover it.

    .. math:: M_{ij} = \frac{1}{|P_{ij}|} \sum_{p \in P_{ij}} \big(y_c(x) - y_c(x_p)\big)

    with P_ij the places of the patch that cover pixel ij, and x_p the picture with the patch at place p (Zeiler and
    Fergus, 2014). Pixels near the border are covered by fewer patches, which the division makes up for. One
    forward pass for each place and picture.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        patch: side of the patch in pixels, or (rows, columns); in words for texts.
        stride: step from place to place in pixels, or (down, right); the patch's own size unless given.
        baseline: what the patch shows, in the units of ``x``: a number, a colour [C, 1, 1], a picture [C, H, W],
            or a picture for each, [N, C, H, W] (such as ``x`` blurred); for texts a word [C, 1], and so on.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.

    Returns:
        Signed map [N, H, W], or [N, L], detached, in logits; below zero where the score rises when covered.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target, patch, stride, baseline or chunk that cannot be used; the message names the cure.

    Source:
        Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.occlusion(net, torch.rand(1, 3, 8, 8), target=1, patch=4, stride=2).shape
        torch.Size([1, 8, 8])
    """
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        windows, plain = _windows(x, patch, stride), baseline_like(baseline, x)
        before, settled_target = scores_and_target_on_whole(model, x, target, chunk)
        fall = before[:, None].repeat(1, math.prod(map(len, windows)))
        for picture, place, covered in _covered(x, plain, windows, chunk):
            fall[picture, place] -= scores_of(model, covered, of_rows(settled_target, picture))
        warn_if_rounded_away(model, fall, before)
        fall = fall.unflatten(1, [len(lines) for lines in windows])
        return _spread(fall, windows) / _spread(torch.ones_like(fall[:1]), windows)


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
    r"""Return RISE (Petsiuk et al., 2018): for each pixel, how the score changes with random masks that show it.

    .. math:: M = \frac{1}{n v} \sum_{i=1}^{n} \big(y_c(x \odot m_i) - \bar y\big) (m_i - p),
              \quad \bar y = \frac{1}{n} \sum_i y_c(x \odot m_i),
              \quad v = \mathrm{var}(m) = \Big(\frac{2}{3}\Big)^2 p (1 - p)

    A mask m is a coarse grid whose cells are 1 with probability p = ``keep`` and else 0, shifted at random and
    enlarged with soft edges. The soft edges make its variance v smaller than the p (1 - p) of a mask of zeros and ones:
    by 2/3 for each direction, so by 4/9 for pictures and 2/3 for texts. Divided by v, each pixel holds the slope of
    the score over the mask at this pixel: a pixel whose showing adds 1 to the score, while no other one matters, is
    drawn as 1. Neighbours are shown together, so that they share in it.

    From n masks, Petsiuk, Das and Saenko (2018) take ``1/(n p) sum y_c(x m) m`` (``centred=False``), with the
    probability for y; for that give a target such as ``lambda logits: logits.softmax(1)[:, c]``. This formula adds the
    mean score to every place, and noise in proportion; the centred formula has no such constant.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L]. Where a mask
            is 0 the network sees zeros.
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        samples: how many masks, the same for all pictures; each costs every picture a forward pass.
        cells: how many cells of the grid span the picture, in either direction, or the text.
        keep: the share of the picture that is shown, between 0 and 1.
        centred: which of the two formulas.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.
        generator: draws the masks, on the CPU; one with a fixed seed unless given.

    Returns:
        Map [N, H, W], or [N, L], detached, in logits; signed if centred.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target, or another argument that cannot be used; the message names the cure.

    Source:
        Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.rise(net, torch.rand(1, 3, 8, 8), target=1, samples=20).shape
        torch.Size([1, 8, 8])
    """
    _check_masks(samples, cells, keep)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        before, settled_target = scores_and_target_on_whole(model, x, target, chunk)
        grids, shifts = _grids(samples, cells, keep, x.dim() - 2, generator)
        # Taking the whole picture's score off first keeps the sums small; it cancels in the centred formula
        start, middle = (before, keep) if centred else (torch.zeros_like(before), 0.0)
        gathered, mask_sum = before.new_zeros(2, len(x), *x.shape[2:])  # sums of (y - start) (m - p), and of (m - p)
        change, squares = torch.zeros_like(before), torch.zeros_like(before)
        for rows in in_chunks(samples * len(x), chunk, "RISE", x):
            picture, drawn = (rows % len(x)).to(x.device), rows // len(x)
            masks = _enlarged(grids[drawn].to(before), shifts[drawn].to(before), x.shape[2:])
            masked = (x[picture] * masks[:, None]).to(x.dtype)
            scores = scores_of(model, masked, of_rows(settled_target, picture)) - start[picture]
            change.index_add_(0, picture, scores)
            squares.index_add_(0, picture, scores.square())
            mask_sum.index_add_(0, picture, masks - middle)
            gathered.index_add_(0, picture, einsum("r,r...->r...", scores, masks - middle))
        # A cell of the map is a mean over masks, in which the rounding of single scores gets smaller
        averaged = 3.5 * math.sqrt(samples) / cells ** (x.dim() / 2 - 1)
        spread = (squares / samples - (change / samples).square()).relu().sqrt()
        warn_if_rounded_away(model, averaged * spread, before)
        if not centred:
            return gathered / (samples * keep)
        variance = (2 / 3) ** (x.dim() - 2) * keep * (1 - keep)
        return (gathered - einsum("n,n...->n...", change / samples, mask_sum)) / (samples * variance)


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
        cure = "whole pixels, 1 or more, or two such numbers, (rows, columns)"
        raise ValueError(f"{name} is {value!r}; give {cure if directions == 2 else 'how many words, 1 or more'}.")
    return sides


def _covered(x: Tensor, plain: Tensor, windows: Windows, chunk: int | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield picture numbers [rows], place numbers [rows] and the pictures covered there, one place after the other."""
    counts = [len(lines) for lines in windows]
    count = math.prod(counts)
    for rows in in_chunks(len(x) * count, chunk, "occlusion", x):
        picture, place = (rows // count).to(x.device), (rows % count).to(x.device)
        patches = torch.ones_like(place, dtype=torch.bool)[:, None]  # [rows, 1], then a direction more each time
        for lines, number in zip(windows, torch.unravel_index(place, counts), strict=True):
            patches = patches[..., None] & lines[number].view(len(rows), *[1] * (patches.dim() - 1), -1)
        yield picture, place, torch.where(patches, plain[picture], x[picture])


def _spread(values: Tensor, windows: Windows) -> Tensor:
    """Return for each pixel the sum of the values [N, rows, columns] of the places that cover it, [N, H, W]."""
    for lines in windows:  # the first direction of places becomes the last one of pixels
        values = einsum("np...,ps->n...s", values, lines.to(values))
    return values


def _check_masks(samples: int, cells: int, keep: float) -> None:
    if min(samples, cells) < 1:
        raise ValueError(f"samples is {samples} and cells is {cells}; both must be 1 or more.")
    if not 0 < keep < 1:
        raise ValueError(f"keep is {keep}; give the share of the picture that is shown, more than 0 and less than 1.")


def _grids(
    samples: int, cells: int, keep: float, directions: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return the cells of all masks, bool, two more than span the picture, and their shifts, 0 to 1 cell.

    All are drawn at once, so that the chunk cannot change them.
    """
    generator = source_of_noise(generator)
    grids = torch.rand(samples, *[cells + 2] * directions, generator=generator) < keep
    return grids, torch.rand(samples, directions, generator=generator)


def _enlarged(grids: Tensor, shifts: Tensor, size: torch.Size) -> Tensor:
    """Return masks [k, H, W] from grids [k, cells + 2, cells + 2] and shifts [k, 2] in cells, 0 to 1; so for texts.

    Bilinear: between the centres of four cells lies a mixture of them, written as a product of two hat functions.
    Every pixel has such four, also at the border, so that mean and variance of a mask are the same everywhere. Along
    one direction, a pixel at the part u between two centres takes 1 - u and u of them; u is uniform, and the mean of
    (1 - u)^2 + u^2 is 2/3. So the variance is that of a cell, p (1 - p), times 2/3 for each direction.
    """
    cell = torch.arange(grids.shape[1]).to(grids)
    for side, shift in zip(size, shifts.T, strict=True):
        place = (torch.arange(side).to(grids) + 0.5) / side * (len(cell) - 2) + shift[:, None]
        hats = (1 - (place[:, :, None] - cell).abs()).relu()
        grids = einsum("kc...,ksc->k...s", grids, hats)  # the first direction of cells becomes the last one of pixels
    return grids
