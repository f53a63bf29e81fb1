"""What was measured, as a table; and the limits and sizes that follow from it."""

import math
import re
from pathlib import Path

LESSON = "cam"  # what the students work through
ROOM = 1.2  # the guarantee is this many times what the lesson took
MORE_ROOM = 1.4  # the limit is this many times what the hungriest lesson took
SYSTEM = 2  # gigabytes that a server keeps for itself and its hub
SERVERS = ((4, 16), (8, 32), (16, 64), (32, 128))  # cores, gigabytes


def hungriest(found: dict) -> str:
    """Return the name of the lesson that took most memory."""
    return max(found["lessons"], key=lambda name: found["lessons"][name]["peak"])


def guarantee(found: dict) -> float:
    """Return the memory to promise a student, in G: what the lesson took at its highest, with room, in tenths."""
    return math.ceil(10 * ROOM * found["lessons"][LESSON]["peak"] / 1024) / 10


def limit(found: dict) -> float:
    """Return the memory at which to stop a student, in G: what the hungriest lesson took, with room, in halves."""
    return math.ceil(2 * MORE_ROOM * found["lessons"][hungriest(found)]["peak"] / 1024) / 2


def students(found: dict, cores: int, gigabytes: int) -> int:
    """Return how many students a server takes: as many to a core as were measured, and as the guarantee allows."""
    by_cores = cores * found["students"] // found["cores"]
    return min(by_cores, int((gigabytes - SYSTEM) / guarantee(found)))


def rows(found: dict) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, for one student alone, for several at once."""
    alone, together = found["alone"], found["together"]
    held, many, count = alone["megabytes"], together["megabytes"], found["students"]
    lines = [("", "one alone", f"{count} at once")]
    for what, name in (
        ("from log-in to JupyterLab's page (the last one)", "ready"),
        (f"lesson *{LESSON}*: first picture", "picture"),
        (f"lesson *{LESSON}*: first map", "map"),
        (f"lesson *{LESSON}*: first map, the last one", "last_map"),
        (f"lesson *{LESSON}*: to its end", "whole"),
        (f"lesson *{LESSON}*: processor time of each", "processor"),
    ):
        lines.append((what, *(f"{one['seconds'][name]} s" for one in (alone, together))))
    if loop := found.get("beside_a_loop"):
        here, there = loop["alone"], loop["together"]
        lines.append(("first map beside an endless loop", f"{here} s", f"{there} s ({count - 1} others)"))
    lines += [
        ("server without a kernel: PSS, RSS", f"{held['server']['pss']}, {held['server']['rss']} MB", ""),
        (f"after lesson *{LESSON}*: PSS, RSS", f"{held['after']['pss']}, {held['after']['rss']} MB", ""),
        (f"during lesson *{LESSON}*, highest: PSS of one", f"{held['peak_pss']} MB", f"{many['each']} MB"),
        (f"during lesson *{LESSON}*, highest: PSS of all", "", f"{many['all']} MB"),
        ("the machine's free memory fell by", "", f"{many['machine']} MB"),
    ]
    for name, one in found.get("lessons", {}).items():
        lines.append((f"lesson *{name}*: highest RSS, time", f"{one['peak']} MB, {one['seconds']} s", ""))
    return lines


def machine(found: dict) -> str:
    """Return in a sentence what was measured on."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    load = f"load average before {found['load_before']}, after {found['load_after']}"
    return f"{found['cores']} processor cores, {found['gigabytes']} GB; {load}; {versions}."


def markdown(found: dict) -> str:
    """Return what docs/hub.md says between its marks."""
    head, *lines = [f"| {' | '.join(line)} |" for line in rows(found)]
    sizes = [f"| {cores} cores, {size} GB | {students(found, cores, size)} |" for cores, size in SERVERS]
    follows = (
        f"From these follow a guarantee of at least {guarantee(found):.1f}G ({ROOM} times the highest RSS of lesson "
        f"*{LESSON}*, rounded up), a limit of\nat least {limit(found):.1f}G ({MORE_ROOM} times that of "
        f"*{hungriest(found)}*, the hungriest lesson), and how many students a server takes:"
    )
    parts = [f"*{machine(found)}*", "\n".join([head, "|---|---:|---:|", *lines]), follows]
    return "\n\n".join([*parts, "\n".join(["| server | students |", "|---|---:|", *sizes])])


def write_into(page: Path, found: dict) -> None:
    """Put the table into a page, between its marks."""
    block = f"<!-- measured -->\n{markdown(found)}\n<!-- end -->"
    page.write_text(
        re.sub(r"<!-- measured -->\n.*?<!-- end -->", lambda _: block, page.read_text(encoding="utf-8"), flags=re.S),
        encoding="utf-8",
    )


def show(found: dict) -> None:
    """Print the table and the checks."""
    lines = rows(found)
    widths = [max(len(line[at]) for line in lines) for at in range(3)]
    print(f"\n{machine(found)}\n")
    for what, *much in lines:
        print(f"{what:<{widths[0]}}  {much[0]:>{widths[1]}}  {much[1]:>{widths[2]}}")
    if "lessons" in found:
        print(f"\nmemory, at least: guarantee {guarantee(found):.1f}G, limit {limit(found):.1f}G")
    print("\nOne student against the others: each line must say passed.")
    for check in found["checks"]:
        print(f"{'passed' if check['passed'] else 'FAILED'}  {check['name']}: {check['seen']}")
