"""The wrong maps of lesson *museum_of_wrong_maps* beside the right ones, and random nets to try them on."""

from collections.abc import Callable

import torch
from torch import Tensor, einsum, nn

from helpers import attribution
from helpers.hooks import capture

Method = Callable[[nn.Module, Tensor, int], Tensor]  # model, x [N, C, H, W], class -> maps [N, h, w]

CLASSES = 10


class _Net(nn.Module):
    """Convolution, in-place ReLU, ``layer4`` (the same), an average, dropout, and the linear layer ``fc``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(inplace=True)
        self.layer4 = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.ReLU(inplace=True))
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, 10]."""
        return self.fc(self.drop(self.layer4(self.relu(self.conv1(x))).mean((2, 3))))


def net(seed: int) -> nn.Module:
    """Return a net with random weights, its scores larger in one net than in another, in eval() mode."""
    torch.manual_seed(seed)
    model = _Net().eval().requires_grad_(False)
    model.fc.weight *= 4 ** (2 * torch.rand(()) - 1)
    return model


def pictures(seed: int) -> Tensor:
    """Return four pictures in [0, 1], bright spots in different places on black, [4, 3, 16, 16]."""
    torch.manual_seed(1000 + seed)
    coarse = nn.functional.interpolate(torch.rand(4, 3, 4, 4) ** 2, size=16, mode="bilinear")
    bright = (coarse - 0.15).clamp(min=0)
    return bright / bright.amax((1, 2, 3), keepdim=True)


def _as_it_is(model: nn.Module, x: Tensor) -> None:
    pass


def _two_layers(model: nn.Module, x: Tensor) -> None:
    """Give the net a head with as many hidden units, without a bias, as it has maps."""
    model.fc = (
        nn.Sequential(nn.Linear(12, 12, bias=False), nn.ReLU(), nn.Linear(12, CLASSES)).eval().requires_grad_(False)
    )


def _one_class_unseen(model: nn.Module, x: Tensor) -> None:
    """Let every map speak against one class; no other class is without any evidence."""
    model.fc.weight[:, 0] = model.fc.weight[:, 0].abs()
    unseen = int(torch.randint(CLASSES, ()))
    model.fc.weight[unseen] = -model.fc.weight[unseen].abs()


# --- the exhibits ---


def _maps(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad(), capture(model.layer4) as maps:
        model(x)
    return maps.activations


def _cam(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return einsum("k,nkij->nij", model.fc.weight[target], _maps(model, x))


def _loop(model: nn.Module, x: Tensor, target: int) -> Tensor:
    maps = _maps(model, x)
    return einsum("nk,nkij->nij", model.fc.weight[model.fc(maps.mean((2, 3))).argmax(1)], maps)


def _gradient(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return attribution.gradient(model, x, target).abs().amax(1)


def _sum_of_all(model: nn.Module, x: Tensor, target: int) -> Tensor:
    model.drop.train()
    asked = x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(asked).sum(), asked)
    model.drop.eval()
    return slope.abs().amax(1)


def _guided(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return attribution.guided_backprop(model, x, target).abs().amax(1)


def _value_for_mask(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """Let each ReLU multiply slopes by its output, and take the top class."""
    handles = []

    def keep(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        value = output.detach().clone()
        output.register_hook(lambda slope: slope.relu() * value)

    try:
        handles += [layer.register_forward_hook(keep) for layer in model.modules() if isinstance(layer, nn.ReLU)]
        asked = x.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(asked).amax(1).sum(), asked)
    finally:
        for handle in handles:
            handle.remove()
    return slope.abs().amax(1)


def _last_weights(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return einsum("k,nkij->nij", model.fc[-1].weight[target], _maps(model, x))


def _grad_cam(model: nn.Module, x: Tensor, target: int) -> Tensor:
    found = attribution.grad_cam(model, x, target, layer="layer4", relu=False)
    return found * found[0].numel()


def _from_the_picture(model: nn.Module, x: Tensor, target: int) -> Tensor:
    weights = attribution.gradient(model, x, target).mean((2, 3))
    found = einsum("nc,ncij->nij", weights, _maps(model, x)[:, :3])
    return found * (_largest(_grad_cam(model, x, target)) / _largest(found))  # its size shall tell nothing


def _largest(maps: Tensor) -> Tensor:
    return maps.abs().amax((1, 2), keepdim=True).clamp(min=1e-30)


def _mean_slope(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return sum(attribution.gradient(model, x * (step + 0.5) / 10, target) for step in range(10)).sum(1) / 10


def _integrated(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return attribution.integrated_gradients(model, x, target, steps=20).sum(1)


def _kept(model: nn.Module, x: Tensor, target: int, safe: bool = False) -> Tensor:
    """Return Grad-CAM at the last convolution, whose output the in-place ReLU behind it overwrites unless ``safe``."""
    kept = []

    def keep(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor | None:
        kept.append(output)
        return output.clone() if safe else None

    with model.layer4[0].register_forward_hook(keep):
        score = model(x.detach().clone().requires_grad_())[:, target].sum()
    (slope,) = torch.autograd.grad(score, kept)
    return einsum("nk,nkij->nij", slope.mean((2, 3)), kept[0]).detach()


def _kept_safe(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return _kept(model, x, target, safe=True)


def _lost_point(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return _cam(model, x - torch.tensor([0.0, 0.0, 1800.0]).view(3, 1, 1), target)


def _by_its_maximum(model: nn.Module, x: Tensor, target: int, least: float = 0.0) -> Tensor:
    found = _cam(model, x, target).relu()
    return found / found.amax((1, 2), keepdim=True).clamp(min=least)


def _by_its_maximum_if_any(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return _by_its_maximum(model, x, target, least=1e-9)


EXHIBITS: dict[str, tuple[Method, Method, Callable[[nn.Module, Tensor], None]]] = {  # wrong, right, change of the net
    "loop": (_loop, _cam, _as_it_is),
    "sum of all": (_sum_of_all, _gradient, _as_it_is),
    "guided": (_value_for_mask, _guided, _as_it_is),
    "hidden layer": (_last_weights, _grad_cam, _two_layers),
    "image gradient": (_from_the_picture, _grad_cam, _as_it_is),
    "integrated": (_mean_slope, _integrated, _as_it_is),
    "in place": (_kept, _kept_safe, _as_it_is),
    "lost point": (_lost_point, _cam, _as_it_is),
    "nothing": (_by_its_maximum, _by_its_maximum_if_any, _one_class_unseen),
}
