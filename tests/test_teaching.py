"""The teaching guide: its minutes are the notebooks' own, its schedules add up, no lesson is missing."""

import re

import pytest

from helpers.course import ROOT
from tools import lessons, minutes

GUIDE = ROOT / "docs" / "teaching.md"
PART = re.compile(rf"^### (?=(?:{'|'.join(lessons.ORDER)})$)", re.M)


def schedules():
    """Each schedule's heading with its rows (minutes after midnight, minutes, what) and the total said below."""
    found = {}
    for part in re.split(r"^#+ ", GUIDE.read_text(encoding="utf-8"), flags=re.M):
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
