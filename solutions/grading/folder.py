"""The entries of a folder that students handed in: which can be graded, with what, and why the others cannot."""

import hashlib
import os
import re
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

from grading.notebook import cells_of
from tools.lessons import ORDER, name_of

NOTEBOOK = re.compile(r"(.*?)\.ipynb(?:\.(?:txt|json))?", re.I | re.S)  # browsers and Windows add to a name
ARCHIVE = re.compile(r".*\.(zip|7z|rar|tar|t?gz|bz2|xz|tgz)", re.I | re.S)
TABLE = "grades.csv"
MOST_BYTES, MOST_FILES = 2 << 30, 10_000  # of one submission


class Submission(NamedTuple):
    """What one entry of the folder holds.

    Attributes:
        entry: its name in the folder; that of a folder ends in "/", so that no spreadsheet takes it for a number.
        notebook: the one notebook in it, or None.
        folder: that goes with the notebook, if one does.
        wrong: why it cannot be graded, in words that go on after its name; empty if it can.
    """

    entry: str
    notebook: Path | None = None
    folder: Path | None = None
    wrong: str = ""

    @property
    def cells(self) -> list[str]:
        """The notebook's code cells, read here and now without a limit; raises ValueError if it is no notebook."""
        return cells_of(self.notebook.read_bytes())

    def files(self) -> dict[str, Path]:
        """Return its files by their path inside of it; links, pipes and the like are left out.

        Raises:
            OSError: a part of it cannot be read.
            ValueError: there are too many, or they are too large.
        """
        if not self.folder:
            return {self.notebook.name: self.notebook}
        found = {}
        for parent, _, names in os.walk(self.folder, onerror=_raise):
            for path in (Path(parent, name) for name in names):
                if stat.S_ISREG(path.lstat().st_mode):
                    found[str(path.relative_to(self.folder))] = path
        if len(found) > MOST_FILES:
            raise ValueError(f"holds more than {MOST_FILES} files")
        return found

    def fingerprint(self) -> str:
        """Return a number that is another one as soon as any of its files is; raises as :meth:`files` does."""
        files, known = self.files(), hashlib.sha256()
        if sum(path.lstat().st_size for path in files.values()) > MOST_BYTES:
            raise ValueError(f"is larger than {MOST_BYTES >> 30} GB")
        for name, path in sorted(files.items()):
            with path.open("rb") as file:
                known.update(os.fsencode(name) + b"\0" + hashlib.file_digest(file, "sha256").digest())
        return known.hexdigest()

    def copy(self, to: Path, notebook: str) -> None:
        """Copy its files into a folder; a notebook that came without one gets the name ``notebook`` there."""
        for name, path in self.files().items():
            target = to / (name if self.folder else notebook)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target, follow_symlinks=False)


def submissions(folder: Path, notebook: str) -> dict[str, Submission]:
    """Return what each entry of a folder holds, by the student's name: that of the entry, without ``.ipynb``.

    Args:
        folder: with an entry for each student.
        notebook: the file name of the lesson or exam; a folder may hold other lessons beside it.

    Raises:
        ValueError: there is no such folder, or nothing in it.
    """
    found = {}
    try:
        names = sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        names = []
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror}): see to its permissions.") from None
    for entry in names:
        if entry in (TABLE, f".{TABLE}.new"):
            continue
        one = _look(folder / entry, name_of(Path(notebook)))
        short = its[1] if (its := NOTEBOOK.fullmatch(entry)) and not one.folder else entry
        found[entry if short in found or not short else short] = one
    if not found:
        raise ValueError(f"{folder} holds no submission: put name.ipynb or name/{notebook} there for each student.")
    return found


def _look(path: Path, lesson: str) -> Submission:
    """Return what an entry holds."""
    entry = path.name
    try:
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            return Submission(entry, wrong="is a link, and links are not followed")
        if entry.startswith("."):
            mac = "is what a Mac writes beside a file; the file itself is named without ._"
            return Submission(entry, wrong=mac if entry.startswith("._") else "begins with a dot, as hidden files do")
        if stat.S_ISDIR(kind):
            return _look_inside(path, lesson)
    except OSError as error:
        return Submission(entry, wrong=f"cannot be read ({error.strerror})")
    if not stat.S_ISREG(kind):
        return Submission(entry, wrong="is neither a file nor a folder")
    if NOTEBOOK.fullmatch(entry):
        return Submission(entry, path)
    if ARCHIVE.fullmatch(entry):
        return Submission(entry, wrong="is an archive: unpack it into a folder with the student's name")
    return Submission(entry, wrong="is no notebook: its name does not end in .ipynb")


def _look_inside(path: Path, lesson: str) -> Submission:
    entry = f"{path.name}/"
    inside = [one for one in sorted(path.iterdir()) if NOTEBOOK.fullmatch(one.name) and one.name[0] != "."]
    others = {*ORDER, "exam"} - {lesson}
    names = {one: name_of(Path(f"{NOTEBOOK.fullmatch(one.name)[1]}.ipynb")).lower() for one in inside}
    found = [one for one in inside if names[one] not in others] or inside
    if not found:
        what = "holds no notebook, only other things" if any(path.iterdir()) else "is an empty folder"
        return Submission(entry, wrong=what)
    if len(found) > 1:
        return Submission(entry, wrong=f"holds {len(found)} notebooks: leave the one that counts")
    if not stat.S_ISREG(found[0].lstat().st_mode):
        return Submission(entry, wrong="holds a notebook that is no file but a link, a folder or the like")
    return Submission(entry, found[0], path)


def _raise(error: OSError) -> None:
    raise error


def in_words(error: OSError | ValueError) -> str:
    """Return why a submission could not be read or copied, in words that go on after its name."""
    if not isinstance(error, OSError):
        return str(error)
    return f"cannot be read ({error.strerror})"
