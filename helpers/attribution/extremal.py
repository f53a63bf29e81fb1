"""Extremal perturbation: the part of a picture, of a given area, that keeps the score high when the rest is hidden."""

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn, optim

from helpers.attribution._common import (
    Target,
    baseline_like,
    check_count,
    check_pictures,
    explaining,
    scores_of,
    settle_on_whole,
    source_of_noise,
    which,
    wide,
)
from helpers.attribution.gradients import slopes
from helpers.attribution.progress import in_chunks


def extremal_perturbation(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    area: float = 0.1,
    baseline: float | Tensor = 0.0,
    cells: int = 8,
    steps: int = 60,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return a learnt mask (Fong et al., 2019): the part of a given area with which the score is highest.

    .. math:: \max_m \; \frac{y_c\big(m \odot x + (1 - m) \odot x'\big)}{|y_c(x) - y_c(x')|}
              - \lambda \, \lVert \mathrm{sort}(m) - r_a \rVert^2

    r_a is a row of zeros and, at its end, ones, as many as the share ``area`` of the pixels: so the second term is
    small where the mask is one on this share and zero elsewhere. The mask m is a grid of ``cells`` x ``cells`` values
    between 0 and 1, enlarged with soft edges. A finer grid makes higher scores, but finds patterns that mislead the
    network in place of parts of the picture. Gradient descent with momentum takes ``steps`` steps, while lambda rises
    from 0 to 100 in a straight line; in each step the masked picture is shifted by a few random pixels, against such
    patterns, too. Fong, Patrick and Vedaldi (2019) enlarge the grid by a smooth maximum in place of this bilinear way,
    and take 800 steps.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N].
        area: the share of the picture that the mask shows, more than 0 and less than 1.
        baseline: x', what is seen where the mask is 0, in the units of ``x``: a number, a colour [C, 1, 1], a picture
            [C, H, W], or a picture for each, [N, C, H, W], such as ``x`` blurred.
        cells: how many cells of the mask span the picture, in either direction.
        steps: how many steps; one forward and one backward pass for each and each picture.
        generator: draws the shifts, on the CPU; one with seed 0 unless given. The same for all pictures.

    Returns:
        Masks [N, H, W], or [N, L], detached, at least float32, from 0 to 1.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target or another argument that cannot be used; the message names the cure. Also a picture
            with the score of its baseline.

    Source:
        Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", 2019.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.extremal_perturbation(net, torch.rand(1, 3, 8, 8), target=1, area=0.25, cells=4).shape
        torch.Size([1, 8, 8])
    """
    check_count("cells", cells)
    check_count("steps", steps)
    if isinstance(area, bool) or not isinstance(area, int | float) or not 0 < area < 1:
        raise ValueError(f"area is {area!r}; give the share of the picture that is shown, more than 0 and less than 1.")
    with explaining(model):
        x = check_pictures(x, model)
        plain = baseline_like(baseline, x)
        settled_target = settle_on_whole(model, x, target, None)
        with torch.no_grad():
            size = (scores_of(model, x, settled_target) - scores_of(model, plain, settled_target)).abs()
        if (size == 0).any():
            raise ValueError(f"{which(size == 0, x)} has the score of its baseline: give another baseline or target.")
        values = wide(x)[:, 0].numel() // len(x)
        ideal = (torch.arange(values, device=x.device) >= round((1 - area) * values)).to(wide(x))
        shifts = torch.rand(steps, x.dim() - 2, generator=source_of_noise(generator)) * 2 - 1
        grid = torch.full((len(x), 1, *[cells] * (x.dim() - 2)), 0.5).to(wide(x)).requires_grad_()
        descent = optim.SGD([grid], lr=0.4, momentum=0.9)
        for step in in_chunks(steps, 1, "Extremal perturbation", x):
            mask = _enlarged(grid, x)
            # Up to a thirtieth of the picture's side, in either direction
            by = [round(float(s) * side / 30) for s, side in zip(shifts[int(step)], x.shape[2:], strict=True)]
            masked = torch.roll((plain + mask * (x - plain)).to(x.dtype), by, tuple(range(2, x.dim())))
            score = scores_of(model, masked, settled_target)
            gap = (_enlarged(grid, x).flatten(1).sort(1).values - ideal).square().mean(1)
            weight = 100 * (int(step) + 1) / steps
            grid.grad = weight * autograd.grad(gap.sum(), grid)[0] - slopes(model, (score / size).sum(), grid)
            descent.step()
            with torch.no_grad():
                grid.clamp_(0, 1)
        return _enlarged(grid.detach(), x)[:, 0]


def _enlarged(grid: Tensor, x: Tensor) -> Tensor:
    """Return masks [N, 1, H, W] from grids [N, 1, cells, cells]; so for texts."""
    mode = "bilinear" if x.dim() == 4 else "linear"
    return F.interpolate(grid, size=x.shape[2:], mode=mode, align_corners=False)
