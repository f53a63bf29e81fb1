"""The forest scenes keep their promises: sky, tank and forest do not know of each other, and the counts are exact."""

import numpy as np
import pytest
import torch

from helpers.data import tanks

SEED = 71  # no lesson uses it
COMBINATIONS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.fixture(scope="module")
def fair():
    return tanks.scenes(120, SEED)


@pytest.fixture(scope="module")
def worlds():
    return tanks.counterfactuals(40, SEED)


def counts(drawn):
    """How often each combination of tank and sky occurs."""
    pairs = list(zip(drawn.labels.tolist(), drawn.cloudy.tolist(), strict=True))
    return [pairs.count(pair) for pair in COMBINATIONS]


def changed(one, other):
    """The pixels that differ, bool [N, 64, 64]."""
    return (one != other).any(-1)


def test_kinds_and_sizes(fair, worlds):
    for drawn, shape in ((fair, (120,)), (worlds, (2, 2, 40)), (tanks.scenes(0), (0,))):
        assert drawn.images.shape == (*shape, 64, 64, 3) and drawn.images.dtype == np.uint8
        assert drawn.labels.shape == drawn.cloudy.shape == shape
        assert drawn.labels.dtype == drawn.cloudy.dtype == np.int64
        for mask in (drawn.skies, drawn.tanks, drawn.shadows):
            assert mask.shape == (*shape, 64, 64) and mask.dtype == bool
    assert tanks.counterfactuals(0).images.shape == (2, 2, 0, 64, 64, 3)


def test_a_scene_depends_on_seed_and_number_alone(fair, worlds):
    for count in (1, 2, 7):
        for now, before in zip(tanks.scenes(count, SEED), fair, strict=True):
            np.testing.assert_array_equal(now, before[:count])
    for now, before in zip(tanks.counterfactuals(3, SEED), worlds, strict=True):
        np.testing.assert_array_equal(now, before[:, :, :3])
    assert changed(tanks.scenes(2, SEED + 1).images, fair.images[:2]).mean() > 0.9
    assert changed(fair.images[::2][:-1], fair.images[::2][1:]).mean() > 0.9  # one scene is not like the next


def test_counterfactuals_are_the_same_scenes(fair, worlds):
    for kept, drawn in zip(worlds, fair, strict=True):
        for number in range(40):
            tank, cloudy = fair.labels[number], fair.cloudy[number]
            np.testing.assert_array_equal(kept[tank, cloudy, number], drawn[number])
    for tank, cloudy in COMBINATIONS:
        assert (worlds.labels[tank, cloudy] == tank).all() and (worlds.cloudy[tank, cloudy] == cloudy).all()


def test_the_other_sky_changes_the_sky_alone(worlds):
    for tank in (0, 1):
        sun, clouds = worlds.images[tank]
        sky = worlds.skies[tank, 0]
        assert not (changed(sun, clouds) & ~sky).any()
        assert changed(sun, clouds)[sky].mean() > 0.98
        for mask in (worlds.skies, worlds.tanks, worlds.shadows):
            np.testing.assert_array_equal(*mask[tank])


def test_without_the_tank_all_but_tank_and_shadow_stays(worlds):
    for cloudy in (0, 1):
        empty, full = worlds.images[:, cloudy]
        tank, shadow = worlds.tanks[1, cloudy], worlds.shadows[1, cloudy]
        assert not (changed(empty, full) & ~tank & ~shadow).any()
        assert changed(empty, full)[tank].mean() > 0.98
        assert not (tank & shadow).any() and not (tank & worlds.skies[1, cloudy]).any()
        np.testing.assert_array_equal(*worlds.skies[:, cloudy])
        assert not worlds.tanks[0].any() and not worlds.shadows[0].any()


def test_masks_have_sensible_sizes_and_places(fair):
    tank = fair.tanks[fair.labels == 1]
    assert 0.055 < tank.mean() < 0.10 and tank.mean((1, 2)).min() > 0.025
    assert 0.25 < fair.skies.mean() < 0.40 and fair.skies.mean((1, 2)).min() > 0.15
    assert fair.skies[:, :8].mean() > 0.9 and not fair.skies[:, 36:].any()
    everywhere = tank.mean(0)
    assert everywhere.max() < 0.75 and (everywhere[40:58] > 0).mean() > 0.9  # no place gives it away


def test_the_tank_is_camouflaged(fair):
    """Its mean colour lies among those of patches of ground, and brightness does not tell the classes apart."""
    ground = fair.images[:, 40:].mean((1, 2))
    empty, full = ground[fair.labels == 0], ground[fair.labels == 1]
    assert (np.abs(empty.mean(0) - full.mean(0)) < 12).all()
    own = np.stack([image[mask].mean(0) for image, mask in zip(fair.images[1::2], fair.tanks[1::2], strict=True)])
    assert (np.abs(own.mean(0) - full.mean(0)) < 45).all()


def test_the_two_skies_look_different(fair):
    """The sun's sky is blue, the clouds' is grey: one number per picture tells them apart."""
    blue = np.array([np.ptp(image[sky].mean(0)) for image, sky in zip(fair.images, fair.skies, strict=True)])
    assert blue[fair.cloudy == 0].min() > blue[fair.cloudy == 1].max() + 10


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        (0.5, [10, 10, 10, 10]),
        (1, [20, 0, 0, 20]),
        (0, [0, 20, 20, 0]),
        (0.75, [15, 5, 5, 15]),
        (0.95, [19, 1, 1, 19]),
        (0.9, [18, 2, 2, 18]),
        (0.2, [4, 16, 16, 4]),
        (0.974, [19, 1, 1, 19]),  # 19.48 of 20
        (0.976, [20, 0, 0, 20]),
    ],
)
def test_counts_are_exact(bias, expected):
    assert counts(tanks.scenes(40, SEED, bias=bias)) == expected


def test_every_start_of_the_set_keeps_the_share():
    drawn = tanks.scenes(100, SEED, bias=0.9)
    for label in (0, 1):
        right = (drawn.cloudy == drawn.labels)[drawn.labels == label]
        gap = np.cumsum(right) - 0.9 * np.arange(1, 51)
        assert np.abs(gap).max() <= 0.5 + 1e-6


def test_the_bias_changes_skies_alone(fair):
    for bias in (0, 0.8, 1):
        other = tanks.scenes(24, SEED, bias=bias)
        np.testing.assert_array_equal(other.labels, fair.labels[:24])
        np.testing.assert_array_equal(other.tanks, fair.tanks[:24])
        swapped = other.cloudy != fair.cloudy[:24]
        where = changed(other.images, fair.images[:24])
        assert not where[~swapped].any() and not (where & ~other.skies).any() and swapped.any()


def test_preprocess_scales(fair):
    batch = tanks.preprocess(fair.images[:2])
    assert batch.shape == (2, 3, 64, 64) and batch.dtype == torch.float32 and batch.is_contiguous()
    np.testing.assert_allclose(batch[0], (fair.images[0].transpose(2, 0, 1) / 255 - 0.5) / 0.25, atol=1e-6)
    assert tanks.preprocess(fair.images[0]).shape == (1, 3, 64, 64)
    assert tanks.preprocess(fair.images[:0]).shape == (0, 3, 64, 64)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: tanks.scenes(-1), ValueError, "0 or more"),
        (lambda: tanks.scenes(2, -1), ValueError, "0 or more"),
        (lambda: tanks.counterfactuals(-1), ValueError, "0 or more"),
        (lambda: tanks.scenes(2, bias=1.01), ValueError, "from 0"),
        (lambda: tanks.scenes(2, bias=-0.01), ValueError, "from 0"),
        (lambda: tanks.scenes(2, bias=float("nan")), ValueError, "from 0"),
        (lambda: tanks.preprocess(np.zeros((64, 64, 3), np.float32)), TypeError, "uint8"),
        (lambda: tanks.preprocess(np.zeros((2, 3, 64, 64), np.uint8)), ValueError, "64, 64, 3"),
        (lambda: tanks.preprocess(np.zeros((96, 96, 3), np.uint8)), ValueError, "resize"),
        (lambda: tanks.preprocess(np.zeros((2, 2, 5, 64, 64, 3), np.uint8)), ValueError, "one sky"),
    ],
)
def test_wrong_inputs_name_the_cure(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
