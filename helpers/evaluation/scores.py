"""Maps compared with masks and with each other: one number for each picture, and mean and interval over many.

What is said of pictures, maps [N, H, W] and pixels holds for texts, maps [N, L] and words. One map [H, W] that lacks
its batch dimension cannot be told from those of H texts: give it, and its mask, as ``m[None]``.
"""

import cv2
import numpy as np
import torch
from torch import Tensor


def check_maps(maps: Tensor, size: torch.Size | None = None) -> Tensor:
    """Return ``maps`` [N, H, W], or [N, L], detached, in float32 or float64, after checking them.

    Args:
        maps: one map a picture, or a text.
        size: what their shape must be, if that matters.

    Raises:
        TypeError: not a tensor of real numbers.
        ValueError: another number of dimensions, empty, of another size, or with values that are NaN or infinite.

    Returns:
        The maps, detached, in float32 or float64.

    >>> import torch
    >>> check_maps(torch.zeros(2, 4, 4, dtype=torch.float16)).dtype
    torch.float32
    """
    if not isinstance(maps, Tensor):
        raise TypeError(f"The maps must be a tensor, not {type(maps).__name__}; use torch.from_numpy.")
    if maps.is_complex() or maps.layout != torch.strided or maps.is_meta:
        kind = "on the meta device" if maps.is_meta else f"{maps.dtype}, {maps.layout}"
        raise TypeError(f"The maps are {kind}; give real numbers in an ordinary tensor.")
    if maps.dim() not in (2, 3) or not maps.numel() or (size is not None and maps.dim() != len(size)):
        due = "[N, H, W] for pictures or [N, L] for texts" if size is None else list(size)
        raise ValueError(
            f"The maps have shape {list(maps.shape)}; give {due}: pixel_map makes one map of channels, m[None] "
            "a batch of one map."
        )
    if size is not None and maps.shape != size:
        raise ValueError(
            f"The maps have shape {list(maps.shape)}, {list(size)} is needed: one map for each picture or "
            f"text, brought to its size with upsample(maps, {tuple(size[1:])})."
        )
    finite = torch.isfinite(maps.flatten(1)).all(1)
    if not finite.all():
        raise ValueError(
            f"The maps hold NaN or infinite values, the first in map {int((~finite).nonzero()[0])}; look at where they "
            "were divided."
        )
    return maps.detach().to(torch.promote_types(maps.dtype, torch.float32))  # a sum of halves would overflow


def constant(maps: Tensor) -> Tensor:
    """Return which maps [N, H, W] have one value everywhere, bool [N]; report how many there are.

    Args:
        maps: [N, H, W], or [N, L] for texts.

    Returns:
        bool [N].

    Raises:
        TypeError, ValueError: maps that cannot be scored.

    >>> import torch
    >>> from helpers import evaluation
    >>> evaluation.constant(torch.tensor([[[1.0, 1.0]], [[1.0, 2.0]]]))
    tensor([ True, False])
    """
    flat = check_maps(maps).flatten(1)
    return flat.amax(1) == flat.amin(1)


def mass_accuracy(maps: Tensor, masks: Tensor) -> Tensor:
    """Return how much of a map's positive part lies inside the mask (relevance mass accuracy; Arras et al., 2022).

    Negative values count as zero. With the mask of a distractor in place of the object's, this is the mass on the
    distractor, of which less is better. A map without a positive part has no score, since 0 would be the worst
    value for the object and the best one for the distractor. A constant positive map has the mask's own share of the
    picture.

    Args:
        maps: signed, [N, H, W], or [N, L] for texts.
        masks: bool, of the maps' shape, each with a pixel at least.

    Returns:
        Shares from 0 to 1, [N]; NaN where a map is nowhere positive.

    Raises:
        TypeError, ValueError: maps or masks that cannot be scored; the message names the cure.

    >>> import torch
    >>> from helpers import evaluation
    >>> maps = torch.tensor([[[3.0, 1.0], [0.0, -4.0]]])
    >>> masks = torch.tensor([[[True, False], [False, False]]])
    >>> evaluation.mass_accuracy(maps, masks)
    tensor([0.7500])
    """
    maps, masks = _checked(maps, masks)
    positive = maps.relu()
    positive = positive / positive.amax(1, keepdim=True)  # neither huge nor tiny values get lost in the sums; 0/0: NaN
    return (positive * masks).sum(1) / positive.sum(1)


def rank_accuracy(maps: Tensor, masks: Tensor) -> Tensor:
    """Return how many of a map's k highest values lie inside a mask of k pixels (rank accuracy; Arras et al., 2022).

    Only the order of the signed values counts. Of values that tie for the last places, each has the same chance of one:
    the score is the mean over all ways to break the tie. So it depends neither on chance nor on where ties lie, and a
    constant map has the mask's own share of the picture, what a guess has.

    Args:
        maps: signed, [N, H, W], or [N, L] for texts.
        masks: bool, of the maps' shape, each with a pixel at least.

    Returns:
        Shares from 0 to 1, [N].

    Raises:
        TypeError, ValueError: maps or masks that cannot be scored; the message names the cure.

    >>> import torch
    >>> from helpers import evaluation
    >>> maps = torch.tensor([[[3.0, 1.0], [0.0, -4.0]]])
    >>> masks = torch.tensor([[[True, False], [False, False]]])
    >>> evaluation.rank_accuracy(maps, masks)
    tensor([1.])
    """
    maps, masks = _checked(maps, masks)
    size = masks.sum(1)
    last = maps.topk(int(size.max()), dim=1).values.gather(1, size[:, None] - 1)  # faster than to sort all
    above, tied = maps > last, maps == last
    open_places = size - above.sum(1)
    return ((above & masks).sum(1) + open_places * (tied & masks).sum(1) / tied.sum(1)) / size


def pointing(maps: Tensor, masks: Tensor) -> Tensor:
    """Return whether a map's maximum lies inside the mask (the pointing game; Zhang et al., 2018).

    Of several equal maxima the share inside counts, which is the mean over all ways to choose one. A constant map has
    the mask's own share of the picture, what a guess has. The maximum seldom lies on a thin outline: fill its mask, see
    :func:`hull`.

    Args:
        maps: signed, [N, H, W], or [N, L] for texts.
        masks: bool, of the maps' shape, each with a pixel at least.

    Returns:
        0, 1, or between for ties, [N].

    Raises:
        TypeError, ValueError: maps or masks that cannot be scored; the message names the cure.

    >>> import torch
    >>> from helpers import evaluation
    >>> maps = torch.tensor([[[3.0, 1.0], [0.0, -4.0]]])
    >>> masks = torch.tensor([[[True, False], [False, False]]])
    >>> evaluation.pointing(maps, masks)
    tensor([1.])
    """
    maps, masks = _checked(maps, masks)
    highest = maps == maps.amax(1, keepdim=True)
    return (highest & masks).sum(1) / highest.sum(1)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two maps over their pixels, -1 to 1; equal values share their mean rank.

    Signs count; to compare without them, as Adebayo et al. (2018) also do, give ``a.abs()`` and ``b.abs()``.

    Args:
        a, b: maps [N, H, W] of the same pictures, or [N, L] of the same texts.

    Returns:
        [N], from -1 to 1; NaN where one of the two maps is constant: it has no order.

    Raises:
        TypeError, ValueError: maps that cannot be compared.

    >>> import torch
    >>> from helpers import evaluation
    >>> a = torch.tensor([[[1.0, 2.0], [3.0, 9.0]]])
    >>> evaluation.rank_correlation(a, -a).round(decimals=3)
    tensor([-1.])
    """
    a = check_maps(a)
    b = check_maps(b, a.shape).to(a)
    a, b = _ranks(a.flatten(1)), _ranks(b.flatten(1))
    a, b = (ranks / ranks.norm(dim=1, keepdim=True) for ranks in (a, b))  # constant: 0/0, NaN
    return (a * b).sum(1).clamp(-1, 1)


def _ranks(values: Tensor) -> Tensor:
    """Return the ranks of values [N, P] less their mean; equal values get the mean of their ranks."""
    ordered = values.sort(1).values
    below, up_to = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return ((below + up_to) - values.shape[1]).to(values.dtype)


def interval(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of independent values, and the half width of its 95 % interval, from Student's t distribution.

    Pictures are independent, scores of one picture under several seeds are not: average those first.

    Args:
        values: [N], or [N, ...] for an interval at each place, such as each point of a curve.

    Returns:
        Mean and half width, both of the shape of ``values[0]``.

    Raises:
        TypeError: no real numbers.
        ValueError: fewer than two values, or NaN or infinite ones among them.

    >>> import torch
    >>> from helpers import evaluation
    >>> mean, half = evaluation.interval(torch.tensor([0.4, 0.5, 0.6]))
    >>> f"{mean:.2f} ± {half:.2f}"
    '0.50 ± 0.25'
    """
    try:
        values = torch.as_tensor(values).detach()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"The values are a {type(values).__name__}; give one number for each picture, [N].") from None
    if values.is_complex():
        raise TypeError(f"The values are {values.dtype}; give real numbers, one for each picture, [N].")
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if values.dim() == 0 or len(values) < 2:
        raise ValueError(
            f"Values of shape {list(values.shape)} have no spread; give the scores of two pictures or more."
        )
    missing = values.isnan().flatten(1).any(1) if values.dim() > 1 else values.isnan()
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} of {len(values)} values are NaN, from maps that have no score: say how many, then "
            "give interval(values[~values.isnan()])."
        )
    if values.isinf().any():
        raise ValueError("Some of the values are infinite, and so have no mean: look at where they were divided.")
    from scipy.special import stdtrit  # only here: it takes a quarter of a second

    quantile = float(stdtrit(len(values) - 1, 0.975))
    return values.mean(0), quantile * values.std(0) / len(values) ** 0.5


def _checked(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps and masks as rows [N, H W], after checking them."""
    maps = check_maps(maps)
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool:
        given = masks.dtype if isinstance(masks, Tensor) else type(masks).__name__
        raise TypeError(f"The masks must be a bool tensor, not {given}; use torch.from_numpy, or masks > 0.")
    check_maps(maps, masks.shape)
    masks = masks.to(maps.device).flatten(1)
    if not masks.any(1).all():
        empty = int((~masks.any(1)).nonzero()[0])
        raise ValueError(f"Mask {empty} marks no pixel or word, so nothing can lie inside: leave out what has none.")
    return maps.flatten(1), masks


def hull(mask: np.ndarray) -> np.ndarray:
    """Return the filled convex hull of each mask, bool [H, W] or [N, H, W]; an empty mask stays empty.

    A ring has a hole where a coarse map peaks: its hull is the fairer target.

    Args:
        mask: bool, or numbers of which all but 0 count, [H, W] or [N, H, W].

    Returns:
        bool, in the shape of the mask.

    Raises:
        ValueError: the mask has neither two nor three dimensions.

    >>> import numpy as np
    >>> from helpers import evaluation
    >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> bool(evaluation.hull(ring).all())
    True
    """
    mask = np.asarray(mask, dtype=bool)
    if mask.ndim not in (2, 3):
        raise ValueError(f"hull takes a mask [H, W] or masks [N, H, W], not {list(mask.shape)}; index it first.")
    filled = np.atleast_3d(mask.astype(np.uint8).T).T.copy()
    for part in filled:
        if part.any():
            cv2.fillConvexPoly(part, cv2.convexHull(np.argwhere(part)[:, ::-1].astype(np.int32)), 1)
    return filled.astype(bool).reshape(mask.shape)
