"""Make the figures of the lessons that show a real network: SqueezeNet, as torchvision gives it, trained on ImageNet.

    python -m tools.make_real_figures                          all of them, into notebooks/figures/; some minutes
    python -m tools.make_real_figures feature_visualisation

The network's file, 5 MB, is fetched at first use.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from torchvision.utils import make_grid

from helpers import plotting, synthesis
from helpers.models import load_classifier
from helpers.plotting.style import CourseFigure

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
    """The first layer's kernels, and those that are striped at their direction and frequency."""
    kernels = load_classifier("squeezenet1_0", "public").model.features[0].weight.detach()  # [96, 3, 7, 7]
    mix = torch.linalg.svd(kernels.flatten(2), full_matrices=False).U[:, :, 0]  # of colours, in which each is strongest
    direction, agreement, frequency = waves(torch.einsum("nc,ncij->nij", mix, kernels))
    drawn = kernels / kernels.abs().amax((1, 2, 3), keepdim=True) / 2 + 0.5  # each on its own scale; grey is zero
    figure, axes = plotting.canvas(1, 2, size=(10.4, 5.0))
    left, right = axes[0]
    left.imshow(make_grid(drawn, nrow=10, padding=1, pad_value=1.0).permute(1, 2, 0))
    left.set_title("96 kernels of 7 x 7 pixels")
    left.axis("off")
    right.axhspan(0, 1 / kernels.shape[-1], color="#e6e6e6", zorder=-1)
    right.text(90, 0.05, "waves longer than the window", ha="center", va="center", fontsize=11)
    for i in (agreement > 0.4).nonzero()[:, 0]:
        d, f = direction[i].item(), frequency[i].item()
        right.imshow(drawn[i].permute(1, 2, 0), extent=(d - 7, d + 7, f - 0.016, f + 0.016), aspect="auto")
    right.set(xlim=(-9, 189), xticks=(0, 45, 90, 135, 180), ylim=(0, 0.5))
    right.set(xlabel="direction across the stripes, degrees", ylabel="frequency, periods per pixel")
    save(figure, "look_inside_real_network")


def waves(kernels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return direction in degrees, agreement and mean frequency of kernels [N, k, k], as lesson *look_inside* does."""
    grid = torch.complex(*torch.meshgrid(*[torch.fft.fftfreq(64)] * 2, indexing="xy"))
    power = torch.fft.fft2(kernels, s=(64, 64)).abs() ** 2  # zeros around the kernel
    power = power / power.sum((1, 2), keepdim=True)
    z = (power * grid.sgn() ** 2).sum((1, 2))  # squaring doubles the angle
    return z.angle().rad2deg() / 2 % 180, z.abs(), (power * grid.abs()).sum((1, 2))


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
