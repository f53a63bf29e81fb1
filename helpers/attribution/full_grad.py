"""FullGrad: the gradient's part of a score together with the parts that the biases have in it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, autograd, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from helpers.attribution._common import Target, check_pictures, explaining, kind, quick, run, score
from helpers.attribution.maps import upsample

# Layers that people use and for which no split into gradients and biases adds up.
_CURVED = (
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.ELU,
    nn.SELU,
    nn.Softplus,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.ReLU6,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.LocalResponseNorm,
    nn.MultiheadAttention,
)


def full_grad(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Return the FullGrad map (Srinivas and Fleuret, 2019): how much of the score each place holds, whatever its sign.

    The sizes of all parts from :func:`full_gradients` that have a place, summed over channels, enlarged to the picture
    (bilinear, each map's total kept), and added. The biases of linear layers have no place in the picture: their share
    of the score is in no pixel. The paper scales each channel's map to [0, 1] before it adds them; here they keep their
    units, logits, so that a layer counts as much as it contributes.

    Costs, arguments and errors as for :func:`full_gradients`.

    Returns:
        Maps [N, H, W] >= 0, detached.
    """
    of_input, of_biases = full_gradients(model, x, target)
    result = of_input.abs().sum(1)
    coarse: dict[torch.Size, Tensor] = {}  # maps of one size are added before they are enlarged
    for part in of_biases.values():
        if part.dim() == of_input.dim():
            size = part.shape[2:]
            coarse[size] = coarse.get(size, 0) + part.abs().sum(1)
    for size, total in coarse.items():
        larger = upsample(total, result.shape[1:])
        result = result + larger * (size.numel() / result[0].numel())
    return result


def full_gradients(model: nn.Module, x: Tensor, target: Target = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the parts that add up to the score: ``x * dy_c/dx``, and ``b * dy_c/db`` for each bias of each layer.

    (Srinivas and Fleuret, 2019.) A network of linear layers, ReLUs, max- and average pooling is linear around x, and
    its score is the sum of these parts. A BatchNorm in eval() mode has the bias ``beta - gamma * mean / std``. That
    they add up is checked. One forward pass and one backward pass through the whole network, whose feature maps are all
    kept in between.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        target: as for :func:`gradient`; a function of the logits must be linear, without a constant.

    Returns:
        ``x * dy_c/dx`` [N, C, H, W], and for each layer with a bias, by its name, its parts: [N, K, h, w] where the
        layer gives maps, [N, K] where it is linear; a layer's second run is named "layer, run 2". All detached.

    Raises:
        ValueError: the parts do not add up to the score, as with GELU, SiLU or LayerNorm: FullGrad is not defined.
        TypeError, ValueError: pictures or target that cannot be used; the message names the cure.
    """
    with explaining(model):
        x = check_pictures(x, model).requires_grad_()
        with _layers_with_bias(model) as found:
            scores = score(run(model, quick(x)), target)
        if not scores.requires_grad:
            raise ValueError(
                f"The score does not depend on the {kind(x).one}: is there a detach() or a no_grad in the model?"
            )
        outputs = [x, *(output for _, _, output in found)]
        gradients = autograd.grad(scores.sum(), outputs, allow_unused=True, materialize_grads=True)
        of_input = x.detach() * gradients[0]
        of_biases: dict[str, Tensor] = {}
        for (name, module, _), gradient in zip(found, gradients[1:], strict=True):
            runs = sum(key.split(", run ")[0] == name for key in of_biases)
            key = f"{name}, run {runs + 1}" if runs else name
            if isinstance(module, nn.Linear):  # its channels come last, also where it runs at many places
                of_biases[key] = module.bias * gradient.reshape(len(x), -1, gradient.shape[-1]).sum(1)
            else:
                of_biases[key] = _bias(module).reshape(-1, *[1] * (gradient.dim() - 2)) * gradient
    _check_complete(model, scores.detach(), [of_input, *of_biases.values()])
    return of_input, of_biases


@contextmanager
def _layers_with_bias(model: nn.Module) -> Iterator[list[tuple[str, nn.Module, Tensor]]]:
    """Note, in the forward passes inside, each run of a layer with a bias: its name, itself, and its output."""
    found: list[tuple[str, nn.Module, Tensor]] = []

    def hook_for(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
            found.append((name, module, output))
            return output.clone()  # what follows may be an in-place ReLU

        return hook

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if _bias(module) is not None:
                stack.enter_context(module.register_forward_hook(hook_for(name)))
        yield found


def _bias(module: nn.Module) -> Tensor | None:
    """Return what a linear layer adds to each of its channels, [K], or None if it adds nothing or is not linear."""
    if isinstance(module, _ConvNd | nn.Linear):
        return module.bias
    if isinstance(module, _BatchNorm) and module.running_mean is not None:
        scale = (module.running_var + module.eps).rsqrt() * (1 if module.weight is None else module.weight)
        return (0 if module.bias is None else module.bias) - module.running_mean * scale
    return None


def _check_complete(model: nn.Module, scores: Tensor, parts: list[Tensor]) -> None:
    gap = (sum(part.flatten(1).sum(1) for part in parts) - scores).abs()
    size = sum(part.flatten(1).abs().sum(1) for part in parts)
    if (gap > 100 * torch.finfo(size.dtype).eps * size).any():
        curved = next((type(module).__name__ for module in model.modules() if isinstance(module, _CURVED)), None)
        raise ValueError(
            f"FullGrad's parts do not add up to the score, they miss it by up to {gap.max():.2g}. It is defined only "
            "for networks of linear layers, BatchNorm, ReLUs, max- and average pooling, and for scores without a "
            f"constant; {type(model).__name__} has {curved or 'something else'}. Use gradient_x_input or "
            "integrated_gradients."
        )
