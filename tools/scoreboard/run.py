"""Score every method on every network of shapes, over all pictures: the scoreboard of *can_you_trust_it*, made large.

    make scoreboard                                         # the whole: an hour on two cores
    make scoreboard ARGS="--count 8"                        # a look, at few pictures; goes to build/
    make scoreboard ARGS="--workers 2"                      # through Dask, on this machine: docs/cluster.md
    make scoreboard ARGS="--scheduler tcp://10.0.0.1:8786"  # on a cluster

Writes docs/scoreboard.md and its figures. For each seed new pictures are drawn, and new noise for the methods and
baselines that need any. Without a cluster, one process for each core; a unit of work always has one thread of torch.
What was interrupted goes on where it was: scores are kept in build/scoreboard/parts, which may be deleted.
"""

import argparse
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from helpers import evaluation, plotting
from helpers.attribution.progress import watching
from helpers.data import shapes
from helpers.data.planted_cues import planted
from helpers.models import load_classifier
from tools.scoreboard.cluster import connected
from tools.scoreboard.scoreboard import scoreboard

ROOT = Path(__file__).resolve().parents[2]

if TYPE_CHECKING:
    from distributed import Client

COUNT, SEEDS = 200, (4001, 4002, 4003)  # no network was trained on these
NETS = {"shapes_resnet": "small ResNet", "shapes_vgg": "small VGG", "shapes_watermark": "net that reads watermarks"}
ROWS = [*evaluation.METHODS, *evaluation.BASELINES]
ON_WATERMARK = evaluation.SCORE_NAMES | {"mass": "mass on the watermark", "distractor": "mass on the object"}
LARGEST = 200_000  # bytes of a figure
LOOK = ROOT / "build" / "scoreboard"
Board = dict[str, dict[str, torch.Tensor]]


class Job(NamedTuple):
    """One network on the pictures of one seed."""

    net: str
    seed: int
    count: int


def run(job: Job, client: "Client | None" = None) -> dict[str, dict[str, np.ndarray]]:
    """Score all rows."""
    reader = load_classifier(job.net)
    if job.net == "shapes_watermark":  # what it says depends on the watermark alone: the object is a distractor
        drawn = planted(job.count, job.seed, watermark=0.1)
        target, truth, distractors = drawn.tags, drawn.watermarks, drawn.objects
    else:
        drawn = planted(job.count, job.seed)
        target, truth, distractors = drawn.labels, drawn.objects, drawn.distractors
    x, target = shapes.preprocess(drawn.images), torch.from_numpy(target)
    options = {"layer": reader.layer, "seed": job.seed, "client": client, "threads": 1, "folder": LOOK / "parts"}
    with watching(lambda *step: None):  # without the bars of single methods
        board = scoreboard(reader.model, x, target, truth, distractors, **options)
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


def noted(jobs: list[Job], done: Iterable[tuple[Job, dict[str, dict[str, np.ndarray]]]]) -> dict[Job, Board]:
    """Return the boards of the jobs as they come in, and say each time how far it is."""
    boards, started = {}, time.monotonic()
    for job, board in done:
        boards[job] = {
            name: {key: torch.from_numpy(values) for key, values in scores.items()} for name, scores in board.items()
        }
        took = time.monotonic() - started
        print(f"{len(boards)} of {len(jobs)} done after {took:.0f} s: {job.net}, seed {job.seed}", flush=True)
    return boards


def pooled(boards: list[Board]) -> Board:
    """Put the pictures of all seeds together: they are independent, and so is their noise."""
    return {name: {key: torch.cat([b[name][key] for b in boards]) for key in boards[0][name]} for name in boards[0]}


def table(boards: list[Board], heads: Mapping[str, str] = evaluation.SCORE_NAMES) -> str:
    """Return the table of a network, with one column more: how far the seeds' means lie apart, for each score."""
    lines = evaluation.score_table(pooled(boards), heads).splitlines()
    each = [evaluation.summary(board) for board in boards]
    gaps = ["between seeds", "---:"]
    for name in each[0]:
        apart = [np.ptp([100 * means[name][key][0] for means in each]) for key in evaluation.SCORE_NAMES]
        gaps.append("-" if np.isnan(apart).all() else " / ".join(f"{gap:.1f}" for gap in apart))
    return "\n".join(f"{line} {gap} |" for line, gap in zip(lines, gaps, strict=True))


def draw(boards: Mapping[str, Board], path: Path, heads: Mapping[str, str] = evaluation.SCORE_NAMES) -> str:
    """Draw boards beside each other, the methods with most mass on top; return the figure in words."""
    means = {title: evaluation.summary(board) for title, board in boards.items()}
    order = sorted(ROWS, key=lambda name: -np.nanmean([board[name]["mass"][0] for board in means.values()]))
    means = {title: {name: board[name] for name in order} for title, board in means.items()}
    figure = plotting.intervals(
        means if len(means) > 1 else next(iter(means.values())),
        baselines=evaluation.BASELINES,
        less=evaluation.LESS_IS_BETTER,
        columns=heads,
    )
    figure.savefig(path, bbox_inches="tight", pad_inches=0.08)
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} kB")
    if size > LARGEST:
        raise RuntimeError(f"{path.name} is {size} bytes, more than {LARGEST}: draw it smaller.")
    return figure.alt


def write(boards: dict[str, list[Board]], count: int, folder: Path, figures: Path) -> None:
    """Write the tables of all networks into a folder, and the figures into another."""
    figures.mkdir(parents=True, exist_ok=True)
    on_shapes = {NETS[net]: pooled(boards[net]) for net in ("shapes_resnet", "shapes_vgg")}
    alt = draw(on_shapes, figures / "scoreboard.png")
    watermark = {"": pooled(boards["shapes_watermark"])}
    said = draw(watermark, figures / "scoreboard_watermark.png", ON_WATERMARK)
    total = count * len(SEEDS)
    version, seeds = torch.__version__.split("+")[0], ", ".join(map(str, SEEDS))
    text = f"""Made by `make scoreboard` with torch {version} on the CPU; seeds {seeds}, {count} pictures each.

# The scoreboard

Every method of the course, and four baselines that never see the network, on {total} planted pictures
(`helpers/data/planted_cues.py`), each with its own noise. Numbers are per cent: the mean over pictures ± the half
width of its 95 % interval. The interval covers the choice of pictures and of noise; it says nothing about another
network, not even about this one trained anew. "Between seeds" is the distance of the lowest from the highest of the
{len(SEEDS)} seeds' means, in points, for the four scores in turn. How each method becomes one map a picture, and with
what settings, stands in `helpers/evaluation/methods.py`; the scores in `helpers/evaluation/scores.py`. "Forward" and
"backward" are the passes that a picture costs: K is the number of the layer's maps that are not zero everywhere,
"head" a pass through the
layers behind it alone. Ablation-CAM has no map where the score is not clearly positive.

## Two networks that name shapes

The object's class is asked for; the other object is the distractor.

![{alt}](../notebooks/figures/scoreboard.png)

"""
    for net in ("shapes_resnet", "shapes_vgg"):
        text += f"### The {NETS[net]}, `{net}`\n\n{table(boards[net])}\n\n"
    text += f"""## A network that reads the watermark

`shapes_watermark` names the class printed in a corner, in pictures whose objects tell nothing of it. So the evidence is
known, and not only hoped for: the truth is the watermark, the distractor is the object.

![{said}](../notebooks/figures/scoreboard_watermark.png)

{table(boards["shapes_watermark"], ON_WATERMARK)}
"""
    (folder / "scoreboard.md").write_text(text, encoding="utf-8")
    print(f"{folder / 'scoreboard.md'} written")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="pictures for each seed")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, help="start so many workers of Dask here, of one thread each")
    where.add_argument("--scheduler", help="the address of a scheduler of Dask that runs")
    given = parser.parse_args()
    jobs = [Job(net, seed, given.count) for seed in SEEDS for net in NETS]
    far = given.workers is not None or given.scheduler
    with connected(given.workers, given.scheduler) if far else nullcontext() as client:
        done = run_all(jobs, client)
    boards = {net: [done[Job(net, seed, given.count)] for seed in SEEDS] for net in NETS}
    whole = given.count == COUNT
    write(boards, given.count, ROOT / "docs" if whole else LOOK, (ROOT / "notebooks" if whole else LOOK) / "figures")
