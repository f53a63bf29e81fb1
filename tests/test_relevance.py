"""LRP: by its formula, by its conservation, against zennit and captum, and where it is not defined."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import attribution
from helpers.models import ShapesResNet
from nets import LAYERS, MORE, pictures, random_net

TARGET = torch.tensor([3, 500, 7])
DEFINED = [name for name in {**LAYERS, **MORE} if name not in ("convnext_tiny", "efficientnet_b0")]
RULES = {
    "epsilon": {},
    "gamma": {"rule": "gamma"},
    "alpha_beta": {"rule": "alpha_beta"},
    "z_box": {"rule": "gamma", "dense": "epsilon", "first": "z_box", "bounds": (-6.0, 6.0)},
}
every_rule = pytest.mark.parametrize("options", RULES.values(), ids=RULES)


def stack(bias: bool, seed: int = 0) -> nn.Sequential:
    """A net with a stride, padding, groups, both poolings and two dense layers; biases on request; float64."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, stride=2, groups=2, bias=bias),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 16, bias=bias),
        nn.ReLU(),
        nn.Linear(16, 5, bias=bias),
    ).double()


def residual_net(bias: bool) -> nn.Module:
    """The course's ResNet with random weights and uneven BatchNorm, which leaves no bias behind unless asked for."""
    torch.manual_seed(1)
    net = ShapesResNet().double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.2 * bias)
            nn.init.normal_(module.bias, std=0.2 * bias)
    if not bias:
        nn.init.zeros_(net.fc.bias)
    return net


def logit(net, x, target):
    return net(x).gather(1, torch.as_tensor(target).expand(len(x))[:, None])[:, 0]


# --- by the formula ---


def by_hand(a, w, b, relevance, rule, epsilon=1e-6, gamma=0.25, alpha=2.0):
    """One dense layer, one sum after the other: a [N, J], w [K, J], b [K], relevance [N, K] -> [N, J]."""
    z = a @ w.T + b

    def shares(contributions, bias):
        total = contributions.sum(2) + bias
        return ((relevance / (total + epsilon * torch.where(total < 0, -1, 1)))[:, :, None] * contributions).sum(1)

    contributions = a[:, None] * w
    if rule == "epsilon":
        return shares(contributions, b)
    if rule == "alpha_beta":
        return alpha * shares(contributions.clamp(min=0), b.clamp(min=0)) - (alpha - 1) * shares(
            contributions.clamp(max=0), b.clamp(max=0)
        )
    up = contributions + gamma * contributions.clamp(min=0)
    down = contributions + gamma * contributions.clamp(max=0)
    positive = (z > 0)[:, :, None]
    bias = torch.where(z > 0, b + gamma * b.clamp(min=0), b + gamma * b.clamp(max=0))
    return shares(torch.where(positive, up, down), bias)


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha_beta"])
@pytest.mark.parametrize("signed", [False, True], ids=["after a ReLU", "inputs of both signs"])
def test_each_rule_is_its_formula(rule, signed):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 4)).double()
    x = pictures(3, 2).double()
    x = x if signed else x.abs()
    hidden = net[:3](x)
    start = F.one_hot(torch.tensor([1, 0, 2]), 4) * net(x)
    expected = by_hand(hidden, net[3].weight, net[3].bias, start, rule)
    got = attribution.lrp(net, x, torch.tensor([1, 0, 2]), rule=rule, layer="2")
    torch.testing.assert_close(got, expected)
    expected = by_hand(x.flatten(1), net[1].weight, net[1].bias, expected, rule).view_as(x)
    torch.testing.assert_close(attribution.lrp(net, x, torch.tensor([1, 0, 2]), rule=rule), expected)


def test_z_box_is_its_formula():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 4)).double()
    x, low, high = pictures(2, 2).double().clamp(-1, 2), -1.0, 2.0
    relevance = attribution.lrp(net, x, 2, layer="1")
    a, w = x.flatten(1)[:, None], net[1].weight
    above_worst = a * w - low * w.clamp(min=0) - high * w.clamp(max=0)  # each is 0 or more
    expected = (relevance[:, :, None] * above_worst / (above_worst.sum(2, keepdim=True) + 1e-6)).sum(1).view_as(x)
    got = attribution.lrp(net, x, 2, first="z_box", bounds=(low, high))
    torch.testing.assert_close(got, expected)
    tensors = torch.full((3, 1, 1), low), torch.full((3, 1, 1), high)
    torch.testing.assert_close(attribution.lrp(net, x, 2, first="z_box", bounds=tensors), expected)


def test_first_takes_a_rule_of_its_own_and_dense_too():
    net, x = stack(bias=True), pictures(2, 16).double()
    plain = attribution.lrp(net, x, 0)
    assert not torch.allclose(attribution.lrp(net, x, 0, first="gamma"), plain)
    torch.testing.assert_close(attribution.lrp(net, x, 0, dense="epsilon"), plain)
    dense = attribution.lrp(net, x, 0, dense="alpha_beta", layer="7")
    torch.testing.assert_close(dense, attribution.lrp(net, x, 0, rule="alpha_beta", layer="7"))
    first = attribution.lrp(net, x, 0, first="gamma", layer="0")
    torch.testing.assert_close(first, attribution.lrp(net, x, 0, layer="0"))


# --- conservation and identities ---


@every_rule
def test_without_biases_each_layer_holds_the_logit(options):
    net, x = stack(bias=False), pictures(3, 16).double().clamp(-6, 6)
    expected = logit(net, x, 2)
    for layer in (*map(str, range(10)), None):
        got = attribution.lrp(net, x, 2, layer=layer, epsilon=1e-12, **options)
        torch.testing.assert_close(got.flatten(1).sum(1), expected, rtol=1e-6, atol=1e-8)


@every_rule
def test_a_residual_net_keeps_its_relevance_through_every_stage(options):
    net, x = residual_net(bias=False), pictures(2, 64).double().clamp(-6, 6)
    expected = logit(net, x, 4)
    for layer in ("avgpool", "layer4", "layer3", "layer2", "layer1", "relu", "bn1", None):
        got = attribution.lrp(net, x, 4, layer=layer, epsilon=1e-12, **options)
        torch.testing.assert_close(got.flatten(1).sum(1), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "make", [lambda: stack(bias=False), lambda: residual_net(bias=False)], ids=["plain", "residual"]
)
def test_bias_free_relu_net_epsilon_is_gradient_x_input(make):
    net, x = make(), pictures(3, 64 if isinstance(make(), ShapesResNet) else 16).double()
    got = attribution.lrp(net, x, torch.tensor([0, 3, 1]), epsilon=1e-14)
    torch.testing.assert_close(got, x * attribution.gradient(net, x, torch.tensor([0, 3, 1])), rtol=1e-6, atol=1e-9)


def test_the_bias_keeps_its_share():
    """What is missing at a layer is what the biases after it added, each times the gradient at its output."""
    net, x = stack(bias=True), pictures(2, 16).double()
    missing = logit(net, x, 1) - attribution.lrp(net, x, 1, epsilon=1e-14).sum((1, 2, 3))
    kept = torch.zeros(2, dtype=torch.float64)
    for number in ("0", "3", "7", "9"):
        z = net[: int(number) + 1](x)
        g = attribution.lrp(net, x, 1, layer=number, epsilon=1e-14) / z
        bias = net[int(number)].bias.view(-1, *[1] * (z.dim() - 2))
        kept += (g * bias).flatten(1).sum(1)
    assert missing.abs().min() > 1e-3
    torch.testing.assert_close(kept, missing)


def test_a_larger_epsilon_absorbs_more():
    net, x = stack(bias=False), pictures(1, 16).double()
    sums = [attribution.lrp(net, x, epsilon=e).abs().sum().item() for e in (1e-9, 0.01, 0.1)]
    assert sums[0] > sums[1] > sums[2] > 0


def test_batch_norm_counts_as_part_of_its_convolution():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(600, 8), nn.BatchNorm1d(8)
    )
    for norm in (net[1], net[5]):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    net = net.double().eval()
    merged = nn.Sequential(
        nn.utils.fuse_conv_bn_eval(net[0], net[1]), net[2], net[3], nn.utils.fuse_linear_bn_eval(net[4], net[5])
    )
    x = pictures(2, 12).double().clamp(-6, 6)
    for options in RULES.values():
        torch.testing.assert_close(attribution.lrp(net, x, 5, **options), attribution.lrp(merged, x, 5, **options))
        # Watching the merged layer, or what comes before it, changes nothing
        torch.testing.assert_close(
            attribution.lrp(net, x, 5, layer="1", **options), attribution.lrp(merged, x, 5, layer="0", **options)
        )


def test_a_batch_norm_behind_an_in_place_relu_is_not_merged():
    torch.manual_seed(0)
    x, results = pictures(2, 8).double(), []
    parts = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 6)]
    nn.init.normal_(parts[1].weight)
    for inplace in (False, True):
        net = nn.Sequential(parts[0], nn.ReLU(inplace), parts[1], parts[2], nn.Flatten()).double().eval()
        results.append(attribution.lrp(net, x, 2, rule="gamma"))
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_relu6_passes_on_all_of_its_relevance_at_its_ceiling():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 1, bias=False), nn.ReLU6(), nn.Linear(1, 2, bias=False)).double()
    nn.init.constant_(net[1].weight, 5.0)
    x = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    assert attribution.gradient(net[:2], x).sum() > 0
    torch.testing.assert_close(attribution.lrp(net, x, 0, epsilon=1e-12).sum(), net(x)[0, 0])


# --- against libraries ---


def zennits(net, x, target, rule):
    """zennit's relevance with one rule everywhere, its own canonizers, and shares in proportion for sums and means."""
    pytest.importorskip("zennit")
    import zennit.rules
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import LayerMapComposite
    from zennit.layer import Sum
    from zennit.torchvision import ResNetCanonizer
    from zennit.types import Activation, AvgPool, Convolution, Linear

    rules = {
        "epsilon": lambda: zennit.rules.Epsilon(1e-9),
        "gamma": lambda: zennit.rules.Gamma(0.25, stabilizer=1e-9),
        "alpha_beta": lambda: zennit.rules.AlphaBeta(2, 1, stabilizer=1e-9),
    }
    norm = zennit.rules.Norm(stabilizer=1e-9)
    layers = [(Convolution, rules[rule]()), (Linear, rules[rule]()), (AvgPool, norm), (Sum, norm)]
    canonizer = ResNetCanonizer() if hasattr(net, "layer4") else SequentialMergeBatchNorm()
    composite = LayerMapComposite([*layers, (Activation, zennit.rules.Pass())], canonizers=[canonizer])
    logits = net(x)
    start = F.one_hot(target, logits.shape[1]) * logits.detach()
    with Gradient(net, composite) as attributor:
        return attributor(x.clone(), start)[1]


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha_beta"])
def test_lrp_is_zennits(name, rule):
    net, x = copy.deepcopy(random_net(name)).double(), pictures(3).double()
    expected = zennits(net, x, TARGET, rule)
    got = attribution.lrp(net, x, TARGET, rule=rule, epsilon=1e-9)
    # A BatchNorm that zennit has merged still divides by sqrt(1 + 1e-5), so 17 of them give 8e-5
    tolerance = 2e-4 if name == "resnet18" else 1e-5
    torch.testing.assert_close(got / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["vgg11", "squeezenet1_1"])
def test_lrp_is_captums_on_nets_of_modules(name):
    captum = pytest.importorskip("captum.attr")
    net, x = copy.deepcopy(random_net(name)).double(), pictures(3).double()
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    expected = captum.LRP(copy.deepcopy(net)).attribute(x.clone(), TARGET).detach()
    got = attribution.lrp(net, x, TARGET, epsilon=1e-9)
    torch.testing.assert_close(got / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=1e-5)


def test_known_difference_captum_does_not_see_a_residual_sum():
    """No error, and relevance of another size altogether; ours differs from the logit by what the biases keep."""
    captum = pytest.importorskip("captum.attr")
    net, x = residual_net(bias=False), pictures(2, 64).double()
    expected = logit(net, x, 4).detach()
    theirs = captum.LRP(copy.deepcopy(net)).attribute(x.clone(), 4).detach().sum((1, 2, 3))
    ours = attribution.lrp(net, x, 4, epsilon=1e-9).sum((1, 2, 3))
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)
    assert ((theirs - expected).abs() > 0.5 * expected.abs()).any()


# --- where it is defined, and where not ---


@pytest.mark.parametrize("name", DEFINED)
def test_it_runs_on_every_family_it_is_defined_for(name):
    net, x = random_net(name), pictures(3)
    got = attribution.lrp(net, x, TARGET)
    assert got.shape == x.shape and torch.isfinite(got).all()
    expected = x * attribution.gradient(net, x, TARGET)  # with epsilon near zero, biases or not
    if name != "mobilenet_v2":  # its ReLU6 stops a gradient, never relevance
        torch.testing.assert_close(got / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=0.02)


@pytest.mark.parametrize("name, op", [("convnext_tiny", "layer_norm"), ("efficientnet_b0", "silu")])
def test_an_operation_without_a_rule_is_named(name, op):
    with pytest.raises(ValueError, match=f"no rule for '{op}'.*integrated_gradients"):
        attribution.lrp(random_net(name), pictures(1), 3)


class Gate(nn.Module):
    def forward(self, x):
        return (x * x.mean(1, keepdim=True)).mean((2, 3))


def test_a_product_of_two_activations_is_named_and_a_constant_factor_is_not():
    with pytest.raises(ValueError, match="no rule for 'mul'|no rule for '__mul__'"):
        attribution.lrp(nn.Sequential(nn.Conv2d(3, 4, 1), Gate()), pictures(1, 8), 0)

    class Half(nn.Module):
        def forward(self, x):
            return (0.5 * x / 4).mean((2, 3))

    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), Half())
    x = pictures(2, 8)
    torch.testing.assert_close(attribution.lrp(net, x, 0).sum((1, 2, 3)), net(x)[:, 0])


def test_a_convolution_merged_with_its_batch_norm_has_no_relevance_of_its_own():
    with pytest.raises(ValueError, match="merged with the BatchNorm"):
        attribution.lrp(random_net("resnet18"), pictures(1), 3, layer="conv1")
    assert attribution.lrp(random_net("resnet18"), pictures(1), 3, layer="bn1").shape == (1, 64, 32, 32)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rule": "omega"}, "no rule 'omega'"),
        ({"rule": "z_box"}, "first='z_box'"),
        ({"first": "z_box"}, "bounds"),
        ({"bounds": (0, 1)}, "belong together"),
        ({"first": "z_box", "bounds": (0, 1)}, "outside of the bounds"),
        ({"epsilon": 0}, "epsilon > 0"),
        ({"alpha": 0.5}, "alpha >= 1"),
        ({"layer": "nowhere"}, "no layer 'nowhere'"),
    ],
)
def test_bad_questions_name_their_cure(options, message):
    net, x = stack(bias=True).float(), pictures(1, 16)
    with pytest.raises(ValueError, match=message):
        attribution.lrp(net, x, 0, **options)


def test_batch_statistics_have_no_rule():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    with pytest.raises(ValueError, match="statistics from the batch"):
        attribution.lrp(net, pictures(2, 8), 0)
