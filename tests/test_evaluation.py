"""helpers.evaluation: each grade by hand, against captum, scipy and Quantus, and under the contract of the methods."""

import copy
import itertools
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from helpers import attribution, evaluation, synthesis
from nets import Tiny, pictures
from test_contract import Odd, assert_same, state

NAN = float("nan")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def maps(count=3, height=6, width=5, seed=3):
    """Signed maps without ties."""
    return torch.randn(count, height, width, generator=seeded(seed))


def masks(count=3, height=6, width=5, seed=4):
    return torch.rand(count, height, width, generator=seeded(seed)) < 0.3


def one(*rows):
    return torch.tensor([rows], dtype=torch.float32)


def mask(*rows):
    return torch.tensor([rows]) > 0


# --- against the truth, by hand ---

TWO = mask([1, 1, 0], [0, 0, 0])


@pytest.mark.parametrize(
    ("grade", "values", "expected"),
    [
        ("mass_accuracy", one([3, 1, 4], [0, 0, 0]), 0.5),
        ("mass_accuracy", one([3, -1, 4], [-5, 1, 0]), 3 / 8),  # the negative values do not count
        ("mass_accuracy", one([-3, 0, 4], [0, 0, 0]), 0.0),
        ("mass_accuracy", one([2, 2, 2], [2, 2, 2]), 1 / 3),
        ("mass_accuracy", one([0, 0, 0], [0, 0, 0]), NAN),
        ("mass_accuracy", one([-1, -2, -1], [0, -1, -1]), NAN),
        ("mass_accuracy", one([1e38, 1e38, 1e38], [1e38, 1e38, 1e38]), 1 / 3),
        ("mass_accuracy", one([3, 1, 4], [0, 0, 0]).half() * 1e4, 0.5),
        ("rank_accuracy", one([3, 1, 4], [0, 0, 0]), 0.5),
        ("rank_accuracy", one([5, 6, 4], [0, 0, 0]), 1.0),
        ("rank_accuracy", one([-1, -2, -3], [-4, -5, -6]), 1.0),  # order, not size
        ("rank_accuracy", one([-9, -8, -3], [-4, -5, -6]), 0.0),
        ("rank_accuracy", one([5, 1, 1], [0, 0, 0]), 0.75),  # the second place goes inside in one of two cases
        ("rank_accuracy", one([1, 1, 1], [1, 0, 0]), 0.5),
        ("rank_accuracy", one([0, 0, 0], [0, 0, 0]), 1 / 3),
        ("pointing", one([3, 1, 4], [0, 0, 0]), 0.0),
        ("pointing", one([3, 5, 4], [0, 0, 0]), 1.0),
        ("pointing", one([-3, -5, -4], [-9, -9, -9]), 1.0),
        ("pointing", one([5, 5, 5], [0, 0, 0]), 2 / 3),
        ("pointing", one([0, 0, 0], [0, 0, 0]), 1 / 3),
    ],
)
def test_grades_by_hand(grade, values, expected):
    got = getattr(evaluation, grade)(values, TWO)
    torch.testing.assert_close(got, torch.tensor([expected], dtype=got.dtype), equal_nan=True)


def test_rank_accuracy_of_ties_is_the_mean_over_all_ways_to_break_them():
    values, inside = one([2, 1, 1], [1, 1, 0]), mask([1, 0, 1], [0, 0, 1])
    flat, truth = values.flatten(), inside.flatten()
    hits = []
    for order in itertools.permutations(range(6)):
        order = list(order)
        if (flat[order].diff() <= 0).all():
            hits.append(truth[order[:3]].float().mean())
    torch.testing.assert_close(evaluation.rank_accuracy(values, inside)[0], torch.stack(hits).mean())


def test_grades_do_not_depend_on_where_ties_lie():
    values, inside = maps().round(), masks()
    shuffled = torch.randperm(30, generator=seeded())
    for grade in (evaluation.mass_accuracy, evaluation.rank_accuracy, evaluation.pointing):
        moved = [m.flatten(1)[:, shuffled].view_as(m) for m in (values, inside)]
        torch.testing.assert_close(grade(*moved), grade(values, inside))


def test_the_mass_on_object_distractor_and_ground_is_all_there_is():
    values, place = maps(), torch.arange(30).view(1, 6, 5).expand(3, -1, -1)
    parts = [evaluation.mass_accuracy(values, m) for m in (place < 7, (place >= 7) & (place < 12), place >= 12)]
    torch.testing.assert_close(sum(parts), torch.ones(3))


@pytest.mark.parametrize("grade", ["mass_accuracy", "rank_accuracy", "pointing"])
def test_a_batch_of_maps_is_graded_one_by_one(grade):
    grade, values, inside = getattr(evaluation, grade), maps(5).round(), masks(5)
    values[2] = 0
    expected = torch.cat([grade(values[i : i + 1], inside[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(grade(values, inside), expected, equal_nan=True)
    assert grade(values, inside).shape == (5,)
    assert not grade(values.requires_grad_(), inside).requires_grad


def test_large_maps_in_half_precision():
    half = torch.ones(1, 300, 300, dtype=torch.float16)  # their sum is more than a half can hold
    assert evaluation.mass_accuracy(half, torch.arange(300).expand(1, 300, -1) < 75).item() == pytest.approx(0.25)


def test_constant_maps_are_found():
    values = torch.stack([torch.zeros(2, 2), torch.full((2, 2), -3.0), torch.eye(2), torch.full((2, 2), 1e-30)])
    assert evaluation.constant(values).tolist() == [True, True, False, True]


def test_quantus_grades_likewise():
    quantus = pytest.importorskip("quantus")
    values, inside = maps(), masks()
    options = {"disable_warnings": True, "normalise": False}
    given = {"x_batch": np.zeros((3, 1, 6, 5)), "y_batch": np.zeros(3, int), "s_batch": inside[:, None].numpy()}

    def graded(metric, a):
        return torch.tensor(np.array(metric(model=None, a_batch=a[:, None].numpy(), **given)), dtype=torch.float32)

    rank, mass = quantus.RelevanceRankAccuracy(**options), quantus.RelevanceMassAccuracy(**options)
    torch.testing.assert_close(graded(rank, values), evaluation.rank_accuracy(values, inside))
    torch.testing.assert_close(graded(quantus.PointingGame(**options), values), evaluation.pointing(values, inside))
    torch.testing.assert_close(graded(mass, values.relu()), evaluation.mass_accuracy(values, inside))
    # Known differences: its mass adds up negative values, too; of tied maxima it takes the best, not the mean.
    assert (graded(mass, values) - evaluation.mass_accuracy(values, inside)).abs().max() > 0.1
    tied = torch.zeros(3, 6, 5)
    tied.flatten(1)[torch.arange(3), inside.flatten(1).int().argmax(1)] = 2
    tied.flatten(1)[torch.arange(3), (~inside).flatten(1).int().argmax(1)] = 2
    assert graded(quantus.PointingGame(**options), tied).tolist() == [1, 1, 1]
    assert evaluation.pointing(tied, inside).tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("grade", ["mass_accuracy", "rank_accuracy", "pointing"])
@pytest.mark.parametrize(
    ("values", "inside", "error", "cure"),
    [
        (maps(), masks().float(), TypeError, "masks > 0"),
        (maps(), masks().numpy(), TypeError, "torch.from_numpy"),
        (maps().numpy(), masks(), TypeError, "torch.from_numpy"),
        (maps()[:, None], masks(), ValueError, "pixel_map"),
        (maps()[0], masks(), ValueError, r"m\[None\]"),
        (maps()[:, :3, :2], masks(), ValueError, r"upsample\(maps, \(6, 5\)\)"),
        (maps(2), masks(), ValueError, "one map for each picture"),
        (maps() / 0, masks(), ValueError, "NaN or infinite"),
        (maps()[:0], masks()[:0], ValueError, r"\[N, H, W\]"),
        (maps(), masks() & (torch.arange(3) != 1)[:, None, None], ValueError, "Mask 1 marks no pixel"),
    ],
)
def test_maps_and_masks_that_cannot_be_graded(grade, values, inside, error, cure):
    with pytest.raises(error, match=cure):
        getattr(evaluation, grade)(values, inside)


# --- maps against each other, many grades ---


def test_rank_correlation_is_scipys():
    a, b = maps(4).mul(2).round(), maps(4, seed=8).mul(2).round()  # with ties
    b[1] = a[1]
    b[2] = -a[2].exp()
    expected = [stats.spearmanr(p.flatten(), q.flatten()).statistic for p, q in zip(a, b, strict=True)]
    torch.testing.assert_close(evaluation.rank_correlation(a, b), torch.tensor(expected, dtype=torch.float32))
    assert evaluation.rank_correlation(a, b)[1:3].tolist() == pytest.approx([1, -1])


def test_rank_correlation_never_leaves_its_range():
    """Of equal maps the sum of products rounds to a little more than 1 in every other case."""
    a = torch.rand(500, 9, 11, generator=seeded())
    ranks = a.flatten(1).argsort(1).argsort(1) - 49.0
    unit = ranks / ranks.norm(dim=1, keepdim=True)
    assert (unit.square().sum(1) > 1).any(), "these maps do not try it"
    assert evaluation.rank_correlation(a, a).max() <= 1 and evaluation.rank_correlation(a, -a).min() >= -1


def test_rank_correlation_with_a_constant_map_is_nan():
    a, b = maps(3), maps(3, seed=8)
    a[0], b[1] = 2, 0
    assert evaluation.rank_correlation(a, b).isnan().tolist() == [True, True, False]
    with pytest.raises(ValueError, match="one map for each picture"):
        evaluation.rank_correlation(a, b[:2])


def test_interval_is_students():
    values = torch.tensor([0.1, 0.4, 0.3, 0.9, 0.2])
    mean, half = evaluation.interval(values)
    low, high = stats.t.interval(0.95, 4, loc=values.mean().item(), scale=stats.sem(values.numpy()))
    assert (mean - half).item() == pytest.approx(low, abs=1e-6)
    assert (mean + half).item() == pytest.approx(high, abs=1e-6)
    means, halves = evaluation.interval(torch.stack([values, 2 * values], 1))
    torch.testing.assert_close(halves, torch.stack([half, 2 * half]))
    torch.testing.assert_close(means, torch.stack([mean, 2 * mean]))
    assert evaluation.interval(torch.tensor([True, False]))[0] == 0.5


def test_interval_drops_nothing_in_silence():
    with pytest.raises(ValueError, match=r"2 of 3 values are NaN.*~values.isnan\(\)"):
        evaluation.interval(torch.tensor([NAN, 1.0, NAN]))
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        evaluation.interval(torch.tensor([[NAN, NAN], [1.0, 2.0]]))
    for few in (torch.tensor([1.0]), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="two pictures or more"):
            evaluation.interval(few)


# --- baselines ---


@pytest.mark.parametrize("name", ["random_maps", "centred_gaussian", "absolute_input", "sobel"])
def test_baselines_are_maps_of_the_pictures_size(name):
    baseline, x = getattr(evaluation, name), pictures(3, 12)[:, :, :10]
    got = baseline(x)
    assert got.shape == (3, 10, 12) and got.dtype == x.dtype and not evaluation.constant(got).any()
    torch.testing.assert_close(baseline(x), got, rtol=0, atol=0)
    torch.testing.assert_close(baseline(x[:1]), got[:1])
    with pytest.raises(ValueError, match=r"\[N, C, H, W\]"):
        baseline(x[0] if name == "sobel" else x[0, 0])  # without its batch a picture has the shape of texts


def test_random_maps():
    x, generator = pictures(2, 8), seeded(5)
    batches = torch.cat([evaluation.random_maps(one, generator) for one in x.split(1)])
    torch.testing.assert_close(batches, evaluation.random_maps(x, seeded(5)), rtol=0, atol=0)
    assert (batches[0] != batches[1]).all()
    grades = evaluation.mass_accuracy(
        evaluation.random_maps(torch.zeros(200, 1, 16, 16)), torch.arange(256).view(16, 16).expand(200, -1, -1) < 64
    )
    assert grades.mean().item() == pytest.approx(0.25, abs=0.01)


def test_centred_gaussian():
    bell = evaluation.centred_gaussian(torch.zeros(1, 1, 4, 8), width=0.5)[0]
    torch.testing.assert_close(bell, bell.flip(0, 1))
    # Centres of the pixels at 1/8 of the height and 1/16 of the width from the middle, then 3/8 and 1/16.
    assert bell[2, 4].item() == pytest.approx(np.exp(-(1 / 64 + 1 / 256) / 0.5))
    assert bell[3, 4].item() == pytest.approx(np.exp(-(9 / 64 + 1 / 256) / 0.5))
    with pytest.raises(ValueError, match="width is 0"):
        evaluation.centred_gaussian(torch.zeros(1, 1, 4, 8), width=0)


def test_absolute_input():
    x = torch.tensor([[[[1.0, -4.0]], [[-3.0, 2.0]]]])
    assert evaluation.absolute_input(x).tolist() == [[[2, 3]]]


def test_sobel():
    filters = pytest.importorskip("skimage.filters")
    grey = pictures(1, 9)[:, :1]
    expected = torch.from_numpy(
        filters.sobel(grey[0, 0].numpy(), mode="nearest")
    )  # per two pixels, the root mean square
    torch.testing.assert_close(evaluation.sobel(grey)[0] * 2**0.5, expected)
    ramp = (2 * torch.arange(5.0)[:, None] + torch.zeros(5)).expand(1, 3, -1, -1)
    assert evaluation.sobel(ramp)[0, 1:4].flatten().tolist() == pytest.approx([2 * 3**0.5] * 15)


# --- deletion and insertion ---


class Sum(nn.Module):
    """Two logits: the weighted sum of the first channel, and its negative."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x):
        value = (self.weights * x[:, 0]).sum((1, 2))
        return torch.stack([value, -value], 1)


def test_deletion_and_insertion_by_hand():
    net, x = Sum(torch.ones(2, 2)), one([8, 4], [2, 1])[None]
    fractions, scores = evaluation.deletion(net, x, one([3, 9], [1, 2]), 0, steps=4)
    assert fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert scores.tolist() == [[15, 11, 3, 2, 0]]
    assert evaluation.area(fractions, scores).item() == pytest.approx((7.5 + 11 + 3 + 2) / 4)
    fractions, scores = evaluation.insertion(net, x, one([3, 9], [1, 2]), 0, steps=4)
    assert scores.tolist() == [[0, 4, 12, 13, 15]]
    assert evaluation.deletion(net, x, one([3, 9], [1, 2]), 0, steps=4, baseline=1.0)[1].tolist() == [[15, 12, 5, 5, 4]]
    colour = torch.full((1, 1, 1), 2.0)
    assert evaluation.insertion(net, x, one([3, 9], [1, 2]), 1, steps=1, baseline=colour)[1].tolist() == [[-8, -15]]


def test_deletion_breaks_ties_in_reading_order():
    net, x = Sum(torch.ones(2, 2)), one([8, 4], [2, 1])[None]
    assert evaluation.deletion(net, x, torch.zeros(1, 2, 2), 0, steps=4)[1].tolist() == [[15, 7, 3, 1, 0]]
    large = torch.zeros(1, 32, 32)  # where an unstable sort does shuffle
    large[0, 16:] = 1
    weights = torch.arange(1024.0).view(32, 32)
    scores = evaluation.deletion(Sum(weights), torch.ones(1, 1, 32, 32), large, 0, steps=1024)[1][0]
    order = torch.cat([torch.arange(512, 1024), torch.arange(512)]).float()
    torch.testing.assert_close(-scores.diff(), order)


def test_the_area_is_that_of_the_true_fractions():
    net, x = Sum(torch.ones(1, 5)), torch.ones(1, 1, 1, 5)
    values = one([5, 4, 3, 2, 1])
    fractions, scores = evaluation.deletion(net, x, values, 0, steps=3)  # 1, 3 and 5 of 5 pixels
    torch.testing.assert_close(fractions, torch.tensor([0, 0.2, 0.6, 1]))
    torch.testing.assert_close(scores, 5 * (1 - fractions)[None])
    assert evaluation.area(fractions, scores).item() == pytest.approx(2.5)  # a straight line, whatever the steps


def test_deletion_and_insertion_start_and_end_with_whole_pictures():
    net, x = Tiny().eval(), pictures(3, 16)
    blurred = x.mean((2, 3), keepdim=True)
    ends = [net(x).amax(1), net(blurred.expand_as(x)).gather(1, net(x).argmax(1)[:, None])[:, 0]]
    heat = attribution.pixel_map(x)
    down = evaluation.deletion(net, x, heat, steps=7, baseline=blurred)[1]
    up = evaluation.insertion(net, x, heat, steps=7, baseline=blurred)[1]
    torch.testing.assert_close(down[:, [0, -1]], torch.stack(ends, 1))
    torch.testing.assert_close(up[:, [-1, 0]], torch.stack(ends, 1))
    # What is removed in one order is what is put in, in the reverse order.
    torch.testing.assert_close(evaluation.insertion(net, x, -heat, steps=4, baseline=blurred)[1].flip(1),
                               evaluation.deletion(net, x, heat, steps=4, baseline=blurred)[1])  # fmt: skip
    likely = evaluation.deletion(net, x, heat, steps=7, baseline=blurred, probability=True)[1]
    torch.testing.assert_close(likely[:, 0], net(x).softmax(1).amax(1))


@pytest.mark.parametrize("curve", [evaluation.deletion, evaluation.insertion])
@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"steps": 0}, "steps is 0; give a whole number from 1 to 64"),
        ({"steps": 65}, "from 1 to 64"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"maps": maps(2, 4, 4)}, r"upsample\(maps, \(8, 8\)\)"),
        ({"maps": maps(1, 8, 8)}, "one map for each picture"),
        ({"maps": maps(2, 8, 8) * torch.inf}, "NaN or infinite"),
        ({"baseline": torch.zeros(3)}, "does not fit pictures"),
        ({"baseline": "black"}, "does not fit pictures"),
        ({"baseline": NAN}, "baseline holds NaN"),
        ({"chunk": 0}, "chunk is 0"),
    ],
)
def test_curves_that_cannot_be_drawn(curve, change, cure):
    with pytest.raises(ValueError, match=cure):
        curve(Tiny(), pictures(2, 8), **{"maps": maps(2, 8, 8), "steps": 4} | change)


def test_areas_that_cannot_be_taken():
    with pytest.raises(ValueError, match=r"give \[S \+ 1\]"):
        evaluation.area(torch.linspace(0, 1, 4), torch.zeros(2, 5))
    with pytest.raises(ValueError, match="do not rise"):
        evaluation.area(torch.tensor([0, 0.5, 0.5]), torch.zeros(2, 3))


# --- infidelity and sensitivity ---


def stacked(function, x, samples):
    """A library's perturb_func: what ours does, for pictures that are repeated ``samples`` times in a row each."""
    generator = seeded(9)
    drawn = [function(x, generator) for _ in range(samples)]
    return lambda _: tuple(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*drawn, strict=True))


PERTURB = {
    "noise": evaluation.noise(0.2),
    "squares": evaluation.squares(5, baseline=0.5),
    "multiplied": evaluation.squares(5, multiplied=True),
}


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("name", PERTURB)
def test_infidelity_is_captums(name, normalise):
    captum = pytest.importorskip("captum.metrics")
    net, x, target = Tiny().eval(), pictures(3, 16), torch.tensor([0, 3, 2])
    given = attribution.gradient(net, x, target)
    got = evaluation.infidelity(net, x, given, target, perturb=PERTURB[name], samples=6, normalise=normalise,
                                generator=seeded(9))  # fmt: skip
    expected = captum.infidelity(
        net, stacked(PERTURB[name], x, 6), x, given, target=target, n_perturb_samples=6, normalize=normalise
    )
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-7)
    assert (got > 0).all()


def test_infidelity_by_hand():
    net, x = Sum(torch.tensor([[2.0, 3.0]])), torch.tensor([[[[1.0, 5.0]]]])

    def perturb(x, generator):
        change = torch.tensor([[[[1.0, 0.0]]]])
        return change, x - change

    given = torch.tensor([[[[7.0, 9.0]]]])
    assert evaluation.infidelity(net, x, given, 0, perturb=perturb, samples=3).tolist() == [25]  # (7 - 2)^2
    assert evaluation.infidelity(net, x, given, 0, perturb=perturb, samples=3, normalise=True).tolist() == [0]


def test_a_linear_net_is_foretold_by_its_gradient_and_never_by_nothing():
    net, x = Sum(maps(1, 8, 8)[0]), pictures(2, 8)
    gradient = attribution.gradient(net, x, 0)
    times = attribution.gradient_x_input(net, x, 0)
    for perturb, given in ((None, gradient), (evaluation.squares(3, baseline=1.0), gradient),
                           (evaluation.squares(3, multiplied=True), times)):  # fmt: skip
        grade = partial(evaluation.infidelity, net, x, target=0, perturb=perturb, samples=8)
        assert (grade(given) < 1e-6).all() and (grade(3 * given, normalise=True) < 1e-6).all()
        assert (grade(3 * given) > 1e-3).all()
        zeros = [grade(torch.zeros_like(given), normalise=flag) for flag in (False, True)]
        torch.testing.assert_close(zeros[0], zeros[1])
        assert (zeros[0] > 1e-3).all()


@pytest.mark.parametrize("perturb", [evaluation.noise(), evaluation.squares(3, multiplied=True)])
def test_an_attribution_of_zeros_in_a_batch_foretells_nothing_at_any_scale(perturb):
    """Its best scale would be 0/0; the grade is the mean square of what the score did, as for any map of zeros."""
    net, x = Sum(maps(1, 8, 8)[0]), pictures(3, 8)
    given = attribution.gradient(net, x, 0)
    given[1] = 0
    free, fixed = (
        evaluation.infidelity(net, x, given, 0, perturb=perturb, samples=8, normalise=flag) for flag in (True, False)
    )
    assert free.isfinite().all() and free[1] == fixed[1] > 1e-3
    assert (free <= fixed + 1e-6).all()


def test_a_picture_without_a_range_is_named():
    x = pictures(3, 8)
    x[2] = 0.5
    with pytest.raises(ValueError, match="Picture 2 has one value everywhere.*squares"):
        evaluation.infidelity(Tiny().eval(), x, x, 0)


def test_squares_cover_every_pixel_equally_often():
    x, generator = torch.zeros(1, 1, 6, 7), seeded()
    perturb = evaluation.squares(3, baseline=1.0)
    covered = sum(perturb(x, generator)[1] for _ in range(2000))[0, 0] / 2000
    assert (covered - 9 / (8 * 9)).abs().max() < 0.03


def test_sensitivity_max_is_captums():
    captum = pytest.importorskip("captum.metrics")
    net, x, target = Tiny().eval(), pictures(3, 16), torch.tensor([0, 3, 2])

    def move(x, generator):
        return (x + 0.3 * (2 * torch.rand(x.shape[1:], generator=generator) - 1),)

    method = attribution.gradient_x_input
    got = evaluation.sensitivity_max(net, x, method, target, radius=0.3, samples=6, generator=seeded(9))
    expected = captum.sensitivity_max(
        lambda x, target: (method(net, x[0], target),),
        x, perturb_func=stacked(move, x, 6), n_perturb_samples=6, target=target,
    )  # fmt: skip
    torch.testing.assert_close(got, expected)
    assert (got > 0).all()


def test_sensitivity_of_known_explanations():
    net, x = Sum(torch.ones(4, 4)), pictures(2, 4)
    assert (evaluation.sensitivity_max(net, x, lambda net, x, target: x * 0 + 1) == 0).all()
    assert evaluation.sensitivity_max(net, x, lambda net, x, target: x[:, 0] * 0).isnan().all()
    at_rest = evaluation.sensitivity_max(net, x, lambda net, rows, target: rows - x.repeat(len(rows) // 2, 1, 1, 1))
    assert at_rest.isnan().all()  # and not infinite
    # x itself moves by at most the radius in each of 48 values, and by its own noise.
    moved = evaluation.sensitivity_max(net, x, lambda net, x, target: x, radius=0.1, samples=40)
    most = 0.1 * 48**0.5 / x.flatten(1).norm(dim=1)
    assert (moved < most).all() and (moved > 0.5 * most).all()


def test_sensitivity_asks_the_same_question_of_all_moves():
    net, asked = Sum(torch.ones(4, 4)), []
    x = torch.stack([torch.full((1, 4, 4), 1e-4), torch.full((1, 4, 4), -1e-4)])  # a move turns the answer

    def method(net, x, target):
        asked.extend(target.tolist())
        return x

    evaluation.sensitivity_max(net, x, method, radius=0.5, samples=5)
    assert asked == [0, 1] * 6


def test_disturbances_that_cannot_be_made():
    net, x = Tiny(), pictures(2, 8)
    for change, cure in [
        ({"attribution": maps(2, 8, 8)}, r"maps\[:, None\].expand_as\(x\)"),
        ({"attribution": x * torch.inf}, "infinite"),
        ({"samples": 0}, "samples is 0"),
        ({"perturb": lambda x, generator: (x[:1], x)}, "both must be that of x"),
        ({"x": torch.ones(2, 3, 8, 8)}, r"use squares\(\)"),
        ({"perturb": evaluation.squares(2, baseline=torch.zeros(5))}, "does not fit"),
    ]:
        with pytest.raises(ValueError, match=cure):
            evaluation.infidelity(net, **{"x": x, "attribution": x} | change)
    for change, cure in [
        ({"radius": 0}, "radius is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"method": lambda net, x, target: x.sum()}, "one map for each"),
        ({"method": lambda net, x, target: None}, "NoneType for 2 pictures"),
    ]:
        with pytest.raises(ValueError, match=cure):
            evaluation.sensitivity_max(net, x, **{"method": attribution.gradient} | change)
    with pytest.raises(ValueError, match="side is 0"):
        evaluation.squares(0)
    with pytest.raises(ValueError, match="level is 0"):
        evaluation.noise(0)


# --- the contract of the attribution methods ---

METHODS = {
    "deletion": lambda net, x, *a, **k: evaluation.deletion(net, x, maps(len(x), 8, 8), *a, steps=4, **k)[1],
    "insertion": lambda net, x, *a, **k: evaluation.insertion(net, x, maps(len(x), 8, 8), *a, steps=4, **k)[1],
    "infidelity": lambda net, x, *a, **k: evaluation.infidelity(net, x, x.sin(), *a, samples=3, **k),
    "sensitivity": lambda net, x, *a, **k: evaluation.sensitivity_max(net, x, attribution.gradient, *a, samples=3, **k),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@every_method
def test_nothing_is_left_behind(method):
    net, x = Odd(), pictures(2, 8).requires_grad_()
    before, x_before = state(net), x.detach().clone()
    result = method(net, x, 2)
    assert_same(before, state(net))
    assert x.grad is None and torch.equal(x, x_before) and not result.requires_grad and result.isfinite().all()
    for target in (99, lambda logits: 1 / 0):
        with pytest.raises((ValueError, ZeroDivisionError)):
            method(net, x, target)
        assert_same(before, state(net))
    assert torch.is_grad_enabled()


@every_method
def test_the_same_however_model_and_caller_come(method):
    x = pictures(2, 8)
    expected = method(Tiny().eval(), x, 1)
    torch.testing.assert_close(method(Tiny().train(), x, 1), expected)
    with torch.no_grad():
        torch.testing.assert_close(method(Tiny().requires_grad_(False), x, 1), expected)
    net = Tiny()
    with torch.inference_mode():
        inside = method(net, x.clone(), 1)
    torch.testing.assert_close(inside.clone(), expected)
    torch.testing.assert_close(method(Tiny().double(), x.double(), 1).float(), expected, rtol=1e-3, atol=1e-6)


@every_method
def test_chunks_and_batches_change_nothing(method):
    net, x, targets = Tiny().eval(), pictures(4, 8), torch.tensor([0, 3, 1, 3])
    whole = method(net, x, targets)
    sizes = []
    with net.conv1.register_forward_hook(lambda module, inputs, output: sizes.append(len(output))):
        torch.testing.assert_close(method(net, x, targets, chunk=3), whole)
    assert max(sizes) == 3
    by_one = [method(net, x[i : i + 1], int(targets[i])) for i in range(4)]
    if method not in (METHODS["deletion"], METHODS["insertion"]):  # these two are given other maps
        torch.testing.assert_close(torch.cat(by_one), whole)
    torch.testing.assert_close(method(net, x), method(net, x, net(x).argmax(1)))
    torch.testing.assert_close(method(net, x, 2), method(net, x, lambda logits: logits[:, 2]))


class Flattened(nn.Module):
    """A net that flattens in the way that it is given."""

    def __init__(self, flatten):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.flatten = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(128, 5), flatten

    def forward(self, x):
        return self.fc(self.flatten(F.max_pool2d(self.conv(x).relu(), 2)))


@every_method
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("flatten", [lambda a: a.view(-1, 128), lambda a: a.view(a.size(0), -1)])
def test_a_net_that_flattens_by_view(method, count, flatten):
    x = pictures(count, 8)
    expected = method(Flattened(lambda a: a.flatten(1)), x, 1)
    torch.testing.assert_close(method(Flattened(flatten), x, 1), expected)


@pytest.mark.filterwarnings("ignore:Tiny gives its scores in steps")
@every_method
def test_half_precision_is_summed_in_single_precision(method):
    net, x = Tiny().eval(), pictures(2, 8)
    expected = method(net, x, 1)
    got = method(copy.deepcopy(net).to(torch.bfloat16), x.to(torch.bfloat16), 1)
    assert got.dtype == torch.float32
    near = 0.6 if method is METHODS["sensitivity"] else 0.1  # a ReLU flips where a small move is rounded
    torch.testing.assert_close(got, expected, rtol=near, atol=0.05 * float(expected.abs().max()))


def test_fractions_are_exact_in_half_precision():
    net, x = Tiny().eval().to(torch.bfloat16), pictures(1, 32).to(torch.bfloat16)
    fractions, _ = evaluation.deletion(net, x, maps(1, 32, 32), 1, steps=200)
    torch.testing.assert_close(fractions, torch.arange(201) * 1024 // 200 / 1024)


@pytest.mark.parametrize("curve", [evaluation.deletion, evaluation.insertion])
def test_curves_of_a_batch_are_those_of_its_pictures(curve):
    net, x, heat = Tiny().eval(), pictures(3, 8), maps(3, 8, 8).round()
    whole = curve(net, x, heat, 1, steps=9, baseline=-x)[1]
    by_one = [curve(net, x[i : i + 1], heat[i : i + 1], 1, steps=9, baseline=-x[i])[1] for i in range(3)]
    torch.testing.assert_close(torch.cat(by_one), whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA on this machine")
@every_method
def test_on_an_accelerator(method):
    x = pictures(2, 8)
    got = method(Tiny().cuda(), x.cuda(), 1)
    torch.testing.assert_close(got.cpu(), method(Tiny(), x, 1), rtol=1e-3, atol=1e-5)


# --- randomisation ---


def test_randomisation_goes_from_the_last_layer_to_the_first_and_spares_the_model():
    net = Odd()
    nn.init.uniform_(net.bn.running_mean)
    before, rng = state(net), torch.get_rng_state()
    steps = list(evaluation.randomised(net))
    assert [name for name, _ in steps] == ["bn", "fc", "conv2", "conv1"]
    assert_same(before, state(net))
    assert torch.equal(rng, torch.get_rng_state())
    changed = set()
    for name, other in steps:
        changed.add(name)
        for key, value in other.state_dict().items():
            # BatchNorm's scale, shift and count were never trained here; its mean was moved.
            if key in ("bn.weight", "bn.bias", "bn.running_var", "bn.num_batches_tracked"):
                continue
            assert torch.equal(value, net.state_dict()[key]) == (key.split(".")[0] not in changed), (name, key)
        assert [m.training for m in other.modules()] == before[0]
        assert [p.requires_grad for p in other.parameters()] == [flag for flag, _ in before[1]]
    assert (steps[0][1].bn.running_mean == 0).all()
    for (name, first), (_, second) in itertools.pairwise(steps):  # cascading: what was drawn stays
        torch.testing.assert_close(
            getattr(first, name).state_dict(), getattr(second, name).state_dict(), rtol=0, atol=0
        )
    assert len({id(p) for _, other in steps for p in other.parameters()}) == 4 * len(list(net.parameters()))


def test_randomisation_is_reproducible_and_as_before_training():
    net = Tiny()
    runs = [[other.state_dict() for _, other in evaluation.randomised(net, seeded(s))] for s in (1, 1, 2)]
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert not torch.equal(runs[0][0]["fc.weight"], runs[2][0]["fc.weight"])
    assert runs[0][0]["fc.weight"].abs().max() <= 8**-0.5  # Linear's own bounds


def test_a_receiver_may_spoil_a_copy():
    copies = []
    for _, other in evaluation.randomised(Tiny()):
        copies.append(copy.deepcopy(other.fc.weight))
        nn.init.zeros_(other.fc.weight)
    assert all(torch.equal(copies[0], later) for later in copies[1:]) and copies[0].abs().sum() > 0


def test_batch_norm_without_weights_forgets_its_statistics():
    norm = nn.BatchNorm2d(3, affine=False)
    norm.running_mean.fill_(2)
    ((name, other),) = evaluation.randomised(nn.Sequential(norm, nn.ReLU()))
    assert name == "0" and (other[0].running_mean == 0).all() and (norm.running_mean == 2).all()


def test_randomised_copies_can_be_explained():
    x = pictures(2, 16)
    with torch.inference_mode():
        copies = [other for _, other in evaluation.randomised(Tiny())]
    first, *_, last = [attribution.gradient_x_input(other, x, 0).sum(1) for other in (Tiny(), *copies)]
    assert (evaluation.rank_correlation(first, last).abs() < 0.9).all()


def test_models_that_cannot_be_randomised():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(ValueError, match=r"0 \(Own\) has parameters, but no reset_parameters\(\)"):
        evaluation.randomised(nn.Sequential(Own()))
    with pytest.raises(ValueError, match="The model"):
        evaluation.randomised(Own())
    with pytest.raises(ValueError, match="no layer with weights"):
        evaluation.randomised(nn.Sequential(nn.ReLU(), nn.Flatten()))


# --- what cannot be measured: a sentence, and never a number ---

LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))


def infidelity(x, perturb):
    return evaluation.infidelity(LINEAR, x, x, 1, perturb=perturb, samples=3)


def sensitivity(x, method, **options):
    return evaluation.sensitivity_max(LINEAR, x, method, 1, samples=3, **options)


REFUSED = {  # what is called, which error, what it says
    "area, lists": (lambda x: evaluation.area([0, 1], [[1, 2]]), TypeError, "list and list; give tensors"),
    "area, NaN": (lambda x: evaluation.area(torch.tensor([0.0, 1.0]), torch.tensor([[1, NAN]])), ValueError, "NaN"),
    "perturb NaN": (lambda x: infidelity(x, lambda a, g: (a * NAN, a)), ValueError, "The disturbance holds NaN"),
    "perturb one": (lambda x: infidelity(x, lambda a, g: a), TypeError, "must return two tensors"),
    "perturb None": (lambda x: infidelity(x, lambda a, g: None), TypeError, "must return two tensors"),
    "perturb word": (lambda x: infidelity(x, "noise"), TypeError, "perturb is a str"),
    "method NaN": (lambda x: sensitivity(x, lambda m, a, t: a * NAN), ValueError, "The method returns NaN"),
    "method's size": (
        lambda x: sensitivity(x, lambda m, a, t: a[:, :, : len(a)], chunk=3),
        ValueError,
        "depend on how many pictures",
    ),
    "method word": (lambda x: sensitivity(x, "gradient"), TypeError, "The method is a str"),
    "complex maps": (lambda x: evaluation.constant(x[:, 0] * 1j), TypeError, "real numbers"),
    "sparse maps": (lambda x: evaluation.constant(x[:, 0].to_sparse()), TypeError, "ordinary tensor"),
    "meta maps": (lambda x: evaluation.constant(x[:, 0].to("meta")), TypeError, "meta device"),
    "interval, infinite": (lambda x: evaluation.interval([1, float("inf"), 3]), ValueError, "infinite"),
    "interval, word": (lambda x: evaluation.interval("abc"), TypeError, "one number for each picture"),
    "interval, complex": (lambda x: evaluation.interval(x[:, 0] * 1j), TypeError, "real numbers"),
    "no name": (lambda x: evaluation.explain(["cam"], LINEAR, x, layer="0"), ValueError, "There is no method"),
    "no module": (lambda x: evaluation.randomised(lambda q: q), TypeError, "give a torch.nn.Module"),
    "a class": (lambda x: evaluation.randomised(nn.Linear), TypeError, "the class Linear"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_measured_is_a_sentence(what):
    call, error, said = REFUSED[what]
    with pytest.raises(error, match=said):
        call(pictures(2, 4))


SEEDED = {
    "random_maps": lambda x, g: evaluation.random_maps(x, g),
    "imputed": lambda x, g: evaluation.imputed(x, x[:, 0] > 0, generator=g),
    "infidelity": lambda x, g: evaluation.infidelity(LINEAR, x, x, 1, samples=2, generator=g),
    "sensitivity_max": lambda x, g: evaluation.sensitivity_max(LINEAR, x, attribution.gradient, 1, generator=g),
    "randomised": lambda x, g: evaluation.randomised(LINEAR, g),
    "rise": lambda x, g: attribution.rise(LINEAR, x, 1, samples=2, generator=g),
    "smooth_grad": lambda x, g: attribution.smooth_grad(LINEAR, x, 1, samples=2, generator=g),
    "maximise": lambda x, g: synthesis.maximise(LINEAR, synthesis.logit(1), x, steps=1, generator=g),
    "noise": lambda x, g: synthesis.noise(1, (3, 4, 4), generator=g),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_is_no_generator(name):
    with pytest.raises(TypeError, match=r"The generator is 3; give torch.Generator\(\).manual_seed"):
        SEEDED[name](pictures(2, 4), 3)
    SEEDED[name](pictures(2, 4), seeded(3))


def test_a_disturbance_may_change_the_pictures_that_it_is_given():
    x, change = pictures(2, 4), torch.full((2, 3, 4, 4), 0.1)
    expected = infidelity(x, lambda a, g: (change, a - change))
    torch.testing.assert_close(infidelity(x, lambda a, g: (change, a.sub_(change))), expected)


def test_whole_numbers_as_maps_and_lists_as_scores():
    assert (sensitivity(pictures(2, 4), lambda m, a, t: (a * 9).long(), radius=0.5) > 0).all()
    lists = {"a": dict.fromkeys(evaluation.SCORE_NAMES, [0.4, 0.6])}
    assert evaluation.summary(lists)["a"]["mass"][0] == pytest.approx(0.5)
