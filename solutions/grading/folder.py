"""The notebooks in a folder that students handed in."""

import re
from pathlib import Path
from typing import NamedTuple

import nbformat

from tools.lessons import name_of

NOTEBOOK = re.compile(r"(.*?)\.ipynb(?:\.(?:txt|json))?", re.I)  # browsers and Windows add to a name
MOST_CELLS, MOST_BYTES = 300, 50_000_000  # of a notebook, of its file


class Submission(NamedTuple):
    """A notebook's code cells, or in words why there are none, and the folder that goes with it, if one does."""

    cells: list[str] | str
    folder: Path | None


def submissions(folder: Path, notebook: str) -> dict[str, Submission]:
    """Return each student's submission by name; raises ValueError if there is none."""
    found = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else []):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            shown = (one for one in sorted(path.iterdir()) if not one.name.startswith("."))
            inside = [one for one in shown if NOTEBOOK.fullmatch(one.name)]
            wanted = name_of(Path(notebook))
            chosen = [one for one in inside if name_of(Path(NOTEBOOK.fullmatch(one.name)[1])) == wanted] or inside
            count = f"its folder holds {len(inside) or 'no'} notebooks"
            found[path.name] = Submission(_cells(chosen[0]) if len(chosen) == 1 else count, path)
        elif its := NOTEBOOK.fullmatch(path.name):
            found[path.name if its[1] in found else its[1]] = Submission(_cells(path), None)
    if not found:
        raise ValueError(f"{folder} holds no submission: put name.ipynb or name/{notebook} there for each student.")
    return found


def _cells(path: Path) -> list[str] | str:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return "its notebook is no file, or one too large"
        notebook = nbformat.reads(path.read_text("utf-8-sig"), as_version=4)  # some editors begin with a mark
        code = [str(cell.source) for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
        return code[:MOST_CELLS]
    except Exception:  # nbformat raises of many kinds
        return "its file is no notebook, or a damaged one"
