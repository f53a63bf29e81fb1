"""The grid pointing game: a map that follows the class finds its cell, one that is blind to it is at chance."""

import pytest
import torch

from helpers import attribution, evaluation
from helpers.data import mosaics
from helpers.models import load_classifier
from nets import Tiny, pictures


def quarters(side=8):
    masks = torch.zeros(4, side, side, dtype=torch.bool)
    for cell in range(4):
        row, column = side // 2 * (cell // 2), side // 2 * (cell % 2)
        masks[cell, row : row + side // 2, column : column + side // 2] = True
    return masks


def test_maps_that_are_right_wrong_and_constant():
    masks = quarters()
    right = evaluation.grid_pointing(masks.float(), masks)
    assert right.share.tolist() == right.hit.tolist() == [1.0] * 4 and right.chance.tolist() == [0.25] * 4
    wrong = evaluation.grid_pointing(masks.float().roll(1, 0), masks)
    assert wrong.share.tolist() == wrong.hit.tolist() == [0.0] * 4
    constant = evaluation.grid_pointing(torch.ones(4, 3, 3), masks)
    assert torch.allclose(constant.share, constant.chance) and torch.allclose(constant.hit, constant.chance)


def test_one_map_for_all_cells_is_at_chance_whatever_it_is():
    """Its shares of the four cells add up to one: that is why the mean over the cells is the control."""
    blind = torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(3)).expand(4, 5, 5)
    found = evaluation.grid_pointing(blind, quarters(16))
    assert found.share.mean().item() == pytest.approx(0.25) and found.hit.mean().item() == pytest.approx(0.25)


def test_a_map_without_a_positive_part_has_no_share():
    assert evaluation.grid_pointing(-torch.ones(4, 2, 2), quarters()).share.isnan().all()


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"maps have shape \[3, 2, 2\] and the masks \[4, 8, 8\]"):
        evaluation.grid_pointing(torch.ones(3, 2, 2), quarters())


def test_the_mean_of_maps_is_what_it_says_and_leaves_the_model():
    net, x = Tiny().train(), pictures(2)
    found = evaluation.mean_of_maps(net, x, layer="conv2")
    assert net.training
    maps = []
    net.eval().conv2.register_forward_hook(lambda module, inputs, output: maps.append(output.detach().clone()))
    net(x)
    torch.testing.assert_close(found, maps[0].mean(1))


def test_cam_finds_the_photographs_of_a_mosaic_and_the_class_blind_map_does_not():
    classifier = load_classifier("efficientnet_lite0")
    mosaic = mosaics(1, seed=1, names=("coffee", "camera", "chelsea", "motorcycle"), side=112)[0]
    x = classifier.uncut(mosaic)
    assert x.shape == (1, 3, 224, 224)
    maps = attribution.cam(classifier.model, x.expand(4, -1, -1, -1), list(mosaic.categories), layer="features")
    found = evaluation.grid_pointing(maps, mosaic.masks)
    assert found.share.mean() > 0.5 and found.hit.mean() >= 0.75
    blind = evaluation.mean_of_maps(classifier.model, x, layer="features").expand(4, -1, -1)
    assert evaluation.grid_pointing(blind, mosaic.masks).share.mean().item() == pytest.approx(0.25)
