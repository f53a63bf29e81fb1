"""Inversion: from what a layer gave back to a picture that it could have seen."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helpers.attribution._common import check_pictures, explaining, wide
from helpers.synthesis.ascent import OnStep, descend, reading
from helpers.synthesis.objectives import total_variation
from helpers.synthesis.spaces import Bounds, limits, noise


class Inversion(NamedTuple):
    """What an inversion found, see `invert`.

    Attributes:
        images: pictures [N, C, H, W], in the units that the network takes.
        errors: inversion errors [steps + 1, N], before each step, and last of the pictures themselves.

    >>> import torch
    >>> from helpers import synthesis
    >>> found = synthesis.Inversion(images=torch.rand(2, 3, 4, 4), errors=torch.ones(11, 2))
    >>> len(found.errors) - 1  # steps
    10
    """

    images: Tensor
    errors: Tensor


def inversion_error(output: Tensor, wanted: Tensor) -> Tensor:
    """Return ``|output - wanted|^2 / |wanted|^2`` for each picture, [N]; 0 is perfect, 1 is what zeros would get.

    Args:
        output: what a layer gives, [N, ...].
        wanted: what it is to give, in the same shape.

    Returns:
        [N], in float32 at least; NaN or infinite where ``wanted`` is zero everywhere.

    Raises:
        ValueError: two shapes that do not fit.

    >>> import torch
    >>> from helpers import synthesis
    >>> synthesis.inversion_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([4.])
    """
    if output.shape[1:] != wanted.shape[1:] or len(wanted) not in (1, len(output)):
        shapes = f"The output is {list(output.shape)}, wanted is {list(wanted.shape)}"
        raise ValueError(f"{shapes}; make them equal in shape.")
    output, wanted = wide(output), wide(wanted)
    return (output - wanted).flatten(1).square().sum(1) / wanted.flatten(1).square().sum(1)


def invert(
    model: nn.Module,
    x: Tensor,
    *,
    layer: str | nn.Module,
    bounds: Bounds = (0.0, 1.0),
    space: str = "pixels",
    start: Tensor | None = None,
    steps: int = 200,
    rate: float = 0.05,
    norm: float = 0.0,
    power: float = 6.0,
    variation: float = 0.0,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Inversion:
    r"""Return pictures for which a layer gives nearly what it gives for ``x`` (Mahendran and Vedaldi, 2015).

    .. math:: \min_{x'} \frac{|f(x') - f(x)|^2}{|f(x)|^2} + n \, \mathrm{mean} |x'|^p + v \, TV(x')

    by one Adam, where n is ``norm``, p is ``power`` and v is ``variation``. The norm counts from grey, in half the way
    from black to white; TV runs over height and width, of values from 0 to 1. Costs one forward and one backward pass a
    step, as far as the layer, for all pictures together.

    Args:
        model: any network that takes pictures [N, C, H, W]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes.
        layer: module or name of the layer whose output is known.
        bounds: values of black and of white, numbers or tensors that broadcast to the pictures, which stay between.
        space: "pixels", or "fourier".
        start: pictures to start from; a little noise on grey unless given.
        steps: how many.
        rate: Adam's, as a share of the way from black to white.
        norm: weight of the norm, which holds values away from black and white.
        power: of the norm; 6 leaves small values alone.
        variation: weight of the total variation, which prefers broad areas.
        generator: draws the noise to start from, on the CPU; one with seed 0 unless given.
        on_step: called at each step with its number, the errors [N] and the pictures before the step.

    Returns:
        An `Inversion`: pictures [N, C, H, W], and errors [steps + 1, N], both detached.

    Raises:
        TypeError, ValueError: input that cannot be used, a layer that gives zeros only; with the cure.

    >>> import torch
    >>> from helpers import synthesis
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> images, errors = synthesis.invert(net, torch.rand(1, 3, 6, 6), layer="0", steps=20)
    >>> images.shape, bool(errors[-1] < errors[0])
    (torch.Size([1, 3, 6, 6]), True)
    """
    if not all(0 <= weight < math.inf for weight in (norm, variation)) or not 1 <= power < math.inf:
        raise ValueError(f"Got norm {norm}, variation {variation}, power {power}; give 0 or more, a power from 1.")
    errors = []
    with explaining(model), reading(model, layer) as read:
        x = check_pictures(x)
        low, way = limits(x, bounds)
        with torch.no_grad():
            wanted = read(x)
        dead = ~wanted.flatten(1).any(1)
        if dead.any():
            raise ValueError(
                f"This layer gives zeros only for picture {int(dead.nonzero()[0])}, which leaves nothing to go by: "
                "choose another."
            )
        if start is None:
            start = low + way * noise(len(x), tuple(x.shape[1:]), generator=generator).to(x)
        start = check_pictures(start).to(x)
        if start.shape != x.shape:
            raise ValueError(f"The start has shape {list(start.shape)}, the pictures {list(x.shape)}; make them equal.")

        def loss(guess: Tensor, step: int) -> Tensor:
            error = inversion_error(read(guess), wanted)
            errors.append(error.detach())
            if on_step is not None:
                on_step(step, errors[-1], guess.detach().clone())
            u = wide((guess - low) / way)
            loss = error + norm * (2 * u - 1).abs().pow(power).mean((1, 2, 3)) if norm else error
            return loss + variation * total_variation(u) if variation else loss

        images = descend(loss, start, bounds, space, steps, rate, what="inversion")
        with torch.no_grad():
            errors.append(inversion_error(read(images), wanted))
    return Inversion(images, torch.stack(errors))
