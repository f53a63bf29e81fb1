"""What to ask of a unit, and what to hold against a picture: plain functions that give one number a picture.

An objective takes what a layer gives, [N, K, h, w] or [N, K], and returns [N]. Any function that does so will do.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from helpers.attribution._common import wide

Objective = Callable[[Tensor], Tensor]
Numbers = int | Sequence[int] | Tensor


def channel(number: Numbers) -> Objective:
    """Return the objective "the mean of a channel over its map".

    Args:
        number: the channel, or one for each picture (a list, an array or a tensor).

    Returns:
        A function of maps [N, K, h, w] that returns [N].

    Raises:
        TypeError, ValueError: numbers that are no channels; later, an output that is no maps.

    >>> import torch
    >>> from helpers import synthesis
    >>> synthesis.channel(1)(torch.tensor([[[[5.0, 5.0]], [[1.0, 3.0]]]]))
    tensor([2.])
    """

    def mean_of_channel(output: Tensor) -> Tensor:
        maps = _maps(output, "channel")
        return maps[torch.arange(len(maps), device=maps.device), _numbers(number, maps, "channel")].mean((1, 2))

    return mean_of_channel


def neuron(number: Numbers, row: int | None = None, column: int | None = None) -> Objective:
    """Return the objective "one value of a channel", in the middle of its map unless a place is given.

    Args:
        number: the channel, or one for each picture (a list, an array or a tensor).
        row: of the place on the map, from the top; the middle unless given.
        column: of the place on the map, from the left; the middle unless given.

    Returns:
        A function of maps [N, K, h, w] that returns [N].

    Raises:
        TypeError, ValueError: numbers that are no channels, a place outside; later, an output that is no maps.

    >>> import torch
    >>> from helpers import synthesis
    >>> synthesis.neuron(0, row=0, column=1)(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([3.])
    """

    def one_value(output: Tensor) -> Tensor:
        maps = _maps(output, "neuron")
        middle = [side // 2 for side in maps.shape[2:]]
        place = [m if given is None else given for m, given in zip(middle, (row, column), strict=True)]
        if not all(-side <= p < side for p, side in zip(place, maps.shape[2:], strict=True)):
            raise ValueError(f"There is no place {tuple(place)} on maps of {tuple(maps.shape[2:])}; choose one inside.")
        return maps[torch.arange(len(maps), device=maps.device), _numbers(number, maps, "channel"), place[0], place[1]]

    return one_value


def logit(number: Numbers) -> Objective:
    """Return the objective "the score of a class", before any softmax.

    A softmax would also rise where the other classes fall, and has no slope once it is near 1 (Simonyan et al., 2014).

    Args:
        number: the class, or one for each picture (a list, an array or a tensor).

    Returns:
        A function of logits [N, classes] that returns [N].

    Raises:
        TypeError, ValueError: numbers that are no classes; later, an output that is no logits.

    >>> import torch
    >>> from helpers import synthesis
    >>> synthesis.logit([0, 2])(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    tensor([1., 6.])
    """

    def score_of_class(output: Tensor) -> Tensor:
        if output.dim() != 2:
            raise ValueError(f"logit() is about [N, classes], this is {list(output.shape)}: leave out the layer.")
        return output[torch.arange(len(output), device=output.device), _numbers(number, output, "class")]

    return score_of_class


def energy(output: Tensor) -> Tensor:
    """Return the mean square of what a layer gives, [N]: whatever it sees, more of it (Mordvintsev et al., 2015).

    Args:
        output: [N, ...].

    Returns:
        [N], in float32 at least.

    Raises:
        IndexError: a tensor of one dimension or none.

    >>> import torch
    >>> from helpers import synthesis
    >>> synthesis.energy(torch.tensor([[1.0, 3.0]]))
    tensor([5.])
    """
    return wide(output).flatten(1).square().mean(1)


def total_variation(x: Tensor, power: float = 2.0) -> Tensor:
    """Return how much each picture changes from pixel to pixel, [N] (Mahendran and Vedaldi, 2015).

    The mean of ``(down^2 + right^2)^(power / 2)`` over all pixels that have a neighbour below and on the right, where
    down and right are the differences to these; never across colours or pictures. Stripes of 0 and 1, one pixel wide,
    have 1 in either direction and for any power, a chessboard ``2^(power / 2)``.

    Args:
        x: pictures [N, C, H, W], at least two pixels in either direction.
        power: 1 lets edges stand and has no slope where a picture is flat, 2 prefers many small steps to a large one.

    Returns:
        [N], in float32 at least.

    Raises:
        ValueError: pictures of another shape.

    >>> import torch
    >>> from helpers import synthesis
    >>> stripes = torch.tensor([0.0, 1.0]).repeat(1, 1, 4, 2)
    >>> synthesis.total_variation(stripes), synthesis.total_variation(stripes.mT)
    (tensor([1.]), tensor([1.]))
    """
    if x.dim() != 4 or min(x.shape[2:]) < 2:
        raise ValueError(f"Total variation needs pictures [N, C, H, W] of two pixels or more, not {list(x.shape)}.")
    x = wide(x)
    here = x[:, :, :-1, :-1]
    down, right = x[:, :, 1:, :-1] - here, x[:, :, :-1, 1:] - here
    squares = down.square() + right.square()
    if power != 2:  # the power of zero has no slope to speak of, and gets none
        squares = squares.where(squares > 0, 1).pow(power / 2) * (squares > 0)
    return squares.mean((1, 2, 3))


def high_frequencies(x: Tensor, above: float = 0.25) -> Tensor:
    """Return the share of each picture's variance that lies in fine detail, [N], from 0 to 1.

    Args:
        x: pictures [N, C, H, W].
        above: fine is what repeats more often than this, in cycles per pixel; 0.5 is one pixel on, one off.

    Returns:
        [N], in float32 at least.

    Raises:
        ValueError: a picture of one colour, which has no variance; no pictures; ``above`` outside of 0 to 0.7.

    >>> import torch
    >>> from helpers import synthesis
    >>> stripes = torch.tensor([0.0, 1.0]).repeat(1, 1, 4, 2)
    >>> synthesis.high_frequencies(stripes)
    tensor([1.])
    """
    if not isinstance(x, Tensor) or x.dim() != 4 or not x.is_floating_point() or not x.isfinite().all():
        raise ValueError(
            "Fine detail is measured in pictures [N, C, H, W], floats without NaN; one picture is x[None]."
        )
    if not 0 <= above < 0.5**0.5:
        raise ValueError(f"above is {above}; give cycles per pixel, from 0 to less than 0.7, the finest there is.")
    x = wide(x)
    plain = (x.amax((2, 3)) == x.amin((2, 3))).all(1)
    if plain.any():
        number = int(plain.nonzero()[0])
        raise ValueError(f"Picture {number} has one colour, so it has no detail to take a share of; give another.")
    power = torch.fft.fft2(x).abs().square()
    power[..., 0, 0] = 0  # the mean
    down, right = (torch.fft.fftfreq(side, device=x.device) for side in x.shape[2:])
    fine = (down[:, None].square() + right.square()).sqrt() > above
    return (power * fine).sum((1, 2, 3)) / power.sum((1, 2, 3))


def _maps(output: Tensor, name: str) -> Tensor:
    if not isinstance(output, Tensor) or output.dim() != 4:
        given = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ValueError(f"{name}() is about maps [N, K, h, w], this layer gives {given}: see logit().")
    return output


def _numbers(given: Numbers, output: Tensor, what: str) -> Tensor:
    numbers = torch.as_tensor(given, device=output.device)
    count = output.shape[1]
    if numbers.is_floating_point() or numbers.dtype == torch.bool or numbers.dim() > 1:
        raise TypeError(f"Give a whole {what} number, or one for each picture, not {given!r}.")
    if numbers.dim() == 1 and len(numbers) != len(output):
        raise ValueError(f"{len(numbers)} {what} numbers for {len(output)} pictures; give one for each.")
    if (numbers < 0).any() or (numbers >= count).any():
        raise ValueError(f"There are {count} here, 0 to {count - 1}; {what} {given!r} is not among them.")
    return numbers.expand(len(output))
