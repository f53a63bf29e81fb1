"""The evidence belongs to the lessons as they are, and every number and range of their text is what the runs gave."""

import json
import math
import re

import nbformat
import pytest

from tools import evidence, lessons
from tools.bound_numbers import Bound, bound_numbers

# Lessons with numbers that comments bind
BOUND = [name for name in lessons.ORDER if evidence.expressions(nbformat.read(lessons.path(name), as_version=4))]
SHIPPED = json.loads(evidence.EVIDENCE.read_text(encoding="utf-8")) if evidence.EVIDENCE.is_file() else {}


def bounds_of(name):
    cells = nbformat.read(lessons.path(name), as_version=4).cells
    return [bound for cell in cells if cell.cell_type == "markdown" for bound in bound_numbers(cell.source)]


def test_the_file_holds_the_lessons_whose_numbers_are_bound():
    assert list(SHIPPED) == BOUND


@pytest.mark.parametrize("name", BOUND)
def test_the_evidence_is_of_this_lesson(name):
    one = SHIPPED[name]
    assert one["code"] == evidence.code_of(nbformat.read(lessons.path(name), as_version=4)), "run `make evidence` again"
    assert one["runs"] == list(range(evidence.RUNS)) and one["failed"] == {}
    assert all(len(number["values"]) == evidence.RUNS and "median" in number for number in one["numbers"].values())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", one["date"]) and {"torch", "numpy", "python"} <= set(one["versions"])


@pytest.mark.parametrize("name", BOUND)
def test_what_the_lesson_asserts_holds_with_nets_trained_anew(name):
    own = evidence.shipped_nets(nbformat.read(lessons.path(name), as_version=4))
    if not own:
        pytest.skip("it explains no net of the course")
    anew = SHIPPED[name]["nets_trained_anew"]
    assert anew["runs"] == list(evidence.ANEW) and anew["failed"] == {} and set(anew["nets"]) <= own
    assert all("median" in number for number in anew["numbers"].values())


@pytest.mark.parametrize("name", BOUND)
def test_the_text_says_the_median_and_the_range(name):
    numbers, wrong = SHIPPED[name]["numbers"], []
    for bound in bounds_of(name):
        found = numbers[bound.expression]
        low, high = found["lowest"], found["highest"]
        if isinstance(bound, Bound):
            if abs(bound.said - found["median"]) > bound.within + bound.unit / 2:
                wrong.append(f"{bound}: the median is {found['median']}")
            if bound.within > max(high - low, bound.unit):
                wrong.append(f"{bound}: the tolerance is larger than the range seen, {low} to {high}")
        elif not (
            math.isclose(bound.low, low, abs_tol=bound.unit) and math.isclose(bound.high, high, abs_tol=bound.unit)
        ):
            wrong.append(f"{bound}: the range is {low} to {high}")
    assert wrong == []


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """A small lesson in place of *cam*, and folders of its own for what is kept and written."""
    make = nbformat.v4
    cells = [
        make.new_markdown_cell("# A lesson"),
        make.new_code_cell("import os, random\nk = int(os.environ['COURSE_SEED'])\nrandom.seed(k)\nfound = 10.0 + k"),
        make.new_markdown_cell("It is 11<!-- found ± 1 -->, from 10 to 12<!-- range of found -->; 3<!-- lost ± 0 -->."),
        make.new_code_cell("assert k < 2, 'too many'"),
        make.new_markdown_cell("And 5<!-- 5 ± 0 -->."),
    ]
    path = tmp_path / "04_cam.ipynb"
    nbformat.write(make.new_notebook(cells=cells), path)
    monkeypatch.setattr(lessons, "path", lambda name: path)
    monkeypatch.setattr(evidence, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(evidence, "EVIDENCE", tmp_path / "evidence.json")
    return path


def one_by_one(done):
    def spread(sent, units):
        for unit in units:
            done.append(-unit.k if unit.anew else unit.k)
            yield unit, evidence.work(sent, unit)

    return spread


def test_a_lesson_is_run_with_each_seed_and_goes_on_where_it_was(lesson):
    done = []
    found = evidence.collect(["cam"], [0, 1, 2], one_by_one(done))
    assert done == [0, 1, 2]
    numbers = found["cam"]["numbers"]
    assert numbers["found"] == {"values": [10, 11, 12], "median": 11, "lowest": 10, "highest": 12}
    assert numbers["5"]["median"] == 5, "a run goes on behind a cell that failed"
    assert numbers["lost"] == {"values": ["NameError: name 'lost' is not defined"] * 3}
    ((cell, errors),) = found["cam"]["failed"].items()
    assert cell == "code cell 2: assert k < 2, 'too many'" and errors == {"AssertionError: too many": [2]}
    assert evidence.collect(["cam"], [0, 1, 2], one_by_one(done)) == found and done == [0, 1, 2]
    notebook = nbformat.read(lesson, as_version=4)
    notebook.cells[1].source += " + 100"
    nbformat.write(notebook, lesson)
    assert evidence.collect(["cam"], [0], one_by_one(done))["cam"]["numbers"]["found"]["median"] == 110
    assert done == [0, 1, 2, 0], "other code is run anew"


def test_what_is_written(lesson, monkeypatch, capsys):
    monkeypatch.setattr(evidence, "here", lambda sent, units, workers: one_by_one([])(sent, units))
    evidence.EVIDENCE.write_text('{"start_here": {"kept": 1}}', encoding="utf-8")
    assert evidence.main(["cam", "--runs", "2"]) == 0
    written = json.loads(evidence.EVIDENCE.read_text(encoding="utf-8"))
    assert list(written) == ["start_here", "cam"] and written["start_here"] == {"kept": 1}
    assert written["cam"]["runs"] == [0, 1] and written["cam"]["versions"]["torch"]
    assert evidence.main(["cam", "--runs", "1", "--first", "2", "--look"]) == 1
    assert "FAILED code cell 2" in capsys.readouterr().out
    assert json.loads(evidence.EVIDENCE.read_text(encoding="utf-8")) == written
    with pytest.raises(ValueError, match="no lesson 'cems'"):
        evidence.main(["cems"])


def test_an_expression_with_two_values_is_named(lesson):
    notebook = nbformat.read(lesson, as_version=4)
    notebook.cells[3].source = "found = 7"
    notebook.cells[4].source = "Now 7<!-- found ± 0 -->."
    nbformat.write(notebook, lesson)
    (sentence,) = evidence.collect(["cam"], [0], one_by_one([]))["cam"]["failed"]["found"]
    assert sentence.startswith("has two values in this lesson")


def test_a_lesson_with_a_shipped_net_is_run_with_nets_trained_anew(lesson, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "NETS", tmp_path / "nets")
    notebook = nbformat.read(lesson, as_version=4)
    code = """
import os, sys
sys.path.append("..")
from helpers.course import weights
file, other, found, lost = weights("shapes_resnet"), weights("digits_cnn_mnist"), k, 0
assert other.is_file() and file.parent.name == ("weights" if not os.environ["COURSE_WEIGHTS"] else str(k))"""
    notebook.cells[1].source += code
    nbformat.write(notebook, lesson)
    done = []
    found = evidence.collect(["cam"], [0, 1], one_by_one(done))["cam"]
    assert done == [0, 1] and "nets_trained_anew" not in found, "there are none yet"
    for k in (1, 3):
        (tmp_path / "nets" / str(k)).mkdir(parents=True)
        (tmp_path / "nets" / str(k) / "shapes_resnet.safetensors").write_bytes(b"%d" % k)
    found = evidence.collect(["cam"], [0, 1], one_by_one(done))["cam"]
    assert done == [0, 1, -1, -3] and found["failed"] == {}
    anew = found["nets_trained_anew"]
    assert anew["nets"] == ["shapes_resnet"] and anew["runs"] == [1, 3]
    assert anew["numbers"]["found"]["values"] == [1, 3] and list(anew["failed"].values()) == [
        {"AssertionError: too many": [3]}
    ]
    (tmp_path / "nets" / "3" / "shapes_resnet.safetensors").write_bytes(b"another")
    evidence.collect(["cam"], [0, 1], one_by_one(done))
    assert done == [0, 1, -1, -3, -3], "other nets are run anew"
    (tmp_path / "nets" / "1" / "shapes_resnet.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="make data SEED=1"):
        evidence.work({"cam": nbformat.writes(notebook)}, evidence.Unit("cam", 1, anew=True))
