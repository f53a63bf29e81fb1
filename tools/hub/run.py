"""The whole test, part by part: one student, every lesson, six at once, runaway cells, walls."""

import argparse
import json
import os
import signal
import statistics
from collections.abc import Sequence

import psutil

from tools.hub import memory, runaway, scratch, separation, service
from tools.hub.accounts import NAMES
from tools.hub.lessons import Visit, at_once, path_of, visit
from tools.hub.service import Hub
from tools.hub.student import Student
from tools.hub.table import LESSON, show, write_into
from tools.lessons import ORDER

PAGE = scratch.ROOT / "docs" / "hub.md"
MEASURED = scratch.ROOT / "docs" / "hub" / "measured.json"
MOST = 3600  # seconds for all of it
BREAKS = ("homes", "accounts", "course", "roles", "ports", "limit", "deaf", "others")
PARTS = ("lessons", "together", "runaway", "separation")


def seconds(visits: Sequence[Visit]) -> dict[str, float]:
    """Return the means of some visits, and the slowest first map."""
    means = {name: statistics.mean(getattr(seen, name) for seen in visits) for name in ("picture", "map", "whole")}
    means["processor"] = statistics.mean(seen.processor for seen in visits)
    return {name: round(value, 1) for name, value in means.items()} | {"last_map": round(max(v.map for v in visits), 1)}


def megabytes(held: memory.Held) -> dict[str, int]:
    """Return an account of memory in whole MB."""
    return {name: round(value) for name, value in held._asdict().items()}


def one_alone(student: Student) -> dict:
    """Let one student arrive and work through the lesson."""
    ready = student.arrive()
    server = memory.held(student.name)
    with memory.watching((student.name,)) as peaks:
        seen = visit(student)
    stop_at(seen.faults)
    held = {
        "server": megabytes(server),
        "after": megabytes(memory.held(student.name)),
        "peak_pss": round(peaks["each"]),
    }
    return {"seconds": {"ready": round(ready, 1), **seconds([seen])}, "megabytes": held}


def every_lesson(student: Student, lessons: Sequence[str]) -> dict:
    """Let one student work through the lessons, each with a new kernel; return the most memory that each took."""
    found = {}
    for lesson in lessons:
        seen = visit(student, lesson)
        stop_at(seen.faults)
        found[lesson] = {"peak": round(memory.held(student.name).peak), "seconds": round(seen.whole)}
        print(f"  {lesson}: {found[lesson]['peak']} MB, {found[lesson]['seconds']} s", flush=True)
    return found


def all_at_once(students: list[Student]) -> dict:
    """Let all students arrive at once and then work through the lesson at once."""
    ready = at_once(students, Student.arrive)
    with memory.watching(tuple(student.name for student in students)) as peaks:
        visits = at_once(students, visit)
    stop_at([fault for seen in visits for fault in seen.faults])
    return {
        "seconds": {"ready": round(max(ready), 1), **seconds(visits)},
        "megabytes": {name: round(value) for name, value in peaks.items()},
    }


def stop_at(faults: list[str]) -> None:
    """Stop when a lesson failed: figures of half a lesson are worth nothing.

    Raises:
        SystemExit: there is a fault.
    """
    if faults:
        raise SystemExit(f"A lesson failed, so nothing was measured: {faults[0]}.")


def measure(hub: Hub, parts: Sequence[str], broken: str | None) -> dict:
    """Run the parts that are asked for and return what they found."""
    students = [Student(hub, name) for name in hub.names]
    first, checks, found = students[0], [], {}
    print(f"One student, lesson {LESSON} ...", flush=True)
    found["alone"] = one_alone(first)
    limit = int(first.tell("import os; print(os.environ['MEM_LIMIT'])"))
    if "lessons" in parts:
        print("One student, every lesson ...", flush=True)
        found["lessons"] = every_lesson(first, ORDER)
    first.leave()
    print(f"{len(students)} students at once ...", flush=True)
    found["together"] = all_at_once(students)
    if "runaway" in parts:
        print("One student's endless loop, and one that takes all memory ...", flush=True)
        seen, visits = runaway.loop(first, students[1:], broken)
        found["beside_a_loop"] = {"alone": seconds(visits[:1])["map"], "together": seconds(visits[1:])["map"]}
        checks += [*seen, *runaway.hog(first, students[1:], limit, broken)]
        first.open(path_of(LESSON))
    if "separation" in parts:
        print("One student tries to reach another ...", flush=True)
        if broken == "homes":
            separation.spoil(hub, students[1])
        checks += separation.checks(hub, *students[:2])
    found["checks"] = [check._replace(seen=check.seen.replace(f"{hub.site}/", "")) for check in checks]
    found["checks"] = [check._asdict() for check in found["checks"]]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the course on a hub, and test that students are kept apart.")
    parser.add_argument("--students", type=int, default=6, choices=range(3, len(NAMES) + 1), metavar="3..12")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, help=f"besides lesson {LESSON}; docs/hub/measured.json stays as it is"
    )
    parser.add_argument("--break", dest="broken", choices=BREAKS, help="spoil one thing, to see the checks fail")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: exit(1))  # so that what was started is ended
    signal.signal(signal.SIGALRM, lambda *_: exit(f"It took more than {MOST} s and was ended."))
    signal.alarm(MOST)
    service.must_be_root()
    scratch.install()
    about = {
        "cores": psutil.cpu_count(),
        "gigabytes": round(psutil.virtual_memory().total / 2**30),
        "load_before": memory.load(),
        "versions": scratch.versions(),
        "students": given.students,
    }
    os.environ["HUB_TEST_BREAK"] = given.broken or ""
    with service.running(given.students, given.broken) as hub:
        found = about | measure(hub, given.only or PARTS, given.broken)
    found["load_after"] = memory.load()
    show(found)
    if not given.only and not given.broken:
        MEASURED.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        write_into(PAGE, found)
        print("\nwrote docs/hub/measured.json, and the table in docs/hub.md; tests/test_hub.py says whether limits fit")
    return int(not all(check["passed"] for check in found["checks"]))
