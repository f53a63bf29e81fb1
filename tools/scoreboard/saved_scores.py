"""Scores kept on disk, a small file for each unit of work, so that an interrupted scoreboard goes on where it was.

A file's name ends in a hash of everything that its scores depend on: the network, pictures, target, masks, seed,
settings, this package's code. Whatever changes, another name is looked for, and what was kept under the old one rests.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers.attribution._common import score
from helpers.evaluation.localisation import Scores
from helpers.evaluation.methods import METHODS_AND_BASELINES
from tools.scoreboard.work_units import Asked, Unit

PLAIN = (str, int, float, type(None))
Done = Iterable[tuple[Unit, Scores]]


def resumed(
    folder: str | Path, asked: Asked, logits: Tensor, units: list[Unit], share: Callable[[list[Unit]], Done]
) -> Iterator[tuple[Unit, Scores]]:
    """Yield each unit with its scores: first those that the folder has, then the others, which it has from then on.

    Args:
        folder: made where it is not there. Several processes may use it at once.
        asked: what the units share.
        logits: [N, classes], what the network says about the pictures.
        units: the units that are wanted.
        share: does those that are missing, in any order.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {unit: folder / name for unit, name in _names(asked, logits, units).items()}
    found = {unit: _read(path) for unit, path in paths.items()}
    yield from ((unit, scores) for unit, scores in found.items() if scores is not None)
    for unit, scores in share([unit for unit, scores in found.items() if scores is None]):
        _write(paths[unit], scores)
        yield unit, scores


def _read(path: Path) -> Scores | None:
    """Return the scores in a file, or None where there is none, or a damaged one."""
    try:
        checksum, text = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    if checksum != _hash(path.name, text):
        return None
    return {key: torch.tensor(values, dtype=torch.float32) for key, values in json.loads(text).items()}


def _write(path: Path, scores: Scores) -> None:
    """Write a file at once: whoever is stopped half-way leaves none, and none is ever read half."""
    text = json.dumps({key: values.tolist() for key, values in scores.items()})  # floats come back to the last bit
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as file:
        file.write(f"{_hash(path.name, text)}\n{text}\n")
    Path(file.name).replace(path)


def _names(asked: Asked, logits: Tensor, units: list[Unit]) -> dict[Unit, str]:
    """Return the file names of the units. A unit's has nothing of other pictures in it: there may be more next time."""
    layers = [name for name, module in asked.model.named_modules() if module is asked.layer]
    settings = asked.version, asked.threads, asked.x.device.type, asked.seed, layers
    common = _hash(*settings, *_of_model(asked.model), *_of_target(asked, logits))
    scores = score(logits, asked.target) if callable(asked.target) else asked.target
    each = [asked.x, logits, scores, *asked.masks]
    chunks = {span: _hash(*(tensor[slice(*span)] for tensor in each)) for span in {unit[1:] for unit in units}}
    names = {}
    for unit in units:
        _, *passes = METHODS_AND_BASELINES[unit.row]
        key = _hash(common, *unit, *passes, chunks[unit[1:]])
        names[unit] = f"{re.sub(r'[^a-zA-Z]+', '_', unit.row).strip('_')}_{unit.first}_{key}.json"
    return names


def _of_model(model: nn.Module) -> Iterator[object]:
    """Yield what makes a network: its modules and their settings, its parameters and buffers.

    What its code does with them shows in the logits, which are in the key as well.
    """
    for name, module in model.named_modules():
        settings = {key: value for key, value in vars(module).items() if _plain(value) and key[0] != "_"}
        settings.pop("training", None)  # methods look at the network in eval() mode
        yield (name, type(module).__module__, type(module).__qualname__, sorted(settings.items()))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        yield from (name, tensor)


def _of_target(asked: Asked, logits: Tensor) -> Iterator[object]:
    """Yield what tells a function of the logits from others: its scores for drawn logits, small and large ones.

    Its code would not do. What it refers to may change behind an unchanged code, and no two Pythons write it alike.
    """
    if callable(asked.target):
        generator = torch.Generator().manual_seed(0)
        for scale in (1, 10, 100):
            drawn = scale * torch.randn(1000, logits.shape[1], generator=generator)
            yield score(drawn.to(logits), asked.target)


def _plain(value: object) -> bool:
    return all(map(_plain, value)) if isinstance(value, (tuple, list)) else isinstance(value, PLAIN)


def _hash(*parts: object) -> str:
    """Return a hash of words, numbers and tensors, each with its kind and size, so that none runs into the next."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            total.update(f"{part.dtype} {list(part.shape)}\n".encode())
            dense = part.detach().cpu().clone(memory_format=torch.contiguous_format)
            total.update(dense.flatten().view(torch.uint8).numpy())
        else:
            total.update(f"{part!r}\n".encode())
    return total.hexdigest()[:40]
