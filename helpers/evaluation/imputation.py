"""Removed pixels filled in from their neighbours: the noisy linear imputation of ROAD."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from helpers.attribution._common import check_pictures, source_of_noise

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def imputed(x: Tensor, removed: Tensor, *, noise: float = 0.01, generator: torch.Generator | None = None) -> Tensor:
    """Return the pictures with each removed pixel the weighted mean of its eight neighbours, and a little noise.

    A patch of one colour, as :func:`deletion` puts in by default, has an outline, and the network's score may depend on
    that outline; imputed pixels have none (noisy linear imputation of ROAD; Rong et al., 2022). Neighbours that are
    removed as well count as what they become: for each picture one sparse system of equations, solved exactly, some
    tenths of a second for ten thousand pixels. As ``deletion(..., baseline=imputed)`` it makes the curves of ROAD.

    Args:
        x: pictures [N, C, H, W].
        removed: bool [N, H, W], the pixels that are gone. Where none is left, all are 0.
        noise: its standard deviation, in the units of ``x``; 0 for none.
        generator: source of the noise, on the CPU, the same for all pictures; a fresh one with seed 0 unless given.

    Returns:
        New pictures [N, C, H, W]; pixels that are not removed are as they were.

    Raises:
        TypeError, ValueError: pictures, removed pixels or noise that cannot be used; the message names the cure.

    >>> import torch
    >>> from helpers import evaluation
    >>> x = torch.arange(25.0).view(1, 1, 5, 5)  # an even slope
    >>> removed = torch.zeros(1, 5, 5, dtype=torch.bool)
    >>> removed[0, 1:4, 1:4] = True
    >>> torch.allclose(evaluation.imputed(x, removed, noise=0), x, atol=1e-4)  # comes back
    True
    """
    x = check_pictures(x)
    if not isinstance(removed, Tensor) or removed.dtype != torch.bool or removed.shape != x[:, 0].shape:
        given = f"{removed.dtype} {list(removed.shape)}" if isinstance(removed, Tensor) else type(removed).__name__
        raise ValueError(f"removed is {given}; give which pixels are gone, bool {list(x[:, 0].shape)}.")
    if not 0 <= noise < float("inf"):
        raise ValueError(f"noise is {noise}; give its standard deviation in the units of x, 0 or more.")
    generator = source_of_noise(generator)
    grain = noise * torch.randn(x.shape[1:], generator=generator, dtype=torch.float32).to(x)
    weights = _neighbours(*x.shape[2:])
    for picture, gone in zip(x, removed.to(x.device), strict=True):
        if gone.any():
            known = picture[:, ~gone].double().cpu().numpy()
            found = _filled(weights, known, gone.flatten().cpu().numpy())
            picture[:, gone] = torch.from_numpy(found).to(picture) + grain[:, gone]
    return x


@cache
def _neighbours(height: int, width: int) -> "csr_array":
    """Return the weights of each pixel's neighbours, [P, P]: direct 1/6, diagonal 1/12, outside of the picture none."""
    from scipy import sparse  # only here: it takes half a second

    down, right = (sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)) for n in (height, width))
    straight = sparse.kron(down, sparse.eye_array(width)) + sparse.kron(sparse.eye_array(height), right)
    both = sparse.kron(down, right) + straight  # 1 for a diagonal neighbour, 2 for a straight one, 3 for itself
    return sparse.csr_array(both - 3 * sparse.eye_array(height * width)) / 12


def _filled(weights: "csr_array", known: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Return the values [C, R] of the pixels that are gone, from those that are known [C, P - R]."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    if not known.size:
        return np.zeros((len(known), gone.sum()))
    rows = weights[gone]
    system = sparse.diags_array(rows.sum(1)) - rows[:, gone]
    return spsolve(sparse.csc_array(system), rows[:, ~gone] @ known.T).reshape(gone.sum(), -1).T
