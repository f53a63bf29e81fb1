"""Gradients at many versions of a picture: with noise (SmoothGrad, VarGrad), or between a baseline and it (IG).

Each is a loop over **rows**: row r is version r // N of picture r % N, and a chunk of rows goes through the network at
once. Sums are kept in float32 also where the network works in half precision.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from helpers.attribution._common import (
    Target,
    baseline_like,
    check_count,
    check_pictures,
    explaining,
    kind,
    of_rows,
    settle_on_whole,
    source_of_noise,
    which,
    wide,
)
from helpers.attribution.gradients import check_alive, one_pass
from helpers.attribution.progress import in_chunks


def smooth_grad(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    level: float = 0.15,
    samples: int = 50,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return the mean gradient of noisy copies of the picture (Smilkov et al., 2017).

    .. math:: M = \frac{1}{n} \sum_{i=1}^{n} \frac{\partial y_c}{\partial x}(x + \sigma \epsilon_i)

    with normal noise :math:`\epsilon_i` and :math:`\sigma` = ``level`` (max x - min x). Where ``target`` is
    ``None``, the class is chosen once, on the picture without noise, and is the same for all copies.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        level: standard deviation of the noise, as a share of the range of each picture's own values; 0 is no noise.
        samples: noisy copies of each picture; one forward and one backward pass for each.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.
        generator: source of the noise, on the CPU; ``None`` is a fresh one with seed 0. All pictures of a batch get
            the same noise, each in its own strength.

    Returns:
        Signed attribution [N, C, H, W], detached, in logits per unit of x.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target or output of the model that cannot be used; the message names the cure.
            Also a picture of one value, which has no range to take a share of.

    Source:
        Smilkov, Thorat, Kim, Viegas and Wattenberg, "SmoothGrad: Removing Noise by Adding Noise", 2017.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.smooth_grad(net, torch.rand(1, 3, 8, 8), target=1, samples=5).shape
        torch.Size([1, 3, 8, 8])
    """
    check_count("samples", samples)
    with explaining(model):
        x = check_pictures(x, model)
        spread, noise = spread_of(x, level), noise_like(x, generator)
        settled_target = settle_on_whole(model, x, target, chunk)
        total = torch.zeros_like(wide(x))
        for rows in in_chunks(samples * len(x), chunk, "SmoothGrad", x):
            picture = (rows % len(x)).to(x.device)
            noisy = x[picture] + spread[picture] * noise(rows // len(x))
            slopes = one_pass(model, noisy, of_rows(settled_target, picture))
            total.index_add_(0, picture, wide(slopes))
        return check_alive(total / samples)


def var_grad(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    level: float = 0.15,
    samples: int = 50,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return the variance of the gradient over noisy copies of the picture (Adebayo et al., 2018).

    .. math:: M = \frac{1}{n} \sum_i g_i^2 - \left(\frac{1}{n} \sum_i g_i\right)^2,
              \quad g_i = \frac{\partial y_c}{\partial x}(x + \sigma \epsilon_i)

    with normal noise :math:`\epsilon_i` and :math:`\sigma` = ``level`` (max x - min x). It is large where the
    gradient changes most from copy to copy, and zero where the network is linear. It has no sign. The sum is divided
    by n, not by n - 1.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        level: standard deviation of the noise, as a share of the range of each picture's own values; 0 is no noise.
        samples: noisy copies of each picture; one forward and one backward pass for each.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.
        generator: source of the noise, on the CPU; ``None`` is a fresh one with seed 0. All pictures of a batch get
            the same noise, each in its own strength.

    Returns:
        Variances [N, C, H, W], none below zero, detached, in squared logits per squared unit of x.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target or output of the model that cannot be used; the message names the cure.
            Also a picture of one value, which has no range to take a share of, and fewer than two samples.

    Source:
        Adebayo, Gilmer, Goodfellow and Kim, "Local Explanation Methods for Deep Neural Networks Lack Sensitivity to
        Parameter Values", 2018.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.var_grad(net, torch.rand(1, 3, 8, 8), target=1, samples=5).amin() >= 0
        tensor(True)
    """
    check_count("samples", samples)
    if samples == 1:
        raise ValueError("samples is 1, and one gradient has no variance; give 2 or more.")
    with explaining(model):
        x = check_pictures(x, model)
        spread, noise = spread_of(x, level), noise_like(x, generator)
        settled_target = settle_on_whole(model, x, target, chunk)
        first, total, squares = (torch.zeros_like(wide(x)) for _ in range(3))
        for rows in in_chunks(samples * len(x), chunk, "VarGrad", x):
            picture, start = (rows % len(x)).to(x.device), (rows < len(x)).to(x.device)
            noisy = x[picture] + spread[picture] * noise(rows // len(x))
            slopes = wide(one_pass(model, noisy, of_rows(settled_target, picture)))
            first[picture[start]] = slopes[start]
            slopes = slopes - first[picture]  # else a small variance drowns in the rounding of large squares
            total.index_add_(0, picture, slopes)
            squares.index_add_(0, picture, slopes.square())
        check_alive(first + total / samples)
        return (squares / samples - (total / samples).square()).clamp(min=0)


def integrated_gradients(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    baseline: float | Tensor = 0.0,
    steps: int = 50,
    rule: str = "gauss-legendre",
    chunk: int | None = None,
) -> Tensor:
    r"""Return integrated gradients (Sundararajan et al., 2017): how much each value adds between a baseline and x.

    .. math:: M = (x - x') \odot \int_0^1 \frac{\partial y_c}{\partial x}(x' + \alpha (x - x')) \, d\alpha
                \approx (x - x') \odot \sum_k w_k \frac{\partial y_c}{\partial x}(x' + \alpha_k (x - x'))

    with the points :math:`\alpha_k` and weights :math:`w_k` of a rule: of Gauss and Legendre, or the middles of equal
    parts, which all weigh the same. The slope of a network of ReLUs jumps along the line, so neither rule is the better
    one for every network; the points of Gauss and Legendre crowd at both ends of the line. The values of M add up to
    ``y_c(x) - y_c(x')`` (completeness), up to an error that falls with more ``steps``: compare the two. Where x equals
    the baseline the result is zero.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        baseline: x', where the line starts, in the units of ``x``: a number, a colour [C, 1, 1], a picture [C, H, W],
            or one for each. In normalised pictures 0 is the mean colour and not black.
        steps: points on the line; one forward and one backward pass for each.
        rule: ``"gauss-legendre"`` or ``"midpoint"``.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.

    Returns:
        Signed attribution [N, C, H, W], detached, in logits.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target or output of the model that cannot be used; the message names the cure.
            Also a baseline that equals a picture, and an unknown rule.

    Source:
        Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> x = torch.rand(1, 3, 8, 8)
        >>> parts = attribution.integrated_gradients(net, x, target=1)
        >>> gain = (net(x) - net(torch.zeros_like(x)))[0, 1]
        >>> bool((parts.sum() - gain).abs() < 0.05)
        True
    """
    check_count("steps", steps)
    points = points_of(rule, steps)
    with explaining(model):
        x = check_pictures(x, model)
        start = baseline_like(baseline, x)
        check_baseline_differs(x, start)
        settled_target = settle_on_whole(model, x, target, chunk)
        way, total = x - start, torch.zeros_like(wide(x))
        alpha, weight = (values.to(total).view(-1, *[1] * (x.dim() - 1)) for values in points)
        for rows in in_chunks(steps * len(x), chunk, "Integrated gradients", x):
            step, picture = (rows // len(x)).to(x.device), (rows % len(x)).to(x.device)
            between = (start[picture] + alpha[step] * way[picture]).to(x.dtype)
            slopes = one_pass(model, between, of_rows(settled_target, picture))
            total.index_add_(0, picture, weight[step] * slopes)
        return way * check_alive(total)


def gradient_shap(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    baselines: float | Tensor = 0.0,
    samples: int = 50,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return GradientSHAP, also called expected gradients: integrated gradients, averaged over many baselines.

    .. math:: M = \frac{1}{n} \sum_{i=1}^{n} (x - b_i) \odot
                  \frac{\partial y_c}{\partial x}\big(b_i + \alpha_i (x - b_i)\big)

    Each sample takes one of the baselines b, in turn, and a random place :math:`\alpha_i` on the
    line from b to x, one in each n-th of it. The values of M add up to ``y_c(x)`` less the mean score of the baselines,
    up to an error that falls with more ``samples``: compare the two. The form of Lundberg and Lee's package also adds
    noise to x.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        baselines: [B, C, H, W], such as a hundred pictures of the training data, each of which serves all of ``x``; or
            a number, or a colour [C, 1, 1], for a single one.
        samples: how many places; one forward and one backward pass for each and each picture.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.
        generator: draws places and baselines, on the CPU; one with seed 0 unless given. The same for all pictures.

    Returns:
        Signed attribution [N, C, H, W], detached, at least float32, in logits.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target, baselines or output of the model that cannot be used; the message names the cure.

    Source:
        Erion, Janizek, Sturmfels, Lundberg and Lee, "Improving Performance of Deep Learning Models with Axiomatic
        Attribution Priors and Expected Gradients", 2021; after Lundberg and Lee, "A Unified Approach to Interpreting
        Model Predictions", 2017.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> x, baselines = torch.rand(2, 3, 8, 8), torch.rand(10, 3, 8, 8)
        >>> attribution.gradient_shap(net, x, target=1, baselines=baselines).shape
        torch.Size([2, 3, 8, 8])
    """
    check_count("samples", samples)
    with explaining(model):
        x = check_pictures(x, model)
        starts = _several_baselines(baselines, x)
        source = source_of_noise(generator)
        turn = torch.cat([torch.randperm(len(starts), generator=source) for _ in range(-(-samples // len(starts)))])
        places = (torch.randperm(samples, generator=source) + torch.rand(samples, generator=source)) / samples
        settled_target = settle_on_whole(model, x, target, chunk)
        total = torch.zeros_like(wide(x))
        for rows in in_chunks(samples * len(x), chunk, "GradientSHAP", x):
            picture, sample = (rows % len(x)).to(x.device), rows // len(x)
            start = starts[turn[sample].to(x.device)]
            way = x[picture] - start
            alpha = places[sample].to(x).view(-1, *[1] * (x.dim() - 1))
            slopes = one_pass(model, (start + alpha * way).to(x.dtype), of_rows(settled_target, picture))
            total.index_add_(0, picture, wide(way) * wide(slopes))
        return check_alive(total / samples)


def _several_baselines(baselines: float | Tensor, x: Tensor) -> Tensor:
    """Return baselines [B, C, H, W] in the units of ``x``; errors as in `baseline_like`."""
    if not isinstance(baselines, Tensor) or baselines.dim() < x.dim():
        return baseline_like(baselines, x[:1])
    if len(baselines) == 0 or baselines.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"The baselines have shape {list(baselines.shape)}; give [B, {', '.join(map(str, x.shape[1:]))}], one or "
            f"more {kind(x).one}s like those that are explained."
        )
    return baseline_like(baselines, baselines.to(x))


def check_baseline_differs(x: Tensor, start: Tensor) -> None:
    """Raise ValueError where a picture equals its baseline, both [N, C, H, W]."""
    if (same := (start == x).flatten(1).all(1)).any():
        raise ValueError(
            f"{which(same, x)} equals its baseline, which makes all integrated gradients zero: give another."
        )


@cache
def points_of(rule: str, steps: int) -> tuple[Tensor, Tensor]:
    """Return the points in [0, 1] and the weights, which sum to 1, of a rule for integrals, float64 [steps] each.

    Raises:
        ValueError: an unknown rule.
    """
    if rule == "midpoint":
        return (torch.arange(steps).double() + 0.5) / steps, torch.full((steps,), 1 / steps, dtype=torch.float64)
    if rule != "gauss-legendre":
        raise ValueError(f"There is no rule {rule!r}; there are 'gauss-legendre' and 'midpoint'.")
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1], weights that sum to 2
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def spread_of(x: Tensor, level: float) -> Tensor:
    """Return the noise's standard deviation for each picture, [N, 1, 1, 1]: ``level`` times its range.

    Raises:
        ValueError: a level that is no share, or a picture of one value, which has no range.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 <= level < float("inf"):
        raise ValueError(f"level is {level!r}; give the noise as a share of the picture's range, such as 0.15.")
    spread = level * (x.flatten(1).amax(1) - x.flatten(1).amin(1))
    if level and (spread == 0).any():
        raise ValueError(
            f"{which(spread == 0, x)} has one value everywhere, so a share of its range is no noise: use gradient() "
            f"for this {kind(x).one}."
        )
    return spread.view(-1, *[1] * (x.dim() - 1))


def noise_like(x: Tensor, generator: torch.Generator | None) -> Callable[[Tensor], Tensor]:
    """Return a function that gives normal noise [rows, C, H, W] for sample numbers [rows] in ascending order.

    One sample is drawn at a time and in float32, so that chunk, batch, device and precision change nothing.

    Raises:
        ValueError: a generator that is not on the CPU.
    """
    generator = source_of_noise(generator)
    last, drawn = -1, x[0]

    def noise(samples: Tensor) -> Tensor:
        nonlocal last, drawn
        rows = []
        for sample in samples.tolist():
            if sample != last:
                last, drawn = sample, torch.randn(x.shape[1:], generator=generator, dtype=torch.float32).to(x)
            rows.append(drawn)
        return torch.stack(rows)

    return noise
