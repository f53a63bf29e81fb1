"""Concepts: vectors, TCAV and its null, NMF, dissection, on planted activations; counterfactual scenes."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from helpers import evaluation
from helpers.data import counterfactuals, shapes
from helpers.hooks import capture, run_to
from helpers.models import load_classifier
from nets import Tiny, pictures
from test_contract import Odd, assert_same, state


def rows(count, channels=12, planted=None, seed=0, size=()):
    """Random activations, not negative, of which channel 3 is higher where a concept is planted."""
    values = torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(seed))
    if planted is not None:
        values[:, 3] += planted
    return values


def net_of(weights):
    """A net whose layer "0" gives the pictures as they are, and whose logits are linear in them."""
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(weights.shape[1], len(weights), bias=False))
    net[2].weight.data = weights
    return net.eval()


# --- concept vectors ---


@pytest.mark.parametrize("size", [(), (4, 5)], ids=["rows", "maps"])
def test_the_vector_finds_a_planted_direction(size):
    found = evaluation.concept_vectors(rows(60, planted=1.0, size=size), rows(60, seed=1, size=size))
    assert found.directions.shape == (1, 12) and found.directions[0].argmax() == 3
    assert found.directions[0, 3] > 0.9 and found.accuracy[0] > 0.9
    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(1))


def test_the_other_way_round_it_points_the_other_way():
    here, there = rows(60, planted=1.0), rows(60, seed=1)
    one, other = evaluation.concept_vectors(here, there), evaluation.concept_vectors(there, here)
    torch.testing.assert_close(one.directions, -other.directions, rtol=1e-3, atol=1e-3)


def test_without_a_concept_the_held_out_accuracy_is_chance():
    sets = [rows(60, seed=10 + n) for n in range(20)]
    assert abs(evaluation.concept_vectors(rows(60), sets).accuracy.mean() - 0.5) < 0.1


def test_all_values_as_they_are():
    here, there = rows(40, planted=0, size=(3, 3)), rows(40, seed=1, size=(3, 3))
    here[:, 3, 0, 2] += 2
    found = evaluation.concept_vectors(here, [there, there], pooled=False)
    assert found.directions.shape == (2, 12, 3, 3) and found.directions[0].argmax() == (3 * 9 + 2)
    pooled = evaluation.concept_vectors(here, there)
    assert pooled.directions.shape == (1, 12)


def test_fewer_rows_than_values_give_the_same_as_a_fit_of_all_values():
    from sklearn.linear_model import LogisticRegression

    here, there = rows(12, 50, planted=0.5), rows(12, 50, seed=1)
    found = evaluation.concept_vectors(here, there, held_out=0.25, seed=3)
    order = torch.from_numpy(np.random.default_rng(3).permutation(12))[3:]
    x = torch.cat([here[order], there[order]])
    x = (x - x.mean(0)) / (x - x.mean(0)).square().mean().sqrt()
    whole = LogisticRegression(C=1 / (0.01 * 18), max_iter=5000, tol=1e-8).fit(x.numpy(), [1] * 9 + [0] * 9)
    w = torch.from_numpy(whole.coef_[0]).float()
    assert found.directions[0] @ w / w.norm() > 0.999


def test_pairs_are_held_out_together():
    base = rows(80, 30)
    moved = base + 0.02 * torch.eye(30)[3]  # a twin of each row, hardly moved: no chance to learn, none to unlearn
    assert 0.4 <= evaluation.concept_vectors(moved, base).accuracy[0] <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], rows(9)), "give a tensor"),
        ((rows(9), rows(9, 5)), "same layer"),
        ((rows(9), []), "same layer"),
        ((rows(2), rows(9)), "too few"),
        ((rows(9) / 0, rows(9)), "NaN or infinite"),
        ((rows(9)[0], rows(9)), "shape"),
    ],
)
def test_concept_vectors_says_what_is_wrong(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        evaluation.concept_vectors(*arguments)


@pytest.mark.parametrize("wrong", [{"held_out": 0}, {"held_out": 1}, {"penalty": 0}])
def test_shares_and_penalties_must_make_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        evaluation.concept_vectors(rows(20), rows(20), **wrong)


# --- TCAV ---


def test_the_score_is_known_for_a_linear_net():
    weights = torch.zeros(2, 3 * 4)
    weights[0, :4], weights[1, :4] = 1.0, -1.0  # class 0 likes channel 0, class 1 does not
    net, x = net_of(weights), torch.rand(5, 3, 2, 2)
    directions = torch.eye(3)[[0, 1]]
    assert evaluation.tcav(net, x, 0, directions, layer="0").scores.tolist() == [1.0, 0.0]
    assert evaluation.tcav(net, x, 1, directions, layer="0").scores.tolist() == [0.0, 0.0]
    assert evaluation.tcav(net, x, 1, -directions, layer="0").scores.tolist() == [1.0, 0.0]


def test_the_score_by_hand_pooled_and_flat():
    net, x = Tiny().eval(), pictures(6)
    with capture(net.conv2) as maps:
        y = net(x)
    gradient = maps.gradient(y[:, 2])
    pooled = torch.randn(3, gradient.shape[1])
    flat = torch.randn(3, *gradient.shape[1:])
    by_hand = (torch.einsum("nkij,rk->rn", gradient, pooled) > 0).float().mean(1)
    torch.testing.assert_close(evaluation.tcav(net, x, 2, pooled, layer="conv2").scores, by_hand)
    by_hand = (torch.einsum("nkij,rkij->rn", gradient, flat) > 0).float().mean(1)
    for chunk in (None, 1, 4):
        found = evaluation.tcav(net, x, 2, flat, layer="conv2", chunk=chunk)
        torch.testing.assert_close(found.scores, by_hand)
    wrong = (torch.einsum("nkij,rkij->rn", gradient, -flat) > 0).float().mean(1)  # the sign turned: another score
    assert not torch.allclose(found.scores, wrong) and np.isnan(found.p_value)
    assert found.score == pytest.approx(found.scores.mean().item())


def test_every_picture_may_have_its_own_class():
    net, x, directions = Tiny().eval(), pictures(4), torch.randn(50, Tiny().conv2.out_channels)
    each = [evaluation.tcav(net, x[i : i + 1], c, directions, layer="conv2").scores for i, c in enumerate((0, 3, 1, 3))]
    together = evaluation.tcav(net, x, [0, 3, 1, 3], directions, layer="conv2").scores
    torch.testing.assert_close(together, torch.stack(each).mean(0))


def test_nothing_is_left_behind():
    net, x = Odd(), pictures().requires_grad_()
    before = state(net)
    evaluation.tcav(net, x, 2, torch.randn(2, net.conv2.out_channels), layer="conv2")
    assert_same(before, state(net))
    for wrong in (99, "cat"):
        with pytest.raises((ValueError, TypeError)):
            evaluation.tcav(net, x, wrong, torch.randn(2, net.conv2.out_channels), layer="conv2")
        assert_same(before, state(net))
    assert x.grad is None


def test_tcav_says_what_is_wrong():
    net, x, k = Tiny().eval(), pictures(), Tiny().conv2.out_channels
    with pytest.raises(ValueError, match="The vectors are"):
        evaluation.tcav(net, x, 0, torch.randn(2, k + 1), layer="conv2")
    with pytest.raises(ValueError, match="each null concept against the same sets"):
        evaluation.tcav(net, x, 0, torch.randn(2, k), torch.randn(40, 3, k), layer="conv2")
    with pytest.raises(ValueError, match="give 30 or more"):
        evaluation.tcav(net, x, 0, torch.randn(2, k), torch.randn(29, 2, k), layer="conv2")
    with pytest.raises(ValueError, match="no layer"):
        evaluation.tcav(net, x, 0, torch.randn(2, k), layer="conv9")


def test_null_p_values_are_uniform_and_a_real_concept_stands_out():
    random = torch.Generator().manual_seed(0)
    p = [evaluation.null_p_value(float(s[0]), s[1:]) for s in torch.rand(800, 40, generator=random)]
    p = torch.tensor(p)
    for level in (0.05, 0.2, 0.5, 0.8):
        assert abs((p <= level + 1e-6).float().mean() - level) < 0.04
    skewed = torch.rand(800, 40, generator=random) ** 4  # right whatever the distribution
    p = torch.tensor([evaluation.null_p_value(float(s[0]), s[1:]) for s in skewed])
    assert (p < 0.05).float().mean() < 0.07
    nulls = torch.linspace(0.3, 0.7, 31)
    assert evaluation.null_p_value(1.0, nulls) == evaluation.null_p_value(0.0, nulls) == 1 / 32
    assert evaluation.null_p_value(0.5, nulls) == 1
    assert evaluation.null_p_value(0.7, torch.full((31,), 0.7)) == 1  # all alike: nothing is unusual


def test_null_concepts_go_through_tcav():
    weights = torch.randn(2, 8 * 4, generator=torch.Generator().manual_seed(1))
    weights[0, 12:16] = 9.0  # channel 3
    net, x = net_of(weights), torch.rand(7, 8, 2, 2)
    concept = evaluation.concept_vectors(
        rows(60, 8, planted=1.0, size=(2, 2)), [rows(60, 8, None, n, (2, 2)) for n in (1, 2)]
    )
    nulls = [rows(60, 8, None, 10 + n, (2, 2)) for n in range(39)]
    sets = [rows(60, 8, None, n, (2, 2)) for n in (1, 2)]
    nulls = torch.stack([evaluation.concept_vectors(one, sets).directions for one in nulls])
    found = evaluation.tcav(net, x, 0, concept.directions, nulls, layer="0")
    assert found.score == 1 and found.null_scores.shape == (39,) and 0 < found.null_scores.mean() < 1
    assert found.p_value == evaluation.null_p_value(1.0, found.null_scores)


def test_captum_gives_the_same_scores(tmp_path):
    captum = pytest.importorskip("captum.concept")
    net, x = Tiny().eval(), pictures(8)

    class Given(captum.Classifier):
        def __init__(self):
            pass

        def train_and_eval(self, dataloader, **options):
            return {}

        def weights(self):
            return torch.stack([v.flatten(), -v.flatten()])

        def classes(self):
            return [0, 1]

    with torch.no_grad(), run_to(net, "conv2") as read:
        v = torch.randn(read(x).shape[1:], generator=torch.Generator().manual_seed(0))
    concepts = [captum.Concept(i, name, [x[:2]]) for i, name in enumerate(("concept", "random"))]
    library = captum.TCAV(net, ["conv2"], classifier=Given(), save_path=str(tmp_path))
    for c in range(3):
        theirs = library.interpret(x, [concepts], target=c)["0-1"]["conv2"]["sign_count"][0].item()
        assert evaluation.tcav(net, x, c, v[None], layer="conv2").score == pytest.approx(theirs)


# --- NMF ---


def planted_parts():
    """Maps [30, 9, 4, 4] that are sums of three parts, each with channels and places of its own."""
    directions = torch.zeros(3, 9)
    for r in range(3):
        directions[r, 3 * r : 3 * r + 3] = torch.tensor([1.0, 2.0, 3.0])
    directions = directions / directions.norm(dim=1, keepdim=True)
    amounts = torch.rand(30, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    amounts = amounts * (amounts > 0.5) * torch.tensor([3.0, 2.0, 1.0])[:, None, None]
    return torch.einsum("nrij,rk->nkij", amounts, directions), amounts, directions


def test_nmf_finds_planted_parts_in_the_order_of_their_size():
    maps, amounts, directions = planted_parts()
    found = evaluation.decompose(maps, 3)
    torch.testing.assert_close(found.directions, directions, rtol=0, atol=0.02)
    torch.testing.assert_close(found.maps, amounts, rtol=0, atol=0.1)
    rebuilt = torch.einsum("nrij,rk->nkij", found.maps, found.directions)
    assert (rebuilt - maps).norm() < 0.03 * maps.norm()


def test_parts_of_other_pictures_keep_their_directions():
    maps, amounts, directions = planted_parts()
    again = evaluation.decompose(maps[:7], directions=directions)
    assert torch.equal(again.directions, directions) or torch.allclose(again.directions, directions)
    torch.testing.assert_close(again.maps, amounts[:7], rtol=0, atol=0.02)


def test_decompose_says_what_is_wrong():
    maps, _, directions = planted_parts()
    for wrong, options, message in (
        (maps - 1, {}, "negative"),
        (maps.flatten(2).mean(2), {}, "N, K, h, w"),
        (maps, {"components": 10}, "9 components at most"),
        (maps, {"components": 0}, "components"),
        (maps, {"directions": directions[:, :4]}, "not negative"),
        (maps.numpy(), {}, "give a tensor"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            evaluation.decompose(wrong, **{"components": 3, **options})


# --- dissection ---


def planted_detector():
    random = torch.Generator().manual_seed(0)
    masks = torch.zeros(40, 2, 16, 16, dtype=torch.bool)
    for n in range(40):
        top, left = (int(v) for v in torch.randint(0, 10, (2,), generator=random))
        masks[n, n % 2, top : top + 6, left : left + 6] = True
    maps = torch.rand(40, 5, 16, 16, generator=random)
    maps[:, 2] += masks[:, 1]
    return maps, masks


def test_dissection_finds_a_planted_detector_and_the_null_does_not():
    maps, masks = planted_detector()
    prevalence = masks[:, 1].float().mean().item()
    found = evaluation.dissect(maps, masks, top=prevalence, shuffles=20)
    assert found.iou.shape == (5, 2) and found.null_iou.shape == (20, 5, 2) and found.thresholds.shape == (5,)
    assert found.iou[2, 1] > 0.9 and found.iou[2, 1] == found.iou.max()
    assert found.null_iou[:, 2, 1].max() < 0.5 and found.iou[[0, 1, 3, 4]].max() < 0.2
    turned = evaluation.dissect(-maps, masks, top=prevalence)  # a broken method: the lowest values
    assert turned.iou[2, 1] < 0.1


def test_iou_is_bounded_by_the_share_that_is_let_through():
    maps, masks = planted_detector()
    prevalence = masks[:, 1].float().mean().item()
    found = evaluation.dissect(maps, masks, top=0.2 * prevalence)
    assert found.iou[2, 1] == pytest.approx(0.2, abs=0.01)


def test_maps_are_enlarged_to_the_masks():
    maps = torch.rand(6, 3, 4, 4)
    large = nn.functional.interpolate(maps, size=(16, 16), mode="bilinear", align_corners=False)
    masks = planted_detector()[1][:6]
    torch.testing.assert_close(
        evaluation.dissect(maps, masks, top=0.1).iou, evaluation.dissect(large, masks, top=0.1).iou
    )


def test_dissect_says_what_is_wrong():
    maps, masks = planted_detector()
    for wrong in ((maps, masks.float()), (maps[:3], masks), (maps, masks[:, 0]), (maps.flatten(2).mean(2), masks)):
        with pytest.raises(ValueError, match="the masks"):
            evaluation.dissect(*wrong)
    with pytest.raises(ValueError, match="top"):
        evaluation.dissect(maps, masks, top=0)
    assert torch.equal(evaluation.dissect(maps, masks.numpy()).iou, evaluation.dissect(maps, masks).iou)


# --- counterfactual scenes ---


def test_a_switch_changes_its_ingredient_alone():
    base = counterfactuals.scenes(10, seed=3)
    inside = base.masks
    for switches in ({"texture": "striped"}, {"hue": "red"}):
        other = counterfactuals.scenes(10, seed=3, **switches)
        assert np.array_equal(other.masks, inside)
        far = ~np.stack([cv2.dilate(m.astype(np.uint8), np.ones((5, 5))) for m in inside]).astype(bool)
        assert np.array_equal(base.images[far], other.images[far]) and not np.array_equal(base.images, other.images)
    red = counterfactuals.scenes(10, seed=3, ground="red")
    core = np.stack([cv2.erode(m.astype(np.uint8), np.ones((7, 7))) for m in inside]).astype(bool)
    assert np.array_equal(red.images[core], base.images[core]) and not np.array_equal(red.images, base.images)


def test_holes_and_tips():
    drawn = counterfactuals.scenes(10, seed=3)
    ring = shapes.CATEGORIES.index("ring")
    hole, none = (counterfactuals.scenes(10, seed=3, hole=asked) for asked in (True, False))
    area = [one.masks.sum((1, 2)) for one in (hole, drawn, none)]
    others = np.arange(10) != ring
    assert (area[0] < area[1])[others].all() and (area[1] == area[2])[others].all()
    assert area[0][ring] == area[1][ring] < area[2][ring]
    rounded = counterfactuals.scenes(10, seed=3, rounded=True)
    lost = 1 - rounded.masks.sum((1, 2)) / area[1]
    assert not (rounded.masks & ~drawn.masks)[others].any() or lost.min() > -0.02
    assert lost[shapes.CATEGORIES.index("star")] > 0.05 > abs(lost[shapes.CATEGORIES.index("disc")])


def test_without_the_object_its_place_shows_the_ground():
    there, gone = counterfactuals.pairs("object", 4, seed=2)[::-1]
    assert np.array_equal(there.masks, gone.masks)
    assert (there.images != gone.images).any(-1)[there.masks].mean() > 0.95


@pytest.mark.parametrize("concept", counterfactuals.CONCEPTS)
def test_each_concept_has_a_pair(concept):
    without, with_it = counterfactuals.pairs(concept, 10, seed=1)
    assert np.array_equal(without.labels, with_it.labels)
    assert not np.array_equal(without.images, with_it.images)


def test_the_first_pictures_are_the_same_whatever_the_count_and_another_seed_gives_others():
    few, many = counterfactuals.scenes(3, seed=5), counterfactuals.scenes(6, seed=5)
    assert np.array_equal(few.images, many.images[:3])
    assert not np.array_equal(few.images, counterfactuals.scenes(3, seed=6).images)
    assert counterfactuals.scenes(4, categories=[3]).labels.tolist() == [3] * 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"texture": "dotted"}, "'plain', 'striped'"),
        ({"hue": "pink"}, "'red'"),
        ({"ground": "pink"}, "'red'"),
        ({"seed": -1}, "0 or more"),
        ({"categories": [99]}, "class numbers"),
    ],
)
def test_scenes_say_what_is_wrong(wrong, message):
    with pytest.raises(ValueError, match=message):
        counterfactuals.scenes(2, **wrong)
    with pytest.raises(ValueError, match="'hole'"):
        counterfactuals.pairs("fur", 2)


def test_the_net_of_shapes_knows_these_scenes_and_its_shape_counts():
    net = load_classifier("shapes_resnet").model
    own = {}
    for concept in ("striped", "hole"):
        pair = counterfactuals.pairs(concept, 40, seed=8)
        logits = [net(shapes.preprocess(one.images)).detach() for one in pair]
        rows_, labels = torch.arange(40), torch.from_numpy(pair[0].labels)
        own[concept] = (logits[1] - logits[0])[rows_, labels].abs().mean()
        if concept == "striped":
            assert (logits[0].argmax(1) == labels).float().mean() > 0.9
    assert own["hole"] > 4 * own["striped"]
