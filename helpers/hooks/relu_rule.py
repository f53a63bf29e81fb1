"""Another gradient for ReLUs: the rules of guided backpropagation and of the deconvnet."""

import warnings
from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Activations for which neither paper has a rule; a hardtanh that does not begin at 0 and a clamp at 0 join them.
_OTHER_ACTIVATIONS = {
    *("leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish"),
    *("sigmoid", "hardsigmoid", "logsigmoid", "tanh", "hardtanh", "softsign", "hardshrink", "softshrink", "threshold"),
    *("clamp", "clamp_min", "clip"),
}


class relu_rule(TorchFunctionMode):  # noqa: N801 - used like a function: `with relu_rule("guided"):`
    r"""Inside the block every ReLU passes gradients back by another rule; its forward pass stays the same.

    With z the ReLU's input and g the gradient that arrives at its output,

    * the true rule gives :math:`g \cdot 1[z > 0]`,
    * ``"deconv"`` gives :math:`g \cdot 1[g > 0]` (Zeiler and Fergus, 2014),
    * ``"guided"`` gives :math:`g \cdot 1[g > 0] \cdot 1[z > 0]` (Springenberg et al., 2015).

    The mode sees the *call*, not the module: ``nn.ReLU``, ``F.relu``, ``torch.relu``, ``z.relu_()`` and ReLU6, reused,
    in-place or functional, all count. Hooks on modules would miss the functional ones, and give no error.

    Args:
        rule: ``"guided"`` or ``"deconv"``.

    Attributes:
        count: how many ReLU calls were changed; zero means that the rule did nothing.
        unchanged: names and counts of other activations that were met, such as ``{"hardswish": 19}``. The rules are
            defined for ReLUs only, so these keep their true gradient. See `check`.

    Raises:
        ValueError: another rule's name.

    >>> import torch
    >>> from helpers.hooks import relu_rule
    >>> z = torch.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    >>> with relu_rule("guided") as mode:
    ...     y = torch.relu(z)
    >>> torch.autograd.grad(y, z, torch.tensor([1.0, 1.0, -1.0]))  # z < 0 stops the first, g < 0 the last
    (tensor([0., 1., 0.]),)
    >>> mode.count
    1
    """

    _INPLACE = {F.relu_, torch.relu_, Tensor.relu_}
    _RELUS = {F.relu, torch.relu, Tensor.relu} | _INPLACE

    def __init__(self, rule: str) -> None:
        super().__init__()
        if rule not in ("guided", "deconv"):
            raise ValueError(f"relu_rule knows 'guided' and 'deconv', not {rule!r}.")
        self.guided = rule == "guided"
        self.count = 0
        self.unchanged: Counter[str] = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Replace the call if it is a ReLU, and let every other call through."""
        kwargs = kwargs or {}
        if func in self._RELUS:
            ceiling = float("inf")
        elif func is F.relu6:
            ceiling = 6.0
        elif func is F.hardtanh and kwargs.get("min_val", -1.0) == 0:  # nn.ReLU6 is a Hardtanh from 0 to 6
            ceiling = float(kwargs["max_val"])
        else:
            self._note_other(getattr(func, "__name__", ""), args, kwargs)
            return func(*args, **kwargs)
        self.count += 1
        inplace = func in self._INPLACE or kwargs.get("inplace", False)
        return _ModifiedReLU.apply(args[0] if args else kwargs["input"], ceiling, self.guided, inplace)

    def _note_other(self, name: str, args: tuple, kwargs: dict) -> None:
        name = name.rstrip("_")
        if name in _OTHER_ACTIVATIONS:
            z, lowest = args[0] if args else kwargs.get("input"), kwargs.get("min", args[1] if len(args) > 1 else None)
            cuts = not name.startswith("cl") or (isinstance(lowest, int | float) and lowest == 0)
            if isinstance(z, Tensor) and z.requires_grad and cuts:  # a clamp elsewhere guards against 0/0 and the like
                self.unchanged[name] += 1

    def check(self, model: nn.Module) -> None:
        """Raise or warn where the rule did not apply in a pass through a model.

        The papers define their rules for ReLUs alone. Other activations keep their true gradient, which is a warning
        and not an error: often they are gates, such as the sigmoid in squeeze-and-excitation, and not units of the kind
        that the papers discuss. But the reader of the map has to know it.

        Args:
            model: the model that was run inside the block.

        Raises:
            ValueError: no ReLU was met, or there are some in a torch.jit module, whose calls cannot be replaced.

        Warns:
            UserWarning: other activations were met, which keep their true gradient; they are named.

        >>> import torch
        >>> from helpers.hooks import relu_rule
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> with relu_rule("deconv") as mode:
        ...     _ = net(torch.ones(1, 2))
        >>> mode.check(net)  # nothing to say
        """
        hidden = [type(module).__name__ for module in _modules(model) if _has_hidden_relu(module)]
        if hidden:
            raise ValueError(
                f"The ReLUs inside of a {hidden[0]} (torch.jit) cannot be given another rule: use the model as it was "
                "before it was traced or scripted."
            )
        found = ", ".join(f"{name} ({count})" for name, count in sorted(self.unchanged.items()))
        if self.count == 0:
            raise ValueError(
                f"No ReLU was met in {type(model).__name__}{found and ', but ' + found}, so this would be the plain "
                "gradient: use gradient(), or a network whose activations are ReLUs."
            )
        if found:
            what = "guided backpropagation" if self.guided else "the deconvnet"
            warnings.warn(
                f"{type(model).__name__} has activations for which {what} has no rule: {found}. They keep their true "
                f"gradient, and only the ReLUs ({self.count}) were changed.",
                stacklevel=4,
            )


def _modules(model: nn.Module) -> list[nn.Module]:
    return list(model.modules()) if isinstance(model, nn.Module) else []  # a function may be a model, too


def _has_hidden_relu(module: nn.Module) -> bool:
    if not isinstance(module, torch.jit.ScriptModule):
        return False
    try:
        return any(name in str(module.inlined_graph) for name in ("aten::relu", "aten::hardtanh", "aten::threshold"))
    except RuntimeError:  # a container without a forward pass of its own
        return False


class _ModifiedReLU(torch.autograd.Function):
    """Forward: an ordinary ReLU, cut off at ``ceiling`` (ReLU6). Backward: one of the two rules of relu_rule."""

    @staticmethod
    def forward(ctx, z: Tensor, ceiling: float, guided: bool, inplace: bool) -> Tensor:
        if ceiling == float("inf"):
            result = z.relu_() if inplace else z.relu()
        else:
            result = z.clamp_(0, ceiling) if inplace else z.clamp(0, ceiling)
        if inplace:
            ctx.mark_dirty(z)
        ctx.ceiling, ctx.guided = ceiling, guided
        if guided:
            ctx.save_for_backward(result)  # it shows where 0 < z < ceiling, so z need not be kept
        return result

    @staticmethod
    def backward(ctx, g: Tensor):
        if not ctx.guided:
            return g.clamp(min=0), None, None, None
        (result,) = ctx.saved_tensors
        # g * (0 < z < ceiling) in one pass over the memory, then g * (g > 0) on this tensor of our own
        if ctx.ceiling == float("inf"):
            g = torch.ops.aten.threshold_backward(g, result, 0)
        else:
            g = torch.ops.aten.hardtanh_backward(g, result, 0, ctx.ceiling)
        return g.clamp_(min=0), None, None, None
