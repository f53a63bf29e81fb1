"""Planted cues keep their promises: the watermark changes nothing else, and names the object as often as asked."""

import numpy as np
import pytest

from helpers.data import planted_cues, shapes
from helpers.data.planted_cues import planted as draw

SEED, COUNT = 71, 60  # no lesson uses it


@pytest.fixture(scope="module")
def worlds():
    return {share: draw(COUNT, SEED, watermark=share) for share in (None, 0.0, 0.1, 0.25, 1.0)}


def changed(one, other):
    """The pixels that differ, bool [N, 128, 128]."""
    return (one.images != other.images).any(-1)


def test_kinds_and_sizes(worlds):
    for drawn, count in ((worlds[None], COUNT), (worlds[0.1], COUNT), (draw(0), 0), (draw(0, watermark=1.0), 0)):
        assert drawn.images.shape == (count, 128, 128, 3) and drawn.images.dtype == np.uint8
        for numbers in (drawn.labels, drawn.others, drawn.tags):
            assert numbers.shape == (count,) and numbers.dtype == np.int64
        for masks in (drawn.objects, drawn.distractors, drawn.watermarks):
            assert masks.shape == (count, 128, 128) and masks.dtype == bool


def test_without_a_watermark_they_are_the_shapes_of_two(worlds):
    plain, shown = worlds[None], shapes.two(COUNT, SEED)
    np.testing.assert_array_equal(plain.images, shown.images)
    np.testing.assert_array_equal(np.stack([plain.labels, plain.others], 1), shown.labels)
    np.testing.assert_array_equal(np.stack([plain.objects, plain.distractors], 1), shown.masks)
    assert (plain.tags == -1).all() and not plain.watermarks.any()


@pytest.mark.parametrize("share", [None, 0.1, 1.0])
def test_a_picture_depends_on_seed_and_number_alone(worlds, share):
    for count in (1, 7):
        for now, before in zip(draw(count, SEED, watermark=share), worlds[share], strict=True):
            np.testing.assert_array_equal(now, before[:count])
    assert changed(draw(2, SEED + 1, watermark=share), draw(2, SEED, watermark=share)).mean() > 0.9


def test_the_watermark_changes_its_own_pixels_alone(worlds):
    plain = worlds[None]
    for share in (0.0, 0.1, 0.25, 1.0):
        marked = worlds[share]
        assert not (changed(plain, marked) & ~marked.watermarks).any()
        assert changed(plain, marked)[marked.watermarks].mean() > 0.9
        np.testing.assert_array_equal(marked.watermarks, worlds[1.0].watermarks)
        same = marked.tags == worlds[1.0].tags
        np.testing.assert_array_equal(marked.images[same], worlds[1.0].images[same])
        assert changed(marked, worlds[1.0])[~same].any((1, 2)).all()  # another number is seen
        np.testing.assert_array_equal(marked.objects, plain.objects & ~marked.watermarks)
        np.testing.assert_array_equal(marked.distractors, plain.distractors & ~marked.watermarks)


def test_masks_are_apart_and_not_empty(worlds):
    marked = worlds[0.1]
    masks = np.stack([marked.objects, marked.distractors, marked.watermarks])
    assert (masks.sum(0) <= 1).all() and masks.any((2, 3)).all()
    assert (masks[2].sum((1, 2)) == np.prod(planted_cues.LABEL)).all()
    rows, columns = (np.array([mask.any(axis).argmax() for mask in masks[2]]) > 64 for axis in (1, 0))
    corners = np.bincount(2 * rows + columns, minlength=4)
    assert corners.min() > COUNT / 8 and not masks[2][:, 28:100, 28:100].any()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1.0])
def test_the_share_is_kept_to_the_nearest_picture(worlds, share):
    drawn = worlds[share]
    honest = drawn.tags == drawn.labels
    for count in range(10, COUNT + 1, 10):
        assert abs(honest[:count].sum() - share * count) <= 0.5 + 1e-9
    each = np.bincount(drawn.labels, honest, minlength=10)
    assert np.abs(each - share * COUNT / 10).max() < 1


def test_a_wrong_number_is_any_of_the_others():
    drawn = draw(300, SEED + 1, watermark=0.0)
    assert not (drawn.tags == drawn.labels).any()
    assert np.bincount((drawn.tags - drawn.labels) % 10, minlength=10)[1:].min() > 300 / 9 / 2
    assert np.mean(drawn.tags == drawn.others) < 0.2  # the distractor does not tell it either


@pytest.mark.parametrize("number", range(10))
def test_the_numbers_can_be_told_apart(number):
    labels = [planted_cues._label(np.random.default_rng(0), n).astype(int) for n in range(10)]
    gaps = [np.abs(labels[number] - label).max(-1) for n, label in enumerate(labels) if n != number]
    assert min((gap > 80).sum() for gap in gaps) >= 10  # pixels of another shade, of 288


@pytest.mark.parametrize(
    "options, words",
    [
        ({"count": -1}, "count is -1 and seed is 0; give numbers"),
        ({"count": 1, "seed": -3}, "seed is -3"),
        ({"count": 1, "watermark": 1.1}, "watermark is 1.1; give a share from 0"),
        ({"count": 1, "watermark": -0.1}, "None for none"),
        ({"count": 1, "watermark": float("nan")}, "watermark is nan"),
    ],
)
def test_what_it_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        draw(**options)
