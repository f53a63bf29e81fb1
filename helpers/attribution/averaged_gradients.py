"""Gradients at many versions of a picture: with noise (SmoothGrad, VarGrad), or on the way from a baseline (IG)."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from helpers.attribution.contract import Target, check_pictures, explaining, in_chunks, of_rows, quick, run, settle
from helpers.attribution.gradients import check_alive, one_pass


def smooth_grad(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    level: float = 0.15,
    samples: int = 50,
    chunk: int = 32,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean gradient of noisy copies of the picture (Smilkov et al., 2017).

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        target: as for :func:`gradient`; ``None`` is each clean picture's top class, asked of all its copies.
        level: standard deviation of the noise, as a share of the picture's own range, largest value minus smallest.
            The paper recommends 0.1 to 0.2; 0 gives the gradient.
        samples: noisy copies of each picture; one forward and one backward pass for each.
        chunk: copies that go through the network at once, which bounds the memory; it changes no result.
        generator: source of the noise, on the CPU; ``None`` is a fresh one with seed 0. All pictures of a batch get
            the same noise, each in its own strength.

    Returns:
        Signed attribution [N, C, H, W], detached, in logits per unit of x.

    Raises:
        TypeError, ValueError: pictures, target or numbers that cannot be used, and a picture of one value, which has
            no range to take a share of; the message names the cure.
    """
    with explaining(model):
        x = check_pictures(x)
        noisy = _noisy(x, level, samples, generator)
        total = torch.zeros_like(x)
        for _, pictures, gradients in _passes(model, x, target, noisy, samples, chunk, "SmoothGrad"):
            total.index_add_(0, pictures, gradients)
        return check_alive(total / samples)


def var_grad(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    level: float = 0.15,
    samples: int = 50,
    chunk: int = 32,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the variance of the gradient over noisy copies of the picture (Adebayo et al., 2018).

    It says where the slope is unsteady, and is zero where the network is linear. It has no sign. Divided by the
    number of samples, not by one less. Arguments as for :func:`smooth_grad`.

    Returns:
        Variances [N, C, H, W], none below zero, detached, in squared logits per squared unit of x.

    Raises:
        TypeError, ValueError: as for :func:`smooth_grad`; also for fewer than two samples.
    """
    if samples == 1:
        raise ValueError("samples is 1, and one gradient has no variance; give 2 or more.")
    with explaining(model):
        x = check_pictures(x)
        noisy = _noisy(x, level, samples, generator)
        first, total, squares = (torch.zeros_like(x) for _ in range(3))
        for sample, pictures, gradients in _passes(model, x, target, noisy, samples, chunk, "VarGrad"):
            start = sample == 0
            first[pictures[start]] = gradients[start]
            gradients = gradients - first[pictures]  # else a small variance drowns in the rounding of large squares
            total.index_add_(0, pictures, gradients)
            squares.index_add_(0, pictures, gradients.square())
        check_alive(first + total / samples)
        return (squares / samples - (total / samples).square()).clamp(min=0)


def integrated_gradients(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    baseline: float | Tensor = 0.0,
    steps: int = 50,
    chunk: int = 32,
) -> Tensor:
    """Return integrated gradients (Sundararajan et al., 2017): how much each value adds on the way from a baseline.

    ``(x - x') * mean of dy_c/dx along the straight line from x' to x``, the mean by Gauss-Legendre quadrature. Summed
    up it is ``y_c(x) - y_c(x')``, as closely as ``steps`` allows: print both. Values equal to the baseline get nothing.

    Args:
        model, x, target: as for :func:`smooth_grad`; ``None`` is the top class of x, asked all along the line.
        baseline: x', where the line starts: a number, or a tensor that broadcasts to x. In normalised pictures 0 is
            the mean colour and not black.
        steps: points on the line; one forward and one backward pass for each.
        chunk: points that go through the network at once, which bounds the memory; it changes no result.

    Returns:
        Signed attribution [N, C, H, W], detached, in logits.

    Raises:
        TypeError, ValueError: pictures, target or numbers that cannot be used, a baseline that does not fit or that
            equals a picture; the message names the cure.
    """
    _check_count("steps", steps)
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1], weights that sum to 2
    with explaining(model):
        x = check_pictures(x)
        start = _check_baseline(baseline, x)
        way = x - start
        nodes, weights = (torch.from_numpy(v / 2).to(x)[:, None, None, None] for v in (nodes + 1, weights))
        total = torch.zeros_like(x)

        def on_the_way(step: Tensor, pictures: Tensor) -> Tensor:
            return start[pictures] + nodes[step] * way[pictures]

        for step, pictures, gradients in _passes(model, x, target, on_the_way, steps, chunk, "Integrated gradients"):
            total.index_add_(0, pictures, weights[step] * gradients)
        return way * check_alive(total)


Versions = Callable[[Tensor, Tensor], Tensor]  # (version numbers [R], picture numbers [R]) -> pictures [R, C, H, W]


def _passes(
    model: nn.Module, x: Tensor, target: Target, versions: Versions, count: int, chunk: int, what: str
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield version numbers, picture numbers and gradients of ``count`` versions of each picture, chunk by chunk.

    The versions come in order, version 0 of every picture first. Each picture's question is settled before.
    """
    with torch.no_grad():
        logits = torch.cat([run(model, quick(x[numbers])) for numbers in in_chunks(len(x), chunk, what)])
    settled = settle(logits, target)
    for rows in in_chunks(count * len(x), chunk, what):
        rows = rows.to(x.device)
        version, pictures = rows // len(x), rows % len(x)
        yield version, pictures, one_pass(model, quick(versions(version, pictures)), of_rows(settled, pictures))


def _noisy(x: Tensor, level: float, samples: int, generator: torch.Generator | None) -> Versions:
    """Return the function that adds sample number s of the noise to a picture; samples must be asked for in order."""
    _check_count("samples", samples)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 <= level < float("inf"):
        raise ValueError(f"level is {level!r}; give the noise as a share of the picture's range, such as 0.15.")
    spread = level * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    if level and (spread == 0).any():
        raise ValueError("A picture has one value everywhere, so a share of its range is no noise: use gradient().")
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    elif generator.device.type != "cpu":
        raise ValueError(f"The generator is on {generator.device}; give torch.Generator(), on the CPU, for any device.")
    drawn, first = [], 0

    def noisy(sample: Tensor, pictures: Tensor) -> Tensor:
        nonlocal first
        low, high = sample[0].item(), sample[-1].item()
        del drawn[: low - first]
        first = low
        while first + len(drawn) <= high:  # one at a time and in float32: the same in any chunk, device and precision
            drawn.append(torch.randn(x.shape[1:], generator=generator, dtype=torch.float32))
        return x[pictures] + spread[pictures] * torch.stack(drawn).to(x)[sample - first]

    return noisy


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; give a whole number, 1 or more.")


def _check_baseline(baseline: float | Tensor, x: Tensor) -> Tensor:
    """Return the baseline in the shape, type and place of ``x``."""
    try:
        start = torch.as_tensor(baseline).detach().to(x).broadcast_to(x.shape).clone()
    except (TypeError, ValueError, RuntimeError):
        given = f"of shape {list(baseline.shape)}" if isinstance(baseline, Tensor) else f"a {type(baseline).__name__}"
        raise ValueError(
            f"The baseline is {given}; give a number, or a tensor that broadcasts to the pictures, {list(x.shape)}."
        ) from None
    if not torch.isfinite(start).all():
        raise ValueError("The baseline holds NaN or infinite values; look at where it was made.")
    if (start == x).flatten(1).all(1).any():
        raise ValueError("A picture equals its baseline, so no way leads from one to the other: give another baseline.")
    return start
