"""Occlusion and RISE against captum, and against linear networks, where the truth is known."""

import copy

import pytest
import torch
from torch import nn

from helpers import attribution
from nets import Tiny, pictures, random_net


class Linear(nn.Module):
    """Logits that are one linear map of the picture [C, H, W], in float64; records how many rows it saw at once."""

    def __init__(self, shape=(3, 10, 13), classes=4):
        super().__init__()
        torch.manual_seed(3)
        self.w, self.rows = nn.Parameter(torch.randn(classes, *shape, dtype=torch.float64)), []

    def forward(self, x):
        self.rows.append(len(x))
        return torch.einsum("nchw,kchw->nk", x, self.w) + 5


def linear_pictures(count=2):
    return torch.randn(count, 3, 10, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def captums(net, x, target, patch, stride, baseline=0.0):
    occlusion = pytest.importorskip("captum.attr").Occlusion(net)
    channels = x.shape[1]
    result = occlusion.attribute(x, (channels, *patch), (channels, *stride), target=target, baselines=baseline)
    assert torch.equal(result[:, :1].expand_as(result), result)
    return result[:, 0]


def assert_agree(got, expected, tolerance=1e-5):
    scale = expected.abs().max()
    assert scale > 0
    torch.testing.assert_close(got.to(expected) / scale, expected / scale, rtol=0, atol=tolerance)


# --- occlusion ---


@pytest.mark.parametrize(
    ("patch", "stride"),
    [((8, 8), (8, 8)), ((7, 7), (3, 3)), ((9, 5), (4, 5)), ((6, 40), (5, 1)), ((30, 33), (7, 30)), ((1, 11), (1, 10))],
)
def test_occlusion_is_captums_also_where_windows_hang_over(patch, stride):
    net = Tiny().double().eval()
    x = torch.randn(3, 3, 30, 41, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    targets = torch.tensor([0, 3, 1])
    got = attribution.occlusion(net, x, targets, patch=patch, stride=stride, baseline=0.3)
    assert got.shape == (3, 30, 41)
    assert_agree(got, captums(net, x, targets, patch, stride, 0.3))


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1", "mobilenet_v2"])
def test_occlusion_is_captums_on_other_nets(name):
    net, x = copy.deepcopy(random_net(name)).double(), pictures(3, 32).double()
    targets = torch.tensor([1, 7, 500])
    got = attribution.occlusion(net, x, targets, patch=20, stride=12, baseline=2.0)
    assert_agree(got, captums(net, x, targets, (20, 20), (12, 12), 2.0))


def test_occlusion_is_captums_at_224_pixels():
    net, x, targets = random_net("resnet18"), pictures(3, 224), torch.tensor([1, 7, 500])
    got = attribution.occlusion(net, x, targets, patch=(120, 224), stride=104, baseline=2.0)
    assert_agree(got, captums(net, x, targets, (120, 224), (104, 104), 2.0))


@pytest.mark.parametrize("baseline", ["number", "colour", "picture", "pictures"])
def test_one_pixel_covered_on_a_linear_net_is_weight_times_difference(baseline):
    net, x = Linear(), linear_pictures()
    baseline = {
        "number": -0.4,
        "colour": torch.tensor([0.5, -1.0, 2.0]).view(3, 1, 1),
        "picture": linear_pictures(5)[4],
        "pictures": linear_pictures(5)[3:],
    }[baseline]
    got = attribution.occlusion(net, x, torch.tensor([2, 0]), patch=1, baseline=baseline)
    torch.testing.assert_close(got, ((x - baseline) * net.w[[2, 0]]).sum(1))


def test_every_pixel_is_divided_by_how_many_patches_cover_it():
    net, x = Linear(), linear_pictures(1)
    sums = (x * net.w[1]).sum(1)
    got = attribution.occlusion(net, x, 1, patch=(4, 5), stride=(3, 4))  # rows 0, 3, 6; columns 0, 4, 8
    expected = torch.empty_like(sums)
    for i in range(10):
        for j in range(13):
            tops, lefts = [t for t in (0, 3, 6) if t <= i < t + 4], [le for le in (0, 4, 8) if le <= j < le + 5]
            falls = [sums[0, t : t + 4, le : le + 5].sum() for t in tops for le in lefts]
            expected[0, i, j] = sum(falls) / len(falls)
    torch.testing.assert_close(got, expected)
    whole = attribution.occlusion(net, x, 1, patch=(10, 13))
    torch.testing.assert_close(whole, sums.sum().expand_as(whole))


def test_a_patch_that_hangs_over_the_edge_is_clipped():
    net, x = Linear(), linear_pictures(1)
    logits = attribution.occluded_logits(net, x, patch=(4, 6), stride=(4, 4))
    assert logits.shape == (1, 3, 3, 4)  # rows 0, 4, 8 of 10; columns 0, 4, 8 of 13
    covered = x.clone()
    covered[..., 8:, 8:] = 0
    torch.testing.assert_close(logits[:, 2, 2], net(covered))


def test_one_set_of_passes_gives_the_logits_of_every_class():
    net, x = Tiny().eval(), pictures(2, 20)
    logits = attribution.occluded_logits(net, x, patch=6, stride=4, baseline=1.0)
    assert logits.shape == (2, 5, 5, 5)
    covered = x.clone()
    covered[:, :, 4:10, 12:18] = 1.0
    torch.testing.assert_close(logits[:, 1, 3], net(covered).detach())
    fall = net(x)[:, None, None] - attribution.occluded_logits(net, x, patch=5)
    for c in range(5):
        blocks = fall[..., c].repeat_interleave(5, 1).repeat_interleave(5, 2)
        torch.testing.assert_close(attribution.occlusion(net, x, c, patch=5), blocks.detach())


def test_the_top_class_is_that_of_the_picture_uncovered():
    net, x = Linear(), linear_pictures(3)
    got = attribution.occlusion(net, x, patch=(10, 7), stride=6)  # covering turns the answer round
    torch.testing.assert_close(got, attribution.occlusion(net, x, net(x).argmax(1), patch=(10, 7), stride=6))


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_the_chunk_bounds_the_rows_and_changes_nothing(method):
    net, x = Linear(), linear_pictures(3)
    options = {"occlusion": {"patch": 4, "stride": 2}, "rise": {"samples": 40, "cells": 3}}[method]
    results = []
    for chunk in (1, 7, 1000):
        net.rows.clear()
        results.append(getattr(attribution, method)(net, x, torch.tensor([0, 2, 1]), chunk=chunk, **options))
        assert max(net.rows) <= chunk
    assert sum(net.rows) == 3 + 3 * (4 * 6 if method == "occlusion" else 40)  # each picture once, and each version
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_results_are_ordinary_tensors_for_every_caller(method):
    options = {"occlusion": {"patch": 32}, "rise": {"samples": 4}}[method]
    with torch.inference_mode():
        x = pictures(1)
        result = getattr(attribution, method)(Tiny(), x, 0, **options)
    assert not result.is_inference() and not result.requires_grad
    result.requires_grad_().sum().backward()


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"patch": 11}, r"patch \(11, 11\) is larger than the picture, \(10, 13\)"),
        ({"patch": (10, 14)}, "is larger than the picture"),
        ({"patch": 4, "stride": 5}, r"stride \(5, 5\) is larger than patch \(4, 4\): it leaves gaps"),
        ({"patch": (2, 4), "stride": (3, 1)}, "leaves gaps"),
        ({"patch": 0}, "patch is 0; give whole pixels"),
        ({"patch": 2.0}, "patch is 2.0; give whole pixels"),
        ({"patch": (1, 2, 3)}, "two such numbers"),
        ({"patch": 4, "stride": 0}, "stride is 0; give whole pixels"),
        ({"patch": 4, "stride": (2, -1)}, "stride is"),
        ({"patch": 4, "baseline": torch.zeros(3)}, r"shape \[3\].*a colour \[3, 1, 1\]"),
        ({"patch": 4, "baseline": torch.zeros(10, 13)}, r"a picture \[3, 10, 13\]"),
        ({"patch": 4, "baseline": torch.zeros(4, 1, 1)}, r"a colour \[3, 1, 1\]"),
        ({"patch": 4, "baseline": torch.zeros(3, 3, 10, 13)}, "does not fit pictures"),
        ({"patch": 4, "baseline": float("nan")}, "NaN or infinite"),
        ({"patch": 4, "chunk": 0}, "chunk is 0"),
    ],
)
def test_occlusion_that_cannot_be_done(options, cure):
    for method in (attribution.occlusion, attribution.occluded_logits):
        with pytest.raises(ValueError, match=cure):
            method(Linear(), linear_pictures(), **options)


# --- RISE ---


class Mirror(nn.Module):
    """Gives the picture itself as logits: rise then shows its masks, and how two places hang together."""

    def forward(self, x):
        return x.flatten(1)


def masks_of(samples, side=30, seed=0, **options):
    """The masks of rise, [samples, side * side], seen by a network that is given ones."""
    seen = []

    def record(x):
        seen.append(x.flatten(1).clone())
        return x.flatten(1)

    net = Mirror()
    net.forward = record
    generator = torch.Generator().manual_seed(seed)
    attribution.rise(net, torch.ones(1, 1, side, side), 0, samples=samples, generator=generator, **options)
    return torch.cat(seen[1:])


@pytest.mark.parametrize("keep", [0.2, 0.5])
def test_masks_have_the_same_mean_and_variance_everywhere(keep):
    masks = masks_of(20000, keep=keep, cells=5, chunk=2000)
    assert masks.min() >= 0 and masks.max() <= 1
    assert (masks.mean(0) - keep).abs().max() < 0.015
    soft = (2 / 3) ** 2 * keep * (1 - keep)  # of a mixture of four cells, on average over where a pixel lies
    assert (masks.var(0) / soft - 1).abs().max() < 0.06


def test_masks_are_grids_with_as_many_cells_as_asked_for():
    masks = masks_of(200, side=60, cells=6).view(-1, 60, 60)
    flat = (masks.diff(dim=2).abs() < 1e-5).float().mean()
    assert 0.2 < flat < 0.3  # one in four: along a row, where both rows of cells that are mixed here go on as they are
    bent = masks.diff(dim=2).diff(dim=2).abs() > 1e-3
    columns = bent.any(1).float().sum(1)  # a bend or two where a cell's centre lies, every 10 pixels
    assert 5 <= columns.min() and columns.max() <= 14


def test_rise_as_published_on_a_linear_net():
    """1/(n p) sum f(xM) M goes to E[f(xM) M] / p = sum_j w_j x_j E[M_j M_i] / p, plus the bias of f."""
    x, side = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(1)), 12
    w = torch.randn(side * side, generator=torch.Generator().manual_seed(2))
    options = {"samples": 300, "cells": 3, "keep": 0.3}
    masks = masks_of(**options, side=side)
    scores = (masks * x.flatten()) @ w + 2

    def target(logits):
        return logits @ w + 2

    published = attribution.rise(Mirror(), x, target, centred=False, **options).flatten()
    torch.testing.assert_close(published, scores @ masks / (300 * 0.3), rtol=1e-4, atol=1e-4)
    centred = attribution.rise(Mirror(), x, target, **options).flatten()
    expected = (scores - scores.mean()) @ (masks - 0.3) / (300 * 0.3 * 0.7 * 4 / 9)
    torch.testing.assert_close(centred, expected, rtol=1e-4, atol=1e-4)


def planted(gains, side=24):
    """A network that is additive in its pixels, with these gains {(row, column): gain}, and a picture of ones."""
    net = Linear((1, side, side), 1)
    with torch.no_grad():
        net.w.zero_()
        for (row, column), gain in gains.items():
            net.w[0, 0, row, column] = gain
    return net, torch.ones(1, 1, side, side, dtype=torch.float64)


@pytest.mark.parametrize("keep", [0.3, 0.5])
@pytest.mark.parametrize("cells", [4, 7])
def test_centred_rise_draws_a_planted_gain_of_one_as_one(cells, keep):
    """For f = w.x it goes to sum_j w_j x_j Cov(M_j, M_i) / var(M): a smooth bump that is 1 high at the place."""
    net, x = planted({(2, 12): 1.0})
    got = attribution.rise(net, x, 0, samples=20000, cells=cells, keep=keep, chunk=1000)[0]
    assert abs(got[2, 12] - 1) < 0.05  # no less at the border than in the middle
    assert got[16:].abs().max() < 0.1
    peak = got.argmax().item()
    assert abs(peak // 24 - 2) <= 1 and abs(peak % 24 - 12) <= 1
    masks = masks_of(20000, side=24, cells=cells, keep=keep, chunk=1000)
    slope = ((masks[:, 60] - masks[:, 60].mean()).square().mean() / (keep * (1 - keep))).item()
    assert abs(slope - 4 / 9) < 0.03  # what it would be drawn as if it were divided by p (1 - p)


def test_centred_rise_is_additive_and_keeps_the_sign():
    """Two gains more than two cells apart are drawn as they are; the map of a sum is the sum of the maps."""
    options = {"samples": 20000, "cells": 7, "chunk": 1000}
    places = {(4, 4): 1.0, (19, 18): -0.5}
    both = attribution.rise(*planted(places), 0, **options)[0]
    apart = [attribution.rise(*planted({place: gain}), 0, **options)[0] for place, gain in places.items()]
    torch.testing.assert_close(both, apart[0] + apart[1])
    assert abs(both[4, 4] - 1) < 0.06 and abs(both[19, 18] + 0.5) < 0.06


def test_a_constant_score_explains_nothing_when_centred():
    def constant(logits):
        return torch.full((len(logits),), 1000.0)

    assert attribution.rise(Tiny(), pictures(), constant, samples=20).abs().max() == 0
    offset = attribution.rise(Tiny(), pictures(), constant, samples=200, centred=False)
    assert 800 < offset.mean() < 1200


def test_a_large_constant_does_not_cost_digits():
    net, x = Tiny(), pictures(1)
    small = attribution.rise(net, x, lambda logits: logits[:, 1], samples=50)
    large = attribution.rise(net.double(), x.double(), lambda logits: logits[:, 1] + 1e6, samples=50)
    torch.testing.assert_close(small, large.float(), rtol=1e-3, atol=1e-5 * small.abs().max().item())


def test_rise_repeats_itself_and_takes_a_generator():
    net, x = Tiny(), pictures(2)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, second = (attribution.rise(net, x, 1, samples=10) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)
    other = attribution.rise(net, x, 1, samples=10, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(first, other)
    same = attribution.rise(net, x, 1, samples=10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first, same)


def test_rise_and_occlusion_find_the_same_place():
    net = Linear((3, 32, 32))
    with torch.no_grad():
        net.w.zero_()[:, :, 5:11, 20:26] = 1
    x = torch.ones(1, 3, 32, 32, dtype=torch.float64)
    for heat in (
        attribution.rise(net, x, 0, samples=1000),
        attribution.occlusion(net, x, 0, patch=6, stride=2),
    ):
        row, column = divmod(heat[0].argmax().item(), 32)
        assert 5 <= row < 11 and 20 <= column < 26
        assert heat[0, 5:11, 20:26].mean() > 5 * heat[0].abs().mean()


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"cells": 0}, "cells is 0"),
        ({"keep": 0}, "keep is 0; give the share"),
        ({"keep": 1.0}, "keep is 1.0; give the share"),
        ({"keep": 50}, "keep is 50"),
        ({"chunk": 0}, "chunk is 0"),
    ],
)
def test_rise_that_cannot_be_done(options, cure):
    with pytest.raises(ValueError, match=cure):
        attribution.rise(Tiny(), pictures(), 0, **options)
