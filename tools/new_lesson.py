"""Begin a lesson: ``python -m tools.new_lesson counterfactual_maps --after occlusion``.

It is ``make new LESSON=counterfactual_maps AFTER=occlusion``; without AFTER the lesson comes last. The name goes into
ORDER of tools/lessons.py, and the lessons behind it get their new numbers. The lesson before it names it in its last
paragraph, **Next.**; what stood there becomes the last paragraph of the new lesson. Writes the notebook, run and saved,
its checkers helpers/checks/counterfactual_maps.py, their test tests/test_checks_counterfactual_maps.py, its rows in
README.md and helpers/README.md and its parts of docs/teaching.md and docs/outcomes.md: a lesson that passes every rule,
to be replaced part by part. What is in it stands in tools/lesson_template.py.
"""

import argparse
import ast
import keyword
import os
import re
import sys
from pathlib import Path

import nbformat

from tools import lessons, minutes, order
from tools.lesson_template import CELLS, CHECKER, HEADER, TEST
from tools.links import COLLAPSED, badges, first_cell, setting
from tools.run_notebooks import execute, tidy

ROOT = Path(__file__).resolve().parents[1]


def check_name(name: str, after: str) -> None:
    """Check that a new lesson can have this name, and this place.

    Raises:
        SystemExit: it is no name for a lesson, it is taken, or there is no lesson ``after``.
    """
    if not order.NAME.fullmatch(name) or keyword.iskeyword(name):
        raise SystemExit(
            f"{name!r} names no lesson: words in small letters, without a number, as in counterfactual_maps."
        )
    if after not in lessons.ORDER:
        raise SystemExit(f"There is no lesson {after!r} to come after; the lessons are {', '.join(lessons.ORDER)}.")
    taken = [path for path in files_of(name) if path.exists()]
    if name in lessons.ORDER or taken or name in exported():
        by = taken[0].relative_to(ROOT) if taken else "the course"
        raise SystemExit(f"The name {name!r} is taken by {by}; choose another one.")


def exported() -> set[str]:
    """Return the names that helpers.checks has already: a lesson of this name would hide them, or they it."""
    tree = ast.parse((ROOT / "helpers" / "checks" / "__init__.py").read_text(encoding="utf-8"))
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return {alias.asname or alias.name for node in imports for alias in node.names}


def files_of(name: str) -> tuple[Path, Path]:
    """Return where the checkers of a lesson and their test lie."""
    return ROOT / "helpers" / "checks" / f"{name}.py", ROOT / "tests" / f"test_checks_{name}.py"


def skeleton(name: str, number: int) -> nbformat.NotebookNode:
    """Return the notebook of a new lesson, not yet run."""
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    header = badges(setting(), f"{number:02d}_{name}.ipynb") + "\n\n" + fill(HEADER, name, number)
    cells = [make[kind](fill(text, name, number)) for kind, text in CELLS]
    set_up = make["code"](first_cell(), metadata=COLLAPSED)
    notebook = nbformat.v4.new_notebook(cells=[make["markdown"](header), set_up, *cells])
    tidy(notebook)
    return notebook


def handed_on(text: str, name: str, number: int) -> tuple[str, str]:
    """Return the notebook of the lesson before with the new lesson as its next one, and its own last paragraph.

    Without a paragraph that begins with **Next.** the notebook is returned as it is, and "".
    """
    notebook = nbformat.reads(text, as_version=4)
    found = [(cell, match) for cell in notebook.cells if (match := NEXT.search(cell.source))]
    if not found:
        return text, ""
    cell, match = found[-1]
    folder = re.search(r"\]\((\.\./notebooks/)?\d", match[0])
    folder = folder[1] or "" if folder else ""
    cell.source = cell.source[: match.start()] + fill(NEXT_IS_NEW, name, number).replace("](", f"]({folder}")
    return nbformat.writes(notebook) + "\n", match[0].replace("](../notebooks/", "](")


def fill(text: str, name: str, number: int) -> str:
    """Return a part of the template with the lesson's name and number in it."""
    file = f"{number:02d}_{name}.ipynb"
    return text.replace("@NAME@", name).replace("@NUMBER@", str(number)).replace("@FILE@", file)


NEXT = re.compile(r"\*\*Next\.\*\*.*\Z", re.S)
NEXT_IS_NEW = "**Next.** [Lesson *@NAME@*](@FILE@) is new: say here, in one sentence, which question it takes up."


def title_of(name: str) -> str:
    """Return a lesson's name as words: "counterfactual_maps" is "Counterfactual maps"."""
    return name.replace("_", " ").capitalize()


def with_name(text: str, name: str, after: str) -> str:
    """Return tools/lessons.py with a name in ORDER behind another one."""
    line = f'    "{after}",\n'
    if text.count(line) != 1:
        raise SystemExit(f"tools/lessons.py has no line {line.strip()} of its own in ORDER; put each name on a line.")
    return text.replace(line, f'{line}    "{name}",\n')


def with_row(readme: str, name: str, number: int) -> str:
    """Return the README with a row for the lesson below the last of the others.

    Raises:
        SystemExit: the README has no table of lessons.
    """
    link = f"[{number:02d} {title_of(name)}](notebooks/{number:02d}_{name}.ipynb)"
    rows = list(re.finditer(r"^\| \[\d\d [^\]]*\]\(notebooks/.*\n", readme, re.M))
    if not rows:
        raise SystemExit("README.md has no table with a row such as | [04 Title](notebooks/04_title.ipynb) |.")
    row = f"| {link} | what you will be able to do | which network | 20 min |\n"
    return readme[: rows[-1].end()] + row + readme[rows[-1].end() :]


def with_map_row(text: str, name: str) -> str:
    """Return helpers/README.md with a row for the lesson below the last of the others.

    Raises:
        SystemExit: it has no table of lessons.
    """
    rows = [row for row in re.finditer(r"^\| \*(\w+)\* \|.*\n", text, re.M) if row[1] in lessons.ORDER]
    if not rows:
        raise SystemExit("helpers/README.md has no table with a row such as | *cam* | what is new | `where.py` |.")
    row = f"| *{name}* | what is new in it | `checks/{name}.py` |\n"
    return text[: rows[-1].end()] + row + text[rows[-1].end() :]


PART = """
### {name}

<!-- measured {name} -->
...
<!-- end -->

**Aim.** What the class knows afterwards that it did not know before.

**Show live.** The one cell to run before everybody, and what to ask first.

**Wrong answers, and what they reveal.** The checker's hints, and what a student who gets them believes.

**Discuss.** Which question does the lesson leave open? Who would disagree with it?

*In no schedule yet.*
"""
OUTCOMES = """
### {name}

After this lesson a student can

- write here what one can see a student do afterwards, in two to four lines;
- choose a verb for each line that can be observed, such as compute, measure or explain.

| misconception | what to show against it |
|---|---|
| What a student believes before the lesson, as a sentence. | Section *The check*: the number that contradicts it. |
| What a wrong answer to the prediction reveals. | Section *The question comes first*: the picture that surprises. |
"""


def main(arguments: list[str] | None = None) -> None:
    """Write the files of a new lesson, run its notebook, and number the lessons; if that fails, change nothing."""
    parser = argparse.ArgumentParser(description="Begin a lesson.")
    parser.add_argument("name", help="words in small letters, such as counterfactual_maps")
    parser.add_argument("--after", default="", help="the lesson that it follows, such as occlusion; or else it is last")
    given = parser.parse_args(arguments)
    name, after = given.name, given.after or lessons.ORDER[-1]
    if not name:
        raise SystemExit("Give the lesson's name: make new LESSON=counterfactual_maps AFTER=occlusion")
    check_name(name, after)
    order.plan(lessons.ORDER)  # refuses a tree that is not in order to begin with
    readme, listing = ROOT / "README.md", ROOT / "tools" / "lessons.py"
    number = lessons.ORDER.index(after) + 1
    names = (*lessons.ORDER[:number], name, *lessons.ORDER[number:])
    notebook, (checker, test) = ROOT / "notebooks" / f"{number:02d}_{name}.ipynb", files_of(name)
    os.environ.update(COURSE_WORLD="course", OMP_WAIT_POLICY="passive")
    os.environ.pop("COURSE_STRICT", None)
    with order.Changes() as changes:
        new = skeleton(name, number)
        for folder in ("solutions", "notebooks"):
            if (before := ROOT / folder / f"{number - 1:02d}_{after}.ipynb").exists():
                text, following = handed_on(before.read_text(encoding="utf-8"), name, number)
                if following:
                    changes.write(before, text)
                    new.cells[-1].source = NEXT.sub(lambda _, words=following: words, new.cells[-1].source)
        changes.write(notebook, nbformat.writes(new) + "\n")
        changes.write(checker, fill(CHECKER, name, number))
        changes.write(test, fill(TEST, name, number))
        execute(notebook)
        changes.write(listing, with_name(listing.read_text(encoding="utf-8"), name, after))
        changes.write(readme, with_row(readme.read_text(encoding="utf-8"), name, number))
        changes.write(order.MAP, with_map_row(order.MAP.read_text(encoding="utf-8"), name))
        for page, part in ((order.GUIDE, PART), (order.OUTCOMES, OUTCOMES)):
            changes.write(page, page.read_text(encoding="utf-8") + part.format(name=name))
        lessons.ORDER = names
        done = order.apply(changes, names)
        changes.write(order.GUIDE, minutes.updated(order.GUIDE.read_text(encoding="utf-8")))
    done = [f"wrote {path.relative_to(ROOT)}" for path in (notebook, checker, test, listing)] + done
    print("\n".join(done))
    print("Now replace the parts of the notebook, from top to bottom; CONTRIBUTING.md has the check list.")


if __name__ == "__main__":
    main(sys.argv[1:])
