"""LIME, KernelSHAP and Shapley values of segments: games whose values are known, and the libraries' answers."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import attribution
from nets import Tiny, pictures, random_net

GAMES = {  # of players 0, 1, 2, ... of five: the worth of coalitions z [M, 5], and the Shapley values
    "additive": (lambda z: z @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0]), [1.0, -2.0, 0.5, 0.0, 3.0]),
    "and": (lambda z: z[:, 0] * z[:, 1], [0.5, 0.5, 0, 0, 0]),
    "or": (lambda z: (z[:, :2].sum(1) > 0).float(), [0.5, 0.5, 0, 0, 0]),
    "xor": (lambda z: (z[:, :2].sum(1) == 1).float(), [0, 0, 0, 0, 0]),
    "and of three": (lambda z: z[:, :3].prod(1), [1 / 3] * 3 + [0, 0]),
    "majority of three": (lambda z: (z[:, :3].sum(1) > 1).float(), [1 / 3] * 3 + [0, 0]),
}
FIVE = torch.arange(5).repeat_interleave(2).expand(3, 10)  # five strips of 3 x 2 pixels


class Game(nn.Module):
    """Reads from pictures [N, 1, 3, 10] of ones and zeros which strips are shown, and gives the game's worth."""

    def __init__(self, worth):
        super().__init__()
        self.worth, self.rows = worth, []

    def forward(self, x):
        self.rows.append(len(x))
        return self.worth(x[:, 0, 0, ::2])[:, None]


def values(found):
    return found[0, 0, ::2].double()


def bowl(z):
    """A game in which all five players matter, and in each other's company differently."""
    weights = torch.tensor([1.0, -2.0, 0.5, 0.7, 3.0])
    return (z @ weights) + 2 * z[:, 0] * z[:, 1] - z[:, 2] * z[:, 3] * z[:, 4] + (z.sum(1) > 2)


# --- Shapley values ---


@pytest.mark.parametrize("game", GAMES)
def test_exact_values_of_known_games(game):
    worth, expected = GAMES[game]
    net = Game(worth)
    found = attribution.shapley_values(net, torch.ones(1, 1, 3, 10), 0, segments=FIVE)
    torch.testing.assert_close(values(found), torch.tensor(expected).double(), atol=1e-6, rtol=0)
    assert torch.equal(found, found[:, :1].expand_as(found))  # the same for all pixels of a segment
    assert sum(net.rows) == 1 + 2**5  # the picture for its class, and each coalition once


def test_exact_values_are_the_mean_over_all_orders():
    expected = torch.zeros(5)
    for order in itertools.permutations(range(5)):
        z, before = torch.zeros(1, 5), bowl(torch.zeros(1, 5))
        for player in order:
            z[0, player] = 1
            expected[player] += (bowl(z) - before)[0] / math.factorial(5)
            before = bowl(z.clone())
    found = attribution.shapley_values(Game(bowl), torch.ones(1, 1, 3, 10), 0, segments=FIVE)
    torch.testing.assert_close(values(found).float(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("permutations", [1, 2, 5])
def test_few_orders_cost_what_is_said_and_the_sum_holds(permutations, mirrored):
    net, options = Game(bowl), {"segments": FIVE, "mirrored": mirrored, "permutations": permutations}
    found = values(attribution.shapley_values(net, torch.ones(1, 1, 3, 10), 0, **options))
    assert sum(net.rows) == 1 + 2 + permutations * 4
    gain = bowl(torch.ones(1, 5)) - bowl(torch.zeros(1, 5))
    torch.testing.assert_close(found.sum().float(), gain[0], atol=1e-5, rtol=0)


def errors(method, **options):
    """Return the distance from the exact values for thirty seeds."""
    x = torch.ones(1, 1, 3, 10)
    exact = values(attribution.shapley_values(Game(bowl), x, 0, segments=FIVE))
    found = []
    for seed in range(30):
        source = torch.Generator().manual_seed(seed)
        found.append(values(method(Game(bowl), x, 0, segments=FIVE, generator=source, **options)) - exact)
    return torch.stack(found)


def test_random_orders_come_near_the_exact_values():
    few, many = (errors(attribution.shapley_values, permutations=n, mirrored=False) for n in (20, 320))
    assert many.norm(dim=1).mean() < 0.4 * few.norm(dim=1).mean()  # a sixteenth of the variance, a quarter of the error
    assert few.mean(0).norm() < 4 * few.norm(dim=1).mean() / 30**0.5  # and none of it is a bias


def test_a_mirrored_order_is_the_one_before_it_backwards():
    seen = []

    def order_of(z):
        seen.append(z.clone())
        return z.sum(1)

    options = {"segments": FIVE, "permutations": 4, "generator": torch.Generator().manual_seed(3)}
    attribution.shapley_values(Game(order_of), torch.ones(1, 1, 3, 10), 0, **options)
    shown = torch.cat(seen)[3:].view(4, 4, 5)  # behind the picture for its class, none and all
    assert (shown.sum(2) == torch.arange(1, 5)).all()
    assert torch.equal(shown[1], 1 - shown[0].flip(0)) and torch.equal(shown[3], 1 - shown[2].flip(0))
    assert not torch.equal(shown[0], shown[2])


def test_mirrored_orders_and_pairs_are_nearer():
    plain, mirrored = (errors(attribution.shapley_values, permutations=80, mirrored=m) for m in (False, True))
    assert mirrored.norm(dim=1).mean() < 0.9 * plain.norm(dim=1).mean()
    single, paired = (errors(attribution.kernel_shap, samples=80, paired=p) for p in (False, True))
    assert paired.norm(dim=1).mean() < 0.8 * single.norm(dim=1).mean()


# --- KernelSHAP ---


@pytest.mark.parametrize("game", GAMES)
def test_least_squares_with_the_shapley_kernel_on_all_coalitions_gives_shapley_values(game):
    worth, expected = GAMES[game]
    z = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))[1:-1].double()
    size = z.sum(1)
    kernel = torch.tensor([4 / (math.comb(5, int(s)) * s * (5 - s)) for s in size])
    empty, whole = worth(torch.zeros(1, 5)).double(), worth(torch.ones(1, 5)).double()
    # the last player's value is the gain less the others', so there is no constraint left
    a = (z[:, :4] - z[:, 4:]) * kernel.sqrt()[:, None]
    b = (worth(z.float()).double() - empty - z[:, 4] * (whole - empty)) * kernel.sqrt()
    four = torch.linalg.lstsq(a, b, driver="gelsd").solution
    found = torch.cat([four, (whole - empty) - four.sum()])
    torch.testing.assert_close(found, torch.tensor(expected).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("paired", [False, True])
def test_kernel_shap_comes_near_the_exact_values(paired):
    few, many = (errors(attribution.kernel_shap, samples=n, paired=paired) for n in (20, 640))
    assert many.norm(dim=1).mean() < 0.3 * few.norm(dim=1).mean()
    assert many.sum(1).abs().max() < 1e-5  # the sum is right each time


@pytest.mark.parametrize("samples", [7, 8])
def test_kernel_shap_runs_as_many_coalitions_as_were_asked_for(samples):
    seen = []

    def worth(z):
        seen.append(z.clone())
        return z.sum(1)

    attribution.kernel_shap(Game(worth), torch.ones(1, 1, 3, 10), 0, segments=FIVE, samples=samples)
    shown = torch.cat(seen)[3:]
    assert len(shown) == samples and ((shown.sum(1) > 0) & (shown.sum(1) < 5)).all()
    half = samples // 2
    assert torch.equal(shown[-half:], 1 - shown[:half])  # pairs


def test_sizes_are_drawn_as_often_as_the_shapley_kernel_says():
    seen = []

    def worth(z):
        seen.append(z.sum(1))
        return z.sum(1)

    attribution.kernel_shap(Game(worth), torch.ones(1, 1, 3, 10), 0, segments=FIVE, samples=4000, paired=False)
    shares = torch.cat(seen)[3:].long().bincount(minlength=6)[1:5] / 4000
    expected = torch.tensor([1 / 4, 1 / 6, 1 / 6, 1 / 4]) / (5 / 6)  # in proportion to 1 / (s (5 - s))
    torch.testing.assert_close(shares, expected, atol=0.03, rtol=0)  # four times the spread of a share


@pytest.mark.parametrize("method", [attribution.lime, attribution.kernel_shap, attribution.shapley_values])
def test_what_the_baseline_scores_changes_nothing(method):
    x = torch.ones(1, 1, 3, 10)
    expected = method(Game(bowl), x, 0, segments=FIVE)
    torch.testing.assert_close(method(Game(lambda z: bowl(z) + 7), x, 0, segments=FIVE), expected, atol=1e-4, rtol=0)


def test_numbers_that_no_pixel_has_are_no_players():
    net = Game(bowl)
    attribution.shapley_values(net, torch.ones(1, 1, 3, 10), 0, segments=3 * FIVE - 1)
    assert sum(net.rows) == 1 + 2**5


def test_one_segment_gets_all():
    net, x = Tiny().eval(), pictures(2)
    gain = (net(x) - net(torch.zeros_like(x)))[:, 1]
    for method in (attribution.kernel_shap, attribution.shapley_values):
        found = method(net, x, 1, segments=torch.zeros(x.shape[2:], dtype=torch.long))
        torch.testing.assert_close(found, gain[:, None, None].expand_as(found))


# --- LIME ---


@pytest.mark.parametrize(("ridge", "width"), [(1.0, 0.25), (0.0, 0.25), (3.0, 1.0)])
def test_lime_is_the_weighted_regression_of_the_package(ridge, width):
    lime_base = pytest.importorskip("lime.lime_base")
    from sklearn.linear_model import Ridge
    from sklearn.metrics import pairwise_distances

    seen = []

    def worth(z):
        seen.append((z.clone(), bowl(z)))
        return bowl(z)

    options = {"segments": FIVE, "samples": 60, "width": width, "ridge": ridge}
    found = values(attribution.lime(Game(worth), torch.ones(1, 1, 3, 10), 0, **options))
    z, v = (torch.cat(part).double().numpy()[3:] for part in zip(*seen, strict=True))
    assert (z[0] == 1).all()  # the first row of the package is the whole picture, too
    with np.errstate(invalid="ignore"):
        distances = pairwise_distances(z, z[:1], metric="cosine").ravel()
    package = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / width**2)))
    regressor = Ridge(alpha=ridge, fit_intercept=True)
    _, theirs, _, _ = package.explain_instance_with_data(z, v[:, None], distances, 0, 5, "none", regressor)
    expected = [dict(theirs)[j] for j in range(5)]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_lime_of_an_additive_game_is_the_game():
    worth, expected = GAMES["additive"]
    found = attribution.lime(Game(worth), torch.ones(1, 1, 3, 10), 0, segments=FIVE, samples=40, ridge=0)
    torch.testing.assert_close(values(found), torch.tensor(expected).double(), atol=1e-5, rtol=0)


# --- the libraries ---


@pytest.fixture(scope="module")
def photograph_like():
    """A net with random weights, two pictures, eight segments each, and what a hidden one shows."""
    x = pictures(2, 64)
    segments = torch.arange(64).view(8, 8).repeat_interleave(8, 0).repeat_interleave(8, 1) // 8
    return random_net("resnet18"), x, segments, 0.3


def test_exact_values_are_captums(photograph_like):
    captum = pytest.importorskip("captum.attr")
    net, x, segments, baseline = photograph_like
    library = captum.ShapleyValues(net)
    # captum averages over all orders it is given: with four players there are only 24
    four = segments // 2
    expected = library.attribute(
        x, baselines=baseline, target=1, feature_mask=four[None, None], perturbations_per_eval=16
    )
    found = attribution.shapley_values(net, x, 1, segments=four, baseline=baseline)
    torch.testing.assert_close(found, expected[:, 0].detach(), atol=1e-4, rtol=1e-3)


def test_kernel_shap_is_near_captums(photograph_like):
    captum = pytest.importorskip("captum.attr")
    net, x, segments, baseline = photograph_like
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - captum draws from it
    expected = captum.KernelShap(net).attribute(
        x[:1], baselines=baseline, target=1, feature_mask=segments[None, None], n_samples=400, perturbations_per_eval=50
    )
    found = attribution.kernel_shap(net, x[:1], 1, segments=segments, baseline=baseline, samples=400)
    exact = attribution.shapley_values(net, x[:1], 1, segments=segments, baseline=baseline)
    assert (expected[:, 0] - exact).norm() < 0.3 * exact.norm()  # a net with random weights is far from additive
    assert (found - exact).norm() < 0.25 * exact.norm()


def test_exact_values_are_those_of_shap():
    shap = pytest.importorskip("shap")
    game = shap.KernelExplainer(lambda z: bowl(torch.from_numpy(z).float()).numpy(), np.zeros((1, 5)))
    expected = game.shap_values(np.ones((1, 5)), nsamples=2**5, silent=True)[0]
    found = attribution.shapley_values(Game(bowl), torch.ones(1, 1, 3, 10), 0, segments=FIVE)
    np.testing.assert_allclose(values(found).numpy(), expected, atol=1e-6)


# --- segments ---


def smooth(count, size=64):
    """Return pictures of soft spots, in which SLIC finds parts; in noise it does not."""
    return F.interpolate(pictures(count, 8), size=(size, size), mode="bicubic")


def test_superpixels_are_connected_parts_with_numbers_from_zero():
    found = attribution.superpixels(smooth(3)[:, :, :48], 12)
    assert found.shape == (3, 48, 64) and found.dtype == torch.int64
    for one in found:
        numbers = one.unique()
        assert torch.equal(numbers, torch.arange(len(numbers))) and 4 <= len(numbers) <= 24


def test_superpixels_follow_an_edge_and_do_not_ask_for_the_units():
    x = torch.zeros(1, 3, 32, 32)
    x[:, :, :, 13:] = 1
    found = attribution.superpixels(x, 16)
    assert not set(found[0, :, :13].unique().tolist()) & set(found[0, :, 13:].unique().tolist())
    assert torch.equal(found, attribution.superpixels(7 * x - 3, 16))
    grey = attribution.superpixels(x[:, :1], 16)
    assert not set(grey[0, :, :13].unique().tolist()) & set(grey[0, :, 13:].unique().tolist())


def test_a_flat_picture_has_superpixels():
    assert attribution.superpixels(torch.full((1, 3, 32, 32), 2.0), 4).max() >= 1


def test_superpixels_are_made_where_none_are_given():
    net, x = Tiny().eval(), smooth(2)
    made = attribution.superpixels(x, 50)
    torch.testing.assert_close(
        attribution.kernel_shap(net, x, 1, samples=90), attribution.kernel_shap(net, x, 1, samples=90, segments=made)
    )


@pytest.mark.parametrize("make", [np.asarray, torch.Tensor.int, torch.Tensor.bool, lambda s: s * 10 - 7])
def test_all_kinds_of_whole_numbers_are_segments(make):
    net, x, halves = Tiny().eval(), pictures(1), (torch.arange(64) // 32).expand(64, 64)
    expected = attribution.shapley_values(net, x, 1, segments=halves)
    torch.testing.assert_close(attribution.shapley_values(net, x, 1, segments=make(halves)), expected)


def test_pictures_with_other_numbers_of_segments():
    net, x = Tiny().eval(), pictures(2)
    segments = torch.stack([(torch.arange(64) // 32).expand(64, 64), (torch.arange(64) // 10).expand(64, 64)])
    for method in (attribution.kernel_shap, attribution.lime, attribution.shapley_values):
        together = method(net, x, 1, segments=segments)
        alone = [method(net, x[i : i + 1], 1, segments=segments[i]) for i in range(2)]
        torch.testing.assert_close(together, torch.cat(alone))


def test_the_baseline_is_what_a_hidden_segment_shows():
    net, x, halves = Tiny().eval(), pictures(2), (torch.arange(64) // 32).expand(64, 64)
    plain = x.flip(0)
    found = attribution.shapley_values(net, x, 1, segments=halves, baseline=plain)
    left, right = (torch.where(halves == side, x, plain) for side in (0, 1))
    with torch.no_grad():
        whole, none, first, second = (net(z)[:, 1] for z in (x, plain, left, right))
    torch.testing.assert_close(found[:, 0, 0], (first - none + whole - second) / 2)
    torch.testing.assert_close(found[:, 0, -1], (second - none + whole - first) / 2)


def test_a_generator_decides_and_moves_on():
    net, x = Tiny().eval(), smooth(1)
    source = torch.Generator().manual_seed(5)
    first, second = (attribution.kernel_shap(net, x, 1, samples=60, generator=source) for _ in range(2))
    again = attribution.kernel_shap(net, x, 1, samples=60, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first, again) and not torch.equal(first, second)


SEGMENTS = {
    "floats": (torch.zeros(64, 64), TypeError, r"torch.float32; give whole numbers, such as segments.long"),
    "a word": ("slic", TypeError, "a str; give whole numbers"),
    "shape": (torch.zeros(32, 64).long(), ValueError, r"shape \[32, 64\]; give one number for each pixel"),
    "batch": (torch.zeros(3, 64, 64).long(), ValueError, r"shape \[3, 64, 64\]"),
}


@pytest.mark.parametrize("segments", SEGMENTS)
@pytest.mark.parametrize("method", [attribution.lime, attribution.kernel_shap, attribution.shapley_values])
def test_segments_that_cannot_be_used(method, segments):
    given, error, sentence = SEGMENTS[segments]
    with pytest.raises(error, match=sentence):
        method(Tiny(), pictures(2), 1, segments=given)


ARGUMENTS = [
    ("lime", {"samples": 5}, "samples is 5 for 8 segments.*give more samples"),
    ("kernel_shap", {"samples": 8}, "samples is 8 for 8 segments.*give more samples"),
    ("kernel_shap", {"samples": 0}, "samples is 0; give a whole number"),
    ("lime", {"width": 0}, "width is 0; give a number, such as 0.25"),
    ("lime", {"ridge": -1.0}, "ridge is -1.0; give a number, such as 0"),
    ("shapley_values", {"permutations": 0}, "permutations is 0; give a whole number"),
    ("shapley_values", {"segments": (torch.arange(64) // 4).expand(64, 64)}, "16 segments have 65,536 coalitions.*12"),
]


@pytest.mark.parametrize(("method", "options", "sentence"), ARGUMENTS)
def test_arguments_that_cannot_be_used(method, options, sentence):
    eight = {"segments": (torch.arange(64) // 8).expand(64, 64)}
    with pytest.raises(ValueError, match=sentence):
        getattr(attribution, method)(Tiny(), pictures(1), 1, **{**eight, **options})
