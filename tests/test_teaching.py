"""The teaching kit: its minutes are the notebooks' own, its schedules add up, no lesson is missing, its sheets fit."""

import functools
import re

import nbformat
import pytest

from helpers.course import ROOT
from tools import lessons, minutes
from tools.bound_numbers import COMMENT, lonely_numbers, plain
from tools.quoted_numbers import quotes

DOCS = ROOT / "docs"
GUIDE, SCHEDULES, OUTCOMES = (DOCS / f"{name}.md" for name in ("teaching", "schedules", "outcomes"))
PLAN, HANDOUT, SHEET, KEY = (
    DOCS / f"{name}.md" for name in ("ninety_minutes", "handout", "concept_test", "concept_test_key")
)
PROJECTS = DOCS / "projects.md"
KIT = (
    "schedules",
    "ninety_minutes",
    "handout",
    "outcomes",
    "concept_test",
    "concept_test_key",
    "projects",
    "projects_notes",
    "accessibility",
)
PART = re.compile(rf"^### (?=(?:{'|'.join(lessons.ORDER)})$)", re.M)


def schedules(page=SCHEDULES):
    """Each schedule's heading with its rows (minutes after midnight, minutes, what) and the total said below."""
    found = {}
    for part in re.split(r"^#+ ", page.read_text(encoding="utf-8"), flags=re.M):
        rows = re.findall(r"^\| (\d+):(\d\d) \| (\d+) \| (.+) \|$", part, re.M)
        if rows:
            total = re.search(r"^Total: (\d+) minutes\.$", part, re.M)
            found[part.splitlines()[0]] = (
                [(60 * int(h) + int(m), int(n), what) for h, m, n, what in rows],
                int(total[1]),
            )
    return found


def lessons_in(rows):
    return {name for *_, what in rows for name in re.findall(r"Lesson \*(\w+)\*", what)}


def parts():
    """Each lesson's part of the guide by the lesson's name, in the guide's order."""
    return {part.split()[0]: part for part in PART.split(GUIDE.read_text(encoding="utf-8"))[1:]}


def outcomes_of():
    """Each part of the page of outcomes by the lesson's name, in the page's order."""
    text = OUTCOMES.read_text(encoding="utf-8")
    return {part.split()[0]: part for part in re.split(r"^### (?=\w+$)", text, flags=re.M)[1:]}


@functools.cache
def headings(lesson):
    """The headings of a lesson, without marks of code and emphasis."""
    cells = nbformat.read(lessons.path(lesson), as_version=4).cells
    found = re.findall(r"^#{2,3} (.+)$", "\n".join(c.source for c in cells if c.cell_type == "markdown"), re.M)
    return {re.sub(r"[`*]", "", heading) for heading in found}


def sections_in(text):
    """The sections that a text names, as in: section *The check*."""
    return re.findall(r"[Ss]ection \*([^*]+)\*", text)


def test_the_minutes_are_those_of_the_notebooks():
    text = GUIDE.read_text(encoding="utf-8")
    assert minutes.updated(text) == text, "python -m tools.minutes writes them"


def test_old_minutes_are_replaced_and_a_lesson_without_a_place_is_named(monkeypatch, tmp_path, capsys):
    copy = tmp_path / "teaching.md"
    text = GUIDE.read_text(encoding="utf-8")
    copy.write_text(re.sub(r"running \d+ s", "running 999 s", text), encoding="utf-8")
    monkeypatch.setattr(minutes, "GUIDE", copy)
    assert minutes.main(["--check"]) == 1 and "minutes are old" in capsys.readouterr().out
    assert minutes.main([]) == 0 and copy.read_text(encoding="utf-8") == minutes.updated(text)
    with pytest.raises(SystemExit, match="differ in lessons cam"):
        minutes.updated(re.sub(r"<!-- measured cam -->\n.*\n<!-- end -->", "", text))


@pytest.mark.parametrize("name", schedules())
def test_a_schedule_adds_up_and_has_breaks(name):
    rows, total = schedules()[name]
    assert sum(number for _, number, _ in rows) == total
    for (start, number, what), (following, *_) in zip(rows, rows[1:], strict=False):
        assert start + number == following, what
    longest = run = 0
    for _, number, what in rows:
        run = 0 if re.match("Break|Lunch", what) else run + number
        longest = max(longest, run)
    assert longest <= 100, f"{longest} minutes without a break"


def test_the_three_schedules_are_there_and_two_of_them_teach_every_lesson():
    found = schedules()
    assert list(found)[0].startswith("Half a day") and len(found) == 1 + 2 + 6
    days = [rows for name, (rows, _) in found.items() if name.startswith("Day")]
    weeks = [rows for name, (rows, _) in found.items() if name.startswith("Week")]
    unscheduled = {name for name, part in parts().items() if "*In no schedule yet.*" in part}
    for course in (days, weeks):
        assert set.union(*map(lessons_in, course)) == set(lessons.ORDER) - unscheduled
    assert {total for name, (_, total) in found.items() if name.startswith("Week")} == {120}


def test_every_lesson_has_its_part():
    assert tuple(parts()) == lessons.ORDER
    for name, part in parts().items():
        for word in ("Aim.", "Show live.", "Wrong answers, and what they reveal.", "Discuss."):
            assert part.count(f"**{word}**") == 1, (name, word)
        assert f"<!-- measured {name} -->" in part
        assert 2 <= part.partition("**Discuss.**")[2].count("?") <= 4, name


def test_names_of_exercises_in_the_guide_are_those_of_the_lessons():
    for lesson, part in parts().items():
        for name in re.findall(r"[Ii]n `(\w+)`", part):
            assert f"def {name}(" in lessons.path(lesson).read_text(encoding="utf-8"), (lesson, name)


# --- ninety minutes, and the sheet that goes with them ---


def test_the_pages_of_the_kit_are_there_and_linked():
    linked = GUIDE.read_text(encoding="utf-8")
    for name in KIT:
        assert (DOCS / f"{name}.md").is_file() and f"({name}.md" in linked, name
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("ninety_minutes", "outcomes", "concept_test", "projects", "accessibility"):
        assert f"(docs/{name}.md)" in readme, name


def test_ninety_minutes_are_ninety_minutes():
    [(name, (rows, total))] = schedules(PLAN).items()
    assert name == "The plan" and total == 90 == sum(number for _, number, _ in rows) and rows[0][0] == 0
    for (start, number, what), (following, *_) in zip(rows, rows[1:], strict=False):
        assert start + number == following, what
    assert lessons_in(rows) == {"start_here", "cam", "the_tanks"}


def test_each_part_of_the_plan_says_what_to_say_show_ask_and_skip():
    text = PLAN.read_text(encoding="utf-8")
    [(_, (rows, _))] = schedules(PLAN).items()
    found = re.findall(r"^### (\d):(\d\d) · .+?\n(.*?)(?=^##)", text, re.M | re.S)
    assert [60 * int(h) + int(m) for h, m, _ in found] == [start for start, *_ in rows]
    for hours, minute, part in found[:-1]:
        for word in ("Show live.", "Say.", "Students do.", "Ask.", "When late."):
            assert part.count(f"**{word}**") == 1, (hours, minute, word)
        asked = part.partition("**Ask.**")[2].partition("**When late.**")[0]
        assert "?" in asked and ("Expected" in asked or quotes(asked)), (hours, minute)
    for need in ("## The evening before", "## If something fails", "make slides", "(handout.md)"):
        assert need in text


def test_sections_that_the_plan_shows_are_those_of_the_lessons():
    text = PLAN.read_text(encoding="utf-8").partition("## Minute by minute")[2].partition("## If something fails")[0]
    known = set().union(*(headings(name) for name in ("start_here", "cam", "the_tanks")))
    named = {words.replace("\n", " ") for words in re.findall(r"(?<!\*)\*([A-Z][^*?]{11,}\??)\*(?!\*)", text)}
    shown = {words for words in named if words in known}
    assert len(shown) >= 12 and {"What the accuracy says", "Forty exchanged skies"} <= shown


def test_no_number_of_the_handout_is_typed_by_hand():
    text = HANDOUT.read_text(encoding="utf-8").partition("\n")[2]  # behind its title
    assert not lonely_numbers(text)
    assert {quote.lesson for quote in quotes(text)} == {"start_here", "cam", "the_tanks"} and len(quotes(text)) >= 15
    assert lonely_numbers(text.replace("<!-- cam: fall -->", "", 1)) == ["3.9"], "the test can fail"


# --- outcomes and misconceptions ---

VERBS = {
    *("account", "build", "check", "choose", "combine", "compare", "compute", "count", "cover", "decide", "decompose"),
    *(
        "derive",
        "describe",
        "design",
        "explain",
        "follow",
        "hunt",
        "judge",
        "load",
        "make",
        "measure",
        "minimise",
        "name",
    ),
    *(
        "predict",
        "propagate",
        "prove",
        "put",
        "read",
        "run",
        "say",
        "score",
        "separate",
        "show",
        "split",
        "state",
        "take",
    ),
    *("tell", "test", "train", "turn", "write"),
}  # what one can see somebody do; to know, to understand and to appreciate are not among them


@pytest.mark.parametrize("lesson", lessons.ORDER)
def test_a_lesson_has_outcomes_that_can_be_observed(lesson):
    part = outcomes_of()[lesson]
    outcomes = re.findall(r"^- (.+)[;.]$", part, re.M)
    assert 2 <= len(outcomes) <= 4 and "After this lesson a student can" in part
    for outcome in outcomes:
        assert outcome.split()[0] in VERBS, outcome


@pytest.mark.parametrize("lesson", lessons.ORDER)
def test_a_misconception_has_something_to_show_against_it(lesson):
    rows = re.findall(r"^\| (?!misconception)([^|]+) \| ([^|]+) \|$", outcomes_of()[lesson], re.M)
    assert 2 <= len(rows) <= 3
    for wrong, shown in rows:
        assert wrong.endswith(".") and (sections_in(shown) or shown.startswith("The same section")), wrong
        for section in sections_in(shown):
            assert section in headings(lesson), f"{lesson} has no section {section!r}"
        assert all(quote.lesson == lesson for quote in quotes(shown)), wrong


def test_outcomes_are_in_the_order_of_the_lessons():
    assert tuple(name for name in outcomes_of() if name in lessons.ORDER) == lessons.ORDER


# --- the concept test ---


def questions():
    """The questions by number: the text, and the choices by letter."""
    found = re.split(r"^\*\*(\d+)\.\*\* ", SHEET.read_text(encoding="utf-8"), flags=re.M)[1:]
    return {
        int(number): (text.split("\n\n")[0], dict(re.findall(r"^- \((\w)\) (.+)$", text, re.M)))
        for number, text in zip(found[::2], found[1::2], strict=True)
    }


def key():
    """The key by number: the right letter, what stands beside it, and the wrong letters with what they reveal."""
    found = re.split(r"^### Question (\d+)$", KEY.read_text(encoding="utf-8"), flags=re.M)[1:]
    answers = {}
    for number, text in zip(found[::2], found[1::2], strict=True):
        (right,) = re.findall(r"^Right: \*\*\((\w)\)\*\*\. (.+?)(?=\n\n)", text, re.M | re.S)
        wrong = dict(re.findall(r"^- \*\*\((\w)\)\*\* (.+?)(?=\n- \*\*|\n*\Z)", text, re.M | re.S))
        answers[int(number)] = (*right, wrong)
    return answers


def test_ten_questions_have_four_choices_and_a_key_for_each():
    asked, answers = questions(), key()
    assert list(asked) == list(answers) == list(range(1, 11))
    for number, (text, choices) in asked.items():
        right, _, wrong = answers[number]
        assert len(text) > 40 and list(choices) == list("abcd") and len(set(choices.values())) == 4, number
        assert {right, *wrong} == set("abcd") and right not in wrong, number
        assert all(len(words) > 30 for words in wrong.values()), number


def test_a_right_answer_is_backed_by_a_lesson():
    for number, (_, why, _) in key().items():
        (lesson,) = re.findall(r"^Lesson \*(\w+)\*", why)
        (section,) = sections_in(why.replace("\n", " "))
        assert lesson in lessons.ORDER and section in headings(lesson), (number, section)


def test_nobody_passes_by_the_form_of_the_answers():
    asked, rights = questions(), {number: right for number, (right, *_) in key().items()}
    for letter in "abcd":
        assert 2 <= list(rights.values()).count(letter) <= 3, f"({letter}) is right too often, or too seldom"
    longest = [number for number, (_, c) in asked.items() if max(c, key=lambda one: len(c[one])) == rights[number]]
    shortest = [number for number, (_, c) in asked.items() if min(c, key=lambda one: len(c[one])) == rights[number]]
    assert len(longest) <= 4 and len(shortest) <= 4, (longest, shortest)


def test_the_sheet_uses_no_word_of_the_course_and_shows_no_answer():
    text = SHEET.read_text(encoding="utf-8").lower()
    for word in (
        "saliency",
        "logit",
        "cam",
        "gradient",
        "attribution",
        "baseline",
        "occlusion",
        "faithful",
        "shortcut",
    ):
        assert not re.search(rf"\b{word}\b", text), word
    assert "concept_test_key" not in text and "right:" not in text and not COMMENT.search(text)


def test_the_key_says_what_the_test_cannot_show():
    text = " ".join(plain(KEY.read_text(encoding="utf-8")).split())
    for words in (
        "has not been validated with students",
        "Hake (1998)",
        "American Journal of Physics",
        "normalised gain",
    ):
        assert words in text, words
    assert (
        "expect a gain in questions 1 to 6, 8 and 10, which it treats. Questions 7 and 9 belong to lesson *saliency*"
        in text
    )
    lesson = {number: re.match(r"Lesson \*(\w+)\*", why)[1] for number, (_, why, _) in key().items()}
    taught = lessons_in(schedules(PLAN)["The plan"][0]) | {"cam_family"}  # its question 10 is asked at the check of cam
    assert [number for number in lesson if lesson[number] not in taught] == [7, 9]


# --- projects ---


def test_a_brief_has_all_its_parts_and_data_that_is_drawn():
    from tools.project_data import WRITERS

    text = PROJECTS.read_text(encoding="utf-8")
    briefs = [part for part in re.split(r"^## ", text, flags=re.M) if "\n**Question.**" in part]
    assert len(briefs) == 3
    for brief in briefs:
        title = brief.splitlines()[0]
        for word in ("Data.", "Steps.", "Deliverables.", "Hours.", "Pitfalls."):
            assert brief.count(f"**{word}**") == 1, (title, word)
        assert brief.count("?") >= 2 and len(re.findall(r"^\d\. ", brief, re.M)) >= 5
    assert re.findall(r"`make project-data PROJECT=(\w+)` writes", text) == list(WRITERS)
    assert "python -m helpers.report" in text


def test_the_rubric_has_four_levels_for_each_criterion():
    table = PROJECTS.read_text(encoding="utf-8").partition("## Rubric")[2]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    head, _, *criteria = rows
    assert head[1:] == ["0 points", "1 point", "2 points", "3 points"] and len(criteria) >= 5
    assert all(len(row) == 5 and len(set(row)) == 5 and all(row) for row in criteria)
    assert "Six criteria with up to three points each, eighteen in all." in table and len(criteria) == 6
