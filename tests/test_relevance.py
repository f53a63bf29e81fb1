"""LRP: by its formula, by its conservation, against zennit and captum, and where it is not defined."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import attribution, data
from helpers.attribution import relevance
from helpers.models import ShapesResNet, load_classifier
from helpers.models.networks import ResidualBlock
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


# --- the real network: what keeps its relevance from the pixels ---


def real_net(without_biases: bool):
    """EfficientNet-Lite0 in float64, with two photographs; its biases, folded BatchNorm shifts, set to zero or not."""
    try:
        classifier = load_classifier("efficientnet_lite0")
    except ModuleNotFoundError as missing:
        pytest.skip(str(missing))
    net = classifier.model.double()
    x = classifier.preprocess([data.photograph(name) for name in ("coffee", "camera")]).double()
    if without_biases:
        net.fc.bias.zero_()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.copy_(module.running_mean * module.weight / (module.running_var + module.eps).sqrt())
    return net, x[..., 48:176, 48:176], tuple(bound.double() for bound in classifier.bounds)


def ceilings(net, x) -> int:
    """Count the values of all ReLU6 that lie at 6."""
    found = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: found.append(int((output >= 6).sum())))
        for module in net.modules()
        if isinstance(module, nn.ReLU6)
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return sum(found)


@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
def test_the_real_net_without_biases_conserves_through_ceilings_padding_and_z_box(rule):
    """ReLU6 at its ceiling, zero padding, z^B and a small epsilon keep nothing: only biases do."""
    net, x, bounds = real_net(without_biases=True)
    assert ceilings(net, x) > 0
    for options in ({}, {"first": "z_box", "bounds": bounds}):
        got = attribution.lrp(net, x, TARGET[:2], rule=rule, epsilon=1e-10, **options).sum((1, 2, 3))
        torch.testing.assert_close(got, logit(net, x, TARGET[:2]), rtol=1e-4, atol=1e-6)


def test_the_real_nets_biases_keep_nearly_all_of_its_relevance():
    net, x, bounds = real_net(without_biases=False)
    scores, top = net(x).max(1)
    got = attribution.lrp(net, x, top, rule="gamma", first="z_box", bounds=bounds).sum((1, 2, 3))
    assert (got.abs() < 0.1 * scores).all()


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


class WithAddition(nn.Module):
    """A block of the course's ResNet whose sum is captum's module."""

    def __init__(self, block: ResidualBlock, addition: nn.Module) -> None:
        super().__init__()
        self.block, self.addition, self.last = block, addition, nn.ReLU()

    def forward(self, x):
        block = self.block
        shortcut = x if block.downsample is None else block.downsample(x)
        return self.last(self.addition(shortcut, block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))))


@pytest.mark.parametrize("bias", [False, True])
def test_lrp_is_captums_where_the_residual_sum_is_a_module(bias):
    captum = pytest.importorskip("captum.attr")
    from captum.attr._utils.custom_modules import Addition_Module

    net, x = residual_net(bias), pictures(2, 64).double()
    changed = copy.deepcopy(net)
    for stage in (changed.layer1, changed.layer2, changed.layer3, changed.layer4):
        stage[0] = WithAddition(stage[0], Addition_Module())
    torch.testing.assert_close(changed(x), net(x))
    expected = captum.LRP(changed).attribute(x.clone(), 4).detach()
    got = attribution.lrp(net, x, 4, epsilon=1e-9)
    torch.testing.assert_close(got / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
def test_lrp_is_zennits_with_a_canonizer_for_our_block(rule):
    pytest.importorskip("zennit")
    from types import MethodType

    import zennit.rules
    from zennit.attribution import Gradient
    from zennit.canonizers import AttributeCanonizer, SequentialMergeBatchNorm
    from zennit.composites import LayerMapComposite
    from zennit.layer import Sum
    from zennit.types import Activation, AvgPool, Convolution, Linear

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(self.sum(torch.stack([shortcut, branch], -1)))

    def changes(name, module):
        found = isinstance(module, ResidualBlock)
        return {"forward": MethodType(forward, module), "sum": Sum()} if found else None

    net, x = residual_net(bias=True), pictures(2, 64).double()
    for module in net.modules():  # a BatchNorm that zennit has merged still divides by sqrt(1 + eps)
        if isinstance(module, nn.BatchNorm2d):
            module.running_var += module.eps
            module.eps = 0.0
    chosen = zennit.rules.Epsilon(1e-9) if rule == "epsilon" else zennit.rules.Gamma(0.25, stabilizer=1e-9)
    norm = zennit.rules.Norm(stabilizer=1e-9)
    layers = [(Activation, zennit.rules.Pass()), (AvgPool, norm), (Sum, norm), (Convolution, chosen), (Linear, chosen)]
    composite = LayerMapComposite(layers, canonizers=[SequentialMergeBatchNorm(), AttributeCanonizer(changes)])
    start = F.one_hot(torch.tensor([4, 4]), 10) * net(x).detach()
    with Gradient(net, composite) as attributor:
        expected = attributor(x.clone(), start)[1]
    got = attribution.lrp(net, x, 4, rule=rule, epsilon=1e-9)
    torch.testing.assert_close(got / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=1e-5)


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


# --- one layer after the other ---


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha_beta"])
def test_lrp_is_the_layers_handed_back_one_after_the_other(rule):
    """The walk through the network, and the rules applied by hand to one layer at a time: at every layer the same."""
    net, x = stack(bias=True), pictures(2, 16).double()
    a = [x]
    for layer in net:
        a.append(layer(a[-1].clone()).detach())
    R = [F.one_hot(torch.tensor([1, 3]), 5) * a[-1]]
    for number in reversed(range(len(net))):
        layer, below = net[number], a[number]
        if isinstance(layer, nn.ReLU):
            back = R[0]
        elif rule == "epsilon" or not isinstance(layer, nn.Conv2d | nn.Linear):
            back = relevance.hand_back(layer, below, R[0], 1e-12)
        else:
            call = F.linear if isinstance(layer, nn.Linear) else layer._conv_forward
            apply = {"gamma": (relevance.gamma_rule, {"gamma": 0.25}), "alpha_beta": (relevance.alpha_beta_rule, {})}
            formula, options = apply[rule]
            options = options or {"alpha": 2.0}
            called = relevance.Layer(call, layer.weight, layer.bias)
            back = below * formula(called, below, a[number + 1], R[0], 1e-12, **options)
        R.insert(0, back.detach())
    for number in range(len(net)):
        if not isinstance(net[number], nn.ReLU) or not net[number].inplace:
            got = attribution.lrp(net, x, torch.tensor([1, 3]), rule=rule, epsilon=1e-12, layer=str(number))
            torch.testing.assert_close(got, R[number + 1], rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(
        attribution.lrp(net, x, torch.tensor([1, 3]), rule=rule, epsilon=1e-12), R[0], rtol=1e-5, atol=1e-9
    )


def test_the_epsilon_rule_run_again_is_the_one_of_the_backward_pass():
    torch.manual_seed(0)
    a, R = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 4, 4, 4).double()
    conv = nn.Conv2d(3, 4, 3).double()
    layer = relevance.Layer(conv._conv_forward, conv.weight, conv.bias)
    expected = relevance.hand_back(conv, a, R)
    torch.testing.assert_close(a * relevance.epsilon_rule(layer, a, conv(a), R, 1e-6), expected)


# --- the sum is checked, and what cannot be seen is named ---


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x**2

    @staticmethod
    def backward(ctx, g):
        return g


class Through(nn.Module):
    """A net with something in its middle."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.middle, self.fc = nn.Conv2d(3, 4, 3), middle, nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.middle(self.conv(x).relu()).mean((2, 3)))


def conv():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("layer", [None, "conv"])
@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: Through(torch.jit.trace(conv(), torch.randn(1, 4, 6, 6))), "torch.jit"),
        (lambda: Through(torch.jit.script(conv())), "torch.jit"),
        (lambda: Through(Doubled.apply), "'DoubledBackward'"),
    ],
    ids=["trace", "script", "autograd.Function"],
)
def test_what_the_walk_cannot_see_is_refused_and_named(make, name, layer):
    with pytest.raises(ValueError, match=f"cannot see into.*{name}.*integrated_gradients"):
        attribution.lrp(make(), pictures(2, 8), 1, layer=layer)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_whole_traced_net_is_refused():
    net = torch.jit.trace(stack(bias=True).float().eval(), pictures(1, 16))
    with pytest.raises(ValueError, match="cannot see into"):
        attribution.lrp(net, pictures(1, 16), 1)


class Floor(nn.Module):
    def forward(self, x):
        return torch.maximum(x, torch.full_like(x, 0.3))


def test_relevance_that_does_not_make_up_the_score_is_refused():
    with pytest.raises(ValueError, match="add up to .* the scores to .* integrated_gradients"):
        attribution.lrp(Through(Floor()), pictures(2, 8), 1)


def test_a_target_that_is_not_linear_is_refused():
    net, x = stack(bias=True).float(), pictures(2, 16)
    with pytest.raises(ValueError, match="no rule for 'softmax'"):
        attribution.lrp(net, x, lambda logits: logits.softmax(1)[:, 0])
    got = attribution.lrp(net, x, lambda logits: logits[:, 0] - logits[:, 1])
    parts = [attribution.lrp(net, x, c) for c in (0, 1)]
    torch.testing.assert_close(got, parts[0] - parts[1], rtol=1e-3, atol=1e-4)


class Normalised(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.mean = net, torch.tensor([0.3, 0.4, 0.5]).double()[:, None, None]

    def forward(self, x):
        return self.net((x - self.mean) / 0.25)


@every_rule
def test_constants_that_are_added_keep_their_share(options):
    net, x = stack(bias=True), pictures(2, 16).double().clamp(-1.0, 1.0)
    got = attribution.lrp(Normalised(net), x, 1, **options)
    inside = (x - torch.tensor([0.3, 0.4, 0.5]).double()[:, None, None]) / 0.25
    c = attribution.lrp(net, inside, 1) / inside if not options else None
    assert got.shape == x.shape
    if c is not None:  # the mean has its share as a bias has
        torch.testing.assert_close(got, x / 0.25 * c, rtol=1e-5, atol=1e-8)


def test_half_precision_is_refused_and_autocast_makes_no_difference():
    net, x = stack(bias=True).float(), pictures(2, 16)
    expected = attribution.lrp(net, x, 1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(attribution.lrp(net, x, 1), expected, rtol=0, atol=0)
    for kind in (torch.float16, torch.bfloat16):
        with pytest.raises(ValueError, match="too coarse.*model.float"):
            attribution.lrp(copy.deepcopy(net).to(kind), x.to(kind), 1)


@pytest.mark.parametrize("flatten", [lambda a: a.view(a.size(0), -1), lambda a: a.view(-1, 144)])
def test_a_net_that_flattens_by_view(flatten):
    class Net(nn.Module):
        def __init__(self, flatten):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.fc, self.flatten = nn.Conv2d(3, 4, 3), nn.Linear(144, 5), flatten

        def forward(self, x):
            return self.fc(self.flatten(self.conv(x).relu()))

    for count in (1, 3):
        x = pictures(count, 8)
        expected = attribution.lrp(Net(lambda a: a.flatten(1)), x, 1, rule="gamma")
        torch.testing.assert_close(attribution.lrp(Net(flatten), x, 1, rule="gamma"), expected)


def test_a_dead_picture_is_named():
    net, x = stack(bias=False).float(), pictures(3, 16)
    x[1] = 0
    with pytest.raises(ValueError, match="input 1 is zero everywhere"):
        attribution.lrp(net, x, 0)


def test_the_rule_of_the_first_layer_needs_one():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 5)

        def forward(self, x):
            return self.fc(torch.cat([x, x]).chunk(2)[0].mean((2, 3)))

    with pytest.raises(ValueError, match="no first layer"):
        attribution.lrp(Pooled(), pictures(1, 8), 0, first="gamma")


def test_nothing_is_left_on_the_callers_tensors():
    net, x = stack(bias=True).float(), pictures(1, 16)
    attribution.lrp(net, x, 0)
    assert not x.requires_grad and not hasattr(x, "note") and not vars(x)
    assert all(p.grad is None and p.requires_grad and not hasattr(p, "note") for p in net.parameters())
