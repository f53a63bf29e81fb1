"""Numbers that pages quote from the lessons are those of the evidence; a wrong one is found and replaced."""

import json

import pytest

from helpers.course import ROOT
from tools import lessons, quoted_numbers
from tools.bound_numbers import NotBound, Range, bound_numbers, unit, value
from tools.quoted_numbers import quotes, true_numbers, updated, written

EVIDENCE = json.loads((ROOT / "notebooks" / "evidence.json").read_text(encoding="utf-8"))
QUOTING = [page for page in sorted((ROOT / "docs").glob("*.md")) if quotes(page.read_text(encoding="utf-8"))]
SMALL = {"cam": {"numbers": {"a": {"median": 57.83, "lowest": -0.26, "highest": 1279.6}}}}


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: page.stem)
def test_a_page_says_what_the_evidence_says(page):
    text = page.read_text(encoding="utf-8")
    for quote in quotes(text):
        assert quote.numbers == true_numbers(quote, EVIDENCE), f"{quote.lesson}: {quote.expression}"
    assert updated(text, EVIDENCE) == text


def test_pages_quote_many_numbers_and_lessons_of_the_course_alone():
    found = [quote for page in QUOTING for quote in quotes(page.read_text(encoding="utf-8"))]
    assert len(found) > 60 and {quote.lesson for quote in found} <= set(lessons.ORDER)


def test_a_page_and_the_lesson_say_the_same_number():
    """The median rounds in one way only; a page must not say 17 where the lesson says 18."""
    said = {}
    for path in lessons.paths():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] == "markdown":
                for bound in bound_numbers("".join(cell["source"])):
                    if not isinstance(bound, Range):
                        said.setdefault((lessons.name_of(path), bound.expression), []).append(bound)
    differing = []
    for page in QUOTING:
        for quote in quotes(page.read_text(encoding="utf-8")):
            for bound in said.get((quote.lesson, quote.expression), []) if len(quote.numbers) == 1 else []:
                if unit(quote.numbers[0]) == bound.unit and value(quote.numbers[0]) != bound.said:
                    differing.append(f"{page.name}: {quote.numbers[0]}, lesson {quote.lesson}: {bound.said:g}")
    assert not differing


def test_old_numbers_are_replaced_and_the_words_around_them_stay():
    text = "On 60 %<!-- cam: a --> of 200<!-- fixed --> pictures, −0.1 to 1,270<!-- range of cam: a --> in all.\n"
    new = "On 58 %<!-- cam: a --> of 200<!-- fixed --> pictures, −0.3 to 1,280<!-- range of cam: a --> in all.\n"
    assert updated(text, SMALL) == new and updated(new, SMALL) == new
    assert updated("+ 4.0<!-- cam: a -->", SMALL) == "+ 57.8<!-- cam: a -->"


@pytest.mark.parametrize(
    ("number", "like", "text"),
    [
        (57.83, "60", "58"),
        (-0.04, "0.1", "0.0"),
        (-0.26, "-0.1", "-0.3"),
        (-0.26, "0.1", "\N{MINUS SIGN}0.3"),
        (1279.6, "9,999", "1,280"),
        (1279.6, "9999", "1280"),
        (57.83, "+3", "+58"),
        (-0.26, "+3.0", "\N{MINUS SIGN}0.3"),
    ],
)
def test_a_number_keeps_the_form_that_the_page_gives_it(number, like, text):
    assert written(number, like) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("right<!-- cam: a -->", "stands no number"),
        ("at 5<!-- range of cam: a -->", "stands no two numbers"),
        ("at 5<!-- cam: b -->", "has no number 'b' of lesson cam: copy the expression"),
        ("at 5<!-- no_lesson: a -->", "of lesson no_lesson"),
        ("5\nat<!-- cam: a -->", "stands no number"),
    ],
)
def test_a_quote_that_cannot_be_kept_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(NotBound, match=sentence):
        updated(text, SMALL)


def test_the_command_writes_checks_and_names_the_page(tmp_path, monkeypatch, capsys):
    page, evidence = tmp_path / "a.md", tmp_path / "evidence.json"
    page.write_text("On 1 %<!-- cam: a -->.\n", encoding="utf-8")
    evidence.write_text(json.dumps(SMALL), encoding="utf-8")
    monkeypatch.setattr(quoted_numbers, "PAGES", tmp_path)
    monkeypatch.setattr(quoted_numbers, "EVIDENCE", evidence)
    monkeypatch.setattr(quoted_numbers, "ROOT", tmp_path)
    assert quoted_numbers.main(["--check"]) == 1 and "a.md: numbers are old" in capsys.readouterr().out
    assert quoted_numbers.main([]) == 0 and page.read_text(encoding="utf-8") == "On 58 %<!-- cam: a -->.\n"
    assert quoted_numbers.main(["--check"]) == 0 and "up to date" in capsys.readouterr().out
    page.write_text("On 1 %<!-- cam: b -->.\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"a\.md: .*has no number 'b'"):
        quoted_numbers.main([])
