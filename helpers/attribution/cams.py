"""Class activation maps that weight a layer's maps by gradients: one pass through the network serves them all.

In the formulas A_k is map number k of the layer, h x w values, and G_k = dy_c / dA_k its gradient.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, autograd, einsum, nn

from helpers.attribution._common import (
    Target,
    backward_pass,
    check_pictures,
    explaining,
    places,
    run,
    score,
    scores_of,
    which,
    wide,
)
from helpers.attribution._layer_maps import arrangement, layer_maps, output_of
from helpers.attribution.gradients import guided_backprop
from helpers.attribution.maps import upsample
from helpers.hooks import capture, find_layer
from helpers.hooks.as_maps import AsMaps

Layer = str | nn.Module


def grad_cam(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: Layer,
    as_maps: AsMaps | None = None,
    relu: bool = True,
) -> Tensor:
    r"""Return the Grad-CAM of a layer (Selvaraju et al., 2017).

    .. math:: M = \mathrm{relu}\Big(\sum_k w_k A_k\Big), \quad w_k = \mathrm{mean}_{ij}(G_k)

    One forward pass; the backward pass goes from the score to the layer and no further.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.
        relu: keep only what speaks for the class, as the paper does; ``False`` keeps the sign.

    Returns:
        Raw maps [N, h, w], detached, at least in float32. A map may be zero everywhere: then no place spoke for the
        class, and ``relu=False`` shows what spoke against it.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a gradient that is zero everywhere at this layer.

    Source:
        Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra, "Grad-CAM: Visual Explanations from Deep Networks via
        Gradient-based Localization", 2017.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.grad_cam(net, torch.rand(2, 3, 8, 8), target=1, layer="1").shape
        torch.Size([2, 6, 6])
    """
    A, G = maps_and_gradients(model, x, target, layer, as_maps)
    weights = G.mean(places(G))
    result = einsum("nk,nk...->n...", weights, A)
    return result.relu() if relu else result


def grad_cam_plus_plus(
    model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer, as_maps: AsMaps | None = None
) -> Tensor:
    r"""Return the Grad-CAM++ of a layer (Chattopadhay et al., 2018).

    .. math:: M = \mathrm{relu}\Big(\sum_k w_k A_k\Big), \quad w_k = \sum_{ij} a_k\,\mathrm{relu}(G_k), \quad
              a_k = \frac{G_k^2}{2 G_k^2 + \sum_{ij}(A_k)\, G_k^3}

    with a_k = 0 where G_k = 0. Places with a positive gradient get more equal weights than their gradients alone would
    give, so that several objects of one class show in the map. The formula is the paper's, derived for exp(y_c) with
    maps that are never negative: take a layer behind a ReLU. It is not proportional to the score: twice the logits give
    another map, not twice the map. One forward pass and a backward pass from the score to the layer.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.

    Returns:
        Raw maps [N, h, w], detached, at least in float32, never negative.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a gradient that is zero everywhere at this layer.

    Source:
        Chattopadhay, Sarkar, Howlader and Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual Explanations
        for Deep Convolutional Networks", 2018.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.grad_cam_plus_plus(net, torch.rand(2, 3, 8, 8), target=1, layer="1").shape
        torch.Size([2, 6, 6])
    """
    A, G = maps_and_gradients(model, x, target, layer, as_maps)
    # Only G > 0 counts in the end, and there a = 1 / (2 + sum(A) G), which small gradients cannot spoil.
    a = 1 / (2 + A.sum(places(A), keepdim=True) * G.relu())
    weights = (a * G.relu()).sum(places(G))
    return einsum("nk,nk...->n...", weights, A).relu()


def layer_cam(
    model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer, as_maps: AsMaps | None = None
) -> Tensor:
    r"""Return the LayerCAM of a layer (Jiang et al., 2021).

    .. math:: M = \mathrm{relu}\Big(\sum_k \mathrm{relu}(G_k) \odot A_k\Big)

    Each place has its own weight, so the maps of early, fine layers make sense too. One forward pass and a backward
    pass from the score to the layer.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.

    Returns:
        Raw maps [N, h, w], detached, at least in float32, never negative.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a gradient that is zero everywhere at this layer.

    Source:
        Jiang, Zhang, Hou, Cheng and Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        2021.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.layer_cam(net, torch.rand(2, 3, 8, 8), target=1, layer="1").shape
        torch.Size([2, 6, 6])
    """
    A, G = maps_and_gradients(model, x, target, layer, as_maps)
    return einsum("nk...,nk...->n...", G.relu(), A).relu()


def hires_cam(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: Layer,
    as_maps: AsMaps | None = None,
    relu: bool = True,
) -> Tensor:
    r"""Return the HiResCAM of a layer (Draelos and Carin, 2020).

    .. math:: M = \mathrm{relu}\Big(\sum_k G_k \odot A_k\Big)

    Signed (``relu=False``) it is the gradient times the maps. If everything behind the layer is one linear function
    (averaging or flattening, then one linear layer), its sum is the logit without the bias. If it
    averages the maps, HiResCAM and Grad-CAM are the same map. One forward pass and a backward pass from the score to
    the layer.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.
        relu: keep only what speaks for the class, as Grad-CAM does; ``False`` keeps the sign.

    Returns:
        Raw maps [N, h, w], detached, at least in float32. A map may be zero everywhere: then no place spoke for the
        class, and ``relu=False`` shows what spoke against it.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a gradient that is zero everywhere at this layer.

    Source:
        Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
        networks", 2020.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.hires_cam(net, torch.rand(2, 3, 8, 8), target=1, layer="1").shape
        torch.Size([2, 6, 6])
    """
    A, G = maps_and_gradients(model, x, target, layer, as_maps)
    result = einsum("nk...,nk...->n...", G, A)
    return result.relu() if relu else result


def xgrad_cam(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: Layer,
    as_maps: AsMaps | None = None,
    relu: bool = True,
) -> Tensor:
    r"""Return the XGrad-CAM of a layer (Fu et al., 2020): Grad-CAM with the gradients averaged where the map is active.

    .. math:: M = \mathrm{relu}\Big(\sum_k w_k A_k\Big), \quad w_k = \frac{\sum_{ij} G_k A_k}{\sum_{ij} A_k}

    A map whose sum is zero gets weight zero. Signed (``relu=False``) it has the same sum as HiResCAM. Take a layer
    behind a ReLU: where negative and positive values of a map cancel, its weight has no meaning. One forward pass and
    a backward pass from the score to the layer.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.
        relu: keep only what speaks for the class, as Grad-CAM does; ``False`` keeps the sign.

    Returns:
        Raw maps [N, h, w], detached, at least in float32. A map may be zero everywhere: then no place spoke for the
        class, and ``relu=False`` shows what spoke against it.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a gradient that is zero everywhere at this layer.

    Source:
        Fu, Hu, Dong, Guo, Gao and Li, "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs",
        2020.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.xgrad_cam(net, torch.rand(2, 3, 8, 8), target=1, layer="1").shape
        torch.Size([2, 6, 6])
    """
    A, G = maps_and_gradients(model, x, target, layer, as_maps)
    sums = A.sum(places(A))
    weights = torch.where(sums == 0, 0, (G * A).sum(places(A)) / sums)
    result = einsum("nk,nk...->n...", weights, A)
    return result.relu() if relu else result


def gradient_cams(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    layer: Layer,
    as_maps: AsMaps | None = None,
    relu: bool = True,
) -> dict[str, Tensor]:
    r"""Return Grad-CAM and its four kin for one layer from one pass, which costs as much as any one of them.

    With the maps A and their gradients G, before the last ReLU:

    - ``grad_cam``: :math:`\sum_k \mathrm{mean}(G_k) A_k`
    - ``grad_cam_plus_plus``: :math:`\sum_k \sum_{ij} (a_k \mathrm{relu}(G_k)) A_k`, with a as in
      :func:`grad_cam_plus_plus`
    - ``layer_cam``: :math:`\sum_k \mathrm{relu}(G_k) A_k`
    - ``hires_cam``: :math:`\sum_k G_k A_k`
    - ``xgrad_cam``: :math:`\sum_k (\sum_{ij} G_k A_k / \sum_{ij} A_k) A_k`

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.
        relu: keep only what speaks for the class; ``False`` keeps the sign of those that have one, while Grad-CAM++ and
            LayerCAM are never negative.

    Returns:
        The name of each method and its raw maps [N, h, w], detached, at least in float32.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a gradient that is zero everywhere at this layer.

    Source:
        The papers of the five methods, see each of them.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> list(attribution.gradient_cams(net, torch.rand(2, 3, 8, 8), target=1, layer="1"))
        ['grad_cam', 'grad_cam_plus_plus', 'layer_cam', 'hires_cam', 'xgrad_cam']
    """
    A, G = maps_and_gradients(model, x, target, layer, as_maps)
    sums = A.sum(places(A), keepdim=True)
    a = 1 / (2 + sums * G.relu())
    xgrad_weights = torch.where(sums == 0, 0, (G * A).sum(places(A), keepdim=True) / sums)
    signed = {
        "grad_cam": einsum("nk,nk...->n...", G.mean(places(G)), A),
        "grad_cam_plus_plus": einsum("nk,nk...->n...", (a * G.relu()).sum(places(G)), A).relu(),
        "layer_cam": einsum("nk...,nk...->n...", G.relu(), A).relu(),
        "hires_cam": einsum("nk...,nk...->n...", G, A),
        "xgrad_cam": einsum("nk,nk...->n...", xgrad_weights.flatten(1), A),
    }
    return {name: result.relu() if relu else result for name, result in signed.items()}


def guided_grad_cam(
    model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer, as_maps: AsMaps | None = None
) -> Tensor:
    r"""Return Guided Grad-CAM (Selvaraju et al., 2017): guided backpropagation times the enlarged Grad-CAM.

    .. math:: M = \mathrm{guided} \odot U(\mathrm{GradCAM})

    U enlarges the map to the picture, bilinear. It shows fine lines where the Grad-CAM is large. Guided
    backpropagation hardly depends on the class or on the weights of the upper layers: the lines are mostly edges of
    the picture, and only Grad-CAM says which of them belong to the class. Two forward passes, one backward pass to the
    layer and one to the picture.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].
        layer: module, or name of a module, that gives maps [N, K, h, w].
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.tokens_as_maps`; a guess where it is safe unless given.

    Returns:
        Signed attribution [N, C, H, W], detached.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a gradient that is zero everywhere at this layer.
            Also a network in which no ReLU was met.

    Source:
        Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra, "Grad-CAM: Visual Explanations from Deep Networks via
        Gradient-based Localization", 2017.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.guided_grad_cam(net, torch.rand(2, 3, 8, 8), target=1, layer="1").shape
        torch.Size([2, 3, 8, 8])
    """
    maps = grad_cam(model, x, target, layer=layer, as_maps=as_maps)
    return guided_backprop(model, x, target) * upsample(maps, x.shape[2:])[:, None]


def maps_and_gradients(
    model: nn.Module, x: Tensor, target: Target, layer: Layer, as_maps: AsMaps | None
) -> tuple[Tensor, Tensor]:
    """Return a layer's maps A and the score's gradient G with respect to them, [N, K, h, w], at least in float32."""
    module = find_layer(model, layer)
    with explaining(model):
        x = check_pictures(x, model)
        with capture(module) as record:
            scores = scores_of(model, x, target)
        output = output_of(record, module)
        arrange = arrangement(module, output, x, as_maps)
        try:
            with backward_pass(model):
                slopes = record.gradient(scores)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
    A, G = wide(arrange(output.detach())), wide(arrange(slopes))
    if (dead := ~G.flatten(1).any(1)).any():
        raise ValueError(
            f"{which(dead, x)}: the gradient at this layer is zero everywhere, as the score does not react to it. "
            "Explain a logit, not a saturated softmax, or choose another layer; of a transformer that reads its class "
            "token, one before the last attention (such as the last norm before it)."
        )
    return A, G


def cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer, as_maps: AsMaps | None = None) -> Tensor:
    r"""Return the class activation map (Zhou et al., 2016): the logit, spread out over the places it came from.

    .. math:: M_c = \sum_k w_{ck} A_k, \quad \mathrm{mean}_{ij}(M_c) + b_c = y_c

    with the weights w and biases b of the last linear layer. Defined only for networks that end in a global average and
    one linear layer, with or without a ReLU before the average. A network whose last layer is a convolution followed by
    the average (SqueezeNet) has its map ready made: that convolution's output, after its ReLU. Which of these holds is
    not guessed but measured: the average must give the network's own numbers. One forward pass.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits, which is taken to be linear (a difference of two logits).
        layer: module, or name of a module, whose maps [N, K, h, w] are averaged. A convolutional head needs no other
            layer than itself, and ``layer`` may then be any layer before it.
        as_maps: function that makes maps [N, K, h, w] of what the layer gives, by moving values only, such as
            :func:`helpers.hooks.channels_last_as_maps`; a guess where it is safe unless given.

    Returns:
        Raw signed maps [N, h, w], detached, at least in float32.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or layer are of another kind.
        ValueError: pictures, target or layer that cannot be used; the message names the cure.
            Also a head of another form, so that no such map exists: use :func:`grad_cam`.

    Source:
        Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning Deep Features for Discriminative Localization", 2016.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> x = torch.rand(1, 3, 8, 8)
        >>> maps = attribution.cam(net, x, target=1, layer="0")
        >>> bool(torch.allclose(maps.mean((1, 2)) + net[3].bias[1], net(x)[:, 1], atol=1e-5))
        True
    """
    module = find_layer(model, layer)
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        with capture(module) as record, _heads(model) as heads:
            answer = run(model, x, target)
        _check_heads(model, heads)
        with torch.enable_grad():  # d score / d logits picks the class, or the combination of classes, asked for
            logits = wide(answer.clone()).requires_grad_()
            (classes,) = autograd.grad(score(logits, target).sum(), logits)
        class_maps = _class_maps(model, layer_maps(record, module, x, as_maps), heads, answer)
        return einsum("nc,nc...->n...", classes.reshape(class_maps.shape[:2]).to(class_maps), class_maps)


Head = tuple[nn.Module, Tensor, Tensor]  # a layer that may give the logits, what it was given, and what it gave


@contextmanager
def _heads(model: nn.Module) -> Iterator[list[Head]]:
    """Note, in the forward pass inside, what may have given the logits: each linear layer, and the last convolution."""
    found: list[Head] = []

    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if not isinstance(module, nn.Linear):  # maps are large, so only the last ones are kept
            found[:] = [head for head in found if isinstance(head[0], nn.Linear)]
        found.append((module, inputs[0].clone(), output.clone()))

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                stack.callback(module.register_forward_hook(hook).remove)
        yield found


def _check_heads(model: nn.Module, heads: list[Head]) -> None:
    """Raise ValueError if nothing ran that could have given the logits of a network with a CAM."""
    if not heads:
        raise ValueError(f"{type(model).__name__} has no linear layer and no convolution, so it has no CAM.")


def _class_maps(model: nn.Module, maps: Tensor, heads: list[Head], logits: Any) -> Tensor:
    """Return maps [N, classes, h, w] whose averages over places are the logits, but for the bias of a linear head.

    Raises:
        ValueError: there are none, by any layer that ran, from the last one backwards.
    """
    logits = logits[:, None] if isinstance(logits, Tensor) and logits.dim() == 1 else logits
    for head, given, gave in reversed(heads if isinstance(logits, Tensor) else []):
        if not isinstance(head, nn.Linear):
            averaged = _averaged(wide(gave), logits.to(gave.dtype))
            if averaged is not None:
                return averaged
        elif torch.equal(gave.to(logits.dtype), logits) and (averaged := _averaged(maps, given)) is not None:
            return einsum("ck,nk...->nc...", wide(head.weight), averaged)
    raise ValueError(
        f"{type(model).__name__} has no class activation map at this layer: its scores are not one linear layer of "
        "the averages of these maps. Give the layer that is averaged, or use grad_cam, which needs no such head."
    )


def _averaged(maps: Tensor, means: Tensor) -> Tensor | None:
    """Return the maps whose average over places is ``means`` [N, K], either as they are or after a ReLU, else None."""
    if maps.shape[:2] != means.shape:
        return None
    near = max(1e-3, 4 * torch.finfo(means.dtype).eps)
    means = wide(means)
    tolerance = 0.1 * near * means.abs().max().item()
    return next((m for m in (maps, maps.relu()) if torch.allclose(m.mean(places(m)), means, near, tolerance)), None)
