"""Three things as the course's first notebooks did them, in a few lines of our own, against the helpers of today."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from helpers import data
from helpers.models import MnistCNN, load_classifier
from helpers.synthesis import class_means, class_prototypes
from helpers.training import Recipe, fit
from tools.bench.cases import Aim, Case
from tools.bench.libraries import Peer, close

SEED = "the seed's way"
AIMED_LOSS = 1.5e-4
ONE_EPOCH = Recipe(epochs=1, optimiser="sgd", lr=0.01, batch_size=100, weight_decay=0.0)


WORKS = ("60,000 digits", "fewer digits")


class Work(NamedTuple):
    """Digits [N, 1, 28, 28] and their labels, how many of them make an epoch, and where Adam may stop."""

    images: Tensor
    labels: Tensor
    epoch: int
    loss: float

    @property
    def says(self) -> str:
        return f"prototypes to a loss of {self.loss:.2g}, an epoch of {self.epoch} pictures"


def work(name: str) -> Work:
    """Return as much as MNIST has (the course's digits, repeated), or less: then the aims are not judged."""
    digits = data.load_digits(world="course")
    if name == WORKS[1]:
        return Work(digits.images[:6_000], digits.labels[:6_000], 300, 5e-3)
    copies = -(-60_000 // len(digits.images))
    return Work(
        digits.images.repeat(copies, 1, 1, 1)[:60_000], digits.labels.repeat(copies)[:60_000], 6_000, AIMED_LOSS
    )


# --- class means ---


def means_by_loops(w: Work) -> Peer:
    def call() -> Tensor:
        means = []
        for digit in range(10):
            mine = []
            for image, label in zip(w.images, w.labels, strict=True):
                if label == digit:
                    mine.append(image)
            means.append(torch.stack(mine).mean(0))
        return torch.stack(means)

    return Peer(call, close)


# --- prototypes ---


def linear_net() -> nn.Module:
    """The linear net trained on MNIST: with the means of the course's digits the optimum lies at 9.1e-05."""
    return load_classifier("digits_dnn_mnist").model


def prototypes(w: Work) -> Callable[[], object]:
    """L-BFGS with as many steps, in fives, as that loss takes."""
    net, means = linear_net(), class_means(w.images, w.labels)

    def loss_after(steps: int) -> float:
        return class_prototypes(net, means, steps=steps).losses[-1]

    enough = next(steps for steps in range(5, 300, 5) if loss_after(steps) <= w.loss)
    return lambda: loss_after(enough)


def prototypes_by_adam(w: Work) -> Peer:
    """Adam on all ten from zeros, until that loss; the seed itself always made 10,000 steps."""
    net, means, classes = linear_net(), class_means(w.images, w.labels), torch.arange(10)

    def call() -> float:
        x = torch.zeros_like(means, requires_grad=True)
        adam = torch.optim.Adam([x], lr=0.01)
        for _ in range(10_000):
            loss = F.cross_entropy(net(x), classes) + 0.1 * F.mse_loss(x, means)
            if loss.item() <= w.loss:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
        return loss.item()

    def check(ours: float, theirs: float) -> None:
        assert max(ours, theirs) <= w.loss, f"ours ends at {ours:.3g}, Adam at {theirs:.3g}, above {w.loss:.3g}"

    return Peer(call, check)


# --- an epoch of training ---


def epoch(w: Work) -> Callable[[], object]:
    def call() -> list[float]:
        torch.manual_seed(0)
        net = MnistCNN()
        return fit(net, w.images[: w.epoch], w.labels[: w.epoch], ONE_EPOCH, progress=False)

    return call


def descend(net: nn.Module, batches) -> list[float]:
    sgd = torch.optim.SGD(net.train().parameters(), lr=ONE_EPOCH.lr, momentum=0.9)
    losses = []
    for images, labels in batches:
        loss = F.cross_entropy(net(images), labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses


class Pictures(Dataset):
    """Digits one by one, each a PIL image that goes through ToTensor: what torchvision's MNIST does."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = (images[:, 0] * 255).round().byte().numpy(), labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return ToTensor()(Image.fromarray(self.images[number])), self.labels[number]


def epoch_by_loader(w: Work) -> Peer:
    """One picture at a time, in the order that `fit` draws, so that the losses can be compared."""
    pictures = Pictures(w.images[: w.epoch], w.labels[: w.epoch])

    def call() -> list[float]:
        torch.manual_seed(0)
        net = MnistCNN()
        torch.manual_seed(0)
        order = torch.randperm(w.epoch).tolist()
        return descend(net, DataLoader(pictures, ONE_EPOCH.batch_size, sampler=order, generator=torch.Generator()))

    def check(ours: list[float], theirs: list[float]) -> None:
        assert len(ours) == len(theirs), f"{len(ours)} batches, theirs are {len(theirs)}"
        close(torch.tensor(ours), torch.tensor(theirs), 0.05)

    return Peer(call, check)


def passes_alone(w: Work) -> Callable[[], object]:
    chosen = slice(w.epoch)
    images, labels = (part[chosen].split(ONE_EPOCH.batch_size) for part in (w.images, w.labels))
    return lambda: descend(MnistCNN(), zip(images, labels, strict=True))


CASES = {
    "class_means": Case(
        lambda w: lambda: class_means(w.images, w.labels),
        {SEED: means_by_loops},
        (Aim(SEED, 1 / 20, WORKS[:1]),),
        forward=None,
        memory=False,
    ),
    "class_prototypes": Case(
        prototypes, {SEED: prototypes_by_adam}, (Aim(SEED, 1 / 50, WORKS[:1]),), forward=None, memory=False
    ),
    "training_epoch": Case(
        epoch,
        {SEED: epoch_by_loader},
        (Aim(SEED, 1 / 4, WORKS[:1]),),
        passes_alone,
        "the same passes and steps, the pictures at hand",
        forward=None,
        memory=False,
    ),
}
