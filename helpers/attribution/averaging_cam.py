"""The class activation map of networks that end in an average over places: the logit, spread out."""

import torch
from torch import Tensor, autograd, einsum, nn

from helpers.attribution.contract import Target, check_pictures, explaining, run, score
from helpers.attribution.inputs import places
from helpers.hooks import capture, find_layer


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
