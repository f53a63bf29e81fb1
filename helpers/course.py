"""Where the course lives and which world it runs in: shared settings, no network and no data here."""

import hashlib
import os
import platform
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ROOT / "datasets"
WORLDS = ("auto", "course", "public")
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

    plotting.use_style()
    print(
        f"World: {setting()} | Python {platform.python_version()} | torch {torch.__version__.split('+')[0]} "
        f"| device {best_device()} | {torch.get_num_threads()} threads"
    )
