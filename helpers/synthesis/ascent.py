"""Activation maximisation: change a picture until a unit says as much as it can."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, autograd, nn
from tqdm.auto import tqdm

from helpers.attribution._common import check_pictures, explaining, run
from helpers.hooks import run_to
from helpers.synthesis.objectives import Objective, total_variation
from helpers.synthesis.spaces import Bounds, View, blurred, limits, space_of

OnStep = Callable[[int, Tensor, Tensor], None]


class Ascent(NamedTuple):
    """Pictures [N, C, H, W], and the scores [steps + 1, N]: of what was seen at each step, and last of the pictures."""

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
    """Return pictures that a unit of the network responds to as strongly as a constrained ascent can make it.

    Erhan, Bengio, Courville and Vincent (2009); with regularisers after Simonyan et al. (2014: l2), Yosinski et al.
    (2015: blur, clipping), Mahendran and Vedaldi (2015: total variation) and Olah et al. (2017: views, Fourier space).
    One Adam from the first step to the last; one forward and one backward pass a step for all pictures together, as
    far as the layer. A batch gives what its pictures give one by one.

    Args:
        model: any network; any mode, frozen or not, left as it was.
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
        every: see blur.
        clip: the largest norm that a picture's gradient keeps; longer ones are shortened to it. Adam divides by the
            size of past gradients, so that what is felt is a change of their length, not the length.
        view: how the network sees the picture at each step, such as `random_view(shift=4)`.
        generator: source of chance of the views, on the CPU; one with seed 0 unless given.
        on_step: called at each step with its number, the scores [N] and the pictures as they were before the step.

    Raises:
        TypeError, ValueError: input that cannot be used, with the cure; an objective that does not return [N], or
            has no slope at the start.
    """
    if blur and space != "pixels":
        raise ValueError("Blur works on pixels, and in the Fourier space fine detail is slow anyway: use one of them.")
    if min(l1, l2, variation, blur) < 0 or every < 1 or (clip is not None and clip <= 0):
        raise ValueError("l1, l2, variation and blur are 0 or more, every is 1 or more, clip is above 0.")
    if not callable(objective):
        raise TypeError(f"The objective is a function of the layer's output, such as channel(3), not {objective!r}.")
    generator = generator or torch.Generator().manual_seed(0)
    values = []
    with explaining(model), reading(model, layer) as read:

        def scores_of(x: Tensor) -> Tensor:
            scores = objective(read(x))
            if not isinstance(scores, Tensor) or scores.shape != x.shape[:1]:
                raise ValueError(f"The objective must return one score for each picture, shape [{len(x)}].")
            return scores

        def loss(x: Tensor, step: int) -> Tensor:
            scores = scores_of(x if view is None else view(x, generator))
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
    """Inside the block, a function from pictures to what the layer gives, or the logits if there is no layer."""
    if layer is None:
        yield lambda x: run(model, x)
    else:
        with run_to(model, layer) as read:
            yield read


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

    ``loss(x, step)`` gives one number a picture, [N]; ``change(u, step)`` may change the coordinates after a step.

    Raises:
        ValueError: steps, rate or bounds that make no sense, a loss without slope at the first step.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1 or not rate > 0:
        raise ValueError(f"Got steps {steps!r} and rate {rate!r}; give a whole number from 1, and a rate above 0.")
    x = check_pictures(start)
    low, way = limits(x, bounds)
    coordinates = space_of(space, x.shape[2:])
    v = coordinates.encode(((x - low) / way).clamp(0, 1)).requires_grad_()
    adam = torch.optim.Adam([v], lr=rate)
    for step in tqdm(range(steps), desc=what, delay=2, leave=False):
        v.grad = slope(loss(low + way * coordinates.decode(v), step), v, needed=step == 0)
        with torch.no_grad():
            if clip is not None:
                norm = v.grad.flatten(1).norm(dim=1).view(-1, *[1] * (v.dim() - 1))
                v.grad *= (clip / norm).clamp(max=1)
            adam.step()
            coordinates.project(v)
            change(v, step)
    return (low + way * coordinates.decode(v)).detach()


def slope(values: Tensor, x: Tensor, *, needed: bool = True) -> Tensor:
    """Return the gradient of the sum of ``values`` [N] with respect to ``x`` [N, ...], and keep the graph.

    Raises:
        ValueError: the values do not depend on the pictures; where it is ``needed``, a gradient that is zero.
    """
    if not values.requires_grad:
        raise ValueError("The objective does not depend on the picture: is there a detach() or a no_grad in it?")
    (gradient,) = autograd.grad(values.sum(), x, retain_graph=needed)
    if needed and not gradient.flatten(1).any(1).all():
        raise ValueError(
            "The objective has no slope at the start, as a unit behind a ReLU that is off: start from other noise, or "
            "ask the layer before the ReLU."
        )
    return gradient
