"""The exercises under nbgrader: its source is made from solutions/, and it gives a right answer its points."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers.course import ROOT

sys.path.append(str(ROOT / "solutions"))

import make_nbgrader
from make_exercises import PLACEHOLDER

from tools.lessons import path

NAME = "exercises"
PARTS = ("q1", "q2_cam", "q2_count", "q3_cam", "q3_grades")
SCORE_NAMES = """
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    for student in ("ada", "blank"):
        notebook = book.find_submission_notebook("exercises", "exercises", student)
        print(json.dumps({grade.name: grade.score for grade in notebook.grades}))
"""


@pytest.fixture(scope="module")
def source():
    return make_nbgrader.for_nbgrader(nbformat.read(path("exercises", "solutions"), as_version=4))


def roles(notebook):
    """Return the cells that nbgrader knows, by their names."""
    return {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}


def test_each_answer_and_each_check_is_a_cell(source):
    nbformat.validate(source)
    known = roles(source)
    assert tuple(known) == tuple(name for part in PARTS for name in (part, f"{part}_check"))
    for part in PARTS:
        answer, check = known[part], known[f"{part}_check"]
        assert answer.metadata.nbgrader.solution and not answer.metadata.nbgrader.grade
        assert "BEGIN SOLUTION" in answer.source and f"{part} = check_" not in answer.source
        assert check.metadata.nbgrader.grade and check.metadata.nbgrader.points == 1 and check.metadata.nbgrader.locked
        assert check.source.startswith(f"{part} = check_{part}(") and f"assert {part} is True" in check.source
    for cell in source.cells:
        assert "SOLUTION" not in cell.source or cell is known[cell.metadata.nbgrader.grade_id]
        assert "solution" not in cell.metadata.get("tags", ()) and not cell.get("outputs")


def test_an_answer_without_a_check_is_an_error():
    cell = new_code_cell("x = ...\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION")
    with pytest.raises(ValueError, match="cell 1 has a solution, and no check after it"):
        make_nbgrader.for_nbgrader(new_notebook(cells=[cell]))


def test_output_outside_of_the_course_is_an_error(capsys, tmp_path):
    with pytest.raises(SystemExit):
        make_nbgrader.main(["--output", str(tmp_path)])
    assert "is not inside the course" in capsys.readouterr().err


def test_what_the_instructor_has_changed_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_nbgrader, "ROOT", tmp_path)
    (tmp_path / "solutions").symlink_to(ROOT / "solutions")
    folder = tmp_path / "nbgrader"
    assert make_nbgrader.main(["--output", str(folder)]) == 0
    (folder / "nbgrader_config.py").write_text("mine", encoding="utf-8")
    assert make_nbgrader.main(["--output", str(folder)]) == 0
    goal = folder / "source" / NAME / f"{NAME}.ipynb"
    goal.write_text(goal.read_text(encoding="utf-8").replace('points": 1', 'points": 2'), encoding="utf-8")
    before = goal.read_bytes()
    with pytest.raises(SystemExit):
        make_nbgrader.main(["--output", str(folder)])
    assert "was changed, or is of another version of the course: move it away" in capsys.readouterr().err
    assert goal.read_bytes() == before and b'points": 2' in before
    assert (folder / "nbgrader_config.py").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.environ.get("COURSE_ALL") != "1", reason="make test-all has nbgrader, and a minute for it")
@pytest.mark.skipif(not find_spec("nbgrader"), reason="nbgrader is not installed: pip install nbgrader")
def test_nbgrader_gives_the_points(tmp_path):
    make_nbgrader.write(tmp_path)
    for name in ("helpers", "datasets"):  # the notebooks look for them in the folders above their own
        (tmp_path / name).symlink_to(ROOT / name)
    run(tmp_path, "-m", "nbgrader", "generate_assignment", NAME)
    release = nbformat.read(tmp_path / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in release.cells if cell.cell_type == "code")
    assert "SOLUTION" not in text and "HIDDEN" not in text and text.count(PLACEHOLDER) == len(PARTS)

    answers = roles(nbformat.read(tmp_path / "source" / NAME / f"{NAME}.ipynb", as_version=4))
    for student in ("blank", "ada"):
        folder = tmp_path / "submitted" / student / NAME
        shutil.copytree(tmp_path / "release" / NAME, folder)
        if student == "ada":
            for name, cell in roles(release).items():
                cell.source = answers[name].source if name in PARTS else "raise SystemExit  # checks are put back"
            nbformat.write(release, folder / f"{NAME}.ipynb")
    run(tmp_path, "-m", "nbgrader", "autograde", NAME)
    ada, blank = (json.loads(line) for line in run(tmp_path, "-c", SCORE_NAMES).splitlines()[-2:])
    assert ada == {f"{part}_check": 1.0 for part in PARTS}
    assert blank == {f"{part}_check": 0.0 for part in PARTS}


def run(folder, *arguments):
    """Run Python in a folder, at home there, and return what it printed."""
    home = dict.fromkeys(("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"), str(folder / "home"))
    path = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}  # it calls alembic
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | home | path,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
