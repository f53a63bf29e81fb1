"""Speed without another result: a memory layout in which convolutions are fast, and BatchNorms folded into them.

The **layout** is channels last: the values of all channels at one pixel lie side by side in memory. It changes no
shape and no value, but a model that looks at memory itself, as ``x.view(-1, 512)`` does, may fail with it.
:class:`helpers.attribution._common.Watch` therefore asks :func:`needs_plain` about the calls in :data:`LOOKS_AT_MEMORY`
during the first forward pass of a method, and one such call is enough to keep the plain layout from there on.
"""

import copy
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

LOOKS_AT_MEMORY = {
    "view",
    "view_as",
    "as_strided",
    "stride",
    "data_ptr",
    "storage_offset",
    "untyped_storage",
    "storage",
}
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def turned(x: Tensor) -> Tensor:
    """Return a copy of ``x`` [N, C, H, W] with channels last, also for one channel; on an accelerator ``x`` itself."""
    if x.dim() != 4 or x.device.type != "cpu":
        return x
    return x.contiguous(memory_format=torch.channels_last)


def needs_plain(name: str, tensor: Tensor, args: tuple, kwargs: dict) -> bool:
    """Return whether a call from `LOOKS_AT_MEMORY` would fail, or see something else, with channels last.

    A ``view`` that the other layout allows too, such as that of pooled maps [N, K, 1, 1], is not in the way. This is
    found out on a tensor without values, which costs nothing.
    """
    if not isinstance(tensor, Tensor) or tensor.dim() != 4:
        return False
    if name not in ("view", "view_as"):
        return True
    like = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta").to(memory_format=torch.channels_last)
    try:
        getattr(like, name)(*args, **kwargs)
    except RuntimeError:
        return True
    return False


def make_plain(tensor: Tensor) -> None:
    """Give ``tensor`` [N, C, H, W] itself the plain layout, in place, so that views of it still share its values."""
    if not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last):
        tensor.data = tensor.contiguous()


def folded(model: nn.Module, x: Tensor, logits: Tensor, *, turn: bool = True) -> nn.Module:
    """Return a network that gives what ``model`` gives in eval() mode, in less time.

    BatchNorms that follow a convolution are folded into it, and the convolutions' weights get the layout of
    :func:`turned`, which spares each pass from turning them. ``model`` stays as it is; all other parameters are shared,
    not copied. The pairs are found by watching one forward pass, and the result is compared with the model: where they
    differ, as they do if a convolution's output is also used without its BatchNorm, or where the model cannot be
    copied, the model itself is returned.

    Args:
        model: classifier in eval() mode, [N, C, H, W] -> logits [N, classes].
        x: a few pictures [N, C, H, W] to watch and to compare.
        logits: what the model gives for ``x``.
        turn: whether the model works with channels last.
    """
    kept = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        light = copy.deepcopy(model, kept)
        for conv_name, norm_name in _pairs(model, x.clone()).items():
            conv, norm = light.get_submodule(conv_name), light.get_submodule(norm_name)
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            light.set_submodule(norm_name, nn.Identity())
        for conv in light.modules():
            if turn and isinstance(conv, nn.Conv2d):
                conv.weight = nn.Parameter(turned(conv.weight), requires_grad=False)
        same = torch.allclose(light(x.clone()), logits, 1e-3, 1e-4 * logits.abs().max().item())
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
