"""The rules of LRP for one linear layer: through which changed outputs its relevance flows back, and in which shares.

A rule is a function ``(linear, value, *inputs) -> [(share, part), ...]``. ``value`` is the layer's output z, or 0
where it has no relevance, a ``part`` an output of the same shape with changed weights. With R the relevance of z,
``share * R / part`` goes back through each part's weights, and an input's relevance is the input times what arrives at
it. ``inputs`` is the layer's input alone, and for z^B also the lowest and the highest value that it can have.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, autograd

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
