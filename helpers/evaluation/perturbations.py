"""What can be done to a picture: pixels replaced by a baseline, noise, squares at random."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.attribution.contract import filled

Perturb = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]  # -> what meets the attribution; the new pictures


def noise(level: float = 0.1) -> Perturb:
    """Return a disturbance for :func:`infidelity`: normal noise, ``level`` times the picture's range, subtracted.

    For attributions per unit of x, such as a gradient. All pictures of a batch get the same noise, each in its own
    strength.

    Raises:
        ValueError: a level that is not positive; later, a picture of one value, which has no range.
    """
    if not 0 < level < float("inf"):
        raise ValueError(f"level is {level}; give the noise as a share of the picture's range, such as 0.1.")

    def perturb(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        spread = level * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        if (spread == 0).any():
            raise ValueError("A picture has one value everywhere, and a share of its range is no noise: use squares().")
        change = spread * torch.randn(x.shape[1:], generator=generator, dtype=torch.float32).to(x)
        return change, x - change

    return perturb


def squares(side: int, *, baseline: float | Tensor = 0.0, multiplied: bool = False) -> Perturb:
    """Return a disturbance for :func:`infidelity`: a square at random, the same for all pictures, is the baseline.

    Squares may reach over the edge, so that every pixel is covered equally often.

    Args:
        side: of the square, in pixels.
        baseline: a number, or a tensor that broadcasts to the pictures.
        multiplied: whether the attribution already holds the factor x - baseline (gradient x input, integrated
            gradients, LRP): then it is summed over the square, and else multiplied with x - baseline there.

    Raises:
        ValueError: a side that is no positive whole number; later, a baseline that does not fit the pictures.
    """
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise ValueError(f"side is {side!r}; give whole pixels, 1 or more.")

    def perturb(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        plain, lines = filled(baseline, x), []
        for length in x.shape[2:]:
            first = int(torch.randint(1 - side, length, (), generator=generator))
            pixel = torch.arange(length, device=x.device)
            lines.append((first <= pixel) & (pixel < first + side))
        inside = (lines[0][:, None] & lines[1]).expand_as(x)
        return (inside.to(x) if multiplied else (x - plain) * inside), torch.where(inside, plain, x)

    return perturb
