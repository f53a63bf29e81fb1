"""From an attribution to a map that can be drawn: one value a pixel, and the picture's size."""

import torch.nn.functional as F
from torch import Tensor

_CHANNELS = {
    "max_abs": lambda a: a.abs().amax(1),
    "sum_abs": lambda a: a.abs().sum(1),
    "sum": lambda a: a.sum(1),
}


def pixel_map(attribution: Tensor, how: str = "max_abs") -> Tensor:
    """Return one value for each pixel, [N, H, W], from an attribution [N, C, H, W].

    Args:
        attribution: signed values for each channel.
        how: ``"max_abs"`` (the largest size over channels; Simonyan et al., 2014), ``"sum_abs"``, or ``"sum"``,
            which keeps the sign.

    Raises:
        ValueError: another shape or another name.
    """
    if attribution.dim() != 4:
        raise ValueError(f"The attribution has shape {list(attribution.shape)}; give [N, C, H, W].")
    if how not in _CHANNELS:
        raise ValueError(f"pixel_map knows {', '.join(map(repr, _CHANNELS))}, not {how!r}.")
    return _CHANNELS[how](attribution)


def upsample(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Return maps [N, h, w] at the size of the picture, [N, H, W]: bilinear, with the corners of pixels aligned.

    The result has no more knowledge than the h x w values had; the smooth edges are interpolation.

    Raises:
        ValueError: another shape.
    """
    if maps.dim() != 3:
        raise ValueError(f"The maps have shape {list(maps.shape)}; give [N, h, w], one map as m[None].")
    size = (size, size) if isinstance(size, int) else tuple(size)
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
