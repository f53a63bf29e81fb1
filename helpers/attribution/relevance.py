"""Layer-wise relevance propagation: a logit handed back, layer by layer, to what it was made of (Bach et al., 2015).

A unit with output z has relevance R. Written as R = z g, most of the method is what a gradient does anyway: a ReLU
passes g on, a maximum gives all to the winner, averages, sums of branches and everything that moves values about share
in proportion. Only convolutions and linear layers need a rule, and a mode that meets each call puts it there. So one
forward pass and one backward pass give the relevance of every layer, as its output times the gradient that arrives.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, autograd, nn
from torch.overrides import TorchFunctionMode

from helpers.attribution._common import Target, check_pictures, explaining, run, score
from helpers.hooks import capture, find_layer

Parts = list[tuple[float | Tensor, Tensor]]
Rule = Callable[..., Parts]


@dataclass(frozen=True)
class Linear:
    """A convolution or a linear layer as it was called: ``call(input, weight, bias)`` gives its output."""

    call: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None

    def changed(self, a: Tensor, change: Callable[[Tensor], Tensor], bias: bool = True) -> Tensor:
        """Return the output for input ``a`` with ``change`` applied to weights and, where wanted, to the bias."""
        return self.call(a, change(self.weight), change(self.bias) if bias and self.bias is not None else None)

    def signed(self, a: Tensor, up: Callable[[Tensor], Tensor], down: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the output with weights ``up(w)`` for the positive inputs and ``down(w)`` for the negative ones."""
        result = self.changed(a.clamp(min=0), up)
        return result if bool((a >= 0).all()) else result + self.changed(a.clamp(max=0), down, bias=False)


def gamma_rule(gamma: float) -> Rule:
    """Return the gamma rule (Montavon et al., 2019): what works in the output's own direction counts 1 + gamma fold."""

    def favour_positive(w: Tensor) -> Tensor:
        return w + gamma * w.clamp(min=0)

    def favour_negative(w: Tensor) -> Tensor:
        return w + gamma * w.clamp(max=0)

    def rule(linear: Linear, value: Tensor, a: Tensor) -> Parts:
        parts = [((value > 0).to(value.dtype), linear.signed(a, favour_positive, favour_negative))]
        if bool((value < 0).any()):
            parts += [((value < 0).to(value.dtype), linear.signed(a, favour_negative, favour_positive))]
        return parts

    return rule


def alpha_beta_rule(alpha: float) -> Rule:
    """Return the alpha-beta rule (Bach et al., 2015): alpha shares to what raised the output, -beta to what lowered it.

    With beta = alpha - 1 the relevance is kept wherever there is something of both kinds; a bias counts by its sign.
    """

    def rule(linear: Linear, value: Tensor, a: Tensor) -> Parts:
        parts = [(alpha, linear.signed(a, _positive, _negative))]
        return parts if alpha == 1 else [*parts, (1 - alpha, linear.signed(a, _negative, _positive))]

    return rule


def z_box_rule(linear: Linear, value: Tensor, a: Tensor, low: Tensor, high: Tensor) -> Parts:
    """Return z^B for inputs between ``low`` and ``high`` (Montavon et al., 2017): what each adds to its worst value."""
    part = linear.changed(a, lambda w: w, bias=False)
    part = part - linear.changed(low, _positive, bias=False) - linear.changed(high, _negative, bias=False)
    return [(1.0, part)]


def _positive(w: Tensor) -> Tensor:
    return w.clamp(min=0)


def _negative(w: Tensor) -> Tensor:
    return w.clamp(max=0)


class _Shares(autograd.Function):
    """Forward: the value. Backward: through parts, worked out only then, so that a branch never used costs nothing."""

    @staticmethod
    def forward(ctx, value: Tensor, epsilon: float, parts: Callable[..., Parts] | None, *inputs: Tensor) -> Tensor:
        ctx.epsilon, ctx.parts = epsilon, parts
        ctx.save_for_backward(value, *inputs)
        return value.clone()

    @staticmethod
    def backward(ctx, g: Tensor):
        value, *inputs = ctx.saved_tensors
        relevance = g * value
        if ctx.parts is None:
            return None, None, None, relevance / _away_from_zero(inputs[0], ctx.epsilon)
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in inputs]
            value = torch.where(relevance == 0, 0, value)  # behind a ReLU nothing arrives at negative outputs
            shares, outputs = zip(*ctx.parts(value, *leaves), strict=True)
        quotients = [
            s * relevance / _away_from_zero(z.detach(), ctx.epsilon) for s, z in zip(shares, outputs, strict=True)
        ]
        return None, None, None, *autograd.grad(outputs, leaves, quotients)


def in_shares(value: Tensor, epsilon: float, parts: Callable[..., Parts] | None, *inputs: Tensor) -> Tensor:
    """Return ``value``, which passes ``share * R / (part + epsilon sign part)`` back through each of its parts.

    Args:
        value: a layer's true output.
        epsilon: keeps the denominators from zero.
        parts: ``parts(value, *inputs)``, see this module's head; ``None`` where the only input is the only part.
        inputs: tensors of the graph.
    """
    return _Shares.apply(value.detach(), epsilon, parts, *inputs)


def _away_from_zero(z: Tensor, epsilon: float) -> Tensor:
    return z + torch.where(z < 0, -epsilon, epsilon)


RULES = ("epsilon", "gamma", "alpha_beta")
# Calls whose input times gradient is the relevance that belongs to the input
_PLAIN = {
    *("relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "dropout", "dropout2d", "clone", "contiguous", "__get__"),
    *("max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d", "amax", "max", "maximum"),
    *("avg_pool2d", "adaptive_avg_pool2d", "mean", "sum", "cat", "concat", "stack", "pad"),
    *("max_pool1d", "max_pool1d_with_indices", "adaptive_max_pool1d", "avg_pool1d", "adaptive_avg_pool1d", "dropout1d"),
    *("add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "__sub__", "__isub__"),
    *("flatten", "view", "reshape", "transpose", "permute", "squeeze", "unsqueeze", "expand", "__getitem__"),
    *("chunk", "split", "unbind", "narrow", "channel_shuffle", "to", "float", "double"),
}
_SCALINGS = {"mul", "mul_", "__mul__", "__rmul__", "__imul__", "div", "div_", "__truediv__", "__itruediv__"}


def lrp(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    rule: str = "epsilon",
    dense: str | None = None,
    first: str | None = None,
    bounds: tuple[float | Tensor, float | Tensor] | None = None,
    layer: str | nn.Module | None = None,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    alpha: float = 2.0,
) -> Tensor:
    """Return the relevance of the input, or of a layer's output, for one logit (Bach et al., 2015).

    The epsilon rule is ``R_j = sum_k a_j w_jk R_k / (z_k + epsilon sign z_k)``; the others change the weights above
    and below. It starts from the logit, so the relevance of each layer adds up to the logit, but for what the biases
    between keep. A BatchNorm counts as part of the layer before it. The branches of a residual block share in
    proportion to what each adds. Costs one forward and one backward pass under ``"epsilon"``, and up to three of each
    under the other rules.

    Args:
        model: classifier of convolutions, linear layers, BatchNorm, ReLUs, pooling, sums and concatenations,
            [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes.
        target: as for :func:`gradient`.
        rule: of convolutions and linear layers: ``"epsilon"``, ``"gamma"`` (favours what works in the output's
            direction; Montavon et al., 2019) or ``"alpha_beta"`` (what raised and what lowered the output, apart).
        dense: another rule for the linear layers.
        first: another rule for the layer that takes the picture; here also ``"z_box"``, which reckons from the ends
            of the range of pixels (z^B; Montavon et al., 2017) and needs ``bounds``.
        bounds: the lowest and the highest value of a pixel, in the units of ``x``: floats, or tensors that
            broadcast to ``x``.
        layer: module or its name; ``None`` for the input.
        epsilon: keeps denominators from zero, in the units of a layer's output.
        gamma: 0 for the epsilon rule; the larger, the less the opposing weights count.
        alpha: share of what raised the output, 1 or more; what lowered it gets ``-beta = 1 - alpha``.

    Returns:
        Signed relevance in logits, detached: [N, C, H, W], or in the shape of the layer's output.

    Raises:
        ValueError: an operation without a rule, which is named; a layer that has no relevance of its own; rules,
            bounds or numbers that do not exist.
        TypeError: pictures or target of another kind.
    """
    rules = {"epsilon": None, "gamma": gamma_rule(gamma), "alpha_beta": alpha_beta_rule(alpha), "z_box": z_box_rule}
    for name in (rule, dense or rule, first or rule):
        if name not in RULES and (name != "z_box" or name in (rule, dense)):
            raise ValueError(f"There is no rule {name!r}: use {', '.join(map(repr, RULES))}, or first='z_box'.")
    if (first == "z_box") != (bounds is not None):
        raise ValueError("first='z_box' and bounds=(lowest, highest) belong together: give both, or neither.")
    if not (epsilon > 0 and gamma >= 0 and alpha >= 1):
        raise ValueError(f"epsilon={epsilon}, gamma={gamma}, alpha={alpha}; give epsilon > 0, gamma >= 0, alpha >= 1.")
    maps = nullcontext() if layer is None else capture(find_layer(model, layer))
    with explaining(model):
        x = check_pictures(x, model).requires_grad_()
        picture = (x, *_edges(x, bounds)) if bounds else (x,)
        chosen = {"conv1d": rules[rule], "conv2d": rules[rule], "linear": rules[dense or rule]}
        if first:
            chosen["first"] = rules[first]
        with _Propagation(picture, chosen, epsilon), maps as record:
            logits = run(model, x)
        scores = score(logits, target)
        parts = picture if record is None else (record.activations,)
        gradients = autograd.grad(scores.sum(), parts, allow_unused=True) if scores.requires_grad else (None,)
    if gradients[0] is None:
        raise ValueError(
            "No relevance arrives there: the score does not depend on it, or it is the output of a layer that is "
            "merged with the BatchNorm behind it; ask for the BatchNorm's."
        )
    result = sum(part.detach() * g for part, g in zip(parts, gradients, strict=True))
    if (result.flatten(1) == 0).all(1).any():
        raise ValueError("The relevance is zero everywhere: the score is zero, or every ReLU before it is off.")
    return result


def _edges(x: Tensor, bounds: tuple[float | Tensor, float | Tensor]) -> list[Tensor]:
    """Return the lowest and the highest picture, in the shape of ``x``, after checking that ``x`` lies between."""
    low, high = (torch.as_tensor(bound, dtype=x.dtype, device=x.device).expand_as(x).clone() for bound in bounds)
    slack = 1e-4 * (high - low)
    if bool((x < low - slack).any() or (x > high + slack).any()):
        raise ValueError("Values lie outside of the bounds; give bounds in the units of x, after its normalisation.")
    return [low.requires_grad_(), high.requires_grad_()]


class _Propagation(TorchFunctionMode):
    """Inside the block each linear layer passes its gradient back by a rule, and a call without a rule is refused."""

    def __init__(self, picture: tuple[Tensor, ...], rules: dict[str, Rule | None], epsilon: float) -> None:
        super().__init__()
        self.rules, self.epsilon = rules, epsilon
        self.pictures = {id(picture[0]): picture}  # the picture, and what flattening and its like made of it
        self.last: dict[int, tuple] = {}  # id of a linear layer's output -> that output, to keep its id, and the layer

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Give linear layers their rule, let through what shares by itself, refuse the rest."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", str(func))
        if name in ("conv1d", "conv2d", "linear"):
            return self._linear(func, name, *args, **kwargs)
        if name == "batch_norm":
            return self._batch_norm(func, *args, **kwargs)
        if name in ("hardtanh", "relu6"):  # ReLU6: at its ceiling it still passes all of its relevance on
            z, ceiling = args[0] if args else kwargs["input"], 6.0 if name == "relu6" else kwargs["max_val"]
            if name == "relu6" or kwargs["min_val"] == 0:
                return in_shares(z.clamp(0, ceiling), self.epsilon, None, z)
        result = func(*args, **kwargs)
        results = result if isinstance(result, tuple | list) else [result]
        if not any(isinstance(r, Tensor) and r.requires_grad for r in results):
            return result  # a size, a type, a constant
        given = [isinstance(a, Tensor) and a.requires_grad for a in (*args, *kwargs.values())]
        if name not in _PLAIN and not (name in _SCALINGS and sum(given) == 1 and given[0]):
            raise ValueError(
                f"LRP has no rule for {name!r}: it knows convolutions, linear layers, BatchNorm, ReLUs, pooling and "
                "sums. integrated_gradients works for any network."
            )
        self.last.pop(id(result), None)  # changed in place: no longer a linear layer's output
        if args and id(args[0]) in self.pictures:
            parts = self.pictures[id(args[0])]
            self.pictures[id(result)] = (result, *(func(edge, *args[1:], **kwargs) for edge in parts[1:]))
        if name == "clone" and id(args[0]) in self.last:  # captured on its way to a BatchNorm
            self.last[id(result)] = (result, *self.last[id(args[0])][1:])
        return result

    def _linear(self, func, name: str, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args, **kwargs):
        z = func(input, weight, bias, *args, **kwargs)
        if not z.requires_grad:
            return z
        at_start = id(input) in self.pictures and "first" in self.rules
        rule = self.rules["first" if at_start else name]
        inputs = self.pictures[id(input)] if at_start else (input,)
        linear = Linear(lambda a, w, b: func(a, w, b, *args, **kwargs), weight, bias)
        result = self._ruled(z, rule, linear, inputs)
        self.last[id(result)] = (result, z, rule, linear, inputs)
        return result

    def _batch_norm(
        self, func, input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
    ):
        if training or running_mean is None:
            raise ValueError("LRP has no rule for a BatchNorm that takes its statistics from the batch.")
        _, z, rule, linear, inputs = self.last.get(id(input), (None, input, None, None, ()))
        result = func(z, running_mean, running_var, weight, bias, eps=eps)
        if rule is None:
            return self._ruled(result, None, None, ())
        scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
        shift = (0 if bias is None else bias) - running_mean * scale
        merged = Linear(
            linear.call,
            linear.weight * scale.view(-1, *[1] * (linear.weight.dim() - 1)),
            shift if linear.bias is None else linear.bias * scale + shift,
        )
        return self._ruled(result, rule, merged, inputs)

    def _ruled(self, z: Tensor, rule: Rule | None, linear: Linear | None, inputs: tuple[Tensor, ...]) -> Tensor:
        if rule is None:  # the epsilon rule changes no weight: z itself is the part
            return in_shares(z, self.epsilon, None, z)
        return in_shares(z, self.epsilon, partial(rule, linear), *inputs)
