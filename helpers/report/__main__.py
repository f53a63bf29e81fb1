"""``python -m helpers.report MODEL PICTURES``: one HTML page with maps, five checks and what may be concluded."""

import argparse
import sys
from pathlib import Path

from helpers.report.loading import TAKEN, Refused, find_pictures, load_any
from helpers.report.page import check_file, write_report


def numbers(text: str) -> list[float]:
    """Return the numbers of "0.485,0.456,0.406"."""
    return [float(part) for part in text.split(",")]


def names_in(file: str) -> list[str]:
    """Return the lines of a text file, without empty ones at its end."""
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").rstrip().splitlines()
    except OSError as error:
        raise Refused(f"The file of --classes, {file}, cannot be read: check the path.") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{file} is no text file in UTF-8: give --classes a file with a name on each line.") from error


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, and write the page.

    Raises:
        SystemExit: the network or the pictures are not taken; the sentence says what to do.
    """
    parser = argparse.ArgumentParser(prog="python -m helpers.report", description="Explain and check a network.")
    parser.add_argument("model", help=TAKEN)
    parser.add_argument("pictures", nargs="+", help="picture files, or folders of them")
    parser.add_argument("--to", default="report.html", help="where the page is written (report.html)")
    parser.add_argument("--layer", help="for Grad-CAM; the first of the layers that are proposed, unless given")
    parser.add_argument("--side", type=int, help="height and width that the network takes (224)")
    parser.add_argument("--mean", type=numbers, help="what is subtracted from pixels from 0 to 1: 0.485,0.456,0.406")
    parser.add_argument("--std", type=numbers, help="what they are divided by: 0.229,0.224,0.225")
    parser.add_argument("--classes", help="a text file with the name of a class on each line")
    parser.add_argument("--most", type=int, default=8, help="how many pictures at most (8)")
    given = parser.parse_args(arguments)
    try:
        check_file(given.to)
        names = names_in(given.classes) if given.classes is not None else None
        classifier = load_any(given.model, side=given.side, mean=given.mean, std=given.std, classes=names)
        files, left_out = find_pictures(given.pictures, given.most)
        say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
        page = write_report(classifier, files, given.to, layer=given.layer, left_out=left_out, say=say)
    except (Refused, ValueError, TypeError, OSError) as error:
        raise SystemExit(str(error)) from error
    print(f"Wrote {page}.")


if __name__ == "__main__":
    main()
