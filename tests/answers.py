"""The tests that the checkers of every lesson pass, over the lesson's own right and wrong answers."""

import re
from collections.abc import Callable, Mapping
from types import ModuleType

import pytest

from folded import solution

Answers = Mapping[str, Callable]


def answer_tests(checks: ModuleType, lesson: str, answers: Mapping[str, tuple[Answers, Answers]]) -> tuple:
    """Return four tests of the functions ``check_<name>`` of a module of helpers.checks.

    Args:
        checks: the module.
        lesson: the name of the lesson whose folded solutions are taken, such as "cam".
        answers: for each name the right answers, by what is special in them, and the wrong ones, by words of the hint
            that each must get.
    """

    def check_of(name: str) -> Callable:
        return getattr(checks, f"check_{name}")

    @pytest.mark.parametrize("name", answers)
    def the_folded_solution_is_right_and_a_blank_is_not_wrong(name, capsys):
        assert check_of(name)(solution(lesson, name)) is True
        assert "Right" in capsys.readouterr().out
        for blank in (lambda *a: ..., lambda *a: None):
            assert check_of(name)(blank) is None
            assert "Not answered yet" in capsys.readouterr().out

    @pytest.mark.parametrize(("name", "way"), [(name, way) for name in answers for way in answers[name][0]])
    def any_right_way_is_accepted(name, way):
        assert check_of(name)(answers[name][0][way]) is True

    @pytest.mark.parametrize(("name", "hint"), [(name, hint) for name in answers for hint in answers[name][1]])
    def a_wrong_answer_gets_its_own_hint(name, hint, capsys):
        assert check_of(name)(answers[name][1][hint]) is False
        assert hint in capsys.readouterr().out

    @pytest.mark.parametrize("name", answers)
    def strict_refuses_a_wrong_answer(name, monkeypatch):
        monkeypatch.setenv("COURSE_STRICT", "1")
        hint, wrong = next(iter(answers[name][1].items()))
        with pytest.raises(AssertionError, match=re.escape(hint)):
            check_of(name)(wrong)

    return (
        the_folded_solution_is_right_and_a_blank_is_not_wrong,
        any_right_way_is_accepted,
        a_wrong_answer_gets_its_own_hint,
        strict_refuses_a_wrong_answer,
    )
