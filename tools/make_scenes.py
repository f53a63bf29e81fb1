"""Rebuild the weights of the tiny net that segments drawings of shapes and puts boxes around their objects.

    python -m tools.make_scenes                              # two minutes on one thread
    COURSE_SEED=1 python -m tools.make_scenes --to build/nets/1    # another net, of other pictures

It is tested on pictures of another seed, with the float16 weights that are shipped.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from helpers.course import DATASETS, seed_shift, shift_seeds
from helpers.data import shapes
from helpers.models import ShapesScenes
from helpers.models.load import SCENES_NET

TRAIN_SEED, TEST_SEED = 3000, 4000
COUNT, EPOCHS, BATCH, LR = 3_000, 7, 32, 4e-3
CELL, CELLS = 8, 16  # pixels of a cell, cells along a side
FINE = 32  # the side of the grid on which pixels are compared
GROUND = 0.3  # the weight of a pixel of the ground, where one of an object has 1
BOX, SCORE = 0.3, 1.0  # weights of the two losses of the boxes


class Scenes(NamedTuple):
    """Pictures uint8 [N, 3, 128, 128], category numbers uint8 [N, 128, 128], and boxes [N, 2, 4].

    A box is left, top, right and bottom edge, in pixels.
    """

    images: Tensor
    categories: Tensor
    boxes: Tensor


def draw(count: int, seed: int) -> Scenes:
    """Draw pictures of two objects with what there is to learn about them."""
    drawn = shapes.two(count, seed, categories=ShapesScenes.SHAPES)
    return Scenes(
        torch.from_numpy(drawn.images).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(categories_of(drawn)),
        torch.from_numpy(boxes_of(drawn.masks)),
    )


def categories_of(drawn: shapes.TwoShapes) -> np.ndarray:
    """Return the category of each pixel, uint8 [N, H, W]: 0 for the ground, else 1 and more in the order of SHAPES."""
    numbers = 1 + np.searchsorted(ShapesScenes.SHAPES, drawn.labels)
    return (drawn.masks * numbers[..., None, None]).sum(1).astype(np.uint8)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Return the box around each mask [..., H, W]: float32 [..., 4] as left, top, right and bottom edge in pixels."""
    columns, rows = masks.any(-2), masks.any(-1)
    ends = [(line.argmax(-1), line.shape[-1] - line[..., ::-1].argmax(-1)) for line in (columns, rows)]
    (left, right), (top, bottom) = ends
    return np.stack([left, top, right, bottom], -1).astype(np.float32)


def augmented(batch: Scenes) -> Scenes:
    """Return floats for the net: colours exchanged, mirrored and transposed, with categories and boxes that follow."""
    images = (batch.images[:, torch.randperm(3)].float() / 255 - 0.5) / 0.25
    categories, boxes = batch.categories, batch.boxes
    if torch.rand(()) < 0.5:
        images, categories, boxes = images.mT, categories.mT, boxes[..., [1, 0, 3, 2]]
    for axis, (low, high) in ((-1, (0, 2)), (-2, (1, 3))):
        if torch.rand(()) < 0.5:
            images, categories, boxes = images.flip(axis), categories.flip(axis), boxes.clone()
            boxes[..., [low, high]] = 128 - boxes[..., [high, low]]
    return Scenes(images.contiguous(), categories, boxes)


def loss_of(output: dict[str, Tensor], truth: Scenes) -> Tensor:
    """Return cross entropy of the pixels, binary cross entropy of the cells, and the error of the boxes, added up."""
    pixels = F.interpolate(output["out"], (FINE, FINE), mode="bilinear", antialias=False)
    step = 128 // FINE
    loss = F.cross_entropy(
        pixels,
        truth.categories[:, step // 2 :: step, step // 2 :: step].long(),
        weight=torch.tensor([GROUND, *[1.0] * len(ShapesScenes.SHAPES)]),
    )
    middle = (truth.boxes[..., :2] + truth.boxes[..., 2:]) / 2
    cell = (middle / CELL).long().clamp(0, CELLS - 1)  # [N, 2, 2] as column, row
    rows = torch.arange(len(cell))[:, None].expand(-1, 2)
    wanted = torch.zeros(len(cell), CELLS, CELLS)
    wanted[rows, cell[..., 1], cell[..., 0]] = 1
    near = F.max_pool2d(wanted[:, None], 3, 1, 1)[:, 0]
    counted = torch.where(wanted > 0, 15.0, 1 - near)  # a neighbour of the middle is neither right nor wrong
    scores = F.binary_cross_entropy_with_logits(output["boxes"][:, 0], wanted, weight=counted)
    at = output["boxes"][rows, 1:, cell[..., 1], cell[..., 0]]  # [N, 2, 4]
    own = (cell + 0.5) * CELL
    reach = torch.cat([own - truth.boxes[..., :2], truth.boxes[..., 2:] - own], -1) / CELL
    return loss + SCORE * scores + BOX * (at - reach).abs().mean()


def train() -> ShapesScenes:
    """Train a new net and fold its BatchNorm into the convolutions."""
    scenes = draw(COUNT, TRAIN_SEED)
    torch.manual_seed(0)
    net = ShapesScenes(batch_norm=True).train()
    steps = EPOCHS * -(-COUNT // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), LR, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(COUNT).split(BATCH):
            batch = augmented(Scenes(*(part[rows] for part in scenes)))
            loss = loss_of(net(batch.images), batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows) / COUNT
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total:.3f}")
    return folded(net.eval())


def folded(net: ShapesScenes) -> ShapesScenes:
    """Return a net without BatchNorm that computes what ``net`` computes in ``eval()`` mode."""
    source, plain = list(net.features), ShapesScenes()
    layers = [
        fuse_conv_bn_eval(layer, source[i + 1]) if isinstance(layer, nn.Conv2d) else layer
        for i, layer in enumerate(source)
        if not isinstance(layer, nn.BatchNorm2d)
    ]
    plain.features = nn.Sequential(*layers)
    plain.segmentation, plain.detection = net.segmentation, net.detection
    return plain.eval()


@torch.no_grad()
def measured(net: ShapesScenes) -> str:
    """Say how many pixels are right, on objects and on the ground, and how often both objects are found."""
    drawn = shapes.two(500, TEST_SEED, categories=ShapesScenes.SHAPES)
    output = net(shapes.preprocess(drawn.images))
    truth = torch.from_numpy(categories_of(drawn))
    right, object_ = output["out"].argmax(1) == truth, truth > 0
    middles = torch.from_numpy(boxes_of(drawn.masks)).unflatten(-1, (2, 2)).mean(-2)  # [N, 2, 2] as x, y
    scores = output["boxes"][:, 0]
    peaks = scores.masked_fill(scores < F.max_pool2d(scores[:, None], 5, 1, 2)[:, 0], -torch.inf)
    best = peaks.flatten(1).topk(2).indices  # [N, 2]
    found = (torch.stack([best % CELLS, best // CELLS], -1) + 0.5) * CELL
    apart = (found[:, None] - middles[:, :, None]).abs().amax(-1) < 1.5 * CELL  # [N, objects, peaks]
    both = apart.any(2).all(1)
    return (
        f"{right[object_].float().mean():.3f} of the pixels of objects, {right[~object_].float().mean():.3f} of the "
        f"ground; both objects found in {both.float().mean():.3f}; 500 pictures, seed {TEST_SEED}"
    )


def ship(net: ShapesScenes, folder: Path) -> None:
    """Round the weights to float16, measure what is left, and write both into the folder."""
    small = {key: value.detach().half() for key, value in net.state_dict().items()}
    net.load_state_dict(small)
    metadata = {
        "trained_on": f"{COUNT} two, of disc, triangle, cross and ring, seed {TRAIN_SEED}",
        "recipe": f"{EPOCHS} epochs of batches of {BATCH}, AdamW, one cycle to {LR}, mirrored, transposed, recoloured",
        "accuracy": measured(net),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(small, folder / f"{SCENES_NET}.safetensors", metadata)
    print(SCENES_NET, metadata["accuracy"])


def main() -> None:
    """Train the net and write its weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=DATASETS / "weights", help="folder for the weights (%(default)s)")
    chosen = parser.parse_args()
    shift_seeds(seed_shift())
    ship(train(), chosen.to)


if __name__ == "__main__":
    main()
