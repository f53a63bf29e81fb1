"""Maps made without the network, or without the class: an explanation must score higher before it means anything.

For pictures [N, C, H, W] they are [N, H, W], for texts [N, C, L] they are [N, L]. As no network tells them apart here,
one picture [C, H, W] that lacks its batch dimension counts as C texts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.attribution._common import TEXT, check_kind, check_pictures, explaining, kind, run, source_of_noise, wide
from helpers.attribution._layer_maps import layer_maps
from helpers.hooks import capture, find_layer
from helpers.hooks.as_maps import AsMaps


def random_maps(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return noise, uniform from 0 to 1, [N, H, W], for pictures [N, C, H, W]; each picture, or text, has its own.

    Args:
        x: the pictures, or texts.
        generator: source of the noise, on the CPU; a fresh one with seed 0 unless given. In a loop over batches give
            one, or every batch gets the same maps.

    Returns:
        Values from 0 to 1, [N, H, W], or [N, L] for texts.

    Raises:
        TypeError, ValueError: pictures that cannot be used.

    >>> import torch
    >>> from helpers import evaluation
    >>> evaluation.random_maps(torch.rand(2, 3, 4, 5)).shape
    torch.Size([2, 4, 5])
    """
    x = check_kind(x, kind(x))
    generator = source_of_noise(generator)
    return torch.stack([torch.rand(x.shape[2:], generator=generator) for _ in x]).to(x)


def centred_gaussian(x: Tensor, width: float = 0.25) -> Tensor:
    """Return a Gaussian in the middle of each picture, [N, H, W], where photographs often have their object.

    Args:
        x: pictures [N, C, H, W], or texts, whose middle has no such meaning.
        width: standard deviation, as a share of the picture's height and of its width, or of the text's length.

    Returns:
        Values from 0 to 1, [N, H, W], or [N, L] for texts, the same for each; in float32 at least.

    Raises:
        TypeError, ValueError: pictures that cannot be used, or a width that is not positive.

    >>> import torch
    >>> from helpers import evaluation
    >>> maps = evaluation.centred_gaussian(torch.rand(1, 3, 5, 5))
    >>> maps.flatten(1).argmax(1)  # the middle of 25 pixels
    tensor([12])
    """
    x = wide(check_kind(x, kind(x)))  # half precision cannot count more than some hundred pixels
    if not 0 < width < float("inf"):
        raise ValueError(
            f"width is {width}; give the Gaussian's standard deviation as a share of the picture, such as 0.25."
        )
    from_middle = [(torch.arange(side).to(x) + 0.5) / side - 0.5 for side in x.shape[2:]]
    squares = sum(part.square() for part in torch.meshgrid(from_middle, indexing="ij"))
    return torch.exp(-squares / (2 * width**2)).expand(len(x), *x.shape[2:]).clone()


def mean_of_maps(model: nn.Module, x: Tensor, *, layer: str | nn.Module, as_maps: AsMaps | None = None) -> Tensor:
    """Return the mean of all feature maps of a layer, [N, h, w]: where the network reacts, to whatever class.

    It is **class-blind**: no score, no weight of the last layer and no gradient goes into it. On a picture of one
    object it often points as well as a class activation map. Only where several objects are seen does a method show
    that it follows the class that it is asked for.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; left as it was.
        x: pictures [N, C, H, W], or texts [N, C, L].
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives; a guess where it is safe unless given.

    Returns:
        Maps [N, h, w], detached, at least in float32.

    Raises:
        TypeError, ValueError: a model, pictures or a layer that cannot be used.

    >>> import torch
    >>> from torch import nn
    >>> from helpers import evaluation
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    >>> evaluation.mean_of_maps(net, torch.rand(2, 3, 8, 8), layer="1").shape
    torch.Size([2, 6, 6])
    """
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        with capture(module) as record:
            run(model, x)
        return layer_maps(record, module, x, as_maps).mean(1)


def absolute_input(x: Tensor) -> Tensor:
    """Return the mean of |x| over channels, [N, H, W], for pictures [N, C, H, W]; over a word's numbers for texts.

    In pictures that are normalised for a network this is the distance from the mean colour.

    Args:
        x: pictures [N, C, H, W], or texts [N, C, L].

    Returns:
        Values of 0 or more, [N, H, W], or [N, L] for texts, in the units of ``x``; in float32 at least.

    Raises:
        TypeError, ValueError: pictures that cannot be used.

    >>> import torch
    >>> from helpers import evaluation
    >>> evaluation.absolute_input(torch.tensor([[[[1.0, -2.0]], [[3.0, 0.0]]]]))
    tensor([[[2., 1.]]])
    """
    return wide(check_kind(x, kind(x))).abs().mean(1)


def sobel(x: Tensor) -> Tensor:
    """Return how steep each picture is, [N, H, W]: the length of its gradient by Sobel's filters, over all channels.

    Args:
        x: pictures [N, C, H, W]; the picture's edge is continued outwards.

    Returns:
        Values of 0 or more, [N, H, W], per pixel step and in the units of ``x``; in float32 at least.

    Raises:
        TypeError, ValueError: pictures that cannot be used, such as texts, which have no edges to find.

    >>> import torch
    >>> from helpers import evaluation
    >>> evaluation.sobel(torch.arange(5.0).expand(1, 1, 5, 5))[0, 2]  # it rises by 1 a pixel; half of that at the edge
    tensor([0.5000, 1.0000, 1.0000, 1.0000, 0.5000])
    """
    if kind(x) is TEXT:
        raise ValueError(
            f"Sobel's filters find edges in pictures, and shape {list(x.shape)} is that of texts: give [N, C, H, W], "
            "one picture as x[None], and for texts take absolute_input."
        )
    x = wide(check_pictures(x))
    smooth, slope = torch.tensor([0.25, 0.5, 0.25]).to(x), torch.tensor([-0.5, 0.0, 0.5]).to(x)
    right = smooth[:, None] * slope
    filters = torch.stack([right, right.T])[:, None]
    channels = F.pad(x, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    slopes = F.conv2d(channels, filters).view(len(x), -1, *x.shape[2:])  # [N, 2 C, H, W]
    return slopes.square().sum(1).sqrt()
