"""RISE: many random masks at once, where occlusion slides one patch."""

import torch
from torch import Tensor, einsum, nn

from helpers.attribution.contract import Target, check_pictures, explaining, of_rows, quick, run, score
from helpers.attribution.perturbation import uncovered
from helpers.attribution.progress import in_chunks


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
