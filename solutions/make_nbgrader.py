"""Make an nbgrader course of the exercises: ``python solutions/make_nbgrader.py --output build/nbgrader``.

It writes ``source/exercises/exercises.ipynb``, which has no number, so that a term's work keeps its name when lessons
move, and ``nbgrader_config.py``; what you have changed there is never written over. Then, in that folder:
``nbgrader generate_assignment exercises``, hand out ``release/``, collect into ``submitted/NAME/exercises/``, and
``nbgrader autograde exercises``. The cells' metadata, which nbgrader needs, are made here from the marks BEGIN and END
SOLUTION, so the notebooks stay free of them. A cell with an answer and its check becomes two: what the student fills
in, and the check, worth one point. nbgrader runs the checks in the student's own kernel: it trusts the students.
``python solutions/grade.py`` does not.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from make_exercises import NAMES, PLACEHOLDER, ROOT, blank_source
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from tools.bound_numbers import as_read
from tools.lessons import name_of

CHECK = re.compile(r"^(\w+) = check_\w+\(.*\)$", re.MULTILINE)
HIDDEN = "### BEGIN HIDDEN TESTS\nassert {name} is True\n### END HIDDEN TESTS"
CONFIG = f"""c = get_config()
c.CourseDirectory.course_id = "seeing-inside-cnns"
c.ClearSolutions.code_stub = {{"python": {PLACEHOLDER!r}}}
c.Execute.timeout = 300
"""


def for_nbgrader(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of an answered notebook as a source for nbgrader, its cells' ids counted from the first.

    Raises:
        ValueError: unbalanced marks, or a cell with a solution in which no check follows.
    """
    made, cells = as_read(notebook), []
    made.metadata.pop("widgets", None)
    for number, cell in enumerate(made.cells, start=1):
        if "solution" in cell.metadata.get("tags", ()):
            continue
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        elif not (text := blank_source(cell.source, f"cell {number}", None)):
            continue
        else:
            cell.source = text
        cells.append(cell)
        if cell.cell_type == "code" and "END SOLUTION" in cell.source:
            checks = list(CHECK.finditer(cell.source))
            if not checks or checks[-1].start() < cell.source.index("END SOLUTION"):
                raise ValueError(f"cell {number} has a solution, and no check after it: name = check_...(...).")
            name, line = checks[-1][1], checks[-1][0]
            cell.source = cell.source.replace(line, "").rstrip()
            cell.metadata.nbgrader = _metadata(name, solution=True)
            cells.append(new_code_cell(f"{line}\n{HIDDEN.format(name=name)}"))
            cells[-1].metadata.nbgrader = _metadata(f"{name}_check", solution=False) | {"points": 1}
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:02d}"
    made.cells = cells
    return made


def _metadata(name: str, *, solution: bool) -> dict:
    roles = {"solution": solution, "grade": not solution, "locked": not solution, "task": False}
    return {"grade_id": name, "schema_version": 3, **roles}


def main(arguments: list[str] | None = None) -> int:
    """Write the folder that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description="Make an nbgrader course of the exercises.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "nbgrader", help="inside the course's folder")
    folder = parser.parse_args(arguments).output.resolve()
    if not folder.is_relative_to(ROOT):
        parser.error(f"{folder} is not inside the course, where its notebooks find helpers/; leave --output away.")
    try:
        write(folder)
    except ValueError as error:
        parser.error(str(error))
    print(f"wrote {folder}")
    return 0


def write(folder: Path) -> None:
    """Write nbgrader's configuration and its sources into a folder; a configuration that is there stays.

    Raises:
        ValueError: a notebook is there already and is another one.
    """
    for name in NAMES:
        assignment = name_of(Path(name))
        goal = folder / "source" / assignment / f"{assignment}.ipynb"
        text = nbformat.writes(for_nbgrader(nbformat.read(ROOT / "solutions" / name, as_version=4))) + "\n"
        if goal.exists() and goal.read_text(encoding="utf-8") != text:
            raise ValueError(f"{goal} was changed, or is of another version of the course: move it away, and go on.")
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_text(text, encoding="utf-8")
    config = folder / "nbgrader_config.py"
    if not config.exists():
        config.write_text(CONFIG, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
