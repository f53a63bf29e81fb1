"""Make the blank exercises in ``notebooks/`` from the answered ones in ``solutions/``.

``python solutions/make_exercises.py`` writes and runs them; with ``--check`` it only compares, and exits with
1 if they differ. The marks are nbgrader's: in a code cell, what stands between ``### BEGIN SOLUTION`` and
``### END SOLUTION`` becomes ``...  # your code here``; in a Markdown cell, what stands between
``<!-- BEGIN SOLUTION -->`` and ``<!-- END SOLUTION -->`` goes; cells tagged ``solution`` go. Below each answer both
notebooks compute the same with the course's own functions, so that the picture to expect is there as an output.
"""

import argparse
import copy
import os
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.lessons import file_name
from tools.run_notebooks import execute

ROOT = Path(__file__).resolve().parents[1]
NAMES = (file_name("exercises"),)
MARK = re.compile(r"(?:#+|<!--)\s*(BEGIN|END) SOLUTION\s*(?:-->)?")
PLACEHOLDER = "...  # your code here"


def blank_source(source: str, place: str, placeholder: str | None) -> str:
    """Return the source of a cell without its solutions; ``place`` names the cell in error messages.

    Raises:
        ValueError: a mark without its partner, or one inside another.
    """
    lines, opened = [], 0
    for number, line in enumerate(source.splitlines(), start=1):
        mark = MARK.fullmatch(line.strip())
        if not mark:
            if not opened:
                lines.append(line)
        elif mark[1] == "BEGIN":
            if opened:
                raise ValueError(f"{place}, line {number}: BEGIN SOLUTION inside the one begun in line {opened}.")
            opened = number
            if placeholder:
                lines.append(line[: len(line) - len(line.lstrip())] + placeholder)
        elif not opened:
            raise ValueError(f"{place}, line {number}: END SOLUTION without a BEGIN SOLUTION before it.")
        else:
            opened = 0
    if opened:
        raise ValueError(f"{place}, line {opened}: BEGIN SOLUTION without an END SOLUTION after it.")
    return "\n".join(lines).strip("\n")


def blank(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a notebook without answers and outputs, its cells' ids counted from the first.

    Raises:
        ValueError: unbalanced marks, or code that is no valid Python once the answers are out.
    """
    made = copy.deepcopy(notebook)
    made.nbformat_minor = max(made.nbformat_minor, 5)  # the first with ids
    made.metadata.pop("widgets", None)
    cells = []
    for number, cell in enumerate(made.cells, start=1):
        place = f"cell {number} ({(cell.source.splitlines() or ['empty'])[0][:40]!r})"
        code = cell.cell_type == "code"
        cell.source = blank_source(cell.source, place, PLACEHOLDER if code else None)
        if not cell.source or "solution" in cell.metadata.get("tags", ()):
            continue
        cells.append(cell)
        cell.id = f"cell-{len(cells):02d}"
        cell.metadata.pop("execution", None)
        if code:
            cell.outputs, cell.execution_count = [], None
            _compile(cell.source, place)
    made.cells = cells
    return made


def _compile(source: str, place: str) -> None:
    plain = "\n".join("pass" if line.startswith(("%", "!")) else line for line in source.splitlines())
    try:
        compile(plain, place, "exec")
    except SyntaxError as error:
        raise ValueError(f"{place} is no valid Python without its answer: {error.msg}.") from None


def same(made: NotebookNode, written: NotebookNode) -> bool:
    """Tell whether two notebooks have the same cells; outputs, ids and the seconds in the header do not count."""

    def cells(notebook: NotebookNode) -> list:
        return [
            (cell.cell_type, re.sub(r"running \d+ s", "", cell.source), cell.metadata.get("tags", []))
            for cell in notebook.cells
        ]

    return cells(made) == cells(written)


def main(arguments: list[str] | None = None) -> int:
    """Make or compare every exercise; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the blank exercises from the answered ones.")
    parser.add_argument("--check", action="store_true", help="compare only; exit with 1 if they differ")
    check = parser.parse_args(arguments).check
    stale = 0
    os.environ["COURSE_WORLD"] = "course"
    os.environ.pop("COURSE_STRICT", None)
    for name in NAMES:
        source, goal = ROOT / "solutions" / name, ROOT / "notebooks" / name
        try:
            answered = nbformat.read(source, as_version=4)
            made = blank(answered)
        except (OSError, ValueError) as error:
            sys.exit(f"solutions/{name}: {error}")
        if not check:
            nbformat.write(made, goal)
            execute(goal)
            print(f"wrote notebooks/{name}")
        elif not goal.exists() or not same(made, nbformat.read(goal, as_version=4)):
            print(f"notebooks/{name} is not what solutions/{name} makes; run: make solutions")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
