"""Show which exercises of your own notebooks are right. Nothing leaves this machine.

    python -m tools.progress                read the verdicts that your notebooks were saved with
    python -m tools.progress --run          ask the checks anew: answered exercises, and the cells they need
    python -m tools.progress cam grad_cam   these lessons only

The table is also written as a page, build/progress.html. Your notebooks stay as they are; save them first.
"""

import argparse
import ast
import html
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

from tools.console import print_anything
from tools.lessons import ORDER, chosen, name_of

ROOT = Path(__file__).resolve().parents[1]
CALL = re.compile(r"^[ \t]*(?:\w+ = )?(?:\w+\.)*check_(\w+)\((?:\"([^\"]*)\")?", re.M)
VERDICT = re.compile(r"^(?:\w*: )?(Right: |Not yet: |Not answered yet)(.*)$", re.M)
RIGHT, NOT_YET, BLANK, CHANGED, UNRUN, BROKEN = "right", "not yet", "not answered", "run it again", "not run", "stopped"
SECONDS = 120  # that an exercise may take


@dataclass
class Exercise:
    """One check of one notebook: its name, its state, and the checker's hint or the error."""

    name: str
    state: str
    hint: str = ""


@dataclass
class Lesson:
    """What a notebook shows of a learner's work."""

    path: Path
    title: str
    exercises: list[Exercise] = field(default_factory=list)
    trouble: str = ""


def said(cell: nbformat.NotebookNode) -> str:
    """Return what a code cell printed, and the error it ended with, if any."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.append(f"{output.ename}: {output.evalue}\n")
    return "".join(parts)


def parsed(source: str) -> ast.Module | None:
    """Return the tree of a cell as IPython runs it, or None for a cell that is no Python."""
    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return None


def is_blank(source: str) -> bool:
    """Tell whether a cell's answer is missing: a function without a body, or a name that is ``...`` for good."""
    tree = parsed(source)
    if tree is None:
        return False
    waiting, given = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            rest = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if all(isinstance(one, ast.Pass) or _is_dots(getattr(one, "value", None)) for one in rest):
                return True
        if isinstance(node, ast.Assign):
            for target, value in _pairs(node):
                (waiting if _is_dots(value) else given).add(target)
    return bool(waiting - given)


def _pairs(node: ast.Assign) -> Iterable[tuple[str, ast.expr]]:
    for target in node.targets:
        many = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        for one, value in zip(target.elts, node.value.elts, strict=False) if many else [(target, node.value)]:
            yield ast.unparse(one), value


def _is_dots(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def exercises(cell: nbformat.NotebookNode) -> list[Exercise]:
    """Return the checks of a code cell, each as its source and its output leave it."""
    names = [f"{name}: {which}" if which else name for name, which in CALL.findall(cell.source)]
    text = said(cell)
    verdicts = VERDICT.findall(text)
    failed = [f"{o.ename}: {o.evalue}" for o in cell.outputs if o.output_type == "error"]
    blank = is_blank(cell.source)
    found = []
    for number, name in enumerate(names):
        state, hint = UNRUN, ""
        if number < len(verdicts):
            word, rest = verdicts[number]
            state, hint = {"R": (RIGHT, ""), "N": (NOT_YET, rest)}[word[0]]
            if word.startswith("Not answered"):
                state, hint = (BLANK, "") if blank else (CHANGED, "it has changed since it was run, or gives nothing")
        elif failed:
            state, hint = BROKEN, re.sub(r"\x1b\[[\d;]*m", "", failed[0]).splitlines()[0]
        if blank:
            state, hint = BLANK if cell.execution_count else UNRUN, ""
        found.append(Exercise(name, state, hint))
    return found


def read(path: Path, *, anew: bool = False) -> Lesson:
    """Return what a notebook says of its learner's work.

    Args:
        path: the notebook, which is not changed.
        anew: run the answered exercises again, and the cells they need, instead of trusting what was saved.
    """
    lesson = Lesson(path, path.stem)
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)  # some editors add a mark
    except Exception as error:
        lesson.trouble = f"it cannot be read as a notebook ({type(error).__name__}); take a fresh copy of the lesson"
        return lesson
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = re.search(r"^# (.+)$", text, re.M)
    lesson.title = title[1] if title else path.stem
    if anew:
        lesson.trouble = run(notebook, path.parent)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lesson.exercises += exercises(cell)
    return lesson


def needed(cells: list[nbformat.NotebookNode], last: int) -> list[int]:
    """Return the numbers of the code cells that cell ``last`` needs, by the names it uses, and its own, in order."""
    wanted, chosen = set(), []
    for number in range(last, -1, -1):
        tree = parsed(cells[number].source) if cells[number].cell_type == "code" else None
        if tree is None:
            continue
        made, used = names_of(tree)
        if number == last or wanted & made or not any(cell.cell_type == "code" for cell in cells[:number]):
            chosen.append(number)
            wanted |= used
    return chosen[::-1]


def names_of(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Return the names that a cell makes or changes, and those that it uses."""
    made, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            made |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            made |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return made, used


def run(notebook: nbformat.NotebookNode, folder: Path) -> str:
    """Run the answered exercises of a notebook and what they need, in memory; return what went wrong, or nothing."""
    cells, chosen = notebook.cells, set()
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and CALL.search(cell.source) and not is_blank(cell.source):
            chosen |= {number, *needed(cells, number)}
    client = NotebookClient(
        notebook, timeout=SECONDS, allow_errors=True, interrupt_on_timeout=True, store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    if not chosen:
        return ""
    try:
        with client.setup_kernel():
            for number in sorted(chosen):
                client.execute_cell(cells[number], number)
    except Exception as error:
        return f"it did not run to its end ({type(error).__name__})"
    return ""


def table(lessons: list[Lesson]) -> str:
    """Return the lessons as plain text, a line for each exercise."""
    width = max([len(e.name) for lesson in lessons for e in lesson.exercises], default=0)
    lines = []
    for lesson in lessons:
        lines.append(f"\n{lesson.title}" + (f": {lesson.trouble}" if lesson.trouble else ""))
        for one in lesson.exercises:
            lines.append(f"  {one.name:<{width}}  {one.state}" + (f": {one.hint}" if one.hint else ""))
    return "\n".join([summary(lessons), *lines])


def summary(lessons: list[Lesson]) -> str:
    """Return one line over all lessons."""
    states = [one.state for lesson in lessons for one in lesson.exercises]
    return f"{states.count(RIGHT)} of {len(states)} exercises right."


STYLE = """\
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}a{color:#0b5394}
ul{list-style:none;margin:0;padding:0}li{padding:.35rem 0;border-top:1px solid #ddd;overflow-wrap:anywhere}
b{display:inline-block;min-width:7.5rem;font-weight:600}small{display:block;color:#444;font-size:.9rem}
.right b{color:#0b5d3b}.not-yet b,.stopped b{color:#9a3412}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}a{color:#8ec7ff}small{color:#bbb}
li{border-color:#444}.right b{color:#6fd3a3}.not-yet b,.stopped b{color:#ffb38a}}"""
MARKS = {RIGHT: "✓", NOT_YET: "✗", BLANK: "–", CHANGED: "↻", UNRUN: "–", BROKEN: "!"}


def page(lessons: list[Lesson], folder: Path) -> str:
    """Return the lessons as a page that stands alone; links to the notebooks lead from ``folder``."""
    parts = []
    for lesson in lessons:
        link = html.escape(Path(os.path.relpath(lesson.path, folder)).as_posix())
        items = [
            f'<li class="{one.state.replace(" ", "-")}"><b>{MARKS[one.state]} {one.state}</b> '
            f"{html.escape(one.name.replace('_', ' '))}" + (f"<small>{html.escape(one.hint)}</small>" * bool(one.hint))
            for one in lesson.exercises
        ]
        trouble = f"<p>{html.escape(lesson.trouble)}</p>" * bool(lesson.trouble)
        items = "".join(f"{item}</li>" for item in items)
        parts.append(f'<h2><a href="{link}">{html.escape(lesson.title)}</a></h2>{trouble}<ul>{items}</ul>')
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>My progress</title><style>{STYLE}</style><h1>My progress</h1>"
        f"<p>{summary(lessons)} Read from the notebooks on this machine.</p>{''.join(parts)}</html>\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the table and write the page."""
    parser = argparse.ArgumentParser(description="Show which exercises of your notebooks are right.")
    parser.add_argument("lessons", nargs="*", help="names of lessons, such as cam; without any, all")
    parser.add_argument("--run", action="store_true", help="run the answered exercises again")
    parser.add_argument("--folder", type=Path, default=ROOT / "notebooks", help="where your notebooks lie")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "progress.html")
    options = parser.parse_args(arguments)
    print_anything()  # titles and hints are in more than ASCII
    here = sorted(path for path in options.folder.glob("*.ipynb") if name_of(path) in ORDER)
    if not here:
        raise SystemExit(f"There is no lesson in {options.folder}; name the folder of your notebooks with --folder.")
    paths = chosen(here, options.lessons)
    os.environ.setdefault("COURSE_WORLD", "course")  # checks need nothing else, and the network stays untouched
    os.environ.pop("COURSE_STRICT", None)
    lessons = []
    for path in paths:
        if options.run:
            print(f"running {path.name}", file=sys.stderr, flush=True)
        lessons.append(read(path, anew=options.run))
    print(table(lessons))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page(lessons, options.output.parent), encoding="utf-8")
    print(f"\nAs a page: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
