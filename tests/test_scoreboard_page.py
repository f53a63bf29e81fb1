"""From scores to the page: scenes, intervals, differences and places, by hand and on scores that are made up."""

import numpy as np
import pytest
import torch

from helpers.data.planted_cues import planted
from helpers.evaluation import BASELINES, METHODS
from helpers.models import load_classifier
from tools.scoreboard import page, statistics
from tools.scoreboard.subjects import CELLS, SUBJECTS, numbers_of

KEYS = ("mass", "rank", "pointing", "distractor", "constant")


def scores(values):
    return {key: torch.tensor(values) for key in KEYS}


def test_questions_of_a_scene_are_averaged_and_both_must_be_right():
    board = statistics.by_scene({"a": scores([1.0, 0.0, 1.0, 1.0, torch.nan, 1.0])}, 2)
    assert board["a"]["pointing"].nan_to_num(-1).tolist() == [0.5, 1.0, -1.0]
    assert board["a"]["both"].nan_to_num(-1).tolist() == [0.0, 1.0, -1.0]  # a question without a map: no score


def test_a_map_that_knows_no_class_is_seldom_right_for_both():
    one = torch.tensor([1.0, 0.0] * 20)  # it points at the first object in each scene, whichever is asked for
    board = statistics.by_scene({"blind": {key: one for key in KEYS}}, 2)
    assert board["blind"]["pointing"].mean() == 0.5 and board["blind"]["both"].sum() == 0


def test_scenes_that_a_row_refuses_are_left_out_for_all_rows():
    gap = torch.nan
    board = {"a": scores([1.0, gap, 0.0]), "b": scores([0.5, 0.5, 0.5]), "none": scores([gap, gap, gap])}
    assert statistics.common(board).tolist() == [True, False, True]


def test_intervals_by_hand():
    mean, low, high = statistics.estimate("pointing", torch.ones(100))
    assert (mean, high) == (1.0, 1.0) and low == pytest.approx(0.9630, abs=1e-4)  # Wilson's, and not 100 to 100
    mean, low, high = statistics.estimate("both", torch.tensor([1.0] * 8 + [0.0] * 2))
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    mean, low, high = statistics.estimate("rank", torch.tensor([0.4, 0.5, 0.6]))
    assert (mean, high - mean) == pytest.approx((0.5, 0.2484), abs=1e-4) and high - mean == pytest.approx(mean - low)
    assert np.isnan(statistics.estimate("rank", torch.full((3,), torch.nan))).all()


def test_differences_are_paired():
    from scipy.stats import ttest_rel

    generator = torch.Generator().manual_seed(0)
    one = torch.rand(30, generator=generator)
    other = one - 0.01 + 0.005 * torch.rand(30, generator=generator)  # far less apart than the scenes are
    gap = statistics.difference(one, other)
    assert gap.p == pytest.approx(ttest_rel(one.double(), other.double()).pvalue, rel=1e-6) and gap.p < 1e-9
    assert gap.mean - gap.half > 0 and gap.scenes == 30
    assert statistics.difference(one, one).p == 1 and np.isnan(statistics.difference(one[:1], other[:1]).p)
    some = one.clone()
    some[:10] = torch.nan
    assert statistics.difference(some, other).scenes == 20


def test_places_cover_what_chance_can_do_and_no_more():
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(3, 60, generator=generator)
    values = {"best": noise[0] + 2, "one": noise[1], "other": noise[2], "worst": noise[0] - 2}
    got = statistics.places(values, [30, 30])
    assert got["best"] == (1, 1) and got["worst"] == (4, 4) and got["one"] == got["other"] == (2, 3)
    turned = statistics.places(values, [30, 30], less=True)
    assert turned["worst"] == (1, 1) and turned["best"] == (4, 4)
    assert set(statistics.places({"a": noise[0], "same": noise[0]}, [60]).values()) == {(1, 1)}


def test_a_draw_takes_as_many_scenes_of_each_network():
    values = {"a": torch.tensor([0.0] * 10 + [1.0] * 90), "b": torch.full((100,), 0.85)}
    assert statistics.places(values, [10, 90])["a"] == (1, 1)  # 0.9 in each draw, whatever is drawn
    assert statistics.places(values, [100])["a"] == (1, 2)


@pytest.mark.parametrize("name", ["shapes_resnet", "efficientnet_lite0", "shapes_watermark"])
def test_what_is_asked_and_where_the_truth_lies(name):
    subject, classifier = SUBJECTS[name], load_classifier(name)
    asked = subject.ask(classifier, 6, 7)
    assert len(asked.x) == len(asked.target) == len(asked.truth) == 6 * subject.questions
    assert asked.truth.dtype == bool and not (asked.truth & asked.distractors).any()
    if subject.questions == 2:  # the same picture, and the roles exchanged
        assert torch.equal(asked.x[::2], asked.x[1::2]) and (asked.target[::2] != asked.target[1::2]).all()
        np.testing.assert_array_equal(asked.truth[::2], asked.distractors[1::2])
    with torch.no_grad():
        logits = classifier.model(asked.x)
    score = logits.gather(1, asked.target[:, None])[:, 0]
    assert (score > logits.median(1).values).all()  # the class that is asked for is seen


def test_the_watermarks_differ_in_size_and_place_alone():
    asked = SUBJECTS["shapes_watermark"].ask(load_classifier("shapes_watermark"), 12, 7)
    assert asked.target.tolist() == 6 * asked.target[:2].tolist()  # the same numbers in each kind
    sizes = asked.truth.sum((1, 2)).reshape(6, 2)
    for row, (place, scale) in zip(sizes, CELLS, strict=True):
        assert (row == 288 * scale**2).all(), place


@pytest.fixture
def made_up():
    """Boards of two networks; every row scores the same but for two."""
    source, boards = torch.Generator().manual_seed(0), {}
    for subject in SUBJECTS.values():
        boards[subject.name] = {}
        for number in (1, 2):
            board = {name: scores([0.5] * 12 * subject.questions) for name in (*METHODS, *BASELINES)}
            board["rise"] = {key: 0.9 + 0.1 * torch.rand(12 * subject.questions, generator=source) for key in KEYS}
            board["lime"]["rank"][0] = torch.nan
            board["cam"] = scores([torch.nan] * 12 * subject.questions)
            boards[subject.name][number] = statistics.by_scene(board, subject.questions)
    return boards


def test_the_page_says_what_the_scores_are(made_up, tmp_path):
    page.write(made_up, tmp_path, tmp_path / "figures")
    text = (tmp_path / "scoreboard.md").read_text(encoding="utf-8")
    assert len(list((tmp_path / "figures").glob("*.png"))) == len(SUBJECTS)
    for subject in SUBJECTS.values():
        part = text.split(f"## {subject.title}")[1]
        assert "| cam (no such map) |" in part and "2 networks trained anew" in part
        assert "| lime (no map of 2 of 24 scenes) |" in part and "| grad_cam on these 22 scenes |" in part
        assert "22 of 24 scenes have a map of every row" in part
    best = next(line for line in text.splitlines() if line.startswith("| rise | +"))
    assert best.count(" *") == 4 and best.count("| 1 to 1 ") >= 3  # ahead in each difference, alone in each place
    same = next(line for line in text.splitlines() if line.startswith("| occlusion | +0"))
    assert " *" not in same.replace(" |", "")
    rows = len(METHODS) + len(BASELINES) - 1  # without cam
    assert f"makes {(4 * rows - 4) * len(SUBJECTS)} such" in " ".join(text.split())


def test_networks_trained_anew_are_found_or_the_shipped_one_is_taken(tmp_path, monkeypatch):
    from tools.scoreboard import subjects

    monkeypatch.setattr(subjects, "NETS", tmp_path)
    assert numbers_of(SUBJECTS["shapes_vgg"]) == (0,)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "shapes_vgg.safetensors").write_bytes(b"")
    assert numbers_of(SUBJECTS["shapes_vgg"]) == (2,)


def test_planted_places_and_sizes():
    plain = planted(20, 71)
    for place, scale in CELLS:
        drawn = planted(20, 71, watermark=0.1, place=place, scale=scale)
        rows, columns = (drawn.watermarks.any(axis) for axis in (2, 1))
        assert (rows.sum(1) == 16 * scale).all() and (columns.sum(1) == 18 * scale).all()
        gaps = np.stack([rows.argmax(1), rows[:, ::-1].argmax(1), columns.argmax(1), columns[:, ::-1].argmax(1)], 1)
        near = (gaps < 6).sum(1)
        assert (near == {"corner": 2, "edge": 1, "inside": 0}[place]).all() and (gaps[gaps >= 6] >= 20).all()
        same = (drawn.images == plain.images).all(-1)
        assert same[~drawn.watermarks].all()
        assert (drawn.tags == planted(20, 71, watermark=0.1).tags).all()
    with pytest.raises(ValueError, match="corner, edge, inside, anywhere"):
        planted(1, place="middle")
    with pytest.raises(ValueError, match="1 or 2"):
        planted(1, scale=3)
