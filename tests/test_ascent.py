"""Activation maximisation against loops and numbers known by hand, and the model left as it came."""

import copy
import math

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.testing import assert_close

from helpers.synthesis import (
    channel,
    energy,
    high_frequencies,
    logit,
    maximise,
    neuron,
    noise,
    random_view,
    total_variation,
)
from helpers.synthesis.spaces import blurred, space_of
from nets import RELU_STYLES, Tiny
from test_hooks import hooks_of

BOUNDS = torch.tensor([-1.0, -2, -1.5]).view(1, 3, 1, 1), torch.tensor([2.0, 1.5, 1]).view(1, 3, 1, 1)


def start(count=3, side=12, seed=0, dtype=torch.float32):
    random = torch.Generator().manual_seed(seed)
    return torch.cat([noise(1, (3, side, side), BOUNDS, level=0.2, generator=random) for _ in range(count)]).to(dtype)


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


def linear_net(side=6, classes=4):
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * side**2, classes, bias=False))


# --- the ascent ---


def by_hand(score, x, steps, rate, *, l1=0.0, l2=0.0, variation=0.0, blur=0.0, every=4, clip=None):
    """The rule, written out for one picture after another, in the network's units, with Adam's formula."""
    done = []
    low, high = BOUNDS
    for one in x.split(1):
        u, m, v = (one - low) / (high - low), 0.0, 0.0
        for t in range(1, steps + 1):
            u = u.detach().requires_grad_()
            seen = low + u * (high - low)
            fine = (seen[..., 1:, :-1] - seen[..., :-1, :-1]) ** 2 + (seen[..., :-1, 1:] - seen[..., :-1, :-1]) ** 2
            loss = l1 * seen.abs().mean() + l2 * (seen**2).mean() + variation * fine.mean() - score(seen)
            (g,) = torch.autograd.grad(loss.sum(), u)
            if clip is not None and g.norm() > clip:
                g = g * clip / g.norm()
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            step = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
            u = (u - rate * step).clamp(0, 1)
            if blur and t % every == 0:
                mirrored = gaussian_filter(u.detach().numpy(), (0, 0, blur, blur), mode="mirror", truncate=3)
                u = torch.from_numpy(mirrored)
        done.append((low + u * (high - low)).detach())
    return torch.cat(done)


@pytest.mark.parametrize(
    "options",
    [{}, {"l1": 2.0}, {"l2": 3.0}, {"variation": 4.0}, {"clip": 0.01}, {"blur": 1.0, "every": 3}],
    ids=lambda options: next(iter(options), "none"),
)
def test_it_is_the_rule_written_out(options):
    net, x = Tiny().double(), start(dtype=torch.float64)
    found = maximise(net, logit([0, 1, 2]), x, bounds=BOUNDS, steps=7, rate=0.03, **options)
    net.eval()
    for i in range(3):
        expected = by_hand(lambda seen, i=i: net(seen)[0, i], x[i, None], 7, 0.03, **options)
        assert_close(found.images[i, None], expected, atol=1e-6, rtol=0)


def test_of_a_linear_score_it_finds_the_best_picture():
    net, x = linear_net(), noise(4, (3, 6, 6), BOUNDS)
    low, high = (bound.expand_as(x) for bound in BOUNDS)
    w = net[2].weight.detach().view(4, 3, 6, 6)
    assert_close(maximise(net, logit(range(4)), x, bounds=BOUNDS, steps=150).images, torch.where(w > 0, high, low))
    held = maximise(net, logit(range(4)), x, bounds=BOUNDS, steps=600, rate=0.01, l2=10.0).images
    assert_close(held, (w * w[0].numel() / 20).clamp(low, high), atol=1e-2, rtol=0)  # the zero of w - 2 l2 x / pixels


def test_the_values_are_those_of_what_was_seen():
    net, x, told = Tiny().eval(), start(), []
    options = {"layer": "conv2", "bounds": BOUNDS, "steps": 5}
    found = maximise(net, channel(2), x, on_step=lambda *one: told.append(one), **options)
    score = channel(2)
    with torch.no_grad():
        at_start, at_end = (score(net.conv2(net.conv1(pictures).relu())) for pictures in (x, found.images))
    assert found.values.shape == (6, 3) and not found.images.requires_grad
    assert_close(found.values[0], at_start)
    assert_close(found.values[-1], at_end)
    assert (found.values[-1] > found.values[0]).all()
    steps, values, pictures = zip(*told, strict=True)
    assert list(steps) == list(range(5))
    assert_close(torch.stack(values), found.values[:-1], rtol=0, atol=0)
    assert_close(pictures[0], x)  # a copy: later steps did not overwrite it
    assert not torch.equal(pictures[1], pictures[0])


MANY = {
    "pixels": {},
    "blur and clipping": {"blur": 0.7, "clip": 0.02},
    "penalties": {"l1": 1.0, "l2": 1.0, "variation": 1.0},
    "views": {"view": random_view(2, 10, 1.1)},
    "fourier": {"space": "fourier", "view": random_view(2)},
}


@pytest.mark.parametrize("options", MANY.values(), ids=MANY)
def test_a_batch_gives_what_its_pictures_give_one_by_one(options):
    net, x = Tiny().double(), start(dtype=torch.float64)
    options = {"bounds": BOUNDS, "steps": 6, **options}
    together = maximise(net, logit([3, 0, 2]), x, generator=seeded(), **options)
    for i, number in enumerate((3, 0, 2)):
        alone = maximise(net, logit(number), x[i, None], generator=seeded(), **options)
        assert_close(together.images[i], alone.images[0])
        assert_close(together.values[:, i], alone.values[:, 0])


def test_a_seed_makes_it_the_same_again():
    net, x = Tiny(), start()
    options = {"bounds": BOUNDS, "steps": 4, "view": random_view(3, 10, 1.2)}
    first, again, other = (
        maximise(net, logit(1), x, generator=g, **options).images for g in (seeded(), seeded(), seeded(8))
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    unseeded = [maximise(net, logit(1), x, **options).images for _ in range(2)]
    assert torch.equal(*unseeded)
    assert torch.equal(noise(2, (1, 4, 4)), noise(2, (1, 4, 4)))


@pytest.mark.parametrize("space", ["pixels", "fourier"])
def test_pictures_stay_between_black_and_white(space):
    found = maximise(Tiny(), logit(1), start(), bounds=BOUNDS, space=space, steps=40, rate=0.5).images
    low, high = BOUNDS
    assert (found >= low - 1e-6).all() and (found <= high + 1e-6).all()


def test_a_neuron_leaves_alone_what_it_cannot_see():
    net, x = Tiny(), start(1)
    grown = maximise(net, neuron(2), x, layer="conv2", bounds=BOUNDS, steps=5).images
    changed = ((grown - x).abs() > 1e-6).any(1)[0]
    assert changed[4:9, 4:9].any() and changed.sum() <= 25
    changed[4:9, 4:9] = False  # two convolutions of 3 x 3 see 5 x 5 around place 6
    assert not changed.any()


def test_layers_behind_do_not_run():
    net = Tiny()
    net.fc = None  # would raise
    assert maximise(net, channel(0), start(), layer="conv2", bounds=BOUNDS, steps=1).values.shape == (2, 3)


# --- what it leaves behind, and who may call it ---


def state(net):
    return [m.training for m in net.modules()], [(p.requires_grad, p.grad) for p in net.parameters()], hooks_of(net)


@pytest.mark.parametrize("fails", [False, True], ids=["to the end", "after an error"])
def test_everything_is_left_as_it_was(fails):
    net, x = Tiny().train(), start().requires_grad_()
    net.conv1.weight.requires_grad_(False)
    net.drop.eval()
    before, weights, kept = state(net), copy.deepcopy(net.state_dict()), x.detach().clone()
    bounds = tuple(bound.clone() for bound in BOUNDS)

    def stop(step, values, pictures):
        if fails and step == 2:
            raise KeyboardInterrupt

    try:
        maximise(net, channel(1), x, layer=net.conv2, bounds=bounds, steps=4, blur=1, on_step=stop)
        assert not fails
    except KeyboardInterrupt:
        assert fails
    assert state(net) == before
    assert_close(dict(net.state_dict()), dict(weights), rtol=0, atol=0)
    assert torch.equal(x, kept) and x.grad is None and x.requires_grad
    assert all(torch.equal(*pair) for pair in zip(bounds, BOUNDS, strict=True))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("space", ["pixels", "fourier"])
def test_it_works_where_gradients_are_off_and_parameters_frozen(mode, space):
    options = {"layer": "conv2", "bounds": BOUNDS, "steps": 3, "space": space}
    expected = maximise(Tiny().train(), channel(1), start(), **options).images
    net = Tiny().requires_grad_(False)
    with mode():
        found = maximise(net, channel(1), start(), **options).images
    assert_close(found, expected)


@pytest.mark.parametrize("style", RELU_STYLES)
@pytest.mark.parametrize("layer", ["conv2", None])
def test_any_way_to_write_a_relu_will_do(style, layer):
    ask = channel(3) if layer else logit(3)
    options = {"layer": layer, "bounds": BOUNDS, "steps": 5}
    expected = maximise(Tiny(), ask, start(), **options)
    found = maximise(Tiny(style), ask, start(), **options)
    assert_close(found.images, expected.images)
    assert_close(found.values, expected.values)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": start()[0]}, ValueError, r"give \[N, C, H, W\]"),
        ({"start": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, TypeError, "into floats"),
        ({"start": start() * torch.nan}, ValueError, "NaN"),
        ({"start": torch.zeros(2, 1, 8, 8), "bounds": (0, 1)}, ValueError, "have 1 channels, Tiny takes 3"),
        ({"bounds": (1.0, 0.0)}, ValueError, "black is the smaller"),
        ({"bounds": (torch.zeros(5), torch.ones(5))}, ValueError, "values of black and of white"),
        ({"bounds": 1.0}, ValueError, "values of black and of white"),
        ({"layer": "conv9"}, ValueError, "conv9"),
        ({"space": "waves"}, ValueError, "one of pixels, fourier"),
        ({"space": "fourier", "blur": 1.0}, ValueError, "use one of them"),
        ({"steps": 0}, ValueError, "whole number from 1"),
        ({"steps": 2.5}, ValueError, "whole number from 1"),
        ({"rate": 0.0}, ValueError, "a rate above 0"),
        ({"l2": -1.0}, ValueError, "are 0 or more"),
        ({"clip": 0.0}, ValueError, "clip is above 0"),
        ({"objective": 3}, TypeError, r"such as channel\(3\), not 3"),
        ({"objective": lambda out: out.sum()}, ValueError, r"one score for each picture, shape \[3\]"),
        ({"objective": lambda out: out.detach()[:, 0]}, ValueError, "does not depend on the picture"),
        ({"objective": lambda out: 0 * out[:, 0]}, ValueError, "no slope at the start"),
        ({"objective": lambda out: 0 * out[:, 0], "l2": 1.0}, ValueError, "no slope at the start"),
    ],
)
def test_bad_input_is_refused_in_words(options, error, message):
    net = Tiny().train()
    before = state(net)
    with pytest.raises(error, match=message):
        maximise(net, **{"objective": logit(0), "start": start(), "bounds": BOUNDS, "steps": 2} | options)
    assert state(net) == before


# --- objectives ---


def test_objectives_pick_what_they_say():
    maps = torch.randn(3, 5, 4, 7, generator=seeded())
    assert_close(channel(2)(maps), maps[:, 2].mean((1, 2)))
    assert_close(channel([4, 0, 1])(maps), torch.stack([maps[i, k].mean() for i, k in enumerate((4, 0, 1))]))
    assert_close(neuron(2)(maps), maps[:, 2, 2, 3])
    assert_close(neuron(torch.tensor([4, 0, 1]), 0, -1)(maps), maps[range(3), [4, 0, 1], 0, -1])
    assert_close(logit([1, 2, 0])(maps[:, :, 0, 0]), maps[range(3), [1, 2, 0], 0, 0])
    assert_close(energy(maps), (maps**2).sum((1, 2, 3)) / 140)


@pytest.mark.parametrize(
    ("objective", "output", "error", "message"),
    [
        (channel(0), torch.zeros(2, 5), ValueError, r"gives \[2, 5\]: see logit"),
        (channel(0), (torch.zeros(2, 5),), ValueError, "gives a tuple"),
        (logit(0), torch.zeros(2, 5, 3, 3), ValueError, "leave out the layer"),
        (channel(5), torch.zeros(2, 5, 3, 3), ValueError, "There are 5 here, 0 to 4; channel 5"),
        (logit(-1), torch.zeros(2, 5), ValueError, "There are 5 here, 0 to 4; class -1"),
        (logit([1, 2, 3]), torch.zeros(2, 5), ValueError, "3 class numbers for 2 pictures"),
        (logit(1.0), torch.zeros(2, 5), TypeError, "whole class number"),
        (logit(True), torch.zeros(2, 5), TypeError, "whole class number"),
        (neuron(0, 3, 0), torch.zeros(2, 5, 3, 3), ValueError, r"no place \(3, 0\) on maps of \(3, 3\)"),
    ],
)
def test_objectives_refuse_in_words(objective, output, error, message):
    with pytest.raises(error, match=message):
        objective(output)


# --- what is held against a picture ---


def stripes(side=8):
    return (torch.arange(side) % 2).double().expand(1, 1, side, side).clone()


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_total_variation_of_stripes_is_known(power):
    upright, board = stripes(), (stripes() + stripes().mT) % 2
    assert_close(total_variation(torch.cat([upright, upright.mT]), power), torch.ones(2).double())
    assert_close(total_variation(board, power), torch.tensor([2 ** (power / 2)]).double())
    assert total_variation(torch.full((1, 3, 4, 4), 0.3), power) == 0
    colours = torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1).expand(2, 3, 4, 4)  # flat, but never the same twice
    assert not total_variation(colours, power).any()
    ramp = torch.arange(5.0).double().expand(1, 2, 4, 5) * 3
    assert_close(total_variation(ramp, power), torch.tensor([3**power]).double())
    assert_close(total_variation(torch.cat([board, 2 * board]), power)[1], 2**power * total_variation(board, power)[0])


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_the_slope_of_total_variation_is_right(power):
    x = torch.randn(2, 2, 4, 5, generator=seeded(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: total_variation(x, power), x)
    flat = torch.ones(1, 1, 3, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(total_variation(flat, power).sum(), flat)
    assert not gradient.any()


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 3, 1, 4)])
def test_total_variation_refuses_what_it_cannot_measure(shape):
    with pytest.raises(ValueError, match="two pixels or more"):
        total_variation(torch.zeros(shape))


def wave(down, right, side=24):
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (2 * math.pi * (down * row + right * column) / side).cos()[None, None]


def test_the_share_of_fine_detail_is_known_for_waves():
    coarse, fine, slanted = wave(0, 3), wave(8, 0), wave(5, 5)  # an eighth, a third, 0.29 cycles per pixel
    x = torch.cat([coarse, fine, slanted, 7 + fine, 3 * coarse + fine])
    assert_close(high_frequencies(x), torch.tensor([0, 1, 1, 1, 0.1]), atol=1e-5, rtol=0)
    assert_close(high_frequencies(x, above=0.3), torch.tensor([0, 1, 0, 1, 0.1]), atol=1e-5, rtol=0)
    noisy = torch.randn(2, 3, 64, 64, generator=seeded())
    assert_close(
        high_frequencies(noisy), torch.full((2,), 1 - math.pi / 16), atol=0.02, rtol=0
    )  # the square less a disc
    one_flat = torch.cat([coarse, 0 * coarse], 1)
    assert high_frequencies(one_flat) < 1e-5
    with pytest.raises(ValueError, match="has one colour"):
        high_frequencies(torch.cat([fine, 0 * fine + 0.3]))


# --- spaces and views ---


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
@pytest.mark.parametrize("space", ["pixels", "fourier"])
@pytest.mark.parametrize("colours", [1, 3])
def test_a_space_leads_back_to_the_picture(space, size, colours):
    coordinates = space_of(space, size)
    u = 0.02 + 0.96 * torch.rand(2, colours, *size, generator=seeded(), dtype=torch.float64)
    assert_close(coordinates.decode(coordinates.encode(u)), u)


@pytest.mark.parametrize("size", [(4, 6), (5, 3)])
@pytest.mark.parametrize("colours", [1, 3])
def test_the_slope_through_the_fourier_space_is_right(size, colours):
    coordinates = space_of("fourier", size)
    u = torch.rand(2, colours, *size, generator=seeded(), dtype=torch.float64)
    v = coordinates.encode(u).requires_grad_()
    assert torch.autograd.gradcheck(coordinates.decode, v)


def test_a_step_in_the_fourier_space_moves_long_waves_more():
    coordinates = space_of("fourier", (32, 32))
    still = coordinates.encode(torch.full((1, 1, 32, 32), 0.5))
    moved = []
    for frequency in (1, 4, 16):
        v = still.clone()
        v[0, 0, 0, frequency, 0] = 0.1
        moved.append((coordinates.decode(v) - 0.5).abs().max().item())
    assert moved[0] > 3 * moved[1] > 3 * moved[2]


def test_blur_is_scipys():
    x = torch.rand(2, 3, 14, 9, generator=seeded(), dtype=torch.float64)
    expected = gaussian_filter(x.numpy(), (0, 0, 1.3, 1.3), mode="mirror", truncate=3)
    assert_close(blurred(x, 1.3), torch.from_numpy(expected))
    assert_close(blurred(torch.ones(1, 2, 5, 5), 9.0), torch.ones(1, 2, 5, 5))


def test_views_do_what_they_say():
    x = torch.rand(2, 3, 10, 14, generator=seeded(), dtype=torch.float64)
    assert torch.equal(random_view()(x, seeded()), x)
    shifts = {(a, b) for a in range(-2, 3) for b in range(-2, 3)}
    generator, seen = seeded(), set()
    for _ in range(200):
        view = random_view(shift=2)(x, generator)
        seen |= {shift for shift in shifts if torch.equal(x.roll(shift, (2, 3)), view)}
    assert seen == shifts


@pytest.mark.parametrize(("turn", "zoom"), [(30.0, 1.0), (0.0, 1.5), (30.0, 1.5)])
def test_turning_and_zooming_keep_shapes_on_pictures_that_are_not_square(turn, zoom):
    """A ramp that rises by one a pixel to the right rises by 1 / zoom in some direction afterwards."""
    ramp = torch.arange(40.0).expand(2, 1, 24, 40).double()
    generator, tilts, sizes = seeded(), [], []
    for _ in range(50):
        seen = random_view(turn=turn, zoom=zoom)(ramp, generator)
        assert torch.equal(seen[0], seen[1])
        down, right = ((seen[0, 0, 12 + i, 20 + j] - seen[0, 0, 12, 20]).item() for i, j in ((1, 0), (0, 1)))
        tilts.append(math.degrees(math.atan2(down, right)))
        sizes.append(1 / math.hypot(down, right))
    assert max(map(abs, tilts)) <= turn + 1e-6 and 1 / zoom - 1e-6 <= min(sizes) <= max(sizes) <= zoom + 1e-6
    if turn:
        assert min(tilts) < -turn / 2 and max(tilts) > turn / 2
    if zoom > 1:
        assert min(sizes) < 0.85 and max(sizes) > 1.18


@pytest.mark.parametrize("options", [{"shift": -1}, {"turn": -1.0}, {"zoom": 0.9}])
def test_views_refuse_in_words(options):
    with pytest.raises(ValueError, match="give 0 or more, 0 or more, 1 or more"):
        random_view(**options)


def test_noise_is_grey_between_the_bounds_and_equal():
    x = noise(3, (3, 40, 40), BOUNDS, level=0.1, generator=seeded())
    assert torch.equal(x[0], x[1]) and torch.equal(x[0], x[2])
    share = (x - BOUNDS[0]) / (BOUNDS[1] - BOUNDS[0])
    assert abs(share.mean() - 0.5) < 0.01 and abs(share.std() - 0.1) < 0.01


def test_a_slope_that_is_no_number_is_an_error():
    net = Tiny()
    with torch.no_grad():
        net.conv1.weight[0] = float("nan")
    with pytest.raises(ValueError, match="slope is NaN or infinite"):
        maximise(net, logit(1), torch.rand(1, 3, 16, 16), steps=2)
