"""Where one descends: from which noise, between which bounds, on pixels or on frequencies, through which views."""

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.attribution._common import source_of_noise

Bounds = tuple[float | Tensor, float | Tensor]  # black and white, in the units that the network takes
View = Callable[[Tensor, torch.Generator], Tensor]  # pictures, source of chance -> the pictures as seen this time
SPACES = ("pixels", "fourier")
COLOURS = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])  # light, red or blue, green or not: at right angles
STRENGTHS = torch.tensor([1.0, 0.4, 0.25])  # of these in natural pictures, which differ mostly in light


def noise(
    count: int,
    size: tuple[int, int, int],
    bounds: Bounds = (0.0, 1.0),
    *,
    level: float = 0.05,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return ``count`` equal pictures of grey with a little Gaussian noise, [count, C, H, W], to start an ascent from.

    Equal, so that what differs in the end is what was asked for.

    Args:
        count: how many.
        size: (C, H, W).
        bounds: the values of black and of white in the units that the network takes; grey lies half way.
        level: standard deviation, as a share of the way from black to white.
        generator: draws the noise, on the CPU; one with seed 0 unless given.

    Returns:
        float32 [count, C, H, W], on the CPU.

    Raises:
        ValueError: no picture, or a size that is not (C, H, W).
        RuntimeError: bounds that do not broadcast to a picture, in PyTorch's words.

    >>> import torch
    >>> from helpers import synthesis
    >>> start = synthesis.noise(2, (3, 8, 8))
    >>> start.shape, bool((start[0] == start[1]).all())
    (torch.Size([2, 3, 8, 8]), True)
    """
    if count < 1 or len(size) != 3 or min(size) < 1:
        raise ValueError(f"Got count {count} and size {size}; give 1 or more pictures of the size (C, H, W).")
    generator = source_of_noise(generator)
    one = (0.5 + level * torch.randn(1, *size, generator=generator)).clamp(0, 1)
    low, high = (torch.as_tensor(bound, dtype=one.dtype).cpu() for bound in bounds)
    return (low + (high - low) * one).repeat(count, 1, 1, 1)


def limits(x: Tensor, bounds: Bounds) -> tuple[Tensor, Tensor]:
    """Return black, and white less black, as tensors that broadcast to ``x``.

    Args:
        x: pictures [N, C, H, W].
        bounds: values of black and of white, numbers or tensors that broadcast to the pictures.

    Raises:
        ValueError: two bounds that do not fit the pictures, or of which the first is not the smaller one.

    >>> import torch
    >>> limits(torch.rand(1, 3, 2, 2), (-1.0, 1.0))
    (tensor(-1.), tensor(2.))
    """
    try:
        low, high = (torch.as_tensor(bound).detach().clone().to(x) for bound in bounds)
        low.broadcast_to(x.shape), high.broadcast_to(x.shape)
    except (TypeError, ValueError, RuntimeError):
        fitting = f"two numbers, or two tensors that broadcast to {list(x.shape)}"
        raise ValueError(f"The bounds are the values of black and of white: give {fitting}.") from None
    if not (low < high).all():
        raise ValueError("The bounds are (black, white), and black is the smaller of the two: exchange them.")
    return low, high - low


def shares(x: Tensor, low: Tensor, way: Tensor) -> Tensor:
    """Return where the values of pictures lie between black, 0, and white, 1; what lies outside is cut off there.

    Args:
        x: pictures [N, C, H, W].
        low: black, from :func:`limits`.
        way: white less black.

    Warns:
        UserWarning: some values lie outside by more than a hundredth of the way.

    >>> import torch
    >>> shares(torch.tensor([[[[0.0, 3.0]]]]), *limits(torch.zeros(1, 1, 1, 2), (-1.0, 3.0)))
    tensor([[[[0.2500, 1.0000]]]])
    """
    u = (x - low) / way
    outside = ((u < -0.01) | (u > 1.01)).float().mean().item()
    if outside:
        warnings.warn(
            f"{outside:.0%} of the values lie outside of the bounds, black and white, and are cut off there: give "
            "bounds=classifier.bounds for pictures that a classifier has preprocessed.",
            stacklevel=4,
        )
    return u.clamp(0, 1)


class Space(NamedTuple):
    """Coordinates of pictures with values from 0 to 1."""

    encode: Callable[[Tensor], Tensor]  # pictures [N, C, H, W] -> coordinates
    decode: Callable[[Tensor], Tensor]  # back
    project: Callable[[Tensor], Tensor]  # coordinates -> the nearest that stand for a picture, in place


def space_of(name: str, size: torch.Size) -> Space:
    """Return the space of pictures of ``size`` = (H, W) that is called "pixels" or "fourier".

    In the Fourier space (Olah, Mordvintsev and Schubert, 2017) a coordinate is the strength of a wave, counted in steps
    that grow with its length, as the waves of natural pictures do; so a step moves broad areas rather than single
    pixels. Of three colours, light moves more than hue, for the same reason. A sigmoid keeps the values between 0 and
    1, where pixels are cut off.

    Args:
        name: "pixels" or "fourier".
        size: of the pictures, (H, W).

    Raises:
        ValueError: another name.

    >>> import torch
    >>> x, space = torch.rand(1, 3, 4, 6) * 0.9 + 0.05, space_of("fourier", (4, 6))
    >>> torch.allclose(space.decode(space.encode(x)), x, atol=1e-4)
    True
    """
    if name == "pixels":
        return Space(torch.clone, lambda v: v, lambda v: v.clamp_(0, 1))
    if name != "fourier":
        raise ValueError(f"space is {name!r}; it is one of {', '.join(SPACES)}.")
    height, width = size
    length = torch.fft.fftfreq(height)[:, None].square() + torch.fft.rfftfreq(width).square()
    hues = COLOURS / COLOURS.norm(dim=1, keepdim=True)
    step = 0.25 / length.sqrt().clamp(min=1 / max(height, width))[..., None]

    def encode(u: Tensor) -> Tensor:
        waves = torch.fft.rfft2(_mixed(u.clamp(0.01, 0.99).logit(), hues.T / STRENGTHS), norm="ortho")
        return torch.view_as_real(waves) / step.to(u)

    def decode(v: Tensor) -> Tensor:
        waves = torch.view_as_complex(v * step.to(v))
        u = _mixed(torch.fft.irfft2(waves, s=(height, width), norm="ortho"), STRENGTHS[:, None] * hues).sigmoid()
        return u.contiguous()  # the sum over colours leaves a layout that a network with x.view() would stumble over

    return Space(encode, decode, lambda v: v)


def _mixed(u: Tensor, weights: Tensor) -> Tensor:
    """Return pictures [N, 3, H, W] with their colours mixed by ``weights`` [3 from, 3 to]; others as they are."""
    return torch.einsum("nahw,ab->nbhw", u, weights.to(u)) if u.shape[1] == 3 else u


def random_view(shift: int = 0, turn: float = 0.0, zoom: float = 1.0) -> View:
    """Return a view that moves the pictures a little, anew at each call; all pictures of a batch alike.

    What a unit wants should not hang on single pixels, and what survives such moves does not (Olah et al., 2017).

    Args:
        shift: up to so many pixels up, down, left and right; what leaves on one side comes in on the other.
        turn: up to so many degrees either way.
        zoom: up to so many times larger or smaller, 1 or more.

    Returns:
        A function of pictures [N, C, H, W] and a generator on the CPU, to pictures of the same shape.

    Raises:
        ValueError: a shift or a turn below 0, a zoom below 1.

    >>> import torch
    >>> from helpers import synthesis
    >>> view = synthesis.random_view(shift=2)
    >>> x = torch.rand(1, 3, 8, 8)
    >>> bool(view(x, torch.Generator().manual_seed(0)).sum().isclose(x.sum()))  # nothing is lost
    True
    """
    if shift < 0 or not 0 <= turn < math.inf or not 1 <= zoom < math.inf:
        raise ValueError(f"Got shift {shift}, turn {turn}, zoom {zoom}; give 0 or more, 0 or more, 1 or more.")

    def view(x: Tensor, generator: torch.Generator) -> Tensor:
        down, right = torch.randint(-shift, shift + 1, (2,), generator=generator).tolist()
        angle, size = torch.rand(2, generator=generator) * 2 - 1  # drawn in any case: the same chance for each setting
        x = x.roll((down, right), (2, 3))
        if turn == 0 and zoom == 1:
            return x
        angle, size = torch.deg2rad(angle * turn), zoom**size
        aspect = x.shape[2] / x.shape[3]  # affine_grid counts in half sides, which differ where a picture is not square
        rows = [angle.cos(), -angle.sin() * aspect, 0], [angle.sin() / aspect, angle.cos(), 0]
        matrix = torch.tensor(rows, dtype=x.dtype, device=x.device) / size.item()
        grid = F.affine_grid(matrix.expand(len(x), 2, 3), x.shape, align_corners=False)
        return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False).contiguous()

    return view


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Return pictures blurred by a Gaussian, mirrored at the border.

    Args:
        x: pictures [N, C, H, W].
        sigma: standard deviation in pixels, above 0.

    Returns:
        In the shape of ``x``.

    >>> import torch
    >>> blurred(torch.ones(1, 3, 6, 6), 1.0).allclose(torch.ones(1, 3, 6, 6))
    True
    """
    reach = min(max(1, round(3 * sigma)), min(x.shape[2:]) - 1)
    weights = torch.exp(-torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device).square() / (2 * sigma**2))
    weights = (weights / weights.sum()).expand(x.shape[1], 1, -1)
    x = F.pad(x, [reach] * 4, mode="reflect")
    x = F.conv2d(x, weights[..., None], groups=x.shape[1])
    return F.conv2d(x, weights[:, :, None], groups=x.shape[1])
