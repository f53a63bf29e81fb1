"""Make slides of the lessons, from the notebooks as they were saved, that show without a network.

    python -m tools.slides                     all lessons, into build/slides
    python -m tools.slides cam grad_cam        these
    python -m tools.slides --output FOLDER     into a folder of your own, which may then be copied anywhere

What is shown is decided by rule, in slide_rules.py; what is left out of a text stands in the speaker's notes (press S).
reveal.js and MathJax lie beside the slides; npm fetches them at first use.
"""

import argparse
import re
import sys
import tarfile
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from nbconvert import SlidesExporter
from nbformat.v4 import new_markdown_cell, new_notebook

from tools.bound_numbers import as_read
from tools.lessons import chosen, paths
from tools.npm import fetch
from tools.slide_rules import slides

ROOT = Path(__file__).resolve().parents[1]

TEMPLATE = """{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
<script>
MathJax = {
  tex: {inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]], processEscapes: true},
  svg: {scale: 0.92},
  options: {enableMenu: false}
};
</script>
<script src="mathjax/tex-svg.js"></script>
{%- endblock -%}
{%- block html_head_css -%}<link rel="stylesheet" href="slides.css">{%- endblock -%}
{%- block footer_js -%}
<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>
<script>
function fit(slide) {  // a last resort: what is still too high gets smaller
  for (let size = 100; slide.scrollHeight > 720 && size > 85; size -= 5) slide.style.fontSize = size + "%";
}
Reveal.on("slidechanged", event => fit(event.currentSlide));
Promise.all([MathJax.startup.promise, Reveal.initialize({
  width: 1280, height: 720, margin: 0, center: false, hash: true, transition: "none", slideNumber: "c/t",
  controls: false,
  plugins: [RevealNotes]
})]).then(() => { fit(Reveal.getCurrentSlide()); document.body.dataset.ready = "yes"; });
</script>
{%- endblock -%}
"""

# Marks for the style: a slide of few words has larger letters, one with a table or a small picture smaller ones.
SIZES = {"large": '<div class="large"></div>', "medium": '<div class="medium"></div>', "": ""}

STYLE = """\
body .reveal { font: 32px/1.38 "Source Sans Pro", system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; }
.reveal .slides { text-align: left; }
.reveal .slides > section { height: 720px; padding: 0; }
.reveal .slides section section { height: 720px; padding: 32px 64px 20px; box-sizing: border-box; }
.reveal .slides section section:has(figure:not(.again)) { padding: 24px 16px 0; }
.reveal .slides section section:has(figure.alone) { padding: 8px 8px 0; }
.reveal .slides :is(.jp-Cell, .jp-InputArea, .jp-Cell-inputWrapper) { display: block; padding: 0; }
.reveal .slides :is(.jp-InputPrompt, .jp-Collapser) { display: none; }
.reveal .slides .jp-RenderedHTMLCommon { font: inherit; color: inherit; padding: 0; max-width: none; }
.reveal .slides .jp-RenderedHTMLCommon :is(h1, h2) { font-family: inherit; font-size: 1.3em; font-weight: 600;
  line-height: 1.2; color: #0b3d5c; margin: 0 0 .5em; text-transform: none; letter-spacing: 0; border: 0; }
.reveal .slides .jp-RenderedHTMLCommon h1 { font-size: 1.7em; }
.reveal .slides section section:has(figure:not(.again)) h2 { font-size: 28px; margin: 0 48px 12px; }
.reveal .slides .jp-RenderedHTMLCommon :is(p, ul, ol) { margin: 0 0 .6em; font-size: 1em; line-height: inherit; }
.reveal .slides .jp-RenderedHTMLCommon li { margin: 0 0 .25em; }
.reveal .slides .jp-RenderedHTMLCommon ul.options { list-style: none; padding-left: .2em; }
.reveal .slides .jp-RenderedHTMLCommon figure { margin: 0; }
.reveal .slides .jp-RenderedHTMLCommon figure img { display: block; margin: 0 auto; max-width: none; max-height: none;
  border: 0; }
.reveal .slides .jp-RenderedHTMLCommon figure.wide img { margin-bottom: 8px; }
.reveal .slides .jp-RenderedHTMLCommon figure.beside { float: left; margin-right: 36px; }
.reveal .slides .jp-RenderedHTMLCommon figure.again { float: left; width: 520px; margin: 0 40px 12px 0; }
.reveal .slides .jp-RenderedHTMLCommon figure.again:not(.above) ~ * { margin-left: 560px; }
.reveal .slides .jp-RenderedHTMLCommon figure.again.above { float: none; width: auto; margin: 0 0 12px; }
.reveal .slides .jp-RenderedHTMLCommon figure.again img { border: 1px solid #d5dade; }
.reveal .slides section section:has(.medium) { font-size: 29px; }
.reveal .slides .jp-RenderedHTMLCommon figcaption { font-size: 24px; line-height: 31px; margin: 0 48px; }
.reveal .slides .jp-RenderedHTMLCommon figcaption p { margin: 0 0 6px; }
.reveal .slides .jp-RenderedHTMLCommon figure.beside ~ figcaption { display: block; margin: 0; padding-right: 24px; }
.reveal .slides .jp-RenderedHTMLCommon .lead p { font-size: 24px; line-height: 31px; margin: 0 48px 6px; }
.reveal .slides .jp-RenderedHTMLCommon pre { font-size: 20px; line-height: 1.35; white-space: pre-wrap; margin: 0;
  box-shadow: none; background: #f3f5f7; padding: .6em .9em; width: 100%; box-sizing: border-box;
  overflow-wrap: anywhere; }
.reveal .slides .jp-RenderedHTMLCommon .highlight { margin: 0 0 .7em; background: none; }
.reveal .slides .jp-RenderedHTMLCommon code { font-size: max(.84em, 18px);
  overflow-wrap: anywhere; background: #f3f5f7; }
.reveal .slides .jp-RenderedHTMLCommon pre code { font-size: 1em; }
.reveal .slides .answer { border-left: 6px solid #0b3d5c; padding-left: .7em; overflow: hidden; margin: 0 0 .6em; }
.reveal .slides .answer p:last-child { margin: 0; }
.reveal .slides .fragment .answer { font-size: 28px; }
.reveal .slides mjx-container[display="true"] svg { max-width: 1160px; }
.reveal .slides section section:has(.large) { font-size: 38px; }
.reveal .slides .table { margin: 0 0 20px; }
.reveal .slides .table table { font-size: 1em; line-height: 1.3; border-collapse: collapse; margin: 0;
  table-layout: auto; color: inherit; }
.reveal .slides .table :is(th, td) { padding: 4px .55em; text-align: right; vertical-align: top; max-width: none;
  border: 0; border-bottom: 1px solid #d5dade; font-weight: 400; white-space: normal; background: none; }
.reveal .slides .table thead th { font-weight: 600; vertical-align: bottom; border-bottom: 2px solid #0b3d5c; }
.reveal .slides .table :is(th:first-child, .words) { text-align: left; }
.reveal .slides .table:not(.text) :is(.name, td:not(.words)) { white-space: nowrap; }
.reveal .slides .table.text :is(th, td) { text-align: left; }
.reveal .slides .table tr { background: none; }
.reveal .slides .table p.more { font-size: 20px; color: #444; margin: 6px 0 0; }
.reveal .slides p.printed { background: #f3f5f7; padding: .3em .7em; overflow: hidden; }
.reveal .slides .coloured { font-size: 26px; }
.reveal .slides .coloured [style*="font-size"] { font-size: 20px !important; }
.reveal .slides .coloured small { font-size: 20px; }
.reveal .slides .coloured p { line-height: 1.6; }
.reveal .slide-number { font-size: 18px; color: #444; background: none; right: 6px; bottom: 2px; }
"""


def staged(path: Path) -> nbformat.NotebookNode:
    """Return a notebook of slides, with the metadata that nbconvert reads; the lesson itself is left alone."""
    cells = []
    for slide in slides(as_read(nbformat.read(path, as_version=4)), path.parent):
        head = slide.title if slide.title.startswith("# ") else f"## {slide.title}"
        shown = [head] * (not slide.bare) + slide.shown + [SIZES[slide.letters]]
        cells.append(_cell("slide", "\n\n".join(shown)))
        cells += [_cell("fragment", text) for text in slide.then]
        spoken = "\n\n".join(note for note in slide.notes if note)
        cells += [_cell("notes", spoken)] * bool(spoken)
    notebook = new_notebook(cells=cells)
    notebook.metadata["title"] = path.stem
    return notebook


def _cell(kind: str, text: str) -> nbformat.NotebookNode:
    return new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}})


def convert(path: Path, folder: Path) -> Path:
    """Write the slides of one lesson into a folder, beside what they need; return the file."""
    exporter = SlidesExporter(extra_loaders=[DictLoader({"lesson.html.j2": TEMPLATE})], template_file="lesson.html.j2")
    exporter.reveal_url_prefix = "reveal"
    exporter.reveal_theme = "white"
    text, _ = exporter.from_notebook_node(staged(path), {"metadata": {"name": path.stem}})
    target = folder / f"{path.stem}.html"
    target.write_text(text, encoding="utf-8")
    return target


def ship(folder: Path) -> None:
    """Put reveal.js, MathJax and the style beside the slides."""
    wanted = {
        "reveal": (
            "reveal.js@5",
            r"package/(dist/(?:reveal\.(?:js|css)|theme/white\.css|theme/fonts/source.*)|plugin/notes/.*)",
        ),
        "mathjax": ("mathjax@3", r"package/es5/(tex-svg\.js)"),
    }
    for into, (package, pattern) in wanted.items():
        with tarfile.open(fetch(package)) as archive:
            for member in archive:
                found = re.fullmatch(pattern, member.name)
                if found and member.isfile():
                    target = folder / into / found[1]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())
    (folder / "slides.css").write_text(STYLE, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write the slides of the lessons named, or of all."""
    parser = argparse.ArgumentParser(description="Make slides of the lessons.")
    parser.add_argument("lessons", nargs="*", help="names of lessons, such as cam; without any, all")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "slides")
    options = parser.parse_args(arguments)
    wanted = chosen(paths(), options.lessons)
    options.output.mkdir(parents=True, exist_ok=True)
    ship(options.output)
    for path in wanted:
        print(convert(path, options.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
