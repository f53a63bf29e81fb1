"""Checker of lesson *transformers*: pictures turned by half a turn."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


@checker
def check_half_turn(function: Callable[[Tensor], Tensor]) -> str:
    """Check ``function(pictures [N, C, H, W]) -> [N, C, H, W]`` on random pictures that are not square."""
    pictures = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mistakes = {
        "nothing has changed.": pictures,
        "this is mirrored, left for right; the rows stay where they were.": pictures.flip(3),
        "this is upside down; the columns stay where they were.": pictures.flip(2),
        "this is a quarter of a turn.": lambda: pictures.rot90(1, (2, 3)),
        "rows and columns have changed places.": lambda: pictures.transpose(2, 3),
        "the colours are turned, too; leave the channels in their order.": pictures.flip(1, 2, 3),
        "the batch is turned, too; leave the pictures in their order.": pictures.flip(0, 2, 3),
    }
    given = pictures.clone()
    name_the_mistake(ask(function, given), mistakes, pictures.flip(2, 3), what="the turned batch")
    if not torch.equal(given, pictures):
        raise Wrong("the values are right, but the pictures that you were given have changed; return new ones.")
    return "half a turn, for pictures of any shape."
