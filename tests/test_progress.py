"""A learner's progress: what saved notebooks say of exercises, and what running them anew says."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.course import ROOT
from tools import lessons, progress

FIRST = new_code_cell(
    "import sys\nfrom pathlib import Path\n\nfor p in (Path.cwd(), *Path.cwd().parents):\n"
    f"    sys.path.insert(0, {str(ROOT)!r})\nfrom helpers.checks.core import Wrong, checker",
    execution_count=1,
)
CHECK = """@checker
def check_double(answer):
    if answer(3) != 6:
        raise Wrong("three gives six.")
    return "it doubles." """
BLANK = 'def double(x):\n    """Return 2 x."""\n    ...  # your code here\n\n\ncheck_double(double)'


def answer(source, printed="", *, count=5, error=None):
    outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
    if error:
        outputs.append(new_output("error", ename=error[0], evalue=error[1], traceback=[]))
    return new_code_cell(source, outputs=outputs, execution_count=count)


def body(code):
    return f"def double(x):\n    {code}\n\n\ncheck_double(double)"


@pytest.fixture
def lesson(tmp_path):
    """A function that saves a lesson made of some cells, and returns its path."""

    def save(*cells):
        start = [new_markdown_cell("[![Open](x.svg)](x)\n\n# 4 · Where?"), FIRST, new_code_cell(CHECK)]
        path = tmp_path / "04_cam.ipynb"
        nbformat.write(new_notebook(cells=[*start, *cells]), path)
        return path

    return save


@pytest.mark.parametrize(
    ("cell", "state", "hint"),
    [
        (answer(body("return 2 * x"), "Right: it doubles.\n"), "right", ""),
        (answer(body("return x"), "Not yet: three gives six.\n"), "not yet", "three gives six."),
        (answer(BLANK, "Not answered yet. Fill in the answer, then run this again.\n"), "not answered", ""),
        (answer(BLANK, "Right: it doubles.\n"), "not answered", ""),  # the answer was taken out and not run since
        (answer(BLANK, count=None), "not run", ""),
        (answer(body("return 2 * x"), count=None), "not run", ""),
        (answer(body("return 2 * x"), "Not answered yet. Fill in.\n"), "run it again", "it has changed"),
        (answer(body("return 2 * y"), error=("NameError", "no y")), "stopped", "NameError: no y"),
        (answer(body("return x"), error=("Wrong", "Not yet: three gives six.")), "not yet", "three gives six."),
        (answer("def double(x):\n  return (\n\ncheck_double(double)", error=("SyntaxError", "(")), "stopped", "Syntax"),
    ],
    ids=["right", "wrong", "blank", "emptied", "unrun blank", "unrun", "changed", "error", "strict", "syntax"],
)
def test_a_saved_cell_says_how_its_exercise_stands(lesson, cell, state, hint):
    (one,) = progress.read(lesson(cell)).exercises
    assert (one.name, one.state) == ("double", state) and hint in one.hint and bool(one.hint) == bool(hint)


def test_an_answer_in_a_name_and_two_checks_in_a_cell():
    assert progress.is_blank("a, b = ..., '?'\n...  # your code here\ncheck_x(a)")
    assert not progress.is_blank("a = ...\na = 3\ncheck_x(a)")
    cell = answer("check_a(1)\nok = cam.check_b(2)\n# check_c(3)", "Right: yes.\nNot yet: no.\n")
    assert [(e.name, e.state) for e in progress.exercises(cell)] == [("a", "right"), ("b", "not yet")]
    cell = answer('museum_of_wrong_maps.check_exposes("loop", f)', "Right: found.\n")
    assert [(e.name, e.state) for e in progress.exercises(cell)] == [("exposes: loop", "right")]


def test_run_asks_the_checks_anew_and_changes_no_file(lesson):
    path = lesson(
        new_code_cell("raise RuntimeError('not needed, so not run')"),
        new_code_cell("factor = 2"),
        answer(body("return factor * x"), "Not yet: three gives six.\n"),
        answer(body("return x"), "Right: it doubles.\n"),
        answer(BLANK, "Not answered yet. Fill in.\n"),
        answer(body("return 2 * y"), count=None),
    )
    before = path.read_bytes()
    found = progress.read(path, anew=True)
    assert [one.state for one in found.exercises] == ["right", "not yet", "not answered", "not yet"]
    assert "NameError" not in found.exercises[1].hint and "y" in found.exercises[3].hint
    assert path.read_bytes() == before and not found.trouble


def test_the_table_and_the_page(lesson, tmp_path, capsys):
    path = lesson(
        answer(body("return 2 * x"), "Right: it doubles.\n"),
        answer(body("return x"), "Not yet: take <2> & not 1.\n"),
    )
    (tmp_path / "05_grad_cam.ipynb").write_text("{", encoding="utf-8")
    output = tmp_path / "out" / "progress.html"
    assert progress.main(["--folder", str(tmp_path), "--output", str(output)]) == 0
    text, page = capsys.readouterr().out, output.read_text(encoding="utf-8")
    assert text.startswith("1 of 2 exercises right.")
    assert re.search(r"^  double +not yet: take <2> & not 1\.$", text, re.M) and "fresh copy" in text
    assert f'<a href="../{path.name}">4 · Where?</a>' in page and "take &lt;2&gt; &amp; not 1." in page
    assert "width=device-width" in page and "fresh copy" in page
    assert not re.search(r"<script|<link|<img|https?:|url\(", page), "the page stands alone"
    with pytest.raises(SystemExit, match="There is no lesson '04'; the lessons here are: cam, grad_cam"):
        progress.main(["04", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="There is no lesson in .*; name the folder of your notebooks"):
        progress.main(["--folder", str(tmp_path / "out")])
    progress.main(["cam", "--folder", str(tmp_path), "--output", str(output)])
    assert "Where?" in capsys.readouterr().out and "fresh copy" not in output.read_text(encoding="utf-8")


def test_the_table_and_the_page_need_no_utf_8_console_and_the_page_is_utf_8(lesson, tmp_path):
    """As on Windows: what is printed and written goes by the machine's own encoding, unless it is said otherwise."""
    lesson(
        answer(body("return x"), "Not yet: a map Σ of √2 · x.\n"), answer(body("return 2 * x"), "Right: it doubles.\n")
    )
    output = tmp_path / "progress.html"
    command = [sys.executable, "-m", "tools.progress", "--folder", str(tmp_path), "--output", str(output)]
    machine = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | machine, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"1 of 2 exercises right" in done.stdout and b"a map ? of ?2 ? x." in done.stdout
    page = output.read_text(encoding="utf-8")
    assert "a map Σ of √2 · x." in page and "✓ right" in page and '<meta charset="utf-8">' in page


def test_a_notebook_with_a_byte_order_mark_is_read_as_it_is(lesson):
    path = lesson(answer(body("return 2 * x"), "Right: it doubles.\n"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    found = progress.read(path)
    assert not found.trouble and [one.state for one in found.exercises] == ["right"]


def test_it_finds_the_exercises_of_every_lesson():
    for path in lessons.paths():
        found = progress.read(path)
        assert found.exercises and {one.state for one in found.exercises} == {"not answered"}, path.name
