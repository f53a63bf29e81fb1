"""Rebuild the course's digits, the exercise's three pictures and the digit networks' weights.

    python -m tools.make_digits --data
    python -m tools.make_digits --weights --mnist datasets/downloads
    COURSE_SEED=1 python -m tools.make_digits --weights --to build/nets/1 --mnist datasets/downloads    # other nets

The data take half a minute, the CNN about ten minutes on one core with bfloat16 arithmetic, more without.
``--mnist`` names the folder that holds ``MNIST/raw``, as torchvision lays it out; without it, the two nets
stay as they are.
"""

import argparse
import time
from pathlib import Path

import cv2
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from helpers.course import DATASETS, seed_shift, shift_seeds
from helpers.data.digits import RAW, generate, load
from helpers.data.fetched.idx_format import read_idx, write_idx
from helpers.models import MnistCNN, MnistDNN
from helpers.training import Recipe, fit, measure_accuracy

TRAIN, TEST = (4_000, 2026), (2_000, 2027)  # how many, seed
PICTURES = {8: 137, 0: 137, 3: 65}  # digit: which one of its class in the test part goes into the exercise
RECIPES = {
    "digits_cnn_mnist": Recipe(epochs=12, lr=2e-3, batch_size=128, weight_decay=0.01),
    "digits_dnn_mnist": Recipe(epochs=8, lr=1e-3, batch_size=128),
}


def make_data() -> None:
    """Write the training and the test digits, and the three pictures of the exercise."""
    for part, (count, seed) in {"train": TRAIN, "t10k": TEST}.items():
        images, labels = generate(count, seed)
        write_idx(RAW / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(RAW / f"{part}-labels-idx1-ubyte.gz", labels.astype("uint8"))
        print(f"{part}: {count} digits")
    for digit, number in PICTURES.items():
        cv2.imwrite(str(DATASETS / f"{digit}.png"), images[labels == digit][number])


def smooth(labels: Tensor, share: float = 0.1) -> Tensor:
    """Return label probabilities [N, 10], ``share`` of each spread over all classes (Szegedy et al., 2016)."""
    return F.one_hot(labels, 10) * (1 - share) + share / 10


def nudge(images: Tensor) -> Tensor:
    """Turn, scale, shear and shift each image of a batch [N, 1, 28, 28] a little, at random, and add grain.

    The grain makes the net's gradients less rough, and it names a few more of the real digits rightly.
    """
    shape = torch.eye(2) + 0.06 * torch.randn(len(images), 2, 2)
    shift = 0.06 * torch.randn(len(images), 2, 1)
    grid = F.affine_grid(torch.cat([shape, shift], 2), list(images.shape), align_corners=False)
    grain = 0.25 * torch.rand(len(images), 1, 1, 1) * torch.randn_like(images)
    return F.grid_sample(images, grid, align_corners=False) + grain


def read_mnist(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Read MNIST's "train" or "t10k" in the form of :func:`helpers.data.digits.load`."""
    raw = folder / "MNIST" / "raw"
    images, labels = (read_idx(raw / f"{part}-{name}-ubyte") for name in ("images-idx3", "labels-idx1"))
    return torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(labels).long()


def make_weights(name: str, mnist: Path, folder: Path) -> None:
    """Train one of the nets, measure it, and write its weights in half precision into the folder."""
    images, labels = read_mnist(mnist, "train")
    trained_on = f"MNIST, {len(images)} training images"
    torch.manual_seed(0)
    cnn = "cnn" in name
    model: nn.Module = MnistCNN() if cnn else MnistDNN()
    start = time.time()
    # autocast's cache would keep the first weights for as long as the block runs, and nothing would be learned
    with torch.autocast("cpu", torch.bfloat16, enabled=cnn, cache_enabled=False):
        fit(
            model.to(memory_format=torch.channels_last) if cnn else model,
            images,
            smooth(labels) if cnn else labels,
            RECIPES[name],
            transform=nudge if cnn else None,
        )
    seconds = time.time() - start
    weights = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    care = "random affine nudges and grain, labels smoothed by 0.1" if cnn else "plain images and labels"
    about = {"trained_on": trained_on, "recipe": f"{RECIPES[name]}; {care}; {seconds:.0f} s"}
    about["accuracy_course_test"] = f"{measure_accuracy(model, *load(train=False)):.4f}"
    about["accuracy_mnist_test"] = f"{measure_accuracy(model, *read_mnist(mnist, 't10k')):.4f}"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / f"{name}.safetensors", about)
    print(name, about)


def main() -> None:
    """Read the command line and build what it asks for; with neither flag, both."""
    parser = argparse.ArgumentParser(description="Rebuild the course's digits and digit networks.")
    parser.add_argument("names", nargs="*", metavar="net", help=f"{', '.join(RECIPES)}; all unless named")
    parser.add_argument("--data", action="store_true", help="the digits and the three pictures")
    parser.add_argument("--weights", action="store_true", help="the networks' weights")
    parser.add_argument("--mnist", type=Path, help="torchvision's MNIST root, on which the nets are trained")
    parser.add_argument("--to", type=Path, default=DATASETS / "weights", help="folder for the weights (%(default)s)")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(RECIPES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; the nets are {', '.join(RECIPES)}.")
    shift_seeds(seed_shift())
    if chosen.mnist and not (chosen.mnist / "MNIST" / "raw").is_dir():
        parser.error(f"{chosen.mnist} holds no MNIST/raw; name the root that torchvision's MNIST was given.")
    everything = not (chosen.data or chosen.weights)
    if chosen.data or everything:
        make_data()
    if (chosen.weights or everything) and chosen.mnist:
        for name in chosen.names or RECIPES:
            make_weights(name, chosen.mnist, chosen.to)
    elif chosen.weights or everything:
        print(f"{', '.join(chosen.names or RECIPES)}: not trained; --mnist FOLDER names the MNIST that they need.")


if __name__ == "__main__":
    main()
