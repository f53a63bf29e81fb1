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
    r"""Return one value for each pixel, [N, H, W], from an attribution [N, C, H, W]; for each word, [N, L], of texts.

    .. math:: m_{ij} = \max_c |a_{cij}| \quad\text{or}\quad \sum_c |a_{cij}| \quad\text{or}\quad \sum_c a_{cij}

    Args:
        attribution: signed values for each channel. One picture's, [C, H, W], would be read as C texts: ``a[None]``.
        how: ``"max_abs"`` (the largest size over channels; Simonyan et al., 2014), ``"sum_abs"``, or ``"sum"``,
            which keeps the sign.

    Returns:
        A map [N, H, W], or [N, L], in the units of the attribution.

    Raises:
        ValueError: another shape or another name.

    Source:
        Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2014.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> attribution.pixel_map(torch.tensor([[[[1.0, -4.0]], [[-3.0, 2.0]]]]))
        tensor([[[3., 4.]]])
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

    Returns:
        Maps [N, H, W], or [N, L], in the units of ``maps``.

    Raises:
        ValueError: another shape, or a size that does not fit it.

    Source:
        ``torch.nn.functional.interpolate``, whose words for the two conventions these are.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> attribution.upsample(torch.tensor([[[0.0, 1.0]]]), (1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    directions = maps.dim() - 1
    size = (size,) * directions if isinstance(size, int) else tuple(size)
    if directions not in _LINEAR or len(size) != directions:
        raise ValueError(
            f"The maps have shape {list(maps.shape)}, the size is {size}; give [N, h, w] and (H, W), or [N, l] and "
            "(L,), one map as m[None]."
        )
    return F.interpolate(maps[:, None], size=size, mode=_LINEAR[directions], align_corners=align_corners)[:, 0]
