"""Grade a folder of notebooks that students handed in: ``python solutions/grade.py FOLDER`` writes FOLDER/grades.csv.

A submission is ``FOLDER/name.ipynb``, or a folder ``FOLDER/name/`` with one notebook and what it needs. Each runs in a
process of its own, in a copy of the course, with a limit of time (for the cells and the check of one part: a part that
hangs costs itself, not the next one) and of memory, and without a network. The checkers run here, from the course as
it is on this disk: of the student's notebook they get tensors and numbers, and they call the student's functions
through a proxy (``grading/student.py``). So it does not matter what a notebook does to its copy of the checkers.
Trying to write outside its own folder, or replacing a checker, costs the part all the same where it is noticed. A cell
that fails costs only what needs it; after a crash the cells before it run again in a new process.

What this does not stop: without Landlock (Linux has it from 5.13 on) native code, such as ``ctypes`` or OpenCV's own
file functions, goes round the fence: it may write, and read other submissions, with the rights of the user who grades.
Without Landlock's version 4 and without ``unshare`` it also reaches the network. A process that native code has
started may outlive its notebook. Memory is limited on Linux only; the disk is limited by file, not in all. Nothing here
tells a student's own answer from a friend's, or from the one in ``solutions/``, which everyone can read; and an exam's
key is safe only as long as its seed is not guessed. For strangers' notebooks take a virtual machine to throw away.
"""

import argparse
import contextlib
import csv
import io
import math
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "solutions")]
os.environ["COURSE_WORLD"] = "course"
os.environ.pop("COURSE_STRICT", None)

from grading import exam  # noqa: E402
from grading.folder import Submission, submissions  # noqa: E402
from grading.parts import Part, exercises  # noqa: E402
from grading.sandbox import Nursery, state_of  # noqa: E402
from grading.student import Lost, Student  # noqa: E402

from tools.console import print_anything  # noqa: E402
from tools.lessons import file_name  # noqa: E402

GUARDED = ("helpers", "datasets", "solutions")
MOST_LETTERS = 300  # of a reason


class Rules(NamedTuple):
    """What is graded: its parts, its notebook's name, files that lie beside it; seconds for a part, memory in GB."""

    parts: list[Part]
    notebook: str
    files: dict[str, bytes]
    seconds: float = 120.0
    memory: float = 4.0


Scores = dict[str, tuple[int, str]]  # of each part: points, and the reason why there are none


def grade_one(submission: Submission, rules: Rules, nursery: Nursery, guarded: Path) -> Scores:
    """Run one submission and return its scores; nothing may change in the folder ``guarded`` meanwhile."""
    work, wrong = nursery.course / "submission", submission.cells if isinstance(submission.cells, str) else None
    shutil.rmtree(work, ignore_errors=True)
    try:
        if submission.folder and not wrong:
            shutil.copytree(submission.folder, work, symlinks=True)
        work.mkdir(exist_ok=True)
        for name, content in rules.files.items():
            (work / name).unlink(missing_ok=True)  # it may be a link to anywhere
            (work / name).write_bytes(content)
    except OSError:  # shutil.Error is one
        wrong = "its folder cannot be copied"
    if wrong:
        return {part.name: (0, f"{wrong}.") for part in rules.parts}
    student = Student(
        nursery, work, rules.seconds, rules.memory, [] if nursery.kernel and nursery.locked else [guarded]
    )
    try:
        return _grade_cells(submission.cells, rules.parts, student)
    finally:
        student.stop()
        shutil.rmtree(work, ignore_errors=True)


def _grade_cells(cells: list[str], parts: list[Part], student: Student) -> Scores:
    scores, root, failed, last = {}, None, None, None  # root: what went wrong first of all
    for number, source in enumerate(cells, 1):
        if wrong := student.run(source):
            wrong = f"cell {number} {wrong}"
            failed = failed or (f"{wrong}, after {root}" if root and "NameError" in wrong else wrong)
            root = root or wrong
        for last in (part for part in parts if part.mark in source):
            scores[last.name] = _judge(last, student, failed)
            student.begin()
            failed = None
    if last and student.broken:
        scores[last.name] = (0, f"it {student.broken[0]}.")
        student.begin()
    for part in parts:
        if part.name not in scores:
            scores[part.name] = _judge(part, student, failed)
            student.begin()
    return {part.name: scores[part.name] for part in parts}


def _judge(part: Part, student: Student, failed: str | None) -> tuple[int, str]:
    """Return the points for a part, and the reason why there are none; ``failed`` says which cell went wrong."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            verdict = not student.broken and part.check(*student.fetch(part.answers), *part.given())
        reason = said.getvalue().strip().rpartition("\n")[2].removeprefix("Not yet: ")
        if verdict is None:
            reason = failed or "not answered"
    except KeyError as missing:
        verdict, reason = False, failed or f"there is no {missing}"
    except Lost as lost:
        verdict, reason = False, f"its answer {lost}"
    if student.broken:
        verdict, reason = False, f"it {student.broken[0]}"
    reason = "".join(letter if letter.isprintable() else " " for letter in reason)[:MOST_LETTERS]
    return (1, "") if verdict is True else (0, f"{reason.rstrip('.')}.")


def grade(folder: Path, rules: Rules, nursery: Nursery) -> dict[str, Scores]:
    """Grade every submission in a folder and write ``grades.csv`` there; return what it says.

    Raises:
        ValueError: there is nothing to grade.
    """
    found, table = submissions(folder, rules.notebook), {}
    for name, submission in found.items():
        table[name] = grade_one(submission, rules, nursery, folder)
        print(f"{name}: {sum(points for points, _ in table[name].values())} of {len(rules.parts)}", flush=True)
    names = [part.name for part in rules.parts]
    with (folder / "grades.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["name", *names, "total", *(f"why {name}" for name in names)])
        for name, scores in table.items():
            points, why = [scores[one][0] for one in names], [scores[one][1] for one in names]
            rows.writerow([_plain(name), *points, sum(points), *map(_plain, why)])
    return table


def _plain(text: str) -> str:
    """Keep a spreadsheet from taking a student's text for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def main(arguments: list[str] | None = None) -> int:
    """Grade what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description="Grade a folder of notebooks that students handed in.")
    parser.add_argument("folder", type=Path, help="with name.ipynb or name/notebook.ipynb for each student")
    parser.add_argument("--exam", type=int, metavar="SEED", help="grade the exam of this seed, not the exercises")
    parser.add_argument("--seconds", type=float, default=120.0, help="for the cells and the check of one part (120)")
    parser.add_argument("--memory", type=float, default=4.0, help="GB for one notebook (4)")
    asked = parser.parse_args(arguments)
    if not (0 < asked.seconds < math.inf and 0 < asked.memory < math.inf):
        parser.error("--seconds and --memory must be more than 0.")
    print_anything()  # names of students
    sys.dont_write_bytecode = True  # so that nothing in the course changes by itself
    before = _course()
    try:
        if asked.exam is None:
            rules = Rules(exercises(), file_name("exercises"), {}, asked.seconds, asked.memory)
        else:
            drawn = exam.draw(asked.exam)
            rules = Rules(exam.parts(drawn), exam.NOTEBOOK, exam.files(drawn), asked.seconds, asked.memory)
        with Nursery(ROOT) as nursery:
            grade(asked.folder, rules, nursery)
    except ValueError as error:
        parser.error(str(error))
    print(f"wrote {asked.folder / 'grades.csv'}")
    changed = sorted({path for path, _ in before ^ _course()})
    if changed:
        print(f"{changed[0]} changed meanwhile. Unless it was you: restore the course, grade again.", file=sys.stderr)
    return int(bool(changed))


def _course() -> set[tuple]:
    return {item for name in GUARDED for item in state_of(ROOT / name).items()}


if __name__ == "__main__":
    sys.exit(main())
