"""The pictures of shapes keep their promises, and the networks trained on them look where the shapes are."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from helpers.course import DATASETS
from helpers.data import shapes
from helpers.evaluation import hull
from helpers.models import ShapesResNet, ShapesVGG

SEED = 77  # neither trained on nor reported elsewhere


@pytest.fixture(scope="module")
def single():
    return shapes.one(200, SEED)


@pytest.fixture(scope="module")
def aside():
    return shapes.one(200, SEED, off_centre=True)


@pytest.fixture(scope="module")
def double():
    return shapes.two(90, SEED)


@pytest.fixture(scope="module", params=["shapes_resnet", "shapes_vgg"])
def net(request):
    net = {"shapes_resnet": ShapesResNet, "shapes_vgg": ShapesVGG}[request.param]()
    net.load_state_dict(load_file(DATASETS / "weights" / f"{request.param}.safetensors"))
    return net.eval()


def boxes(masks):
    """First and last row and column of each mask: [N, 4] as top, bottom, left, right."""
    rows, columns = masks.any(2), masks.any(1)
    ends = [(line.argmax(1), masks.shape[1] - 1 - line[:, ::-1].argmax(1)) for line in (rows, columns)]
    return np.stack([*ends[0], *ends[1]], 1)


def peaks(net, images, labels):
    """Where the evidence for each label is strongest: flat pixel numbers [N], and the logits [N, 10]."""
    layer = net.layer4 if isinstance(net, ShapesResNet) else net.features
    with torch.enable_grad():
        kept = []
        handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
        logits = net(shapes.preprocess(images))
        handle.remove()
        asked = logits.gather(1, torch.from_numpy(labels)[:, None]).sum()
        slopes = torch.autograd.grad(asked, kept[0])[0]
    maps = (slopes.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).detach()
    if isinstance(net, ShapesVGG):
        maps = maps.relu()
    return F.interpolate(maps, (128, 128), mode="bilinear").flatten(1).argmax(1).numpy(), logits.detach()


def inside(masks, where):
    return np.take_along_axis(hull(masks).reshape(len(masks), -1), where[:, None], 1)[:, 0]


def test_kinds_and_sizes(single, double):
    assert single.images.shape == (200, 128, 128, 3) and single.images.dtype == np.uint8
    assert single.labels.shape == (200,) and single.labels.dtype == np.int64
    assert single.masks.shape == (200, 128, 128) and single.masks.dtype == bool
    assert double.images.shape == (90, 128, 128, 3) and double.labels.shape == (90, 2)
    assert double.masks.shape == (90, 2, 128, 128) and double.masks.dtype == bool
    assert len(shapes.CATEGORIES) == 10 and len({*shapes.CATEGORIES, *shapes.EXTRA}) == len(shapes.OUTLINES) == 12
    assert len(shapes.one(0).images) == len(shapes.two(0).images) == 0


def test_a_picture_depends_on_seed_and_number_alone(single, double):
    again, pair = shapes.one(3, SEED), shapes.two(2, SEED)
    for now, before in zip((*again, *pair), (*single, *double), strict=True):
        np.testing.assert_array_equal(now, before[: len(now)])
    assert not np.array_equal(again.images, shapes.one(3, SEED + 1).images)
    assert not np.array_equal(again.images, shapes.one(3, SEED, off_centre=True).images)


def test_classes_take_turns(single, double):
    assert np.bincount(single.labels).tolist() == [20] * 10
    assert len(set(map(tuple, double.labels.tolist()))) == 90  # every ordered pair once
    assert shapes.one(4, categories=(3, 7)).labels.tolist() == [3, 7, 3, 7]
    assert shapes.two(3, categories=(3, 7)).labels.tolist() == [[3, 7], [7, 3], [3, 7]]


def test_the_extra_classes_come_only_when_asked_for(single, double):
    assert single.labels.max() == double.labels.max() == 9
    drawn, pairs = shapes.one(60, SEED, categories=(10, 11)), shapes.two(4, SEED, categories=(3, 11))
    assert drawn.labels.tolist() == [10, 11] * 30 and pairs.labels.tolist() == [[3, 11], [11, 3]] * 2
    top, bottom, left, right = boxes(drawn.masks).T
    assert min(top.min(), left.min()) >= 1 and max(bottom.max(), right.max()) <= 126
    assert 0.02 < drawn.masks.mean((1, 2)).min() and drawn.masks.mean((1, 2)).max() < 0.35


def test_an_extra_class_has_an_outline_of_its_own():
    """Turned and mirrored as suits best, at the same area, it covers none of the others."""

    def filled(number, turn, mirrored):
        mask = np.zeros((200, 200), np.uint8)
        lines = [(line.conj() if mirrored else line) * np.exp(1j * turn) for line in shapes.OUTLINES[number]]
        parts = [np.stack([line.real, line.imag], 1) for line in lines]
        for scale, centre in ((50, np.array([100, 100])), (None, None)):
            if scale is None:
                scale = 50 * np.sqrt(8000 / mask.sum())
                centre = 100 - (np.argwhere(mask).mean(0)[::-1] - 100) * scale / 50
                mask[:] = 0
            cv2.fillPoly(mask, [(scale * part + centre).round().astype(np.int32) for part in parts], 1)
        return mask.astype(bool)

    for number in (10, 11):
        here = filled(number, 0, False)
        for other in set(range(12)) - {number}:
            turned = [filled(other, turn, flip) for turn in np.linspace(0, 2 * np.pi, 36) for flip in (False, True)]
            likeness = max((here & one).sum() / (here | one).sum() for one in turned)
            assert likeness < 0.85, (number, other, likeness)


def test_masks_lie_in_the_frame_and_have_sensible_sizes(single, aside, double):
    for masks in (single.masks, aside.masks, double.masks[:, 0], double.masks[:, 1]):
        top, bottom, left, right = boxes(masks).T
        assert min(top.min(), left.min()) >= 1 and max(bottom.max(), right.max()) <= 126
        area = masks.mean((1, 2))
        assert area.min() > 0.01 and area.max() < 0.35
    assert 0.08 < single.masks.mean() < 0.16


def test_masks_follow_the_painted_edges(single):
    """Along the mask's outline the picture changes; along the same outline laid elsewhere it changes less."""
    found = 0
    for image, mask in zip(single.images, single.masks, strict=True):
        blurred = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32)
        change = np.hypot(cv2.Sobel(blurred, -1, 1, 0), cv2.Sobel(blurred, -1, 0, 1)).sum(2)
        rim = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        shifts = [np.roll(rim, shift, (0, 1)) for shift in ((9, 9), (-9, 9), (9, -9), (-9, -9))]
        found += change[rim].mean() > np.mean([change[shifted].mean() for shifted in shifts])
    assert found >= 0.97 * len(single.images)


def test_off_centre_boxes_leave_the_centre_out(single, aside):
    covers = [
        ((top <= 64) & (bottom >= 63) & (left <= 64) & (right >= 63))
        for top, bottom, left, right in (boxes(single.masks).T, boxes(aside.masks).T)
    ]
    assert covers[0].mean() > 0.3 and not covers[1].any()


def test_two_objects_differ_and_keep_apart(double):
    assert (double.labels[:, 0] != double.labels[:, 1]).all()
    assert not (hull(double.masks[:, 0]) & hull(double.masks[:, 1])).any()


def test_colour_tells_nothing_about_the_class(single, aside):
    images, labels, masks = (np.concatenate(parts) for parts in zip(single, aside, strict=True))
    objects = np.stack([image[mask].mean(0) for image, mask in zip(images, masks, strict=True)])
    for values in (objects, images.mean((1, 2))):
        means = np.stack([values[labels == number].mean(0) for number in range(10)])
        assert (np.abs(means - values.mean(0)) < 4 * values.std(0) / np.sqrt(40)).all()


def test_hull_fills_what_is_hollow():
    ring, arrow = shapes.one(1, categories=[5]).masks, shapes.one(1, categories=[8]).masks
    for masks in (ring, arrow):
        filled = hull(masks)
        assert (filled | masks == filled).all() and filled.sum() > 1.15 * masks.sum()
        assert (hull(filled) != filled).mean() < 0.01  # but for the rounding along its edge
        np.testing.assert_array_equal(hull(masks[0]), filled[0])
    assert not hull(np.zeros((4, 5), bool)).any()


def test_preprocess_scales_and_resizes(single):
    batch = shapes.preprocess(single.images[:2])
    assert batch.shape == (2, 3, 128, 128) and batch.dtype == torch.float32
    expected = (single.images[0].transpose(2, 0, 1) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(batch[0], expected, atol=1e-6)
    assert shapes.preprocess(single.images[0]).shape == (1, 3, 128, 128)
    assert shapes.preprocess(np.full((60, 200, 3), 255, np.uint8)).eq(2).all()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: shapes.one(-1), ValueError, "0 or more"),
        (lambda: shapes.one(2, categories=[]), ValueError, "1 or more class numbers"),
        (lambda: shapes.one(2, categories=[12]), ValueError, "from 0 to 11"),
        (lambda: shapes.two(2, categories=[4, 4]), ValueError, "2 or more"),
        (lambda: hull(np.zeros(5, bool)), ValueError, "index it first"),
        (lambda: shapes.preprocess(np.zeros((9, 9, 3), np.float32)), TypeError, "uint8"),
        (lambda: shapes.preprocess(np.zeros((9, 9, 4), np.uint8)), ValueError, "transparency"),
        (lambda: shapes.preprocess(np.zeros((3, 9, 9), np.uint8)), ValueError, "colour channels last"),
        (lambda: shapes.preprocess(np.zeros((9, 9), np.uint8)), ValueError, "RGB"),
    ],
)
def test_wrong_inputs_name_the_cure(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_shipped_sample_is_what_the_generator_draws():
    sheet = cv2.imread(str(DATASETS / "shapes" / "sample.png"))[..., ::-1]
    drawn = np.hstack(shapes.one(10, 5).images)
    gap = np.abs(sheet.astype(int) - drawn)
    assert (gap > 2).mean() < 0.005  # another OpenCV may smooth an edge another way


def test_nets_name_the_shape_and_point_at_it(net, single, aside):
    for pictures in (single, aside):
        where, logits = peaks(net, pictures.images, pictures.labels)
        assert (logits.argmax(1).numpy() == pictures.labels).mean() >= 0.97
        assert inside(pictures.masks, where).mean() >= 0.95


def test_the_map_moves_with_the_question(net, double):
    for asked in (0, 1):
        where, _ = peaks(net, double.images, double.labels[:, asked])
        assert inside(double.masks[:, asked], where).mean() >= 0.9
        assert inside(double.masks[:, 1 - asked], where).mean() <= 0.05


@pytest.mark.parametrize("name", ["shapes_resnet", "shapes_vgg", "shapes_vit"])
def test_weights_are_small_and_say_where_they_come_from(name):
    path = DATASETS / "weights" / f"{name}.safetensors"
    assert path.stat().st_size < 1_000_000
    with safe_open(path, "pt") as weights:
        assert {"trained_on", "recipe", "accuracy"} <= set(weights.metadata())
        kinds = {weights.get_tensor(key).dtype for key in weights.keys()}  # noqa: SIM118 - no mapping
    assert kinds <= {torch.float16, torch.int64}
