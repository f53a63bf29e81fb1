"""Maps that know nothing of the network: what an explanation must beat before its grade means anything."""

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.attribution.contract import check_pictures


def random_maps(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return noise, uniform from 0 to 1, [N, H, W], for pictures [N, C, H, W]; each picture has its own.

    Args:
        x: the pictures.
        generator: source of the noise, on the CPU; a fresh one with seed 0 unless given. In a loop over batches give
            one, or every batch gets the same maps.

    Raises:
        TypeError, ValueError: pictures that cannot be used.
    """
    x = check_pictures(x)
    generator = generator or torch.Generator().manual_seed(0)
    return torch.stack([torch.rand(x.shape[2:], generator=generator) for _ in x]).to(x)


def centred_gaussian(x: Tensor, width: float = 0.25) -> Tensor:
    """Return a bell in the middle of each picture, [N, H, W]: photographers put the object there.

    Args:
        x: pictures [N, C, H, W].
        width: standard deviation, as a share of the picture's height and of its width.

    Raises:
        TypeError, ValueError: pictures that cannot be used, or a width that is not positive.
    """
    x = check_pictures(x)
    if not 0 < width < float("inf"):
        raise ValueError(
            f"width is {width}; give the bell's standard deviation as a share of the picture, such as 0.25."
        )
    down, right = ((torch.arange(side).to(x) + 0.5) / side - 0.5 for side in x.shape[2:])
    bell = torch.exp(-(down.square()[:, None] + right.square()) / (2 * width**2))
    return bell.expand(len(x), -1, -1).clone()


def absolute_input(x: Tensor) -> Tensor:
    """Return the mean of |x| over channels, [N, H, W], for pictures [N, C, H, W].

    In pictures that are normalised for a network this is the distance from the mean colour.

    Raises:
        TypeError, ValueError: pictures that cannot be used.
    """
    return check_pictures(x).abs().mean(1)


def sobel(x: Tensor) -> Tensor:
    """Return how steep each picture is, [N, H, W]: the length of its gradient by Sobel's filters, over all channels.

    Per pixel step and in the units of ``x`` [N, C, H, W]; the picture's edge is continued outwards.

    Raises:
        TypeError, ValueError: pictures that cannot be used.
    """
    x = check_pictures(x)
    smooth, slope = torch.tensor([0.25, 0.5, 0.25]).to(x), torch.tensor([-0.5, 0.0, 0.5]).to(x)
    right = smooth[:, None] * slope
    filters = torch.stack([right, right.T])[:, None]
    channels = F.pad(x, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    slopes = F.conv2d(channels, filters).view(len(x), -1, *x.shape[2:])  # [N, 2 C, H, W]
    return slopes.square().sum(1).sqrt()
