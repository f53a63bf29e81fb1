"""Give every lesson the number that ORDER in tools/lessons.py gives it: ``python -m tools.order`` (or ``make order``).

Files in notebooks/ and solutions/ are renamed; titles, badges and every link to a lesson follow, in notebooks, pages,
code and tests. Tables of lessons, and the parts of docs/teaching.md and docs/outcomes.md, are put into the new order.
Outputs stay as they are. All of it is planned before anything is written, and taken back if it is interrupted; to run
it twice is to run it once.
"""

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat

from tools import lessons, links

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "teaching.md"
OUTCOMES = ROOT / "docs" / "outcomes.md"
MAP = ROOT / "helpers" / "README.md"
NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", re.ASCII)  # of a lesson, such as counterfactual_maps
LINK = re.compile(r"(?<!\w)\d+_([a-z][a-z0-9_]*)\.ipynb\b")
NUMBERED = re.compile(
    r"\[\d+ ([^\]\n]*\]\([^()\s]*?\d+_([a-z][a-z0-9_]*)\.ipynb(?:#[^)\s]*)?\))"
)  # [04 Title](folder/04_cam.ipynb)
LINKED = re.compile(
    r"^\| \[\d+ [^\]\n]*\]\([^()\s]*?\d+_([a-z][a-z0-9_]*)\.ipynb\)"
)  # | [04 Title](folder/04_cam.ipynb)
NAMED = re.compile(r"^\| \*([a-z][a-z0-9_]*)\* \|")  # | *cam* |, in helpers/README.md


def found(folder: str, names: Sequence[str]) -> dict[str, Path]:
    """Return the notebooks of a folder, as they are called now, by the names of their lessons.

    Raises:
        SystemExit: one of them is not in the list, or two of them are the same lesson.
    """
    here: dict[str, Path] = {}
    for path in sorted((ROOT / folder).glob("*.ipynb")):
        name = lessons.name_of(path)
        if name not in names:
            cure = f"add {name!r} there, or move the file away" if NAME.fullmatch(name) else "move the file away"
            raise SystemExit(f"{folder}/{path.name} is not in ORDER of tools/lessons.py; {cure}.")
        if name in here:
            raise SystemExit(f"{folder}/{here[name].name} and {path.name} are one lesson; move one of them away.")
        here[name] = path
    return here


def plan(names: Sequence[str]) -> tuple[dict[Path, Path], dict[Path, str]]:
    """Return what has to change: the new path of each notebook that moves, and the new text of each file, by old path.

    Raises:
        SystemExit: list and folder do not have the same lessons, a name is none, or a notebook cannot be read.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise SystemExit(
                f"ORDER in tools/lessons.py names {name!r}; use words in small letters, as in counterfactual_maps."
            )
    here, answers = found("notebooks", names), found("solutions", names)
    for name in names:
        if names.count(name) > 1:
            raise SystemExit(f"ORDER in tools/lessons.py names {name!r} twice; take one of them out.")
        if name not in here:
            raise SystemExit(f"ORDER in tools/lessons.py names {name!r}, which has no notebook; take it out.")
    numbers = {name: f"{number:02d}" for number, name in enumerate(names)}
    moves = {}
    for name, path in [*here.items(), *answers.items()]:
        new = path.with_name(f"{numbers[name]}_{name}.ipynb")
        if new != path:
            moves[path] = new
    texts, notebooks = {}, set(links.notebooks())
    for path in links.files():
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        new = _notebook(path, text, numbers) if path in notebooks else mended(text, numbers)
        if path in (GUIDE, OUTCOMES):
            new = sorted_parts(new, names)
        if path == MAP:
            new = sorted_rows(new, NAMED, numbers)
        if new != text:
            texts[path] = new
    return moves, texts


def mended(text: str, numbers: dict[str, str]) -> str:
    """Return a text in which every link to a lesson has its number, and tables of lessons are in order."""
    text = NUMBERED.sub(lambda link: f"[{numbers[link[2]]} {link[1]}" if link[2] in numbers else link[0], text)
    text = LINK.sub(lambda link: f"{numbers[link[1]]}_{link[1]}.ipynb" if link[1] in numbers else link[0], text)
    return sorted_rows(text, LINKED, numbers)


def sorted_rows(text: str, row: re.Pattern, numbers: dict[str, str]) -> str:
    """Return a text in which rows of tables that stand together, each of a lesson, are in order."""
    lines = text.split("\n")
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and (found := row.match(lines[end])) and found[1] in numbers:
            end += 1
        lines[start:end] = sorted(lines[start:end], key=lambda line: int(numbers[row.match(line)[1]]))
        start = end + 1
    return "\n".join(lines)


def sorted_parts(text: str, names: Sequence[str]) -> str:
    """Return a page for teachers with its parts, each below the heading "### name" of a lesson, in order."""
    head, *parts = re.split(rf"^(?=### (?:{'|'.join(names)})$)", text, flags=re.M)
    parts.sort(key=lambda part: names.index(part.split()[1]))
    return "\n\n".join([head.rstrip("\n"), *(part.strip("\n") for part in parts)]) + "\n"


def _notebook(path: Path, text: str, numbers: dict[str, str]) -> str:
    """Return a notebook's file with its links, badges and title; unchanged text if they are right."""
    name = lessons.name_of(path)
    new_name = f"{numbers[name]}_{name}.ipynb" if name in numbers else path.name
    try:
        notebook = nbformat.reads(text, as_version=4)
    except Exception:
        raise SystemExit(f"{path.relative_to(ROOT)} cannot be read as a notebook; mend it first.") from None
    before = [cell.source for cell in notebook.cells]
    for cell in notebook.cells:
        cell.source = mended(cell.source, numbers)
    if name in numbers:
        header = notebook.cells[0]
        header.source = re.sub(r"^# \d+ · ", f"# {int(numbers[name])} · ", header.source, count=1, flags=re.M)
    if [cell.source for cell in notebook.cells] != before:
        text = nbformat.writes(notebook) + "\n"
    return links.with_parts(text, new_name, links.setting(), links.first_cell())


class Changes:
    """Changes of files that are all taken back if the ``with`` block ends with an error or with Ctrl-C."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def __enter__(self) -> "Changes":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        for step in reversed(self._undo if kind else []):
            step()

    def write(self, path: Path, text: str) -> None:
        """Write a text file: the whole of it, or nothing."""
        part = path.with_name(f".{path.name}.part")
        before = path.read_bytes() if path.exists() else None
        self._undo.append(lambda: part.unlink(missing_ok=True))
        self._undo.append(lambda: path.unlink(missing_ok=True) if before is None else path.write_bytes(before))
        part.write_bytes(text.encode("utf-8", "surrogateescape"))
        if before is not None:
            shutil.copymode(path, part)
        part.replace(path)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file."""
        self._undo.append(lambda: new.rename(old) if new.exists() and not old.exists() else None)
        old.rename(new)


def apply(changes: Changes, names: Sequence[str]) -> list[str]:
    """Carry out the plan for an order; return in words what was done."""
    moves, texts = plan(names)
    for path, text in texts.items():
        changes.write(path, text)
    for old, new in moves.items():  # no two lessons share a name, so no new file's name is an old one's
        changes.rename(old, new)
    done = [f"renamed {old.relative_to(ROOT)} to {new.name}" for old, new in moves.items()]
    return done + [f"wrote {moves.get(path, path).relative_to(ROOT)}" for path in texts]


def main() -> int:
    """Put the lessons into order."""
    with Changes() as changes:
        done = apply(changes, lessons.ORDER)
    print("\n".join(done) or "Every lesson has its number.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
