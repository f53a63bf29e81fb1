"""The grid pointing game (Böhle et al., 2021): several pictures in one, and which of them a map points at."""

from typing import NamedTuple

import torch
from torch import Tensor

from helpers.attribution import upsample
from helpers.evaluation.scores import mass_accuracy, pointing


class GridPointing(NamedTuple):
    """What maps score in the grid pointing game, [N] each.

    Attributes:
        share: how much of a map's positive part lies in the cell that was asked for; NaN where there is none.
        hit: whether its highest value lies there.
        chance: what a constant map scores in both: the cell's share of the picture.

    >>> from helpers import evaluation
    >>> evaluation.GridPointing._fields
    ('share', 'hit', 'chance')
    """

    share: Tensor
    hit: Tensor
    chance: Tensor


def grid_pointing(maps: Tensor, masks: Tensor) -> GridPointing:
    """Return how well maps find the cell of the class that they were asked for.

    Compare with two controls: with ``chance``, and with the mean of all feature maps
    (:func:`helpers.evaluation.mean_of_maps`), which knows nothing of the class and is the same for all cells.

    Args:
        maps: one for each question, signed, [N, h, w] of any size; they are enlarged bilinearly to that of the masks.
        masks: bool [N, H, W], the cell of the class that map n was asked for; arrays will do.

    Returns:
        The scores, :class:`GridPointing`.

    Raises:
        TypeError, ValueError: maps or masks that cannot be scored; the message names the cure.

    >>> import torch
    >>> from helpers import evaluation
    >>> maps = torch.tensor([[[3.0, 1.0], [0.0, -4.0]]])
    >>> masks = torch.zeros(1, 2, 2, dtype=torch.bool)
    >>> masks[0, 0, 0] = True
    >>> scores = evaluation.grid_pointing(maps, masks)
    >>> scores.share, scores.hit, scores.chance
    (tensor([0.7500]), tensor([1.]), tensor([0.2500]))
    """
    masks = torch.as_tensor(masks)
    if maps.dim() != 3 or masks.dim() != 3 or len(maps) != len(masks):
        raise ValueError(
            f"The maps have shape {list(maps.shape)} and the masks {list(masks.shape)}; give [N, h, w] and [N, H, W], "
            "the cell that each map was asked for."
        )
    large = upsample(maps, tuple(masks.shape[1:]))
    return GridPointing(mass_accuracy(large, masks), pointing(large, masks), masks.flatten(1).float().mean(1))
