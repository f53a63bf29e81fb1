"""The command: which cases, in which order, and what is done with their rows."""

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from tools.bench import cases, clock, seeds_way, subjects, table
from tools.bench.rows import Row, measure

EVERY = {**cases.CASES, **seeds_way.CASES}


def chosen(words: list[str], quick: bool) -> list[tuple[str, str]]:
    """Return (method, setting) of each case to run: all, or those that the words are part of.

    Words that name settings choose among these, the others among the methods.
    """
    nets, works = (subjects.QUICK, seeds_way.WORKS[1:]) if quick else (subjects.NETS, seeds_way.WORKS[:1])
    every = [(m, s) for s in nets for m in cases.CASES] + [(m, s) for s in works for m in seeds_way.CASES]
    for word in words:
        if not any(word in name for pair in every for name in pair):
            raise SystemExit(f"--only {word}: no method and no net of this run is called so.")
    about_settings = [w for w in words if any(w in setting for _, setting in every)]
    about_methods = [w for w in words if w not in about_settings]
    return [
        (method, setting)
        for method, setting in every
        if (not about_methods or any(w in method for w in about_methods))
        and (not about_settings or any(w in setting for w in about_settings))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen cases, print the table, and return 1 if a result was wrong, otherwise 0."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description="Time the methods against the libraries."
    )
    parser.add_argument("--quick", action="store_true", help="in a minute: two nets, small pictures, few repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers to this file")
    parser.add_argument("--page", type=Path, metavar="FILE", help="also write the summary as a page, docs/bench.md")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="methods and nets whose name has a word")
    options = parser.parse_args(arguments)
    pairs = chosen(options.only, options.quick)
    budget, about, started = clock.QUICK if options.quick else clock.FULL, table.facts(), time.perf_counter()
    print(table.heading(about), flush=True)
    rows: list[Row] = []
    page = options.page
    before = page.read_text(encoding="utf-8") if page and options.only and page.exists() else ""
    for name in dict.fromkeys(setting for _, setting in pairs):
        setting = seeds_way.work(name) if name in seeds_way.WORKS else subjects.subject(name, options.quick)
        print(f"\n{name}: {setting.says}\n{table.HEADER}", flush=True)
        for method in [method for method, of in pairs if of == name]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the libraries' own
                row = measure(method, EVERY[method], name, setting, budget)
            print("\n".join(table.lines(row)), flush=True)
            rows.append(row)
        if page:  # after each net, so that an interrupted run leaves what it has found
            so_far = round(time.perf_counter() - started)
            page.write_text(table.page(about, rows, so_far, before), encoding="utf-8")
    seconds = round(time.perf_counter() - started)
    print("", *table.summary(rows), f"\n{seconds} s", sep="\n")
    if options.quick:
        print("A quick run: the pictures are small and the repetitions few; the aims are those of the full run.")
    if options.json:
        found = {**about, "quick": options.quick, "seconds": seconds, "rows": [table.record(row) for row in rows]}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(any(row.failed for row in rows))
