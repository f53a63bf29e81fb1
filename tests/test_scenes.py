"""The tiny net that segments drawings and puts boxes around their objects: its truth, its weights, its explanations."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import attribution, evaluation
from helpers.course import DATASETS
from helpers.data import shapes
from helpers.models import ShapesScenes, load_scenes
from tools import make_scenes

SEED = 78  # neither trained on nor reported elsewhere


@pytest.fixture(scope="module")
def drawn():
    return shapes.two(40, SEED, categories=ShapesScenes.SHAPES)


def cells_on(boxes, masks):
    """The cell with the highest score among those that touch a mask [N, H, W]: [N]."""
    touched = nn.functional.max_pool2d(torch.from_numpy(masks)[:, None].float(), 8)[:, 0] > 0
    return boxes[:, 0].masked_fill(~touched, -torch.inf).flatten(1).argmax(1)


def test_it_is_tiny_frozen_and_gives_pixels_and_boxes(drawn):
    assert (DATASETS / "weights" / "shapes_scenes.safetensors").stat().st_size < 150_000
    net = load_scenes()
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    output = net(shapes.preprocess(drawn.images))
    assert output["out"].shape == (40, 5, 128, 128) and output["boxes"].shape == (40, 5, 16, 16)
    named, truth = output["out"].argmax(1), torch.from_numpy(make_scenes.categories_of(drawn))
    assert (named == truth)[truth > 0].float().mean() > 0.7 and (named == truth)[truth == 0].float().mean() > 0.9


def test_boxes_lie_around_the_objects(drawn):
    boxes, overlaps = load_scenes()(shapes.preprocess(drawn.images))["boxes"], []
    for i in (0, 1):
        cell = cells_on(boxes, drawn.masks[:, i])
        rows = torch.arange(len(cell))
        left, up, right, down = boxes.flatten(2)[rows, 1:, cell].T
        x, y = cell % 16 + 0.5, cell // 16 + 0.5
        found = 8 * torch.stack([x - left, y - up, x + right, y + down], 1)
        wanted = torch.from_numpy(make_scenes.boxes_of(drawn.masks[:, i]))
        inner = (torch.minimum(found, wanted)[:, 2:] - torch.maximum(found, wanted)[:, :2]).clamp(min=0).prod(1)
        areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (found, wanted)]
        overlaps.append(inner / (areas[0] + areas[1] - inner))
    assert torch.cat(overlaps).median() > 0.6


def test_boxes_and_categories_of_masks():
    masks = np.zeros((1, 2, 8, 8), bool)
    masks[0, 0, 1:4, 2:7], masks[0, 1, 5, 0] = True, True
    assert make_scenes.boxes_of(masks).tolist() == [[[2, 1, 7, 4], [0, 5, 1, 6]]]
    drawn = shapes.TwoShapes(np.zeros(0), np.array([[4, 0]]), masks)
    assert sorted(set(make_scenes.categories_of(drawn).ravel().tolist())) == [0, 1, 3]


def test_what_is_mirrored_and_transposed_keeps_its_truth(drawn):
    scenes = make_scenes.draw(4, SEED)
    torch.manual_seed(0)
    for _ in range(8):
        changed = make_scenes.augmented(scenes)
        for n in range(4):
            of_each = np.stack([changed.categories[n].numpy() == c for c in (changed.categories[n].unique()[1:])])
            found = {tuple(box) for box in make_scenes.boxes_of(of_each).tolist()}
            assert found == {tuple(box) for box in changed.boxes[n].tolist()}


def test_folding_changes_nothing():
    torch.manual_seed(0)
    net = ShapesScenes(batch_norm=True)
    x = torch.rand(4, 3, 128, 128)
    net.train()(x)  # moves the running statistics
    plain = make_scenes.folded(net.eval())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in plain.modules())
    for name, values in net(x).items():
        torch.testing.assert_close(plain(x)[name], values, rtol=1e-3, atol=1e-3)


def test_a_box_is_explained_by_a_weight_for_each_place_and_not_by_one_for_each_map(drawn):
    net, x = load_scenes(), shapes.preprocess(drawn.images)
    boxes = net(x)["boxes"]
    maps = []
    for i in (0, 1):
        cell = cells_on(boxes, drawn.masks[:, i])
        target = lambda output, cell=cell: output["boxes"][:, 0].flatten(1).gather(1, cell[:, None])[:, 0]  # noqa: E731
        maps.append(attribution.grad_cam(net, x, target, layer="features", relu=False))
        fine = attribution.upsample(attribution.hires_cam(net, x, target, layer="features.5"), 128)
        own, other = (
            evaluation.mass_accuracy(fine, torch.from_numpy(evaluation.hull(drawn.masks[:, k]))) for k in (i, 1 - i)
        )
        assert own.nanmean() > 5 * other.nanmean()
    torch.testing.assert_close(*maps, rtol=1e-3, atol=1e-4)


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("helpers.course.DATASETS", tmp_path)
    with pytest.raises(RuntimeError, match="shapes_scenes.safetensors is missing: .*`make data`"):
        load_scenes()
