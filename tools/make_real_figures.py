"""Make the figures of the lessons that show a real network: SqueezeNet, as torchvision gives it, trained on ImageNet.

    python -m tools.make_real_figures                          all of them, into notebooks/figures/; some minutes
    python -m tools.make_real_figures feature_visualisation

The network's file, 5 MB, is fetched at first use.
"""

import base64
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
import numpy as np
import skimage.data
import torch
from nbclient import NotebookClient
from PIL import Image

from helpers import plotting, synthesis
from helpers.models import load_classifier
from helpers.plotting.style import CourseFigure
from tools import lessons

ROOT = Path(__file__).resolve().parents[1]

FILTERS = {f"features.{k}.expand3x3": 7 for k in (3, 5, 8, 10, 12)}
LARGEST = 150_000  # bytes of a figure
SCORES = "classifier.1"  # behind it SqueezeNet has a ReLU, and a class that is off has no slope


def save(figure: CourseFigure, name: str) -> None:
    """Write a figure as notebooks/figures/<name>.jpg."""
    png = io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight", pad_inches=0.08)
    write(png, name)


def write(png: io.BytesIO, name: str) -> None:
    """Write a picture as notebooks/figures/<name>.jpg, as good as fits into LARGEST bytes."""
    path = ROOT / "notebooks" / "figures" / f"{name}.jpg"
    path.parent.mkdir(exist_ok=True)
    for quality in range(90, 20, -5):
        Image.open(png).convert("RGB").save(path, quality=quality, optimize=True)
        if path.stat().st_size <= LARGEST:
            break
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB at quality {quality}")


def look_inside() -> None:
    """The first layer's kernels: the picture that the lesson itself shows in the public world."""
    lesson = nbformat.read(lessons.path("look_inside"), as_version=4)
    os.environ["COURSE_WORLD"] = "public"
    NotebookClient(lesson, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    (cell,) = (cell for cell in lesson.cells if "the random start" in cell.source and cell.cell_type == "code")
    (png,) = (output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
    write(io.BytesIO(base64.b64decode(png)), "look_inside_real_network")


def feature_visualisation() -> None:
    """Class images, one class under four regularisers, and filters at five depths."""
    reader = load_classifier("squeezenet1_0", "public")
    model, bounds = reader.model, reader.bounds
    moved = synthesis.random_view(shift=16, turn=10, zoom=1.2)
    recipe = {"space": "fourier", "view": moved, "bounds": bounds}

    def images(layer: str, numbers: Sequence[int], side: int = 176, **options: object) -> list[torch.Tensor]:
        start = synthesis.noise(len(numbers), (3, side, side), bounds)
        found = synthesis.maximise(model, synthesis.channel(numbers), start, layer=layer, **options).images
        return [*reader.unprocess(found)]

    names = ["espresso", "king snake", "peacock", "flamingo", "garden spider"]
    panels = images(SCORES, [reader.categories.index(name) for name in names], steps=150, **recipe)
    flamingo = [reader.categories.index("flamingo")]
    rules = {"none": {}, "L1": {"l1": 300.0}, "L2": {"l2": 300.0}, "blur and clipping": {"blur": 1.0, "clip": 0.1}}
    for options in rules.values():
        panels += images(SCORES, flamingo, bounds=bounds, steps=100, **options)
    panels += images(SCORES, flamingo, bounds=bounds, view=moved, steps=100)
    titles = [*names, *(f"flamingo, {name}" for name in [*rules, "moved views"])]
    for layer, number in FILTERS.items():
        panels += images(layer, [number], side=112, steps=100, **recipe)
        titles.append(f"{layer.removesuffix('.expand3x3')}, filter {number}")
    save(plotting.grid(panels, titles, columns=5, width=8.5), "feature_visualisation_real_network")


def dream_and_inversion() -> None:
    """Dreams of the cat and the coffee by five layers, and the cat rebuilt from five depths."""
    reader = load_classifier("squeezenet1_0", "public")
    model, (black, white) = reader.model, reader.bounds
    cat, coffee = skimage.data.chelsea()[20:276, 100:356], skimage.data.coffee()[60:316, 220:476]
    pictures = torch.from_numpy(np.stack([cat, coffee])).permute(0, 3, 1, 2) / 255
    x = black + (white - black) * pictures
    rows = [[picture] for picture in (*pictures, pictures[0])]
    for layer in (3, 5, 8, 10, 12):
        options = {"layer": f"features.{layer}", "bounds": reader.bounds}
        dreamt = reader.unprocess(synthesis.deep_dream(model, x, **options))
        recipe = {"space": "fourier", "steps": 200, "norm": 0.05, "variation": 30.0}
        found = synthesis.invert(model, x[:1], **options, **recipe)
        error, named = found.errors[-1, 0], model(found.images).argmax(1) == model(x[:1]).argmax(1)
        print(f"{layer}: inversion error {error:.1%}, named like the cat: {named.item()}")
        for row, picture in zip(rows, [*dreamt, reader.unprocess(found.images)[0]], strict=True):
            row.append(picture)
    heads = ["picture", *(f"features.{layer}" for layer in (3, 5, 8, 10, 12))]
    names = ["dream", "dream", "inversion"]
    save(
        plotting.grid(sum(rows, []), columns=6, col_labels=heads, row_labels=names, width=11),
        "dream_and_inversion_real_network",
    )


LESSONS = {one.__name__: one for one in (look_inside, feature_visualisation, dream_and_inversion)}

if __name__ == "__main__":
    torch.set_num_threads(1)  # sums in another order lead a long ascent to other pictures
    for name in sys.argv[1:] or LESSONS:
        if name not in LESSONS:
            raise SystemExit(f"No figure is made for lesson {name!r}; there are figures for {', '.join(LESSONS)}.")
        LESSONS[name]()
