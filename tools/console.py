"""What is printed on a console that is not UTF-8, as on Windows."""

import sys


def print_anything() -> None:
    """Let ``print`` write "?" for letters that the console does not have, where it would stop with an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's streams take every letter
            stream.reconfigure(errors="replace")
