"""The file ``grades.csv``: a row for each entry of the folder, written whole after each student, and read again."""

import csv
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

FORMULA = tuple("=+-@'＝＋－＠")  # what a spreadsheet takes for the beginning of one, and the sign against it


def shown(text: str) -> str:
    r"""Return a text in one line, in which no two texts look the same.

    >>> print(shown("a\tb"), shown("k\udce4se"))  # a tab; a byte that is no UTF-8
    a\tb k\udce4se
    """
    return "".join(
        letter if letter.isprintable() and letter != "\\" else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def plain(text: str) -> str:
    """Return a text as it may stand in a table: in one line, and no spreadsheet takes it for a formula.

    >>> plain("=1+1"), plain("O'Hara")
    ("'=1+1", "O'Hara")
    """
    return f"'{line}" if (line := shown(text)).startswith(FORMULA) else line


class Table:
    """The grades in a file, and the file after each of them.

    Attributes:
        rows: the cells of each row by their columns, by the entry of the folder that they are about.
    """

    def __init__(self, file: Path, parts: Sequence[str], texts: Sequence[str] = (), key: str = "") -> None:
        """Read what stands in the file, or begin a table.

        Args:
            file: to write to.
            parts: names of the parts that score.
            texts: names of free texts; beside each there is an empty column for the level that a person gives it.
            key: of the lesson or exam, "x" and more; a version begins with it and "-", but for those of old tables.

        Raises:
            ValueError: the file is no table of these parts and this exam, or none can be written there.
        """
        self.file, self.parts, self.texts, self.rows = file, list(parts), list(texts), {}
        columns = [column for text in texts for column in (f"text {text}", f"level {text}")]
        self.columns = ["name", "file", *parts, "total", "not graded", *(f"why {part}" for part in parts), *columns]
        self.columns.append("version")
        away = "move it away, or give it another name, and start again."
        try:
            if not stat.S_ISREG(file.lstat().st_mode):
                raise ValueError(f"{file} is a folder, a link or the like, and no table: {away}")
            with file.open(newline="", encoding="utf-8-sig") as opened:
                rows = csv.DictReader(opened)
                known = list(rows)
            if rows.fieldnames != self.columns or any(None in (*row, *row.values()) for row in known):
                raise ValueError(f"{file} has other columns than this grading writes: {away}")
            versions = [row["version"] for row in known if row["version"].startswith("x")]
            if not all(version.startswith(f"{key}-") for version in versions):
                raise ValueError(f"{file} holds the grades of another exam: {away}")
            self.rows = {row["file"]: row for row in known}
        except FileNotFoundError:
            pass
        except (UnicodeDecodeError, csv.Error):
            raise ValueError(f"{file} is no table in UTF-8: {away}") from None
        except OSError as error:
            raise ValueError(f"{file} cannot be read ({error.strerror}).") from None
        try:
            self.write()
        except OSError as error:
            raise ValueError(f"{file} cannot be written ({error.strerror}): see to its folder.") from None

    def row(self, entry: str) -> dict[str, str]:
        """Return the row of an entry, its cells by their columns; empty if there is none."""
        return self.rows.get(plain(entry)) or self.rows.get(_without_slash(entry), {})

    def has(self, entry: str, version: str) -> bool:
        """Tell whether the grades of an entry are known, of this version of it."""
        return self.row(entry).get("version") == version

    def has_points(self, entry: str) -> bool:
        """Tell whether the row of an entry has points, computed or given by a person."""
        row = self.row(entry)
        return any(row.get(column) for column in (*self.parts, "total"))

    def put(
        self,
        name: str,
        entry: str,
        version: str,
        scores: dict[str, tuple[int, str]] | str,
        texts: Mapping[str, str] | None = None,
    ) -> None:
        """Write the row of an entry.

        Args:
            name: of the student.
            entry: of the folder.
            version: that :meth:`has` knows it by.
            scores: points of each part and the reason why there are none; or the reason why nothing was graded.
            texts: the free texts by their names; one that was not read stays as it is. A level that a person has
                given stays as long as the text does.
        """
        row = dict.fromkeys(self.columns, "") | {"name": plain(name), "file": plain(entry), "version": version}
        if isinstance(scores, str):
            row["not graded"] = plain(f"It {scores}.")
        else:
            row |= {part: str(points) for part, (points, _) in scores.items()}
            row |= {f"why {part}": plain(why) for part, (_, why) in scores.items()}
            row["total"] = str(sum(points for points, _ in scores.values()))
        before = self.row(entry)
        for text in self.texts:
            column, level = f"text {text}", f"level {text}"
            row[column] = before.get(column, "")
            if texts and text in texts:
                row[column] = plain(" ".join(texts[text].split()))
            if before.get(column) == row[column]:
                row[level] = before[level]
        if row["file"] not in self.rows:
            self.rows.pop(_without_slash(entry), None)
        self.rows[row["file"]] = row
        self.write()

    def write(self) -> None:
        """Write the file whole: there is the old one or the new one, whenever the machine stops.

        It keeps the mode of the old one; a new table is for its owner alone.
        """
        new = self.file.with_name(f".{self.file.name}.new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600, exist_ok=False)
        with new.open("w", newline="", encoding="utf-8-sig") as opened:  # by its mark Excel knows UTF-8
            rows = csv.DictWriter(opened, self.columns)
            rows.writeheader()
            rows.writerows(self.rows.values())
            opened.flush()
            os.fsync(opened.fileno())
        if self.file.exists():
            new.chmod(stat.S_IMODE(self.file.stat().st_mode))
        new.replace(self.file)


def _without_slash(entry: str) -> str:
    """Return what stands in older tables for the folder ``entry``, ``name/``: its name alone."""
    return plain(entry.removesuffix("/"))
