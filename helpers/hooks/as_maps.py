"""How a layer's output becomes maps [N, K, h, w], where it does not come as such.

Convolutions give maps. Transformers give **tokens** [N, T, K], a row of places that may begin with a class token, and
some networks keep the **channels last**, [N, h, w, K]. The functions here re-arrange such outputs; they are what the
keyword ``as_maps`` of the methods in :mod:`helpers.attribution` takes, and any function that only moves values will do.
"""

import math
from collections.abc import Callable

from torch import Tensor

AsMaps = Callable[[Tensor], Tensor]


def channels_last_as_maps(output: Tensor) -> Tensor:
    """Return maps [N, K, h, w] from an output [N, h, w, K], or [N, K, l] from [N, l, K].

    This is how the stages of a Swin transformer and the inside of a ConvNeXt block keep their values.

    Args:
        output: what the layer gives, with its K channels in the last dimension.

    Returns:
        The same values, a view of them, with the channels in the second dimension.

    Raises:
        ValueError: fewer than three dimensions.

    Source:
        Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", 2021.

    Example:
        >>> import torch
        >>> from helpers.hooks import channels_last_as_maps
        >>> channels_last_as_maps(torch.zeros(2, 7, 7, 768)).shape
        torch.Size([2, 768, 7, 7])
    """
    if output.dim() < 3:
        raise ValueError(f"The layer gives {list(output.shape)}, which has no places: choose a layer before it.")
    return output.movedim(-1, 1)


def tokens_as_maps(grid: tuple[int, ...] | None = None, skip: int = 1) -> AsMaps:
    """Return the function that makes maps [N, K, h, w] of tokens [N, T, K], with T = skip + h w.

    A vision transformer cuts the picture into patches, row by row, and puts a class token before them.

    Args:
        grid: (h, w), how many patches the picture has from top to bottom and from left to right; unless given, the
            patches must form a square. For texts (l,).
        skip: how many tokens at the beginning are no patches: 1 class token, or more with registers.

    Returns:
        A function output [N, T, K] -> maps [N, K, h, w], for the keyword ``as_maps``.

    Raises:
        ValueError: later, for an output that is not [N, skip + h w, K].

    Source:
        Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", 2021.

    Example:
        >>> import torch
        >>> from helpers.hooks import tokens_as_maps
        >>> tokens_as_maps(grid=(2, 3))(torch.zeros(1, 7, 16)).shape
        torch.Size([1, 16, 2, 3])
    """

    def arrange(output: Tensor) -> Tensor:
        count = output.shape[1] - skip if output.dim() == 3 else 0
        side = math.isqrt(max(count, 0))
        sides = (side, side) if grid is None else tuple(grid)
        if count < 1 or math.prod(sides) != count:
            raise ValueError(
                f"The layer gives {list(output.shape)}, not [N, {skip} + {' x '.join(map(str, sides))}, K]: write "
                "as_maps=tokens_as_maps(grid=(h, w), skip=...) with h w patches behind skip other tokens."
            )
        return output[:, skip:].mT.unflatten(2, sides)

    return arrange
