"""Small disturbances: does an explanation predict the score's change (infidelity), and how far does it move itself?"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from helpers.attribution._common import (
    Target,
    baseline_like,
    check_pictures,
    explaining,
    of_rows,
    scores_and_target_on_whole,
    scores_of,
    settle_on_whole,
    source_of_noise,
    warn_if_rounded_away,
    wide,
)
from helpers.attribution.progress import in_chunks

Perturb = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]  # -> what meets the attribution; the new pictures


def noise(level: float = 0.1) -> Perturb:
    """Return a disturbance for :func:`infidelity`: normal noise, ``level`` times the picture's range, subtracted.

    For attributions per unit of x, such as a gradient. All pictures of a batch get the same noise, each in its own
    strength.

    Args:
        level: standard deviation of the noise, as a share of the picture's range, above 0.

    Returns:
        A function of pictures [N, C, H, W] and a generator on the CPU, to the noise and the pictures less the noise.

    Raises:
        ValueError: a level that is not positive; later, a picture of one value, which has no range and is named.

    >>> import torch
    >>> from helpers.evaluation import noise
    >>> x = torch.rand(2, 3, 4, 4)
    >>> change, disturbed = noise(0.1)(x, torch.Generator().manual_seed(0))
    >>> torch.allclose(x - change, disturbed)
    True
    """
    if not 0 < level < float("inf"):
        raise ValueError(f"level is {level}; give the noise as a share of the picture's range, such as 0.1.")

    def perturb(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        spread = level * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        if (spread == 0).any():
            number = int((spread.flatten() == 0).nonzero()[0])
            raise ValueError(
                f"Picture {number} has one value everywhere, and a share of its range is no noise: use squares()."
            )
        change = spread * torch.randn(x.shape[1:], generator=generator, dtype=torch.float32).to(x)
        return change, x - change

    return perturb


def squares(side: int, *, baseline: float | Tensor = 0.0, multiplied: bool = False) -> Perturb:
    """Return a disturbance for :func:`infidelity`: a square at a random place, the same in all, is the baseline.

    Squares may reach over the edge, so that every pixel is covered equally often.

    Args:
        side: of the square, in pixels.
        baseline: a number, or a tensor that broadcasts to the pictures.
        multiplied: whether the attribution already holds the factor x - baseline (gradient x input, integrated
            gradients, LRP): then it is summed over the square, and else multiplied with x - baseline there.

    Returns:
        A function of pictures [N, C, H, W] and a generator on the CPU, to what is multiplied with the attribution, and
        the pictures with the square.

    Raises:
        ValueError: a side that is no positive whole number; later, a baseline that does not fit the pictures.

    >>> import torch
    >>> from helpers.evaluation import squares
    >>> x = torch.ones(1, 3, 4, 4)
    >>> inside, disturbed = squares(2, multiplied=True)(x, torch.Generator().manual_seed(0))
    >>> bool((disturbed[inside == 1] == 0).all() and (disturbed[inside == 0] == 1).all())
    True
    """
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise ValueError(f"side is {side!r}; give whole pixels, 1 or more.")

    def perturb(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        plain, lines = baseline_like(baseline, x), []
        for length in x.shape[2:]:
            first = int(torch.randint(1 - side, length, (), generator=generator))
            pixel = torch.arange(length, device=x.device)
            lines.append((first <= pixel) & (pixel < first + side))
        inside = (lines[0][:, None] & lines[1]).expand_as(x)
        return (inside.to(x) if multiplied else (x - plain) * inside), torch.where(inside, plain, x)

    return perturb


def infidelity(
    model: nn.Module,
    x: Tensor,
    attribution: Tensor,
    target: Target = None,
    *,
    perturb: Perturb | None = None,
    samples: int = 50,
    normalise: bool = False,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return how badly an attribution predicts what disturbances do to the score (Yeh et al., 2019): less is better.

    .. math:: \mathrm{mean}_I \big( I \cdot a - (f(x) - f(x - I)) \big)^2

    over random disturbances I of the picture x, where a is the attribution.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        attribution: signed, [N, C, H, W]; a map for all channels is ``maps[:, None].expand_as(x)``.
        target: which score to follow: ``None`` for the top class of each whole picture, a class number, one class
            number for each picture [N], or a function of the logits that returns [N].
        perturb: ``perturb(x, generator)`` returns I and x - I, both new tensors [N, C, H, W]; in place of I it may
            give what else is to be multiplied with the attribution. :func:`noise` unless given, or :func:`squares`.
        samples: how many disturbances; each costs every picture a forward pass.
        normalise: give each attribution the scale that suits it best, found on the same disturbances. Without it,
            methods of different units cannot be compared. An attribution of zeros predicts nothing at any scale.
        chunk: how many disturbed pictures go through the network at once; as many as are fast unless given.
        generator: source of the disturbances, on the CPU; a fresh one with seed 0 unless given.

    Returns:
        [N], detached, in squared logits, in float32 at least; none below zero.

    Raises:
        TypeError, ValueError: an argument that cannot be used; the message names the cure.

    >>> import torch
    >>> from helpers import attribution, evaluation
    >>> net, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)), torch.rand(2, 3, 4, 4)
    >>> slopes = attribution.gradient(net, x, target=1)
    >>> evaluation.infidelity(net, x, slopes, target=1) < 1e-8  # the gradient of a linear network predicts all
    tensor([True, True])
    """
    perturb, generator = noise() if perturb is None else perturb, source_of_noise(generator)
    with explaining(model), torch.no_grad():
        x = check_pictures(x)
        if not isinstance(attribution, Tensor) or attribution.shape != x.shape:
            shape = list(attribution.shape) if isinstance(attribution, Tensor) else type(attribution).__name__
            raise ValueError(
                f"The attribution is {shape}, the pictures are {list(x.shape)}: give one value for each of theirs; "
                "a map for all channels is maps[:, None].expand_as(x)."
            )
        attribution = check_pictures(attribution).to(x)
        before, settled_target = scores_and_target_on_whole(model, x, target, chunk)
        predicted, fell = [], []
        draw = partial(_disturbed, perturb, x, generator)
        for pictures, (change, disturbed) in _drawn(draw, x, samples, chunk, "infidelity"):
            fell.append(before[pictures] - scores_of(model, disturbed, of_rows(settled_target, pictures)))
            predicted.append((wide(change) * wide(attribution)[pictures]).flatten(1).sum(1))
        predicted, fell = (torch.cat(rows).view(samples, -1) for rows in (predicted, fell))
        warn_if_rounded_away(model, fell, before)
        if normalise:  # the factor that makes the squared error smallest; an attribution of zeros predicts nothing
            size = predicted.square().sum(0)
            predicted = predicted * torch.where(size > 0, (predicted * fell).sum(0) / size, 0)
        return (predicted - fell).square().mean(0)


def sensitivity_max(
    model: nn.Module,
    x: Tensor,
    method: Callable[[nn.Module, Tensor, Target], Tensor],
    target: Target = None,
    *,
    radius: float = 0.02,
    samples: int = 10,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return how far an explanation moves, at most, when its picture is moved a little (Yeh et al., 2019).

    .. math:: \max_d \frac{|m(x + d) - m(x)|}{|m(x)|}

    over uniform noise d, where m is the method; captum divides likewise, the paper does not. The target is settled on
    the picture itself, so the class stays the same while the picture moves. The noise is the same for all pictures. A
    map that does not move need not be right: a constant one does not move at all.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W].
        method: ``method(model, x [R, C, H, W], target)`` -> [R, ...], as in :mod:`helpers.attribution`, for example
            ``partial(attribution.grad_cam, layer="features")``.
        target: which score to follow: ``None`` for the top class of each whole picture, a class number, one class
            number for each picture [N], or a function of the logits that returns [N].
        radius: the most by which a value of ``x`` moves, in the units of ``x``.
        samples: how many moves are tried; each explains every picture once.
        chunk: how many moved pictures are explained at once; as many as are fast unless given.
        generator: source of the noise, on the CPU; a fresh one with seed 0 unless given.

    Returns:
        [N], detached, in float32 at least; NaN where the explanation is zero everywhere, which has no size to compare
        with.

    Raises:
        TypeError, ValueError: an argument that cannot be used; the message names the cure.

    >>> import torch
    >>> from helpers import attribution, evaluation
    >>> net, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)), torch.rand(2, 3, 4, 4)
    >>> evaluation.sensitivity_max(net, x, attribution.gradient, target=1) < 1e-6  # a linear network's never moves
    tensor([True, True])
    """
    if not 0 < radius < float("inf"):
        raise ValueError(f"radius is {radius}; give how far a value of x may move, such as 0.02.")
    generator = source_of_noise(generator)
    if not callable(method):
        raise TypeError(f"The method is a {type(method).__name__}; give a function, such as attribution.gradient.")

    def explain(pictures: Tensor, rows: Tensor) -> Tensor:
        found = method(model, rows, of_rows(settled_target, pictures))
        if not isinstance(found, Tensor) or found.dim() < 2 or len(found) != len(rows):
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"The method returns {shape} for {len(rows)} pictures; it must give one map for each.")
        if sizes.setdefault("map", found.shape[1:]) != found.shape[1:]:
            raise ValueError(
                f"The method returns maps {list(sizes['map'])}, and then {list(found.shape[1:])}; their size must not "
                "depend on how many pictures it is given."
            )
        found = wide(found.detach() if found.is_floating_point() else found.detach().float())
        if not found.isfinite().all():
            raise ValueError("The method returns NaN or infinite values, whose moves cannot be measured: mend it.")
        return found.flatten(1)

    def move() -> tuple[Tensor]:
        shift = 2 * torch.rand(x.shape[1:], generator=generator, dtype=torch.float32).to(x) - 1
        return (x + radius * shift,)

    sizes: dict[str, torch.Size] = {}
    with explaining(model):
        x = check_pictures(x)
        settled_target = settle_on_whole(model, x, target, chunk)
        still = torch.cat([explain(rows, x[rows]) for rows in in_chunks(len(x), chunk, "whole pictures", x)])
        furthest = still.new_zeros(len(x))
        for pictures, (moved,) in _drawn(move, x, samples, chunk, "sensitivity"):
            way = (explain(pictures, moved) - still[pictures]).norm(dim=1)
            furthest = furthest.scatter_reduce(0, pictures, way, "amax")
        size = still.norm(dim=1)
        return (furthest / size).masked_fill(size == 0, torch.nan)


def _disturbed(perturb: Perturb, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what ``perturb`` gives for a copy of ``x``, which it may change in place."""
    if not callable(perturb):
        raise TypeError(f"perturb is a {type(perturb).__name__}; give a function, such as noise() or squares(side).")
    given = perturb(x.clone(), generator)
    if not isinstance(given, tuple | list) or len(given) != 2 or not all(isinstance(part, Tensor) for part in given):
        raise TypeError("perturb must return two tensors: what meets the attribution, and the disturbed pictures.")
    if not all(bool(part.isfinite().all()) for part in given):
        raise ValueError("The disturbance holds NaN or infinite values: look at where it was divided.")
    return tuple(given)


def _drawn(
    draw: Callable[[], Sequence[Tensor]], x: Tensor, samples: int, chunk: int | None, what: str
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield picture numbers [R] and these rows of what ``draw`` gave, the first sample of every picture first.

    One sample is drawn at a time and for all pictures, so that the chunk changes nothing.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples is {samples!r}; give a whole number, 1 or more.")
    last, drawn = -1, ()
    for rows in in_chunks(samples * len(x), chunk, what, x):
        numbers, pictures = rows // len(x), rows % len(x)
        parts = []
        for sample in numbers.unique().tolist():
            if sample != last:
                last, drawn = sample, draw()
                if any(tensor.shape != x.shape for tensor in drawn):
                    shapes = [list(tensor.shape) for tensor in drawn]
                    raise ValueError(f"The disturbance has shapes {shapes}; both must be that of x, {list(x.shape)}.")
            chosen = pictures[numbers == sample].to(x.device)
            parts.append([tensor[chosen] for tensor in drawn])
        yield pictures.to(x.device), [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
