"""A network made quicker for hundreds of forward passes: BatchNorms folded into convolutions, weights laid out anew."""

import copy
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from helpers.attribution._common import quick

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def folded(model: nn.Module, x: Tensor, logits: Tensor) -> nn.Module:
    """Return a network that gives what ``model`` gives in eval() mode, in less time.

    BatchNorms that follow a convolution are folded into it, and the convolutions' weights get the layout of
    :func:`quick`, which spares each pass from turning them. ``model`` stays as it is; all other parameters are shared,
    not copied. The pairs are found by watching one forward pass, and the result is held against the model: where they
    differ, as they do if a convolution's output is also used without its BatchNorm, or where the model cannot be
    copied, the model itself is returned.

    Args:
        model: classifier in eval() mode, [N, C, H, W] -> logits [N, classes].
        x: a few pictures [N, C, H, W] to watch and to compare.
        logits: what the model gives for ``x``.
    """
    kept = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        light = copy.deepcopy(model, kept)
        for conv_name, norm_name in _pairs(model, x).items():
            conv, norm = light.get_submodule(conv_name), light.get_submodule(norm_name)
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            light.set_submodule(norm_name, nn.Identity())
        for conv in light.modules():
            if isinstance(conv, nn.Conv2d):
                conv.weight = nn.Parameter(quick(conv.weight), requires_grad=False)
        same = torch.allclose(light(x), logits, 1e-3, 1e-4 * logits.abs().max().item())
    except Exception:  # any code may stand in a user's __deepcopy__, or in a forward that wants its BatchNorm
        return model
    return light if same else model


def _pairs(model: nn.Module, x: Tensor) -> dict[str, str]:
    """Return the convolutions whose output a BatchNorm takes, by names, where each runs once in a forward pass."""
    runs: list[tuple[str, str | None]] = []  # each run of a convolution, or of a BatchNorm with what it took
    last: tuple[str, Tensor | None] = ("", None)  # the convolution that ran last, and its output

    def hook_for(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            nonlocal last
            if type(module) in _CONVOLUTIONS:
                last = (name, output)
            runs.append((name, last[0] if inputs[0] is last[1] else None))

        return hook

    with ExitStack() as stack:
        for name, module in model.named_modules():
            norm = type(module) in _NORMS and module.running_mean is not None
            if norm or type(module) in _CONVOLUTIONS:
                stack.enter_context(module.register_forward_hook(hook_for(name)))
        model(x)
    names = [name for name, _ in runs]
    once = {name for name in names if names.count(name) == 1}
    return {conv: norm for norm, conv in runs if conv and {conv, norm} <= once}
