"""Explanations by players and coalitions: LIME, KernelSHAP and Shapley values of the parts of a picture.

The picture is cut into **segments**, the players. A **coalition** z, a row of zeros and ones, says which segments are
shown; the others show a baseline. Its **worth** v(z) is the score of this picture. LIME and KernelSHAP fit a linear
function of z to the worths of random coalitions, and Shapley values are means of differences of worths.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.attribution._common import (
    TEXT,
    SettledTarget,
    Target,
    baseline_like,
    check_count,
    check_pictures,
    explaining,
    kind,
    of_rows,
    scores_of,
    settle_on_whole,
    source_of_noise,
    warn_if_rounded_away,
)
from helpers.attribution.progress import in_chunks

Segments = Tensor | np.ndarray | None
MOST_PLAYERS = 12  # of exact Shapley values: 4,096 coalitions


def superpixels(x: Tensor, count: int = 50, *, compactness: float = 10.0) -> Tensor:
    """Return about ``count`` connected parts of similar colour for each picture, by SLIC (Achanta et al., 2012).

    In a text each word is a segment of its own, whatever ``count`` is.

    Args:
        x: pictures [N, C, H, W], in any units, as each is scaled to its own range first; or texts [N, C, L].
        count: about how many segments a picture gets; how many it has in the end depends on the picture.
        compactness: how much nearness counts beside likeness of colour: larger is more square.

    Returns:
        Segment numbers [N, H, W], int64, from 0 in each picture; [N, L] for texts.

    Raises:
        TypeError: the pictures are not a tensor of floats.
        ValueError: pictures or a count that cannot be used.

    Source:
        Achanta, Shaji, Smith, Lucchi, Fua and Suesstrunk, "SLIC Superpixels Compared to State-of-the-Art Superpixel
        Methods", 2012.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> attribution.superpixels(torch.rand(2, 3, 32, 32), 10).shape
        torch.Size([2, 32, 32])
    """
    check_count("count", count)
    if kind(x) is TEXT:
        return torch.arange(x.shape[2], device=x.device).expand(len(x), -1)
    from skimage.segmentation import slic

    found = []
    for picture in x.detach().float().cpu():
        lowest, highest = picture.min(), picture.max()
        colours = ((picture - lowest) / (highest - lowest).clamp(min=1e-12)).permute(1, 2, 0).double().numpy()
        # SLIC measures three colours in Lab, whose values are a hundred times those of other channels
        lab = colours.shape[2] == 3
        cut = slic(colours, count, compactness if lab else compactness / 100, channel_axis=2, start_label=0)
        found.append(torch.from_numpy(np.unique(cut, return_inverse=True)[1].reshape(cut.shape)))
    return torch.stack(found).to(x.device)


def lime(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    segments: Segments = None,
    baseline: float | Tensor = 0.0,
    samples: int = 200,
    width: float = 0.25,
    ridge: float = 1.0,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return LIME (Ribeiro et al., 2016): the coefficients of a linear model of the score near the whole picture.

    .. math:: \min_{b, \phi} \sum_i w(z_i) \big(v(z_i) - b - z_i \cdot \phi\big)^2 + \lambda \lVert \phi \rVert^2,
              \quad w(z) = \exp\Big(-\frac{(1 - \sqrt{|z| / d})^2}{2\, \mathrm{width}^2}\Big)

    with d segments, and |z| of them shown. Each segment is shown with probability 1/2. The weight w falls with the
    cosine distance between z and the whole picture. Ribeiro, Singh and Guestrin (2016) also choose a few segments by a
    lasso; here, as by default in their package for pictures, all stay and the regression is a ridge regression.
    The coefficients do not add up to anything in particular.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        segments: whole numbers [N, H, W], or [H, W] for all, that say to which segment a pixel belongs; for texts
            [N, L] or [L]. Made by :func:`superpixels` unless given.
        baseline: what a hidden segment shows, in the units of ``x``: a number, a colour [C, 1, 1], a picture
            [C, H, W], or a picture for each, [N, C, H, W] (such as ``x`` blurred).
        samples: how many coalitions, the first being the whole picture; one forward pass for each and each picture.
            More than there are segments.
        width: how fast the weight falls; small values count only coalitions that show nearly everything.
        ridge: lambda, which pulls the coefficients towards zero; 0 is plain weighted least squares.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.
        generator: draws the coalitions, on the CPU; one with seed 0 unless given. Pictures with equally many segments
            get the same ones.

    Returns:
        Signed map [N, H, W], or [N, L], detached, at least float32, in logits: each pixel has its segment's value.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or segments are of another kind.
        ValueError: pictures, target, segments or another argument that cannot be used; the message names the cure.

    Source:
        Ribeiro, Singh and Guestrin, ""Why Should I Trust You?": Explaining the Predictions of Any Classifier", 2016.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> quarters = torch.arange(4).view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1)
        >>> attribution.lime(net, torch.rand(1, 3, 8, 8), target=1, segments=quarters).shape
        torch.Size([1, 8, 8])
    """
    check_count("samples", samples)
    _check_positive("width", width, "0.25, as LIME's package has it")
    _check_positive("ridge", ridge, "0 for plain least squares, or 1", zero=True)

    def draw(players: int, source: torch.Generator) -> Tensor:
        _check_enough(samples, players)
        coalitions = torch.rand(samples, players, generator=source) < 0.5
        coalitions[0] = True
        return coalitions

    def fit(coalitions: Tensor, worths: Tensor, empty: Tensor, whole: Tensor) -> Tensor:
        shown = coalitions.double()
        weights = torch.exp(-(1 - shown.mean(1).sqrt()).square() / (2 * width**2))[:, None]
        # A coefficient for a constant, b, is had by taking the weighted means off
        shown = shown - (weights * shown).sum(0) / weights.sum()
        worths = worths - (weights[:, 0] * worths).sum() / weights.sum()
        squares = shown.T @ (weights * shown) + ridge * torch.eye(shown.shape[1], dtype=torch.double)
        return torch.linalg.lstsq(squares, shown.T @ (weights[:, 0] * worths), driver="gelsd").solution

    return _values_of_segments(model, x, target, segments, baseline, draw, fit, chunk, generator, "LIME")


def kernel_shap(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    segments: Segments = None,
    baseline: float | Tensor = 0.0,
    samples: int = 200,
    paired: bool = True,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return KernelSHAP (Lundberg and Lee, 2017): Shapley values of the segments, by least squares on coalitions.

    .. math:: \min_\phi \sum_i \big(v(z_i) - v(0) - z_i \cdot \phi\big)^2
              \quad \text{so that} \quad \sum_j \phi_j = v(1) - v(0)

    The coalitions are drawn with probabilities in proportion to the Shapley kernel,

    .. math:: p(z) \propto \frac{d - 1}{\binom{d}{|z|} \, |z| \, (d - |z|)}, \quad 0 < |z| < d .

    On all coalitions with these weights, the result is exactly the Shapley values. With random coalitions it comes near
    them, and the sum always holds. ``paired`` adds the complement of each coalition (Covert and Lee, 2021), which as
    a rule makes the error smaller for the same number of passes, often by half.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        segments: whole numbers [N, H, W], or [H, W] for all, that say to which segment a pixel belongs; for texts
            [N, L] or [L]. Made by :func:`superpixels` unless given.
        baseline: what a hidden segment shows, in the units of ``x``: a number, a colour [C, 1, 1], a picture
            [C, H, W], or a picture for each, [N, C, H, W] (such as ``x`` blurred).
        samples: how many coalitions, beside none and all; one forward pass for each and each picture. More than there
            are segments.
        paired: draw half of the coalitions, and take the complement of each.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.
        generator: draws the coalitions, on the CPU; one with seed 0 unless given. Pictures with equally many segments
            get the same ones.

    Returns:
        Signed map [N, H, W], or [N, L], detached, at least float32, in logits: each pixel has its segment's value. The
        values of a picture's segments add up to its score less that of the baseline.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or segments are of another kind.
        ValueError: pictures, target, segments or another argument that cannot be used; the message names the cure.

    Source:
        Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", 2017; the pairs: Covert and Lee,
        "Improving KernelSHAP: Practical Shapley Value Estimation via Linear Regression", 2021.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> quarters = torch.arange(4).view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1)
        >>> x = torch.rand(1, 3, 8, 8)
        >>> values = attribution.kernel_shap(net, x, target=1, segments=quarters)[0, ::4, ::4]
        >>> gain = (net(x) - net(torch.zeros_like(x)))[0, 1]
        >>> bool((values.sum() - gain).abs() < 1e-5)
        True
    """
    check_count("samples", samples)

    def draw(players: int, source: torch.Generator) -> Tensor:
        _check_enough(samples, players)
        if players == 1:
            return torch.zeros(0, 1, dtype=torch.bool)
        size = torch.arange(1, players)
        chances = 1 / (size * (players - size))  # of a size; all coalitions of one size are equally likely
        count = -(-samples // 2) if paired else samples
        size = size[torch.multinomial(chances, count, replacement=True, generator=source)]
        order = torch.rand(count, players, generator=source).argsort(1).argsort(1)
        coalitions = order < size[:, None]
        return torch.cat([coalitions, ~coalitions])[:samples] if paired else coalitions

    def fit(coalitions: Tensor, worths: Tensor, empty: Tensor, whole: Tensor) -> Tensor:
        gain, players = whole - empty, coalitions.shape[1]
        # phi = gain / d + u, where u adds up to zero; so a row's mean may be taken off, and the shortest u has sum zero
        shown = coalitions.double()
        share = shown.mean(1, keepdim=True)
        rest = worths - empty - gain * share[:, 0]
        return gain / players + torch.linalg.lstsq(shown - share, rest, driver="gelsd").solution

    return _values_of_segments(model, x, target, segments, baseline, draw, fit, chunk, generator, "KernelSHAP")


def shapley_values(
    model: nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    segments: Segments = None,
    baseline: float | Tensor = 0.0,
    permutations: int | None = None,
    mirrored: bool = True,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return Shapley values of the segments (Shapley, 1953): what each adds, averaged over all orders of appearance.

    .. math:: \phi_j = \frac{1}{d!} \sum_{\text{orders}} \big(v(\text{those before } j, \text{ and } j)
              - v(\text{those before } j)\big)

    Without ``permutations`` the mean is over all orders, which takes the worths of all 2^d coalitions, and at most 12
    segments. Else it is over so many random orders (Castro et al., 2009). With ``mirrored`` every second order is the
    one before it, backwards (Mitchell et al., 2022). The sum is right in each way.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (the top class of each picture as it is), a class number, one for each
            picture, or a function of the logits that returns [N]; it is given the rows of many versions at once.
        segments: whole numbers [N, H, W], or [H, W] for all, that say to which segment a pixel belongs; for texts
            [N, L] or [L]. Made by :func:`superpixels` unless given: about 50, or 8 without ``permutations``.
        baseline: what a hidden segment shows, in the units of ``x``: a number, a colour [C, 1, 1], a picture
            [C, H, W], or a picture for each, [N, C, H, W] (such as ``x`` blurred).
        permutations: how many random orders; each costs a picture with d segments d - 1 forward passes. ``None`` takes
            all orders, with 2^d forward passes.
        mirrored: whether every second order is the one before it, backwards.
        chunk: how many pictures go through the network at once, which bounds the memory; as many as are fast unless
            given.
        generator: draws the orders, on the CPU; one with seed 0 unless given. Pictures with equally many segments get
            the same ones.

    Returns:
        Signed map [N, H, W], or [N, L], detached, at least float32, in logits: each pixel has its segment's value. The
        values of a picture's segments add up to its score less that of the baseline.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or target or segments are of another kind.
        ValueError: pictures, target, segments or another argument that cannot be used; the message names the cure.

    Source:
        Shapley, "A Value for n-Person Games", 1953; random orders: Castro, Gomez and Tejada, "Polynomial Calculation of
        the Shapley Value Based on Sampling", 2009; mirrored: Mitchell, Cooper, Frank and Holmes, "Sampling Permutations
        for Shapley Value Estimation", 2022.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> quarters = torch.arange(4).view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1)
        >>> x = torch.rand(1, 3, 8, 8)
        >>> exact = attribution.shapley_values(net, x, target=1, segments=quarters)
        >>> several = attribution.shapley_values(net, x, target=1, segments=quarters, permutations=400)
        >>> bool((exact - several).abs().max() < 0.1)
        True
    """
    if permutations is None:
        return _values_of_segments(
            model, x, target, segments, baseline, _all_coalitions, _exact_values, chunk, generator, "Shapley values", 8
        )
    check_count("permutations", permutations)
    ranks = {}  # for each number of players: the place of player j in order i, [permutations, players]

    def draw(players: int, source: torch.Generator) -> Tensor:
        count = -(-permutations // 2) if mirrored else permutations
        ranks[players] = torch.rand(count, players, generator=source).argsort(1)
        if mirrored:
            pairs = torch.stack([ranks[players], players - 1 - ranks[players]], 1)
            ranks[players] = pairs.flatten(0, 1)[:permutations]
        first = torch.arange(1, players)[:, None]  # the first 1, 2, ..., d - 1 of an order are shown
        return (ranks[players][:, None] < first).flatten(0, 1)

    def fit(coalitions: Tensor, worths: Tensor, empty: Tensor, whole: Tensor) -> Tensor:
        players = coalitions.shape[1]
        between = worths.view(permutations, players - 1)
        way = torch.cat([empty.expand(permutations, 1), between, whole.expand(permutations, 1)], 1)
        return way.diff(dim=1).gather(1, ranks[players]).mean(0)  # what j adds where it comes

    return _values_of_segments(model, x, target, segments, baseline, draw, fit, chunk, generator, "Shapley values")


def _all_coalitions(players: int, source: torch.Generator) -> Tensor:
    """Return all coalitions but none and all, [2^d - 2, d]; in row r + 1 bit j says whether j is shown."""
    if players > MOST_PLAYERS:
        raise ValueError(
            f"{players} segments have {2.0**players:,.0f} coalitions; for exact Shapley values give at most "
            f"{MOST_PLAYERS} segments, or take random orders with permutations=20, say."
        )
    return (torch.arange(1, 2**players - 1)[:, None] >> torch.arange(players)) & 1 == 1


def _exact_values(coalitions: Tensor, worths: Tensor, empty: Tensor, whole: Tensor) -> Tensor:
    """Return Shapley values [d] from the worths of all coalitions in the order of `_all_coalitions`."""
    players = coalitions.shape[1]
    worths = torch.cat([empty[None], worths, whole[None]])
    number = torch.arange(2**players)
    size = sum((number >> j) & 1 for j in range(players))
    # In 1 of d * binomial(d - 1, s) orders, the players before j are just these s
    chance = torch.tensor([1 / (players * math.comb(players - 1, s)) for s in range(players)] + [0.0])
    weights = chance.double()[size]
    # With j in it already, a coalition gains nothing, and the difference is zero
    return torch.stack([(weights * (worths[number | 1 << j] - worths)).sum() for j in range(players)])


def _values_of_segments(
    model: nn.Module,
    x: Tensor,
    target: Target,
    segments: Segments,
    baseline: float | Tensor,
    draw: Callable[[int, torch.Generator], Tensor],
    fit: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    chunk: int | None,
    generator: torch.Generator | None,
    what: str,
    count: int = 50,
) -> Tensor:
    """Return [N, H, W]: ask the network for worths, and give each pixel the value of its segment.

    Args:
        model, x, target, segments, baseline, chunk, generator: the caller's.
        draw: players, source of random numbers -> coalitions [M, players], bool.
        fit: coalitions, their worths [M], the worths of none and of all -> values [players]; in float64.
        what: the words on the bar.
        count: about how many superpixels, where segments have to be made.
    """
    with explaining(model), torch.no_grad():
        x = check_pictures(x, model)
        plain = baseline_like(baseline, x)
        segments = _numbered(superpixels(x, count) if segments is None else segments, x)
        source = source_of_noise(generator)
        start, coalitions = source.get_state(), []
        for players in (segments.flatten(1).amax(1) + 1).tolist():
            source.set_state(start)  # so that the other pictures of a batch do not matter
            none_and_all = torch.tensor([[False], [True]]).expand(-1, players)
            coalitions.append(torch.cat([none_and_all, draw(players, source)]))
        settled_target = settle_on_whole(model, x, target, chunk)
        worths = _worths(model, x, plain, segments, coalitions, settled_target, chunk, what)
        values = [fit(z[2:], v[2:], v[0], v[1]) for z, v in zip(coalitions, worths, strict=True)]
        found = torch.stack([v[s] for v, s in zip(values, segments.cpu(), strict=True)])
        return found.to(x.device, torch.promote_types(x.dtype, torch.float32))


def _worths(
    model: nn.Module,
    x: Tensor,
    plain: Tensor,
    segments: Tensor,
    coalitions: list[Tensor],
    settled_target: SettledTarget,
    chunk: int | None,
    what: str,
) -> list[Tensor]:
    """Return for each picture the worths of its coalitions [M, players], float64 [M], on the CPU."""
    counts = torch.tensor([len(z) for z in coalitions])
    most = max(z.shape[1] for z in coalitions)
    shown = torch.cat([F.pad(z, (0, most - z.shape[1])) for z in coalitions])
    pictures = torch.arange(len(x)).repeat_interleave(counts)
    worths = []
    for rows in in_chunks(len(shown), chunk, what, x):
        picture = pictures[rows].to(x.device)
        visible = shown[rows].to(x.device).gather(1, segments[picture].flatten(1)).view(-1, 1, *x.shape[2:])
        versions = torch.where(visible, x[picture], plain[picture])
        worths.append(scores_of(model, versions, of_rows(settled_target, picture)))
    found = torch.cat(worths)
    warn_if_rounded_away(model, found - found.mean(), found)
    return list(found.double().cpu().split(counts.tolist()))


def _numbered(segments: Segments, x: Tensor) -> Tensor:
    """Return segment numbers int64 [N, H, W], in each picture from 0 without gaps, after checking them."""
    try:
        given = torch.as_tensor(segments)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"The segments are a {type(segments).__name__}; give whole numbers {list(x[:, 0].shape)}."
        ) from None
    if given.is_floating_point() or given.is_complex():
        raise TypeError(f"The segments are {given.dtype}; give whole numbers, such as segments.long().")
    if given.shape not in (x[:, 0].shape, x[0, 0].shape):
        raise ValueError(
            f"The segments have shape {list(given.shape)}; give one number for each pixel, {list(x[:, 0].shape)}, or "
            f"{list(x[0, 0].shape)} for all {kind(x).one}s."
        )
    whole = given.long().to(x.device).broadcast_to(x[:, 0].shape)
    return torch.stack([one.unique(return_inverse=True)[1] for one in whole])


def _check_enough(samples: int, players: int) -> None:
    if samples <= players:
        raise ValueError(
            f"samples is {samples} for {players} segments, from which their values cannot be told: give more samples, "
            "ten for each segment, say, or fewer segments."
        )


def _check_positive(name: str, value: float, cure: str, *, zero: bool = False) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} is {value!r}; give a number, such as {cure}.")
