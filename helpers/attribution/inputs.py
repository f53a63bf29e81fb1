"""What a network takes: pictures [N, C, H, W], or texts [N, C, L], which are rows of L words with C numbers each.

The methods treat them alike. Where the two differ, in how many directions they have and in what things are called,
it stands here.
"""

from typing import NamedTuple

from torch import Tensor, nn


class Kind(NamedTuple):
    """One kind of input, and the words for it."""

    one: str
    dims: int
    shape: str
    maps: str  # what a layer gives for it
    values: str  # what C counts
    spot: str  # what has these C values
    as_floats: str  # cures
    fitting: str
    sides: str


PICTURE = Kind(
    one="picture",
    dims=4,
    shape="[N, C, H, W]",
    maps="[N, K, h, w]",
    values="channels",
    spot="colour",
    as_floats="turn them into floats as the network expects, with preprocess",
    fitting="use the preprocess that belongs to the network",
    sides="whole pixels, 1 or more, or two such numbers, (rows, columns)",
)
TEXT = Kind(
    one="text",
    dims=3,
    shape="[N, C, L]",
    maps="[N, K, l]",
    values="numbers a word",
    spot="word",
    as_floats="look up each word's vector and give these numbers",
    fitting="give [N, C, L], each word a column, with the word vectors that belong to the network",
    sides="how many words, 1 or more",
)


def kind(x: Tensor) -> Kind:
    """Return what ``x`` is by its shape: a batch of texts, if it has three dimensions, else of pictures."""
    return TEXT if isinstance(x, Tensor) and x.dim() == TEXT.dims else PICTURE


def kind_for(model: nn.Module | None) -> Kind:
    """Return what ``model`` takes: texts, if its first convolution is a Conv1d, else pictures."""
    return TEXT if model is not None and isinstance(first_convolution(model), nn.Conv1d) else PICTURE


def first_convolution(model: nn.Module) -> nn.Conv1d | nn.Conv2d | None:
    """Return the convolution that stands first among the modules of ``model``, or None."""
    return next((module for module in model.modules() if isinstance(module, nn.Conv1d | nn.Conv2d)), None)


def places(maps: Tensor) -> tuple[int, ...]:
    """Return the dimensions of ``maps`` that count places, all behind [N, K]: (2, 3) for pictures, (2,) for texts."""
    return tuple(range(2, maps.dim()))


def check_layer(maps: Tensor, x: Tensor) -> Tensor:
    """Return ``maps``, what a layer gives for ``x``, after checking that they are maps in as many directions as ``x``.

    Raises:
        ValueError: another shape, such as that of a linear layer.
    """
    if maps.dim() != x.dim():
        raise ValueError(f"The layer gives {list(maps.shape)}, not maps {kind(x).maps}: choose a convolutional layer.")
    return maps
