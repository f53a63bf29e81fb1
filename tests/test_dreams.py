"""Deep dream against a loop written out, finite differences, and what it must leave alone."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from helpers.synthesis import channel, deep_dream, energy, invert, logit, maximise
from nets import RELU_STYLES, Tiny, random_net

BOUNDS = (torch.tensor([-1.0, -2.0, -0.5]).view(1, 3, 1, 1), torch.tensor([2.0, 1.0, 0.5]).view(1, 3, 1, 1))
OPTIONS = {"layer": "conv2", "octaves": 3, "steps": 2, "rate": 0.05, "shift": 3}


def photographs(count=2, height=20, width=28, seed=0):
    """Pictures from 0 to 1, all different, none in a corner of the range."""
    return 0.2 + 0.6 * torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def state(net):
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    return [m.training for m in net.modules()], [(p.requires_grad, p.grad) for p in net.parameters()], hooks


def written_out(net, x, layer, octaves, ratio, steps, rate, shift, bounds=(0.0, 1.0), seed=0):
    """Deep dream of one picture, in other words: the layer by a hook, the resizing of both parts at each size."""
    random, seen = torch.Generator().manual_seed(seed), []
    handle = dict(net.named_modules())[layer].register_forward_hook(lambda module, inputs, output: seen.append(output))
    low, high = bounds
    photograph = (x - low) / (high - low)
    dreamt = None
    for k in range(octaves - 1, -1, -1):
        size = tuple(round(side / ratio**k) for side in x.shape[2:])
        base = F.interpolate(photograph, size, mode="bilinear", antialias=True)
        dreamt = 0 * base if dreamt is None else F.interpolate(dreamt, size, mode="bilinear", antialias=True)
        for _ in range(steps):
            picture = (base + dreamt).clamp(0, 1).detach().requires_grad_()
            down, right = torch.randint(-shift, shift + 1, (2,), generator=random).tolist()
            net(low + (high - low) * torch.roll(torch.roll(picture, down, 2), right, 3))
            seen[-1].square().mean().backward()
            dreamt = (picture + rate * picture.grad / picture.grad.std()).clamp(0, 1).detach() - base
    handle.remove()
    return low + (high - low) * (base + dreamt)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), BOUNDS], ids=["0 to 1", "normalised"])
@pytest.mark.parametrize("octaves", [1, 3])
def test_it_is_the_loop_written_out(octaves, bounds):
    net = Tiny().eval().double()
    low, high = (torch.as_tensor(bound).double() for bound in bounds)
    x = low + (high - low) * photographs(1).double()
    expected = written_out(net, x, "conv2", octaves, 1.4, 3, 0.05, 5, (low, high))
    got = deep_dream(net, x, layer="conv2", bounds=bounds, octaves=octaves, steps=3, rate=0.05, shift=5)
    assert_close(got, expected, rtol=0, atol=1e-9)


def test_the_first_step_goes_along_finite_differences():
    net, x, rate = Tiny().eval().double(), photographs(1, 6, 7).double(), 0.01
    layers = nn.Sequential(net.conv1, net.act, net.conv2)
    got = deep_dream(net, x, layer="conv2", octaves=1, steps=1, rate=rate, shift=0)
    tip = 1e-6 * torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape[1:])
    with torch.no_grad():
        slope = ((energy(layers(x + tip)) - energy(layers(x - tip))) / 2e-6).view_as(x)
    assert_close(got - x, rate * slope / slope.std(), rtol=1e-5, atol=1e-9)


def test_the_slope_of_the_energy_in_double_precision():
    assert torch.autograd.gradcheck(energy, torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True))


def test_the_energy_grows_far_more_than_by_noise_of_the_same_size():
    net, x = random_net("squeezenet1_1"), photographs(2, 96, 80)
    layer = "features.4"
    dreamt = deep_dream(net, x, layer=layer, octaves=2, steps=4)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    noise *= (dreamt - x).flatten(1).norm(dim=1).view(-1, 1, 1, 1) / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with torch.no_grad():
        before, after, rival = (energy(net.features[:5](one)) for one in (x, dreamt, x + noise))
    assert (after - before > 3 * (rival - before).abs()).all() and (after > 1.2 * before).all()


def test_a_channel_grows_when_it_is_asked_for():
    net, x = Tiny().eval(), photographs()
    layers = nn.Sequential(net.conv1, net.act, net.conv2)
    one, other = (deep_dream(net, x, channel(k), **OPTIONS) for k in (1, 4))
    mean_one, mean_other = (layers(picture).mean((2, 3)) for picture in (one, other))
    assert (mean_one[:, 1] > mean_other[:, 1]).all() and (mean_other[:, 4] > mean_one[:, 4]).all()


def test_a_batch_gives_what_its_pictures_give_one_by_one():
    x = photographs(3).double()
    net = Tiny().double()
    together = deep_dream(net, x, **OPTIONS)
    assert_close(together, torch.cat([deep_dream(net, one, **OPTIONS) for one in x.split(1)]), rtol=0, atol=1e-9)


def test_chance_is_the_generators_alone():
    net, x = Tiny(), photographs()

    def dream(seed=None):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return deep_dream(net, x, **OPTIONS, generator=generator)

    torch.manual_seed(1)
    first = dream()
    torch.manual_seed(2)
    assert torch.equal(first, dream()) and torch.equal(first, dream(0)) and not torch.equal(first, dream(1))


def test_pictures_stay_between_black_and_white_and_keep_their_shape():
    low, high = BOUNDS
    x = low + (high - low) * photographs()
    got = deep_dream(Tiny(), x, **OPTIONS | {"rate": 5.0}, bounds=BOUNDS)
    assert got.shape == x.shape and not got.requires_grad
    assert (got >= low - 1e-6).all() and (got <= high + 1e-6).all()
    at_the_end = (got - low).abs().lt(1e-6) | (got - high).abs().lt(1e-6)
    assert at_the_end.float().mean() > 0.5


def test_fine_detail_of_the_photograph_survives_the_small_sizes():
    """With steps too short to be seen, what comes out is the photograph and not an enlarged small one."""
    x = photographs()
    assert_close(deep_dream(Tiny(), x, **OPTIONS | {"rate": 1e-6}), x, rtol=0, atol=1e-4)


def test_what_was_dreamt_at_a_small_size_is_kept():
    x, seen = photographs(), []
    deep_dream(Tiny(), x, **OPTIONS, on_step=lambda step, scores, pictures: seen.append(pictures))
    size = seen[2].shape[2:]
    change = F.interpolate(seen[2] - F.interpolate(x, size, mode="bilinear", antialias=True), seen[4].shape[2:])
    kept = seen[4] - F.interpolate(x, seen[4].shape[2:], mode="bilinear", antialias=True)
    assert torch.corrcoef(torch.stack([change.flatten(), kept.flatten()]))[0, 1] > 0.5


def test_every_step_is_told_from_small_to_large():
    told = []
    deep_dream(Tiny(), photographs(2, 28, 14), **OPTIONS | {"ratio": 2.0}, on_step=lambda *one: told.append(one))
    assert [step for step, _, _ in told] == list(range(6))
    assert all(scores.shape == (2,) and not scores.requires_grad for _, scores, _ in told)
    assert [tuple(x.shape[2:]) for _, _, x in told[::2]] == [(7, 4), (14, 7), (28, 14)]
    kept = told[0][2].clone()
    told[0][2].zero_()  # a copy: what is done to it does no harm
    assert kept.any()


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_and_the_pictures_are_left_as_they_were(fails):
    net, x = Tiny().train(), photographs().requires_grad_()
    net.conv1.requires_grad_(False)
    net.drop.eval()
    before, weights, kept = state(net), copy.deepcopy(net.state_dict()), x.detach().clone()

    def stop(step, scores, pictures):
        if fails and step == 3:
            raise KeyboardInterrupt

    try:
        deep_dream(net, x, **OPTIONS, on_step=stop)
    except KeyboardInterrupt:
        assert fails
    assert state(net) == before and all(torch.equal(net.state_dict()[name], weights[name]) for name in weights)
    assert torch.equal(x, kept) and x.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(mode):
    expected = deep_dream(Tiny(), photographs(), **OPTIONS)
    net = Tiny()
    with mode():
        got = deep_dream(net, photographs(), **OPTIONS)
    assert_close(got.clone(), expected, rtol=0, atol=0)


def test_mode_and_frozen_parameters_make_no_difference():
    expected = deep_dream(Tiny().eval().requires_grad_(False), photographs(), **OPTIONS | {"layer": "fc"})
    assert_close(deep_dream(Tiny().train(), photographs(), **OPTIONS | {"layer": "fc"}), expected, rtol=0, atol=0)


@pytest.mark.parametrize("style", RELU_STYLES)
def test_the_way_in_which_a_relu_is_written_makes_no_difference(style):
    """What follows the layer, such as an in-place ReLU, must not change its output."""
    expected = deep_dream(Tiny(), photographs(), **OPTIONS)
    assert_close(deep_dream(Tiny(style), photographs(), **OPTIONS), expected, rtol=0, atol=1e-6)


def test_a_unit_that_is_off_at_one_size_waits_for_the_next():
    def only_large(output):
        return output.square().mean((1, 2, 3)) * (output.shape[2] > 16)

    x = photographs()
    got = deep_dream(Tiny(), x, only_large, **OPTIONS)
    assert got.isfinite().all() and not torch.equal(got, x)


def silent():
    net = Tiny()
    nn.init.zeros_(net.conv1.weight)
    return net


@pytest.mark.parametrize(
    ("net", "options", "error", "message"),
    [
        (Tiny(), {"octaves": 0}, ValueError, "1 or more"),
        (Tiny(), {"steps": 0}, ValueError, "1 or more"),
        (Tiny(), {"ratio": 1.0}, ValueError, "ratio is above 1"),
        (Tiny(), {"rate": 0.0}, ValueError, "rate above 0"),
        (Tiny(), {"shift": -1}, ValueError, "shift 0 or more"),
        (Tiny(), {"layer": "conv3"}, ValueError, "no layer 'conv3'"),
        (Tiny(), {"bounds": (1.0, 0.0)}, ValueError, "exchange them"),
        (Tiny(), {"x": photographs()[0]}, ValueError, r"one picture as x\[None\]"),
        (Tiny(), {"x": (255 * photographs()).byte()}, TypeError, "preprocess"),
        (Tiny(), {"x": photographs() * torch.nan}, ValueError, "NaN"),
        (Tiny(), {"objective": lambda output: output.mean()}, ValueError, r"one score for each picture, shape \[2\]"),
        (Tiny(), {"objective": lambda output: output.detach().mean((1, 2, 3))}, ValueError, "detach"),
        (Tiny(), {"objective": channel(8)}, ValueError, "There are 8 here"),
        (silent(), {}, ValueError, "no slope in picture 0"),
        (Tiny(), {"x": photographs()[:, :2]}, RuntimeError, "channels"),
        (random_net("squeezenet1_1"), {"layer": "features.12", "octaves": 3}, ValueError, "use fewer octaves"),
    ],
)
def test_bad_input_is_refused_in_words(net, options, error, message):
    before = state(net)
    given = {"x": photographs(2, 30, 30), "objective": energy} | OPTIONS | options
    with pytest.raises(error, match=message):
        deep_dream(net, given.pop("x"), given.pop("objective"), **given)
    assert state(net) == before


@pytest.mark.parametrize("method", ["dream", "maximise", "invert"])
def test_values_outside_of_the_bounds_are_cut_off_with_a_word(method):
    model, x = Tiny(), torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    inside = x.clamp(0, 1)

    def run(x):
        if method == "dream":
            return deep_dream(model, x, **OPTIONS)
        if method == "maximise":
            return maximise(model, logit(0), x, steps=2).images
        return invert(model, photographs(1, 16, 16), layer="conv2", start=x, steps=2).images

    with pytest.warns(UserWarning, match=r"% of the values lie outside of the bounds.*bounds=classifier\.bounds"):
        found = run(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(found, run(inside))
