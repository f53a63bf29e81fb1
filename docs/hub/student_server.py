"""What a student's server runs in place of jupyterhub-singleuser: it lays out the course in their home, then starts.

    ~/seeing-inside-cnns/helpers, datasets    links to the course that all share, read-only
    ~/seeing-inside-cnns/notebooks, tools     the student's own copies of the lessons and the explorer, made once

It runs with the student's own rights, so whatever lies in their home leads nowhere else. A file that is there is never
overwritten: a lesson that came later is added, a spoilt one comes back when the student deletes it and starts anew.
"""

import os
import shutil
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2]
NAME = "seeing-inside-cnns"


def lay_out(own: Path, shared: Path = SHARED) -> None:
    """Make the student's course folder ``own``, or add to it what it lacks."""
    for name in ("notebooks", "tools"):
        (own / name).mkdir(parents=True, exist_ok=True)
    for name in ("helpers", "datasets"):
        if not (own / name).is_symlink():  # the first cell of every lesson looks for helpers/ beside and above itself
            (own / name).symlink_to(shared / name)
    for path in [*sorted((shared / "notebooks").rglob("*")), *(shared / "tools").glob("explore.ipynb")]:
        mine = own / path.relative_to(shared)
        if path.is_dir():
            mine.mkdir(exist_ok=True)
        elif not mine.exists():
            shutil.copyfile(path, mine)  # without the shared file's rights: this one the student may write


def main() -> None:
    """Lay out the course and become the student's server."""
    own, temporary = Path.home() / NAME, Path.home() / ".cache" / "tmp"
    lay_out(own)
    temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)  # torch, when imported, makes a folder there whose name others could guess
    server = [sys.executable, "-P", "-m", "jupyterhub.singleuser", f"--ServerApp.root_dir={own}"]
    os.execv(sys.executable, [*server, *sys.argv[1:]])


if __name__ == "__main__":
    main()
