"""DeepLIFT: differences from a baseline, sent back through the network by the rescale rule."""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn
from torch.overrides import TorchFunctionMode

from helpers.attribution._common import (
    Target,
    baseline_like,
    check_pictures,
    explaining,
    run,
    score,
    settle,
    wide,
)
from helpers.attribution.gradients import check_alive, slopes
from helpers.attribution.paths import check_baseline_differs

# Functions of one value at a time that are not linear, by their names; those that work in place end in "_"
_ELEMENTWISE = {
    *("relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "clip", "leaky_relu", "prelu", "rrelu", "elu"),
    *("selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish", "sigmoid", "hardsigmoid", "logsigmoid"),
    *("tanh", "softsign", "hardshrink", "softshrink", "tanhshrink", "threshold", "exp", "log", "square", "sqrt", "abs"),
}
_SIZES = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_MAX_POOLS = {  # and what each takes behind its input
    **{f"max_pool{n}d": _SIZES for n in (1, 2)},
    **{f"adaptive_max_pool{n}d": ("output_size",) for n in (1, 2)},
}
_SMALL = 1e-6  # differences below this share of a tensor's largest value are rounding: the slope is taken there


def deep_lift(model: nn.Module, x: Tensor, target: Target = None, *, baseline: float | Tensor = 0.0) -> Tensor:
    r"""Return DeepLIFT (Shrikumar et al., 2017): what each value adds to the score's difference from the baseline.

    .. math:: M = (x - x') \odot m, \quad \text{where an activation } a = f(z) \text{ passes back} \quad
              m_z = \frac{f(z) - f(z')}{z - z'} \; m_a

    in place of the gradient's :math:`f'(z) \, m_a`. This is the rescale rule: z' is what the activation gets when the
    network sees the baseline x', and where z = z' the slope f'(z) is taken. Linear layers pass back as usual. A max
    pooling passes the difference of its two maxima to the places where they were. The values of M add up to
    ``y_c(x) - y_c(x')`` in a network of linear layers, activations and poolings. Costs one forward pass for the
    baseline, and one forward and one backward pass for the picture.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]. A function has to be linear.
        baseline: x', in the units of ``x``: a number, a colour [C, 1, 1], a picture [C, H, W], or one for each.

    Returns:
        Signed attribution [N, C, H, W], detached, at least float32, in logits.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target, baseline or output of the model that cannot be used; the message names the cure.
            Also a network that runs other activations for the baseline than for the picture.

    Warns:
        UserWarning: the values do not add up to the difference, as the network multiplies activations with each other
            (attention, gates, LayerNorm), for which there is no such rule.

    Source:
        Shrikumar, Greenside and Kundaje, "Learning Important Features Through Propagating Activation Differences",
        2017.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> x = torch.rand(1, 3, 8, 8)
        >>> parts = attribution.deep_lift(net, x, target=1)
        >>> gain = (net(x) - net(torch.zeros_like(x)))[0, 1]
        >>> bool((parts.sum() - gain).abs() < 1e-4)
        True
    """
    with explaining(model):
        x = check_pictures(x, model)
        plain = baseline_like(baseline, x)
        check_baseline_differs(x, plain)
        one_for_all = not callable(target) and bool((plain == plain[:1]).all())
        with torch.no_grad(), _Remember() as remember:
            before = run(model, plain[:1] if one_for_all else plain, target)
        z = x.requires_grad_()
        with _Rescale(model, remember.seen):
            output = run(model, z, target)
        settled_target = settle(output, target)
        at_picture = score(output, settled_target, len(x))
        at_baseline = score(before.expand(len(x), -1) if one_for_all else before, settled_target, len(x))
        multipliers = slopes(model, at_picture.sum(), z)
        parts = (wide(x.detach()) - wide(plain)) * check_alive(wide(multipliers))
        _check_sum(model, parts, at_picture.detach(), at_baseline)
        return parts


class _Remember(TorchFunctionMode):
    """Keeps what each activation and each max pooling gets, [(name, z)], in the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Tensor]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if name := _name_of_rule(func):
            self.seen.append((name, _input_of(args, kwargs).clone()))
        return func(*args, **kwargs)


class _Rescale(TorchFunctionMode):
    """Inside the block each activation and max pooling gives its usual value, and passes back by the rescale rule."""

    def __init__(self, model: nn.Module, at_baseline: list[tuple[str, Tensor]]) -> None:
        super().__init__()
        self.model, self.at_baseline = model, iter(at_baseline)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = _name_of_rule(func)
        if not name:
            return func(*args, **kwargs)
        z = _input_of(args, kwargs)
        named, before = next(self.at_baseline, ("", z))
        if named != name or before.shape[1:] != z.shape[1:]:
            raise ValueError(
                f"{type(self.model).__name__} runs other activations for the baseline than for the picture, so that "
                "they have no differences: give another baseline, or use integrated_gradients()."
            )
        if name in _MAX_POOLS:
            indices = func.__name__.endswith("_with_indices") or kwargs.get("return_indices") is True
            y, place = _max_pool(name, z, before, args, kwargs)
            return (y, place) if indices else y
        return _activation(func, z, before, args, kwargs)


def _activation(func: Callable, z: Tensor, before: Tensor, args: tuple, kwargs: dict) -> Tensor:
    """Return f(z), whose gradient to z is (f(z) - f(z')) / (z - z'); in place, if the function is."""
    in_place = func.__name__.endswith("_") or kwargs.get("inplace") is True
    rest, kwargs = args[1:], {key: value for key, value in kwargs.items() if key != "input"}
    with torch.no_grad():
        # On copies, which a function that works in place may change
        after, after_before = (func(value.detach().clone(), *rest, **kwargs) for value in (z, before))
        way = wide(z.detach()) - wide(before)
        quotient = (wide(after) - wide(after_before)).div_(way)
        size = way.abs_()
        if (flat := size <= _SMALL * size.amax()).any():
            quotient = torch.where(flat, _slope(func, z, rest, kwargs), quotient)
    result = _PassBack.apply(z, after, quotient.to(z.dtype))
    return z.copy_(result) if in_place else result


class _PassBack(autograd.Function):
    """Forward: the value given. Backward: the gradient times the quotient given."""

    @staticmethod
    def forward(ctx, z: Tensor, value: Tensor, quotient: Tensor) -> Tensor:
        # With a shape of its own [1, ...]: so a torch.utils.checkpoint, which runs the activation again and without the
        # rule, notices that it kept another tensor, and stops
        ctx.save_for_backward(quotient[None])
        return value.view_as(value)

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor, None, None]:
        (quotient,) = ctx.saved_tensors
        return g * quotient[0], None, None


def _slope(func: Callable, z: Tensor, rest: tuple, kwargs: dict) -> Tensor:
    with torch.enable_grad():
        leaf = z.detach().clone().requires_grad_()
        (slope,) = autograd.grad(func(leaf.clone(), *rest, **kwargs).sum(), leaf)
    return wide(slope)


def _max_pool(name: str, z: Tensor, before: Tensor, args: tuple, kwargs: dict) -> tuple[Tensor, Tensor]:
    """Return the maxima y of z, and where they are; back goes y - y', with y' the maxima of z'.

    With t the larger of y and y', the part t - y' goes to the place of the maximum of z, and the part y - t to that of
    z'. One of the two is zero, and z and z' differ at the other's place by at least as much.
    """
    options = dict(zip(_MAX_POOLS[name], args[1:], strict=False))
    options |= {key: value for key, value in kwargs.items() if key in _MAX_POOLS[name]}
    pool = getattr(F, name)
    with torch.no_grad():
        (y, place), (y_before, place_before) = (pool(v.detach(), return_indices=True, **options) for v in (z, before))
        flat = [v.flatten(-(z.dim() - 2)) for v in (z.detach(), before.expand_as(z))]
        highest = torch.maximum(y, y_before)
    result = y
    for part, index in ((highest - y_before, place), (y - highest, place_before.expand_as(place))):
        index = index.flatten(-(z.dim() - 2))
        way = (flat[0] - flat[1]).gather(-1, index).view_as(part)
        share = torch.where(part == 0, 0, part / way)
        zero = (z - z.detach()).flatten(-(z.dim() - 2)).gather(-1, index).view_as(part)
        result = result + share * zero
    return result, place


def _name_of_rule(func: Callable) -> str:
    name = getattr(func, "__name__", "").rstrip("_").removesuffix("_with_indices")
    return name if name in _ELEMENTWISE or name in _MAX_POOLS else ""


def _input_of(args: tuple, kwargs: dict) -> Tensor:
    return args[0] if args else kwargs["input"]


def _check_sum(model: nn.Module, parts: Tensor, at_picture: Tensor, at_baseline: Tensor) -> None:
    total, rise = parts.flatten(1).sum(1), at_picture - at_baseline
    if ((total - rise).abs() > 0.01 * (at_picture.abs() + at_baseline.abs())).any():
        worst = int((total - rise).abs().argmax())
        warnings.warn(
            f"DeepLIFT's values add up to {total[worst]:.3g} and not to the difference of the scores, "
            f"{rise[worst]:.3g}: {type(model).__name__} has steps for which there is no rescale rule, such as "
            "attention, gates or a LayerNorm, or the target function is not linear. Use integrated_gradients() there.",
            UserWarning,
            stacklevel=3,
        )
