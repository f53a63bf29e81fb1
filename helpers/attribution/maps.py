"""From an attribution to a map that can be drawn: one value a pixel or word, and the size of the input."""

import torch.nn.functional as F
from torch import Tensor

_CHANNELS = {
    "max_abs": lambda a: a.abs().amax(1),
    "sum_abs": lambda a: a.abs().sum(1),
    "sum": lambda a: a.sum(1),
}
_LINEAR = {1: "linear", 2: "bilinear"}  # by the number of directions


def pixel_map(attribution: Tensor, how: str = "max_abs") -> Tensor:
    """Return one value for each pixel, [N, H, W], from an attribution [N, C, H, W]; for each word, [N, L], of texts.

    Args:
        attribution: signed values for each channel. One picture's, [C, H, W], would be read as C texts: ``a[None]``.
        how: ``"max_abs"`` (the largest size over channels; Simonyan et al., 2014), ``"sum_abs"``, or ``"sum"``,
            which keeps the sign.

    Raises:
        ValueError: another shape or another name.
    """
    if attribution.dim() not in (3, 4):
        raise ValueError(f"The attribution has shape {list(attribution.shape)}; give [N, C, H, W], or [N, C, L].")
    if how not in _CHANNELS:
        raise ValueError(f"pixel_map knows {', '.join(map(repr, _CHANNELS))}, not {how!r}.")
    return _CHANNELS[how](attribution)


def upsample(maps: Tensor, size: int | tuple[int, ...], *, align_corners: bool = False) -> Tensor:
    """Return maps [N, h, w] at the size of the picture, [N, H, W], bilinear; [N, l] of texts at theirs, [N, L], linear.

    The result has no more knowledge than the h x w values had; the smooth edges are interpolation. One map [h, w]
    would be read as h texts: give it as ``m[None]``, or at least a size of two numbers, with which it is an error.

    Args:
        maps: one map for each picture or text.
        size: (H, W), or one number for a square; (L,) or one number for texts.
        align_corners: where the values stand: ``False`` at the centres of their cells, so that the corners of pixels
            lie upon each other, ``True`` out to the picture's corners.

    Raises:
        ValueError: another shape, or a size that does not fit it.
    """
    directions = maps.dim() - 1
    size = (size,) * directions if isinstance(size, int) else tuple(size)
    if directions not in _LINEAR or len(size) != directions:
        raise ValueError(
            f"The maps have shape {list(maps.shape)}, the size is {size}; give [N, h, w] and (H, W), or [N, l] and "
            "(L,), one map as m[None]."
        )
    return F.interpolate(maps[:, None], size=size, mode=_LINEAR[directions], align_corners=align_corners)[:, 0]
