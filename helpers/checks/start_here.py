"""The checker of lesson *start_here*."""

from collections.abc import Callable

import torch

from helpers.checks.core import ask, checker, name_the_mistake


@checker
def check_accuracy(function: Callable) -> str:
    """Check a function from logits [N, classes] and labels [N] to the share of rows classified rightly."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 6, generator=generator)
    labels = torch.where(torch.rand(40, generator=generator) < 0.6, logits.argmax(1), torch.arange(40) % 6)
    right = logits.argmax(1) == labels
    share = right.float().mean()
    mistakes = {
        "this is how many are right; divide by how many there are": right.sum().float(),
        "this is a percentage; give a share between 0 and 1": 100 * share,
        "this is the share of wrong answers": 1 - share,
        "the largest entry is looked for down the columns: argmax(1) goes along each row": lambda: (
            (logits.argmax(0) == labels[:6]).float().mean()
        ),
        "argmin finds the class the net likes least": (logits.argmin(1) == labels).float().mean(),
    }
    name_the_mistake(ask(function, logits, labels), mistakes, share, what="the share")
    return f"on {len(labels)} made-up answers your function counts {share:.0%}, as it should."
