"""Training and testing a classifier: one loop, two recipes, one progress bar."""

import copy
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from tqdm.auto import tqdm


@dataclass(frozen=True)
class Recipe:
    """How to train a network.

    AdamW (Loshchilov and Hutter, 2019) goes with a one-cycle schedule of its learning rate (Smith and Topin, 2018).
    SGD has momentum 0.9 and divides its learning rate by ten after 60 and after 90 % of the steps.

    Attributes:
        epochs: how often the network sees every picture, one or more.
        optimiser: ``"adamw"`` or ``"sgd"``.
        lr: the learning rate; with AdamW its highest value.
        batch_size: how many pictures make one step, one or more.
        weight_decay: how strongly weights are pulled to zero, 0 or more.

    Raises:
        ValueError: one of these is outside of its range.

    >>> from helpers.training import Recipe
    >>> Recipe(epochs=3, lr=0.01)
    Recipe(epochs=3, optimiser='adamw', lr=0.01, batch_size=128, weight_decay=0.0001)
    """

    epochs: int
    optimiser: str = "adamw"
    lr: float = 2e-3
    batch_size: int = 128
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if not isinstance(value := getattr(self, name), Integral) or value < 1:
                raise ValueError(f"Recipe.{name} is {value!r}; give a whole number, one or more.")
        if not 0 < self.lr < math.inf or not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"Recipe has lr {self.lr} and weight_decay {self.weight_decay}; give lr above zero, and "
                             "weight_decay zero or more.")  # fmt: skip
        if self.optimiser not in ("adamw", "sgd"):
            raise ValueError(f"Recipe.optimiser is {self.optimiser!r}; use 'adamw' or 'sgd'.")


QUICK = Recipe(epochs=2, lr=3e-3, batch_size=64)
FULL = Recipe(epochs=15, optimiser="sgd", lr=0.01, batch_size=100, weight_decay=0.0)


def best_device() -> torch.device:
    """Return the fastest device at hand: CUDA, then Apple's MPS, then the CPU.

    >>> from helpers.training import best_device
    >>> best_device().type in ("cuda", "mps", "cpu")
    True
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, so that a lesson gives the same pictures at each run on the same machine.

    Args:
        seed: a whole number from 0 to 2**32 - 1.

    Raises:
        ValueError: another number.

    >>> import torch
    >>> from helpers.training import seed_everything
    >>> seed_everything(0)
    >>> first = torch.rand(3)
    >>> seed_everything(0)
    >>> torch.equal(first, torch.rand(3))
    True
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}; give a whole number from 0 to 2**32 - 1.")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that still use the global generator
    torch.manual_seed(seed)


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

    Each epoch goes once through all pictures in a new random order. A last batch of one picture is joined to the batch
    before it, because BatchNorm cannot take a mean over one: every picture is seen. If anything goes wrong on the way,
    weights and mode of the model are put back as they were. A run that is interrupted by hand keeps what it has learnt.

    Args:
        model: gives logits [N, classes]; trained in place on the device where its parameters are, those that are
            frozen excepted. It is left in ``eval()`` mode and without gradients (``.grad`` is None).
        images: [N, C, H, W], or any other shape that the model takes; floats, unless ``transform`` makes them so.
        labels: class numbers, whole numbers [N] from 0 to classes - 1, or probabilities, floats [N, classes].
        recipe: see :class:`Recipe`; ``QUICK`` for a lesson, ``FULL`` for the best the net can do.
        transform: applied to each batch of images, on the device: augmentation, normalisation. None: nothing.
        seed: of the order of the images, and of dropout. It seeds torch's global generator.
        progress: show one progress bar over all batches.

    Returns:
        The loss of each batch, in nats, from first to last.

    Raises:
        TypeError: the model is not a module, images or labels are no tensors, or model or transform give something
            else than one tensor.
        ValueError: no image or a different number of labels; labels outside of the classes; pictures that are whole
            numbers, NaN or infinite, or have other channels than the model takes; a loss that becomes NaN or infinite;
            nothing to train; weights without values, as on the meta device.

    >>> import torch
    >>> from helpers.training import Recipe, fit
    >>> from torch import nn
    >>> images, labels = torch.rand(40, 1, 4, 4), torch.arange(40) % 2
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> losses = fit(net, images, labels, Recipe(epochs=2, batch_size=10), progress=False)
    >>> len(losses), net.training
    (8, False)
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"The recipe is a {type(recipe).__name__}; give a Recipe, such as QUICK or Recipe(epochs=3).")
    _check_model(model)
    _check_data(images, labels)
    if any(map(is_lazy, model.parameters())):  # weights that have no shape yet could not be put back
        predict_logits(model, images[:2], transform=transform)
    device, steps = _device(model), recipe.epochs * len(_batches(len(images), recipe.batch_size))
    losses: list[float] = []
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        _undone_by_an_error(model),
        tqdm(total=steps, desc="training", unit="batch", disable=not progress) as bar,
    ):
        optimiser, schedule = _optimiser(model, recipe, steps)
        layout = _layout(model, images[:2], transform, device)
        torch.manual_seed(seed)
        model.train()
        for _ in range(recipe.epochs):
            for chosen in _batches(len(images), recipe.batch_size):
                batch = images[chosen].to(device).contiguous(memory_format=layout)
                batch = _transformed(batch, transform)
                loss = _loss(_logits(model, batch), labels[chosen].to(device))
                losses.append(loss.item())
                if not math.isfinite(losses[-1]):
                    raise ValueError(_why_not_finite(batch, losses, recipe))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                bar.set_postfix_str(f"loss {losses[-1]:.3f}", refresh=False)
                bar.update()
        if not all(bool(p.isfinite().all()) for p in model.parameters()):  # after the very last step
            raise ValueError(_why_not_finite(batch, losses, recipe))
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
    """Return a classifier's logits, computed in ``eval()`` mode and without gradients; its own mode is restored.

    Args:
        model: gives logits [N, classes]; it runs on the device where its parameters are.
        images: [N, C, H, W], or any other shape that the model takes; on any device.
        transform: applied to each batch of images, on the model's device. None: nothing.
        batch_size: how many images go through at a time, one or more; it changes the memory needed and the speed.

    Returns:
        Logits [N, classes], on the CPU.

    Raises:
        TypeError: the model is not a module, the images are no tensor, or model or transform give something else than
            one tensor.
        ValueError: there is no image, ``batch_size`` is below one, or the model's output is not [N, classes]; images
            of another precision, or with other channels, than the model takes.

    >>> import torch
    >>> from helpers.training import predict_logits
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 3))
    >>> predict_logits(net, torch.rand(7, 1, 4, 4), batch_size=2).shape, net.training
    (torch.Size([7, 3]), True)
    """
    _check_model(model)
    if not isinstance(images, Tensor):
        raise TypeError(f"images are a {type(images).__name__}; give a tensor, for instance torch.as_tensor(array).")
    if len(images) == 0 or not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"Got {len(images)} images and batch_size {batch_size}; give one or more of both.")
    device = next(model.parameters(), torch.empty(0)).device
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        copies = (part.to(device).clone(memory_format=torch.contiguous_format) for part in images.split(batch_size))
        return torch.cat([_logits(model, _transformed(part, transform)).cpu() for part in copies])
    finally:
        for module, mode in modes:
            module.training = mode


def measure_accuracy(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 500,
) -> float:
    """Return the share of images whose highest logit is that of their label, in [0, 1].

    The model runs in ``eval()`` mode and without gradients; its own mode is restored.

    Args:
        model: gives logits [N, classes]; it runs on the device where its parameters are.
        images: [N, C, H, W], or any other shape that the model takes; on any device.
        labels: class numbers, whole numbers [N].
        transform: applied to each batch of images, on the model's device. None: nothing.
        batch_size: how many images go through at a time, one or more; it changes the memory needed and the speed.

    Raises:
        TypeError: labels that are no tensor; and as `predict_logits` does.
        ValueError: there is no image, ``labels`` are not one class number for each, or none of the model's classes; and
            as `predict_logits` does.

    >>> import torch
    >>> from helpers.training import measure_accuracy
    >>> from torch import nn
    >>> net = nn.Flatten()  # its highest logit is the brightest pixel
    >>> images = torch.eye(4).reshape(4, 1, 2, 2)
    >>> measure_accuracy(net, images, torch.tensor([0, 1, 2, 0]))
    0.75
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels are a {type(labels).__name__}; give a tensor, for instance torch.as_tensor(labels).")
    if labels.shape != (len(images),) or labels.is_floating_point():
        kind = "float" if labels.is_floating_point() else "integer"
        raise ValueError(
            f"Got {kind} labels {list(labels.shape)}; give a class number for each of {len(images)} images."
        )
    logits = predict_logits(model, images, transform=transform, batch_size=batch_size)
    _check_range(labels, logits.shape[1])
    return (logits.argmax(1) == labels.cpu()).float().mean().item()


# --- what fit is made of ---


def _check_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"The model is a {type(model).__name__}; give a torch.nn.Module, which has weights to train.")
    weights = next(model.parameters(), None)
    if weights is not None and weights.is_meta:
        raise ValueError(
            f"{type(model).__name__} is on the meta device, where weights have no values: load it, with "
            "model.to_empty(device='cpu') and weights."
        )


def _check_data(images: Tensor, labels: Tensor) -> None:
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        kinds = f"{type(images).__name__} and {type(labels).__name__}"
        raise TypeError(f"images and labels are {kinds}; give tensors, for instance torch.as_tensor(array).")
    if images.is_meta or labels.is_meta:
        raise ValueError("Images or labels are on the meta device, where tensors have no values: load them.")
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"Got {len(images)} images and {len(labels)} labels; give one label for each image.")
    if labels.dim() != (2 if labels.is_floating_point() else 1):
        kind = str(labels.dtype).removeprefix("torch.")
        raise ValueError(
            f"labels are {kind} {list(labels.shape)}; give class numbers, whole numbers [N] such as labels.long(), or "
            "probabilities, floats [N, classes]."
        )
    for name, values in (("images", images), ("labels", labels)):
        for start, part in enumerate(values.split(500) if values.is_floating_point() else ()):
            if not bool(part.isfinite().all()):
                number = 500 * start + int((~part.isfinite()).flatten(1).any(1).nonzero()[0])
                raise ValueError(
                    f"{name} hold NaN or infinite values, first in number {number}; leave it out or mend it."
                )
    if labels.is_floating_point() and (bool((labels < 0).any()) or bool(((labels.sum(1) - 1).abs() > 0.01).any())):
        raise ValueError("labels are floats, but no probabilities: let none be below 0, and each row sum to 1.")


def _device(model: nn.Module) -> torch.device:
    trained = next((parameter for parameter in model.parameters() if parameter.requires_grad), None)
    if trained is None:
        raise ValueError("The model has no parameter to train; unfreeze some: model.fc.requires_grad_(True).")
    if trained.is_inference():
        raise ValueError(
            f"{type(model).__name__} was made under torch.inference_mode(), and such weights cannot be changed: make "
            "it outside of that block, or give copy.deepcopy(model)."
        )
    return trained.device


def _batches(count: int, batch_size: int) -> list[Tensor]:
    """Return the numbers 0 to count - 1 in a random order, cut into batches; none is of one picture, if avoidable."""
    batches = list(torch.randperm(count).split(batch_size))
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _transformed(batch: Tensor, transform: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Return what the transform makes of a batch of images, one for each."""
    if transform is None:
        return batch
    count, result = len(batch), transform(batch)
    if not isinstance(result, Tensor):
        raise TypeError(
            f"The transform returns a {type(result).__name__}; it must return the batch as a tensor, also where it "
            "changes it in place."
        )
    if len(result) != count:
        raise ValueError(f"The transform makes {len(result)} of {count} images; it must return one for each.")
    return result


def _optimiser(model: nn.Module, recipe: Recipe, steps: int) -> tuple[torch.optim.Optimizer, object]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimiser == "adamw":
        optimiser = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
        return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=steps)
    optimiser = torch.optim.SGD(parameters, lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    drops = [max(1, steps * k // 10) for k in (6, 9)]
    return optimiser, torch.optim.lr_scheduler.MultiStepLR(optimiser, drops, gamma=0.1)


@contextmanager
def _undone_by_an_error(model: nn.Module) -> Iterator[None]:
    """Put weights and modes back if an error comes out; gradients are cleared in any case."""
    weights = copy.deepcopy(model.state_dict())
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    except KeyboardInterrupt:  # somebody has seen enough: what is learnt stays
        model.eval()
        raise
    except Exception:
        model.load_state_dict(weights)
        for module, mode in modes:
            module.training = mode
        raise
    finally:
        model.zero_grad(set_to_none=True)


def _layout(model: nn.Module, two: Tensor, transform: Callable | None, device: torch.device) -> torch.memory_format:
    """Choose how colour pictures lie in memory: channels last, a third faster on a CPU, if the model runs like that.

    A net that flattens with ``x.view(-1, n)`` does not. A copy of it tries, so that nothing of the model changes.
    """
    if two.dim() != 4 or two.shape[1] == 1:
        return torch.contiguous_format
    try:
        with torch.no_grad():
            batch = two.to(device).contiguous(memory_format=torch.channels_last)
            copy.deepcopy(model).train()(_transformed(batch, transform))
    except Exception:  # whatever it is: if it has another cause, it comes again in the first step, with its own words
        return torch.contiguous_format
    return torch.channels_last


def _logits(model: nn.Module, batch: Tensor) -> Tensor:
    """Run a classifier on a batch, after a look at what goes in and at what comes out."""
    wanted = next((p.dtype for p in model.parameters()), batch.dtype)
    if batch.dim() == 4 and batch.dtype != wanted and not torch.is_autocast_enabled(batch.device.type):
        cure = (
            "convert them, for instance images.float() / 255" if not batch.is_floating_point() else f"use .to({wanted})"
        )
        raise ValueError(f"The images are {batch.dtype}, the model's weights {wanted}: {cure}, or give a transform.")
    try:
        logits = model(batch)
    except (RuntimeError, ValueError) as error:
        if (cause := _what_does_not_fit(model, batch, str(error))) is None:
            raise
        raise ValueError(cause) from error
    if not isinstance(logits, Tensor):
        kind = type(logits).__name__
        raise TypeError(
            f"The model gives a {kind}, not one tensor of logits: wrap it in a module that returns the logits."
        )
    if logits.dim() != 2 or len(logits) != len(batch):
        raise ValueError(f"The model gives {list(logits.shape)} for {len(batch)} images; logits are [N, classes].")
    return logits


def _what_does_not_fit(model: nn.Module, batch: Tensor, error: str) -> str | None:
    """Return the sentence for images that the model cannot take, or None."""
    if "more than 1 value per channel" in error:
        cure = "give two images or more, and a batch_size above one"
        return f"BatchNorm cannot take a mean over a batch of one picture: {cure}."
    shape = list(batch.shape)
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)), None)
    if isinstance(first, nn.Conv2d) and batch.dim() not in (3, 4):
        return f"The images have shape {shape}, {type(model).__name__} begins with a Conv2d: give [N, C, H, W]."
    if isinstance(first, nn.Conv2d) and batch.dim() == 4 and batch.shape[1] != first.in_channels:
        return (
            f"The images have {batch.shape[1]} channels, {type(model).__name__} takes {first.in_channels}: give such "
            "images, or a transform that makes them."
        )
    if isinstance(first, nn.Linear) and "cannot be multiplied" in error:
        return (
            f"The images have shape {shape}, which makes {batch[0].numel()} values for each, and the first linear "
            f"layer of {type(model).__name__} takes {first.in_features}: give images of its size, or change the layer."
        )
    return None


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    classes = logits.shape[1]
    if labels.dim() == 2 and labels.shape[1] != classes:
        raise ValueError(
            f"labels give probabilities of {labels.shape[1]} classes, the model has {classes}: make them equal."
        )
    if labels.dim() == 1:
        labels = labels.long()
        _check_range(labels, classes)  # on a GPU torch would end the whole session
    return F.cross_entropy(logits, labels)


def _check_range(labels: Tensor, classes: int) -> None:
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise ValueError(
            f"labels go from {lowest} to {highest}, the model has {classes} classes: number them 0 to {classes - 1}."
        )


def _why_not_finite(batch: Tensor, losses: list[float], recipe: Recipe) -> str:
    what = f"The loss was {losses[-1]:g} in batch {len(losses)}, and training stopped"
    if math.isfinite(losses[-1]):
        what = "The weights became NaN or infinite in the last step"
    cure = f"lower the learning rate, which is {recipe.lr:g}, or look at the model's weights"
    if torch.finfo(batch.dtype).bits < 32:
        cure = f"{batch.dtype} is too coarse to train with: give model.float() and images.float()"
    if not bool(batch.isfinite().all()):
        cure = "the transform makes NaN or infinite values of the images: mend it"
    return f"{what}; {cure}. The weights are as before."
