"""Begin a lesson: ``python -m tools.new_lesson 18_name`` (or ``make new LESSON=18_name``).

Writes notebooks/18_name.ipynb, run and saved, its checkers helpers/checks/lesson_18.py, their test
tests/test_checks_18.py, its row in the README and its part of docs/teaching.md: a lesson that passes every rule, to be
replaced part by part. What is in it stands in tools/lesson_template.py.
"""

import os
import re
import sys
from pathlib import Path

import nbformat

from tools.lesson_template import CELLS, CHECKER, HEADER, TEST
from tools.links import badges, first_cell, setting
from tools.minutes import GUIDE
from tools.minutes import main as update_minutes
from tools.run_notebooks import execute, tidy

ROOT = Path(__file__).resolve().parents[1]


def check_name(name: str) -> str:
    """Return the number of a new lesson, two digits, given its name.

    Raises:
        SystemExit: it is no name for a lesson, or its number is taken.
    """
    found = re.fullmatch(r"(\d\d)_[a-z][a-z0-9]*(?:_[a-z0-9]+)*", name, re.ASCII)
    if not found:
        raise SystemExit(f"{name!r} names no lesson: two digits, then words in small letters, as in 18_name.")
    number = found[1]
    named = [ROOT / f"helpers/checks/lesson_{number}.py", ROOT / f"tests/test_checks_{number}.py"]
    taken = [*sorted((ROOT / "notebooks").glob(f"{number}_*.ipynb")), *(path for path in named if path.exists())]
    if taken:
        raise SystemExit(f"{number} is taken by {taken[0].relative_to(ROOT)}; choose another number.")
    return number


def skeleton(name: str, number: str) -> nbformat.NotebookNode:
    """Return the notebook of a new lesson, not yet run."""
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    header = badges(setting(), f"{name}.ipynb") + "\n\n" + fill(HEADER, name, number)
    cells = [make[kind](fill(text, name, number)) for kind, text in CELLS]
    notebook = nbformat.v4.new_notebook(cells=[make["markdown"](header), make["code"](first_cell()), *cells])
    tidy(notebook)
    return notebook


def fill(text: str, name: str, number: str) -> str:
    """Return a part of the template with the lesson's name and number in it."""
    return text.replace("@NAME@", name).replace("@NUMBER@", number).replace("@INTEGER@", str(int(number)))


def with_row(readme: str, name: str, number: str) -> str:
    """Return the README with a row for the lesson, in its place among the others.

    Raises:
        SystemExit: the README has no table of lessons.
    """
    title = name[3:].replace("_", " ").capitalize()
    row = f"| [{number} {title}](notebooks/{name}.ipynb) | what you will be able to do | which network | 20 min |\n"
    rows = list(re.finditer(r"^\| \[(\d\d) [^\]]*\]\(notebooks/.*\n", readme, re.M))
    if not rows:
        raise SystemExit("README.md has no table with a row such as | [04 Title](notebooks/04_title.ipynb) |.")
    before = [found for found in rows if found[1] < number]
    place = before[-1].end() if before else rows[0].start()
    return readme[:place] + row + readme[place:]


PART = """
### {number} {title}

<!-- measured {number} -->
*...*
<!-- end -->

**Aim.** What the class knows afterwards that it did not know before.

**Show live.** The one cell to run before everybody, and what to ask first.

**Wrong answers, and what they reveal.** The checker's hints, and what a student who gets them believes.

**Discuss.** Which question does the lesson leave open? Who would disagree with it?

*In no schedule yet.*
"""


def main(names: list[str]) -> None:
    """Write the files of a new lesson, and run its notebook; if that fails, leave nothing behind."""
    if len(names) != 1 or not names[0]:
        raise SystemExit("Give one name, such as 18_name: make new LESSON=18_name")
    name = names[0]
    number = check_name(name)
    readme = ROOT / "README.md"
    listed = with_row(readme.read_text(encoding="utf-8"), name, number)
    notebook = ROOT / "notebooks" / f"{name}.ipynb"
    texts = {
        notebook: nbformat.writes(skeleton(name, number)) + "\n",
        ROOT / f"helpers/checks/lesson_{number}.py": fill(CHECKER, name, number),
        ROOT / f"tests/test_checks_{number}.py": fill(TEST, name, number),
    }
    os.environ.update(COURSE_WORLD="course", OMP_WAIT_POLICY="passive")
    os.environ.pop("COURSE_STRICT", None)
    try:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        execute(notebook)
    except BaseException:
        for path in texts:
            path.unlink(missing_ok=True)
        raise
    readme.write_text(listed, encoding="utf-8")
    title = name[3:].replace("_", " ").capitalize()
    with GUIDE.open("a", encoding="utf-8") as guide:
        guide.write(PART.format(number=number, title=title))
    update_minutes([])
    for path in (*texts, readme, GUIDE):
        print(f"wrote {path.relative_to(ROOT)}")
    print("Now replace the parts of the notebook, from top to bottom; CONTRIBUTING.md has the check list.")


if __name__ == "__main__":
    main(sys.argv[1:])
