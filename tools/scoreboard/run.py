"""Score every method on five kinds of networks and pictures: the scoreboard of *can_you_trust_it*, made large.

    make scoreboard                                         # the whole: one and a half hours on two cores
    make scoreboard ARGS="--count 6"                        # a look, at few pictures; goes to build/
    make scoreboard ARGS="--workers 2"                      # through Dask, on this machine: docs/cluster.md
    make scoreboard ARGS="--scheduler tcp://10.0.0.1:8786"  # on a cluster

Writes docs/scoreboard.md and its figures. Each network that was trained anew has pictures of its own, and new noise for
the methods and baselines that need any. Without a cluster, one process for each core; a unit of work always has one
thread of torch. What was interrupted goes on where it was: scores are kept in build/scoreboard/parts, which may be
deleted.
"""

import argparse
import os
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from helpers.attribution.progress import watching
from helpers.course import ROOT
from tools.scoreboard import page
from tools.scoreboard.cluster import connected
from tools.scoreboard.scoreboard import scoreboard
from tools.scoreboard.statistics import Board, by_scene
from tools.scoreboard.subjects import SEED, SUBJECTS, load, numbers_of

if TYPE_CHECKING:
    from distributed import Client

LOOK = ROOT / "build" / "scoreboard"
Arrays = dict[str, dict[str, np.ndarray]]


class Job(NamedTuple):
    """One network, the shipped one or one of those trained anew, on pictures of its own."""

    name: str
    number: int
    scenes: int


def run(job: Job, client: "Client | None" = None) -> Arrays:
    """Score all rows on all questions."""
    subject = SUBJECTS[job.name]
    classifier, seed = load(subject, job.number), SEED + job.number
    asked = subject.ask(classifier, job.scenes, seed)
    options = {"layer": classifier.layer, "seed": seed, "client": client, "threads": 1, "folder": LOOK / "parts"}
    with watching(lambda *step: None), warnings.catch_warnings():  # without the bars of single methods
        warnings.filterwarnings("ignore", message=".*(has no rule|add up to).*")  # said on the page, once
        board = scoreboard(classifier.model, asked.x, asked.target, asked.truth, asked.distractors, **options)
    return {name: {key: values.numpy() for key, values in scores.items()} for name, scores in board.items()}


def run_all(jobs: list[Job], client: "Client | None" = None) -> dict[Job, Board]:
    """Run the jobs: on a cluster one after the other, else as many at once as there are cores."""
    if client is not None:
        return noted(jobs, ((job, run(job, client)) for job in jobs))
    os.environ["TQDM_DISABLE"] = "1"  # the bars of several processes would be one heap
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(min(cores, len(jobs)), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run, job): job for job in jobs}
        return noted(jobs, ((running[done], done.result()) for done in as_completed(running)))


def noted(jobs: list[Job], done: Iterable[tuple[Job, Arrays]]) -> dict[Job, Board]:
    """Return the scores of the jobs' scenes as they come in, and say each time how far it is."""
    boards, started = {}, time.monotonic()
    for job, arrays in done:
        board = {
            name: {key: torch.from_numpy(values) for key, values in scores.items()} for name, scores in arrays.items()
        }
        boards[job] = by_scene(board, SUBJECTS[job.name].questions)
        took = time.monotonic() - started
        print(f"{len(boards)} of {len(jobs)} done after {took:.0f} s: {job.name}, network {job.number}", flush=True)
    return boards


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="scenes for each network, in place of the whole; a multiple of 6")
    parser.add_argument("--only", nargs="*", choices=SUBJECTS, help="these networks, to have them done before the rest")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, help="start so many workers of Dask here, of one thread each")
    where.add_argument("--scheduler", help="the address of a scheduler of Dask that runs")
    given = parser.parse_args()
    if given.count is not None and (given.count < 6 or given.count % 6):
        parser.error(f"--count is {given.count}; give 6 or a multiple of it, for six kinds of watermarks.")
    subjects = [SUBJECTS[name] for name in given.only or SUBJECTS]
    jobs = [
        Job(subject.name, number, given.count or subject.scenes)
        for subject in subjects
        for number in numbers_of(subject)
    ]
    far = given.workers is not None or given.scheduler
    with connected(given.workers, given.scheduler) if far else nullcontext() as client:
        done = run_all(jobs, client)
    boards = {
        subject.name: {job.number: board for job, board in done.items() if job.name == subject.name}
        for subject in subjects
    }
    whole = given.count is None and given.only is None
    text, figures = (ROOT / "docs", ROOT / "notebooks" / "figures") if whole else (LOOK, LOOK / "figures")
    page.write(boards, text, figures)
