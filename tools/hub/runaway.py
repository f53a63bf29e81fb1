"""One student's cell runs away, with the memory or with a core: what it costs the others, and how it ends."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from tools.hub import memory
from tools.hub.lessons import Visit, at_once, path_of, visit
from tools.hub.separation import Check
from tools.hub.student import Student
from tools.hub.table import LESSON

SOON = 30  # seconds in which an interrupted cell must have stopped
LOOP = "while True: pass"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + LOOP
# It ends by itself at twice the limit, so that a limit that does not hold costs the machine no more than that.
HOG = """
hog = []
while len(hog) < {most}:
    hog.append(b'x' * 2**20)
print('never stopped')
"""


def fresh(student: Student) -> None:
    """Give a student a new kernel."""
    if student.kernel:
        student.close()
    student.open(path_of(LESSON))


def strike(student: Student, broken: str | None) -> None:
    """Kill a student's kernel in a moment, if that is what is to be spoilt: the checks below must notice."""

    def kill() -> None:
        for process in memory.processes(student.name):
            with suppress(psutil.NoSuchProcess):  # the kernel before this one, perhaps
                if "ipykernel_launcher" in process.cmdline():
                    process.kill()

    if broken == "others":
        threading.Timer(8, kill).start()


def loop(one: Student, others: list[Student], broken: str | None) -> tuple[list[Check], list[Visit]]:
    """Let one student's cell loop while the others go to their first map, first one of them alone, then all."""
    fresh(one)
    number = one.send(DEAF if broken == "deaf" else LOOP)
    time.sleep(1)
    strike(others[0], broken)
    alone = visit(others[0], to_the_map=True)
    visits = [alone, *at_once(others, lambda other: visit(other, to_the_map=True))]
    faults = [fault for seen in visits for fault in seen.faults]
    found = [Check("others reach their first map beside an endless loop", not faults, "; ".join(faults) or "all did")]
    begin = time.perf_counter()
    one.interrupt()
    try:
        ended = next((output["ename"] for output in one.outputs(number, SOON) if output["type"] == "error"), "no error")
        seen = f"{ended} after {time.perf_counter() - begin:.1f} s; then 1 + 1 is {one.tell('print(1 + 1)')}"
    except TimeoutError:
        seen = f"still running after {SOON} s"
    found.append(
        Check("the loop is stopped by the stop button", seen.startswith("KeyboardInterrupt") and seen[-1] == "2", seen)
    )
    one.close()
    return found, visits


def hog(one: Student, others: list[Student], limit: int, broken: str | None) -> Iterator[Check]:
    """Let one student's cell take memory without end while another works through the lesson, and the rest answer."""
    fresh(one)
    number = one.send(HOG.format(most=2 * limit // 2**20))
    strike(others[0], broken)
    seen = visit(others[0])
    asked = at_once(others[1:], lambda other: other.tell("print(1 + 1)"))
    faults = [*seen.faults, *(answer for answer in asked if answer != "2")]
    yield Check("others work on beside a cell that takes all memory", not faults, "; ".join(faults) or "all did")
    ended = [output.get("ename", output.get("text", output["type"])).strip() for output in one.outputs(number)]
    again = one.tell("hog = None; print(1 + 1)")
    stopped = any(word in ("MemoryError", "died") for word in ended)
    yield Check("the cell that takes all memory is stopped", stopped, f"{' '.join(ended)}; then 1 + 1 is {again}")
    one.close()
