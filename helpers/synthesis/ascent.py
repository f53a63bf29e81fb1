"""Activation maximisation: change a picture until a unit says as much as it can."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, autograd, nn
from tqdm.auto import tqdm

from helpers.attribution._common import backward_pass, check_pictures, explaining, run, source_of_noise, wide
from helpers.hooks import run_to
from helpers.synthesis.objectives import Objective, total_variation
from helpers.synthesis.spaces import Bounds, View, blurred, limits, shares, space_of

OnStep = Callable[[int, Tensor, Tensor], None]


class Ascent(NamedTuple):
    """What an ascent found, see `maximise`.

    Attributes:
        images: pictures [N, C, H, W], in the units that the network takes.
        values: scores [steps + 1, N], of what the network saw at each step, and last of the pictures themselves.

    >>> import torch
    >>> from helpers import synthesis
    >>> found = synthesis.Ascent(images=torch.rand(2, 3, 4, 4), values=torch.zeros(11, 2))
    >>> len(found.values) - 1  # steps
    10
    """

    images: Tensor
    values: Tensor


def maximise(
    model: nn.Module,
    objective: Objective,
    start: Tensor,
    *,
    layer: str | nn.Module | None = None,
    bounds: Bounds = (0.0, 1.0),
    space: str = "pixels",
    steps: int = 200,
    rate: float = 0.05,
    l1: float = 0.0,
    l2: float = 0.0,
    variation: float = 0.0,
    blur: float = 0.0,
    every: int = 4,
    clip: float | None = None,
    view: View | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Ascent:
    r"""Return pictures that a unit of the network responds to as strongly as a constrained ascent can make it.

    .. math:: \max_x \; s(f(x)) - l_1 \, \mathrm{mean} |x| - l_2 \, \mathrm{mean} \, x^2 - v \, TV(x)

    where f gives what the layer gives and s is the objective. Erhan, Bengio, Courville and Vincent (2009); with
    regularisers after Simonyan et al. (2014: l2), Yosinski et al. (2015: blur), Mahendran and Vedaldi (2015:
    total variation) and Olah et al. (2017: views, Fourier space). One Adam from the first step to the last; one forward
    and one backward pass a step for all pictures together, as far as the layer. A batch gives what its pictures give
    one by one.

    Args:
        model: any network that takes pictures [N, C, H, W]; any mode, frozen or not, left as it was.
        objective: takes the layer's output and returns one score a picture, [N], to be made large.
        start: pictures to start from, [N, C, H, W], in the units that the network takes; see `noise`.
        layer: module or name of the layer that the objective is about; the network's own output unless given.
        bounds: values of black and of white, numbers or tensors that broadcast to the pictures, which stay between.
        space: "pixels", or "fourier" (see `helpers.synthesis.spaces`).
        steps: how many.
        rate: Adam's, as a share of the way from black to white.
        l1, l2: weights of mean |x| and of mean x^2, which pull towards a value of zero.
        variation: weight of the total variation over height and width.
        blur: sigma in pixels of a Gaussian blur of the picture itself after each ``every`` steps.
        every: how many steps lie between one blur and the next.
        clip: the largest norm that a picture's gradient keeps; longer ones are shortened to it. Adam divides by the
            size of past gradients, so that what is felt is a change of their length, not the length.
        view: how the network sees the picture at each step, such as `random_view(shift=4)`.
        generator: source of chance of the views, on the CPU; one with seed 0 unless given.
        on_step: called at each step with its number, the scores [N] and the pictures as they were before the step.

    Returns:
        An `Ascent`: pictures [N, C, H, W], and scores [steps + 1, N], both detached.

    Raises:
        TypeError, ValueError: input that cannot be used, with the cure; an objective that does not return [N], or
            has no slope at the start in a picture, which is named.

    >>> import torch
    >>> from helpers import synthesis
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))
    >>> start = synthesis.noise(1, (3, 4, 4))
    >>> images, values = synthesis.maximise(net, synthesis.logit(2), start, steps=20)
    >>> images.shape, bool(values[-1] > values[0])
    (torch.Size([1, 3, 4, 4]), True)
    """
    if blur and space != "pixels":
        raise ValueError("Blur works on pixels, and in the Fourier space fine detail is slow anyway: use one of them.")
    weights = all(0 <= weight < math.inf for weight in (l1, l2, variation, blur))
    if not weights or every < 1 or (clip is not None and not clip > 0):
        raise ValueError("l1, l2, variation and blur are 0 or more, every is 1 or more, clip is above 0.")
    if not callable(objective):
        raise TypeError(f"The objective is a function of the layer's output, such as channel(3), not {objective!r}.")
    generator = source_of_noise(generator)
    values = []
    with explaining(model), reading(model, layer) as read:

        def scores_of(x: Tensor) -> Tensor:
            scores = objective(read(x))
            if not isinstance(scores, Tensor) or scores.shape != x.shape[:1]:
                raise ValueError(f"The objective must return one score for each picture, shape [{len(x)}].")
            return scores

        def loss(x: Tensor, step: int) -> Tensor:
            seen = x if view is None else view(x, generator)
            if not isinstance(seen, Tensor) or len(seen) != len(x):
                given = list(seen.shape) if isinstance(seen, Tensor) else f"a {type(seen).__name__}"
                raise ValueError(f"The view makes {given} of {list(x.shape)}; it must return a picture for each.")
            scores = scores_of(seen)
            if step == 0:
                slope(scores, x)  # also where a penalty has one
            values.append(scores.detach())
            if on_step is not None:
                on_step(step, values[-1], x.detach().clone())
            loss = -scores
            loss = loss + l1 * x.abs().mean((1, 2, 3)) if l1 else loss
            loss = loss + l2 * x.square().mean((1, 2, 3)) if l2 else loss
            return loss + variation * total_variation(x) if variation else loss

        def change(u: Tensor, step: int) -> None:
            if blur and (step + 1) % every == 0:
                u.copy_(blurred(u, blur))

        images = descend(loss, start, bounds, space, steps, rate, clip=clip, change=change, what="ascent")
        with torch.no_grad():
            values.append(scores_of(images))
    return Ascent(images, torch.stack(values))


@contextmanager
def reading(model: nn.Module, layer: str | nn.Module | None) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside the block, a function from pictures to what the layer gives, or the logits if there is no layer.

    Args:
        model: any network, inside an `explaining` block.
        layer: module or its name, or None.

    Raises:
        ValueError: the model has no such layer, or never calls it; it hides the gradient in a checkpoint.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> with reading(net, "0") as read:
    ...     read(torch.rand(2, 3, 5, 5)).shape
    torch.Size([2, 4, 3, 3])
    """
    with backward_pass(model), nullcontext() if layer is None else run_to(model, layer) as read:
        yield read or (lambda x: run(model, x))


def descend(
    loss: Callable[[Tensor, int], Tensor],
    start: Tensor,
    bounds: Bounds,
    space: str,
    steps: int,
    rate: float,
    *,
    clip: float | None = None,
    change: Callable[[Tensor, int], None] = lambda u, step: None,
    what: str,
) -> Tensor:
    """Return pictures [N, C, H, W] after so many steps of one Adam, inside an `explaining` block.

    Args:
        loss: ``loss(x, step)`` gives one number a picture, [N], which is made small.
        start: pictures to start from, [N, C, H, W].
        bounds: values of black and of white, which the pictures stay between.
        space: "pixels" or "fourier".
        steps: how many.
        rate: Adam's, as a share of the way from black to white.
        clip: the largest norm that a picture's gradient keeps; no limit unless given.
        change: ``change(u, step)`` may change the coordinates in place after a step.
        what: what the progress bar is called.

    Returns:
        Pictures [N, C, H, W], detached, in the precision of ``start``. In between they are kept in float32 at least:
        half precision would swallow small steps.

    Raises:
        ValueError: steps, rate or bounds that make no sense, a loss without slope at the first step.

    >>> import torch
    >>> start = torch.full((1, 1, 2, 2), 0.5)
    >>> found = descend(lambda x, step: x.square().sum((1, 2, 3)), start, (0.0, 1.0), "pixels", 50, 0.05, what="down")
    >>> bool((found < 0.1).all())
    True
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1 or not 0 < rate < math.inf:
        raise ValueError(f"Got steps {steps!r} and rate {rate!r}; give a whole number from 1, and a rate above 0.")
    x = check_pictures(start)
    low, way = limits(wide(x), bounds)
    coordinates = space_of(space, x.shape[2:])
    v = coordinates.encode(shares(wide(x), low, way)).requires_grad_()

    def pictures() -> Tensor:
        return (low + way * coordinates.decode(v)).to(x.dtype)

    adam = torch.optim.Adam([v], lr=rate)
    for step in tqdm(range(steps), desc=what, delay=2, leave=False):
        v.grad = slope(loss(pictures(), step), v, needed=step == 0)
        with torch.no_grad():
            if clip is not None:
                norm = v.grad.flatten(1).norm(dim=1).view(-1, *[1] * (v.dim() - 1))
                v.grad *= (clip / norm).clamp(max=1)
            adam.step()
            coordinates.project(v)
            change(v, step)
    return pictures().detach()


def slope(values: Tensor, x: Tensor, *, needed: bool = True) -> Tensor:
    """Return the gradient of the sum of ``values`` with respect to ``x``.

    Args:
        values: one number for each picture, [N].
        x: what they depend on, [N, ...].
        needed: whether a gradient of zeros is an error. Then the graph is kept for one more backward pass.

    Returns:
        In the shape of ``x``.

    Raises:
        ValueError: the values do not depend on the pictures; a gradient that is NaN or infinite; where it is
            ``needed``, a gradient that is zero.

    >>> import torch
    >>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> slope(x.square().sum(1), x)
    tensor([[2., 4.]])
    """
    if not values.requires_grad:
        raise ValueError("The objective does not depend on the picture: is there a detach() or a no_grad in it?")
    (gradient,) = autograd.grad(values.sum(), x, retain_graph=needed)
    if not torch.isfinite(gradient).all():
        raise ValueError(
            "The objective's slope is NaN or infinite: look for NaN among the weights, a division by zero, or a rate "
            "that is too large."
        )
    flat = ~gradient.flatten(1).any(1)
    if needed and flat.any():
        raise ValueError(
            f"The objective has no slope at the start in picture {int(flat.nonzero()[0])}, as of a unit behind a ReLU "
            "that is off: start from other noise, or ask the layer before the ReLU."
        )
    return gradient
