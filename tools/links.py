"""Keep the course's own address the same everywhere: badges, first cells, README, citation, package, site, workflows.

    python -m tools.links                 make every copy equal to the setting
    python -m tools.links kim/my-course   change the setting, for a fork, and then every copy
    python -m tools.links --check         only say what differs; exit with 1 if anything does

The setting is ``repository-code`` in CITATION.cff. Each notebook also gets its line of badges and the first cell, which
is written in tools/first_cell.py. Outputs stay as they are.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.+$)(?!.*\.git$)[A-Za-z0-9._-]{1,100}")
SETTING = re.compile(r"^repository-code: https://github\.com/(\S+)$", re.M)
URLS = re.compile(r"^Repository = \"https://github\.com/([^\"]+)\"$", re.M)
BADGE = re.compile(r"\(https://colab\.research\.google\.com/github/([^/\s]+/[^/\s]+)/blob/main/notebooks/")
CLONE = re.compile(r"git clone -q --depth 1 https://github\.com/([^/\s\"]+/[^/\s\"]+)")
TEXT = {
    ".md",
    ".py",
    ".ipynb",
    ".toml",
    ".yml",
    ".yaml",
    ".json",
    ".cff",
    ".txt",
    ".rst",
    ".html",
    ".css",
    ".js",
    ".bib",
    "",
}
SKIPPED = {"build", "downloads", "node_modules", "__pycache__"}  # and whatever begins with a dot, but for these
HIDDEN = {".github", ".ci", ".pre-commit-config.yaml"}


def setting() -> str:
    """Return the ``owner/name`` that CITATION.cff gives.

    Raises:
        SystemExit: it gives none, or one that cannot be.
    """
    found = SETTING.search((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    if not found or not NAME.fullmatch(found[1]):
        raise SystemExit("CITATION.cff needs a line like this: repository-code: https://github.com/owner/name")
    return found[1]


COLLAPSED = {"jupyter": {"source_hidden": True}, "cellView": "form"}  # in JupyterLab, and on Colab


def files() -> Iterator[Path]:
    """Yield the text files of the repository that may hold an address."""
    for folder, folders, names in os.walk(ROOT):
        kept = [n for n in folders if n in HIDDEN or n not in SKIPPED and not n.startswith(".")]
        folders[:] = [n for n in kept if not n.endswith(".egg-info")]
        for name in sorted(names):
            if (name in HIDDEN or not name.startswith(".")) and Path(name).suffix in TEXT:
                yield Path(folder, name)


def notebooks() -> list[Path]:
    """Return the notebooks of the course: lessons, solutions, the explorer."""
    return [path for folder in ("notebooks", "solutions", "tools") for path in sorted((ROOT / folder).glob("*.ipynb"))]


def first_cell() -> str:
    """Return the source of the first code cell."""
    return (ROOT / "tools/first_cell.py").read_text(encoding="utf-8").partition("# %%\n")[2].strip("\n")


def badges(repository: str, name: str) -> str:
    """Return the line of badges above a notebook; a solution has those of the blank notebook of its name."""
    folder = "tools" if name == "explore.ipynb" else "notebooks"
    place = f"github.com/{repository}/blob/main/{folder}/{name}"
    return (
        "[![Open in Colab](../notebooks/figures/colab.svg)]"
        f"(https://{place.replace('github.com', 'colab.research.google.com/github', 1)}) "
        f"[![Open in Kaggle](../notebooks/figures/kaggle.svg)](https://kaggle.com/kernels/welcome?src=https://{place})"
    )


def own_names() -> set[str]:
    """Return every ``owner/name`` that stands where only the course's own can stand, whether right or left behind."""
    found = {
        setting(),
        *URLS.findall((ROOT / "pyproject.toml").read_text(encoding="utf-8")),
        *CLONE.findall(first_cell()),
    }
    for path in notebooks():
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        except (ValueError, KeyError, TypeError):
            raise SystemExit(f"{path.relative_to(ROOT)} cannot be read as a notebook; mend it first.") from None
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        found.update(BADGE.findall("".join(cells[0]["source"])) if cells else [])
        found.update(CLONE.findall("".join(code[0]["source"])) if code else [])
    return found


def readdress(text: str, names: set[str], repository: str) -> str:
    """Return a text in which each address of one of ``names`` (on GitHub, its pages, Colab, Binder) is the new one."""
    owner, _, project = repository.partition("/")
    for name in names - {repository}:
        was_owner, _, was_project = map(re.escape, name.partition("/"))
        end = r"(?![\w-]|\.(?!git\b)\w)"  # so that another/repository-2 is not taken for another/repository
        hosts = r"(github\.com[/:]|githubusercontent\.com/|/github/|/gh/)"
        text = re.sub(rf"{hosts}{was_owner}/{was_project}{end}", rf"\g<1>{repository}", text, flags=re.I)
        pages = rf"(?<![\w-]){was_owner}\.github\.io/{was_project}{end}"
        text = re.sub(pages, f"{owner.lower()}.github.io/{project}", text, flags=re.I)
    return text


def with_parts(text: str, name: str, repository: str, cell: str) -> str:
    """Return a notebook's file with the line of badges and the first cell, collapsed; unchanged text if it has them.

    A notebook that does not begin with a text cell, or has no code, is no lesson and stays as it is.
    """
    notebook = nbformat.reads(text, as_version=4)
    kinds = [cell.cell_type for cell in notebook.cells]
    if kinds[:1] != ["markdown"] or "code" not in kinds:
        return text
    header = notebook.cells[0]
    rest = header.source.split("\n\n", 1) if header.source.startswith("[![") else ["", header.source]
    source = "\n\n".join([badges(repository, name), *rest[1:]])
    code = next(c for c in notebook.cells if c.cell_type == "code")
    if (header.source, code.source) == (source, cell) and COLLAPSED.items() <= code.metadata.items():
        return text
    header.source, code.source = source, cell
    code.metadata.update(COLLAPSED)
    return nbformat.writes(notebook) + "\n"


def changes(repository: str) -> dict[Path, str]:
    """Return the files that differ from what the setting asks for, each with the text that it should have."""
    names = own_names()
    lessons = set(notebooks())
    cell = readdress(first_cell(), names, repository)
    differing = {}
    for path in files():
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        new = readdress(text, names, repository)
        if path in lessons:
            new = with_parts(new, path.name, repository, cell)
        if new != text:
            differing[path] = new
    return differing


def main(arguments: list[str] | None = None) -> int:
    """Write or check every address; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the course's own address the same everywhere.")
    parser.add_argument("repository", nargs="?", default="", help="owner/name on GitHub; without it, that of CITATION")
    parser.add_argument("--check", action="store_true", help="only say what differs; exit with 1 if anything does")
    options = parser.parse_args(arguments)
    if options.repository and not NAME.fullmatch(options.repository):
        raise SystemExit(f"{options.repository!r} is not owner/name as GitHub has it, such as kim/my-course.")
    repository = options.repository or setting()
    differing = changes(repository)
    for path, text in differing.items():
        if options.check:
            print(f"{path.relative_to(ROOT)} differs from what make links writes")
        else:
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
            print(f"wrote {path.relative_to(ROOT)}")
    return int(options.check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
