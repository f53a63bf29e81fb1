"""Where the course lives and which world it runs in: shared settings, no network and no data here."""

import hashlib
import os
import platform
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ROOT / "datasets"
WORLDS = ("auto", "course", "public")
SHIFT = 1_000_003  # how far COURSE_SEED=1 moves a seed: further than any seeds of the course lie apart
_said: set[str] = set()


def setting() -> str:
    """Return the world asked for by ``COURSE_WORLD``: ``"auto"`` (default), ``"course"`` or ``"public"``.

    Raises:
        ValueError: ``COURSE_WORLD`` holds anything else.

    >>> from helpers.course import setting
    >>> setting() in ("auto", "course", "public")
    True
    """
    value = os.environ.get("COURSE_WORLD", "auto").strip().lower() or "auto"
    if value not in WORLDS:
        raise ValueError(f"COURSE_WORLD is {value!r}; set it to one of {', '.join(WORLDS)}.")
    return value


def seed_shift() -> int:
    """Return k of ``COURSE_SEED=k``, which moves every seed of a lesson; 0 unless it is set.

    Raises:
        ValueError: ``COURSE_SEED`` is not a whole number, 0 or more.

    >>> from helpers.course import seed_shift
    >>> seed_shift()
    0
    """
    value = os.environ.get("COURSE_SEED", "").strip() or "0"
    if not value.isdecimal():
        raise ValueError(f"COURSE_SEED is {value!r}; set it to a whole number, 0 or more.")
    return int(value)


def shift_seeds(k: int) -> None:
    """Give every seed another meaning in this session: the same seed gives other random numbers for every ``k``.

    ``make evidence`` runs each lesson with k = 0 to 9, to see which of its numbers are a matter of chance. Seeds of
    Python, NumPy and PyTorch are all moved, wherever they are set: in the data, in training, in the noise of a method,
    in a cell of the lesson. With k = 0 nothing changes.

    Args:
        k: a whole number, 0 or more.

    >>> from helpers.course import shift_seeds
    >>> shift_seeds(0)
    """
    import torch

    if k == 0 or torch.Generator.__name__ == "ShiftedGenerator":  # done already, by a set-up cell that was run before
        return

    class ShiftedGenerator(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            return super().manual_seed(seed + k * SHIFT)

    def shifted(set_seed: Callable, *, several: bool = False) -> Callable:
        def call(seed: object = None, *args: object) -> object:
            if seed is None or isinstance(seed, np.random.Generator | np.random.BitGenerator):
                return set_seed(seed, *args)
            return set_seed([*np.atleast_1d(seed), k] if several else seed + k * SHIFT, *args)

        return call

    torch.Generator = ShiftedGenerator
    torch.manual_seed = torch.random.manual_seed = shifted(torch.manual_seed)
    np.random.default_rng = shifted(np.random.default_rng, several=True)
    np.random.seed = shifted(np.random.seed)  # noqa: NPY002 - libraries that still use the global generator
    random.seed = shifted(random.seed)


def weights(name: str) -> Path:
    """Return the file of a course net's weights: in the folder ``COURSE_WEIGHTS`` if it has one, else the shipped one.

    ``make data SEED=1`` trains the nets anew, with other seeds and other pictures, and leaves their weights in such a
    folder. ``make evidence`` runs the lessons with them, to see which statements hold for more than one net.

    Args:
        name: of the net, such as "shapes_resnet".

    >>> from helpers.course import weights
    >>> weights("shapes_resnet").name
    'shapes_resnet.safetensors'
    """
    file, folder = f"{name}.safetensors", os.environ.get("COURSE_WEIGHTS")
    anew = Path(folder).expanduser() / file if folder else None
    return anew if anew and anew.is_file() else DATASETS / "weights" / file


def downloads() -> Path:
    """Return the folder for public data: ``COURSE_DATA`` if set, else ``datasets/downloads``.

    >>> import os
    >>> from helpers.course import downloads
    >>> downloads().name if "COURSE_DATA" not in os.environ else "downloads"
    'downloads'
    """
    return Path(os.environ.get("COURSE_DATA") or DATASETS / "downloads").expanduser()


def say_once(line: str) -> None:
    """Print a line the first time it comes up in this session, and never again.

    Args:
        line: what to print.

    >>> from helpers.course import say_once
    >>> say_once("No answer from the net.")
    No answer from the net.
    >>> say_once("No answer from the net.")
    """
    if line not in _said:
        _said.add(line)
        print(line)


def shipped_files() -> dict[str, bool]:
    """Return each file that the course ships, named from ``datasets/``, and whether it is here and whole.

    Whole means that its SHA-256 sum is the one in ``datasets/SHA256SUMS``.

    >>> from helpers.course import shipped_files
    >>> shipped_files()["weights/shapes_resnet.safetensors"]
    True
    """
    whole = {}
    for line in (DATASETS / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split(maxsplit=1)
        file = DATASETS / name
        whole[name] = file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == digest
    return whole


def begin() -> None:
    """Print in one line which world the lesson runs in, on what, and set the course's plotting style.

    >>> from helpers.course import begin
    >>> begin()
    World: ... | Python 3... | torch ... | device ... | ... threads
    """
    import torch

    from helpers import plotting
    from helpers.training import best_device

    shift = seed_shift()
    shift_seeds(shift)
    plotting.use_style()
    print(
        f"World: {setting()} | Python {platform.python_version()} | torch {torch.__version__.split('+')[0]} "
        f"| device {best_device()} | {torch.get_num_threads()} threads" + f" | seeds moved by {shift}" * (shift > 0)
    )
