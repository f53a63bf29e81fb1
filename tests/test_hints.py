"""Every exercise has two hints, folded between its cell and its solution; neither is an answer."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from test_repository import LESSONS, NOTEBOOKS, cells_of, code_of, every_lesson, prose_of

from tools.lessons import name_of

BLANK = re.compile(r"^def (\w+)\([^)]*\):\n(?:    .*\n)*?    \.\.\.  # your code here", re.M)
# lesson *exercises* asks for values, too: `prototypes = ...` and the line below it
ANSWER = re.compile(r"^(?:def )?(\w+).*\n(?:    .*\n)*? *\.\.\.  # your code here", re.M)
HINT = re.compile(r"<details><summary>Hint (\d)</summary>\n\n(.*?)\n</details>\n", re.S)
SOLUTION = re.compile(r"<details><summary>(?:Solution|Steps)</summary>\n\n(.*?)</details>", re.S)


def exercises(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of each exercise of a lesson and the Markdown that has its hints.

    That is the cell below; in lesson *exercises*, whose solutions lie in solutions/, it is the one above, which has the
    steps.
    """
    for above, below in pairwise(cells_of(path)):
        if name_of(path) == "exercises":
            code, prose, asked = below, above, ANSWER
        else:
            code, prose, asked = above, below, BLANK
        if code["cell_type"] == "code":
            for name in asked.findall(code["source"]):
                yield name, prose["source"] if prose["cell_type"] == "markdown" else ""


def found(path: Path) -> list:
    return [pytest.param(*exercise, id=f"{name_of(path)}-{exercise[0]}") for exercise in exercises(path)]


@every_lesson
def test_no_exercise_and_no_hint_is_overlooked(path):
    blanks = sum(cell["source"].count("...  # your code here") for cell in code_of(path))
    hints = prose_of(path).count("<summary>Hint")
    assert len(found(path)) == blanks > 0
    assert hints == 2 * blanks


@pytest.mark.parametrize(("name", "prose"), [exercise for path in LESSONS for exercise in found(path)])
def test_an_exercise_has_two_short_hints_before_its_solution(name, prose):
    assert re.search(rf"\b{name}\b", prose), "these are the hints of another exercise"
    hints, solution = list(HINT.finditer(prose)), SOLUTION.search(prose)
    assert [hint[1] for hint in hints] == ["1", "2"]
    assert solution and hints[-1].end() <= solution.start(), "the hints stand directly above the solution"
    first, second = (" ".join(hint[2].split()) for hint in hints)
    for hint in (first, second):
        assert 6 <= len(hint.split()) <= 35, hint
    assert "`" not in first, "the first hint is an idea; code comes with the second"
    assert second not in " ".join(solution[1].split())
    assert first != second and second not in first


def test_the_answered_exercises_have_the_hints_of_the_blank_ones():
    blank, answered = (HINT.findall(prose_of(path)) for path in NOTEBOOKS if name_of(path) == "exercises")
    assert blank == answered
