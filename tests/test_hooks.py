"""capture, find_layer and relu_rule: what they record, what they change, and that they leave nothing behind."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

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
