"""Numbers that a lesson's text quotes, bound to the run that they come from."""

import math

from torch import Tensor


def claim(name: str, value: float | Tensor, said: float, within: float, *, world: str = "course") -> None:
    """Compare a number that the text says with the one that this run gave, and print both.

    The text is about the course's own data and networks. With public ones a number may differ: then both are printed
    and nothing is raised.

    Args:
        name: what the number is, and its unit: "evidence on the sky, %".
        value: what this run gave; a number or a tensor that holds one.
        said: the number as it stands in the text. A test looks for it there, so write it as a plain number.
        within: how far the two may differ, in the same unit; 0 for a count.
        world: where the number comes from; ``classifier.world`` or ``digits.world`` in cells that run in both worlds.

    Raises:
        AssertionError: in the course world, the two differ by more than ``within``, or ``value`` is NaN.
        ValueError: ``within`` is negative or not finite.
    """
    if not 0 <= within < math.inf:
        raise ValueError(f"within is {within}; say how far {name!r} may differ from {said}, 0 or more.")
    value = float(value.detach() if isinstance(value, Tensor) else value)
    decimals = max(0, 1 - math.floor(math.log10(within))) if within else None
    found = f"{value:,.{decimals}f}" if within and math.isfinite(value) else f"{value:,.15g}"
    agree = abs(value - said) <= within * (1 + 1e-9)
    if not agree and world == "course":
        raise AssertionError(
            f"{name}: the text says {said:,}, this run gives {found}, and they may differ by {within:g}. If the run is "
            "right, correct the text."
        )
    other = "" if agree else " (the text is about the course's own world)"
    print(f"{name}: the text says {said:,}, this run {found}{other}.")
