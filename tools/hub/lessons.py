"""Students who work: one alone, or several at once, through a lesson from its first cell to its last."""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tools.hub import memory
from tools.hub.student import Student
from tools.hub.table import LESSON
from tools.lessons import file_name


class Visit(NamedTuple):
    """A lesson as one student saw it: seconds since the first cell was sent, processor seconds, and what went wrong."""

    picture: float
    map: float
    whole: float
    processor: float
    faults: list[str]


def path_of(lesson: str) -> str:
    """Return where a lesson lies in a student's own folder."""
    return f"notebooks/{file_name(lesson)}"


def visit(student: Student, lesson: str = LESSON, *, to_the_map: bool = False) -> Visit:
    """Open a lesson with a new kernel and run its cells in order; the kernel stays.

    A picture is any image that a cell shows, a map one whose alternative text speaks of a map.

    Args:
        student: who has arrived.
        lesson: its name.
        to_the_map: stop at the first map.
    """
    cells = student.cells(path_of(lesson))
    if student.kernel:
        student.close()
    student.open(path_of(lesson))
    before, begin = memory.processor_seconds(student.name), time.perf_counter()
    picture = first_map = 0.0
    faults = []
    for cell in cells:
        for output in student.run(cell):
            at = output["at"] - begin
            words = [
                given.get("alt", "") for given in (output.get("metadata") or {}).values() if isinstance(given, dict)
            ]
            if any(kind.startswith("image/") for kind in output.get("data", ())):
                picture = picture or at
                if any(re.search(r"\bmaps?\b", alt, re.I) for alt in words):
                    first_map = first_map or at
            if output["type"] in ("error", "died"):
                faults.append(f"{student.name}: {output.get('ename', 'the kernel died')}: {output.get('evalue', '')}")
        if faults or (to_the_map and first_map):
            break
    if to_the_map and not first_map and not faults:
        faults.append(f"{student.name}: no cell of {lesson} showed a map")
    whole = time.perf_counter() - begin
    return Visit(picture, first_map, whole, memory.processor_seconds(student.name) - before, faults)


def at_once(students: Sequence[Student], work: Callable) -> list:
    """Let several students do the same at once; return what each got, in their order."""
    pool = ThreadPoolExecutor(len(students))
    try:
        return list(pool.map(work, students))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, the end of the hub ends the waiting
