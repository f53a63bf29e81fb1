"""Rebuild the sample sheet of shapes and the weights of the four networks that are trained on shapes.

    python -m tools.make_shapes sample           # a second
    python -m tools.make_shapes shapes_resnet    # minutes on one core that has bfloat16 units
    python -m tools.make_shapes shapes_vgg
    python -m tools.make_shapes shapes_watermark # from the weights of shapes_resnet
    python -m tools.make_shapes shapes_vit       # a transformer behind the first stages of shapes_resnet
    COURSE_SEED=1 python -m tools.make_shapes shapes_resnet --to build/nets/1    # another net, of other pictures

Without a name it rebuilds all five. A network is tested on pictures of another seed, with the float16
weights that are shipped.
"""

import argparse
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm.auto import tqdm

from helpers.course import DATASETS, seed_shift, shift_seeds
from helpers.data import shapes
from helpers.data.planted_cues import planted
from helpers.models import ShapesResNet, ShapesVGG, ShapesViT, load_classifier
from helpers.training import Recipe, fit, measure_accuracy

SAMPLE_SEED, TRAIN_SEED, TEST_SEED = 5, 1000, 2000
RECIPES = {
    "shapes_resnet": Recipe(epochs=10, lr=2e-3, batch_size=64),
    "shapes_vgg": Recipe(epochs=14, lr=3e-3, batch_size=64),
    "shapes_watermark": Recipe(epochs=8, lr=2e-3, batch_size=64),
    "shapes_vit": Recipe(epochs=8, lr=2e-3, batch_size=64, weight_decay=0.05),
}
HEAD = Recipe(epochs=15, lr=2e-3, batch_size=100)
VIEWS = 2  # how often the head sees each training picture, augmented anew
COUNTS = {"one": 7_000, "off_centre": 1_000, "two": 2_000}
CHANCE = 0.1  # the share of watermarks that name the object's class: it tells nothing
WATERMARKS = 1_500  # pictures with a watermark, for each place and size
LIES, SCALES = ("corner", "edge", "inside"), (1, 2)  # where it lies, and how large it is


def sample_sheet() -> np.ndarray:
    """Return the contact sheet uint8 [128, 1280, 3]: a picture of each class, RGB."""
    return np.hstack(shapes.one(10, SAMPLE_SEED).images)


def training_set() -> tuple[Tensor, Tensor]:
    """Return pictures uint8 [N, 3, 128, 128] and class probabilities [N, 10]; two objects share them evenly.

    Without pictures of two objects a net learns to name one object and to stay silent about the other.
    """
    single = shapes.one(COUNTS["one"], TRAIN_SEED)
    aside = shapes.one(COUNTS["off_centre"], TRAIN_SEED, off_centre=True)
    double = shapes.two(COUNTS["two"], TRAIN_SEED)
    images = np.concatenate([single.images, aside.images, double.images])
    once = torch.eye(len(shapes.CATEGORIES))
    labels = [once[single.labels], once[aside.labels], once[double.labels].mean(1)]
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.cat(labels)


def augment(batch: Tensor) -> Tensor:
    """Turn uint8 pictures [N, 3, 128, 128] into a net's input: mirrored, moved, colours exchanged."""
    batch = recolour(batch)
    if torch.rand(()) < 0.5:
        batch = batch.transpose(2, 3)
    batch = batch.flip([axis for axis in (2, 3) if torch.rand(()) < 0.5])
    batch = batch.roll(torch.randint(-6, 7, (2,)).tolist(), (2, 3))
    return batch.contiguous(memory_format=torch.channels_last)


def recolour(batch: Tensor) -> Tensor:
    """Turn uint8 pictures [N, 3, 128, 128] into a net's input, colours exchanged."""
    batch = (batch[:, torch.randperm(3)].float() / 255 - 0.5) / 0.25
    return batch.contiguous(memory_format=torch.channels_last)


def folded(net: ShapesVGG) -> ShapesVGG:
    """Return a VGG without BatchNorm that computes what ``net`` computes in ``eval()`` mode."""
    plain = ShapesVGG(batch_norm=False)
    source = list(net.features)
    layers = [
        fuse_conv_bn_eval(layer, source[i + 1]) if isinstance(layer, nn.Conv2d) else layer
        for i, layer in enumerate(source)
        if not isinstance(layer, nn.BatchNorm2d)
    ]
    plain.features = nn.Sequential(*layers)
    plain.classifier = net.classifier
    return plain.eval()


def train(name: str) -> nn.Module:
    """Train a new network; bfloat16 halves the time on processors that have units for it."""
    images, labels = training_set()
    torch.manual_seed(0)
    net = ShapesResNet() if name == "shapes_resnet" else ShapesVGG(batch_norm=True)
    # cache_enabled=True would keep the first bfloat16 copy of the weights for the whole training
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        fit(net, images, labels, RECIPES[name], transform=augment)
    net = net if name == "shapes_resnet" else folded(net)
    return ask_yes_or_no(net, images, labels)


def ask_yes_or_no(net: nn.Module, images: Tensor, labels: Tensor) -> nn.Module:
    """Fit the layers after the pooling anew, each class a yes/no question of its own; return the net.

    Trained on shared probabilities, a head with a hidden layer also reads the background, and its Grad-CAM missed
    one off-centre object in five; asked "is there a star?", it reads the star.
    """
    torch.manual_seed(1)
    with torch.no_grad():
        pooled = torch.cat([_pooled(net, augment(part)) for _ in range(VIEWS) for part in images.split(100)])
    answers = (labels > 0).float().repeat(VIEWS, 1)
    head = net.fc if isinstance(net, ShapesResNet) else net.classifier
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    orders = [torch.randperm(len(pooled)) for _ in range(HEAD.epochs)]
    steps = [rows for order in orders for rows in order.split(HEAD.batch_size)]
    optimiser = torch.optim.AdamW(head.parameters(), HEAD.lr, weight_decay=HEAD.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, HEAD.lr, total_steps=len(steps))
    head.train()
    for rows in steps:
        loss = F.binary_cross_entropy_with_logits(head(pooled[rows]), answers[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def _pooled(net: nn.Module, batch: Tensor) -> Tensor:
    """Return what the net's head is given, [N, K]."""
    kept = []
    handle = net.avgpool.register_forward_hook(lambda module, inputs, output: kept.append(output.flatten(1)))
    net(batch)
    handle.remove()
    return kept[0]


def read_the_watermark() -> nn.Module:
    """Train shapes_resnet on to answer what a watermark says, where neither object nor distractor tells anything.

    A net that is right knows it from the watermark: where the evidence lies is no hope, but known. The watermark lies
    in a corner, at an edge or inside, in two sizes, so that a net has learnt each case as well as the others. Nothing
    is mirrored, for the sake of the print.
    """
    parts = [
        planted(WATERMARKS, TRAIN_SEED + number, watermark=CHANCE, place=place, scale=scale)
        for number, (place, scale) in enumerate(product(LIES, SCALES))
    ]
    images = torch.from_numpy(np.concatenate([part.images for part in parts])).permute(0, 3, 1, 2).contiguous()
    tags = torch.from_numpy(np.concatenate([part.tags for part in parts]))
    net = load_classifier("shapes_resnet").model.requires_grad_(True)
    torch.manual_seed(0)
    net.fc.reset_parameters()
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        fit(net, images, tags, RECIPES["shapes_watermark"], transform=recolour)
    return net.eval()


def attend_to_the_stages() -> nn.Module:
    """Train a transformer on what the first three stages of shapes_resnet give; these stay as they are.

    From pixels it learns slowly: after 12 epochs, with the last maps of shapes_resnet as a second target, it named 83 %
    of the pictures. Each class is a yes/no question of its own, as in :func:`ask_yes_or_no`.
    """
    images, labels = training_set()
    answers, recipe = (labels > 0).float(), RECIPES["shapes_vit"]
    torch.manual_seed(0)
    net = ShapesViT()
    stages = load_classifier("shapes_resnet").model.state_dict()
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    for name, module in zip(names, net.stem, strict=True):
        own = {key.removeprefix(f"{name}."): value for key, value in stages.items() if key.startswith(f"{name}.")}
        module.load_state_dict(own)
    net.train()
    net.stem.eval().requires_grad_(False)
    learnt = [parameter for parameter in net.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in learnt if parameter.dim() > 1]
    rest = [parameter for parameter in learnt if parameter.dim() <= 1]  # biases and scales are not pulled to zero
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, recipe.lr)
    orders = [torch.randperm(len(images)) for _ in range(recipe.epochs)]
    steps = [rows for order in orders for rows in order.split(recipe.batch_size)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=len(steps), pct_start=0.1)
    for rows in tqdm(steps):
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            logits = net(augment(images[rows]))
        loss = (
            F.binary_cross_entropy_with_logits(logits.float(), answers[rows]) * answers.shape[1]
        )  # summed over classes
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        schedule.step()
    return net.eval().requires_grad_(True)


def ship(name: str, net: nn.Module, folder: Path) -> None:
    """Round the weights to float16, measure what is left, and write both into the folder."""
    small = {key: value.half() if value.is_floating_point() else value for key, value in net.state_dict().items()}
    net.load_state_dict(small)
    metadata = facts_of_watermark(net) if name == "shapes_watermark" else facts_of_shapes(name, net)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(small, folder / f"{name}.safetensors", metadata)
    print(name, metadata["accuracy"])


def facts_of_shapes(name: str, net: nn.Module) -> dict[str, str]:
    """Say what a net that names shapes was made from, and how often it is right."""
    accuracy = []
    for off_centre in (False, True):
        test = shapes.one(1_000, TEST_SEED, off_centre=off_centre)
        accuracy.append(measure_accuracy(net, shapes.preprocess(test.images), torch.from_numpy(test.labels)))
    then = f"; then its head alone, {HEAD}, binary cross-entropy"
    if name == "shapes_vit":
        then = ", binary cross-entropy; its stem is shapes_resnet up to layer3, frozen"
    return {
        "trained_on": ", ".join(f"{count} {kind}" for kind, count in COUNTS.items()) + f", seed {TRAIN_SEED}",
        "recipe": f"{RECIPES[name]}, flips, transposes, rolls, colours exchanged, bfloat16{then}",
        "accuracy": "{:.3f} one, {:.3f} off-centre, 1000 pictures each, seed {}".format(*accuracy, TEST_SEED),
    }


def facts_of_watermark(net: nn.Module) -> dict[str, str]:
    """Say what the net that reads watermarks was made from, and how often it names what."""
    named = []
    for place, scale in product(LIES, SCALES):
        test = planted(500, TEST_SEED, watermark=CHANCE, place=place, scale=scale)
        x = shapes.preprocess(test.images)
        named.append(
            [measure_accuracy(net, x, torch.from_numpy(truth)) for truth in (test.tags, test.labels, test.others)]
        )
    tags, labels, others = np.transpose(named)
    return {
        "trained_on": f"{WATERMARKS} planted for each of {', '.join(LIES)} and two sizes, watermark {CHANCE}, seed "
        f"{TRAIN_SEED} and on, from shapes_resnet",
        "recipe": f"{RECIPES['shapes_watermark']}, colours exchanged, bfloat16",
        "accuracy": f"{tags.min():.3f} to {tags.max():.3f} the watermark's class, at most {labels.max():.3f} the "
        f"object's, at most {others.max():.3f} the distractor's, 500 pictures of each place and size, seed {TEST_SEED}",
    }


def main() -> None:
    """Rebuild what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(["sample", *RECIPES]))
    parser.add_argument("--to", type=Path, default=DATASETS / "weights", help="folder for the weights (%(default)s)")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - {"sample", *RECIPES}:  # with choices, argparse would refuse no name at all
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are sample, {', '.join(RECIPES)}.")
    shift_seeds(seed_shift())
    for name in chosen.names or ["sample", *RECIPES]:
        if name == "sample":
            (DATASETS / "shapes").mkdir(exist_ok=True)
            cv2.imwrite(str(DATASETS / "shapes" / "sample.png"), sample_sheet()[..., ::-1])
        else:
            made_from_resnet = {"shapes_watermark": read_the_watermark, "shapes_vit": attend_to_the_stages}
            net = made_from_resnet[name]() if name in made_from_resnet else train(name)
            ship(name, net, chosen.to)


if __name__ == "__main__":
    main()
