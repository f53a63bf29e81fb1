"""What looks wrong with the input of a network: kind of numbers, shape, channels, range, size, and the network's word.

Most mistakes in preprocessing raise no error: the network answers, and often even rightly. So they are looked for in
the numbers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from helpers import evaluation
from helpers.attribution._common import explaining, first_convolution, run

Channels = float | Sequence[float]
SLACK = 0.02  # of the way from black to white: rounding, and what a bicubic resize overshoots
NARROW = 0.6  # of the way from black to white: photographs go further than this


def inspect_input(
    x: object,
    model: nn.Module | None = None,
    *,
    mean: Channels | None = None,
    std: Channels | None = None,
    side: int | None = None,
) -> list[str]:
    """Return what looks wrong with a network's input, one sentence each; an empty list if nothing does.

    The looks are made for photographs, in a batch: a black picture, or one of a white wall, may get a sentence and be
    right. With ``mean`` and ``std`` each value is turned back into a share of the way from black, 0, to white, 1:
    values beyond that, or a batch that keeps to the middle of it, were made with other numbers. With ``model`` and
    three pictures or more it is tried whether the network is surer of its answers with red and blue exchanged. This is
    a weak test, as many answers hardly depend on the order of the colours. A sentence comes only where the 95 %
    interval of the mean difference lies above zero.

    Args:
        x: what you are going to give to the model; it should be a float tensor [N, C, H, W].
        model: the network.
        mean: what the network's recipe subtracts, for pixels from 0 to 1: a number, or one for each channel.
        std: what it divides by.
        side: for which height and width it was trained.

    Returns:
        Sentences, each with a cure. Where the kind or the shape is wrong, the values are not looked at.

    Raises:
        ValueError: one of ``mean`` and ``std`` is missing, or does not fit the channels, or ``std`` is not above 0.

    >>> import torch
    >>> from helpers.report import inspect_input
    >>> photograph = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    >>> inspect_input((photograph - 0.5) / 0.25, mean=0.5, std=0.25)
    []
    >>> inspect_input(255 * photograph, mean=0.5, std=0.25)
    ['The values go from 0 to 255: divide by 255, then subtract the mean and divide by the standard deviation.']
    """
    if (mean is None) != (std is None):
        raise ValueError("Give both mean and std, as the network's recipe has them for pixels from 0 to 1, or neither.")
    if std is not None and not (torch.as_tensor(std) > 0).all():
        raise ValueError(f"std is {std}, and a picture is divided by it: give numbers above 0.")
    if not isinstance(x, Tensor):
        return [f"This is a {type(x).__name__}: turn it into a float tensor [N, C, H, W] with the model's preprocess."]
    found = _kind(x, model) + _shape(x, model)
    if found:
        return found
    if not x.isfinite().all():
        return ["There are NaN or infinite values: look at where the pictures were divided or read."]
    found = _range(x, mean, std)
    if side and not 0.75 * side <= min(x.shape[2:]) <= max(x.shape[2:]) <= 1.5 * side:
        found.append(
            f"The pictures have {x.shape[2]} x {x.shape[3]} pixels, and the network was trained on {side} x {side}: "
            "resize them, or expect objects of an unusual size."
        )
    if not found and model is not None and x.shape[1] == 3 and len(x) >= 3:
        found += _colours(x, model)
    return found


def _kind(x: Tensor, model: nn.Module | None) -> list[str]:
    """Return what is wrong with the kind of numbers."""
    weights = next((p for p in model.parameters() if p.is_floating_point()), None) if model is not None else None
    due = torch.float32 if weights is None else weights.dtype
    if not x.is_floating_point():
        return [f"The values are {_short(x.dtype)}, whole numbers: write x.float() / 255, then normalise."]
    if x.dtype != due:
        return [f"The values are {_short(x.dtype)}, the network's weights {_short(due)}: write x.to({due})."]
    return []


def _shape(x: Tensor, model: nn.Module | None) -> list[str]:
    """Return what is wrong with the order and the number of the dimensions."""
    first = first_convolution(model) if model is not None else None
    without = model is not None and x.dim() == 4  # a network without convolutions takes what it takes
    due = first.in_channels if isinstance(first, nn.Conv2d) else x.shape[1] if without else 3
    shape, counts = list(x.shape), {1, 3, 4, due}
    if x.dim() == 3 and shape[0] in counts:
        return [f"The shape is {shape}, one picture without a batch: write x[None]."]
    if x.dim() == 3 and shape[2] in counts:
        return [f"The shape is {shape}, one picture with its channels last: write x.permute(2, 0, 1)[None]."]
    if x.dim() != 4:
        return [f"The shape is {shape}: give [N, C, H, W]."]
    if shape[1] not in counts and shape[3] in counts:
        return [f"The shape is {shape}, with the channels last: write x.permute(0, 3, 1, 2)."]
    if shape[1] == 1 and due == 3:
        return ["There is one channel, grey, and the network takes three: write x.expand(-1, 3, -1, -1)."]
    if shape[1] == 4 and due == 3:
        return [
            "There are four channels, the last one opacity: lay the picture on white and keep three (convert('RGB'))."
        ]
    if shape[1] != due:
        return [f"There are {shape[1]} channels, and the network takes {due}: use the preprocess that belongs to it."]
    return []


def _range(x: Tensor, mean: Channels | None, std: Channels | None) -> list[str]:
    """Return what is wrong with the range of the values."""
    low, high = x.amin().item(), x.amax().item()
    if low == high:
        return [f"All values are {low:.3g}: this is no picture."]
    after = "subtract the mean and divide by the standard deviation"
    whole = f"The values go from {round(low)} to {round(high)}: divide by 255, then {after}."
    if mean is None or std is None:
        if high > 20:
            return [whole]
        return ["The values keep within a hundredth: they may be divided by 255 twice."] * (high - low < 0.01)
    centre, width = _row(mean, x.shape[1]), _row(std, x.shape[1])
    pixels = (x.transpose(0, 1).flatten(1) * width[:, None].to(x) + centre[:, None].to(x)).double()  # [C, all pixels]
    darkest, brightest = pixels.amin().item(), pixels.amax().item()
    if high > 20 and brightest > 1 + SLACK:  # a recipe may take pixels from 0 to 255
        return [whole]
    raw = bool((centre / width).min() > 0.2) and low >= -SLACK and high <= 1 + SLACK
    if raw and high - low < 0.01:
        return ["The values keep within a hundredth: they are divided by 255 twice, or once too often."]
    if raw:
        return [f"The values go from {low:.2f} to {high:.2f}, as pixels do before they are normalised: {after}."]
    if darkest < -SLACK or brightest > 1 + SLACK:
        return [
            f"Turned back into pixels, the values go from {darkest:.2f} to {brightest:.2f}, beyond black (0) and white "
            "(1): they were normalised with other numbers, or twice."
        ]
    if brightest - darkest < NARROW:
        return [
            f"Turned back into pixels, the values go only from {darkest:.2f} to {brightest:.2f} of the way from black "
            "to white: they were normalised with other numbers, or divided by 255 twice."
        ]
    if len(pixels) == 3 and (pixels - pixels[0]).abs().max() < 1e-3:
        return ["All three channels are equal: right for grey pictures; if yours have colours, read them as RGB."]
    return []


def _colours(x: Tensor, model: nn.Module) -> list[str]:
    """Return a sentence if the network is surer of its answers with red and blue exchanged."""
    with explaining(model), torch.no_grad():
        sure, surer = (run(model, one).softmax(1).amax(1).log() for one in (x, x.flip(1)))
    gain = (surer - sure).double()
    if not gain.isfinite().all():
        return []
    middle, half = evaluation.interval(gain)
    if middle - half <= 0:
        return []
    return [
        f"With red and blue exchanged the network is surer of its answers on {int((gain > 0).sum())} of {len(x)} "
        "pictures: they may be in the order BGR, as OpenCV reads them; write x.flip(1) before normalising."
    ]


def _row(value: Channels, channels: int) -> Tensor:
    """Return one number for each channel."""
    row = torch.as_tensor(value, dtype=torch.float64).flatten()
    if len(row) not in (1, channels):
        raise ValueError(f"mean or std has {len(row)} numbers for {channels} channels; give one, or one for each.")
    return row.expand(channels)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
