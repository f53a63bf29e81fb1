"""Run lessons with other seeds, and note what becomes of every number in their text: notebooks/evidence.json.

    python -m tools.evidence                        every lesson whose numbers are bound, ten runs each
    python -m tools.evidence cam grad_cam           these
    python -m tools.evidence --scheduler ADDRESS    on the workers of a Dask cluster: docs/cluster.md

A run is a lesson with ``COURSE_SEED=k``, k = 0 to 9: all seeds of data, training and noise are moved. Each number that
a comment binds (see :mod:`tools.bound_numbers`) is evaluated where its text stands. A cell that fails is noted, and the
run goes on. What was interrupted goes on where it was: finished runs are kept in build/evidence, by the lesson's code.

A lesson that explains a shipped net is run three times more, with nets trained anew on other pictures: ``make data
SEED=1`` (2, 3) leaves them in build/nets. Where they are missing, the lesson's evidence says so.
"""

import argparse
import ast
import datetime
import hashlib
import json
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from tqdm.auto import tqdm

from helpers.models.load import COURSE_NETS, SCENES_NET
from tools import lessons
from tools.bound_numbers import answers, asking_code, bound_numbers

ROOT = Path(__file__).resolve().parents[1]
EVIDENCE = ROOT / "notebooks" / "evidence.json"
KEPT = ROOT / "build" / "evidence"
NETS = ROOT / "build" / "nets"  # NETS / "1" holds the nets of `make data SEED=1`
RUNS = 10
ANEW = (1, 2, 3)  # seeds of the nets trained anew
PACKAGES = ("torch", "numpy")
TIMEOUT = 1200  # seconds for one cell, on one thread of a busy machine


class Unit(NamedTuple):
    """One run: a lesson, how far its seeds are moved, and whether with nets that were trained with these seeds."""

    lesson: str
    k: int
    anew: bool = False


class Found(NamedTuple):
    """What one run gave: the value of each expression, or what went wrong with it, and the cells that failed."""

    numbers: dict[str, float | str]
    failed: dict[str, str]


def code_of(notebook: nbformat.NotebookNode) -> str:
    """Return a short mark of all that decides on the numbers: the code of a lesson and the expressions in its text.

    Comments and line breaks do not count.
    """
    parts = [ast.dump(ast.parse(cell.source)) for cell in notebook.cells if cell.cell_type == "code"]
    parts += expressions(notebook)
    return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()[:16]


def expressions(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the expressions that a lesson's text binds, each once, in order."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return list(dict.fromkeys(bound.expression for text in texts for bound in bound_numbers(text)))


def shipped_nets(notebook: nbformat.NotebookNode) -> set[str]:
    """Return the names of the course's own nets that stand in a lesson's code."""
    strings = re.findall(r'"(\w+)"', "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"))
    return set(strings) & {*COURSE_NETS, SCENES_NET}


def nets_anew(notebook: nbformat.NotebookNode, k: int) -> list[str]:
    """Return which of a lesson's nets `make data SEED=k` has trained anew, sorted."""
    return sorted(name for name in shipped_nets(notebook) if (NETS / str(k) / f"{name}.safetensors").is_file())


def with_questions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy of a notebook with a code cell behind each text cell, which prints what its expressions give."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown" and (bounds := bound_numbers(cell.source)):
            cells.append(nbformat.v4.new_code_cell(asking_code(bounds)))
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def run(notebook: nbformat.NotebookNode, k: int, folder: Path, weights: Path | None = None) -> Found:
    """Run a notebook once, with all seeds moved by ``k``.

    Args:
        notebook: the lesson; it is not changed.
        k: of ``COURSE_SEED``.
        folder: where its kernel starts.
        weights: folder of nets that come in place of shipped ones of the same name.
    """
    environment = os.environ | {
        "COURSE_WORLD": "course",
        "COURSE_SEED": str(k),
        "COURSE_WEIGHTS": str(weights or ""),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "TQDM_DISABLE": "1",
    }
    asked = nbformat.from_dict(json.loads(json.dumps(with_questions(notebook))))
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(asked, timeout=TIMEOUT, allow_errors=True, record_timing=False, resources=resources)
    with client.setup_kernel(env=environment):
        for number, cell in enumerate(asked.cells):
            client.execute_cell(cell, number)
    numbers: dict[str, float | str] = {}
    failed = {}
    for number, cell in enumerate(cell for cell in asked.cells if cell.cell_type == "code"):
        for output in cell.outputs:
            if output.output_type == "stream":
                for expression, found in answers(output.text).items():
                    if numbers.setdefault(expression, found) != found:
                        failed[expression] = "has two values in this lesson: give one of them a name of its own"
            elif output.output_type == "error":
                failed[f"code cell {number}: {cell.source.strip().splitlines()[0][:60]}"] = (
                    f"{output.ename}: {output.evalue}"[:300]
                )
    return Found(numbers, failed)


def work(sent: dict[str, str], unit: Unit) -> Found:
    """Do one run, on this machine or on a worker: ``sent`` has the text of each lesson's notebook."""
    notebook = nbformat.reads(sent[unit.lesson], as_version=4)
    if unit.anew and not nets_anew(notebook, unit.k):
        missing = f"{NETS / str(unit.k)} is not on this machine"
        raise FileNotFoundError(f"{missing}: run `make data SEED={unit.k}` there, or share the folder.")
    return run(notebook, unit.k, ROOT / "notebooks", NETS / str(unit.k) if unit.anew else None)


def here(sent: dict[str, str], units: list[Unit], workers: int) -> Iterator[tuple[Unit, Found]]:
    """Yield each run as it is done, so many at once."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(work, sent, unit): unit for unit in units}
        for done in as_completed(running):
            yield running[done], done.result()


def kept(unit: Unit, code: str) -> Path:
    """Return the file that holds a run that was done before."""
    return KEPT / f"{unit.lesson}-{code}-{unit.k}{'-' + mark_of_nets(unit.k) if unit.anew else ''}.json"


def mark_of_nets(k: int) -> str:
    """Return a short mark of the nets that `make data SEED=k` has left."""
    files = sorted((NETS / str(k)).glob("*.safetensors"))
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()[:8]


def keep(file: Path, found: Found) -> None:
    """Write a run to its file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(f".{os.getpid()}.half")
    half.write_text(json.dumps(found._asdict()), encoding="utf-8")
    half.replace(file)


def summary(runs: dict[int, Found]) -> dict:
    """Return what is written of some runs: for each number its median, lowest and highest value, and all values.

    Args:
        runs: what each k gave.
    """
    numbers = {}
    for expression in runs[min(runs)].numbers:
        values = [found.numbers.get(expression, "not reached") for _, found in sorted(runs.items())]
        good = [value for value in values if isinstance(value, float)]
        numbers[expression] = {"values": [_short(value) for value in values]}
        if len(good) == len(values):
            numbers[expression] |= {
                "median": _short(statistics.median(good)),
                "lowest": _short(min(good)),
                "highest": _short(max(good)),
            }
    failed: dict[str, dict[str, list[int]]] = {}
    for k, found in sorted(runs.items()):
        for cell, error in found.failed.items():
            failed.setdefault(cell, {}).setdefault(error, []).append(k)
    return {"runs": sorted(runs), "numbers": numbers, "failed": failed}


def _short(value: float | str) -> float | str:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def collect(names: list[str], ks: list[int], spread: Callable[[dict[str, str], list[Unit]], Iterator]) -> dict:
    """Return the evidence of these lessons, from runs that are kept and runs that are done now.

    Args:
        names: of lessons.
        ks: the shifts of the seeds.
        spread: yields (unit, what it gave) for the units that it is handed.
    """
    notebooks = {name: nbformat.read(lessons.path(name), as_version=4) for name in names}
    codes = {name: code_of(notebook) for name, notebook in notebooks.items()}
    anew = {name: {k: nets for k in ANEW if (nets := nets_anew(notebooks[name], k))} for name in names}
    units = [Unit(name, k) for k in ks for name in names]
    units += [Unit(name, k, anew=True) for name in names for k in anew[name]]
    missing = [unit for unit in units if not kept(unit, codes[unit.lesson]).is_file()]
    with tqdm(total=len(units), initial=len(units) - len(missing), unit="run") as bar:
        sent = {name: nbformat.writes(notebook) for name, notebook in notebooks.items()}
        for unit, found in spread(sent, missing) if missing else ():
            keep(kept(unit, codes[unit.lesson]), found)
            bar.set_postfix_str(f"{unit.lesson}, k = {unit.k}{', nets trained anew' if unit.anew else ''}")
            bar.update()

    def read(unit: Unit) -> Found:
        return Found(**json.loads(kept(unit, codes[unit.lesson]).read_text(encoding="utf-8")))

    found = {}
    for name in names:
        found[name] = {"code": codes[name]} | summary({k: read(Unit(name, k)) for k in ks})
        if anew[name]:
            with_anew = summary({k: read(Unit(name, k, anew=True)) for k in anew[name]})
            found[name]["nets_trained_anew"] = {"nets": sorted(set.union(*map(set, anew[name].values())))} | with_anew
    return found


def with_short_lists(text: str) -> str:
    """Return JSON with each list of plain values on one line, which makes a file of many runs a third smaller."""
    return re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)


def write(found: dict) -> None:
    """Put the evidence of some lessons into the file, beside that of the others."""
    before = json.loads(EVIDENCE.read_text(encoding="utf-8")) if EVIDENCE.is_file() else {}
    made_with = {package: version(package) for package in PACKAGES} | {"python": platform.python_version()}
    stamp = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "versions": made_with}
    for name, one in found.items():
        before[name] = stamp | one
    ordered = {name: before[name] for name in lessons.ORDER if name in before}
    half = EVIDENCE.with_suffix(".half")
    half.write_text(with_short_lists(json.dumps(ordered, indent=1, ensure_ascii=False)) + "\n", encoding="utf-8")
    half.replace(EVIDENCE)


def main(arguments: list[str] | None = None) -> int:
    """Run the lessons named, write the evidence, and say which asserts failed; 1 if any did."""
    parser = argparse.ArgumentParser(prog="python -m tools.evidence", description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", help="names, such as cam; all whose numbers are bound unless given")
    parser.add_argument("--runs", type=int, default=RUNS, help="how many shifts of the seeds (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first shift (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at once (%(default)s)")
    parser.add_argument("--scheduler", help="address of a Dask scheduler: the runs go to its workers")
    parser.add_argument("--look", action="store_true", help="only print, and leave the file as it is")
    options = parser.parse_args(arguments)
    for name in options.lessons:
        lessons.number(name)  # says which lessons there are
    bound = [name for name in lessons.ORDER if expressions(nbformat.read(lessons.path(name), as_version=4))]
    names = options.lessons or bound
    if unbound := [name for name in names if name not in bound]:
        raise SystemExit(f"The text of {', '.join(unbound)} binds no number: nothing to run.")
    ks = list(range(options.first, options.first + options.runs))
    if options.scheduler:
        from tools.scoreboard import cluster

        with cluster.connected(scheduler=options.scheduler) as client:
            cluster.check(client, 1)
            found = collect(names, ks, lambda sent, units: cluster.spread(client, work, sent, units))
    else:
        found = collect(names, ks, lambda sent, units: here(sent, units, options.workers))
    if not options.look:
        write(found)
    for name, one in found.items():
        show(name, one)
        if one.get("nets_trained_anew"):
            show(f"{name}, {', '.join(one['nets_trained_anew']['nets'])} trained anew", one["nets_trained_anew"])
    return int(any(part["failed"] for one in found.values() for part in (one, one.get("nets_trained_anew", one))))


def show(title: str, one: dict) -> None:
    """Print what some runs of a lesson gave."""
    print(f"{title}: {len(one['numbers'])} numbers, {len(one['runs'])} runs, {len(one['failed'])} failures")
    for expression, number in one["numbers"].items():
        said = [number[key] for key in ("lowest", "median", "highest")] if "median" in number else number["values"]
        print(f"    {expression}: {said}")
    for cell, errors in one["failed"].items():
        for error, where in errors.items():
            print(f"    FAILED {cell}, k = {where}: {error}")


if __name__ == "__main__":
    raise SystemExit(main())
