"""Grade a folder of notebooks that students handed in: ``python solutions/grade.py FOLDER`` writes FOLDER/grades.csv.

A submission is ``FOLDER/name.ipynb``, or a folder ``FOLDER/name/`` with one notebook and what it needs. Each runs in a
process of its own, in a copy of the course, with limits of time (for the cells and the check of one part: a part that
hangs costs itself, not the next one) and of memory, and without a network. The checkers run here, from the course as
it is on this disk: of the student's notebook they get tensors and numbers, and they call the student's functions
through a proxy (``grading/student.py``). So it does not matter what a notebook does to its copy of the checkers.
Trying to write outside its own folder, or replacing a checker, costs the part all the same where it is noticed. A cell
that fails costs only what needs it; after a crash the cells before it run again in a new process.

The table has a row for each entry of the folder, with points or with the reason why it was not graded. It is written
after each student. The next call goes on from there: it grades what is new or has changed, and ``--again`` grades all.
What the fence around the processes holds, and what it does not hold, stands in ``docs/grading.md``.
"""

import argparse
import contextlib
import errno
import hashlib
import io
import math
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

with contextlib.suppress(ImportError):  # Windows has none, and is told below that it cannot grade
    import fcntl

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "solutions")]
os.environ["COURSE_WORLD"] = "course"
os.environ.pop("COURSE_STRICT", None)

from grading import exam  # noqa: E402
from grading.folder import TABLE, Submission, in_words, submissions  # noqa: E402
from grading.parts import Part, exercises  # noqa: E402
from grading.sandbox import Nursery, nearly_full, state_of  # noqa: E402
from grading.student import PATIENCE, Lost, NoProcess, Student  # noqa: E402
from grading.table import Table, shown  # noqa: E402

from tools.console import print_anything  # noqa: E402
from tools.lessons import file_name, name_of  # noqa: E402

GUARDED = ("helpers", "datasets", "solutions")
MOST_LETTERS = 300  # of a reason
SEED = re.compile(r"""^\s*(?:["']?seed["']?\s*[:=]\s*)?(\d+),?\s*$""", re.M)  # a line of a file: 7, or "seed": 7,


class Rules(NamedTuple):
    """What is graded: its parts, the notebook's name, files beside it; seconds to compute for a part, memory in GB.

    ``known`` is the text of a private bank: another one is graded anew.
    """

    parts: list[Part]
    notebook: str
    files: dict[str, bytes]
    seconds: float = 120.0
    memory: float = 4.0
    known: str = ""


class Scores(dict[str, tuple[int, str]]):
    """Of each part the points, and the reason why there are none; and the free texts, by their variables."""

    def __init__(self, scores: Mapping[str, tuple[int, str]] = MappingProxyType({})) -> None:
        super().__init__(scores)
        self.texts: dict[str, str] = {}


def grade_one(submission: Submission, rules: Rules, nursery: Nursery, guarded: Path) -> Scores | str:
    """Run one submission and return its scores, or why there are none.

    Args:
        submission: what was handed in.
        rules: what is graded, and with which limits.
        nursery: where the processes come from.
        guarded: a folder that must not change meanwhile.

    Raises:
        OSError: this machine has no room or no process for it, which no student shall pay for.
    """
    with nursery.fresh_folder() as work:
        try:
            submission.copy(work, rules.notebook)
            for name, content in rules.files.items():
                (work / name).write_bytes(content)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(nearly_full()) from None
            return in_words(error)
        name = submission.notebook.name if submission.folder else rules.notebook
        student = Student(nursery, work, rules.seconds, rules.memory, [] if nursery.locked else [guarded])
        try:
            cells = student.read(name)
            student.begin()
            return _grade_cells(cells, rules.parts, student)
        except Lost as lost:
            return f"cannot be read: reading it {lost}"
        except NoProcess as error:
            raise OSError(str(error)) from None
        except ValueError as error:
            return str(error)
        finally:
            student.stop()


def _grade_cells(cells: list[str], parts: list[Part], student: Student) -> Scores:
    scores, root, failed, last = Scores(), None, None, None  # root: what went wrong first of all
    for number, source in enumerate(cells, 1):
        if wrong := student.run(source):
            wrong = f"cell {number} {wrong}"
            failed = failed or (f"{wrong}, after {root}" if root and "NameError" in wrong else wrong)
            root = root or wrong
        for last in (part for part in parts if part.mark in source):
            scores[last.name] = _judge(last, student, failed)
            scores.texts |= _texts(last, student)
            student.begin()
            failed = None
    if last and student.broken:
        scores[last.name] = (0, f"it {student.broken[0]}.")
        student.begin()
    for part in parts:
        if part.name not in scores:
            scores[part.name] = _judge(part, student, failed)
            scores.texts |= _texts(part, student)
            student.begin()
    for part in parts:  # a text may be written in a cell behind that of its part
        if not all(map(scores.texts.get, part.texts)):
            scores.texts |= {name: text for name, text in _texts(part, student).items() if text}
    ordered = Scores({part.name: scores[part.name] for part in parts})
    ordered.texts = scores.texts
    return ordered


def _texts(part: Part, student: Student) -> dict[str, str]:
    """Return the free texts of a part. One that is missing, or is no text, is empty; one that is lost is left out."""
    texts = {}
    for name in part.texts:
        try:
            (value,) = student.fetch([name])
        except KeyError:
            value = ""
        except Lost:
            continue
        texts[name] = value.strip() if isinstance(value, str) and value.strip(" .\n") else ""
    return texts


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


def grade(folder: Path, rules: Rules, nursery: Nursery, again: bool = False) -> dict[str, Scores | str]:
    """Grade the submissions in a folder and write ``grades.csv`` there, after each of them.

    Args:
        folder: with an entry for each student.
        rules: what is graded, and with which limits.
        nursery: where the processes come from.
        again: whether to grade what has not changed since the last call, too.

    Returns:
        For each student who was graded now, by name, the scores, or why there are none.

    Raises:
        ValueError: there is nothing to grade, or no table can be written.
        OSError: the table cannot be written any more, or the next student cannot be graded on this machine as it is;
            what the table held stays there.
    """
    found, now = submissions(folder, rules.notebook), {}
    key = _key(rules)
    table, course = _table(folder, rules, key), _version(rules, nursery.root)
    for name, one in found.items():
        wrong = one.wrong
        try:
            content = wrong or f"{course}{one.fingerprint()}"
        except (OSError, ValueError) as error:
            content = wrong = in_words(error)
        version = f"{key}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        known = table.has(one.entry, version) and not again
        if not known:
            if not wrong and nursery.fence is None:
                print(nursery.describe(), flush=True)
            scores = wrong or grade_one(one, rules, nursery, folder)
            if isinstance(scores, str) and table.has_points(one.entry):
                print(f"{shown(name)}: not graded. It {scores}; its row has points, and stays as it is", flush=True)
                continue
            now[name] = scores
            table.put(name, one.entry, version, scores, getattr(scores, "texts", None))
        row = table.row(one.entry)
        said = f"not graded. {row['not graded']}" if row["not graded"] else f"{row['total']} of {len(rules.parts)}"
        print(f"{shown(name)}: {said}{', as before' * known}", flush=True)
    return now


def _table(folder: Path, rules: Rules, key: str) -> Table:
    texts = [text for part in rules.parts for text in part.texts]
    return Table(folder / TABLE, [part.name for part in rules.parts], texts, key)


def _key(rules: Rules) -> str:
    """Return by what a table knows which lesson or exam it is about; a letter first, for spreadsheets."""
    known = hashlib.sha256(repr([name_of(Path(rules.notebook)), rules.files]).encode())
    return f"x{known.hexdigest()[:8]}"


def _version(rules: Rules, root: Path) -> str:
    """Return a number that is another one as soon as the course's code, the parts, the files or the limits are."""
    known = hashlib.sha256(repr([[part.name for part in rules.parts], *rules[1:]]).encode())
    for path in sorted(path for name in GUARDED for path in (root / name).rglob("*.py")):
        known.update(path.read_bytes())
    return known.hexdigest()


def seed_of(asked: str) -> int:
    """Return an exam's seed, from the file that holds it on a line of its own, or from the seed itself.

    Raises:
        ValueError: there is no such file, or not one such line in it.
    """
    if asked.isdecimal() and not Path(asked).is_file():
        print("Others on this machine can see a seed on a command line; give the file that holds it.", file=sys.stderr)
        return int(asked)
    try:
        found = SEED.findall(Path(asked).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        found = []
    if len(found) != 1:
        raise ValueError(f"{asked} is no text file with the exam's seed, a number, on one line of its own.")
    return int(found[0])


def main(arguments: list[str] | None = None) -> int:
    """Grade what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description="Grade a folder of notebooks that students handed in.")
    parser.add_argument("folder", type=Path, help="with name.ipynb or name/notebook.ipynb for each student")
    parser.add_argument("--exam", metavar="FILE", help="grade the exam whose seed stands in FILE, not the exercises")
    limit = f"of computing for the cells and the check of one part (120), {PATIENCE} times as many by the clock"
    parser.add_argument("--seconds", type=float, default=120.0, help=limit)
    parser.add_argument("--memory", type=float, default=4.0, help="GB for one notebook (4)")
    parser.add_argument("--again", action="store_true", help="grade what has not changed since the last call, too")
    asked = parser.parse_args(arguments)
    if not (0 < asked.seconds < math.inf and 0 < asked.memory < math.inf):
        parser.error("--seconds and --memory must be more than 0.")
    print_anything()  # names of students
    sys.dont_write_bytecode = True  # so that nothing in the course changes by itself
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        print("You are root, and so is each notebook: grade as an ordinary user.", file=sys.stderr)
    before, table = _course(), asked.folder / TABLE
    try:
        if asked.exam is None:
            rules = Rules(exercises(), file_name("exercises"), {}, asked.seconds, asked.memory)
        else:
            seed = seed_of(asked.exam)
            drawn, private = exam.draw(seed), exam.private(Path(asked.exam), seed)
            every, files = exam.parts(drawn, private), exam.files(drawn)
            rules = Rules(every, exam.NOTEBOOK, files, asked.seconds, asked.memory, private.known)
        with Nursery(ROOT) as nursery, alone(asked.folder):
            grade(asked.folder, rules, nursery, asked.again)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"\nStopped. {table} has the grades so far; the same command goes on from there.", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as error:
        said = str(error).rstrip(".")
        print(f"Stopped: {said}. {table} has the grades so far; mend this, and go on.", file=sys.stderr)
        return 1
    print(f"wrote {table}; what stands there is graded again if it changes, and all of it with --again")
    if texts := [text for part in rules.parts for text in part.texts]:
        columns = ", ".join(f"text {text}" for text in texts)
        print(
            f"Free texts stand in the columns {columns}. Read them beside the rubric in the key, and write 0 to 3 into"
        )
        print("the columns beside them, level ...; what you write there stays for as long as the text does.")
    for folder in nursery.left:
        print(f"{folder} could not be removed: remove it as root.", file=sys.stderr)
    changed = sorted({path for path, _ in before ^ _course()})
    if changed:
        print(f"{changed[0]} changed meanwhile. Unless it was you: restore the course, grade again.", file=sys.stderr)
    return int(bool(changed))


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """See that nobody else grades this folder meanwhile; raises ValueError if somebody does."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # for others to say
            opened = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, opened)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{folder} is being graded already: wait until that has ended.") from None
            except OSError:  # a disk somewhere else, without locks
                pass
        yield


def _course() -> set[tuple]:
    return {item for name in GUARDED for item in state_of(ROOT / name).items()}


def end_as_on_ctrl_c() -> None:
    """Clean up also when somebody ends this process, or closes its terminal without ``nohup``."""
    for name in ("SIGTERM", "SIGHUP"):
        if (number := getattr(signal, name, None)) and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    end_as_on_ctrl_c()
    sys.exit(main())
