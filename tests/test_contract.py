"""The contract of helpers.attribution: every method, however the model comes, leaves everything as it was."""

import copy

import pytest
import torch
from torch import nn

from helpers import attribution
from nets import RELU_STYLES, Tiny, pictures, random_net
from test_hooks import hooks_of


def strips(x):
    """Return segment numbers for four strips of the pictures, or of the texts; None where x is neither."""
    if not isinstance(x, torch.Tensor) or x.dim() < 3 or x.numel() == 0:
        return None
    return (torch.arange(x.shape[-1]) * 4 // x.shape[-1]).expand(x[0, 0].shape)


METHODS = {
    "gradient": attribution.gradient,
    "guided_backprop": attribution.guided_backprop,
    "deconvnet": attribution.deconvnet,
    "gradient_x_input": attribution.gradient_x_input,
    "smooth_grad": lambda *a: attribution.smooth_grad(*a, samples=3, chunk=4),
    "var_grad": lambda *a: attribution.var_grad(*a, samples=3, chunk=4),
    "integrated_gradients": lambda *a: attribution.integrated_gradients(*a, steps=3, chunk=4),
    "gradient_shap": lambda *a: attribution.gradient_shap(*a, samples=3, chunk=4),
    "deep_lift": attribution.deep_lift,
    "extremal_perturbation": lambda *a: attribution.extremal_perturbation(*a, steps=3, cells=4),
    "cam": lambda *a: attribution.cam(*a, layer="conv2"),
    "grad_cam": lambda *a: attribution.grad_cam(*a, layer="conv2"),
    "grad_cam_plus_plus": lambda *a: attribution.grad_cam_plus_plus(*a, layer="conv2"),
    "layer_cam": lambda *a: attribution.layer_cam(*a, layer="conv2"),
    "hires_cam": lambda *a: attribution.hires_cam(*a, layer="conv2"),
    "xgrad_cam": lambda *a: attribution.xgrad_cam(*a, layer="conv2"),
    "score_cam": lambda *a: attribution.score_cam(*a, layer="conv2", chunk=3),
    "ablation_cam": lambda *a: attribution.ablation_cam(*a, layer="conv2", chunk=3),
    "eigen_cam": lambda *a: attribution.eigen_cam(*a, layer="conv2"),
    "full_grad": attribution.full_grad,
    "guided_grad_cam": lambda *a: attribution.guided_grad_cam(*a, layer="conv2"),
    "occlusion": lambda *a: attribution.occlusion(*a, patch=8, chunk=30),
    "rise": lambda *a: attribution.rise(*a, samples=5, chunk=3),
    "lime": lambda *a: attribution.lime(*a, segments=strips(a[1]), samples=9, chunk=5),
    "kernel_shap": lambda *a: attribution.kernel_shap(*a, segments=strips(a[1]), samples=9, chunk=5),
    "shapley_values": lambda *a: attribution.shapley_values(*a, segments=strips(a[1]), permutations=3, chunk=5),
    "lrp": attribution.lrp,
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def state(model):
    modes = [m.training for m in model.modules()]
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    values = {name: value.clone() for name, value in model.state_dict().items()}
    return modes, flags, hooks_of(model), [type(m) for m in model.modules()], values


def assert_same(before, after):
    assert before[:4] == after[:4]
    torch.testing.assert_close(before[4], after[4], rtol=0, atol=0)


class Odd(Tiny):
    """A net as it may come: half of it in train() mode, half frozen, BatchNorm that would move in train() mode."""

    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.conv1.requires_grad_(False)
        self.train()
        self.bn.eval()

    def forward(self, x):
        return super().forward(self.bn(x))


@every_method
def test_nothing_is_left_behind(method):
    net, x = Odd(), pictures().requires_grad_()
    before, x_before = state(net), x.detach().clone()
    result = method(net, x, 2)
    assert_same(before, state(net))
    assert x.grad is None and x.requires_grad and torch.equal(x, x_before)
    assert not result.requires_grad


@every_method
@pytest.mark.parametrize("target", [99, "cat", lambda logits: 1 / 0], ids=["range", "type", "raises"])
def test_nothing_is_left_behind_after_an_exception(method, target):
    net, x = Odd(), pictures()
    before, grad_mode = state(net), torch.is_grad_enabled()
    with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
        method(net, x, target)
    assert_same(before, state(net))
    assert torch.is_grad_enabled() == grad_mode


@every_method
def test_the_same_however_model_and_caller_come(method):
    x = pictures()
    expected = method(Tiny().eval(), x, 1)
    torch.testing.assert_close(method(Tiny().train(), x, 1), expected)
    torch.testing.assert_close(method(Tiny().requires_grad_(False), x, 1), expected)
    with torch.no_grad():
        torch.testing.assert_close(method(Tiny(), x, 1), expected)
    net = Tiny()
    with torch.inference_mode():
        inside = method(net, x.clone(), 1)
    torch.testing.assert_close(inside.clone(), expected)
    torch.testing.assert_close(method(Tiny().double(), x.double(), 1).float(), expected, rtol=1e-4, atol=1e-6)


@every_method
@pytest.mark.parametrize("style", RELU_STYLES)
def test_the_same_however_its_relus_are_written(method, style):
    torch.testing.assert_close(method(Tiny(style), pictures(), 1), method(Tiny(), pictures(), 1))


@every_method
def test_a_batch_is_its_pictures_one_by_one(method):
    net, x, targets = Tiny(), pictures(4), torch.tensor([0, 3, 1, 3])
    together = method(net, x, targets)
    one_by_one = [method(net, x[i : i + 1], int(targets[i])) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(one_by_one))


@every_method
def test_targets(method):
    net, x = Tiny().eval(), pictures(3)
    top = net(x).argmax(1)
    torch.testing.assert_close(method(net, x), method(net, x, top))
    torch.testing.assert_close(method(net, x, 2), method(net, x, torch.full((3,), 2)))
    torch.testing.assert_close(method(net, x, 2), method(net, x, lambda logits: logits[:, 2]))


def test_a_difference_of_two_logits():
    net, x = Tiny().eval(), pictures()
    both = [attribution.cam(net, x, c, layer="conv2") for c in (1, 4)]
    torch.testing.assert_close(
        attribution.cam(net, x, lambda logits: logits[:, 1] - logits[:, 4], layer="conv2"), both[0] - both[1]
    )


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_on_an_accelerator(device):
    if not getattr(torch, device if device == "cuda" else "mps").is_available():
        pytest.skip(f"no {device} on this machine")
    for method in METHODS.values():
        got = method(Tiny().to(device), pictures().to(device), 1)
        torch.testing.assert_close(got.cpu(), method(Tiny(), pictures(), 1), rtol=1e-3, atol=1e-5)


@every_method
@pytest.mark.parametrize(
    ("x", "error", "cure"),
    [
        (pictures(1, 8)[:, :1], ValueError, "1 channels, Tiny takes 3"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), TypeError, "preprocess"),
        (torch.full((1, 3, 8, 8), torch.nan), ValueError, "NaN"),
        (torch.full((1, 3, 8, 8), torch.inf), ValueError, "infinite"),
        (torch.zeros(0, 3, 8, 8), ValueError, "at least one picture"),
        (torch.zeros(3, 8, 8), ValueError, r"\[N, C, H, W\]"),
        ([[0.0]], TypeError, "must be a tensor"),
    ],
    ids=["channels", "uint8", "nan", "infinite", "empty", "3-d", "list"],
)
def test_pictures_that_cannot_be_explained(method, x, error, cure):
    with pytest.raises(error, match=cure):
        method(Tiny(), x, 0)


@every_method
@pytest.mark.parametrize(
    ("target", "error", "cure"),
    [
        (5, ValueError, "Class 5 is out of range: this network has 5 classes, 0 to 4"),
        (-1, ValueError, "Class -1 is out of range"),
        (torch.tensor([0, 9]), ValueError, "Class 9"),
        (torch.tensor([0, 1, 2]), ValueError, "3 targets for 2 pictures"),
        (torch.tensor([0.0, 1.0]), TypeError, "whole class numbers"),
        (1.0, TypeError, "The target is a float"),
        (True, TypeError, "The target is a bool"),
        (lambda logits: logits.sum(), ValueError, "one score for each picture"),
    ],
    ids=["high", "low", "tensor", "count", "floats", "float", "bool", "function"],
)
def test_targets_that_cannot_be_explained(method, target, error, cure):
    with pytest.raises(error, match=cure):
        method(Tiny(), pictures(), target)


OF_A_LAYER = ("cam grad_cam grad_cam_plus_plus layer_cam hires_cam xgrad_cam gradient_cams "
              "guided_grad_cam score_cam ablation_cam eigen_cam").split()  # fmt: skip


@pytest.mark.parametrize("name", OF_A_LAYER)
def test_layers_that_cannot_be_explained(name):
    method = getattr(attribution, name)
    with pytest.raises(ValueError, match="has no layer 'conv3'; it has 'conv2', 'conv1'"):
        method(Tiny(), pictures(), 0, layer="conv3")
    with pytest.raises(ValueError, match="maps"):
        method(Tiny(), pictures(), 0, layer="drop")


def test_a_model_that_does_not_give_logits():
    with pytest.raises(ValueError, match="one row of logits"):
        attribution.gradient(nn.Conv2d(3, 2, 3), pictures(), 0)


def test_a_rule_without_a_relu_is_an_error():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 5))
    for method in (attribution.guided_backprop, attribution.deconvnet):
        with pytest.raises(ValueError, match="No ReLU was met in Sequential"):
            method(linear, pictures(), 0)


def test_a_gradient_that_is_zero_everywhere_is_an_error():
    net = Tiny()
    nn.init.constant_(net.conv2.bias, -1e6)  # every ReLU off
    with pytest.raises(ValueError, match="zero everywhere"):
        attribution.gradient(net, pictures(), 0)
    with pytest.raises(ValueError, match="zero everywhere"):
        attribution.grad_cam(net, pictures(), 0, layer="conv2")
    detached = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 5))
    detached.forward = lambda x: torch.zeros(len(x), 5)
    with pytest.raises(ValueError, match="does not depend on the picture"):
        attribution.gradient(detached, pictures(), 0)


@pytest.mark.parametrize("name", ["vgg11_bn", "alexnet"])
def test_cam_refuses_a_head_with_a_hidden_layer(name):
    with pytest.raises(ValueError, match="no class activation map at this layer.*grad_cam"):
        attribution.cam(random_net(name), pictures(1, 224), 0, layer="features")


def test_cam_refuses_the_layer_before_the_averaged_one():
    with pytest.raises(ValueError, match="no class activation map at this layer"):
        attribution.cam(random_net("resnet18"), pictures(), 0, layer="layer4.1.bn1")


def test_cam_of_a_net_without_linear_layers():
    with pytest.raises(ValueError, match="no linear layer and no convolution"):
        attribution.cam(nn.Sequential(nn.Flatten(), nn.ReLU()), pictures(), 0, layer="1")


@every_method
def test_parameters_are_frozen_meanwhile_and_get_no_gradient(method):
    net, thawed, touched = Tiny(), [], []
    for parameter in net.parameters():
        parameter.register_hook(lambda g: touched.append(1))
    with_hook = net.conv1.register_forward_hook(
        lambda *_: thawed.extend(p for p in net.parameters() if p.requires_grad)
    )
    method(net, pictures(), 0)
    with_hook.remove()
    assert not thawed and not touched


def test_maps_to_pixels():
    a = torch.tensor([[[[1.0, -4.0]], [[-3.0, 2.0]]]])
    assert attribution.pixel_map(a).tolist() == [[[3, 4]]]
    assert attribution.pixel_map(a, "sum").tolist() == [[[-2, -2]]]
    assert attribution.pixel_map(a, "sum_abs").tolist() == [[[4, 6]]]
    up = attribution.upsample(torch.tensor([[[0.0, 1.0]]]), (1, 4))
    torch.testing.assert_close(up, torch.tensor([[[0, 0.25, 0.75, 1]]]))
    assert attribution.upsample(a[0], 8).shape == (2, 8, 8)
    with pytest.raises(ValueError, match=r"\[N, C, H, W\]"):
        attribution.pixel_map(a[0, 0])
    with pytest.raises(ValueError, match="'max_abs'"):
        attribution.pixel_map(a, "max")
    with pytest.raises(ValueError, match=r"\[N, h, w\]"):
        attribution.upsample(a, 8)


def test_the_model_may_be_copied_afterwards():
    net = Tiny()
    attribution.grad_cam(net, pictures(), 0, layer="conv2")
    copy.deepcopy(net)
