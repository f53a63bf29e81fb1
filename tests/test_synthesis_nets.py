"""Synthesis on nets and pictures of other kinds: x.view, half precision, numbers in any sequence, a picture named."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import synthesis
from nets import Tiny, pictures


class Flattened(nn.Module):
    """A net that flattens in the way that it is given; it takes one size of pictures."""

    def __init__(self, flatten):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.flatten = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(128, 5), flatten

    def forward(self, x):
        return self.fc(self.flatten(F.max_pool2d(self.conv(x).relu(), 2)))


def photographs(count=2):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def climbs(net, x, **options):
    return synthesis.maximise(net, synthesis.logit(1), x, steps=3, **options).images


FUNCTIONS = {
    "maximise": climbs,
    "maximise, fourier": lambda net, x: climbs(net, x, space="fourier"),
    "maximise, views": lambda net, x: climbs(net, x, view=synthesis.random_view(1, 5.0, 1.1)),
    "maximise, blur": lambda net, x: climbs(net, x, blur=0.7, every=1),
    "invert": lambda net, x: synthesis.invert(net, x, layer="fc", steps=3).images,
    "invert, fourier": lambda net, x: synthesis.invert(net, x, layer="fc", steps=3, space="fourier").images,
    "deep_dream": lambda net, x: synthesis.deep_dream(net, x, layer="fc", octaves=1, steps=3),
    "class_prototypes": lambda net, x: synthesis.class_prototypes(net, x, steps=5).images,
}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@every_function
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("flatten", [lambda a: a.view(-1, 128), lambda a: a.view(a.size(0), -1)])
def test_a_net_that_flattens_by_view(function, count, flatten):
    x = photographs(count)
    expected = function(Flattened(lambda a: a.flatten(1)), x)
    torch.testing.assert_close(function(Flattened(flatten), x), expected)
    assert (expected != x).any()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "class_prototypes"])
def test_half_precision_moves_as_single_precision_does(name, kind):
    net, x = Flattened(lambda a: a.flatten(1)), photographs()
    expected = FUNCTIONS[name](net, x)
    got = FUNCTIONS[name](copy.deepcopy(net).to(kind), x.to(kind))
    assert got.dtype == kind and got.isfinite().all()
    moved, wanted = (got.float() - x).flatten(), (expected - x).flatten()
    if not name.startswith("invert"):  # which begins at noise
        assert torch.corrcoef(torch.stack([moved, wanted]))[0, 1] > 0.95


def test_many_small_steps_are_not_lost_in_half_precision():
    x = torch.full((1, 3, 8, 8), 0.5, dtype=torch.bfloat16)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 1, bias=False)).to(torch.bfloat16)
    nn.init.ones_(net[1].weight)
    found = synthesis.maximise(net, synthesis.logit(0), x, steps=200, rate=0.0005).images
    assert (found.float() - 0.6).abs().max() < 0.01  # 200 steps, each less than half of what bfloat16 resolves there


def test_bounds_are_not_rounded_to_half_precision():
    """Rounded to bfloat16, these two would be the same number, and refused."""
    x = torch.ones(1, 3, 8, 8, dtype=torch.bfloat16)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 1, bias=False)).to(torch.bfloat16)
    found = synthesis.maximise(net, synthesis.logit(0), x, steps=2, bounds=(1.0, 1.003)).images
    assert found.shape == x.shape


def test_prototypes_in_half_precision_are_refused():
    net = Tiny().to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"lost in torch.bfloat16.*model.float"):
        synthesis.class_prototypes(net, pictures(3, 8).to(torch.bfloat16))


def test_means_of_half_precision_are_summed_in_single_precision():
    images = torch.full((3000, 1, 1, 1), 200.0).half()  # their sum is more than half precision can hold
    mean = synthesis.class_means(images, torch.zeros(3000, dtype=torch.long), classes=1)
    assert mean.dtype == torch.float16 and mean.item() == 200


def test_penalties_are_summed_in_single_precision():
    x = 100 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for measure in (synthesis.total_variation, synthesis.high_frequencies, synthesis.energy):
        got = measure(x.half())
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, measure(x), rtol=1e-2, atol=0)
    assert synthesis.inversion_error(20 * x.half(), 10 * x.half()).isfinite().all()


@pytest.mark.parametrize(
    "numbers", [[1, 3], (1, 3), np.array([1, 3]), torch.tensor([1, 3])], ids=lambda n: type(n).__name__
)
def test_numbers_and_labels_in_any_sequence(numbers):
    logits, maps = torch.arange(10.0).view(2, 5), torch.arange(40.0).view(2, 5, 2, 2)
    assert synthesis.logit(numbers)(logits).tolist() == [1, 8]
    assert synthesis.channel(numbers)(maps).tolist() == [5.5, 33.5]
    assert synthesis.neuron(numbers, 0, 0)(maps).tolist() == [4, 32]
    images = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    assert synthesis.class_means(images, np.asarray(numbers) // 2, classes=2).flatten().tolist() == [1, 3]
    net, means = Tiny(), pictures(2, 8)
    found = synthesis.class_prototypes(net, means, numbers, steps=3).images
    torch.testing.assert_close(found, synthesis.class_prototypes(net, means, torch.tensor([1, 3]), steps=3).images)


def test_the_picture_that_stands_in_the_way_is_named():
    x = photographs(3)
    x[2] = 0.5
    with pytest.raises(ValueError, match="Picture 2 has one colour"):
        synthesis.high_frequencies(x)
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU(), nn.Flatten())
    nn.init.ones_(net[0].weight)
    x = photographs(3)
    x[1] = 0
    with pytest.raises(ValueError, match="zeros only for picture 1"):
        synthesis.invert(net, x, layer="1", steps=2)
    dark = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU())
    nn.init.ones_(dark[0].weight)
    nn.init.constant_(dark[0].bias, -0.5)
    with pytest.raises(ValueError, match="no slope at the start in picture 1"):
        synthesis.maximise(dark, synthesis.channel(0), x, layer="1", steps=2)
    with pytest.raises(ValueError, match="no slope in picture 1"):
        synthesis.deep_dream(dark, x, layer="1", octaves=1, steps=2)
