"""Slides: what is shown of a lesson, and where the rest goes; with COURSE_ALL=1 every deck in a browser."""

import functools
import html
import io
import os
import re
import shutil

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tools import lessons, slide_pictures, slide_rules, slide_tables, slides
from tools.bound_numbers import as_read
from tools.slide_pictures import Picture

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

SMALLEST = 18.0  # pixels
FIGURE = r'<figure class="([^"]*)"><img alt="([^"]*)" style="width: (\d+)px; height: \d+px" data-letters="([^"]*)"'


def printing(source, text="", table="", **pictures):
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    if table:
        outputs.append(new_output("execute_result", {"text/html": table}, execution_count=1))
    for alt in pictures.values():
        outputs.append(new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": {"alt": alt}}))
    return new_code_cell(source, outputs=outputs, execution_count=1)


def picture(width, height, *, rows=(), points=11.0):
    """Return a black picture; ``rows`` are white."""
    image = Image.new("RGB", (width, height))
    for row in rows:
        image.paste("white", (0, row, width, row + 6))
    file = io.BytesIO()
    image.save(file, "PNG")
    return Picture("image/png", file.getvalue(), "A star", points)


def frame(rows, columns):
    return pd.DataFrame([[10 * y + x for x in range(columns)] for y in range(rows)]).to_html()


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
        new_markdown_cell("> **Predict first.** Will `it` (a) *stay*, (b) move? Write your letter into the next cell."),
        printing("plot(again)", "moved by 7\n", one="A moved star"),
        new_markdown_cell("**Caption.** Drawn again. The net has moved it."),
        new_markdown_cell(
            "<details><summary>Compare with your prediction</summary>\n\n**(b).** It moved.\n\n</details>\n\n"
            "What came out is that it moved by 7."
        ),
        new_markdown_cell("## Swap\n\nAverage:\n\n$$ y = \\sum_k w_k\n\n A_k $$\n\nRead it."),
        printing("y = f(x)\nassert_close(y, z)\nassert y > 0, 'no'", "off by 3e-06\n"),
        printing("print(names)", "star     71\nring      8\n"),
        printing("loop()", "".join(f"step {i}\n" for i in range(40))),
        printing("score", table=frame(12, 2)),
        new_markdown_cell(
            "The next cell prints it. It is long. The table has twelve rows.\n\n| a | b |\n|---|---|\n| c | *d* |"
        ),
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


@functools.cache
def lesson_and_deck(name):
    path = lessons.path(name)
    notebook = as_read(nbformat.read(path, as_version=4))
    return notebook, slide_rules.slides(notebook, path.parent)


def marks(output):
    """Return what an output can be known by on a slide: a picture's alt text, or the first number of a table."""
    data = output.get("data", {})
    for kind in data:
        if kind.startswith("image"):
            return html.escape(output.metadata.get(kind, {}).get("alt", ""), quote=False).replace('"', "&quot;")
    if "text/html" in data:
        table = slide_tables.from_frame(data["text/html"])
        return table.shown if table else "coloured"
    return slide_tables.from_printed(output.text)[0] if output.output_type == "stream" else ""


def position(deck, wanted):
    return next(number for number, slide in enumerate(deck) if wanted(slide))


def shown(slide):
    return "\n".join([*slide.shown, *slide.then])


def test_what_is_shown_is_decided_by_rule(lesson):
    before = lesson.read_bytes()
    deck = slide_rules.slides(nbformat.read(lesson, as_version=4), lesson.parent)
    assert [slide.title for slide in deck] == [
        "# 4 · Where did it look?", "Where did it look?", "A score has no place", "A score has no place",
        "Predict first", "A score has no place", "Compare with your prediction", "Swap", "Swap", "Swap", "Your turn",
        "Question 1", "Recap",
    ]  # fmt: skip
    opening, words, prose, figure, question, moved, compared, swap, twelve, small, turn, asked, recap = deck
    assert "- derive a map\n- prove it" in shown(opening) and "example.org" not in shown(opening)
    assert shown(words) == "First words."
    assert shown(prose).startswith("This sentence is shown.") and len(shown(prose)) <= slide_rules.ROOM
    assert "lesson *grad_cam*" in " ".join(prose.notes) and "05_grad" not in " ".join(prose.notes)
    assert 'alt="A star"' in shown(figure) and "What the net is given." in shown(figure)
    assert "3 of 4" not in shown(figure) and "3 of 4" in " ".join(figure.notes), "no number before its picture"
    assert "(b) move?" in shown(question)
    assert "<li>(a) <em>stay</em>,</li>" in shown(question) and "your letter" not in shown(question)
    assert "**(b).**" not in shown(question) + shown(moved) and "moved by 7" not in shown(question) + shown(moved)
    assert 'alt="A moved star"' in shown(moved) and "The net has moved it." in shown(moved)
    assert 'alt="A moved star"' in shown(compared) and "**(b).** It moved." in shown(compared)
    assert "What came out is that it moved by 7." in shown(compared)
    assert "\\sum_k w_k\n\n A_k" in shown(swap), "a formula stays whole"
    assert "off by 3e-06" in shown(swap) and "<td>71</td>" in shown(swap)
    assert not re.search("assert|f\\(x\\)|step 3", "".join(map(shown, deck)))
    assert "step 39" in "".join(swap.notes), "what is long is for the speaker, whole"
    assert "<td>91</td>" in shown(twelve) and "<td>101</td>" not in shown(twelve)
    assert "and 2 more rows" in shown(twelve) and "<td>111</td>" in "".join(twelve.notes)
    assert "The table has twelve rows." in shown(twelve) and "next cell" in "".join(twelve.notes)
    assert "It is long." not in shown(twelve), "it leans on a sentence that is not shown"
    assert "| c | *d* |" in shown(small)
    assert shown(turn) == "**1.** Write `f`." and "secret = 1" in "".join(turn.notes)
    assert "Since." in asked.then[0] and "Since." not in "".join(asked.shown)
    assert "**One.** Two." in shown(recap) and "More." in shown(recap) and "Zhou" not in shown(recap)
    assert not any(word in shown(slide) for slide in deck for word in ("World", "load()", "Not answered"))
    assert lesson.read_bytes() == before


def test_the_size_of_letters_in_a_picture():
    assert slide_pictures.text_height(picture(1100, 400), 1100) == pytest.approx(11 * 110 / 72)
    assert slide_pictures.text_height(picture(1100, 400, points=8.5), 550) == pytest.approx(8.5 * 110 / 144)
    drawing = b'<svg width="720pt" height="360pt" viewBox="0 0 720 360"></svg>'
    assert Picture("image/svg+xml", drawing).size == (1100.0, 550.0)
    assert slide_pictures.POINTS == 11.0, "the smallest letters of the course's style"


@pytest.mark.parametrize(
    ("size", "rows", "needed", "roles"),
    [
        ((1152, 340), (), 150, ["wide"]),
        ((470, 493), (), 150, ["beside"]),
        ((998, 600), (), 390, ["alone"]),  # no room for so long a sentence below it
        ((888, 958), (470, 700), 150, ["wide", "wide"]),  # cut where its rows part
        ((888, 958), (20,), 150, ["alone"]),  # nothing to cut along
    ],
)
def test_a_picture_is_shown_so_that_its_letters_can_be_read(size, rows, needed, roles):
    ways = slide_pictures.arrange(picture(*size, rows=rows), needed)
    assert [way.role for way in ways] == roles
    small = [slide_pictures.text_height(way.picture, way.width) < SMALLEST for way in ways]
    assert any(small) == (rows == (20,))
    for way in ways:
        width, height = way.picture.size
        assert way.width <= 1264 and way.width * height / width <= 704


def test_tables_are_shown_as_tables():
    assert slide_tables.from_frame(frame(3, 2)).rows == [["0", "0", "1"], ["1", "10", "11"], ["2", "20", "21"]]
    named = pd.DataFrame([[1.0] * 14], index=["share"], columns=[f"integrated_gradients_{i}" for i in range(14)])
    turned = slide_tables.from_frame(named.to_html())
    assert turned.head == ["", "share", "", "share"] and len(turned.rows) == 7
    assert turned.rows[0] == ["integrated_gradients_0", "1.0", "integrated_gradients_7", "1.0"]
    grouped = pd.DataFrame({("net", "hit"): [1], ("net", "mass"): [2]}).to_html()
    assert slide_tables.from_frame(grouped).head == ["", "net hit", "net mass"]
    assert slide_tables.from_frame("<p>words</p>") is None
    assert 18 <= slide_tables.from_frame(frame(10, 12)).size <= 30


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("football helmet  16%\nbobsled          11%\n", "<td>16%</td>"),
        ("academic gown    24%\nmilitary uniform 18%\n", "<td>18%</td>"),
        ("box < other: 3.9\n", "box &lt; other: 3.9"),
        ("x\n" * 11, ""),
        ("Not answered yet. Fill in.\n", ""),
    ],
)
def test_what_was_printed_is_shown_whole_or_not_at_all(text, wanted):
    shown, high = slide_tables.from_printed(text)
    assert (wanted in shown) if wanted else shown == "" and high == 0


def test_a_column_of_pandas_is_shown_without_its_type():
    column = pd.Series([0.3, 40.1], index=["0.01", "1.00"], name="wrong by")
    cell = new_code_cell(
        "column", outputs=[new_output("execute_result", {"text/plain": repr(column)}, execution_count=1)]
    )
    (part,) = slide_rules._of_code(cell)
    assert part.kind == "table" and "<td>40.1</td>" in part.what and "dtype" not in part.what


def test_each_choice_of_a_question_stands_in_one_entry():
    made = slide_rules.options("What is f(x) here? (a) f(x) is 2. (b) *Three*. (c) f(a) is 4.")
    assert re.findall("<li>(.*?)</li>", made) == ["(a) f(x) is 2.", "(b) <em>Three</em>.", "(c) f(a) is 4."]


def test_a_command_of_one_line_is_shown_and_longer_code_is_noted(tmp_path):
    command = slide_rules._of_text("```bash\npython -m helpers.report <MODEL>\n```", tmp_path)
    assert command.kind == "printed" and "python -m helpers.report &lt;MODEL&gt;" in command.what
    assert slide_rules._of_text("```bash\none\ntwo\n```", tmp_path).kind == "aside"


def test_pictures_with_a_title_are_found_and_those_from_elsewhere_are_words(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    assert slide_rules._of_text('![a](x.png "the title")', tmp_path).kind == "figure"
    assert slide_rules._of_text("![a](https://example.org/y.png)", tmp_path).kind == "text"


@pytest.mark.parametrize(
    ("sides", "size"), [('width="72pt" height="36pt"', (110, 55)), ('width="720" height="36px"', (720, 36))]
)
def test_drawings_with_and_without_units_have_a_size(sides, size):
    assert Picture("image/svg+xml", f"<svg {sides}></svg>".encode()).size == pytest.approx(size)


def test_a_sentence_that_begins_with_a_number_may_break():
    sentence = "64% of the positive evidence lies in the quarters that show the class (chance: 50%)."
    table = slide_tables.Table(["method", "share", "found"], [["Grad-CAM", "64%", sentence], ["CAM", "5%", sentence]])
    assert f"<td class=words>{sentence}</td>" in table.shown and "<td>64%</td>" in table.shown


def test_a_cell_can_be_kept_off_the_slides(lesson):
    notebook = nbformat.read(lesson, as_version=4)
    whole = "".join(map(shown, slide_rules.slides(notebook, lesson.parent)))
    (drawn,) = [cell for cell in notebook.cells if cell.source == "plot()"]
    drawn.metadata["slideshow"] = {"slide_type": "skip"}
    deck = slide_rules.slides(notebook, lesson.parent)
    assert "A star" in whole and "A star" not in "".join(map(shown, deck))
    assert "What the net is given." not in "".join(map(shown, deck))
    assert "What the net is given." in "".join(note for slide in deck for note in slide.notes)


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


@pytest.mark.parametrize("name", lessons.ORDER)
def test_every_lesson_makes_a_deck_of_sensible_slides(name):
    _, deck = lesson_and_deck(name)
    text = re.sub(r"base64,[^\"]*", "", "\n".join(map(shown, deck)))
    assert len(deck) >= 15
    assert "<figure" in text and "Recap" in [slide.title for slide in deck]
    assert {"Predict first", "Your turn"} <= {slide.title for slide in deck}
    assert "<details" not in text and "BEGIN SOLUTION" not in text and "attachment:" not in text
    code = r"assert_close|`assert|\bassert [\w.]+ ?[.<>=([,]|next cell\b"
    assert not re.search(code, text)
    assert not re.search(r"```|\[\.\.\.\]| ?…(?:<|$)|<table(?!.*</table>)", text, re.M), "code, or output that is cut"
    for slide in deck:
        words = re.sub(r"<[^>]*>|^\|.*", "", shown(slide), flags=re.M)
        assert len(words) < 1200, slide.title
        rows = shown(slide).count("<tr>") + len(re.findall(r"^\|", shown(slide), re.M))
        assert rows <= slide_tables.ROWS + 3, slide.title


@pytest.mark.parametrize("name", lessons.ORDER)
def test_no_answer_stands_before_the_picture_that_shows_it(name):
    notebook, deck = lesson_and_deck(name)
    asked, outputs, questions = None, [], 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs += [marks(output) for output in cell.outputs if marks(output)]
            continue
        for block in slide_rules.blocks(slide_rules.plain(cell.source)):
            if "Predict first.**" in block:
                asked = re.split(r"\*\*\s|\(a\)", " ".join(block.replace("\n>", "").split()))[1].strip()
                outputs = []
            elif asked and re.match("<details><summary>Compare", block):
                answer = slide_rules.sentences(
                    re.sub(r",? as the next cell counts", "", " ".join(re.split("</?summary>", block)[2].split()))
                )[0]
                question = position(deck, lambda slide, asked=asked: asked[:60] in shown(slide))
                told = [i for i, slide in enumerate(deck) if answer in shown(slide) and slide.kind != "question"]
                told = next(i for i in told if i > question)
                seen = (
                    position(
                        deck[question:], lambda slide, outputs=outputs: any(one in shown(slide) for one in outputs)
                    )
                    + question
                )
                assert question < seen <= told, asked
                assert answer not in shown(deck[question]), asked
                assert re.search("<figure|<table|printed|coloured", "".join(deck[told].shown)), (
                    asked,
                    "not beside its picture",
                )
                assert seen < told or answer in "".join(deck[told].then), (asked, "not revealed later")
                questions += 1
                asked = None
    assert questions


@pytest.mark.parametrize("name", lessons.ORDER)
def test_slides_keep_the_order_of_the_lesson(name):
    notebook, deck = lesson_and_deck(name)
    slides_shown, at, found = [shown(slide) for slide in deck], 0, 0
    for cell in notebook.cells[1:]:
        if cell.cell_type == "code":
            pieces = [f'alt="{mark}' for o in cell.outputs for mark in [marks(o)] if mark and "<" not in mark]
        else:
            texts = [block for block in slide_rules.blocks(slide_rules.plain(cell.source)) if block[0] not in "#<|>!*-"]
            pieces = [slide_rules.sentences(" ".join(text.split()))[0] for text in texts]
        for piece in pieces:
            places = [i for i, text in enumerate(slides_shown) if piece in text]
            if len(piece) > 40 and places:
                assert places[-1] >= at, piece
                at, found = next(i for i in places if i >= at), found + 1
    assert found > 10


@pytest.mark.parametrize("name", lessons.ORDER)
def test_a_figure_stands_beside_the_words_that_say_what_it_shows(name):
    _, deck = lesson_and_deck(name)
    for number, slide in enumerate(deck):
        if slide.kind != "figure" or "<figcaption" in shown(slide):
            continue
        names = [re.sub(r" \((upper|lower) half\)", "", one) for one in re.findall('alt="([^"]*)', shown(slide))]
        around = [one for one in deck[max(0, number - 1) : number + 2] if one is not slide]
        beside = [
            one for one in around if names[0] in shown(one) and re.search("[.] ", shown(one).split("</figure>")[1])
        ]
        assert beside, (number + 1, names)


@pytest.mark.parametrize("name", lessons.ORDER)
def test_the_letters_in_every_figure_can_be_read(name):
    """Measure each figure where it is shown largest, and not where it is shown again, small."""
    _, deck = lesson_and_deck(name)
    sizes = {}
    for slide in deck:
        for role, alt, width, letters in re.findall(FIGURE, shown(slide)):
            whole = re.sub(r" \((upper|lower) half\)$", "", alt)
            if "again" not in role:
                sizes[whole] = min(sizes.get(whole, 99.0), float(width) * float(letters))
    assert sizes
    assert {alt: round(size, 1) for alt, size in sizes.items() if size < SMALLEST - 0.05} == {}


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
                found = page.evaluate(MEASURE)
                if max(found["size"], found["bottom"]) > 720 or found["right"] > 1280 or found["shrunk"] < 90:
                    faults.append((deck.name, number + 1, "overflow", found))
                if found["text"][0] < SMALLEST:
                    faults.append((deck.name, number + 1, "small text", found["text"]))
                for alt, letters in found["letters"]:
                    if letters < SMALLEST - 0.05:
                        faults.append((deck.name, number + 1, "small letters in a figure", alt, letters))
            assert page.locator("mjx-merror").count() == 0
            page.close()
    assert not faults, faults


MEASURE = """() => {
  const slide = Reveal.getCurrentSlide(), at = slide.getBoundingClientRect(), scale = Reveal.getScale();
  const hidden = one => one.closest("aside, svg, script, style, mjx-assistive-mml") || !one.getClientRects().length;
  let bottom = 0, right = 0, text = [99, ""];
  for (const one of slide.querySelectorAll("h1, h2, p, li, img, pre, svg, table, th, td, code")) {
    const box = one.getBoundingClientRect();
    if (one.closest("aside, mjx-assistive-mml") || !box.width) continue;
    bottom = Math.max(bottom, (box.bottom - at.top) / scale);
    right = Math.max(right, (box.right - at.left) / scale);
  }
  const walk = document.createTreeWalker(slide, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const words = walk.currentNode.data.trim(), of = walk.currentNode.parentElement;
    const size = parseFloat(getComputedStyle(of).fontSize);
    if (words && !hidden(of) && size < text[0]) text = [size, words.slice(0, 60)];
  }
  for (const one of slide.querySelectorAll("mjx-container")) {
    const size = parseFloat(getComputedStyle(one).fontSize);
    if (!one.closest("aside") && size < text[0]) text = [size, "a formula"];
  }
  const letters = [...slide.querySelectorAll("figure:not(.again) img")].filter(one => !one.closest("aside"))
    .map(one => [one.alt, one.dataset.letters * one.getBoundingClientRect().width / scale]);
  return {size: slide.scrollHeight, bottom, right, text, letters, shrunk: parseInt(slide.style.fontSize || 100)};
}"""
