"""Class activation maps that weight a layer's maps by gradients: one pass through the network serves them all."""

import torch
from torch import Tensor, autograd, einsum, nn

from helpers.attribution._common import Target, check_layer, check_pictures, explaining, places, quick, run, score
from helpers.attribution.gradients import guided_backprop
from helpers.attribution.maps import upsample
from helpers.hooks import capture, find_layer

Layer = str | nn.Module


def grad_cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer, relu: bool = True) -> Tensor:
    """Return the Grad-CAM of a layer, ``relu(sum_k mean_ij(G_k) A_k)`` (Selvaraju et al., 2017).

    A are the layer's maps and G = dy_c/dA their gradients. One forward pass; the backward pass goes from the score to
    the layer and no further.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        target: as for :func:`gradient`.
        layer: module or name of a module that gives maps [N, K, h, w].
        relu: keep only what speaks for the class, as the paper does; ``False`` keeps the sign.

    Returns:
        Raw maps [N, h, w], detached. A map may be zero everywhere: then no place spoke for the class, and
        ``relu=False`` shows what spoke against it.

    Raises:
        TypeError, ValueError: pictures, target or layer that cannot be used; the message names the cure.
    """
    return _one("grad_cam", model, x, target, layer, relu)


def grad_cam_plus_plus(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer) -> Tensor:
    """Return the Grad-CAM++ of a layer (Chattopadhay et al., 2018).

    ``relu(sum_k w_k A_k)`` with ``w_k = sum_ij a relu(G_k)`` and ``a = G^2 / (2 G^2 + sum(A_k) G^3)``, zero where G is:
    places that raise the score count more evenly than by their gradient, so that several objects show. The formula is
    the paper's, derived for ``exp(y_c)`` with maps that are never negative: take a layer behind a ReLU. It is not
    proportional to the score: twice the logits give another map, not twice the map.

    Costs, arguments, shapes and errors as for :func:`grad_cam`.
    """
    return _one("grad_cam_plus_plus", model, x, target, layer)


def layer_cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer) -> Tensor:
    """Return the LayerCAM of a layer, ``relu(sum_k relu(G_k) A_k)`` (Jiang et al., 2021).

    Each place has its own weight, so the maps of early, fine layers make sense too.

    Costs, arguments, shapes and errors as for :func:`grad_cam`.
    """
    return _one("layer_cam", model, x, target, layer)


def hires_cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer, relu: bool = True) -> Tensor:
    """Return the HiResCAM of a layer, ``sum_k G_k A_k`` (Draelos and Carin, 2020), or its positive part.

    Signed (``relu=False``) it is the gradient times the maps: behind the layer of a head that is one linear layer its
    sum is the logit without the bias, whether the head averages the maps or not. On a head that averages it is
    Grad-CAM.

    Costs, arguments, shapes and errors as for :func:`grad_cam`.
    """
    return _one("hires_cam", model, x, target, layer, relu)


def xgrad_cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer, relu: bool = True) -> Tensor:
    """Return the XGrad-CAM of a layer (Fu et al., 2020): Grad-CAM with the gradients averaged where the map is active.

    ``relu(sum_k w_k A_k)`` with ``w_k = sum_ij(G_k A_k) / sum_ij(A_k)``; a map whose sum is zero gets weight zero.
    Signed (``relu=False``) it has the same sum as HiResCAM. Take a layer behind a ReLU: where negative and positive
    values of a map cancel, its weight has no meaning.

    Costs, arguments, shapes and errors as for :func:`grad_cam`.
    """
    return _one("xgrad_cam", model, x, target, layer, relu)


def gradient_cams(
    model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer, relu: bool = True
) -> dict[str, Tensor]:
    """Return all of the above for one layer, by their names, from one pass: as dear as any one of them.

    Arguments, shapes and errors as for :func:`grad_cam`; ``relu=False`` keeps the sign of those that have one, while
    Grad-CAM++ and LayerCAM are never negative.
    """
    A, G = _maps_and_gradients(model, x, target, layer)
    return {name: _final(name, A, G, relu) for name in _FORMULAS}


def guided_grad_cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer) -> Tensor:
    """Return Guided Grad-CAM (Selvaraju et al., 2017): guided backpropagation times the Grad-CAM, enlarged to it.

    Fine lines where the class is seen. It inherits that guided backpropagation hardly depends on the class or on the
    upper layers' weights: the lines are the picture's edges, only the choice of places is the network's.

    Two forward passes and one backward pass to the picture. Arguments and errors as for :func:`grad_cam` and
    :func:`guided_backprop`.

    Returns:
        Signed attribution [N, C, H, W], detached.
    """
    maps = upsample(grad_cam(model, x, target, layer=layer), x.shape[2:])
    return guided_backprop(model, x, target) * maps[:, None]


def _weighted(weights: Tensor, A: Tensor) -> Tensor:
    return einsum("nk,nk...->n...", weights, A)


def _plus_plus(A: Tensor, G: Tensor) -> Tensor:
    # Only G > 0 counts in the end, and there the fraction is 1 / (2 + sum(A) G), which small gradients cannot spoil.
    fraction = 1 / (2 + A.sum(places(A), keepdim=True) * G.relu())
    return _weighted((fraction * G.relu()).sum(places(A)), A)


def _xgrad(A: Tensor, G: Tensor) -> Tensor:
    total = A.sum(places(A))
    return _weighted(torch.where(total == 0, 0, (G * A).sum(places(A)) / total), A)


_FORMULAS = {  # maps A and their gradients G, both [N, K, h, w] -> signed map [N, h, w]
    "grad_cam": lambda A, G: _weighted(G.mean(places(A)), A),
    "grad_cam_plus_plus": _plus_plus,
    "layer_cam": lambda A, G: einsum("nk...,nk...->n...", G.relu(), A),
    "hires_cam": lambda A, G: einsum("nk...,nk...->n...", G, A),
    "xgrad_cam": _xgrad,
}
_NEVER_NEGATIVE = {"grad_cam_plus_plus", "layer_cam"}


def _final(name: str, A: Tensor, G: Tensor, relu: bool) -> Tensor:
    result = _FORMULAS[name](A, G)
    return result.relu() if relu or name in _NEVER_NEGATIVE else result


def _one(name: str, model: nn.Module, x: Tensor, target: Target, layer: Layer, relu: bool = True) -> Tensor:
    return _final(name, *_maps_and_gradients(model, x, target, layer), relu)


def _maps_and_gradients(model: nn.Module, x: Tensor, target: Target, layer: Layer) -> tuple[Tensor, Tensor]:
    """Return a layer's maps [N, K, h, w] and the gradient of the score with respect to them, same shape."""
    module = find_layer(model, layer)
    with explaining(model):
        x = check_pictures(x, model)
        with capture(module) as maps:
            # Turning the weights to the quick layout costs more than one or two pictures gain by it
            scores = score(run(model, quick(x) if len(x) > 2 else x), target)
        activations = check_layer(maps.activations, x)
        gradients = maps.gradient(scores)
    if (gradients.flatten(1) == 0).all(1).any():
        raise ValueError(
            "The gradient at this layer is zero everywhere: the score does not react to it. Explain a logit, "
            "not a saturated softmax, or choose another layer."
        )
    return activations.detach(), gradients


def cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: str | nn.Module) -> Tensor:
    """Return the class activation map (Zhou et al., 2016): the logit, spread out over the places it came from.

    Defined only for networks that end in a global average and one linear layer, with or without a ReLU before the
    average: ``M_c = sum_k w_ck A_k``, so that ``mean(M_c) + b_c = y_c``. A network whose last layer is a convolution
    followed by the average (SqueezeNet) has its map ready made: that convolution's output, after its ReLU. Which of
    these holds is not guessed but measured: the average must give the network's own numbers. One forward pass.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; left as it was.
        x: pictures [N, C, H, W].
        target: as for :func:`gradient`; a function of the logits is taken to be linear (a difference of two logits).
        layer: module or name of the module whose maps are averaged. A convolutional head needs no other layer
            than itself, and ``layer`` may then be any layer before it.

    Returns:
        Raw signed maps [N, h, w], detached.

    Raises:
        ValueError: the head has another form, so that no such map exists: use :func:`grad_cam`.
    """
    heads = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)]
    if not heads:
        raise ValueError(f"{type(model).__name__} has no linear layer and no convolution, so it has no CAM.")
    head, pooled = heads[-1], []
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        removable = head.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
        try:
            with capture(module, head) as (maps, last):
                logits = run(model, x)
        finally:
            removable.remove()
        if isinstance(head, nn.Linear):
            averaged = _averaged(maps.activations, pooled[-1], x) if torch.equal(last.activations, logits) else None
            class_maps = None if averaged is None else einsum("ck,nk...->nc...", head.weight, averaged)
        else:
            class_maps = _averaged(last.activations, logits, x)
    if class_maps is None:
        raise ValueError(
            f"{type(model).__name__} has no class activation map at this layer: its scores are not one linear layer of "
            "the averages of these maps. Give the layer that is averaged, or use grad_cam, which needs no such head."
        )
    with explaining(model):  # d score / d logits picks the class, or the combination of classes, asked for
        logits = logits.clone().requires_grad_()
        (classes,) = autograd.grad(score(logits, target).sum(), logits)
    return einsum("nc,nc...->n...", classes, class_maps)


def _averaged(maps: Tensor, means: Tensor, x: Tensor) -> Tensor | None:
    """Return the maps whose average over places is ``means`` [N, K], either as they are or after a ReLU, else None."""
    if maps.dim() != x.dim() or maps.shape[:2] != means.shape:
        return None
    tolerance = 1e-4 * means.abs().max().item()
    return next((m for m in (maps, maps.relu()) if torch.allclose(m.mean(places(m)), means, 1e-3, tolerance)), None)
