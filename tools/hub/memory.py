"""What a student's processes hold and use, as the kernel counts it. MB are 2**20 bytes, as JupyterHub counts them."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tools.hub.accounts import FIRST, NAMES, number_of

PAUSE = 1.0  # seconds: adding up pages costs the students' time


class Held(NamedTuple):
    """Memory in MB: with what is shared counted in parts (PSS), counted in full (RSS), and the highest RSS so far."""

    pss: float
    rss: float
    peak: float


def of_students() -> list[psutil.Process]:
    """Return the processes that run under a student's number."""
    numbers, found = range(FIRST, FIRST + len(NAMES)), []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if process.uids().real in numbers:
                found.append(process)
    return found


def processes(name: str) -> list[psutil.Process]:
    """Return a student's processes."""
    return [process for process in of_students() if process.uids().real == number_of(name)]


def held(name: str) -> Held:
    """Return what a student's processes hold now; the peak is the sum of each one's own, so it may be too high."""
    totals = [0.0, 0.0, 0.0]
    for process in processes(name):
        with suppress(OSError):  # it has ended
            folder = Path("/proc") / str(process.pid)
            pages, status = (
                (folder / "smaps_rollup").read_text(encoding="utf-8"),
                (folder / "status").read_text(encoding="utf-8"),
            )
            for at, (text, key) in enumerate(((pages, "Pss"), (pages, "Rss"), (status, "VmHWM"))):
                totals[at] += int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M)[1]) / 1024
    return Held(*totals)


def processor_seconds(name: str) -> float:
    """Return the processor time that a student's processes have used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes(name))


def available() -> float:
    """Return the machine's free memory in MB."""
    return psutil.virtual_memory().available / 2**20


@contextmanager
def watching(names: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Look at the students' memory each second; the result holds, at the end, the highest sums.

    It holds "each", the highest PSS of one student, "all", the highest PSS of all of them at one moment, and "machine",
    by how much the machine's free memory fell: the same cost, counted by somebody else.
    """
    found, done, before = {"each": 0.0, "all": 0.0, "machine": 0.0}, threading.Event(), available()

    def look() -> None:
        while not done.is_set():
            now = [held(name).pss for name in names]
            for key, value in (("each", max(now)), ("all", sum(now)), ("machine", before - available())):
                found[key] = max(found[key], value)
            done.wait(PAUSE)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def load() -> float:
    """Return how many processes wanted a core during the last minute, to two digits."""
    return round(psutil.getloadavg()[0], 2)
