"""The scoreboard: scores by hand, every method has its row, nothing is dropped, and a seed fixes every number."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from helpers import attribution
from helpers.course import ROOT
from helpers.data import planted_cues, shapes
from helpers.evaluation import (
    BASELINES,
    CLASS_BLIND,
    METHODS,
    SCORE_NAMES,
    explain,
    methods,
    score_maps,
    score_table,
    summary,
)
from helpers.models import load_classifier
from nets import Tiny, pictures
from test_contract import Odd, assert_same, state
from tools.scoreboard import work_units
from tools.scoreboard.scoreboard import scoreboard
from tools.scoreboard.subjects import SUBJECTS

TOOLS = {"full_gradients", "gradient_cams", "occluded_logits", "pixel_map", "superpixels", "upsample"}  # no methods
EXACT = {"shapley_values"}  # what kernel_shap comes near to, with far fewer passes
ON_TOKENS = {"attention_rollout", "attention_relevance"}  # for transformers alone
DEAR = (
    *("occlusion", "rise", "lime", "kernel_shap", "smooth_grad", "var_grad", "integrated_gradients", "gradient_shap"),
    "extremal_perturbation",
)
LAYER = "act2"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def masks(count, size=32):
    """Object in the upper left, distractor in the lower right, bool [count, size, size] each."""
    objects, distractors = np.zeros((2, count, size, size), bool)
    objects[:, 2:14, 2:14], distractors[:, 18:30, 18:30] = True, True
    return objects, distractors


def board_of(net, x, target=0, *, layer=LAYER, given=None, **options):
    return scoreboard(net, x, target, *(given or masks(len(x), x.shape[-1])), layer=layer, **options)


@pytest.fixture
def few(monkeypatch):
    """Rows with few passes."""
    squares = torch.arange(16).view(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)  # in 32 x 32 pixels
    coalitions = {"samples": 20, "segments": squares}
    small = {
        "rise": {"samples": 6},
        "occlusion": {"patch": 16},
        "lime": coalitions,
        "kernel_shap": coalitions,
        "integrated_gradients": {"steps": 3},
        "extremal_perturbation": {"steps": 2, "cells": 4},
    }
    for name in DEAR:
        options, method = small.get(name, {"samples": 3}), getattr(attribution, name)
        picture = name in ("rise", "occlusion", "lime", "kernel_shap", "extremal_perturbation")
        make = methods._picture if picture else methods._pixels
        how = {} if picture else {"how": "max_abs" if name in ("smooth_grad", "var_grad") else "sum"}
        row = make(method, "few", "few", noisy=METHODS[name].noisy, **how, **options)
        monkeypatch.setitem(METHODS, name, row)
        monkeypatch.setitem(methods.METHODS_AND_BASELINES, name, row)


# --- score ---


def test_scores_by_hand():
    maps = torch.tensor([[[4.0, 1, 0], [3, -9, 2], [0, 0, 0]], [[-1, -1, -1], [-1, -1, -1], [-1, -2, -1]]])
    objects = torch.tensor([[[1, 1, 0], [0, 0, 0], [0, 0, 0]]]).bool().expand(2, 3, 3)
    distractors = torch.tensor([[[0, 0, 0], [0, 0, 1], [0, 0, 1]]]).bool().expand(2, 3, 3)
    got = score_maps(maps, objects, distractors)
    assert list(got) == [*SCORE_NAMES, "constant"] and all(values.shape == (2,) for values in got.values())
    assert got["mass"][0] == pytest.approx(5 / 10) and got["distractor"][0] == pytest.approx(2 / 10)
    assert got["rank"].tolist() == pytest.approx([1 / 2, 2 / 8])  # 4 is inside, 3 is not; then a guess among eight
    assert got["pointing"].tolist() == pytest.approx([1, 2 / 8])
    assert got["mass"].isnan().tolist() == got["distractor"].isnan().tolist() == [False, True]  # nowhere positive
    assert got["constant"].tolist() == [0, 0]
    flat = score_maps(torch.ones(1, 3, 3), objects[:1], distractors[:1])
    assert flat["constant"] == 1 and flat["mass"] == flat["rank"] == flat["pointing"] == pytest.approx(2 / 9)


def test_one_points_at_an_outline_filled_or_as_given():
    ring = torch.zeros(1, 7, 7, dtype=torch.bool)
    ring[0, 1:6, 1:6], ring[0, 2:5, 2:5] = True, False
    peak, aside = torch.zeros(1, 7, 7), ~ring & (torch.arange(7) == 6)
    peak[0, 3, 3] = 1
    assert score_maps(peak, ring, aside)["pointing"] == 1 and score_maps(peak, ring, aside)["mass"] == 0
    assert score_maps(peak, ring, aside, outlines=ring)["pointing"] == 0
    assert score_maps(peak, ring.numpy(), aside.numpy())["pointing"] == 1


def test_masks_that_do_not_fit():
    objects, distractors = masks(2, 8)
    with pytest.raises(ValueError, match=r"shape \[2, 4, 4\]"):
        score_maps(torch.rand(2, 4, 4), objects, distractors)
    with pytest.raises(TypeError, match="bool"):
        score_maps(torch.rand(2, 8, 8), objects.astype(float), distractors)


# --- rows ---


def test_every_method_of_the_course_has_a_row_and_no_other():
    assert set(METHODS) == set(attribution.__all__) - TOOLS - EXACT
    assert list(BASELINES) == ["random", "centred Gaussian", "|x|", "Sobel", "mean of maps"]
    assert not set(METHODS) & set(BASELINES) and set(CLASS_BLIND) < set(METHODS)


def test_each_row_is_the_method_it_names(few):
    net, x, y = Tiny().eval(), pictures(2, 32), torch.tensor([1, 3])
    for name in (*METHODS, *BASELINES):
        if name in ON_TOKENS:
            with pytest.raises(ValueError, match="attention"):
                explain(name, net, x, y, layer=LAYER)
            continue
        maps = explain(name, net, x, y, layer=LAYER, generator=seeded(4))
        assert maps.shape == (2, 32, 32) and not maps.requires_grad and maps.isfinite().all(), name
    sums = attribution.gradient_x_input(net, x, y).sum(1)
    torch.testing.assert_close(explain("gradient_x_input", net, x, y, layer=LAYER), sums)
    largest = attribution.guided_backprop(net, x, y).abs().amax(1)
    torch.testing.assert_close(explain("guided_backprop", net, x, y, layer=LAYER), largest)
    smooth = attribution.smooth_grad(net, x, y, samples=3, generator=seeded(4)).abs().amax(1)
    torch.testing.assert_close(explain("smooth_grad", net, x, y, layer=LAYER, generator=seeded(4)), smooth)
    torch.testing.assert_close(explain("lrp", net, x, y, layer=LAYER), attribution.lrp(net, x, y, rule="gamma").sum(1))
    signed = attribution.cam(net, x, y, layer=LAYER)
    assert (signed < 0).any()
    torch.testing.assert_close(explain("cam", net, x, y, layer=LAYER), signed)
    torch.testing.assert_close(explain("deep_lift", net, x, y, layer=LAYER), attribution.deep_lift(net, x, y).sum(1))
    for name in set(METHODS) - {*CLASS_BLIND, *ON_TOKENS}:
        other = explain(name, net, x, 0, layer=LAYER, generator=seeded(4))
        assert not torch.equal(explain(name, net, x, 2, layer=LAYER, generator=seeded(4)), other), name


def test_the_passes_that_the_table_names(monkeypatch):
    net, plain, counted = Tiny().eval(), nn.Conv2d._conv_forward, []
    x = shapes.preprocess(planted_cues.planted(1, 71).images)  # noise would have no superpixels to speak of

    def noted(self, given, *rest):
        counted.append(len(given) if given.shape[1] == 3 else 0)  # the layer that takes the picture
        return plain(self, given, *rest)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", noted)
    for name, row in (METHODS | BASELINES).items():
        counted.clear()
        if name in ON_TOKENS:
            continue
        explain(name, net, x, 1, layer=LAYER)
        if name not in ("lrp", "deep_lift"):  # their rules run each layer again within one pass
            assert sum(counted) == int(row.forward.replace("K + 5", "13").removesuffix(", head K")), name


def test_what_explain_refuses():
    with pytest.raises(ValueError, match="no method 'gradcam'; there are gradient, "):
        explain("gradcam", Tiny(), pictures(1, 32), layer=LAYER)
    vgg = load_classifier("shapes_vgg")
    with pytest.raises(ValueError, match="no class activation map"):
        explain("cam", vgg.model, torch.rand(1, 3, 128, 128), 0, layer=vgg.layer)


# --- the board ---


def test_batches_and_their_order_change_nothing(few, monkeypatch):
    net, x, y = Tiny().eval(), pictures(5, 32), torch.tensor([0, 1, 2, 3, 4])
    whole = board_of(net, x, y)
    monkeypatch.setattr(work_units, "BATCH", 2)
    parts = board_of(net, x, y, methods=[*reversed(METHODS), *BASELINES])
    assert set(whole) == set(parts) == {*METHODS, *BASELINES}
    for name in whole:
        for key in whole[name]:
            one, other = whole[name][key], parts[name][key]
            torch.testing.assert_close(one, other, rtol=0, atol=1e-2, equal_nan=True, msg=f"{name} {key}")
    first = board_of(net, x[:2], y[:2], methods=["grad_cam", "smooth_grad", "rise", "random"])
    for name, scores in first.items():  # the noise of a picture does not depend on how many follow
        torch.testing.assert_close(scores["mass"], whole[name]["mass"][:2], rtol=0, atol=1e-4)


def test_a_picture_has_noise_of_its_own_whatever_stands_beside_it(few, monkeypatch):
    noisy = [name for name, row in (METHODS | BASELINES).items() if row.noisy]
    drawn = {"rise", "lime", "kernel_shap", "smooth_grad", "var_grad", "gradient_shap", "extremal_perturbation"}
    assert set(noisy) == drawn | {"random"}
    net, x = Tiny().eval(), pictures(1, 32).expand(5, -1, -1, -1)  # one picture five times
    whole = board_of(net, x, 2, methods=noisy)
    first = board_of(net, x[:3], 2, methods=noisy)
    other = board_of(net, x, 2, methods=noisy, seed=1)
    monkeypatch.setattr(work_units, "BATCH", 2)
    cut = board_of(net, x, 2, methods=noisy)
    for name in noisy:
        mass = whole[name]["mass"]
        assert len(mass.unique()) == 5, name
        assert torch.equal(mass, cut[name]["mass"]) and torch.equal(mass[:3], first[name]["mass"]), name
        assert not set(mass.tolist()) & set(other[name]["mass"].tolist()), name  # nor that of a neighbour


def test_torch_has_as_many_threads_as_were_given_and_then_as_before(monkeypatch):
    seen, before = [], torch.get_num_threads()
    count = methods.Method(
        lambda model, x, *rest: seen.append(torch.get_num_threads()) or torch.zeros(len(x), *x.shape[2:])
    )
    monkeypatch.setitem(methods.METHODS_AND_BASELINES, "gradient", count)
    board_of(Tiny(), pictures(2, 32), methods=["gradient"], threads=before + 1)
    board_of(Tiny(), pictures(2, 32), methods=["gradient"])
    assert seen == [before + 1, before] and torch.get_num_threads() == before


def test_the_seed_fixes_everything(few):
    net, x = Tiny().eval(), pictures(3, 32)
    one, same, other = (board_of(net, x, 2, seed=seed) for seed in (1, 1, 2))
    for name, row in (METHODS | BASELINES).items():
        for key in SCORE_NAMES:
            assert torch.equal(one[name][key].nan_to_num(-1), same[name][key].nan_to_num(-1)), (name, key)
        assert torch.equal(*(board[name]["mass"].nan_to_num(-1) for board in (one, other))) != row.noisy, name
    noise = explain("random", net, x, layer=LAYER)
    assert not torch.equal(noise[0], noise[1])


def test_the_model_is_left_as_it_was(few):
    net = Odd()
    before = state(net)
    with torch.no_grad():
        board_of(net, pictures(2, 32), 1, layer="act2")
    assert_same(before, state(net))


def test_a_row_without_an_answer_stays_and_says_so():
    vgg, drawn = load_classifier("shapes_vgg"), planted_cues.planted(2, 71)
    x, y = shapes.preprocess(drawn.images), torch.from_numpy(drawn.labels)
    options = {"layer": vgg.layer, "given": (drawn.objects, drawn.distractors), "methods": ["cam", "grad_cam"]}
    board = board_of(vgg.model, x, y, **options)
    assert all(values.isnan().all() and values.shape == (2,) for values in board["cam"].values())
    assert not any(values.isnan().any() for values in board["grad_cam"].values())
    lines = score_table(board).splitlines()
    assert "| cam (no such map) | 1 | 0 | - | - | - | - | 0 | 0 |" in lines and lines[-1].startswith("| grad_cam | 1 |")
    assert np.isnan(summary(board)["cam"]["mass"]).all()


def test_one_picture_without_an_answer_does_not_cost_the_others_theirs():
    net, x = Tiny().eval(), pictures(4, 32)
    with torch.no_grad():
        net.fc.bias.zero_()
        scores = net(x)[:, 0]
        net.fc.bias -= scores.sort().values[1:3].mean()  # two scores below zero: no Ablation-CAM
        below = net(x)[:, 0] < 0
    board = board_of(net, x, 0, methods=["ablation_cam", "gradient"])
    assert below.sum() == 2 and torch.equal(board["ablation_cam"]["rank"].isnan(), below)
    assert not board["gradient"]["rank"].isnan().any()
    assert "ablation_cam (no map of 2 of 4 pictures)" in score_table(board)


def test_maps_that_say_nothing_are_counted(monkeypatch):
    zeros = methods.Method(lambda model, x, target, layer, generator: torch.zeros(len(x), *x.shape[2:]))
    monkeypatch.setitem(methods.METHODS_AND_BASELINES, "gradient", zeros)
    board = board_of(Tiny(), pictures(3, 32), methods=["gradient"])
    assert board["gradient"]["mass"].isnan().all() and board["gradient"]["constant"].tolist() == [1, 1, 1]
    assert score_table(board).splitlines()[-1] == "| gradient | 0 | 0 | - | 14.1 ± 0.0 | 14.1 ± 0.0 | - | 3 | 3 |"


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"methods": ["grad_cam", "gradcam"]}, ValueError, "no row 'gradcam'"),
        ({"layer": "layer9"}, ValueError, "no layer 'layer9'"),
        ({"target": 99}, ValueError, "Class 99 is out of range"),
        ({"target": lambda logits: logits}, ValueError, "one score for each picture"),
        ({"given": masks(3)}, ValueError, "shape"),
        ({"x": pictures(2, 32)[0]}, ValueError, r"give \[N, C, H, W\]"),
        ({"seed": -1}, ValueError, "seed is -1; give a whole number, 0 or more"),
        ({"seed": 0.5}, ValueError, "seed is 0.5; give a whole number"),
        ({"threads": 0}, ValueError, "threads is 0; give a whole number, 1 or more"),
    ],
)
def test_a_wrong_target_is_an_error_and_no_gap(options, error, words):
    options = {"net": Tiny(), "x": pictures(2, 32), "methods": ["grad_cam"], "given": masks(2), **options}
    with pytest.raises(error, match=words):
        board_of(**options)


def test_a_method_that_is_broken_falls(monkeypatch):
    net, drawn = load_classifier("shapes_resnet"), planted_cues.planted(6, 71)
    x, y = shapes.preprocess(drawn.images), torch.from_numpy(drawn.labels)
    options = {"layer": net.layer, "given": (drawn.objects, drawn.distractors)}
    right = board_of(net.model, x, y, methods=["grad_cam", "Sobel"], **options)
    row = METHODS["grad_cam"]
    flipped = row._replace(maps=lambda *inputs: row.maps(*inputs).flip(1, 2))
    monkeypatch.setitem(methods.METHODS_AND_BASELINES, "grad_cam", flipped)
    wrong = board_of(net.model, x, y, methods=["grad_cam"], **options)
    for key in ("mass", "rank", "pointing"):
        assert right["grad_cam"][key].mean() > right["Sobel"][key].mean() + 0.1, key
        assert wrong["grad_cam"][key].mean() < right["grad_cam"][key].mean() - 0.2, key
    assert right["grad_cam"]["distractor"].mean() < 0.05
    monkeypatch.setitem(methods.METHODS_AND_BASELINES, "grad_cam", row)
    asked_other = board_of(net.model, x, torch.from_numpy(drawn.others), methods=["grad_cam"], **options)
    assert asked_other["grad_cam"]["distractor"].mean() > 0.2 > asked_other["grad_cam"]["mass"].mean()


def test_on_the_net_that_reads_the_watermark_the_truth_is_known():
    reader, drawn = load_classifier("shapes_watermark"), planted_cues.planted(40, 71, watermark=0.1)
    with torch.no_grad():
        said = reader.model(shapes.preprocess(drawn.images)).argmax(1).numpy()
    assert (said == drawn.tags).mean() > 0.95 and (said == drawn.labels).mean() < 0.3
    few = [drawn.watermarks[:8], drawn.objects[:8]]
    x, tags = shapes.preprocess(drawn.images[:8]), torch.from_numpy(drawn.tags[:8])
    board = board_of(reader.model, x, tags, layer=reader.layer, given=few, methods=["lrp", "grad_cam"])
    assert board["lrp"]["mass"].mean() > 0.7 > 0.3 > board["grad_cam"]["mass"].mean()


def test_the_table_says_what_the_board_holds(few):
    net, x = Tiny().eval(), pictures(4, 32)
    board = board_of(net, x, methods=["gradient", "lrp", "|x|"])
    head, rule, *lines = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in score_table(board).splitlines()
    ]
    assert head[3:7] == list(SCORE_NAMES.values()) and len({len(line) for line in (head, rule, *lines)}) == 1
    assert [line[0] for line in lines] == ["gradient", "lrp", "*\\|x\\|*"]
    for line, (name, means) in zip(lines, summary(board).items(), strict=True):
        for cell, key in zip(line[3:7], SCORE_NAMES, strict=True):
            mean, half = (float(part) / 100 for part in cell.split(" ± "))
            values = board[name][key]
            spread = 3.182446 * values.std().item() / len(values) ** 0.5  # Student's t with three degrees of freedom
            assert (mean, half) == pytest.approx((values.mean().item(), spread), abs=6e-4)
            assert means[key] == pytest.approx((values.mean().item(), spread), abs=1e-5)
    single = score_table({"gradient": {key: values[:1] for key, values in board["gradient"].items()}})
    assert "±" not in single and "nan" not in single


def test_the_shipped_page_has_every_row_in_every_table():
    text = (ROOT / "docs" / "scoreboard.md").read_text(encoding="utf-8")
    found = {part.splitlines()[0]: part for part in re.split(r"^## ", text, flags=re.M)[1:]}
    assert list(found) == [subject.title for subject in SUBJECTS.values()]
    for part in found.values():
        first, *_, last = re.split(r"\n\n(?=\| method)", part)[1:]
        rows = [re.findall(r"^\| (.+?) \| ", table.replace("\\|", "¦"), re.M)[2:] for table in (first, last)]
        names = [{re.sub(r" \(no .*\)$", "", row).strip("*").replace("¦", "|") for row in each} for each in rows]
        assert {name for name in names[0] if " on these " not in name} == {*METHODS, *BASELINES}
        without = {re.sub(r" \(no .*\)$", "", row) for row in rows[0] if "(no such map)" in row}
        assert names[1] == {*METHODS, *BASELINES} - without and without
    assert all((ROOT / "docs" / path).is_file() for path in re.findall(r"\]\(([^)]+\.png)\)", text))
