"""Draw the data of a project: python -m tools.project_data weather [--seed 7] [--to FOLDER].

It is ``make project-data PROJECT=weather SEED=7``. Each seed gives other pictures of the same kind, so that every group
of students has its own. The folder build/projects/weather_7 then holds the pictures, their labels as a table that any
program reads, and, where a network belongs to the project, the network. docs/projects.md says what is asked. Nothing is
fetched, and a folder that is there already is left as it is.

    handover    a network that somebody else has trained, with its maker's pictures and with one's own
    weather     forests with and without a tank, each under both skies: train networks, and count what they use
    choice      pictures of two objects with their masks: choose a method on one half, report it on the other
"""

import argparse
import csv
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import load_file, save_file

from helpers.course import weights
from helpers.data import shapes, tanks
from helpers.data.planted_cues import planted

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = ROOT / "build" / "projects"
SEEDS = 100_000  # project seeds begin here: no lesson, and no network of the course, has seen their pictures
LOADER = '''"""The network that was handed over: `network()` returns it with its classes and its preprocess.

Run from the course's folder:  python -m helpers.report FOLDER/network.py:network FOLDER/yours
"""

from pathlib import Path

from safetensors.torch import load_file

from helpers.data import read_picture, shapes
from helpers.models import Classifier, ShapesResNet


def preprocess(pictures):
    """Return float [N, 3, 128, 128]: pictures are paths or arrays, one or a list."""
    several = pictures if isinstance(pictures, list | tuple) else [pictures]
    return shapes.preprocess([read_picture(one) for one in several])


def network():
    """Return the network as a classifier: `network().model` is the module, its last stage is `layer4`."""
    model = ShapesResNet()
    model.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
    model.eval().requires_grad_(False)
    categories = list(shapes.CATEGORIES)
    return Classifier(model, categories, preprocess, "layer4", "course", "handed over", "pictures of its maker")
'''


def handover(folder: Path, seed: int, count: int = 200) -> None:
    """Write the maker's pictures, one's own, their labels, and the network with a function that loads it.

    ``maker/`` and ``yours/`` hold ``count`` pictures of two objects each, of other scenes; ``labels.csv`` has the
    classes of both objects, and in the column "object" the one that the maker calls right.
    """
    parts = {"maker": planted(count, seed, watermark=1.0), "yours": planted(count, seed + 1)}
    rows = []
    for part, drawn in parts.items():
        for i, label in enumerate(drawn.labels):
            _save(drawn.images[i], folder / part / f"{i:03d}.png")
            rows.append((f"{part}/{i:03d}.png", part, shapes.CATEGORIES[label], shapes.CATEGORIES[drawn.others[i]]))
    _table(folder / "labels.csv", ("file", "part", "object", "also_there"), rows)
    save_file(
        load_file(weights("shapes_watermark")), folder / "weights.safetensors"
    )  # without what it says about itself
    (folder / "network.py").write_text(LOADER, encoding="utf-8")


def weather(folder: Path, seed: int, count: int = 500) -> None:
    """Write ``count`` forests, each in four versions, and what is in each: four fifths to train, one fifth to test."""
    drawn, rows = tanks.counterfactuals(count, seed), []
    for tank, cloudy, forest in np.ndindex(2, 2, count):
        name = f"{forest:03d}_{'tank' if tank else 'empty'}_{'clouds' if cloudy else 'sun'}.png"
        part = "train" if forest < count * 4 // 5 else "test"
        _save(drawn.images[tank, cloudy, forest], folder / part / name)
        _save(255 * drawn.skies[tank, cloudy, forest].astype(np.uint8), folder / "masks" / f"sky_{name}")
        _save(255 * drawn.tanks[tank, cloudy, forest].astype(np.uint8), folder / "masks" / f"tank_{name}")
        rows.append((f"{part}/{name}", part, forest, tank, cloudy))
    _table(folder / "labels.csv", ("file", "part", "forest", "tank", "clouds"), rows)


def choice(folder: Path, seed: int, count: int = 200) -> None:
    """Write pictures of two objects, a mask for each object, and their classes: one half to choose, one to report."""
    drawn, rows = shapes.two(count, seed), []
    for i, (first, second) in enumerate(drawn.labels):
        part = "choose" if i < count // 2 else "report"
        _save(drawn.images[i], folder / part / f"{i:03d}.png")
        for which, mask in zip(("first", "second"), drawn.masks[i], strict=True):
            _save(255 * mask.astype(np.uint8), folder / "masks" / f"{i:03d}_{which}.png")
        rows.append((f"{part}/{i:03d}.png", part, shapes.CATEGORIES[first], shapes.CATEGORIES[second]))
    _table(folder / "labels.csv", ("file", "part", "first", "second"), rows)


WRITERS: dict[str, Callable[..., None]] = {"handover": handover, "weather": weather, "choice": choice}


def write(project: str, seed: int = 0, to: Path = PROJECTS, count: int | None = None) -> Path:
    """Write the data of a project into a new folder, the whole of it or nothing, and return the folder.

    Args:
        project: one of ``WRITERS``.
        seed: 0 or more; another seed gives other pictures of the same kind.
        to: the folder in which the new one is made.
        count: how many scenes; the project's own number unless given.

    Raises:
        SystemExit: there is no such project, the seed is negative, there is nothing to draw, ``to`` is a file, or the
            folder is there already.
    """
    if project not in WRITERS:
        raise SystemExit(f"There is no project {project!r}; the projects are {', '.join(WRITERS)}.")
    if seed < 0:
        raise SystemExit(f"SEED is {seed}; give a number that is 0 or more, as in SEED=7.")
    if count is not None and count < 1:
        raise SystemExit(f"count is {count}; give 1 or more.")
    if to.exists() and not to.is_dir():
        raise SystemExit(f"{to} is a file; give --to a folder.")
    folder = to / f"{project}_{seed}"
    if folder.exists():
        raise SystemExit(f"{folder} is there already and was left as it is: move it away, or give another SEED.")
    to.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=to))
    try:
        WRITERS[project](part, SEEDS + 2 * seed, **({} if count is None else {"count": count}))
        part.chmod(0o755)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _save(pixels: np.ndarray, file: Path) -> None:
    """Write a picture uint8 [H, W, 3], or a mask uint8 [H, W], as a PNG file."""
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(file, compress_level=1)


def _table(file: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a row of names above."""
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([names, *rows])


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, and write the data of one project."""
    parser = argparse.ArgumentParser(prog="python -m tools.project_data", description="Draw the data of a project.")
    parser.add_argument("project", help=", ".join(WRITERS))
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other pictures (0)")
    parser.add_argument("--to", type=Path, default=PROJECTS, help="where its folder is made (build/projects)")
    parser.add_argument("--count", type=int, help="how many scenes")
    given = parser.parse_args(arguments)
    folder = write(given.project, given.seed, given.to, given.count)
    files = sum(path.is_file() for path in folder.rglob("*"))
    print(f"Wrote {files} files into {folder}. docs/projects.md says what is asked.")


if __name__ == "__main__":
    main()
