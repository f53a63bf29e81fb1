"""FullGrad where it is easily wrong: ReLU6, half precision, repeated passes, nets that flatten by view."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import attribution
from helpers.data import photograph
from helpers.models import load_classifier
from nets import Tiny, pictures, random_net


def total(of_input, of_biases):
    return of_input.flatten(1).sum(1) + sum(part.flatten(1).sum(1) for part in of_biases.values())


def test_a_relu6_at_its_ceiling_counts_as_a_bias():
    net, x = copy.deepcopy(random_net("mobilenet_v2")).double(), 5 * pictures(2).double()
    of_input, of_biases = attribution.full_gradients(net, x, 7)
    torch.testing.assert_close(total(of_input, of_biases), net(x)[:, 7].detach())
    ceilings = [name for name, module in net.named_modules() if isinstance(module, nn.ReLU6)]
    assert set(ceilings) < set(of_biases) and any(of_biases[name].any() for name in ceilings)


def test_the_real_nets_parts_add_up_with_its_ceilings():
    """The real network has active ceilings, which random weights seldom give: their constants count."""
    try:
        classifier = load_classifier("efficientnet_lite0")
    except ModuleNotFoundError as missing:
        pytest.skip(str(missing))
    net = classifier.model.double()
    x = classifier.preprocess([photograph("coffee"), photograph("camera")]).double()
    scores, top = net(x).max(1)
    of_input, of_biases = attribution.full_gradients(net, x, top)
    torch.testing.assert_close(total(of_input, of_biases), scores.detach())
    ceilings = {name for name, module in net.named_modules() if isinstance(module, nn.ReLU6)}
    clipped = sum(part.flatten(1).sum(1) for name, part in of_biases.items() if name in ceilings)
    assert (clipped.abs() > 1).all()  # without them, the parts would miss the score by that much


def test_a_relu6_by_hand():
    net = nn.Sequential(nn.ReLU6(), nn.Flatten(), nn.Linear(3, 1, bias=False))
    nn.init.constant_(net[2].weight, 2.0)
    of_input, of_biases = attribution.full_gradients(net, torch.tensor([[[[7.0]], [[3.0]], [[-1.0]]]]), 0)
    assert of_input.flatten().tolist() == [0.0, 6.0, 0.0]
    assert of_biases["0"].flatten().tolist() == [12.0, 0.0, 0.0]


def test_a_relu6_as_a_function_is_refused():
    net = Tiny().eval()
    net.forward = lambda x: net.fc(F.relu6(20 * net.conv1(x)).mean((2, 3)))
    with pytest.raises(ValueError, match="called as a function"):
        attribution.full_gradients(net, pictures(), 1)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_single_precision(kind):
    net, x = Tiny().eval(), pictures(2, 32)
    expected = attribution.full_grad(net, x, 1)
    got = attribution.full_grad(copy.deepcopy(net).to(kind), x.to(kind), 1)
    assert got.dtype == torch.float32
    assert torch.corrcoef(torch.stack([got.flatten(), expected.flatten()]))[0, 1] > 0.98


def test_half_precision_still_finds_what_does_not_add_up():
    net = Tiny().eval().to(torch.bfloat16)
    with pytest.raises(ValueError, match="without a constant"):
        attribution.full_gradients(net, pictures().to(torch.bfloat16), lambda logits: logits[:, 0] + 3)


def test_autocast_makes_no_difference():
    net, x = Tiny().eval(), pictures()
    expected = attribution.full_grad(net, x, 1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(attribution.full_grad(net, x, 1), expected, rtol=0, atol=0)


class Twice(Tiny):
    """Its forward pass starts again from the beginning, as where a pass is tried first."""

    tries = 0

    def forward(self, x):
        self.tries += 1
        if self.tries == 1:
            self.conv1(x)
            return self(x)
        return super().forward(x)


def test_a_pass_that_is_repeated_is_noted_once():
    net, x = Twice().eval(), pictures()
    of_input, of_biases = attribution.full_gradients(net, x, 1)
    assert list(of_biases) == ["conv1", "conv2", "fc"]
    torch.testing.assert_close(total(of_input, of_biases), net(x)[:, 1].detach())


class Flattened(nn.Module):
    def __init__(self, flatten):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.flatten = nn.Conv2d(3, 4, 3), nn.Linear(144, 5), flatten

    def forward(self, x):
        return self.fc(self.flatten(self.conv(x).relu()))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("flatten", [lambda a: a.view(a.size(0), -1), lambda a: a.view(-1, 144)])
def test_a_net_that_flattens_by_view(flatten, count):
    x = pictures(count, 8)
    expected = attribution.full_grad(Flattened(lambda a: a.flatten(1)), x, 1)
    torch.testing.assert_close(attribution.full_grad(Flattened(flatten), x, 1), expected)


def test_a_function_shows_no_layers():
    with pytest.raises(TypeError, match="give a torch.nn.Module"):
        attribution.full_grad(lambda x: Tiny()(x), pictures(), 1)
