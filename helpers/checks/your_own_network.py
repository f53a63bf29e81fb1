"""Checkers of lesson *your_own_network*: read the logits, find the last maps, name the fault, write a report."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from helpers.checks.core import NotAnswered, Wrong, ask, checker, name_the_mistake
from helpers.checks.traces import hooks_left, hooks_of


@checker
def check_logits_of(function: Callable[[Any], Tensor]) -> str:
    """Check ``function(output) -> [N, classes]`` on the kinds of output that networks give."""
    random = torch.Generator().manual_seed(22)
    logits, other = torch.randn(3, 5, generator=random), torch.randn(3, 8, generator=random)
    outputs = {
        "a tensor": logits,
        "a tuple (logits, features)": (logits, other),
        "a list [logits, features]": [logits, other],
        'a dict with "logits"': {"features": other, "logits": logits},
        'a dict with "scores"': {"features": other, "scores": logits},
        "an object with .logits": SimpleNamespace(features=other, logits=logits),
    }
    mistakes = {
        "these are the features; the logits are asked for.": other,
        "these are probabilities; return the logits as they are.": logits.softmax(1),
        "these are log-probabilities; return the logits as they are.": logits.log_softmax(1),
        "this is the first picture alone; keep the batch, [N, classes].": logits[0],
        "these are the numbers of the top classes; return all logits.": logits.argmax(1),
    }
    for kind, output in outputs.items():
        try:
            got = ask(function, output)
        except NotAnswered:
            if kind == "a tensor":
                raise
            raise Wrong(f"for {kind} your function returns nothing; the logits are in there.") from None
        except Wrong as wrong:
            raise Wrong(f"for {kind}, {wrong}") from wrong
        if got is output and not isinstance(output, Tensor):
            raise Wrong(f"for {kind} you return the whole output; take the logits out of it.")
        name_the_mistake(got, mistakes, logits, what=f"what you return for {kind}")
    return f"the logits come out of {len(outputs)} kinds of output, unchanged."


class _Odd(nn.Module):
    """A net whose modules are held in another order than they run, and which ends in maps of one place."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(6, 8, 1)  # runs last, on one place
        self.pool = nn.AvgPool2d(2)
        self.third = nn.Sequential(nn.Conv2d(5, 6, 3, padding=1), nn.ReLU())
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.pool(self.third(self.second(self.first(x)).relu()))
        return self.head(self.squeeze(maps.mean((2, 3), keepdim=True)).flatten(1))


class _Plain(nn.Module):
    """A net that ends in a pooling to 2 x 2 places and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
        self.pool = nn.AdaptiveMaxPool2d(2)
        self.fc = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.body(x)).flatten(1))


@checker
def check_last_maps(function: Callable[[nn.Module, Tensor], str]) -> str:
    """Check ``function(model, x [N, C, H, W]) -> name`` on two small nets, one of them in an odd order."""
    mistakes = {
        "squeeze": "its maps have one place; the last maps with more than one place are asked for.",
        "head": "it gives logits, and no maps of places.",
        "fc": "it gives logits, and no maps of places.",
        "pool": "it is a pooling, which holds fewer values than the layer before it.",
        "second": "it is the last layer that the network *holds*, and not the last one that *runs*.",
        "first": "it runs first; the last one is asked for.",
        "": "it is the network itself; a layer inside of it is asked for.",
    }
    answers = {_Odd: {"third", "third.1"}, _Plain: {"body", "body.3"}}
    for kind, right in answers.items():
        torch.manual_seed(22)
        net = kind().eval()
        before = hooks_of(net)
        got = ask(function, net, torch.rand(2, 3, 16, 16))
        if isinstance(got, nn.Module):
            got = next((name for name, module in net.named_modules() if module is got), got)
        if not isinstance(got, str) or got not in dict(net.named_modules()):
            raise Wrong(f"you return {got!r}, which is no name of a layer; take it from model.named_modules().")
        if got not in right:
            raise Wrong(f"you return {got!r}: {mistakes.get(got, 'other maps come after it.')}")
        if left := hooks_left(net, before):
            raise Wrong(f"the name is right, but {left[0]}")
    return "the last layer that runs and gives maps of more than one place, in both nets."


@checker
def check_place_of_the_fault(function: Callable[[], Tensor]) -> str:
    """Check ``function() -> bool [64, 64]``, exactly the pixels of the fault in the folder for practice."""
    got = ask(function)
    try:
        mask = torch.as_tensor(got)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"you return a {type(got).__name__}; give a bool tensor [64, 64].") from None
    if mask.shape != (64, 64):
        raise Wrong(f"the mask has shape {list(mask.shape)}; give [64, 64], one value for each pixel of a picture.")
    if mask.dtype != torch.bool:
        raise Wrong(f"the mask holds {mask.dtype}; give a bool tensor, True where the fault is.")
    truth = torch.zeros(64, 64, dtype=torch.bool)
    truth[-4:] = True
    found, area = (mask & truth).sum() / truth.sum(), mask.float().mean()
    if found < 0.1 and area < 0.5:
        where = [name for name, part in _edges().items() if (mask & part).sum() > 0.5 * mask.sum()]
        hint = f" It lies at the {where[0]} edge." if where else ""
        raise Wrong(
            f"nothing of the fault lies in this mask.{hint} Look where covering and exchanging change the answers."
        )
    if mask.all() or area > 0.5:
        raise Wrong(f"the mask covers {area:.0%} of the picture, which names no place; make it smaller.")
    if found < 1:
        raise Wrong(
            f"only {found:.0%} of the fault lies in this mask; count the darker rows again, which reach over the whole"
            " width of a picture."
        )
    if extra := int((mask & ~truth).sum()):
        raise Wrong(
            f"the fault is inside, but {extra} of {int(mask.sum())} pixels are too many: there the stars are as"
            " bright as the hearts."
        )
    return f"the fault is exactly this: the {int(mask.any(1).sum())} lowest rows, {area:.0%} of the picture."


def _edges() -> dict[str, Tensor]:
    parts = {}
    for name, rows, columns in (
        ("upper", slice(0, 12), slice(None)),
        ("left", slice(None), slice(0, 12)),
        ("right", slice(None), slice(52, None)),
    ):
        parts[name] = torch.zeros(64, 64, dtype=torch.bool)
        parts[name][rows, columns] = True
    return parts


@checker
def check_my_report(function: Callable[[Path], object]) -> str:
    """Check ``function(folder) -> path``, which writes a report into the folder and returns where."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        got = ask(function, folder)
        if not isinstance(got, str | Path):
            raise Wrong(f"you return a {type(got).__name__}; return the path that write_report gives.")
        path = Path(got)
        if not path.is_file():
            raise Wrong(f"there is no file {path.name}; return the path that write_report gives.")
        if folder.resolve() not in path.resolve().parents:
            raise Wrong("the page lies outside of the folder; write it to folder / 'report.html'.")
        text = path.read_text(encoding="utf-8")
    if "What may be concluded" not in text:
        raise Wrong("this is no page of helpers.report; let write_report write it.")
    pictures = text.count('<div class="maps">')
    if pictures < 4:
        raise Wrong(f"the report has {pictures} pictures; a mosaic takes four, so give four or more.")
    if "no mosaic has a question" in text:
        raise Wrong("all pictures got the same answer, so that no mosaic could be made; add pictures of another class.")
    passed, failed = (len(re.findall(f": {word}</b>", text)) for word in ("passed", "failed"))
    return f"{pictures} pictures; of the checks {passed} passed and {failed} failed. Read the verdicts before the maps."
