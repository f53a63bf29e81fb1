"""FullGrad: the gradient's part of a score together with the parts that the biases have in it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, autograd, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from helpers.attribution._common import (
    Target,
    backward_pass,
    check_pictures,
    explaining,
    kind,
    run,
    score,
    wide,
    without_autocast,
)
from helpers.attribution.maps import upsample

# Common layers for which the parts of input and biases do not add up to the score.
_CURVED = (
    *(nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.Softplus, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid),
    *(nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LocalResponseNorm, nn.MultiheadAttention),
)


def full_grad(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    r"""Return the FullGrad map (Srinivas and Fleuret, 2019): how much of the score each place holds, whatever its sign.

    .. math:: \Big| x \odot \frac{\partial y_c}{\partial x} \Big|
              + \sum_l \, U \Big( \Big| b_l \odot \frac{\partial y_c}{\partial b_l} \Big| \Big)

    summed over channels, where U enlarges a layer's map to the picture (bilinear, its total kept). The biases of linear
    layers have no place in the picture, so their share of the score is in no pixel. The paper scales each channel's map
    to [0, 1] before it adds them; here they keep their units, logits, so that a layer counts as much as it contributes.
    Costs one forward and one backward pass through the whole network, whose feature maps are all kept in between.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], or texts [N, C, L].
        target: which score to explain: ``None`` for each picture's top class, a class number, one class number for
            each picture [N], or a function of the logits that returns [N] and is linear, without a constant.

    Returns:
        Maps [N, H, W], or [N, L], >= 0, in logits, detached; in float32 at least.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: the parts do not add up to the score, as with GELU, SiLU or LayerNorm; pictures or target that
            cannot be used. The message names the cure.

    Source:
        Srinivas and Fleuret, "Full-Gradient Representation for Neural Network Visualization", 2019.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))
        >>> maps = attribution.full_grad(net, torch.rand(2, 3, 5, 5), target=1)
        >>> maps.shape, bool((maps >= 0).all())
        (torch.Size([2, 5, 5]), True)
    """
    of_input, of_biases = full_gradients(model, x, target)
    total = of_input.abs().sum(1)
    for part in of_biases.values():
        if part.dim() == of_input.dim():  # has a place
            coarse = part.abs().sum(1)
            total = total + upsample(coarse, total.shape[1:]) * (coarse[0].numel() / total[0].numel())
    return total


def full_gradients(model: nn.Module, x: Tensor, target: Target = None) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Return the parts of the score: ``x * dy_c/dx``, and ``b * dy_c/db`` for each bias of each layer.

    .. math:: y_c = \sum x \odot \frac{\partial y_c}{\partial x}
              + \sum_l \sum b_l \odot \frac{\partial y_c}{\partial b_l}

    (Srinivas and Fleuret, 2019.) A network of linear layers, ReLUs, max- and average pooling is linear around x, and
    its score is the sum of these parts. A BatchNorm in eval() mode has the bias ``beta - gamma * mean / std``. A ReLU6
    is flat where its input is above 6: there its output is 0 times its input plus 6, so it counts as a bias of 6. That
    the parts add up is checked. Costs one forward and one backward pass through the whole network, whose feature maps
    are all kept in between.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], or texts [N, C, L].
        target: which score to explain: ``None`` for each picture's top class, a class number, one class number for
            each picture [N], or a function of the logits that returns [N] and is linear, without a constant.

    Returns:
        ``x * dy_c/dx`` [N, C, H, W], and for each layer with a bias, by its name, its parts: [N, K, h, w] where the
        layer gives maps, [N, K] where it is linear; a layer's second run is named "layer, run 2". All detached, in
        logits, in float32 at least.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: the parts do not add up to the score, as with GELU, SiLU or LayerNorm: FullGrad is not defined;
            pictures or target that cannot be used. The message names the cure.

    Source:
        Srinivas and Fleuret, "Full-Gradient Representation for Neural Network Visualization", 2019.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))
        >>> x = torch.rand(2, 3, 5, 5)
        >>> of_input, of_biases = attribution.full_gradients(net, x, target=1)
        >>> list(of_biases)
        ['0', '3']
        >>> total = of_input.sum((1, 2, 3)) + sum(part.flatten(1).sum(1) for part in of_biases.values())
        >>> torch.allclose(total, net(x)[:, 1], atol=1e-5)
        True
    """
    with without_autocast(x), explaining(model):
        x = check_pictures(x, model).requires_grad_()
        with _runs_of_layers_with_bias(model) as runs:
            scores = score(run(model, x), target)
        if not scores.requires_grad:
            raise ValueError(
                f"The score does not depend on the {kind(x).one}: is there a detach() or a no_grad in the model?"
            )
        outputs = [x, *(output for _, _, output in runs)]
        if hidden := [name for name, _, output in runs if not output.requires_grad]:
            raise ValueError(
                f"The layer {hidden[0]!r} ran without gradients: look for a torch.no_grad() around it, or a "
                "torch.utils.checkpoint with use_reentrant=True, also inside of the model."
            )
        with backward_pass(model):
            gradients = autograd.grad(scores.sum(), outputs, allow_unused=True, materialize_grads=True)
        of_input = wide(x.detach()) * wide(gradients[0])
        of_biases: dict[str, Tensor] = {}
        for (name, module, output), gradient in zip(runs, gradients[1:], strict=True):
            count = 1 + sum(key.split(", run ")[0] == name for key in of_biases)
            part = wide(_bias(module, output.detach())) * wide(gradient)
            if isinstance(module, nn.Linear):  # its channels come last, also where it runs at many places
                part = part.reshape(len(x), -1, part.shape[-1]).sum(1)
            of_biases[name if count == 1 else f"{name}, run {count}"] = part
    _check_complete(model, wide(scores.detach()), [of_input, *of_biases.values()], torch.finfo(x.dtype))
    return of_input, of_biases


@contextmanager
def _runs_of_layers_with_bias(model: nn.Module) -> Iterator[list[tuple[str, nn.Module, Tensor]]]:
    """Note each run of a layer with a bias in the last forward pass inside: its name, itself, and its output."""
    runs: list[tuple[str, nn.Module, Tensor]] = []

    def hook_for(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
            runs.append((name, module, output))
            return output.clone()  # what follows may be an in-place ReLU

        return hook

    with ExitStack() as stack:
        # A pass that did not come to its end, or was made to look at the model, does not count
        stack.enter_context(model.register_forward_pre_hook(lambda *_: runs.clear()))
        for name, module in model.named_modules():
            if _has_bias(module):
                stack.enter_context(module.register_forward_hook(hook_for(name)))
        yield runs


def _has_bias(module: nn.Module) -> bool:
    if isinstance(module, _BatchNorm):
        return module.running_mean is not None
    return isinstance(module, nn.ReLU6) or (isinstance(module, _ConvNd | nn.Linear) and module.bias is not None)


def _bias(module: nn.Module, output: Tensor) -> Tensor:
    """Return what a layer that is linear around its input adds to it, in a shape that broadcasts to its output."""
    if isinstance(module, nn.ReLU6):
        return 6.0 * (output >= 6)
    if isinstance(module, nn.Linear):
        return module.bias
    if isinstance(module, _BatchNorm):
        scale = (module.running_var + module.eps).rsqrt() * (1 if module.weight is None else module.weight)
        bias = (0 if module.bias is None else module.bias) - module.running_mean * scale
    else:
        bias = module.bias
    return bias.reshape(-1, *[1] * (output.dim() - 2))


def _check_complete(model: nn.Module, scores: Tensor, parts: list[Tensor], precision: torch.finfo) -> None:
    gap = (sum(part.flatten(1).sum(1) for part in parts) - scores).abs()
    size = sum(part.flatten(1).abs().sum(1) for part in parts)
    rounding = 100 * precision.eps if precision.bits >= 32 else 0.05  # half precision rounds in each layer
    if not (gap <= rounding * size).all():
        curved = next((type(module).__name__ for module in model.modules() if isinstance(module, _CURVED)), None)
        raise ValueError(
            f"FullGrad's parts do not add up to the score, they miss it by up to {gap.max():.2g}. It is defined only "
            "for networks of linear layers, BatchNorm, ReLUs, max- and average pooling, and for scores without a "
            f"constant; {type(model).__name__} has {curved or 'something else'}, such as an activation that is called "
            "as a function. Use gradient_x_input or integrated_gradients."
        )
