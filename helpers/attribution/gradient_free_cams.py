"""Class activation maps without gradients.

Score-CAM weights each map by the score of the picture masked with it, Ablation-CAM by what the score loses without the
map, and Eigen-CAM takes the first principal component of the maps.

In the formulas A_k is map number k of the layer, h x w values.
"""

from typing import Any

import torch
from torch import Tensor, einsum, nn

from helpers.attribution._common import (
    Target,
    as_called,
    check_pictures,
    explaining,
    fast_layout,
    of_rows,
    places,
    quick,
    read,
    run,
    score,
    scores_of,
    settle,
    warn_if_rounded_away,
    which,
    wide,
)
from helpers.attribution._layer_maps import arrangement, layer_maps, output_of
from helpers.attribution._speed import folded
from helpers.attribution.maps import upsample
from helpers.attribution.progress import in_chunks
from helpers.hooks import capture, find_layer, split_at
from helpers.hooks.as_maps import AsMaps


def score_cam(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: str | nn.Module,
    as_maps: AsMaps | None = None,
    chunk: int | None = None,
    align_corners: bool = False,
) -> Tensor:
    r"""Return the Score-CAM of a layer (Wang et al., 2020): each map weighted by the score of the picture masked by it.

    .. math:: M = \mathrm{relu}\Big(\sum_k w_k A_k\Big), \quad w = \mathrm{softmax}_k\; y_c(x \odot s(U A_k))

    U enlarges a map to the picture, bilinear, and s brings it to [0, 1]. One forward pass for the maps, and one for
    each map of each picture that varies from place to place; a map with one value everywhere (a dead channel)
    masks the whole picture, and all such maps share one pass of a picture of zeros. The paper also subtracts the score
    of a baseline picture from each y_c; this constant does not change the softmax.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        layer: module, or name of a module, that gives maps [N, K, h, w]; best behind a ReLU.
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.
        chunk: how many masked pictures go through the network at once, which bounds the memory; as many as are fast
            unless given.
        align_corners: how U places the map's values: ``False`` at the centres of its cells, ``True`` out to the
            picture's corners.

    Returns:
        Raw maps [N, h, w], detached, at least in float32, never negative.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.

    Source:
        Wang, Wang, Du, Yang, Zhang, Ding, Mardziel and Hu, "Score-CAM: Score-Weighted Visual Explanations for
        Convolutional Neural Networks", 2020.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.score_cam(net, torch.rand(2, 3, 8, 8), target=1, layer="1").shape
        torch.Size([2, 6, 6])
    """
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        with capture(module) as record:
            answer = run(model, x, target)
        maps, settled_target = layer_maps(record, module, x, as_maps), settle(answer, target)
        quicker = _folded_model(model, x)
        scores = _scores_of_nothing(model, x, settled_target)[:, None].repeat(1, maps.shape[1])
        varies = (maps.amax(places(maps)) > maps.amin(places(maps))).nonzero()
        for numbers in in_chunks(len(varies), chunk, "Score-CAM", x):
            picture, channel = varies[numbers.to(varies.device)].unbind(1)
            mask = _zero_to_one(upsample(maps[picture, channel], x.shape[2:], align_corners=align_corners))
            masked = (x[picture] * mask[:, None]).to(x.dtype)
            scores[picture, channel] = scores_of(quicker, masked, of_rows(settled_target, picture))
        # Steps of 0.1 in the scores change a softmax weight by a tenth
        warn_if_rounded_away(model, scores - scores.mean(1, keepdim=True), scores, tolerated=0.1)
        return einsum("nk,nk...->n...", scores.softmax(1).to(maps), maps).relu()


def ablation_cam(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: str | nn.Module,
    as_maps: AsMaps | None = None,
    chunk: int | None = None,
    relu: bool = True,
) -> Tensor:
    r"""Return the Ablation-CAM of a layer (Desai and Ramaswamy, 2020): maps weighted by the loss of score without them.

    .. math:: M = \mathrm{relu}\Big(\sum_k w_k A_k\Big), \quad w_k = \frac{y_c - y_c(A_k = 0)}{y_c}

    The layers before ``layer`` run once (twice where a shortcut by-passes it); those behind it run once for each map of
    each picture that is not zero everywhere, see :func:`helpers.hooks.split_at`. For a head that averages, with class
    weights w_ck, the weight is ``w_ck mean(A_k) / y_c``.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
            The score must be positive.
        layer: module, or name of a module, that gives maps [N, K, h, w]; best behind a ReLU, where zero means absent.
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.
        chunk: how many versions of the maps go through the layers behind at once, which bounds the memory; as many
            as are fast unless given.
        relu: keep only what speaks for the class, as the paper does; ``False`` keeps the sign.

    Returns:
        Raw maps [N, h, w], detached, at least in float32.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a score that is negative, which would turn every weight's sign, or so near to zero that the fractions
            mean nothing.

    Source:
        Desai and Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization", 2020.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> positive = lambda logits: logits[:, 1].exp()
        >>> attribution.ablation_cam(net, torch.rand(2, 3, 8, 8), positive, layer="1").shape
        torch.Size([2, 6, 6])
    """
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        with capture(module) as record:
            answer = run(model, x, target)
        output, settled_target = output_of(record, module).contiguous(), settle(answer, target)
        arrange = arrangement(module, output, x, as_maps)
        maps, cells = wide(arrange(output)), _cells(arrange, output)
        behind, carried, y = _behind(model, module, x, output, settled_target, answer)
        _check_scores(y, answer, x)
        without = y[:, None].repeat(1, maps.shape[1])
        alive = (maps != 0).flatten(2).any(2).nonzero()
        for numbers in in_chunks(len(alive), chunk, "Ablation-CAM", maps):
            picture, channel = alive[numbers.to(alive.device)].unbind(1)
            changed = output[picture]
            changed.view(len(changed), -1).scatter_(1, cells[channel], 0)
            seen = behind(changed, *(tensor[picture] for tensor in carried))
            without[picture, channel] = score(seen, of_rows(settled_target, picture), len(changed))
        warn_if_rounded_away(model, y[:, None] - without, y)
        weights = (y[:, None] - without) / y[:, None]
        result = einsum("nk,nk...->n...", weights.to(maps), maps)
    return result.relu() if relu else result


def eigen_cam(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: str | nn.Module,
    as_maps: AsMaps | None = None,
) -> Tensor:
    r"""Return the Eigen-CAM of a layer: the pattern that its maps have most in common (Muhammad and Yeasin, 2020).

    .. math:: M = \sum_k v_k (A_k - \mathrm{mean}_{ij}(A_k))

    with v the first principal component over channels, the unit vector for which the squares of M sum to the most. Its
    sign is arbitrary, and is chosen so that the result grows with the sum of the maps. The paper does not subtract the
    means. **It does not depend on the class**: ``target`` is checked, as for every method, and not used, so all classes
    have the same map. One forward pass.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: as for every method, a class number, one for each picture, a function or ``None``; it changes nothing.
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.

    Returns:
        Raw signed maps [N, h, w], detached, at least in float32, with mean zero.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also maps that are the same at every place.

    Source:
        Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", 2020.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.eigen_cam(net, torch.rand(2, 3, 8, 8), layer="1").shape
        torch.Size([2, 6, 6])
    """
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        with capture(module) as record:
            scores_of(model, x, target)
        maps = layer_maps(record, module, x, as_maps)
        flat = maps.flatten(2)
        flat = flat - flat.mean(2, keepdim=True)
        if (same := (flat == 0).all(2).all(1)).any():
            raise ValueError(
                f"{which(same, x)}: every map of this layer is the same at all places, so there is no component; "
                "choose another layer."
            )
        size = flat.abs().amax((1, 2), keepdim=True)
        flat = flat / size  # else the squares of very large or small values leave the range of numbers
        result = _first_component(flat)
        along = (result * flat.sum(1)).sum(1, keepdim=True)
        return (torch.where(along < 0, -result, result) * size[:, 0]).unflatten(1, maps.shape[2:])


def _folded_model(model: nn.Module, x: Tensor) -> nn.Module:
    """Return a quicker network that gives what ``model`` gives, or the model itself."""
    with as_called(x.device):
        return folded(model, quick(x[:1]), model(x[:1].clone()), turn=fast_layout())


def _scores_of_nothing(model: nn.Module, x: Tensor, settled_target: Any) -> Tensor:
    """Return the score of a picture of zeros for each picture's settled target, [N]."""
    empty = torch.zeros_like(x[:1])
    if callable(settled_target):
        return scores_of(model, empty, settled_target).expand(len(x))
    return score(run(model, empty).expand(len(x), -1), settled_target)


def _zero_to_one(maps: Tensor) -> Tensor:
    """Return maps [R, H, W], each moved and scaled so that it goes from 0 to 1."""
    maps = maps - maps.flatten(1).amin(1).view(-1, *[1] * (maps.dim() - 1))
    return maps / maps.flatten(1).amax(1).clamp_min(torch.finfo(maps.dtype).tiny).view(-1, *[1] * (maps.dim() - 1))


def _cells(arrange: AsMaps, output: Tensor) -> Tensor:
    """Return where in a layer's flattened output the values of each map stand, int64 [K, h w]."""
    numbers = torch.arange(output[0].numel(), dtype=torch.float64).view(1, *output.shape[1:])
    return arrange(numbers).flatten(2)[0].long().to(output.device)


def _behind(model: nn.Module, module: nn.Module, x: Tensor, output: Tensor, settled_target: Any, answer: Any):
    """Return the network behind a layer, what by-passes the layer, and the scores [N] that the two give.

    The short way is compared with the model's own scores; where it is wrong, the safe way is taken.
    """
    own = score(answer, settled_target, len(x))
    for follow in (True, False):
        with as_called(x.device):
            trunk, head = split_at(model, module, follow=follow)
            carried = trunk(x.clone())[1:] if trunk.carries else ()

        def behind(maps: Tensor, *carried: Tensor, head=head) -> Any:
            with as_called(maps.device):
                return read(head(maps, *carried), len(maps), settled_target)

        y = score(behind(output, *carried), settled_target, len(x))
        if torch.allclose(y, own, 1e-3, 1e-4 * own.abs().max().item()):
            break
    return behind, carried, y


def _check_scores(y: Tensor, answer: Any, x: Tensor) -> None:
    """Raise ValueError if one of the scores ``y`` [N] is negative or near zero, compared with the largest logit."""
    size = wide(answer).abs().flatten(1).amax(1) if isinstance(answer, Tensor) and answer.dim() > 1 else y.abs()
    if (bad := y <= 1e-3 * size).any():
        raise ValueError(
            f"Ablation-CAM divides by the score, and here one is {y.min():.3g} ({which(bad, x).lower()}): near zero "
            "the fractions explode, below it they change sign. Choose another class, or a score that is positive, for "
            "example target=lambda logits: logits[:, c] - logits.mean(1)."
        )


def _first_component(flat: Tensor) -> Tensor:
    """Return the centred maps [N, K, P] projected on their first principal component, [N, P].

    Found from the smaller Gram matrix, of channels or of places, which costs far less than the maps' singular vectors;
    its eigenvectors are computed on the CPU, in double precision, which not every device has.
    """
    places_are_fewer = flat.shape[2] <= flat.shape[1]
    gram = flat.mT @ flat if places_are_fewer else flat @ flat.mT
    values, vectors = torch.linalg.eigh(gram.cpu().double())
    first = vectors[:, :, -1]
    if places_are_fewer:  # the eigenvector is the projection, but for its length
        return (first * values[:, -1:].sqrt()).to(flat)
    return einsum("nk,nkp->np", first.to(flat), flat)
