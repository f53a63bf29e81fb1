"""From what a layer gives to maps [N, K, h, w]: by the caller's ``as_maps``, or by a guess, and an error if unsure."""

import torch
from torch import Tensor, nn
from torch.nn.modules import batchnorm, conv, pooling

from helpers.attribution._common import TEXT, kind, wide
from helpers.hooks import Maps, channels_last_as_maps, tokens_as_maps
from helpers.hooks.as_maps import AsMaps

# Modules whose channels are in the second dimension, whatever the shape looks like
_CHANNELS_FIRST = (
    *(conv._ConvNd, batchnorm._NormBase, nn.GroupNorm),
    *(pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveMaxPoolNd, pooling._AdaptiveAvgPoolNd),
)
# Classes of other packages, by name, so that they need not be imported
_CHANNELS_LAST_NAMES = {"SwinTransformerBlock", "SwinTransformerBlockV2", "PatchMerging", "PatchMergingV2"}
_TOKEN_NAMES = {"EncoderBlock", "Encoder", "Block", "TransformerEncoderLayer", "TransformerEncoder", "MLPBlock"}
_SHAPE_KEEPING = (nn.Dropout, nn.Identity, nn.ReLU, nn.GELU, nn.SiLU)


def arrangement(module: nn.Module, output: Tensor, x: Tensor, as_maps: AsMaps | None) -> AsMaps:
    """Return the function that makes maps [N, K, h, w] of what ``module`` gives, and of its gradient alike.

    Args:
        module: the layer.
        output: what it gave for ``x``.
        x: pictures [N, C, H, W], or texts [N, C, L], whose maps are [N, K, l].
        as_maps: the caller's function; ``None`` for a guess by what kind of module it is, and by the picture's sides.

    Raises:
        ValueError: the output is no maps, or could be read in a way that is not certain; or ``as_maps`` does more than
            move values.
    """
    arrange = _guess(module, output, x) if as_maps is None else as_maps
    if arrange is _as_it_is:
        return arrange
    if not callable(arrange):
        raise TypeError(f"as_maps is a {type(arrange).__name__}; give a function, such as tokens_as_maps(grid=(h, w)).")
    count = output[0].numel()
    order = torch.randperm(2 * count, generator=torch.Generator().manual_seed(0))
    numbers = (order - count).double().view(2, *output.shape[1:])  # two rows of shuffled numbers of both signs
    moved = arrange(numbers)
    if not isinstance(moved, Tensor) or moved.dim() != x.dim() or len(moved) != 2 or not moved.numel():
        shape = list(moved.shape) if isinstance(moved, Tensor) else type(moved).__name__
        raise ValueError(f"as_maps makes {shape} of two rows of {list(output.shape)}; it must give {kind(x).maps}.")
    if not _only_moves(moved, order, count):
        raise ValueError(
            "as_maps must only move the values of the layer's output (permute, reshape, leave some out), since the "
            "same is done to their gradient: choose a layer behind what else it does."
        )
    return arrange


def _only_moves(moved: Tensor, order: Tensor, count: int) -> bool:
    """Return whether ``moved`` has the numbers ``order - count`` at other places, none twice, alike in both rows."""
    found = moved.double().flatten(1) + count
    if not bool((found == found.round()).all()) or not 0 <= found.min() <= found.max() < len(order):
        return False
    first, second = order.argsort()[found.long()]  # where each number stood
    return first.max() < count and bool((second == first + count).all()) and int(first.bincount().max()) == 1


def output_of(record: Maps, module: nn.Module) -> Tensor:
    """Return what ``module`` gave, as captured.

    Raises:
        ValueError: the model never called it.
    """
    if not record.ran:
        raise ValueError(f"The model never calls this {type(module).__name__}: choose a layer that it runs.")
    return record.activations


def layer_maps(record: Maps, module: nn.Module, x: Tensor, as_maps: AsMaps | None) -> Tensor:
    """Return the maps [N, K, h, w] of a captured layer, detached, at least in float32; errors as in `arrangement`."""
    output = output_of(record, module)
    return wide(arrangement(module, output, x, as_maps)(output.detach()))


def _as_it_is(output: Tensor) -> Tensor:
    return output


def _guess(module: nn.Module, output: Tensor, x: Tensor) -> AsMaps:
    last, shape, due = _gives_the_output(module), list(output.shape), kind(x)
    channels_last = _channels_last(last, shape)
    if len(output) == len(x) and output.dim() == x.dim():
        if channels_last:
            return channels_last_as_maps
        sure = due is TEXT or isinstance(last, _CHANNELS_FIRST) or type(last).__name__ == "Permute"
        if sure or _fits(shape[2:], x) or not _fits(shape[1:3], x):
            return _as_it_is
        raise ValueError(
            f"The layer gives {shape}, whose places fit the picture only with the channels last: write "
            "as_maps=channels_last_as_maps, from helpers.hooks, or as_maps=lambda output: output if they are not."
        )
    if len(output) == len(x) and output.dim() == 3 and due is not TEXT:
        grids = square_grids(shape[1], x)
        if len(grids) == 1 and (channels_last or type(last).__name__ in _TOKEN_NAMES):
            return tokens_as_maps(*grids[0])
        grid, skip = grids[0] if len(grids) == 1 else ("(h, w)", "...")
        raise ValueError(
            f"The layer gives {shape}, not maps {due.maps}: choose a convolutional layer, or, if these are tokens, "
            f"write as_maps=tokens_as_maps(grid={grid}, skip={skip}), from helpers.hooks."
        )
    raise ValueError(f"The layer gives {shape}, not maps {due.maps}: choose a convolutional layer.")


def _gives_the_output(module: nn.Module) -> nn.Module:
    """Return the module inside of a Sequential that decides on the shape of its output."""
    while isinstance(module, nn.Sequential) and len(module):
        inner = [part for part in module if not isinstance(part, _SHAPE_KEEPING)]
        module = inner[-1] if inner else module[-1]
    return module


def _channels_last(module: nn.Module, shape: list[int]) -> bool:
    """Return whether the module's channels stand in the last dimension of its output."""
    name = type(module).__name__
    if name == "Permute":  # torchvision's
        return list(getattr(module, "dims", ())) == [0, 2, 3, 1]
    if type(module) is nn.Linear:
        return module.out_features == shape[-1]
    if type(module) is nn.LayerNorm:  # not LayerNorm2d, which has its channels in the second dimension
        return list(module.normalized_shape) == shape[-1:]
    return name in _CHANNELS_LAST_NAMES


def _fits(sides: list[int], x: Tensor) -> bool:
    """Return whether maps of these sides are the picture at one scale, up to one place."""
    low = max(picture / (side + 1) for picture, side in zip(x.shape[2:], sides, strict=True))
    high = min(
        picture / (side - 1) if side > 1 else float("inf") for picture, side in zip(x.shape[2:], sides, strict=True)
    )
    return low < high


def square_grids(tokens: int, x: Tensor) -> list[tuple[tuple[int, int], int]]:
    """Return the grids ((h, w), skip) of square patches that give so many tokens, with a class token and without."""
    H, W = x.shape[2:]
    found = {((H // p, W // p), skip) for p in range(1, min(H, W) + 1) for skip in (0, 1)}
    return sorted((grid, skip) for grid, skip in found if grid[0] * grid[1] + skip == tokens)
