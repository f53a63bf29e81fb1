"""Write the measured minutes of every lesson into docs/teaching.md, from the notebooks' own headers.

    python -m tools.minutes            write them
    python -m tools.minutes --check    only say whether they are up to date; exit with 1 if not

The seconds in a header are those of the lesson's last run: tools/run_notebooks.py writes them.
"""

import re
import sys
from pathlib import Path

import nbformat

from tools import lessons
from tools.progress import CALL

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "teaching.md"
BLOCK = re.compile(r"(<!-- measured (\w+) -->\n)(?:(?!<!--).)*(<!-- end -->)", re.S)


def measured(path: Path) -> dict[str, str | int]:
    """Return what a lesson's header says: title, minutes to read, seconds to run, needs; and count its questions.

    Raises:
        SystemExit: the header has no such line.
    """
    cells = nbformat.read(path, as_version=4).cells
    header = cells[0].source
    title = re.search(r"^# \d+ · (.+)$", header, re.M)
    line = re.search(r"^Reading (\d+) minutes · running (\d+) s · needs (.+)$", header, re.M)
    if not title or not line:
        raise SystemExit(f"{path.name}: its header has no line 'Reading ... minutes · running ... s · needs ...'.")
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    return {
        "title": title[1],
        "reading": int(line[1]),
        "running": int(line[2]),
        "needs": line[3],
        "exercises": sum(len(CALL.findall(source)) for source in code),
        "predictions": sum(cell.source.count("> **Predict first.**") for cell in cells),
    }


def line(measure: dict) -> str:
    """Return a lesson's line in the guide."""
    counts = [(measure["exercises"], "exercise"), (measure["predictions"], "prediction")]
    parts = [f"Reading {measure['reading']} minutes", f"running {measure['running']} s", f"needs {measure['needs']}"]
    return " · ".join([*parts, *(f"{number} {word}{'s' * (number != 1)}" for number, word in counts)])


def table(measures: dict[str, dict]) -> str:
    """Return what was measured of all lessons as a table, with their sums."""
    rows = ["| lesson | to read | to run | exercises | predictions |", "|---|---|---|---|---|"]
    for name, one in measures.items():
        link = f"[{lessons.number(name)} {one['title']}](../notebooks/{lessons.file_name(name)})"
        counts = f"{one['exercises']} | {one['predictions']}"
        rows.append(f"| {link} | {one['reading']} min | {one['running']} s | {counts} |")
    sums = {
        key: sum(one[key] for one in measures.values()) for key in ("reading", "running", "exercises", "predictions")
    }
    counts = f"{sums['exercises']} | {sums['predictions']}"
    return "\n".join([*rows, f"| all | {sums['reading']} min | {sums['running']} s | {counts} |"])


def updated(text: str) -> str:
    """Return the guide with the minutes of the notebooks as they are.

    Raises:
        SystemExit: a lesson has no place in the guide, or a place no lesson.
    """
    places = {found[2] for found in BLOCK.finditer(text)} - {"all"}
    differing = ", ".join(sorted(places ^ set(lessons.ORDER)))
    if differing:
        raise SystemExit(f"docs/teaching.md and tools/lessons.py differ in lessons {differing}.")
    measures = {name: measured(lessons.path(name)) for name in lessons.ORDER}

    def filled(found: re.Match) -> str:
        return f"{found[1]}{table(measures) if found[2] == 'all' else line(measures[found[2]])}\n{found[3]}"

    return BLOCK.sub(filled, text)


def main(arguments: list[str]) -> int:
    """Write or check the minutes; return the exit status."""
    text = GUIDE.read_text(encoding="utf-8")
    new = updated(text)
    if "--check" in arguments:
        print("up to date" if new == text else "docs/teaching.md: the minutes are old; run python -m tools.minutes")
        return int(new != text)
    GUIDE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
