"""capture, find_layer and relu_rule: what they record, what they change, and that they leave nothing behind."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers import attribution
from helpers.hooks import capture, find_layer, relu_rule, run_to
from nets import RELU_STYLES, Tiny, pictures, random_net


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


def test_capture_gives_activations_and_their_gradient():
    net, x = Tiny(), pictures()
    net.eval().requires_grad_(False)
    with capture(net.conv2) as maps:
        logits = net(x)
    expected = net.conv2(net.conv1(x).relu())
    torch.testing.assert_close(maps.activations.detach(), expected)
    # The head by hand: mean over places, then the weights of class 3, through the ReLU.
    by_hand = (expected > 0) * net.fc.weight[3][None, :, None, None] / expected[0, 0].numel()
    torch.testing.assert_close(maps.gradient(logits[:, 3]), by_hand)


@pytest.mark.parametrize("style", ["in-place", "method"])
def test_capture_is_safe_from_the_in_place_relu_that_follows(style):
    net, x = Tiny(style).eval(), pictures()
    with capture(net.conv2) as maps:
        net(x)
    assert maps.activations.min() < 0, "the ReLU after the layer overwrote what was captured"


def test_capture_of_several_layers_and_of_a_trunk_without_graph():
    net, x = copy.deepcopy(random_net("resnet18")).requires_grad_(False), pictures()
    with capture(net.layer3, net.layer4) as (third, fourth):
        logits = net(x)
    assert third.activations.is_leaf and not fourth.activations.is_leaf
    assert third.gradient(logits[:, 0]).shape == third.activations.shape
    assert fourth.gradient(logits[:, 0]).abs().sum() > 0


def test_capture_leaves_no_hook_also_after_an_error():
    net = Tiny()
    with pytest.raises(RuntimeError), capture(net.conv1, net.conv2):
        net(torch.zeros(1, 4, 8, 8))
    with pytest.raises(TypeError), capture(net.conv1, "conv2"):
        pass
    assert hooks_of(net) == 0


def test_capture_says_what_is_wrong():
    net, x = Tiny().eval(), pictures()
    with pytest.raises(ValueError, match="at least one layer"), capture():
        pass
    with capture(net.conv1) as maps:
        with pytest.raises(RuntimeError, match="run the model"):
            _ = maps.activations
        with torch.no_grad():
            net(x)
        with pytest.raises(RuntimeError, match="without gradients"):
            maps.gradient(torch.zeros(2))
        net(x)
        with pytest.raises(RuntimeError, match="does not depend"):
            maps.gradient(torch.ones(2, requires_grad=True))


@pytest.mark.parametrize("style", ["in-place", "method"])
def test_run_to_stops_at_the_layer_and_lets_gradients_back(style):
    net, x = Tiny(style).eval(), pictures().requires_grad_()
    reached = []
    net.fc.register_forward_hook(lambda *_: reached.append(True))
    with run_to(net, "conv2") as run:
        output = run(x)
    torch.testing.assert_close(output, net.conv2(net.conv1(x).relu()))  # and no in-place ReLU has been over it
    (slope,) = torch.autograd.grad(output.sum(), x)
    assert slope.abs().sum() > 0 and not reached
    net(x)
    assert reached, "the network runs to its end again"


def test_run_to_names_what_is_wrong_and_leaves_no_hook():
    net = Tiny().eval()
    net.spare = nn.Identity()
    with pytest.raises(ValueError, match="never calls this Identity"), run_to(net, net.spare) as run:
        run(pictures())
    with pytest.raises(ValueError, match="no layer 'conv9'; it has"), run_to(net, "conv9"):
        pass
    assert hooks_of(net) == 0


def test_find_layer_lists_candidates():
    net = random_net("resnet18")
    assert find_layer(net, "layer4.1.conv2") is net.layer4[1].conv2
    assert find_layer(net, net.layer2) is net.layer2
    with pytest.raises(ValueError, match="'layer4'"):
        find_layer(net, "layer5")
    with pytest.raises(ValueError, match="'conv1', 'bn1'"):
        find_layer(net, "??")
    with pytest.raises(ValueError, match="not a part"):
        find_layer(net, nn.ReLU())


def rule_by_hand(net, x, target, rule):
    """The two-layer Tiny net's modified gradient, written out without autograd."""

    def at_relu(g, z):
        g = g.clamp(min=0)
        return g * (z > 0) if rule == "guided" else g

    z1 = net.conv1(x)
    z2 = net.conv2(z1.relu())
    g = net.fc.weight[target][None, :, None, None].expand_as(z2) / z2[0, 0].numel()
    g = F.conv_transpose2d(at_relu(g, z2), net.conv2.weight, padding=1)
    return F.conv_transpose2d(at_relu(g, z1), net.conv1.weight, padding=1)


@pytest.mark.parametrize("rule", ["guided", "deconv"])
@pytest.mark.parametrize("style", RELU_STYLES)
def test_relu_rule_is_the_rule_however_the_relu_is_written(style, rule):
    net, x = Tiny(style).eval(), pictures().requires_grad_()
    with relu_rule(rule) as mode:
        logits = net(x)
        (got,) = torch.autograd.grad(logits[:, 2].sum(), x)
    assert mode.count == 2
    torch.testing.assert_close(logits, net(x), msg="the forward pass changed")
    with torch.no_grad():
        torch.testing.assert_close(got, rule_by_hand(net, x, 2, rule))
    (true,) = torch.autograd.grad(net(x)[:, 2].sum(), x)
    assert (true - got).abs().max() > 0.01 * true.abs().max(), "after the block the true rule must be back"


def test_relu6_is_cut_off_at_six():
    z = torch.tensor([-1.0, 3.0, 7.0], requires_grad=True)
    for relu6 in (nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6, nn.Hardtanh(0, 6)):
        with relu_rule("guided") as mode:
            y = relu6(z * 1)
            (g,) = torch.autograd.grad(y.sum(), z)
        assert y.tolist() == [0, 3, 6] and g.tolist() == [0, 1, 0] and mode.count == 1
    with relu_rule("guided") as mode:
        F.hardtanh(z)
    assert mode.count == 0


def test_relu_rule_knows_two_rules():
    with pytest.raises(ValueError, match="'guided' and 'deconv'"):
        relu_rule("guide")


# --- what the rule does not change ---


class Mixed(nn.Module):
    """ReLUs beside other activations, and clamps of two kinds."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
        self.swish = nn.Hardswish(inplace=True)

    def forward(self, x):
        a = F.leaky_relu(self.swish(self.conv(x))).relu()
        a = a * torch.sigmoid(a.mean((2, 3), keepdim=True))
        a = a / a.sum(1, keepdim=True).clamp(min=1e-6)  # no activation
        return self.fc(self.swish(a.clamp(min=0)).mean((2, 3)))


@pytest.mark.parametrize("method", [attribution.guided_backprop, attribution.deconvnet])
def test_activations_without_a_rule_are_named_once(method):
    net, x = Mixed().eval(), pictures()
    with pytest.warns(UserWarning) as found:
        method(net, x, 1)
    (said,) = [str(w.message) for w in found]
    for name in ("clamp (1)", "hardswish (2)", "leaky_relu (1)", "sigmoid (1)", "ReLUs (1)"):
        assert name in said


def test_the_mode_counts_what_it_did_not_change():
    net, x = Mixed().eval(), pictures().requires_grad_()
    with relu_rule("guided") as mode:
        net(x)
    assert mode.count == 1
    assert mode.unchanged == {"hardswish": 2, "leaky_relu": 1, "sigmoid": 1, "clamp": 1}


@pytest.mark.parametrize(
    "other", [nn.Hardswish(), nn.SiLU(), nn.GELU(), nn.LeakyReLU(), nn.ELU(), nn.Sigmoid(), nn.Tanh(), nn.Mish()]
)
def test_a_net_without_a_relu_is_refused_and_its_activation_is_named(other):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), other, nn.Flatten(), nn.Linear(144, 5))
    name = "leaky_relu" if isinstance(other, nn.LeakyReLU) else type(other).__name__.lower()
    with pytest.raises(ValueError, match=rf"No ReLU was met in Sequential, but {name} \(1\)"):
        attribution.guided_backprop(net, pictures(1, 8), 1)


def test_mobilenet_v3_is_no_silent_half_measure():
    with pytest.warns(UserWarning, match=r"MobileNetV3 has activations.*hardswish \(\d+\).*only the ReLUs"):
        attribution.guided_backprop(random_net("mobilenet_v3_small"), pictures(1), 3)


def test_a_net_of_relus_gives_no_warning(recwarn):
    attribution.guided_backprop(random_net("mobilenet_v2"), pictures(1), 3)
    attribution.guided_backprop(random_net("densenet121"), pictures(1), 3)
    assert not recwarn


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["trace", "script"])
@pytest.mark.parametrize("part", ["whole", "half"])
def test_relus_inside_of_torch_jit_are_noticed(how, part):
    torch.manual_seed(0)
    first, second = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
    net, x = nn.Sequential(first, second, nn.Flatten(), nn.Linear(64, 5)).eval(), pictures(1, 8)
    if part == "whole":
        net = torch.jit.trace(net, x) if how == "trace" else torch.jit.script(net)
    else:
        net[1] = torch.jit.trace(second, first(x)) if how == "trace" else torch.jit.script(second)
    with pytest.raises(ValueError, match="torch.jit.*before it was traced or scripted"):
        attribution.guided_backprop(net, x, 1)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_relu6_rules_are_their_formulas_in_any_precision(kind):
    z = torch.tensor([-1.0, 3.0, 7.0, 3.0, 6.0, 0.0], dtype=kind, requires_grad=True)
    g = torch.tensor([1.0, 1.0, 1.0, -1.0, 1.0, 1.0], dtype=kind)
    for rule, expected in (("guided", [0, 1, 0, 0, 0, 0]), ("deconv", [1, 1, 1, 0, 1, 1])):
        with relu_rule(rule):
            y = F.relu6(z * 1)
        assert torch.autograd.grad(y, z, g)[0].tolist() == expected
