"""Numbers in the text are bound: a wrong one fails the notebook's test, and nothing else does."""

import os
import subprocess
import sys

import nbformat
import pytest

from helpers.course import ROOT
from tools import lessons
from tools.bound_numbers import (
    Bound,
    NotBound,
    Range,
    answers,
    asking_code,
    bound_numbers,
    checking_code,
    lonely_numbers,
    plain,
)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("right on 82 %<!-- 100 * accuracy ± 3 --> of them", Bound(82, "100 * accuracy", 3, 1)),
        ("of −0.36<!-- r ± 0.02 -->", Bound(-0.36, "r", 0.02, 0.01)),
        ("**1,280** maps<!-- A.shape[0] ± 0 -->", Bound(1280, "A.shape[0]", 0, 1)),
        ("3 of 20 pictures: 15 %<!-- 100 * (found > 0).mean() ± 1 -->", Bound(15, "100 * (found > 0).mean()", 1, 1)),
        ("94 to 97<!-- range of 100 * hit.mean() --> over", Range(94, 97, "100 * hit.mean()", 1)),
        ("(0.1 to 0.25)<!-- range of r -->", Range(0.1, 0.25, "r", 0.01)),
        ("a\nline 5 %<!-- 5 ± 0\n-->", Bound(5, "5", 0, 1)),
        ("from 4, then 5,<!-- 5 ± 0 --> and", Bound(5, "5", 0, 1)),
    ],
)
def test_what_a_comment_binds(text, bound):
    assert bound_numbers(text) == [bound]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("right<!-- accuracy ± 3 -->", "stands no number"),
        ("5 %<!-- 5 ± 1 --> and<!-- 6 ± 1 -->", "stands no number"),
        ("82 %<!-- accuracy -->", "is none of: expression ± tolerance"),
        ("82 %<!-- accuracy ± three -->", "is none of"),
        ("up to 82<!-- range of accuracy -->", "stand no two numbers"),
        ("82\n<!-- accuracy ± 3 -->", "stands no number"),
    ],
)
def test_a_comment_that_binds_nothing_is_refused(text, sentence):
    with pytest.raises(NotBound, match=sentence):
        bound_numbers(text)


@pytest.mark.parametrize(
    ("text", "lonely"),
    [
        ("right on 82 % of the pictures", ["82"]),
        ("right on 82 %<!-- a ± 3 --> of 200 pictures", ["200"]),
        ("right on 82 %<!-- a ± 3 --> of 200<!-- fixed --> pictures", []),
        ("28 x 28 pixels and 10 classes.<!-- fixed --> Then 5 more", ["5"]),
        ("28 x 28 pixels. Ten of 10 classes<!-- fixed -->", ["28", "28"]),
        ("94 to 97<!-- range of a --> over 10 runs", ["10"]),
        ("`x[3]`, $w_{3}$, ResNet18, VGG-19, conv5_1, L2, [lesson](04_cam.ipynb), Zhou et al., 2016", []),
        ("## 3 rules\n1. first\n2. second", []),
        ("## 3 rules\n\nright on 82 % of them", ["82"]),
        (
            "## Further reading\n\n- Author (2017): *On 9*. Journal 73. arXiv:1706.07979\n\n**Next.** 4 lessons.",
            ["4"],
        ),
        ("in step 3 of exhibit 2. <summary>1. What if 7 of 9 are?</summary> 6 more", ["6"]),
        ("**2.** Write it. <summary>Hint 1</summary> <summary>4. Why?</summary>", []),
        ("| a | 5 |\n| b | 6<!-- fixed --> |", ["5"]),
        ("a share of 0.5, or 1,280 maps", ["0.5", "1,280"]),
    ],
)
def test_numbers_that_nobody_vouches_for(text, lonely):
    assert lonely_numbers(text) == lonely


def test_marks_of_solutions_stay():
    text = "Why? <!-- BEGIN SOLUTION -->Because.<!-- END SOLUTION -->"
    assert plain(text) == text and bound_numbers(text) == []


def test_comments_are_not_read():
    assert plain("right on 82 %<!-- a ± 3 --> of 200<!-- fixed --> pictures") == "right on 82 % of 200 pictures"


def test_the_check_leaves_nothing_behind_and_names_what_is_wrong():
    world = {"a": 4.0, "values": [1, 2]}
    before = dict(world)
    exec(checking_code([Bound(4.2, "a", 0.2, 0.1), Bound(3, "sum(v for v in values)", 0, 1)]), world)
    world.pop("__builtins__", None)
    assert world == before
    with pytest.raises(AssertionError, match=r"the text says 5, this run gives 4 for a \(± 0.9\)"):
        exec(checking_code([Bound(5, "a", 0.9, 1)]), world)
    with pytest.raises(NameError):
        exec(checking_code([Bound(5, "not_there", 0.9, 1)]), world)


def test_what_a_run_answers(capsys):
    exec(asking_code([Bound(4, "a", 0, 1), Range(1, 2, "b / 0", 1), Bound(4, "a", 0, 1)]), {"a": 4, "b": 1})
    assert answers("other\n" + capsys.readouterr().out) == {"a": 4.0, "b / 0": "ZeroDivisionError: division by zero"}


@pytest.mark.parametrize(("said", "passes"), [("82", True), ("90", False)])
def test_nbval_checks_the_text(tmp_path, said, passes):
    """One item for each text cell that binds numbers, in the notebook's own kernel, between the cells."""
    make = nbformat.v4
    cells = [
        make.new_code_cell("accuracy = 0.81"),
        make.new_markdown_cell(f"right on {said} %<!-- 100 * accuracy ± 3 -->"),
        make.new_markdown_cell("no numbers here"),
        make.new_code_cell("accuracy = 0.5"),
    ]
    nbformat.write(make.new_notebook(cells=cells), tmp_path / "a.ipynb")
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    command = ["-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-q", "--color=no", "."]
    run = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (run.returncode == 0) == passes, run.stdout
    assert ("3 passed" if passes else "1 failed, 2 passed") in run.stdout
    assert passes or "the text says 90, this run gives 81 for 100 * accuracy" in run.stdout


@pytest.mark.parametrize("path", lessons.paths(), ids=lambda path: path.stem)
def test_the_comments_of_the_lessons_can_be_read(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            bound_numbers(cell.source)


@pytest.fixture
def bound_lesson(tmp_path):
    """A lesson whose text binds a number, at the top and in the middle."""
    notebook = nbformat.read(lessons.path("exercises", "solutions"), as_version=4)
    for cell in [cell for cell in notebook.cells if cell.cell_type == "markdown"][1:4]:
        cell.source += "\n\nIt is 4<!-- hidden_from_readers ± 1 --> here."
    nbformat.write(notebook, tmp_path / "06_exercises.ipynb")
    return tmp_path / "06_exercises.ipynb"


def test_pages_slides_and_assignments_do_not_show_the_comments(bound_lesson, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "solutions"))
    from make_nbgrader import for_nbgrader

    from tools import build_site, slides

    build_site.stage(bound_lesson, tmp_path / "pages" / "exercises.ipynb", {})
    page = (tmp_path / "pages" / "exercises.ipynb").read_text(encoding="utf-8")
    shown = nbformat.writes(slides.staged(bound_lesson))
    assignment = nbformat.writes(for_nbgrader(nbformat.read(bound_lesson, as_version=4)))
    for text in (page, shown, assignment):
        assert "hidden_from_readers" not in text
    assert page.count("It is 4 here.") == 3 and assignment.count("It is 4 here.") == 3
