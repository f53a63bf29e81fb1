"""Training and testing a classifier: one loop, two recipes, one progress bar."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm


@dataclass(frozen=True)
class Recipe:
    """How to train: passes over the data, batch size, optimiser ("adamw" or "sgd") and its learning rate.

    AdamW goes with a one-cycle schedule; SGD (momentum 0.9) divides its rate by ten after 60 and 90 % of the steps.
    """

    epochs: int
    optimiser: str = "adamw"
    lr: float = 2e-3
    batch_size: int = 128
    weight_decay: float = 1e-4


QUICK = Recipe(epochs=2, lr=3e-3, batch_size=64)
FULL = Recipe(epochs=15, optimiser="sgd", lr=0.01, batch_size=100, weight_decay=0.0)


def best_device() -> torch.device:
    """Return the fastest device at hand: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, so that a lesson gives the same pictures at each run on the same machine."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that still use the global generator
    torch.manual_seed(seed)


def _optimiser(model: nn.Module, recipe: Recipe, batches: int):
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimiser == "adamw":
        optimiser = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=recipe.epochs * batches)
    elif recipe.optimiser == "sgd":
        optimiser = torch.optim.SGD(parameters, lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
        steps = [max(1, recipe.epochs * batches * k // 10) for k in (6, 9)]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, steps, gamma=0.1)
    else:
        raise ValueError(f"Recipe.optimiser is {recipe.optimiser!r}; use 'adamw' or 'sgd'.")
    return optimiser, schedule


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe = QUICK,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[float]:
    """Train a classifier with cross-entropy and return the loss of every batch.

    Args:
        model: the network, trained in place on the device where its parameters are, and left in ``eval()`` mode.
        images: [N, C, H, W]; float, unless ``transform`` makes it so.
        labels: [N] class numbers, or [N, classes] probabilities.
        recipe: see :class:`Recipe`; ``QUICK`` for a lesson, ``FULL`` for the best the net can do.
        transform: applied to each batch of images, on the device: augmentation, normalisation.
        seed: of the order of the images (and of dropout).
        progress: show one progress bar over all batches.

    Raises:
        ValueError: no image, or a different number of labels.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"Got {len(images)} images and {len(labels)} labels; give one label for each image.")
    torch.manual_seed(seed)
    device = next(model.parameters()).device
    layout = torch.channels_last if images.dim() == 4 and images.shape[1] > 1 else torch.contiguous_format
    batches = -(-len(images) // recipe.batch_size)
    optimiser, schedule = _optimiser(model, recipe, batches)
    model.train()
    losses = []
    bar = tqdm(total=recipe.epochs * batches, desc="training", unit="batch", disable=not progress)
    with bar:
        for _ in range(recipe.epochs):
            for chosen in torch.randperm(len(images)).split(recipe.batch_size):
                batch = images[chosen].to(device).contiguous(memory_format=layout)
                if transform is not None:
                    batch = transform(batch)
                loss = F.cross_entropy(model(batch), labels[chosen].to(device))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
                bar.set_postfix_str(f"loss {losses[-1]:.3f}", refresh=False)
                bar.update()
    model.eval()
    return losses


@torch.no_grad()
def predict_logits(
    model: nn.Module,
    images: Tensor,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 500,
) -> Tensor:
    """Return the logits [N, classes] of a model in ``eval()`` mode, on the CPU; the model's own mode is restored."""
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        parts = [part.to(device) for part in images.split(batch_size)]
        return torch.cat([model(part if transform is None else transform(part)).cpu() for part in parts])
    finally:
        for module, mode in modes:
            module.training = mode


def measure_accuracy(model: nn.Module, images: Tensor, labels: Tensor, **options) -> float:
    """Return the share of images classified rightly, in [0, 1]; options as for :func:`predict_logits`."""
    return (predict_logits(model, images, **options).argmax(1) == labels).float().mean().item()
