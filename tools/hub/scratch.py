"""The scratch environment of the hub: its packages and its proxy, in build/hub, which git ignores."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.hub.accounts import FIRST

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "hub"
PYTHON = FOLDER / "env" / "bin" / "python"
PROXY = FOLDER / "node_modules" / ".bin" / "configurable-http-proxy"
PROXY_VERSION = "5.3.0"
HUB = Path(__file__).with_name("requirements.txt")
SHARED = ("datasets", "docs", "helpers", "notebooks")  # what a student needs; no answers, no tests
WANTED = (ROOT / "requirements.txt", HUB)


def install() -> None:
    """Install the course's packages, jupyterhub and its proxy, unless they are there as they are wanted now.

    uv takes the course's packages from its cache by hard links: on one disk torch is not stored a second time. They
    are compiled now: students may not write there, and each of them would compile them anew at each start.

    Raises:
        SystemExit: npm is missing, or there is no network the first time.
    """
    stamp, wanted = FOLDER / "installed", "".join(file.read_text(encoding="utf-8") for file in WANTED) + PROXY_VERSION
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    python = next(filter(everybody_may_run, (Path(sys._base_executable), Path("/usr/bin/python3"))), None)
    if python is None:
        raise SystemExit("Students may not run this Python, which lies in a private folder: install Debian's python3.")
    if not shutil.which("npm"):
        raise SystemExit("The hub's proxy comes from npm, which is not here: install Node.js with npm.")
    print("Installing jupyterhub and configurable-http-proxy into build/hub, once ...", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    files = [word for file in WANTED for word in ("-r", file)]
    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--compile-bytecode", "--python", PYTHON]
    pins = ROOT / "docs" / "requirements.txt"  # nbgrader and what it needs, as everywhere else
    for command in (
        [python, "-m", "venv", "--without-pip", FOLDER / "env"],
        [*uv, *files, "-c", pins],
        ["npm", "install", "--silent", "--prefix", FOLDER, f"configurable-http-proxy@{PROXY_VERSION}"],
    ):
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(
                f"{Path(command[0]).name} failed, as it says above: see to the network, then run it again."
            )
    stamp.write_text(wanted, encoding="utf-8")


def everybody_may_run(python: Path) -> bool:
    """Tell whether a student's process may run a Python, and whether it is new enough."""
    wanted = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    try:
        return not subprocess.run([python, "-c", wanted], user=FIRST, cwd="/", check=False).returncode
    except OSError:
        return False


def versions() -> dict[str, str]:
    """Return the versions of what is measured."""
    names = ("jupyterhub", "jupyterlab", "jupyter_server", "torch", "torchvision")
    code = f"from importlib.metadata import version; print(*map(version, {names}))"
    told = subprocess.run([PYTHON, "-c", code], capture_output=True, check=True, encoding="utf-8").stdout.split()
    return dict(zip(names, told, strict=True)) | {"configurable-http-proxy": PROXY_VERSION}


def share(target: Path) -> None:
    """Copy the course to the folder that all students read and none may write.

    Its own modules are compiled for the same reason.
    """
    for name in SHARED:
        shutil.copytree(
            ROOT / name, target / name, ignore=shutil.ignore_patterns("downloads", "__pycache__", ".ipynb*")
        )
    subprocess.run([PYTHON, "-m", "compileall", "-q", target / "helpers"], check=True)
    for path in (target, *target.rglob("*")):
        os.chown(path, 0, 0)
        path.chmod(0o755 if path.is_dir() else 0o644)
