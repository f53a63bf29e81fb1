"""Deep dream: a photograph changed, from coarse to fine, until a layer says more of what it sees there."""

import math
from collections.abc import Callable
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn
from tqdm.auto import tqdm

from helpers.attribution._common import check_pictures, explaining, source_of_noise, wide
from helpers.synthesis.ascent import OnStep, reading
from helpers.synthesis.objectives import Objective, energy
from helpers.synthesis.spaces import Bounds, limits, shares


def deep_dream(
    model: nn.Module,
    x: Tensor,
    objective: Objective = energy,
    *,
    layer: str | nn.Module,
    bounds: Bounds = (0.0, 1.0),
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 10,
    rate: float = 0.02,
    shift: int = 16,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Return the pictures as a layer dreams them (Mordvintsev, Olah and Tyka, 2015).

    The picture is made small, climbs the objective for some steps, is enlarged by ``ratio``, and so on up to its own
    size; what was dreamt at one size is added to the photograph at the next, so that no detail is lost to the resizing.
    Each step adds the gradient divided by its own standard deviation, after a shift at random that keeps the grid of
    the convolutions from showing. Costs ``octaves * steps`` forward and backward passes as far as the layer, most
    of them on small pictures. A batch gives what its pictures give one by one.

    Args:
        model: any network that takes pictures of several sizes; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes.
        objective: takes the layer's output and returns one score a picture, [N].
        layer: module or name of the layer whose output is to grow.
        bounds: values of black and of white, numbers or tensors that broadcast to the pictures, which stay between.
        octaves: how many sizes, the last of them the picture's own.
        ratio: from one size to the next, above 1.
        steps: at each size.
        rate: a step, as a share of the way from black to white, for a gradient of one standard deviation.
        shift: up to so many pixels, and no more than the picture has.
        generator: source of the shifts, on the CPU; one with seed 0 unless given.
        on_step: called at each step with its number, the scores [N] and the pictures of that size.

    Returns:
        Pictures [N, C, H, W], detached.

    Raises:
        TypeError, ValueError: input that cannot be used; a smallest picture that is too small for the network; an
            objective that does not return [N], or has no slope in a picture at any step; the picture is named.

    >>> import torch
    >>> from helpers import synthesis
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> x = torch.rand(1, 3, 16, 16)
    >>> dream = synthesis.deep_dream(net, x, layer="0", octaves=2, steps=2)
    >>> dream.shape, bool((dream != x).any())
    (torch.Size([1, 3, 16, 16]), True)
    """
    counts = all(isinstance(count, Integral) for count in (octaves, steps, shift))
    if not counts or min(octaves, steps) < 1 or shift < 0 or not 1 < ratio < math.inf or not 0 < rate < math.inf:
        raise ValueError(
            "octaves, steps and shift are whole numbers; octaves and steps are 1 or more, shift 0 or more, ratio is "
            "above 1, rate above 0."
        )
    if not callable(objective):
        raise TypeError(f"The objective is a function of the layer's output, such as channel(3), not {objective!r}.")
    generator = source_of_noise(generator)
    with explaining(model), reading(model, layer) as read:
        x = check_pictures(x)
        kind = x.dtype
        x = wide(x)  # half precision would swallow small steps; the network sees its own
        low, way = limits(x, bounds)
        photograph = shares(x, low, way)
        sizes = [[max(1, round(side / ratio**k)) for side in x.shape[2:]] for k in reversed(range(octaves))]
        change = torch.zeros_like(_resized(photograph, sizes[0]))
        _check_smallest(read, (low + way * _resized(photograph, sizes[0])).to(kind), x.to(kind))
        moved = torch.zeros(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
        with tqdm(total=octaves * steps, desc="dream", delay=2, leave=False) as bar:
            for number, size in enumerate(sizes):
                base = _resized(photograph, size)
                u = (base + _resized(change, size)).clamp(0, 1)
                for step in range(number * steps, (number + 1) * steps):
                    reach = min(shift, *size)
                    shifts = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
                    u.requires_grad_()
                    scores = objective(read((low + way * u.roll(shifts, (2, 3))).to(kind)))
                    if not isinstance(scores, Tensor) or scores.shape != x.shape[:1]:
                        raise ValueError(f"The objective must return one score for each picture, shape [{len(x)}].")
                    if on_step is not None:
                        on_step(step, scores.detach(), (low + way * u).detach().to(kind))
                    slope = _slope(scores, u)
                    spread = slope.std((1, 2, 3), keepdim=True)
                    moved |= spread > 0  # a unit that is off at one size may wake up at the next
                    u = (u.detach() + rate * slope / spread.where(spread > 0, 1)).clamp(0, 1)
                    bar.update()
                change = u - base
        if not moved.all():
            number = int((~moved.flatten()).nonzero()[0])
            raise ValueError(
                f"The objective has no slope in picture {number}, as of a unit that is off: choose another unit."
            )
        return (low + way * u).to(kind)


def _slope(scores: Tensor, u: Tensor) -> Tensor:
    if not scores.requires_grad:
        raise ValueError("The objective does not depend on the picture: is there a detach() or a no_grad in it?")
    (slope,) = autograd.grad(scores.sum(), u)
    if not slope.isfinite().all():
        raise ValueError(
            "The objective's slope is NaN or infinite: look for NaN among the weights, or a division by zero."
        )
    return slope


def _check_smallest(read: Callable[[Tensor], Tensor], smallest: Tensor, whole: Tensor) -> None:
    with torch.no_grad():
        try:
            read(smallest)
        except RuntimeError as error:
            read(whole)  # what ails this one as well has nothing to do with the size, and stops here in its own words
            height, width = smallest.shape[2:]
            few = f"The network cannot take {height} x {width} pixels, the smallest size: use fewer octaves."
            raise ValueError(few) from error


def _resized(x: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False).contiguous()
