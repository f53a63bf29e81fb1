"""Run notebooks from top to bottom, in place, and save them as they ran.

    python -m tools.run_notebooks                       every notebook of notebooks/, solutions/ and tools/
    python -m tools.run_notebooks cam                   lessons, by their names, or any notebooks, by their paths

They run in the course world, each in its own folder. Widgets are not stored (their ids change at every run), nor are
cell timings; the seconds in a lesson's header are replaced by those measured.
"""

import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools import lessons

ROOT = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop what must not be stored: widgets, timings, the kernel's patch version; join split text output."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            if WIDGET in output.get("data", {}):
                continue
            output.get("metadata", {}).pop(WIDGET, None)
            if kept and output.output_type == "stream" == kept[-1].output_type and output.name == kept[-1].name:
                kept[-1].text += output.text
            else:
                kept.append(output)
        cell.outputs = kept


def execute(path: Path) -> float:
    """Run one notebook in place and return the seconds it took, without its kernel's start.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the file is then left as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, record_timing=False, store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )  # fmt: skip
    with client.setup_kernel():
        start = time.perf_counter()
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        seconds = time.perf_counter() - start
    header = notebook.cells[0]
    header.source = re.sub(r"running \d+ s", f"running {max(1, round(seconds))} s", header.source)
    tidy(notebook)
    nbformat.write(notebook, path)
    return seconds


def main(names: list[str]) -> None:
    """Run the notebooks named, or all of them."""
    os.environ.update(COURSE_WORLD="course", OMP_WAIT_POLICY="passive")
    os.environ.pop("COURSE_STRICT", None)
    folders = (ROOT / "notebooks", ROOT / "solutions", ROOT / "tools")
    named = [lessons.path(n) if n in lessons.ORDER else Path(n).resolve() for n in names]
    for path in named:
        if path.suffix != ".ipynb" or not path.is_file() or not path.is_relative_to(ROOT):
            raise SystemExit(
                f"There is no notebook {path} of the course; name a lesson, such as cam, or a notebook's path."
            )
    for path in named or [p for f in folders for p in sorted(f.glob("*.ipynb"))]:
        print(f"{path.relative_to(ROOT)}: {execute(path):.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
