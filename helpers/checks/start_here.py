"""The checker of lesson *start_here*."""

from collections.abc import Callable

import torch

from helpers.checks.core import ask, checker, name_the_mistake


@checker
def check_accuracy(function: Callable) -> str:
    """Check a function from logits [N, classes] and labels [N] to the share of rows classified rightly."""
    generator = torch.Generator().manual_seed(11)  # the mean over classes is another number than the share
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
        "this is the mean probability of the label; count how often it is the largest": (
            logits.softmax(1).gather(1, labels[:, None]).mean()
        ),
        "this is the mean logit of the label; count how often it is the largest": (
            logits.gather(1, labels[:, None]).mean()
        ),
        "this counts labels whose logit is above zero; it has to be the largest of its row": (
            (logits.gather(1, labels[:, None]) > 0).float().mean()
        ),
        "this counts labels among the two largest; the largest alone is the answer": (
            (logits.topk(2, 1).indices == labels[:, None]).any(1).float().mean()
        ),
        "this is the loss; count how often the largest logit is that of the label": (
            torch.nn.functional.cross_entropy(logits, labels)
        ),
        "this is the mean of the classes' shares; count all rows alike": torch.stack(
            [right[labels == c].float().mean() for c in range(6)]
        ).mean(),
        "this is the mean over what the net answers (precision); count all rows alike": torch.stack(
            [right[logits.argmax(1) == c].float().mean() for c in range(6)]
        ).mean(),
        "you divide by the number of classes; divide by the number of rows": right.sum() / logits.shape[1],
        "argmin finds the class the net likes least": (logits.argmin(1) == labels).float().mean(),
    }
    name_the_mistake(
        ask(function, logits, labels),
        mistakes,
        share,
        what="the share",
        by=lambda logits, labels: (logits.argmax(1) == labels).float().mean(),
    )
    part = slice(5, 16)  # of these rows another share is right than of all, or of either half
    fewer = ask(function, logits[part], labels[part])
    name_the_mistake(fewer, {}, right[part].float().mean(), what="the share of other rows")
    return f"on {len(labels)} made-up answers your function counts {share:.0%}, as it should."
