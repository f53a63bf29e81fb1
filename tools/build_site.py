"""Build the course's site from the notebooks as they were saved: python -m tools.build_site [--output FOLDER].

Pages are staged in build/site/pages, with what a book needs and a notebook does not: alt texts where myst-nb looks for
them, citations behind the titles of papers, the set-up cell folded. No notebook is run, and the network is not used,
but once for the icons, the style of KaTeX, which sets the formulas, and onnxruntime-web, which npm fetches.
"""

import argparse
import base64
import html
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import nbformat
import yaml
from PIL import Image

from tools.bound_numbers import as_read
from tools.bound_numbers import plain as plain_text
from tools.lessons import name_of, paths
from tools.npm import fetch
from tools.playground.build import build as build_playground

ROOT = Path(__file__).resolve().parents[1]

DOCS = ROOT / "docs"
STAGE = ROOT / "build" / "site" / "pages"
TILE = 640  # pixels of a picture in the gallery: twice what is seen


def titles() -> dict[str, str]:
    """Return the keys of docs/references.bib by their papers' titles, in the form of :func:`plain`."""
    text = (DOCS / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"@\w+\{([\w-]+),.*?^  title = \{\{(.*?)\}\},$", text, re.M | re.S)
    return {plain(title): key for key, title in entries}


def plain(title: str) -> str:
    """Return a title as it is compared: in lower case, without quotation marks, braces and a full stop at its end."""
    return re.sub(r"[{}\"]|``|''", "", title).strip(" .").lower()


def key_of(title: str, known: dict[str, str]) -> str | None:
    """Return the key of a paper; its subtitle, or its title's end, may be missing."""
    title = plain(title)
    exact = {key for one, key in known.items() if title in (one, one.split(":")[0])}
    found = exact or {key for one, key in known.items() if one.startswith(f"{title} ")}
    return found.pop() if len(found) == 1 else None


def cite(text: str, known: dict[str, str]) -> str:
    """Put a citation behind each title in italics that references.bib has."""

    def cited(found: re.Match) -> str:
        key = key_of(found[1], known)
        return f"{found[0]} {{cite:p}}`{key}`" if key else found[0]

    return re.sub(r"(?<!\*)\*([^*\n]+)\*(?!\*)", cited, text)


def entries(name: str) -> str:
    """Return the entries of the index that lead to a lesson: the search shows them before all else."""
    terms = yaml.safe_load((DOCS / "search_terms.yml").read_text(encoding="utf-8")).get(name, [])
    return f"```{{index}} {', '.join(f'! {term}' for term in terms)}\n```" if terms else ""


def stage(path: Path, target: Path, known: dict[str, str]) -> None:
    """Write a notebook as a page."""
    target.parent.mkdir(exist_ok=True)
    notebook = as_read(nbformat.read(path, as_version=4))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[0].metadata["tags"] = [*code[0].metadata.get("tags", []), "hide-input"]
    for cell in code:
        for _, alt in pictures(cell):
            cell.metadata["mystnb"] = {"image": {"alt": alt}}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text, mark, reading = cell.source.partition("Further reading")
            cell.source = (text + mark + cite(reading, known)).replace("](../docs/", "](../")  # pages lie at the top
        for name, data in cell.pop("attachments", {}).items():  # pictures of the expected results
            (target.parent / f"{path.stem}_{name}").write_bytes(base64.b64decode(*data.values()))
            cell.source = cell.source.replace(f"attachment:{name}", f"{path.stem}_{name}")
    if path.parent.name == "notebooks":
        notebook.cells[0].source += f"\n\n{entries(name_of(path))}"
    nbformat.write(notebook, target)


def pictures(cell: nbformat.NotebookNode) -> list[tuple[bytes, str]]:
    """Return the pictures that a code cell shows, and what they show in words."""
    found = []
    for output in cell.outputs:
        for kind in ("image/png", "image/jpeg"):
            if kind in output.get("data", {}):
                found.append((base64.b64decode(output.data[kind]), output.metadata.get(kind, {}).get("alt", "")))
    return found


def gallery(lessons: list[Path]) -> str:
    """Return the landing page's tiles: of each lesson its title, its goal and its largest picture."""
    tiles = []
    for path in lessons:
        notebook = as_read(nbformat.read(path, as_version=4))
        header = notebook.cells[0].source
        title, goal = re.search(r"^# (.+)$", header, re.M)[1], re.search(r"^\*\*Goal\.\*\* (.+)$", header, re.M)[1]
        shown = [one for cell in notebook.cells if cell.cell_type == "code" for one in pictures(cell)]
        image = ""
        if shown:
            data, alt = max(shown, key=lambda one: len(one[0]))
            (STAGE / "_static" / "gallery").mkdir(exist_ok=True)
            small = Image.open(io.BytesIO(data)).convert("RGB")
            small.thumbnail((TILE, TILE))
            small.save(STAGE / "_static" / "gallery" / f"{path.stem}.jpg", quality=85)
            image = f'<img src="_static/gallery/{path.stem}.jpg" alt="{html.escape(alt)}" loading="lazy">'
        tiles.append(
            f'<a href="notebooks/{path.stem}.html">{image}<strong>{html.escape(title)}</strong>{html.escape(goal)}</a>'
        )
    return '<div class="gallery">\n' + "\n".join(tiles) + "\n</div>"


def unpack(package: str, files: str, target: Path) -> None:
    """Write those files of a package of npm whose paths match a pattern into a folder, without their first folders."""
    with tarfile.open(fetch(package)) as archive:
        for member in archive.getmembers():
            found = re.fullmatch(files, member.name)
            if found:
                path = target / found[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())


def katex(target: Path) -> None:
    """Write the style and the fonts of KaTeX into a folder; its script comes with sphinxcontrib-katex."""
    from sphinxcontrib.katex import katex_version

    unpack(f"katex@{katex_version}", r"package/dist/(katex\.min\.css|fonts/.*\.woff2)", target)


def icons(output: Path) -> None:
    """Give the theme its icons as a font of 0.3 MB, in place of a script of 1.6 MB that each page would load."""
    font = output / "_static" / "fontawesome"
    unpack("@fortawesome/fontawesome-free@6", r"package/(css/all\.min\.css|webfonts/.*\.woff2)", font)
    (output / "_static" / "scripts" / "fontawesome.js").write_text(
        'document.head.append(Object.assign(document.createElement("link"), {rel: "stylesheet", '
        'href: new URL("../fontawesome/css/all.min.css", document.currentScript.src)}));\n',
        encoding="utf-8",
    )


def example_report(output: Path) -> None:
    """Write the page that docs/projects.md shows: a report on the network of the project *handover*."""
    from helpers.report import load_any, write_report
    from tools.project_data import write

    with tempfile.TemporaryDirectory() as folder:
        drawn = write("handover", seed=0, to=Path(folder), count=6)
        network = load_any(f"{drawn / 'network.py'}:network")
        write_report(network, sorted((drawn / "yours").glob("*.png")), output / "example_report.html")


def main() -> None:
    """Stage the pages and build the site."""
    parser = argparse.ArgumentParser(description="Build the course's site.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site" / "html")
    output = parser.parse_args().output
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(DOCS, STAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for page in STAGE.glob("*.md"):  # on the site the lessons stand one level deeper, not beside
        page.write_text(plain_text(page.read_text(encoding="utf-8")).replace("](../", "]("), encoding="utf-8")
    (STAGE / "_static").mkdir(exist_ok=True)
    katex(STAGE / "_static" / "katex")
    shutil.copy(ROOT / "CITATION.cff", STAGE)
    shutil.copy(ROOT / "notebooks" / "figures" / "overview.jpg", STAGE / "_static" / "social.jpg")
    known = titles()
    for folder in ("notebooks", "solutions", "tools"):
        for path in sorted((ROOT / folder).glob("*.ipynb")):
            stage(path, STAGE / folder / path.name, known)
    lessons = paths()
    index = (STAGE / "index.md").read_text(encoding="utf-8").replace("GALLERY", gallery(lessons))
    (STAGE / "index.md").write_text(
        index.replace("TOC", "\n".join(f"notebooks/{path.stem}" for path in lessons)), encoding="utf-8"
    )
    shutil.copytree(
        ROOT / "notebooks" / "figures", STAGE / "notebooks" / "figures", ignore=shutil.ignore_patterns("SHA256SUMS")
    )
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", STAGE, output], check=True
    )
    icons(output)
    example_report(output)
    build_playground(output / "playground", of_site=True)  # in place of the page that navigation and search know
    print(f"The site: {output / 'index.html'}")


if __name__ == "__main__":
    main()
