"""Checkers of lesson *faithfulness*: a network with one stage drawn anew."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from helpers.checks.core import Wrong, ask, checker


class _Net(nn.Module):
    """A stage of several layers, with BatchNorm, and a stage that is one layer; every parameter has been trained."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3)
        self.stage = nn.Sequential(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.Sequential(nn.Conv2d(5, 5, 1), nn.ReLU()))
        self.stage2, self.backstage = nn.Conv2d(5, 5, 1), nn.Conv2d(5, 5, 1)  # names that hold another one's
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.backstage(self.stage2(self.stage(self.stem(x)))).mean((2, 3)))


def _trained() -> _Net:
    """Return the net in eval() mode, with weights, buffers and torch's own random numbers as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(15)
        net = _Net().eval()
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(3 + torch.rand(tensor.shape))
    return net


@checker
def check_with_new(function: Callable[[nn.Module, str], nn.Module]) -> str:
    """Check ``function(model, stage) -> a copy of the model``, all layers in the stage of this name drawn anew."""
    for stage in ("stage", "fc", "stage.2"):
        net = _trained()
        before = copy.deepcopy(net.state_dict())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(16)
            got = ask(function, net, stage)
            torch.manual_seed(17)
            other = ask(function, _trained(), stage)
        _judge(net, before, got, other, stage)
    return "a stage with BatchNorm, one inside another, and a single layer: drawn anew, and the model is untouched."


def _judge(net: nn.Module, before: dict[str, Tensor], got: object, other: object, stage: str) -> None:
    """Raise Wrong with the first thing that is not as it should be."""
    if not isinstance(got, nn.Module) or set(got.state_dict()) != set(before):
        layer = isinstance(got, nn.Module) and set(got.state_dict()) == set(net.get_submodule(stage).state_dict())
        found = "only the stage" if layer else f"this: {type(got).__name__}"
        raise Wrong(f"the whole model is asked for, with its stage changed; your function returns {found}.")
    after, again = got.state_dict(), other.state_dict()
    names = [name for name, tensor in before.items() if tensor.is_floating_point()]
    inside = [name for name in names if name.startswith(f"{stage}.")]
    if any(not torch.equal(net.state_dict()[name], before[name]) for name in names):
        shared = "the copy shares its layers (copy.copy is too shallow)" if got is not net else "it is the model itself"
        raise Wrong(f"the model that was given has changed: {shared}. Begin with copy.deepcopy.")
    if got is net:
        raise Wrong("this is the model itself; return a changed copy.")
    same = [name for name in inside if torch.equal(after[name], before[name])]
    if len(same) == len(inside):
        raise Wrong(f"nothing in {stage!r} is new: draw its layers anew, in the copy and not in another one.")
    if same and all("running" in name for name in same):
        raise Wrong("BatchNorm keeps its running statistics; its reset_parameters() forgets them too.")
    if same:
        raise Wrong(
            f"{same[0]} is as before: {stage!r} holds several layers, some inside others; go through modules()."
        )
    spoilt = [name for name in names if name not in inside and not torch.equal(after[name], before[name])]
    if spoilt and all(stage in name for name in spoilt):
        raise Wrong(
            f"{spoilt[0]} has changed, too, in a layer whose name only resembles {stage!r}; take "
            f"get_submodule({stage!r}), or names that begin with '{stage}.', with the dot."
        )
    if spoilt:
        raise Wrong(f"{spoilt[0]} has changed, too: only what lies inside {stage!r} is to be drawn anew.")
    if all((after[name] == 0).all() for name in inside):
        raise Wrong("the stage is zero now, and the net dead behind it; draw random weights with reset_parameters().")
    weights = [name for name in inside if name.endswith("weight") and after[name].dim() > 1]
    if any(torch.equal(after[name].flatten().sort().values, before[name].flatten().sort().values) for name in weights):
        raise Wrong("the old weights are still there, in another order; draw them anew with reset_parameters().")
    if any(torch.equal(after[name], again[name]) for name in weights):
        raise Wrong("two calls give the same weights: do not set a seed in your function.")
    if any(after[name].abs().max() > 1 for name in weights):
        raise Wrong("the new weights are not those of a net before training: use each layer's reset_parameters().")
    if got.training != net.training or any(m.training for m in got.modules()):
        raise Wrong("the copy is in train() mode, the model in eval(): leave the mode alone.")
