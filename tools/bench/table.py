"""What is printed and what is written: every contender's line, a summary of the aims, and the same as JSON."""

import platform
from collections.abc import Iterator
from importlib import metadata

import torch

from tools.bench.clock import Ratio
from tools.bench.rows import FORWARD, LEAST, OURS, Row, Verdict

PACKAGES = ("torch", "torchvision", "captum", "grad-cam", "torchcam", "zennit", "shap", "lime", "numpy")
LEGEND = """\
ms: median. runs: how many were timed, in turn with the others. passes: in forward passes of the same pictures.
MiB: peak of what torch allocated in one run; what numpy and oneDNN take for themselves is not seen.
ours/it: time of ours by that of this line, round by round: median and quartiles (of fewer than five rounds the
smallest and the largest). least: the passes that nobody can avoid, as fast as torch does them here.
Results are compared before they are timed: what differs by more than 0.1 % is not timed (1 % for gradients at the
picture, where rounding switches ReLUs).
A call of 10 s or more gets no warm-up and runs once: its first run, under the memory profiler, counts."""


def facts() -> dict[str, object]:
    """Return on what it runs: versions (None for what is not installed), threads, the kind of processor."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "processor": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "versions": versions,
    }


def heading(about: dict[str, object]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    return f"{versions}, Python {about['python']}; {about['processor']}; threads: {about['threads']}\n{LEGEND}"


def lines(row: Row) -> Iterator[str]:
    """Give the lines of one row: who, ms, runs, passes, MiB, ours / it, aims."""
    passes = row.timings[FORWARD].median if FORWARD in row.timings else None
    name = row.method
    for who, timing in row.timings.items():
        if who == FORWARD:
            continue
        cost = f"{timing.median / passes:8.2f}" if passes else " " * 8
        memory = f"{timing.peak / 2**20:8.1f}" if timing.peak is not None else " " * 8
        against = "" if who == OURS else short(row.ratio_to(who))
        judged = "; ".join([said(v) for v in row.verdicts if v.against == who] + [row.case.least_is] * (who == LEAST))
        figures = f"{1e3 * timing.median:10.1f}{len(timing.seconds):5}{cost}{memory}"
        yield f"{name:23}{who:20}{figures}  {against:25}{judged}".rstrip()
        name = ""
    for who, why in row.left_out.items():
        yield f"{name:23}{who:20}  {why}"
        name = ""


HEADER = f"{'':23}{'':20}{'ms':>10}{'runs':>5}{'passes':>8}{'MiB':>8}  {'ours/it':25}aims"


def short(ratio: Ratio) -> str:
    return f"{number(ratio.median)} [{number(ratio.low)} {number(ratio.high)}]"


def number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def said(verdict: Verdict) -> str:
    name = f" of the {verdict.aim.against}" if verdict.aim.against == "fastest library" else ""
    text = f"<= {number(verdict.aim.ratio)}{name} {'reached' if verdict.reached else 'MISSED'}"
    if not verdict.reached and verdict.floor is not None and verdict.aim.against != LEAST:
        text += f" (the least possible: {number(verdict.floor)})"
    return text


def summary(rows: list[Row], before: str = "") -> Iterator[str]:
    """Give a Markdown table: a line for each aim, a column for each net, what is missed in bold.

    Args:
        rows: what was measured.
        before: a page whose table is taken over, for the methods and nets that were not measured now.
    """
    settings, table = _table_of(before)
    settings = list(dict.fromkeys([*settings, *(row.setting for row in rows)]))
    for row in rows:
        for verdict in row.verdicts:
            cell = number(verdict.ratio.median)
            place = table.setdefault((row.method, verdict.aim.against, number(verdict.aim.ratio)), {})
            place[row.setting] = cell if verdict.reached else f"**{cell}**"
    yield "| method | against | aim | " + " | ".join(settings) + " |"
    yield "|---" * (3 + len(settings)) + "|"
    for names, cells in table.items():
        yield f"| {' | '.join(names)} | " + " | ".join(cells.get(s, "") for s in settings) + " |"


def _table_of(page: str) -> tuple[list[str], dict[tuple[str, str, str], dict[str, str]]]:
    """Return the nets of a page's table, and its cells by (method, against, aim) and net."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    if not cells:
        return [], {}
    settings = cells[0][3:]
    return settings, {tuple(row[:3]): dict(zip(settings, row[3:], strict=True)) for row in cells[1:]}


def page(about: dict[str, object], rows: list[Row], seconds: float, before: str = "") -> str:
    """Return docs/bench.md: what is compared, the table, and what is missed although it could be reached.

    What ``before``, such a page, says of methods and nets that are not among the rows stays.
    """
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    measured = {f"- `{row.method}` on {row.setting}: " for row in rows}
    lines = [line for line in before.splitlines() if line.startswith("- `") and not line.startswith(tuple(measured))]
    missed = [(row, v) for row in rows for v in row.verdicts if not v.reached]
    for row, v in missed:
        floor = "" if v.floor is None or v.against == LEAST else f"; the least possible takes {number(v.floor)}"
        lines.append(f"- `{row.method}` on {row.setting}: {short(v.ratio)} of the time of {v.against}{floor}.")
    return PAGE.format(
        versions=versions,
        python=about["python"],
        processor=about["processor"],
        threads=about["threads"],
        minutes=round(seconds / 60),
        table="\n".join(summary(rows, before)),
        missed="\n".join(lines) or "None.",
    )


PAGE = """\
# How fast the methods are

Written by `make bench ARGS="--page docs/bench.md"`: the methods of the course that a library has,
too, against captum, grad-cam, torchcam, zennit, shap and lime. All contenders run in one process and take turns.
Results are compared before they are timed, so that nobody is timed for another result. Beside them runs the least that
a method can cost: the passes through the network that nobody can leave out, as fast as torch does them on this machine.

{versions}; Python {python}; {processor}; threads: {threads}. The last run took {minutes} minutes
(with `--only`, it measures some methods again, and leaves the other numbers as they are).

## Time of ours divided by that of the other

A number below 1 means that ours is faster. Bold numbers are above the aim. Each number is the median of the ratios
round by round. "With view" are nets that flatten their maps by `x.view(-1, n)`; "at 96" is a picture of 96 x 96
pixels, where all other large nets get 224 x 224. "Least" is the least possible, "best chunk" a library with its
fastest batch size, "one alone" our Grad-CAM without its four relatives, and "maps given" a method without its forward
pass. "The seed's way" is what the course's first notebooks did, in loops of Python. "60,000 digits" are the course's
4,000 digits, repeated.

{table}

## Above the aim

Median, and quartiles in brackets. Where "the least possible" is above the aim, too, no code can reach it.

{missed}
"""


def record(row: Row) -> dict[str, object]:
    """Return the row in numbers and words that JSON knows."""
    forward = row.timings[FORWARD].median if FORWARD in row.timings else None
    return {
        "method": row.method,
        "setting": row.setting,
        "least_is": row.case.least_is,
        "failed": row.failed,
        "left_out": row.left_out,
        "contenders": {
            who: {
                "ms": 1e3 * timing.median,
                "runs": len(timing.seconds),
                "passes": timing.median / forward if forward else None,
                "peak_bytes": timing.peak,
                "ours_by_it": None if who == OURS else row.ratio_to(who)._asdict(),
            }
            for who, timing in row.timings.items()
        },
        "aims": [
            {
                "against": v.aim.against,
                "measured_against": v.against,
                "at_most": v.aim.ratio,
                **v.ratio._asdict(),
                "reached": v.reached,
                "least_possible": v.floor,
            }
            for v in row.verdicts
        ],
    }
