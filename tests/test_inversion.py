"""Inversion against its formula and finite differences, on layers that can be inverted, and what it leaves alone."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.synthesis import inversion_error, invert
from nets import RELU_STYLES, Tiny

BOUNDS = (torch.tensor([-1.0, -2.0, -0.5]).view(1, 3, 1, 1), torch.tensor([2.0, 1.0, 0.5]).view(1, 3, 1, 1))
OPTIONS = {"layer": "conv2", "steps": 4}


def photographs(count=2, height=8, width=9, seed=0):
    return 0.2 + 0.6 * torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def state(net):
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    return [m.training for m in net.modules()], [(p.requires_grad, p.grad) for p in net.parameters()], hooks


def objective(net, u, wanted, norm, power, variation, bounds=(0.0, 1.0)):
    """The formula for each of many pictures u [M, C, H, W] from 0 to 1, written out with plain sums."""
    low, high = bounds
    output = net.conv2(net.act(net.conv1(low + (high - low) * u)))
    error = ((output - wanted) ** 2).sum((1, 2, 3)) / (wanted**2).sum((1, 2, 3))
    grey = (2 * (u - 0.5).abs()) ** power
    down, right = u[:, :, 1:, :-1] - u[:, :, :-1, :-1], u[:, :, :-1, 1:] - u[:, :, :-1, :-1]
    count = down[0].numel()
    return error + norm * grey.sum((1, 2, 3)) / u[0].numel() + variation * (down**2 + right**2).sum((1, 2, 3)) / count


def test_the_error_is_known_by_hand():
    wanted = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 2.0]]]])
    assert_close(inversion_error(wanted, wanted), torch.zeros(2))
    assert_close(inversion_error(0 * wanted, wanted), torch.ones(2))
    assert_close(inversion_error(wanted + torch.tensor([0.0, 1.0]), wanted), torch.tensor([1 / 25, 1 / 4]))
    assert_close(inversion_error(torch.ones(2, 3), torch.full((2, 3), 2.0)), torch.full((2,), 0.25))


@pytest.mark.parametrize("weights", [(0.0, 0.0), (3.0, 0.0), (0.0, 20.0), (0.5, 2.0)])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), BOUNDS], ids=["0 to 1", "normalised"])
def test_the_first_step_goes_against_finite_differences(weights, bounds):
    """Adam's first step has the length of the rate everywhere, and the sign of the slope turned round."""
    net, rate, (norm, variation) = Tiny().eval().double(), 1e-3, weights
    low, high = (torch.as_tensor(bound).double() for bound in bounds)
    u, seen = photographs(1, 5, 6, seed=1).double(), []
    x = low + (high - low) * photographs(1, 5, 6).double()
    start = low + (high - low) * u
    invert(net, x, layer="conv2", bounds=bounds, start=start, steps=2, rate=rate, norm=norm, variation=variation,
           on_step=lambda step, errors, pictures: seen.append(pictures))  # fmt: skip
    step = (seen[1] - seen[0]) / (high - low) / rate
    with torch.no_grad():
        wanted = net.conv2(net.act(net.conv1(x)))
        tip = 1e-6 * torch.eye(u.numel(), dtype=u.dtype).view(-1, *u.shape[1:])
        up, down = (objective(net, u + s * tip, wanted, norm, 6.0, variation, (low, high)) for s in (1, -1))
    slope = ((up - down) / 2e-6).view_as(u)
    clear = slope.abs() > 1e-6
    assert clear.double().mean() > 0.9
    assert_close(step[clear], -slope.sign()[clear], rtol=0, atol=0.02)


def test_the_slope_of_the_error_in_double_precision():
    random = torch.Generator().manual_seed(0)
    output, wanted = torch.randn(2, 2, 3, 4, 5, generator=random, dtype=torch.float64).unbind(0)
    assert torch.autograd.gradcheck(inversion_error, (output.requires_grad_(), wanted))


def test_the_errors_are_those_of_the_pictures_told():
    net, x, seen = Tiny().eval(), photographs(), []
    found = invert(net, x, **OPTIONS, on_step=lambda *one: seen.append(one))
    assert found.errors.shape == (5, 2) and not found.errors.requires_grad and not found.images.requires_grad
    assert [step for step, _, _ in seen] == [0, 1, 2, 3]
    wanted = net.conv2(net.act(net.conv1(x)))
    for k, pictures in enumerate([*(pictures for _, _, pictures in seen), found.images]):
        error = inversion_error(net.conv2(net.act(net.conv1(pictures))), wanted)
        assert_close(found.errors[k], error.detach())
        assert k == 4 or torch.equal(seen[k][1], found.errors[k])


def test_a_layer_that_can_be_inverted_gives_the_picture_back():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(3 * 8 * 9, 4))
    nn.init.orthogonal_(net[0].weight)
    x = photographs()
    found = invert(net, x, layer="0", steps=300, rate=0.02)
    assert (found.errors[-1] < 1e-5).all()
    assert_close(found.images, x, rtol=0, atol=0.02)


def test_what_a_layer_does_not_tell_is_not_given_back():
    """A layer that sees the mean of the colours: any colours with that mean will do."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.Flatten(), nn.Linear(8 * 9, 4))
    nn.init.constant_(net[0].weight, 1 / 3)
    x = photographs()
    starts = [photographs(seed=seed) for seed in (1, 2)]
    one, two = (invert(net, x, layer="0", steps=300, rate=0.02, start=start) for start in starts)
    assert max(one.errors[-1].max(), two.errors[-1].max()) < 1e-4
    assert_close(one.images.mean(1), x.mean(1), rtol=0, atol=0.02)
    assert (one.images - two.images).abs().mean() > 0.05


def test_the_error_falls_in_a_small_net():
    found = invert(Tiny(), photographs(), layer="conv2", steps=150)
    assert (found.errors[-1] < 0.05 * found.errors[0]).all()


def test_the_weights_pull_towards_grey_and_towards_broad_areas():
    def contrast(x):
        return (2 * x - 1).abs().pow(6).mean()

    def variation(x):
        return x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean()

    free, grey, smooth = (
        invert(Tiny(), photographs(), layer="conv2", steps=100, **weights).images
        for weights in ({}, {"norm": 10.0}, {"variation": 10.0})
    )
    assert contrast(grey) < contrast(free) / 2 and variation(smooth) < variation(free) / 2


@pytest.mark.parametrize("space", ["pixels", "fourier"])
def test_a_batch_gives_what_its_pictures_give_one_by_one(space):
    net, x = Tiny().double(), photographs(3).double()
    together = invert(net, x, **OPTIONS, space=space, norm=0.1, variation=1.0)
    single = [invert(net, one, **OPTIONS, space=space, norm=0.1, variation=1.0) for one in x.split(1)]
    assert_close(together.images, torch.cat([one.images for one in single]), rtol=0, atol=1e-9)
    assert_close(together.errors, torch.cat([one.errors for one in single], 1), rtol=0, atol=1e-9)


def test_chance_is_the_generators_alone():
    def images(seed=None):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return invert(Tiny(), photographs(), **OPTIONS, generator=generator).images

    torch.manual_seed(1)
    first = images()
    torch.manual_seed(2)
    assert torch.equal(first, images()) and torch.equal(first, images(0)) and not torch.equal(first, images(1))


def test_pictures_stay_between_black_and_white():
    low, high = BOUNDS
    x = low + (high - low) * photographs()
    got = invert(Tiny(), x, **OPTIONS | {"rate": 2.0}, bounds=BOUNDS).images
    assert (got >= low - 1e-6).all() and (got <= high + 1e-6).all()


def test_it_begins_at_the_start_and_leaves_it_alone():
    start, seen = photographs(seed=3), []
    kept = start.clone()
    invert(Tiny(), photographs(), **OPTIONS, start=start, on_step=lambda *one: seen.append(one[2]))
    assert_close(seen[0], kept)
    assert torch.equal(start, kept)
    seen.clear()
    invert(Tiny(), photographs(), **OPTIONS, start=start.double(), on_step=lambda *one: seen.append(one[2]))
    assert seen[0].dtype == torch.float32


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_and_the_pictures_are_left_as_they_were(fails):
    net, x = Tiny().train(), photographs().requires_grad_()
    net.conv1.requires_grad_(False)
    net.drop.eval()
    before, weights, kept = state(net), copy.deepcopy(net.state_dict()), x.detach().clone()

    def stop(step, errors, pictures):
        pictures.zero_()  # its own copy
        if fails and step == 2:
            raise KeyboardInterrupt

    try:
        found = invert(net, x, **OPTIONS, on_step=stop)
        assert_close(found.images, invert(net, x, **OPTIONS).images, rtol=0, atol=0)
    except KeyboardInterrupt:
        assert fails
    assert state(net) == before and all(torch.equal(net.state_dict()[name], weights[name]) for name in weights)
    assert torch.equal(x, kept) and x.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(mode):
    expected = invert(Tiny(), photographs(), **OPTIONS, start=photographs(seed=2))
    net = Tiny()
    with mode():
        got = invert(net, photographs(), **OPTIONS, start=photographs(seed=2))
    assert_close(got.images.clone(), expected.images, rtol=0, atol=0)


def test_mode_and_frozen_parameters_make_no_difference():
    expected = invert(Tiny().eval().requires_grad_(False), photographs(), layer="fc", steps=4).images
    assert_close(invert(Tiny().train(), photographs(), layer="fc", steps=4).images, expected, rtol=0, atol=0)


@pytest.mark.parametrize("style", RELU_STYLES)
def test_the_way_in_which_a_relu_is_written_makes_no_difference(style):
    expected = invert(Tiny(), photographs(), **OPTIONS).images
    assert_close(invert(Tiny(style), photographs(), **OPTIONS).images, expected, rtol=0, atol=1e-6)


def silent():
    net = Tiny()
    nn.init.zeros_(net.conv2.weight)
    nn.init.zeros_(net.conv2.bias)
    return net


@pytest.mark.parametrize(
    ("net", "options", "error", "message"),
    [
        (Tiny(), {"norm": -1.0}, ValueError, "give 0 or more"),
        (Tiny(), {"variation": -1.0}, ValueError, "give 0 or more"),
        (Tiny(), {"power": 0.5}, ValueError, "a power from 1"),
        (Tiny(), {"layer": "conv3"}, ValueError, "no layer 'conv3'"),
        (Tiny(), {"start": photographs(3)}, ValueError, "make them equal"),
        (Tiny(), {"start": photographs() * torch.nan}, ValueError, "NaN"),
        (Tiny(), {"steps": 0}, ValueError, "steps 0"),
        (Tiny(), {"rate": 0.0}, ValueError, "rate"),
        (Tiny(), {"space": "wavelets"}, ValueError, "wavelets"),
        (Tiny(), {"bounds": (1.0, 0.0)}, ValueError, "exchange them"),
        (Tiny(), {"x": photographs()[0]}, ValueError, r"one picture as x\[None\]"),
        (Tiny(), {"x": (255 * photographs()).byte()}, TypeError, "preprocess"),
        (silent(), {}, ValueError, "zeros only"),
    ],
)
def test_bad_input_is_refused_in_words(net, options, error, message):
    before = state(net)
    given = {"x": photographs()} | OPTIONS | options
    with pytest.raises(error, match=message):
        invert(net, given.pop("x"), **given)
    assert state(net) == before
