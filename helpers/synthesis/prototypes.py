"""Class means, and the picture that each class would like best near its mean."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.attribution._common import check_pictures, explaining, run, score, wide


class Prototypes(NamedTuple):
    """What a descent found, see `class_prototypes`.

    Attributes:
        images: class prototypes [K, C, H, W], in the units that the network takes.
        losses: the objective at each evaluation, the last of them at the prototypes.

    >>> import torch
    >>> from helpers import synthesis
    >>> found = synthesis.Prototypes(images=torch.rand(3, 1, 4, 4), losses=[2.0, 1.5, 1.4])
    >>> found.losses[-1]  # of the prototypes
    1.4
    """

    images: Tensor
    losses: list[float]


def class_means(images: Tensor, labels: Tensor, classes: int = 10) -> Tensor:
    """Return the mean picture of every class, [classes, C, H, W], in one pass over the pictures.

    Args:
        images: [N, C, H, W], float.
        labels: [N], whole class numbers from 0 to ``classes - 1``; a tensor, an array or a list.
        classes: how many classes there are.

    Returns:
        [classes, C, H, W], in the precision of the pictures; the sums are in float32 at least.

    Raises:
        TypeError: pictures that are not of floats, labels that are not whole numbers.
        ValueError: not one label for each picture, a label out of range, a class without a picture, a picture that
            holds NaN.

    >>> import torch
    >>> from helpers import synthesis
    >>> images, labels = torch.tensor([1.0, 3.0, 5.0]).view(3, 1, 1, 1), torch.tensor([0, 0, 1])
    >>> synthesis.class_means(images, labels, classes=2).flatten()
    tensor([2., 5.])
    """
    labels = torch.as_tensor(labels)
    if not images.is_floating_point():
        raise TypeError(f"The pictures are {images.dtype}; turn them into floats, images.float() / 255.")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"The labels are {labels.dtype}; give whole class numbers, labels.long().")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"Labels {list(labels.shape)} for {len(images)} pictures; give one for each, [N].")
    if ((labels < 0) | (labels >= classes)).any():
        found = f"from {labels.min().item()} to {labels.max().item()}"
        raise ValueError(f"There are labels {found} for {classes} classes; say how many classes there are.")
    counts = torch.bincount(labels, minlength=classes)
    if (counts == 0).any():
        raise ValueError(f"Class {counts.argmin().item()} has no picture, so it has no mean; give more pictures.")
    sums = wide(images[:0]).new_zeros(classes, *images.shape[1:]).index_add_(0, labels, wide(images))
    if not sums.isfinite().all():
        number = int((~wide(images).flatten(1).isfinite().all(1)).nonzero()[0])
        raise ValueError(f"Picture {number} holds NaN or infinite values; leave it out or mend it.")
    return (sums / counts.view(-1, *[1] * (images.dim() - 1))).to(images.dtype)


def class_prototypes(
    model: nn.Module,
    means: Tensor,
    classes: Sequence[int] | None = None,
    *,
    weight: float = 0.1,
    start: Tensor | None = None,
    optimiser: str = "lbfgs",
    steps: int = 300,
    on_step: Callable[[int, float, Tensor], None] | None = None,
) -> Prototypes:
    r"""Return the picture that each class would like best, near the mean picture of the class.

    .. math:: \min_x \; CE(f(x), c) + \lambda \, MSE(x, \bar x_c)

    where CE is the cross entropy of the network's answer with class c, and :math:`\lambda` is ``weight``. After
    Simonyan, Vedaldi and Zisserman (2014), with the class mean in place of zero, as in Montavon, Samek and Mueller
    (2018). All prototypes descend at once; the objective is the mean over the classes asked for. The model is left as
    it was. In single precision the last steps are lost in rounding, which moves pixels by a hundredth or less; a model
    and means in double precision give six digits.

    Args:
        model: classifier of pictures [N, C, H, W], with parameters of the same type as ``means``.
        means: the mean picture of each class asked for, [K, C, H, W].
        classes: their class numbers, K of them, in a list, an array or a tensor; 0 to K - 1 if not given.
        weight: how much a prototype is held at its class mean (lambda), 0 or more. With 0 there is no minimum.
        start: pictures to start from, [K, C, H, W]; zeros if not given.
        optimiser: ``"lbfgs"`` (with strong Wolfe line search; Liu and Nocedal, 1989) or ``"adam"`` (rate 0.01).
        steps: at most so many steps; L-BFGS stops earlier where it no longer gains.
        on_step: called with a count, the objective and a copy of the pictures [K, C, H, W] at each evaluation.

    Returns:
        `Prototypes`: pictures [K, C, H, W], detached, and the objective at each evaluation.

    Raises:
        TypeError: pictures that are not tensors of floats.
        ValueError: shapes, numbers or names that do not fit, half precision.

    >>> import torch
    >>> from helpers import synthesis
    >>> net, means = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)), torch.rand(3, 3, 2, 2)
    >>> images, losses = synthesis.class_prototypes(net, means, steps=20)
    >>> images.shape, losses[-1] < losses[0]
    (torch.Size([3, 3, 2, 2]), True)
    """
    if not isinstance(means, Tensor):
        raise TypeError(
            f"The means are a {type(means).__name__}; give pictures as a tensor, such as class_means makes."
        )
    chosen = torch.arange(len(means)) if classes is None else torch.as_tensor(classes, dtype=torch.long)
    if means.dim() != 4 or chosen.shape != means.shape[:1]:
        raise ValueError(f"Got means {list(means.shape)} for {chosen.numel()} classes; give one [C, H, W] for each.")
    if start is not None and start.shape != means.shape:
        raise ValueError(f"The start has shape {list(start.shape)}, the means {list(means.shape)}; make them equal.")
    if optimiser not in ("lbfgs", "adam"):
        raise ValueError(f"class_prototypes knows 'lbfgs' and 'adam', not {optimiser!r}.")
    if not 0 <= weight < float("inf") or steps < 1:
        raise ValueError(f"Got weight {weight} and steps {steps}; the weight is 0 or more, steps 1 or more.")
    losses = []
    with explaining(model):
        means, chosen = check_pictures(means), chosen.to(means.device).clone()
        if torch.finfo(means.dtype).bits < 32:
            raise ValueError(
                f"The slopes near a minimum are lost in {means.dtype}: give model.float() and means.float()."
            )
        x = torch.zeros_like(means) if start is None else check_pictures(start).to(means)
        score(run(model, x), chosen)  # what does not fit is said in words, before the first step
        x.requires_grad_()
        if optimiser == "adam":
            scale, descent = 1, torch.optim.Adam([x], lr=0.01)
        else:
            # One call of many steps. Two thresholds of torch's L-BFGS are absolute, for slopes that are not tiny. Ours
            # are, since the means divide them by K and by the pixels: so multiply by both, and switch off what can be.
            options = {"tolerance_grad": 0, "tolerance_change": 0, "history_size": 20, "max_eval": 2 * steps}
            scale = means.numel()
            descent = torch.optim.LBFGS([x], max_iter=steps, line_search_fn="strong_wolfe", **options)

        def objective() -> Tensor:
            descent.zero_grad()
            loss = F.cross_entropy(run(model, x), chosen) + weight * F.mse_loss(x, means)
            (scale * loss).backward()
            losses.append(loss.item())
            if on_step is not None:
                on_step(len(losses) - 1, losses[-1], x.detach().clone())
            return scale * loss

        for _ in range(1 if optimiser == "lbfgs" else steps):
            descent.step(objective)
        objective()
    return Prototypes(x.detach(), losses)
