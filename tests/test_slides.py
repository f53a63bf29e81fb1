"""Slides: what is shown of a lesson, and where the rest goes; with COURSE_ALL=1 every deck in a browser."""

import os
import re
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import lessons, slide_rules, slides
from tools.bound_numbers import as_read

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
HEADER = """[![Open](x.svg)](https://example.org)

# 4 · Where did it look?

**Goal.** Spread a score.

**You will be able to** derive a map; prove it.

Reading 25 minutes · running 9 s · needs lesson *saliency*"""
LONG = "This sentence is shown. " + "Another one follows, and says more of the same. " * 12
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def printing(source, text="", **pictures):
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    for alt in pictures.values():
        outputs.append(new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": {"alt": alt}}))
    return new_code_cell(source, outputs=outputs, execution_count=1)


@pytest.fixture
def lesson(tmp_path):
    cells = [
        new_markdown_cell(HEADER),
        printing("import sys", "World: course"),
        new_markdown_cell(
            "First words.\n\n## A score has no place\n\n" + LONG + "See [lesson *grad_cam*](05_grad_cam.ipynb)."
        ),
        printing("net = load()"),
        printing("plot()", "3 of 4\n", one="A star"),
        new_markdown_cell("**Caption.** What the net is given. " + "And more of it, at length. " * 12),
        new_markdown_cell("> **Predict first.** Will it (a) stay, (b) move? Write your letter into the next cell."),
        new_markdown_cell("## Swap\n\nAverage:\n\n$$ y = \\sum_k w_k\n\n A_k $$\n\nRead it."),
        printing("y = f(x)\nassert_close(y, z)\nassert y > 0, 'no'", "off by 3e-06\n"),
        printing("assert y < 9", "a second check of this section\n"),
        new_markdown_cell("## Your turn\n\n**1.** Write `f`."),
        printing("cam.check_f(f)", "Not answered yet. Fill in.\n"),
        new_markdown_cell("<details><summary>Solution</summary>\n\n```python\nsecret = 1\n```\n\n</details>"),
        new_markdown_cell(
            "## Questions\n\n<details><summary>1. Why? (a) So. (b) Not so.</summary>\n\n**(b).** Since.\n\n"
            "</details>\n\n## Recap\n\n- **One.** Two.\n\n## Further reading\n\n- Zhou (2016)\n\n**Next.** More."
        ),
    ]
    path = tmp_path / "04_cam.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def shown(slide):
    return "\n".join([*slide.shown, *slide.then])


def test_what_is_shown_is_decided_by_rule(lesson):
    before = lesson.read_bytes()
    deck = slide_rules.slides(nbformat.read(lesson, as_version=4), lesson.parent)
    assert [slide.title for slide in deck] == [
        "# 4 · Where did it look?", "Where did it look?", "A score has no place", "A score has no place",
        "Predict first", "Swap", "Your turn", "Question 1", "Recap",
    ]  # fmt: skip
    opening, words, prose, figure, question, swap, turn, asked, recap = deck
    assert "- derive a map\n- prove it" in shown(opening) and "example.org" not in shown(opening)
    assert shown(words) == "First words."
    assert shown(prose).startswith("This sentence is shown.") and len(shown(prose)) <= slide_rules.ROOM
    assert "lesson *grad_cam*" in " ".join(prose.notes) and "05_grad" not in " ".join(prose.notes)
    assert 'alt="A star"' in shown(figure) and "What the net is given." in shown(figure)
    assert len(shown(figure).partition("<figcaption>")[2]) < 300
    assert "(b) move?" in shown(question)
    assert "<li>(a) stay,</li>" in shown(question) and "your letter" not in shown(question)
    assert "\\sum_k w_k\n\n A_k" in shown(swap), "a formula stays whole"
    assert "assert_close(y, z)\nassert y > 0" in shown(swap) and "off by 3e-06" in shown(swap)
    assert "y = f(x)" not in shown(swap)
    assert shown(turn) == "**1.** Write `f`." and "secret = 1" in "".join(turn.notes)
    assert "Since." in asked.then[0] and "Since." not in "".join(asked.shown)
    assert "**One.** Two." in shown(recap) and "More." in shown(recap) and "Zhou" not in shown(recap)
    assert not any(
        word in shown(slide) for slide in deck for word in ("World", "load()", "second check", "Not answered")
    )
    assert lesson.read_bytes() == before


def test_the_staged_copy_has_the_metadata_that_nbconvert_reads(lesson):
    notebook = slides.staged(lesson)
    nbformat.validate(notebook)
    kinds = [cell.metadata.slideshow.slide_type for cell in notebook.cells]
    assert set(kinds) == {"slide", "fragment", "notes"} and kinds[0] == "slide"


def test_sentences_are_cut_whole():
    text = "**One.** Two (J. Doe et al., 2016). It is $a. B$ and `c. D`. End?"
    assert slide_rules.sentences(text) == ["**One.**", "Two (J. Doe et al., 2016).", "It is $a. B$ and `c. D`.", "End?"]
    assert slide_rules.cut(text, 40) == ("**One.** Two (J. Doe et al., 2016).", "It is $a. B$ and `c. D`. End?")


def test_the_page_asks_for_nothing_beyond_its_folder(lesson, tmp_path):
    page = slides.convert(lesson, tmp_path).read_text(encoding="utf-8")
    loaded = re.findall(r"<(?:script|link)[^>]*(?:src|href)=\"([^\"]+)\"", page)
    assert loaded and not [one for one in loaded if re.match(r"https?:|//", one)]
    assert "@import" not in page and "cdnjs" not in page and "unpkg" not in page


def test_every_lesson_makes_a_deck_of_sensible_slides():
    for path in lessons.paths():
        deck = slide_rules.slides(as_read(nbformat.read(path, as_version=4)), path.parent)
        text = "\n".join(map(shown, deck))
        assert len(deck) >= 15, path.name
        assert "<figure" in text and "Recap" in [slide.title for slide in deck], path.name
        assert {"Predict first", "Your turn"} <= {slide.title for slide in deck}, path.name
        assert "<details" not in text and "BEGIN SOLUTION" not in text and "attachment:" not in text, path.name
        for slide in deck:
            words = re.sub(r"base64,[^\"]*|```.*?```", "", shown(slide), flags=re.S)
            assert len(words) < 1200, (path.name, slide.title)


@pytest.mark.skipif(os.environ.get("COURSE_ALL") != "1", reason="make test-all looks at the slides in a browser")
def test_every_deck_fits_and_loads_nothing_from_elsewhere(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no Chromium here")
    try:
        slides.main(["--output", str(tmp_path)])
    except SystemExit as missing:  # npm's packages, where they are not in build/ and the network is shut
        pytest.skip(str(missing))
    faults = []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        for deck in sorted(tmp_path.glob("*.html")):
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.on("console", lambda m, deck=deck: m.type == "error" and faults.append((deck.name, m.text)))
            page.on("pageerror", lambda error, deck=deck: faults.append((deck.name, str(error))))
            page.on("requestfailed", lambda r, deck=deck: faults.append((deck.name, r.url[:100])))
            page.on(
                "request",
                lambda r, deck=deck: r.url.startswith(("file:", "data:", "blob:")) or faults.append((deck.name, r.url)),
            )
            page.goto(deck.as_uri())
            page.wait_for_selector("body[data-ready=yes]")
            for number in range(page.evaluate("Reveal.getTotalSlides()")):
                page.evaluate(f"Reveal.slide({number}, 0, 99)")
                size, bottom, right, small = page.evaluate(MEASURE)
                if max(size, bottom) > 720 or right > 1280 or small:
                    faults.append((deck.name, number, size, bottom, right, small))
            assert page.locator("mjx-merror").count() == 0
            page.close()
    assert not faults, faults


MEASURE = """() => {
  const slide = Reveal.getCurrentSlide(), at = slide.getBoundingClientRect(), scale = Reveal.getScale();
  let bottom = 0, right = 0;
  for (const one of slide.querySelectorAll("h1, h2, p, li, img, pre, svg")) {
    const box = one.getBoundingClientRect();
    if (one.closest("aside, mjx-assistive-mml") || !box.width) continue;
    bottom = Math.max(bottom, (box.bottom - at.top) / scale);
    right = Math.max(right, (box.right - at.left) / scale);
  }
  return [slide.scrollHeight, bottom, right, parseInt(slide.style.fontSize || 100) < 75];
}"""
