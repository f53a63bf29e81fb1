"""The site: its pages are staged from the notebooks as saved; with COURSE_ALL=1 built, and walked in a browser."""

import functools
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from html.parser import HTMLParser

import nbformat
import pytest
import yaml

from helpers.course import ROOT
from tools import lessons
from tools.npm import fetch

DOCS = ROOT / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
slow = pytest.mark.skipif(os.environ.get("COURSE_ALL") != "1", reason="make test-all builds the site")


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "tools" / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_paper_of_further_reading_is_in_the_bibliography(site):
    known, missing = site.titles(), set()
    for path in lessons.paths():
        text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
        reading = re.search(r"Further reading(.*?)(?:\*\*Next|\Z)", text, re.S)
        for title in re.findall(r"(?<!\*)(?<!chapter )\*([^*\n]+)\*(?!\*)", reading[1] if reading else ""):
            if not site.key_of(title, known):
                missing.add(f"{path.stem}: {title}")
    assert not missing


def test_a_title_is_cited_also_without_its_subtitle(site):
    known = {"grad-cam: visual explanations": "selvaraju2017", "grad-cam++: generalized": "chattopadhay2018"}
    cited = site.cite("R. Selvaraju and others (2017): *Grad-CAM*. Not *this*, nor **Grad-CAM**.", known)
    assert cited == "R. Selvaraju and others (2017): *Grad-CAM* {cite:p}`selvaraju2017`. Not *this*, nor **Grad-CAM**."


def test_a_staged_page_has_alt_texts_files_for_its_pictures_and_a_folded_first_cell(site, tmp_path):
    for path in (lessons.path("cam"), lessons.path("exercises")):
        before = path.read_bytes()
        target = tmp_path / "notebooks" / path.name
        site.stage(path, target, site.titles())
        page = nbformat.read(target, as_version=4)
        code = [cell for cell in page.cells if cell.cell_type == "code"]
        assert "hide-input" in code[0].metadata.tags
        shown = [cell for cell in code if site.pictures(cell)]
        assert all(len(cell.metadata.mystnb["image"]["alt"]) > 10 for cell in shown)
        text = "\n".join(cell.source for cell in page.cells)
        assert "attachment:" not in text
        for name in re.findall(rf"\(({path.stem}_[^)]+)\)", text):
            assert (target.parent / name).stat().st_size > 1000
        assert path.read_bytes() == before


def test_terms_to_search_for_belong_to_one_lesson_each(site):
    terms = yaml.safe_load((DOCS / "search_terms.yml").read_text(encoding="utf-8"))
    assert set(terms) == set(lessons.ORDER)
    all_terms = [term.lower() for each in terms.values() for term in each]
    assert len(all_terms) == len(set(all_terms)) and not any("," in term or ";" in term for term in all_terms)
    assert site.entries("cam").startswith("```{index} ! CAM, ! class activation map")


def test_the_index_lists_every_page_of_docs_and_pages_that_exist():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    listed = [line for line in lines if line and line != "TOC" and not line.startswith(":")]
    for name in listed:
        places = [DOCS / f"{name}.md", ROOT / name, ROOT / f"{name}.ipynb"]
        assert any(place.is_file() for place in places), name
    unlisted = {path.stem for path in DOCS.glob("*.md")} - {"index", *listed}
    assert not unlisted, f"list {sorted(unlisted)} in docs/index.md"


def test_a_link_to_a_page_of_docs_leads_there_on_the_site(site, tmp_path):
    path = tmp_path / "04_cam.ipynb"
    cells = [nbformat.v4.new_markdown_cell("[a](../docs/scoreboard.md), [b](05_grad_cam.ipynb)")]
    nbformat.write(nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell("1")]), path)
    site.stage(path, tmp_path / "out" / path.name, {})
    page = nbformat.read(tmp_path / "out" / path.name, as_version=4)
    assert page.cells[0].source == "[a](../scoreboard.md), [b](05_grad_cam.ipynb)"


def test_the_glossary_is_in_order():
    terms = re.findall(r"^(\S.*)\n  \S", (DOCS / "glossary.md").read_text(encoding="utf-8"), re.M)
    assert len(terms) > 15 and terms == sorted(terms, key=str.lower)


def test_the_glossary_calls_lessons_by_their_names():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    named = re.findall(r"\*(\w+)\*", " ".join(re.findall(r"\(([^()]*)\)$", text, re.M)))
    assert len(named) > 20 and set(named) <= set(lessons.ORDER)
    assert not re.search(r"\(\d\d[,)]", text)


def test_what_the_pages_import_is_there():
    """Names that the code on our pages takes from helpers and tools."""
    pages = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / room / "README.md" for room in ("helpers", "datasets"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    found = re.findall(r"\bfrom ((?:helpers|tools)[\w.]*) import (\w+(?:, \w+)*)", text)
    assert ("tools.scoreboard.scoreboard", "scoreboard") in found and len(found) > 5
    for module, names in found:
        for name in names.split(", "):
            there = hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}")
            assert there, f"from {module} import {name}"
    rooms = {name for module, names in found if module == "helpers" for name in names.split(", ")}
    for room, name in re.findall(rf"(?<![\w./])({'|'.join(sorted(rooms))})\.([a-z]\w*)\(", text):
        assert hasattr(importlib.import_module(f"helpers.{room}"), name), f"{room}.{name}"


# --- make test-all ---


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("myst_nb")
    if not shutil.which("npm"):
        pytest.skip("npm, which fetches the icons and KaTeX, is not here")
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "tools.build_site", "--output", folder],
        capture_output=True,
        cwd=ROOT,
        encoding="utf-8",
    )
    assert run.returncode == 0, run.stdout + run.stderr  # a warning of Sphinx is an error
    return folder


SEARCHES = {  # what a reader types: the lesson that teaches it comes first
    "guided backprop": "saliency",
    "deep dream": "dream_and_inversion",
    "why is my heatmap wrong": "museum_of_wrong_maps",
    "deconvnet": "saliency",
    "Grad-CAM": "grad_cam",
    "class activation map": "cam",
    "integrated gradients": "better_gradients",
    "SmoothGrad": "better_gradients",
    "LRP": "relevance",
    "layer-wise relevance propagation": "relevance",
    "DeepLIFT": "better_gradients",
    "LIME": "lime_and_shap",
    "Shapley values": "lime_and_shap",
    "RISE": "occlusion",
    "Score-CAM": "gradient_free_cams",
    "Grad-CAM++": "cam_family",
    "TCAV": "concepts",
    "attention rollout": "transformers",
    "vision transformer": "transformers",
    "feature visualization": "feature_visualisation",
    "clever Hans": "the_tanks",
    "pointing game": "can_you_trust_it",
    "sanity checks": "faithfulness",
    "deletion and insertion": "faithfulness",
    "forward hook": "look_inside",
    "fine-tuning": "transfer_learning",
}


class Links(HTMLParser):
    """Collect where a page's links and pictures lead, and the names one can link to."""

    def __init__(self):
        super().__init__()
        self.targets, self.names, self.silent = [], set(), []

    def handle_starttag(self, tag, given):
        given = dict(given)
        self.names |= {given[key] for key in ("id", "name") if given.get(key)}
        self.targets += [given[key] for key in ("href", "src") if given.get(key)]
        if tag == "img" and not given.get("alt"):
            self.silent.append(given.get("src"))


def pages_of(folder):
    return sorted(
        path for path in folder.rglob("*.html") if "_static" not in path.parts
    )  # there: the theme's templates


@slow
def test_links_lead_somewhere_and_every_picture_has_words(built):
    pages = {}
    for path in pages_of(built):
        pages[path] = Links()
        pages[path].feed(path.read_text(encoding="utf-8"))
    for path, page in pages.items():
        assert not page.silent, f"{path.name}: {page.silent}"
        for target in page.targets:
            if re.match(r"(https?|mailto|data|javascript):|//", target):
                continue
            file, _, name = target.partition("#")
            aim = (path.parent / file.partition("?")[0]).resolve() if file else path
            assert aim.exists(), f"{path.name}: {target}"
            if name and aim in pages:
                assert name in pages[aim].names, f"{path.name}: {target}"


CUT_OFF = """[...document.querySelectorAll('div.cell_input pre')]
    .filter(one => one.offsetParent && one.scrollWidth > one.clientWidth + 1).length"""
WEIGHT = """performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
    .reduce((sum, one) => sum + one.decodedBodySize, 0)"""  # bytes, before compression


@pytest.fixture(scope="module")
def home(built):
    """The address of a plain server of the site."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@slow
@pytest.mark.parametrize("width", [1280, 390], ids=["desk", "phone"])
def test_every_page_loads_in_a_browser(built, home, browser, width):
    page, faults = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda request: request.url.startswith((home, "data:", "blob:")) or faults.append(request.url),
    )
    page.on("response", lambda response: response.status < 400 or faults.append(response.url))
    for path in pages_of(built):
        name = path.relative_to(built).as_posix()
        page.goto(home + name, wait_until="load")
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide on a screen of {width}"
        formulas = page.evaluate("document.querySelectorAll('.math').length")
        assert page.evaluate("document.querySelectorAll('.katex').length") >= formulas, name
        assert not page.evaluate("document.querySelectorAll('.katex-error').length"), name
        if width == 1280:
            assert page.evaluate(CUT_OFF) == 0, f"{name} has lines of code that are cut off"
            assert page.evaluate(WEIGHT) < 3e6 or name.startswith("playground"), name
        assert not faults, f"{name}: {faults}"
    page.close()


@slow
def test_the_search_finds_the_lesson_that_teaches_it_first(home, browser):
    page = browser.new_page()
    for query, lesson in SEARCHES.items():
        page.goto(home + f"search.html?q={query.replace('+', '%2B').replace(' ', '+')}")
        page.wait_for_selector("#search-results li a")
        first = page.locator("#search-results li a").first.get_attribute("href")
        assert lessons.path(lesson).stem in first, f"{query}: {first}"
    page.close()


@slow
def test_answers_are_printed_and_code_can_be_copied(home, browser):
    page = browser.new_page()
    page.goto(home + f"notebooks/{lessons.path('cam').stem}.html")
    folded = page.locator(".bd-article details:not([open]):not(.hide)")
    assert folded.count() > 5
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded.count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.count() > 5 and page.locator("button.copybtn").count() > 5
    assert "github.com" in page.locator("a.btn-source-edit-button").first.get_attribute("href")
    assert len(page.locator("meta[name=description]").get_attribute("content")) > 50
    assert page.locator("meta[property='og:image']").count() == 1
    page.close()


SHEETS = ("handout", "concept_test")  # to be handed out: one page of paper each
A4 = {"format": "A4", "margin": {side: "12mm" for side in ("top", "right", "bottom", "left")}}


@slow
@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_is_one_page_of_paper(home, browser, name):
    page, length = browser.new_page(), {}
    for one in (name, "schedules"):
        page.goto(home + f"{one}.html", wait_until="load")
        length[one] = len(re.findall(rb"/Type\s*/Page\b", page.pdf(**A4)))
    assert length[name] == 1 and length["schedules"] > 1, "the second is an ordinary page, which can be longer"
    page.close()


@slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_shuts_anybody_out(built, home, browser, scheme):
    """No violation that axe, a checker of accessibility, calls serious or critical."""
    with tarfile.open(fetch("axe-core@4")) as archive:
        axe = archive.extractfile("package/axe.min.js").read().decode()
    page, found = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme), []
    for path in pages_of(built):
        name = path.relative_to(built).as_posix()
        page.goto(home + name, wait_until="load")
        page.evaluate(axe)
        for fault in page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found.append(f"{name}: {fault['id']}, {len(fault['nodes'])} times: {fault['nodes'][0]['html'][:150]}")
    page.close()
    assert not found, "\n".join(found)
