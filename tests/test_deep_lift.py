"""DeepLIFT: by hand, its sum on every family of networks, captum where it can, and shap with a max pooling."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import attribution
from nets import LAYERS, Tiny, pictures, random_net


def gains(net, x, baseline, target):
    with torch.no_grad():
        return (net(x) - net(torch.full_like(x, baseline)))[:, target]


class Unit(nn.Module):
    """One activation between two linear steps, on pictures of two values: y = 3 f(a x1 - x2 + b)."""

    def __init__(self, f, a=2.0, b=-1.0):
        super().__init__()
        self.f, self.a, self.b = f, a, b

    def forward(self, x):
        return 3 * self.f(self.a * x[:, 0, 0, :1] - x[:, 0, 0, 1:] + self.b)


@pytest.mark.parametrize(
    "f", [torch.relu, torch.sigmoid, F.gelu, F.relu6, torch.tanh, nn.SiLU(), nn.ReLU(inplace=True), nn.LeakyReLU()]
)
def test_one_activation_by_hand(f):
    x = torch.tensor([3.0, 0.5]).view(1, 1, 1, 2)
    z, before = torch.tensor(2 * 3 - 0.5 - 1), torch.tensor(-1.0)
    quotient = 3 * (f(z.clone()) - f(before.clone())) / (z - before)
    expected = quotient * torch.tensor([2 * 3.0, -0.5])
    torch.testing.assert_close(attribution.deep_lift(Unit(f), x, 0)[0, 0, 0], expected)


def test_a_flat_relu_gets_what_the_gradient_misses():
    """The textbook example: y = 1 - relu(1 - x) is 1 at x = 2, its slope there is 0."""
    net, x = Unit(lambda z: 1 - torch.relu(-z) / 3, a=1.0), torch.tensor([3.0, 0.0]).view(1, 1, 1, 2)
    with pytest.raises(ValueError, match="the gradient is zero everywhere"):
        attribution.gradient(net, x, 0)
    torch.testing.assert_close(attribution.deep_lift(net, x, 0)[0, 0, 0], torch.tensor([1.0, 0.0]))


def test_where_nothing_changes_the_slope_is_taken():
    x = torch.tensor([0.25, 0.5]).view(1, 1, 1, 2)  # 2 x1 - x2 is zero here and at the baseline
    found = attribution.deep_lift(Unit(torch.sigmoid), x, 0)[0, 0, 0]
    slope = 3 * torch.sigmoid(torch.tensor(-1.0)) * torch.sigmoid(torch.tensor(1.0))
    torch.testing.assert_close(found, slope * torch.tensor([0.5, -0.5]))


def test_an_activation_in_place_whose_result_nobody_takes():
    class Changed(Tiny):
        def __init__(self, in_place):
            super().__init__()
            self.in_place = in_place

        def forward(self, x):
            z = self.conv1(x)
            if self.in_place:
                torch.sigmoid_(z)
            else:
                z = torch.sigmoid(z)
            return self.fc(self.conv2(z).mean((2, 3)))

    x = pictures(2)
    expected = attribution.deep_lift(Changed(False).eval(), x, 1)
    torch.testing.assert_close(attribution.deep_lift(Changed(True).eval(), x, 1), expected)


@pytest.mark.parametrize("name", [*LAYERS, "vgg11"])
def test_the_values_add_up(name):
    net, x = copy.deepcopy(random_net(name)).double(), pictures(2).double()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = attribution.deep_lift(net, x, 1, baseline=0.2)
    torch.testing.assert_close(found.flatten(1).sum(1), gains(net, x, 0.2, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("baseline", ["one", "one for each"])
def test_baselines_that_are_pictures(baseline):
    net, x = Tiny().eval(), pictures(3)
    plain = pictures(3, seed=7)[:1] if baseline == "one" else pictures(3, seed=7)
    given = plain[0] if baseline == "one" else plain
    found = attribution.deep_lift(net, x, torch.tensor([0, 2, 1]), baseline=given).flatten(1).sum(1)
    with torch.no_grad():
        expected = (net(x) - net(plain))[torch.arange(3), torch.tensor([0, 2, 1])]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_one_baseline_costs_one_picture():
    net, x, rows = Tiny(), pictures(5), []
    net.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    attribution.deep_lift(net, x, 1)
    assert rows == [1, 5]  # the baseline, and the pictures


POOLS = {
    "max_pool2d": lambda z: F.max_pool2d(z, 2),
    "overlapping, padded": lambda z: F.max_pool2d(z, 3, 2, padding=1),
    "module": nn.MaxPool2d(3, 1, ceil_mode=True),
    "with indices": lambda z: F.max_pool2d(z, 2, return_indices=True)[0],
    "adaptive": lambda z: F.adaptive_max_pool2d(z, 3),
    "adaptive, with indices": lambda z: nn.AdaptiveMaxPool2d(3, return_indices=True)(z)[0],
}


class Pooled(nn.Module):
    def __init__(self, pool):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.pool = nn.Conv2d(3, 6, 3), nn.LazyLinear(4), pool

    def forward(self, x):
        return self.fc(self.pool(torch.tanh(self.conv(x))).flatten(1))


@pytest.mark.parametrize("pool", POOLS)
def test_the_values_add_up_behind_a_max_pooling(pool):
    net, x = Pooled(POOLS[pool]).double(), pictures(2, 16).double()
    net(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = attribution.deep_lift(net, x, 2, baseline=0.4)
    torch.testing.assert_close(found.flatten(1).sum(1), gains(net, x, 0.4, 2))


def test_a_max_pooling_hands_back_to_the_two_maxima():
    class Maximum(nn.Module):
        def forward(self, x):
            return F.max_pool2d(x, (1, 3)).flatten(1)

    x, plain = torch.tensor([0.0, 5.0, 1.0]), torch.tensor([2.0, 0.0, 1.0])
    up = attribution.deep_lift(Maximum(), x.view(1, 1, 1, 3), 0, baseline=plain.view(1, 1, 3))
    torch.testing.assert_close(up.flatten(), torch.tensor([0.0, 3.0, 0.0]))  # 5 - 2, to the place of the 5
    down = attribution.deep_lift(Maximum(), plain.view(1, 1, 1, 3), 0, baseline=x.view(1, 1, 3))
    torch.testing.assert_close(down.flatten(), torch.tensor([0.0, -3.0, 0.0]))


def test_steps_without_a_rule_are_said():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.gate, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

        def forward(self, x):
            return self.fc((self.conv(x) * self.gate(x)).mean((2, 3)))

    with pytest.warns(UserWarning, match=r"add up to .* and not to the difference.*Gate has steps.*gates"):
        attribution.deep_lift(Gate(), pictures(), 1)


def test_another_way_through_the_network_is_refused():
    class Fork(Tiny):
        def forward(self, x):
            return super().forward(x) if x.abs().sum() == 0 else super().forward(x.relu())

    with pytest.raises(ValueError, match="runs other activations for the baseline"):
        attribution.deep_lift(Fork(), pictures(), 1)


def test_a_picture_that_equals_its_baseline_is_refused():
    with pytest.raises(ValueError, match="equals its baseline"):
        attribution.deep_lift(Tiny(), torch.full((1, 3, 32, 32), 0.5), 1, baseline=0.5)


# --- the libraries ---


def modules_net():
    torch.manual_seed(1)
    steps = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3), nn.Sigmoid(), nn.Flatten()]
    return nn.Sequential(*steps, nn.Linear(8 * 13 * 13, 16), nn.ELU(), nn.Linear(16, 4)).double()


@pytest.mark.filterwarnings("ignore")
def test_captum_agrees_where_each_activation_is_a_module_of_its_own():
    library = pytest.importorskip("captum.attr").DeepLift
    net, x = modules_net(), pictures(2, 32).double()
    expected = library(net).attribute(x, baselines=torch.full_like(x, 0.3), target=2)
    torch.testing.assert_close(attribution.deep_lift(net, x, 2, baseline=0.3), expected.detach())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v2"])
def test_where_captum_does_not_see_the_relus_its_sum_is_off(name):
    """DenseNet calls F.relu, MobileNet has ReLU6: captum gives these the gradient, without a word."""
    library = pytest.importorskip("captum.attr").DeepLift
    net, x = copy.deepcopy(random_net(name)).double(), pictures(1).double()
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    rise = gains(net, x, 0.2, 1)
    theirs = library(net).attribute(x, baselines=torch.full_like(x, 0.2), target=1).sum()
    ours = attribution.deep_lift(net, x, 1, baseline=0.2).sum()
    assert (ours - rise).abs() < 1e-4 * rise.abs() < (theirs - rise).abs()


@pytest.mark.filterwarnings("ignore")
def test_shap_agrees_also_behind_a_max_pooling():
    shap = pytest.importorskip("shap")
    torch.manual_seed(2)
    steps = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten()]
    net = nn.Sequential(*steps, nn.Linear(8 * 13 * 13, 4))
    x, plain = pictures(2, 32), pictures(1, 32, seed=9)  # in a plain one all maxima would tie
    expected = shap.DeepExplainer(net, plain).shap_values(x)[..., 2]
    found = attribution.deep_lift(net, x, 2, baseline=plain)
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=1e-3, atol=1e-5)
