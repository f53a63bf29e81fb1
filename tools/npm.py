"""Packages of npm that slides and site ship with themselves: fetched once, kept in build/npm."""

import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def fetch(package: str) -> Path:
    """Return the archive of a package, such as "mathjax@3"; npm fetches it at first use.

    Raises:
        SystemExit: npm is missing, or there is no network the first time.
    """
    kept = ROOT / "build" / "npm" / f"{package.replace(chr(47), chr(95))}.tgz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            try:
                subprocess.run(["npm", "pack", package, "--silent"], cwd=folder, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise SystemExit(f"{package} is needed, which npm fetches once: install npm ({error}).") from None
            next(Path(folder).glob("*.tgz")).replace(kept)  # whole or not at all
    return kept
