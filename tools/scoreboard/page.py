"""The page of the scoreboard: docs/scoreboard.md and its figures, from the scores of scenes."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from helpers import evaluation, plotting
from helpers.evaluation.methods import METHODS_AND_BASELINES
from tools.scoreboard.statistics import DRAWS, Board, Difference, common, difference, estimate, places, together
from tools.scoreboard.subjects import CELLS, SUBJECTS, Subject

LARGEST = 120_000  # bytes of a figure
COMPARED = ("mass", "rank")  # the scores of paired differences
PLACED = ("mass", "rank", "pointing", "both")  # the scores of places
CONTROLS = (*evaluation.BASELINES, *evaluation.CLASS_BLIND)
FIRST = "grad_cam"  # what the others are compared with
Boards = Mapping[str, Mapping[int, Board]]


def write(boards: Boards, folder: Path, figures: Path) -> None:
    """Write the page into a folder, and the figures into another.

    Args:
        boards: for each subject and number of its networks, the scores of its scenes.
        folder, figures: made where they are not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures.mkdir(parents=True, exist_ok=True)
    parts, compared = [], {name: dict(differences(together([*each.values()]))) for name, each in boards.items()}
    count = sum(not np.isnan(gap.p) for gaps in compared.values() for gap in gaps.values())
    for name, each in boards.items():
        parts.append(part(SUBJECTS[name], each, compared[name], count, figures))
    text = f"{head(boards, count)}\n{''.join(parts)}"
    (folder / "scoreboard.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(f"{folder / 'scoreboard.md'} written")


def head(boards: Boards, count: int) -> str:
    """Return the beginning of the page: what was measured, and how to read it."""
    version = torch.__version__.split("+")[0]
    return f"""Made by `make scoreboard` with torch {version} on the CPU.

# The scoreboard

Every method of the course and {len(evaluation.BASELINES)} baselines, scored on pictures in which we know where the
evidence is. All rows of a table saw the same pictures. The networks of shapes were trained anew for this page
(three of each kind, unless a heading says otherwise), each on other training pictures, and each is shown test
pictures of its own. The real network cannot be trained anew here, so its table speaks of one network.

**How to read a number.** Numbers are per cent, with the 95 % interval over scenes in brackets. A scene is a
picture. Where two things are asked about it, their scores are averaged first, because they are not independent. For
shares (the pointing game, and "right for both") the interval is that of Wilson, which has a length also where all
scenes are right; for the other scores it is Student's. The column "networks" gives the lowest and the highest mean
of the single networks, for the same scores in turn: it tells how far training anew moves a score.

- **Mass**: the share of the map's positive part that lies on what was asked for.
- **Rank accuracy**: of the k highest values, the share that lies on it, where k is its number of pixels.
- **Pointing game**: whether the highest value lies in its filled outline. Where several pixels share the highest
  value, as in maps of superpixels, the share of them that lies inside counts.
- **Right for both**: whether the pointing game is right for both objects of a scene. A map that is the same for
  every class can have this only by chance.

**Baselines** stand in italics. Four of them never see the network. The fifth, the mean of all maps of the layer,
sees it and knows nothing of the class. Eigen-CAM and attention rollout are asked for no class either.

**Differences** are paired: method less Grad-CAM, and method less the best control that knows nothing of the class,
scene by scene. The best control is chosen by its mean on the same scenes, which favours the control. This page
makes {count} such comparisons. A star marks those that would also hold if all of them are allowed for (Bonferroni,
5 %).

**Places** are intervals as well: 95 % of {DRAWS} bootstrap draws of the scenes put the row between these places.
Only scenes of which every row has a map are used here, so no row gains by refusing hard scenes. A row that refuses
some scenes is followed by Grad-CAM's scores on the scenes that are left.

How each method becomes one map a picture, and with what settings, stands in `helpers/evaluation/methods.py`; the
scores in `helpers/evaluation/scores.py`; the pictures in `tools/scoreboard/subjects.py`. "Forward" and "backward"
are the passes that a picture costs: K is the number of the layer's maps that are not zero everywhere, "head" a pass
through the layers behind it alone. Ablation-CAM has no map where the score is not clearly positive. On the
transformer, CAM, FullGrad and LRP have no map; deconvnet and guided backpropagation leave its GELUs as they are,
and DeepLIFT's values do not add up there.
"""


def part(subject: Subject, each: Mapping[int, Board], gaps: Mapping, count: int, figures: Path) -> str:
    """Return the section of a subject, and draw its figure."""
    board, scenes = together([*each.values()]), [len(b["random"]["rank"]) for b in each.values()]
    path = figures / f"scoreboard_{subject.name}.png"
    alt = draw(subject, board, path)
    networks = (
        "one network, the one that comes with the course" if len(each) == 1 else f"{len(each)} networks trained anew"
    )
    asked = f"{sum(scenes)} scenes" + f", {subject.questions} questions about each" * (subject.questions > 1)
    rest = f"### By size and place\n\n{by_place(each)}\n\n" if subject.name == "shapes_watermark" else ""
    return f"""
## {subject.title}

`{subject.name}`, {networks}; {asked}. {subject.text}

![{alt}](../notebooks/figures/{path.name})

{scores_table(subject, board, each)}

{rest}### Differences and places

{int(common(board).sum())} of {sum(scenes)} scenes have a map of every row; the places are those of these scenes.

{differences_table(subject, board, gaps, scenes, count)}
"""


def draw(subject: Subject, board: Board, path: Path) -> str:
    """Draw a subject's scores, the methods with the best rank accuracy on top; return the figure in words."""
    refused = {name: scores["rank"].isnan().double().mean().item() for name, scores in board.items()}
    rank = {name: np.nan_to_num(estimate("rank", scores["rank"])[0], nan=-1) for name, scores in board.items()}
    rows = {}
    for name in sorted(board, key=lambda name: -rank[name]):
        label = f"{name} *" if 0 < refused[name] < 1 else name
        rows[label] = {key: estimate(key, board[name][key]) for key in subject.heads}
    note = "; ".join(
        f"* {name}: no map of {share:.0%} of the scenes" for name, share in refused.items() if 0 < share < 1
    )
    columns = {key: head for key, head in subject.heads.items() if key != "distractor" or len(subject.heads) == 4}
    figure = plotting.intervals(
        rows, baselines=evaluation.BASELINES, less=evaluation.LESS_IS_BETTER, columns=columns, note=note
    )
    drawn = io.BytesIO()
    figure.savefig(drawn, bbox_inches="tight", pad_inches=0.08)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} kB")
    if size > LARGEST:
        raise RuntimeError(f"{path.name} is {size} bytes, more than {LARGEST}: draw it smaller.")
    return figure.alt


def scores_table(subject: Subject, board: Board, each: Mapping[int, Board]) -> str:
    """Return a row for each method: passes, scores with intervals, and the range over networks."""
    lines = [["method", "forward", "backward", *subject.heads.values()]]
    if len(each) > 1:
        lines[0].append("networks")
    for name, scores in board.items():
        method, missing = METHODS_AND_BASELINES[name], scores["rank"].isnan()
        label, kept = label_of(name), ~missing
        if missing.all():
            label += " (no such map)"
        elif missing.any():
            label += f" (no map of {int(missing.sum())} of {len(missing)} scenes)"
        lines.append([label, method.forward, method.backward, *cells(subject, scores)])
        if len(each) > 1:
            lines[-1].append(" / ".join(over_networks(key, name, each) for key in subject.heads))
        if missing.any() and kept.any() and name != FIRST:
            same = {key: values[kept] for key, values in board[FIRST].items()}
            lines.append([f"{FIRST} on these {int(kept.sum())} scenes", "", "", *cells(subject, same)])
            lines[-1] += [""] * (len(each) > 1)
    return as_table(lines)


def cells(subject: Subject, scores: Mapping[str, torch.Tensor]) -> list[str]:
    """Return a method's scores as they stand in the table."""
    return [with_ends(*estimate(key, scores[key])) for key in subject.heads]


def over_networks(key: str, name: str, each: Mapping[int, Board]) -> str:
    """Return the lowest and the highest mean of the single networks."""
    means = [100 * estimate(key, board[name][key])[0] for board in each.values()]
    return "-" if np.isnan(means).all() else f"{np.nanmin(means):.0f} to {np.nanmax(means):.0f}"


def differences(board: Board) -> Iterator[tuple[tuple[str, str, str], Difference]]:
    """Yield each paired difference: (score, what is compared with, row)."""
    for key in COMPARED:
        for name in board:
            for kind, other in (("first", FIRST), ("control", best_control(board, key))):
                if name != other:
                    yield (key, kind, name), difference(board[name][key], board[other][key])


def best_control(board: Board, key: str) -> str:
    """Return the control with the highest mean among those that know nothing of the class."""
    found = [name for name in CONTROLS if not board[name][key].isnan().all()]
    return max(found, key=lambda name: estimate(key, board[name][key])[0])


def differences_table(subject: Subject, board: Board, gaps: Mapping, scenes: list[int], count: int) -> str:
    """Return a row for each method: paired differences, and between which places it stands."""
    kept = common(board)
    ends = np.cumsum(scenes)
    left = [int(kept[end - size : end].sum()) for size, end in zip(scenes, ends, strict=True)]
    shown = {name: scores for name, scores in board.items() if not scores["rank"].isnan().all()}
    placed = {}
    for key in (key for key in PLACED if key in subject.heads):
        values = {name: scores[key][kept].nan_to_num(0.0) for name, scores in shown.items()}  # no mass at all: 0
        placed[key] = places(values, left)
    best = {key: best_control(board, key) for key in COMPARED}
    lines = [["method"]]
    for key in COMPARED:
        lines[0] += [f"{subject.heads[key]} less {FIRST}", f"{subject.heads[key]} less {label_of(best[key])}"]
    lines[0] += [f"place by {subject.heads[key]}" for key in placed]
    for name in shown:
        line = [label_of(name)]
        for key in COMPARED:
            line += [as_difference(gaps.get((key, kind, name)), count) for kind in ("first", "control")]
        lines.append(line + ["{} to {}".format(*placed[key][name]) for key in placed])
    return as_table(lines)


def by_place(each: Mapping[int, Board]) -> str:
    """Return the pointing game and rank accuracy of every method, for each size and place of the watermark."""
    parts = {cell: [] for cell in CELLS}
    for board in each.values():
        size = len(board["random"]["rank"]) // len(CELLS)
        for number, cell in enumerate(CELLS):
            rows = slice(number * size, (number + 1) * size)
            parts[cell].append({name: {key: v[rows] for key, v in scores.items()} for name, scores in board.items()})
    found = {cell: together(boards) for cell, boards in parts.items()}
    names = {1: "small", 2: "large"}
    heads = [f"{place}, {names[scale]}" for place, scale in sorted(CELLS, key=lambda cell: cell[1])]
    lines = [["method", *heads]]
    for name, scores in together([*each.values()]).items():
        if not scores["rank"].isnan().all():
            line = []
            for cell in sorted(CELLS, key=lambda cell: cell[1]):
                both = [100 * estimate(key, found[cell][name][key])[0] for key in ("pointing", "rank")]
                line.append("{:.0f} / {:.0f}".format(*both))
            lines.append([label_of(name), *line])
    count = len(found[CELLS[0]]["random"]["rank"])
    return (
        f"Pointing game / rank accuracy. The same scenes with the same numbers in each column, {count} of each kind: "
        f"the size of the evidence and its place are changed one at a time.\n\n{as_table(lines)}"
    )


def label_of(name: str) -> str:
    """Return a row's name as it stands in a table: that of a baseline in italics."""
    return f"*{name}*".replace("|", "\\|") if name in evaluation.BASELINES else name


def with_ends(mean: float, low: float, high: float) -> str:
    """Return a mean with its interval, in per cent."""
    return (
        "-"
        if np.isnan(mean)
        else f"{100 * mean:.0f}" + ("" if np.isnan(low) else f" ({100 * low:.0f} to {100 * high:.0f})")
    )


def as_difference(gap: Difference | None, count: int) -> str:
    """Return a difference in points with its interval; a star where it holds among all comparisons."""
    if gap is None or np.isnan(gap.mean):
        return "-"
    star = " *" if gap.p * count < 0.05 else ""
    return f"{100 * gap.mean:+.0f} ± {100 * gap.half:.0f}{star}"


def as_table(lines: list[list[str]]) -> str:
    """Return lines of cells, the first of them headings, as a table in Markdown."""
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
