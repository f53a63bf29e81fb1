"""Another way for ReLUs to pass gradients back: the rules of guided backpropagation and of the deconvnet."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


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
            ctx.save_for_backward(result)  # it says where z lay between 0 and the ceiling, as well as z does
        return result

    @staticmethod
    def backward(ctx, g: Tensor):
        if not ctx.guided:
            return g.clamp(min=0), None, None, None
        (result,) = ctx.saved_tensors
        g = torch.ops.aten.threshold_backward(g, result, 0).clamp_(min=0)  # g * (result > 0), a tensor of our own
        return g if ctx.ceiling == float("inf") else g * (result < ctx.ceiling), None, None, None


class relu_rule(TorchFunctionMode):  # noqa: N801 - used like a function: `with relu_rule("guided"):`
    """Inside the block every ReLU passes gradients back by another rule; its forward pass stays the same.

    With z the ReLU's input and g the gradient that arrives at its output,

    * the true rule gives ``g * 1[z > 0]``,
    * ``"deconv"`` gives ``g * 1[g > 0]`` (Zeiler and Fergus, 2014),
    * ``"guided"`` gives ``g * 1[g > 0] * 1[z > 0]`` (Springenberg et al., 2015).

    The mode sees the *call*, not the module: ``nn.ReLU``, ``F.relu``, ``torch.relu``, ``z.relu_()`` and ReLU6, reused,
    in-place or functional, all count, where module hooks miss the functional ones without a word.

    Attributes:
        count: how many ReLU calls were changed; zero means that the rule did nothing.

    Raises:
        ValueError: another rule's name.
    """

    _INPLACE = {F.relu_, torch.relu_, Tensor.relu_}
    _RELUS = {F.relu, torch.relu, Tensor.relu} | _INPLACE

    def __init__(self, rule: str) -> None:
        super().__init__()
        if rule not in ("guided", "deconv"):
            raise ValueError(f"relu_rule knows 'guided' and 'deconv', not {rule!r}.")
        self.guided = rule == "guided"
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Replace the call if it is a ReLU, and let every other call through."""
        kwargs = kwargs or {}
        if func in self._RELUS:
            ceiling = float("inf")
        elif func is F.relu6:
            ceiling = 6.0
        elif func is F.hardtanh and kwargs["min_val"] == 0:  # nn.ReLU6 is a Hardtanh from 0 to 6
            ceiling = float(kwargs["max_val"])
        else:
            return func(*args, **kwargs)
        self.count += 1
        inplace = func in self._INPLACE or kwargs.get("inplace", False)
        return _ModifiedReLU.apply(args[0] if args else kwargs["input"], ceiling, self.guided, inplace)
