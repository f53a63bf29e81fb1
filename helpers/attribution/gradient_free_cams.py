"""Class activation maps without gradients: masks and scores, channels taken away, or the maps' main component."""

import torch
from torch import Tensor, einsum, nn

from helpers.attribution._common import (
    Target,
    check_layer,
    check_pictures,
    explaining,
    of_rows,
    places,
    quick,
    run,
    score,
    settle,
)
from helpers.attribution._folding import folded
from helpers.attribution.maps import upsample
from helpers.attribution.progress import in_chunks
from helpers.hooks import capture, find_layer, split_at


def score_cam(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: str | nn.Module,
    chunk: int | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Return the Score-CAM of a layer (Wang et al., 2020): maps weighted by the score of the picture seen through them.

    ``relu(sum_k w_k A_k)`` with ``w = softmax_k y_c(x * s(U A_k))``: U enlarges a map to the picture, bilinear, and s
    brings it to [0, 1]. One forward pass for the maps, and one for each map of each picture that varies from place to
    place; those that do not (dead channels) all mask everything, and share one pass of an empty picture.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        target: as for :func:`gradient`; a function is given the logits of many masked pictures, one a row.
        layer: module or name of a module that gives maps [N, K, h, w]; best behind a ReLU.
        chunk: how many masked pictures go through the network at once, which bounds the memory; as many as are fast
            unless given.
        align_corners: how U places the map's values: ``False`` at the centres of its cells, ``True`` out to the
            picture's corners.

    Returns:
        Raw maps [N, h, w], detached, never negative.

    Raises:
        TypeError, ValueError: pictures, target, layer or chunk that cannot be used; the message names the cure.
    """
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        with capture(module) as captured:
            logits = run(model, x)
        maps, question = check_layer(captured.activations, x), settle(logits, target)
        empty = run(model, torch.zeros_like(x[:1])).expand_as(logits)
        scores = score(empty, question)[:, None].repeat(1, maps.shape[1])
        varies = (maps.amax(places(maps)) > maps.amin(places(maps))).nonzero()
        light = folded(model, quick(x[:1]), logits[:1])
        for numbers in in_chunks(len(varies), chunk, "Score-CAM", x):
            picture, channel = varies[numbers.to(varies.device)].unbind(1)
            mask = upsample(maps[picture, channel], x.shape[2:], align_corners=align_corners)[:, None]
            mask = mask - mask.amin(places(mask), keepdim=True)
            mask /= mask.amax(places(mask), keepdim=True).clamp_min(torch.finfo(mask.dtype).tiny)
            seen = run(light, quick(x[picture] * mask))
            scores[picture, channel] = score(seen, of_rows(question, picture))
        return einsum("nk,nk...->n...", scores.softmax(1), maps).relu()


def ablation_cam(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: str | nn.Module,
    chunk: int | None = None,
    relu: bool = True,
) -> Tensor:
    """Return the Ablation-CAM of a layer (Desai and Ramaswamy, 2020): maps weighted by what the score loses without.

    ``relu(sum_k w_k A_k)`` with ``w_k = (y_c - y_c with A_k = 0) / y_c``. The layers before run once (twice
    where a shortcut by-passes the layer); those behind run once for each map of each picture that is not zero
    everywhere, see :func:`helpers.hooks.split_at`. For a head that averages, with class weights w_ck, the weight is
    ``w_ck mean(A_k) / y_c``.

    Args:
        model, x: as for :func:`score_cam`.
        target: as for :func:`gradient`; a function is given the logits of many versions of a picture, one a row. The
            score must be positive.
        layer: module or name of a module that gives maps [N, K, h, w]; best behind a ReLU, where zero means absent.
        chunk: how many versions of the maps go through the layers behind at once, which bounds the memory; as many
            as are fast unless given.
        relu: keep only what speaks for the class, as the paper does; ``False`` keeps the sign.

    Returns:
        Raw maps [N, h, w], detached.

    Raises:
        ValueError: a score is negative, which would turn every weight's sign, or so near to zero that the fractions
            mean nothing.
        TypeError, ValueError: pictures, target, layer or chunk that cannot be used; the message names the cure.
    """
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        x = quick(x) if len(x) > 2 else x
        with capture(module) as captured:
            logits = run(model, x)
        maps, question = check_layer(captured.activations, x), settle(logits, target)
        for follow in (True, False):  # the second way if the first does not give the model's logits
            trunk, head = split_at(model, module, follow=follow)
            carried = trunk(x)[1:] if trunk.carries else ()
            whole = head(maps, *carried)
            if torch.allclose(whole, logits, 1e-3, 1e-4 * logits.abs().max().item()):
                break
        y = score(whole, question)
        _check_scores(y, logits)
        without = y[:, None].repeat(1, maps.shape[1])
        alive = (maps != 0).flatten(2).any(2).nonzero()
        for numbers in in_chunks(len(alive), chunk, "Ablation-CAM", maps):
            picture, channel = alive[numbers.to(alive.device)].unbind(1)
            changed = maps[picture]
            changed[torch.arange(len(numbers), device=maps.device), channel] = 0
            seen = head(changed, *(tensor[picture] for tensor in carried))
            without[picture, channel] = score(seen, of_rows(question, picture))
        weights = (y[:, None] - without) / y[:, None]
        result = einsum("nk,nk...->n...", weights, maps)
    return result.relu() if relu else result


def eigen_cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: str | nn.Module) -> Tensor:
    """Return the Eigen-CAM of a layer: the pattern that its maps have most in common (Muhammad and Yeasin, 2020).

    The maps, each less its mean over places, are projected on their first principal component over channels; a
    component's sign is arbitrary, and is chosen so that the result grows with the sum of the maps. **No class enters**:
    ``target`` is checked, as for every method, and then left aside, so all classes have one map. One forward pass.

    Arguments as for :func:`score_cam`.

    Returns:
        Raw signed maps [N, h, w], detached, with mean zero.

    Raises:
        TypeError, ValueError: pictures, target or layer that cannot be used, or maps that are the same at every place.
    """
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        with capture(module) as captured:
            score(run(model, quick(x) if len(x) > 2 else x), target)
        maps = check_layer(captured.activations, x)
        flat = maps.flatten(2)
        flat = flat - flat.mean(2, keepdim=True)
        if (flat == 0).all(2).all(1).any():
            raise ValueError(
                "Every map of this layer is the same at all places: there is no component; choose another."
            )
        result = _first_component(flat)
        along = (result * flat.sum(1)).sum(1, keepdim=True)
        return torch.where(along < 0, -result, result).unflatten(1, maps.shape[2:])


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


def _check_scores(y: Tensor, logits: Tensor) -> None:
    if (y <= 1e-3 * logits.abs().amax(1)).any():
        raise ValueError(
            f"Ablation-CAM divides by the score, and here one is {y.min():.3g}: near zero the fractions explode, below "
            "it they change sign. Choose another class, or a score that is positive, for example "
            "target=lambda logits: logits[:, c] - logits.mean(1)."
        )
