r"""Layer-wise relevance propagation (Bach et al., 2015): the score is distributed layer by layer back to the inputs.

This module has three parts, to be read from top to bottom.

1. `hand_back` takes one layer back: from the relevance of its outputs to the relevance of its inputs.
2. The rules say which weights the layer has on the way back. Each is a formula of a paper, in the lines of the formula.
3. `lrp` walks through a whole network. It uses one fact: if the relevance of a unit is written as its output times a
   factor, :math:`R_k = z_k g_k`, then :math:`R_j = a_j \sum_k w_{jk} R_k / z_k = a_j \sum_k w_{jk} g_k`. So the
   factors travel as gradients do. A ReLU lets the factor through, max-pooling gives it to the maximum, averages and
   concatenations pass it on, and in a sum of two branches (:math:`R_s = s g`, :math:`R_f = f g`) each branch gets
   relevance in proportion to what it has added. PyTorch's backward pass does all of this already. Only convolutions and
   linear layers need a rule, and `_Walk` meets each of them when the network calls it.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, autograd, nn
from torch.overrides import TorchFunctionMode

from helpers.attribution._common import Target, backward_pass, check_pictures, explaining, run, score, without_autocast
from helpers.hooks import capture, find_layer

# --- one layer ---


def hand_back(layer: Callable[[Tensor], Tensor], a: Tensor, R: Tensor, epsilon: float = 1e-6) -> Tensor:
    r"""Return the relevance of a layer's inputs from the relevance of its outputs (LRP-epsilon; Bach et al., 2015).

    .. math:: R_j = a_j \sum_k w_{jk} \frac{R_k}{z_k + \epsilon \, \mathrm{sign} \, z_k},
              \quad z_k = \sum_j a_j w_{jk} + b_k

    The sum over k is what the backward pass gives when :math:`R_k / z_k` arrives at the output, so that one function
    serves linear layers and convolutions. With a tiny epsilon this is LRP-0. A bias is one more part of :math:`z_k`,
    and keeps its share.

    Args:
        layer: a linear layer or a convolution, ``a -> z``.
        a: inputs of the layer, [N, ...].
        R: relevance of its outputs, in the shape of ``layer(a)``.
        epsilon: keeps the denominators away from zero, in the units of z; a larger one absorbs relevance.

    Returns:
        Relevance of the inputs, in the shape of ``a``, detached.

    Raises:
        RuntimeError: inputs or relevance of another shape than the layer's, in PyTorch's words.

    >>> import torch
    >>> from helpers.attribution.relevance import hand_back
    >>> layer = torch.nn.Linear(3, 1, bias=False)
    >>> layer.weight.data = torch.tensor([[2.0, 1.0, -1.0]])
    >>> hand_back(layer, torch.tensor([[1.0, 2.0, 1.0]]), R=torch.tensor([[6.0]])).round(decimals=3)
    tensor([[ 4.,  4., -2.]])
    """
    (c,) = _factors(layer, (a,), R, epsilon)
    return a.detach() * c


def _factors(z_of: Callable[..., Tensor], inputs: tuple[Tensor, ...], R: Tensor, epsilon: float) -> tuple[Tensor, ...]:
    """Return what each input is multiplied by in the formula of `hand_back`: the sum over k. ``z_of(*inputs)`` is z."""
    if not R.any():  # as behind a ReLU, where nothing arrives at negative outputs
        return tuple(torch.zeros_like(a) for a in inputs)
    with torch.enable_grad():
        inputs = tuple(a.detach().requires_grad_() for a in inputs)
        z = z_of(*inputs)
    s = R / _away_from_zero(z.detach(), epsilon)
    return autograd.grad(z, inputs, s)


def _away_from_zero(z: Tensor, epsilon: float) -> Tensor:
    return z + torch.where(z < 0, -epsilon, epsilon)


@dataclass(frozen=True)
class Layer:
    """A convolution or a linear layer as the network called it, whose weights can be changed on the way back.

    Attributes:
        call: ``call(inputs, weight, bias)`` gives the outputs.
        weight: [K, ...].
        bias: [K], or None.
    """

    call: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None

    def outputs(self, a: Tensor, change: Callable[[Tensor], Tensor], bias: bool = True) -> Tensor:
        """Return the outputs for inputs ``a`` with ``change`` applied to the weights, and to the bias if it counts."""
        return self.call(a, change(self.weight), change(self.bias) if bias and self.bias is not None else None)

    def by_sign(self, a: Tensor, above: Callable[[Tensor], Tensor], below: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the outputs with weights ``above(w)`` for the positive inputs and ``below(w)`` for the negative ones.

        Rules speak of the sign of a product a w. For a negative input this is the opposite of the sign of w.
        """
        z = self.outputs(a.clamp(min=0), above)
        return z if bool((a >= 0).all()) else z + self.outputs(a.clamp(max=0), below, bias=False)

    def merged_with(self, scale: Tensor, shift: Tensor) -> "Layer":
        """Return this layer and the BatchNorm ``scale * z + shift`` behind it as one layer, which is linear as well."""
        weight = self.weight * scale.view(-1, *[1] * (self.weight.dim() - 1))
        return Layer(self.call, weight, shift if self.bias is None else self.bias * scale + shift)


# --- the rules: each returns the factors c with R_j = a_j c_j ---

Rule = Callable[..., Tensor | tuple[Tensor, ...]]


def positive(w: Tensor) -> Tensor:
    r"""Return :math:`w^+ = \max(w, 0)` for a tensor of any shape.

    >>> import torch
    >>> positive(torch.tensor([-2.0, 3.0]))
    tensor([0., 3.])
    """
    return w.clamp(min=0)


def negative(w: Tensor) -> Tensor:
    r"""Return :math:`w^- = \min(w, 0)` for a tensor of any shape.

    >>> import torch
    >>> negative(torch.tensor([-2.0, 3.0]))
    tensor([-2.,  0.])
    """
    return w.clamp(max=0)


def epsilon_rule(layer: Layer, a: Tensor, z: Tensor, R: Tensor, epsilon: float) -> Tensor:
    r"""Return the factors of LRP-epsilon (Bach et al., 2015), and of LRP-0 where epsilon is tiny.

    .. math:: R_j = a_j c_j, \quad c_j = \sum_k \frac{w_{jk}}{z_k + \epsilon \, \mathrm{sign} \, z_k} R_k

    Args:
        layer: as the network called it.
        a: its inputs [N, ...].
        z: its outputs [N, ...].
        R: relevance of the outputs, in the shape of z.
        epsilon: keeps the denominators away from zero, in the units of z.

    Returns:
        Factors c, in the shape of ``a``.

    >>> import torch
    >>> layer = Layer(torch.nn.functional.linear, torch.tensor([[2.0, -1.0]]), None)
    >>> a, z, R = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0]]), torch.tensor([[1.0]])
    >>> (a * epsilon_rule(layer, a, z, R, 1e-9)).round(decimals=3)
    tensor([[ 2., -1.]])
    """
    (c,) = _factors(lambda a: layer.outputs(a, lambda w: w), (a,), R, epsilon)
    return c


def gamma_rule(layer: Layer, a: Tensor, z: Tensor, R: Tensor, epsilon: float, *, gamma: float) -> Tensor:
    r"""Return the factors of LRP-gamma (Montavon et al., 2019): parts with the sign of the output count for more.

    .. math:: R_j = \sum_k \frac{a_j w_{jk} + \gamma (a_j w_{jk})^+}{\sum_i a_i w_{ik} + \gamma (a_i w_{ik})^+} R_k
              \quad (z_k > 0)

    Where :math:`z_k < 0`, the negative parts :math:`(a_j w_{jk})^-` take the place of the positive ones. The paper has
    inputs that are not negative, for which :math:`(a_j w_{jk})^+ = a_j w_{jk}^+`, and the first case only. A bias is
    one more part of the denominator, changed in the same way.

    Args:
        layer: as the network called it.
        a: its inputs [N, ...].
        z: its outputs [N, ...].
        R: relevance of the outputs, in the shape of z.
        epsilon: keeps the denominators away from zero, in the units of z.
        gamma: 0 or more; with 0 it is the epsilon rule.

    Returns:
        Factors c with :math:`R_j = a_j c_j`, in the shape of ``a``.

    >>> import torch
    >>> layer = Layer(torch.nn.functional.linear, torch.tensor([[2.0, -1.0]]), None)
    >>> a, z, R = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0]]), torch.tensor([[1.0]])
    >>> (a * gamma_rule(layer, a, z, R, 1e-9, gamma=1.0)).round(decimals=3)
    tensor([[ 1.3330, -0.3330]])
    """

    def more_positive(w: Tensor) -> Tensor:
        return w + gamma * positive(w)

    def more_negative(w: Tensor) -> Tensor:
        return w + gamma * negative(w)

    (up,) = _factors(lambda a: layer.by_sign(a, more_positive, more_negative), (a,), R * (z > 0), epsilon)
    (down,) = _factors(lambda a: layer.by_sign(a, more_negative, more_positive), (a,), R * (z < 0), epsilon)
    return up + down


def alpha_beta_rule(layer: Layer, a: Tensor, z: Tensor, R: Tensor, epsilon: float, *, alpha: float) -> Tensor:
    r"""Return the factors of LRP-alpha-beta (Bach et al., 2015): positive and negative parts weighted apart.

    .. math:: R_j = \sum_k \Big( \alpha \frac{(a_j w_{jk})^+}{\sum_i (a_i w_{ik})^+}
              - \beta \frac{(a_j w_{jk})^-}{\sum_i (a_i w_{ik})^-} \Big) R_k, \quad \alpha - \beta = 1

    A bias counts in the sum of its own sign. With :math:`\alpha = 1` only what raised the output counts: for inputs
    that are not negative this is the z+ rule of Montavon et al. (2017).

    Args:
        layer: as the network called it.
        a: its inputs [N, ...].
        z: its outputs [N, ...]; not used.
        R: relevance of the outputs, in the shape of z.
        epsilon: keeps the denominators away from zero, in the units of z.
        alpha: 1 or more.

    Returns:
        Factors c with :math:`R_j = a_j c_j`, in the shape of ``a``.

    >>> import torch
    >>> layer = Layer(torch.nn.functional.linear, torch.tensor([[2.0, -1.0]]), None)
    >>> a, z, R = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0]]), torch.tensor([[1.0]])
    >>> (a * alpha_beta_rule(layer, a, z, R, 1e-9, alpha=2.0)).round(decimals=3)
    tensor([[ 2., -1.]])
    """
    beta = alpha - 1
    (raised,) = _factors(lambda a: layer.by_sign(a, positive, negative), (a,), R, epsilon)
    if beta == 0:
        return raised
    (lowered,) = _factors(lambda a: layer.by_sign(a, negative, positive), (a,), R, epsilon)
    return alpha * raised - beta * lowered


def z_box_rule(
    layer: Layer, x: Tensor, low: Tensor, high: Tensor, z: Tensor, R: Tensor, epsilon: float
) -> tuple[Tensor, ...]:
    r"""Return the factors of z^B, a rule for the layer that takes the picture (Montavon et al., 2017).

    It measures each pixel from the value that makes the output smallest: the lowest, :math:`l`, where the weight is
    positive, and the highest, :math:`h`, where it is negative. So no part is negative.

    .. math:: R_j = \sum_k \frac{x_j w_{jk} - l_j w_{jk}^+ - h_j w_{jk}^-}
              {\sum_i x_i w_{ik} - l_i w_{ik}^+ - h_i w_{ik}^-} R_k = x_j c_j + l_j c^l_j + h_j c^h_j

    Args:
        layer: as the network called it.
        x: the picture [N, C, H, W].
        low: the lowest possible picture, in the shape of ``x``.
        high: the highest possible picture, in the shape of ``x``.
        z: outputs of the layer [N, ...]; not used.
        R: relevance of the outputs, in the shape of z.
        epsilon: keeps the denominators away from zero, in the units of z.

    Returns:
        The three factors c of ``x``, ``low`` and ``high``, each in the shape of ``x``.

    >>> import torch
    >>> layer = Layer(torch.nn.functional.linear, torch.tensor([[2.0, -1.0]]), None)
    >>> x, low, high, z, R = (torch.tensor([v]) for v in ([0.5, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0], [1.0]))
    >>> c = z_box_rule(layer, x, low, high, z, R, 1e-9)
    >>> sum(part * factor for part, factor in zip((x, low, high), c)).round(decimals=3)  # a black pixel has a share
    tensor([[0.5000, 0.5000]])
    """

    def above_the_worst(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        z = layer.outputs(x, lambda w: w, bias=False)
        return z - layer.outputs(low, positive, bias=False) - layer.outputs(high, negative, bias=False)

    return _factors(above_the_worst, (x, low, high), R, epsilon)


# --- a whole network ---

RULES = ("epsilon", "gamma", "alpha_beta")


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
    r"""Return the relevance of the input, or of a layer's output, for one score (Bach et al., 2015).

    .. math:: R_j = \sum_k \frac{a_j w_{jk}}{z_k + \epsilon \, \mathrm{sign} \, z_k} R_k

    is the epsilon rule; the others change the weights in numerator and denominator, see `gamma_rule`, `alpha_beta_rule`
    and `z_box_rule`. The propagation starts from the score. The relevance of each layer adds up to the score, less what
    the biases behind it keep. A BatchNorm counts as part of the layer before it. The branches of a residual block get
    relevance in proportion to what each adds. Costs one forward and one backward pass under ``"epsilon"``, and up to
    three of each under the other rules.

    A bias, also one that comes from a BatchNorm, absorbs its part of the denominator in every layer. In a network of
    fifty layers little of the score is left at the pixels: with the gamma rule some 1 % in EfficientNet-Lite0. Nothing
    else absorbs much: without its biases the same network's relevance adds up to the score. A ReLU6 passes all of its
    relevance on, also at its ceiling.

    The sum is checked: the relevance of the input and what the biases kept must make up the score.

    Args:
        model: classifier of convolutions, linear layers, BatchNorm, ReLUs, pooling, sums and concatenations,
            [N, C, H, W] -> logits [N, classes]; a module in any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], or texts [N, C, L], float32 or float64, in the units that the network takes.
        target: which score to explain: ``None`` for each picture's top class, a class number, one class number for
            each picture [N], or a linear function of the logits that returns [N].
        rule: of convolutions and linear layers: ``"epsilon"``, ``"gamma"`` (favours parts with the sign of the
            output; Montavon et al., 2019) or ``"alpha_beta"`` (weights positive and negative parts apart).
        dense: another rule for the linear layers.
        first: another rule for the layer that takes the picture; here also ``"z_box"``, which measures pixels
            from the ends of their range (z^B; Montavon et al., 2017) and needs ``bounds``.
        bounds: the lowest and the highest value of a pixel, in the units of ``x``: numbers, or tensors that
            broadcast to ``x``.
        layer: module of the model, or its name, whose output's relevance is wanted; ``None`` for the input.
        epsilon: keeps denominators away from zero, in the units of a layer's output.
        gamma: 0 for the epsilon rule; the larger, the less the opposing weights count.
        alpha: share of what raised the output, 1 or more; what lowered it gets ``-beta = 1 - alpha``.

    Returns:
        Signed relevance in logits, detached: in the shape of ``x``, or of the layer's output.

    Raises:
        ValueError: an operation without a rule, which is named; an operation that cannot be seen from here, such as
            inside of a torch.jit module; a layer that has no relevance of its own; rules, bounds or numbers that do not
            exist; half precision; relevance and biases that do not make up the score.
        TypeError: pictures or target of another kind.

    Source:
        Bach, Binder, Montavon, Klauschen, Mueller and Samek, "On Pixel-Wise Explanations for Non-Linear Classifier
        Decisions by Layer-Wise Relevance Propagation", 2015.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(36, 5, False)
        ... )
        >>> x = torch.rand(2, 3, 5, 5)
        >>> relevance = attribution.lrp(net, x, target=1)
        >>> relevance.shape
        torch.Size([2, 3, 5, 5])
        >>> torch.allclose(relevance.sum((1, 2, 3)), net(x)[:, 1], atol=1e-3)  # no bias keeps a share
        True
    """
    rules = _rules(rule, dense, first, bounds, epsilon, gamma, alpha)
    watched = nullcontext() if layer is None else capture(find_layer(model, layer))
    with without_autocast(x), explaining(model):
        x = _exact(check_pictures(x, model)).requires_grad_()
        picture = (x, *_bounds_as_pictures(x, bounds)) if bounds else (x,)
        with _Walk(picture, rules, epsilon) as walk, watched as record:
            scores = score(run(model, x), target)
            walk.check_end(scores)
        asked = picture if record is None else (record.activations,)
        with backward_pass(model):
            factors = autograd.grad(scores.sum(), asked, allow_unused=True) if scores.requires_grad else (None,)
    if factors[0] is None:
        raise ValueError(
            "No relevance arrives there: the score does not depend on it, or it is the output of a layer that is "
            "merged with the BatchNorm behind it; ask for the BatchNorm's."
        )
    relevance = sum(part.detach() * c for part, c in zip(asked, factors, strict=True))
    _check_alive(relevance)
    if record is None:
        walk.conservation.check(scores.detach(), relevance)
    return relevance


def _rules(
    rule: str,
    dense: str | None,
    first: str | None,
    bounds: tuple | None,
    epsilon: float,
    gamma: float,
    alpha: float,
) -> dict[str, Rule]:
    """Return the rule of each kind of call, and of the first layer, after checking names and numbers."""
    for name in (rule, dense or rule, first or rule):
        if name not in RULES and (name != "z_box" or name in (rule, dense)):
            raise ValueError(f"There is no rule {name!r}: use {', '.join(map(repr, RULES))}, or first='z_box'.")
    if (first == "z_box") != (bounds is not None):
        raise ValueError("first='z_box' and bounds=(lowest, highest) belong together: give both, or neither.")
    if not (epsilon > 0 and gamma >= 0 and alpha >= 1):
        raise ValueError(f"epsilon={epsilon}, gamma={gamma}, alpha={alpha}; give epsilon > 0, gamma >= 0, alpha >= 1.")
    named = {
        "epsilon": epsilon_rule,
        "gamma": partial(gamma_rule, gamma=gamma),
        "alpha_beta": partial(alpha_beta_rule, alpha=alpha),
        "z_box": z_box_rule,
    }
    chosen = {"conv1d": named[rule], "conv2d": named[rule], "linear": named[dense or rule]}
    return chosen | ({"first": named[first]} if first else {})


def _exact(x: Tensor) -> Tensor:
    if torch.finfo(x.dtype).bits < 32:
        raise ValueError(
            f"LRP divides by sums that may be near zero, and {x.dtype} is too coarse for that: give model.float() and "
            "x.float()."
        )
    return x


def _bounds_as_pictures(x: Tensor, bounds: tuple[float | Tensor, float | Tensor]) -> list[Tensor]:
    """Return the lowest and the highest picture, in the shape of ``x``, after checking that ``x`` lies between."""
    low, high = (torch.as_tensor(bound, dtype=x.dtype, device=x.device).expand_as(x).clone() for bound in bounds)
    slack = 1e-4 * (high - low)
    if bool((x < low - slack).any() or (x > high + slack).any()):
        raise ValueError("Values lie outside of the bounds; give bounds in the units of x, after its normalisation.")
    return [low.requires_grad_(), high.requires_grad_()]


def _check_alive(relevance: Tensor) -> None:
    dead = (relevance.flatten(1) == 0).all(1)
    if dead.any():
        raise ValueError(
            f"The relevance of input {int(dead.nonzero()[0])} is zero everywhere: its score is zero, or every ReLU "
            "before it is off."
        )


# --- the walk through the network ---

# Calls that pass the factor g on as their gradient does, with sum R = sum (output * g) = sum (input * g).
_PASS_ON = {
    *("relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "clone", "contiguous", "__get__"),
    *("dropout", "dropout_", "dropout1d", "dropout2d", "feature_dropout", "alpha_dropout"),
    *("max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "amax", "max", "maximum"),
    *("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "mean", "sum"),
    *("cat", "concat", "stack", "pad", "interpolate", "neg", "__neg__"),
    *("flatten", "unflatten", "view", "view_as", "reshape", "reshape_as", "ravel", "transpose", "permute", "movedim"),
    *("squeeze", "unsqueeze", "expand", "expand_as", "repeat", "flip", "roll", "pixel_shuffle", "pixel_unshuffle"),
    *("__getitem__", "select", "gather", "index_select", "chunk", "split", "unbind", "narrow", "channel_shuffle"),
    *("to", "float", "double", "type_as"),
}
_SUMS = {"add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "__sub__", "__isub__", "rsub", "__rsub__"}
_PRODUCTS = {"mul", "mul_", "__mul__", "__rmul__", "__imul__"}
_QUOTIENTS = {"div", "div_", "__truediv__", "__itruediv__"}


@dataclass
class _Conservation:
    """The conservation check: relevance that biases, constants and epsilons kept, and how much was passed on.

    The sum of what was passed on, without signs, bounds the rounding error that the check allows.
    """

    kept: list[Tensor] = field(default_factory=list)
    moved: list[Tensor] = field(default_factory=list)

    def note(self, R: Tensor, passed: Tensor) -> None:
        """Enter that relevance ``R`` arrived at a layer, which passed the sum ``passed`` on to its inputs."""
        self.kept.append(R.sum() - passed)
        self.moved.append(R.norm(1))

    def check(self, scores: Tensor, relevance: Tensor) -> None:
        """Raise ValueError if relevance and what was kept do not make up the scores, up to rounding."""
        kept = torch.stack(self.kept).sum() if self.kept else 0.0
        moved = torch.stack([scores.abs().sum(), relevance.abs().sum(), *self.moved]).max()
        found, due = float(relevance.sum() + kept), float(scores.sum())
        if not abs(found - due) <= 1e3 * torch.finfo(relevance.dtype).eps * float(moved):
            raise ValueError(
                f"The relevance of the inputs and what the biases kept add up to {found:.5g}, the scores to {due:.5g}: "
                "an operation of the model, or the target function, is none that LRP has a rule for, such as a maximum "
                "with a constant, or values that are changed behind PyTorch's back. integrated_gradients works for any "
                "network."
            )


class _EpsilonBackward(autograd.Function):
    """Forward: ``value``, which is made of z. Backward: the factor R / (z + epsilon sign z), passed on by PyTorch.

    With value = z, the output of a linear layer, this is the epsilon rule, and costs no second run of the layer.
    """

    @staticmethod
    def forward(
        ctx, z: Tensor, value: Tensor, bias: Tensor | None, epsilon: float, conservation: _Conservation
    ) -> Tensor:
        ctx.save_for_backward(z, value)
        ctx.bias, ctx.epsilon, ctx.conservation = bias, epsilon, conservation
        return value.clone()

    @staticmethod
    def backward(ctx, g: Tensor):
        z, value = ctx.saved_tensors
        R = g * value
        s = R / _away_from_zero(z, ctx.epsilon)
        ctx.conservation.note(R, passed=(s * (z if ctx.bias is None else z - ctx.bias)).sum())
        return s, None, None, None, None


class _RuleBackward(autograd.Function):
    """Forward: z, the output of a layer for its inputs. Backward: the factors that a rule gives to the inputs."""

    @staticmethod
    def forward(
        ctx, z: Tensor, layer: Layer, rule: Rule, epsilon: float, conservation: _Conservation, *inputs: Tensor
    ) -> Tensor:
        ctx.save_for_backward(z, *inputs)
        ctx.layer, ctx.rule, ctx.epsilon, ctx.conservation = layer, rule, epsilon, conservation
        return z.clone()

    @staticmethod
    def backward(ctx, g: Tensor):
        z, *inputs = ctx.saved_tensors
        R = g * z
        factors = ctx.rule(ctx.layer, *inputs, z, R, ctx.epsilon)
        factors = factors if isinstance(factors, tuple) else (factors,)
        ctx.conservation.note(R, passed=sum((a * c).sum() for a, c in zip(inputs, factors, strict=True)))
        return None, None, None, None, None, *factors


@dataclass
class _Called:
    """The call that made a tensor: a layer gave z for its inputs. A BatchNorm that follows may be merged with it."""

    layer: Layer
    rule: Rule
    inputs: tuple[Tensor, ...]
    z: Tensor
    version: int  # of the tensor: a change in place makes it something else


@dataclass
class _Note:
    """What `_Walk` attaches to each tensor that depends on the picture, as proof that it saw the call that made it."""

    edges: tuple[Tensor, ...] | None = None  # lowest and highest picture, reshaped in the same way as the picture
    called: _Called | None = None


class _Walk(TorchFunctionMode):
    """Inside the block each call of PyTorch is met: layers get their rule, and a call without a rule is refused.

    Each tensor on the way carries a `_Note`. One that has none came about where no call can be met (inside of a
    torch.jit module or of an autograd.Function): its gradient would pass for relevance without being any.
    """

    def __init__(self, picture: tuple[Tensor, ...], rules: dict[str, Rule], epsilon: float) -> None:
        super().__init__()
        self.rules, self.epsilon, self.conservation = rules, epsilon, _Conservation()
        self.met_first = "first" not in rules
        picture[0].note = _Note(edges=picture[1:])

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Give layers their rule, leave calls whose gradient is right for relevance, and refuse the rest."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", str(func))
        given = [tensor for tensor in _tensors((args, kwargs)) if self.check_seen(tensor)]
        if not given:
            with torch.no_grad():  # what does not depend on the picture is a constant, also where a weight may learn
                return func(*args, **kwargs)
        if name in ("conv1d", "conv2d", "linear"):
            return self._layer(func, name, *args, **kwargs)
        if name == "batch_norm":
            return self._batch_norm(func, *args, **kwargs)
        if name in ("hardtanh", "relu6") and kwargs.get("min_val", 0) == 0:
            return self._relu6(args[0] if args else kwargs["input"], kwargs.get("max_val", 6.0))
        before = given[0].note
        constant = None
        if name in _SUMS and len(given) == 1:  # a sum with a constant: what it is where the picture's part is zero
            with torch.no_grad():
                constant = func(*_exchanged(args, given[0], torch.zeros_like(given[0])), **kwargs)
        result = func(*args, **kwargs)
        if not any(tensor.requires_grad for tensor in _tensors(result)):
            return result  # a size, a type, a number of a class
        by_a_constant = len(given) == 1 and (name in _PRODUCTS or (name in _QUOTIENTS and args[0] is given[0]))
        if not (name in _PASS_ON or name in _SUMS or by_a_constant):
            raise ValueError(
                f"LRP has no rule for {name!r}: it knows convolutions, linear layers, BatchNorm, ReLUs, pooling and "
                "sums. integrated_gradients works for any network."
            )
        edges = before.edges if len(given) == 1 else None
        if edges:  # where the picture goes, the lowest and the highest picture go as well
            edges = tuple(func(*_exchanged(args, given[0], edge), **kwargs) for edge in edges)
        if constant is not None:
            for part in (result, *(edges or ())):
                part.register_hook(lambda g: self.conservation.note(g * constant, passed=0.0))
        for tensor in _tensors(result):
            tensor.note = _Note(edges, before.called if name == "clone" else None)  # a clone is made to watch a layer
        return result

    def check_seen(self, tensor: Tensor) -> bool:
        """Return whether a tensor depends on the picture; raise ValueError if it came about out of sight."""
        if not tensor.requires_grad or hasattr(tensor, "note"):
            return tensor.requires_grad
        if tensor.is_leaf:
            return False  # a parameter
        raise ValueError(
            f"LRP cannot see into the part of the model that ends in {tensor.grad_fn.name()!r}, such as a torch.jit "
            "module or an autograd.Function of one's own: give the model in plain PyTorch, or use integrated_gradients."
        )

    def check_end(self, scores: Tensor) -> None:
        """Raise ValueError if the scores came about out of sight, or if no layer was met for the rule of the first."""
        self.check_seen(scores)
        if not self.met_first:
            raise ValueError(
                "No convolution or linear layer takes the picture itself, so there is no first layer: leave out first "
                "and bounds."
            )

    def _layer(self, func, name: str, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args, **kwargs):
        if hasattr(weight, "note"):
            raise ValueError(f"LRP has no rule for {name!r} with weights that depend on the picture.")
        z = func(input, weight, bias, *args, **kwargs)
        edges = input.note.edges
        first = edges is not None and "first" in self.rules
        self.met_first |= first
        rule = self.rules["first" if first else name]
        inputs = (input, *edges) if rule is z_box_rule else (input,)
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        layer = Layer(lambda a, w, b: func(a, w, b, *args, **kwargs), weight, bias)
        result = self._with_rule(z, layer, rule, inputs)
        result.note = _Note(called=_Called(layer, rule, inputs, z, result._version))
        return result

    def _batch_norm(
        self, func, input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
    ):
        """In eval() mode a BatchNorm is ``scale * z + shift``: merged with the layer before it, or a layer itself."""
        if training or running_mean is None:
            raise ValueError("LRP has no rule for a BatchNorm that takes its statistics from the batch.")
        scale = (running_var + eps).rsqrt() * (1 if weight is None else weight.detach())
        shift = (0 if bias is None else bias.detach()) - running_mean * scale
        called = input.note.called
        if called is not None and called.version == input._version:
            z = func(called.z, running_mean, running_var, weight, bias, eps=eps)
            result = self._with_rule(z, called.layer.merged_with(scale, shift), called.rule, called.inputs)
        else:
            z = func(input, running_mean, running_var, weight, bias, eps=eps)
            result = self._with_epsilon_rule(z, bias=shift.view(-1, *[1] * (input.dim() - 2)))
        result.note = _Note()
        return result

    def _with_rule(self, z: Tensor, layer: Layer, rule: Rule, inputs: tuple[Tensor, ...]) -> Tensor:
        if rule is epsilon_rule:  # the same numbers without running the layer again
            bias = layer.bias
            return self._with_epsilon_rule(
                z, bias=None if bias is None else bias.view(-1, *[1] * (layer.weight.dim() - 2))
            )
        return _RuleBackward.apply(z.detach(), layer, rule, self.epsilon, self.conservation, *inputs)

    def _relu6(self, z: Tensor, ceiling: float) -> Tensor:
        """At its ceiling a ReLU6 has no slope, but still passes all of its relevance on."""
        result = self._with_epsilon_rule(z, value=z.detach().clamp(0, ceiling))
        result.note = _Note()
        return result

    def _with_epsilon_rule(self, z: Tensor, value: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return _EpsilonBackward.apply(z, z.detach() if value is None else value, bias, self.epsilon, self.conservation)


def _tensors(values: object) -> Iterator[Tensor]:
    """Yield the tensors among the arguments or results of a call, also those in lists."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _exchanged(args: tuple, old: Tensor, new: Tensor) -> tuple:
    return tuple(new if value is old else value for value in args)
