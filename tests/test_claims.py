"""What binds a lesson's text to its run: claims of numbers, and guesses before pictures."""

import math

import pytest
import torch

from helpers.checks import claim, guesses, predict
from helpers.checks.predictions import _ANSWERED

WHY = {"a": "The star is not asked for.", "b": "The map follows the question."}


@pytest.fixture(autouse=True)
def no_guesses():
    _ANSWERED.clear()
    yield
    _ANSWERED.clear()


@pytest.mark.parametrize(
    ("value", "said", "within", "line"),
    [
        (76.34, 75, 5, "sky, %: the text says 75, this run 76.3.\n"),
        (torch.tensor(0.1234, requires_grad=True), 0.12, 0.01, "sky, %: the text says 0.12, this run 0.123.\n"),
        (2099557, 2099557, 0, "sky, %: the text says 2,099,557, this run 2,099,557.\n"),
        (0.3, 0.2, 0.1, "sky, %: the text says 0.2, this run 0.30.\n"),  # on the edge, less what floats lose
        (-4.2, -4, 0.5, "sky, %: the text says -4, this run -4.20.\n"),
    ],
)
def test_a_claim_that_holds_says_both_numbers(value, said, within, line, capsys):
    claim("sky, %", value, said, within)
    assert capsys.readouterr().out == line


@pytest.mark.parametrize("value", [80.1, 69.9, math.nan, math.inf, -75])
def test_a_claim_that_does_not_hold_fails_in_the_course_world_only(value, capsys):
    with pytest.raises(AssertionError, match="the text says 75, this run gives .*, and they may differ by 5"):
        claim("sky, %", value, 75, 5)
    claim("sky, %", value, 75, 5, world="public")
    assert "the text is about the course's own world" in capsys.readouterr().out


def test_a_count_may_not_differ_at_all():
    with pytest.raises(AssertionError):
        claim("weights", 2099558, 2099557, 0)


@pytest.mark.parametrize("within", [-1, math.nan, math.inf])
def test_a_claim_that_could_not_fail_is_refused(within):
    with pytest.raises(ValueError, match="0 or more"):
        claim("sky, %", 75, 75, within)


@pytest.mark.parametrize("guess", ["b", " B ", "(b)", "b)", "b. the ring"])
def test_right_guess(guess, capsys):
    predict(guess, "b", WHY)
    assert capsys.readouterr().out == "Right: (b) The map follows the question.\n"


def test_wrong_guess_blank_and_nonsense_never_raise(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")
    for guess, said in (
        ("A", "You said (a) The star is not asked for.\nThe answer is (b) The map follows"),
        ("?", "No guess yet"),
        ("", "No guess yet"),
        (None, "No guess yet"),
        ("ring", "'ring' is none of a, b"),
        (7, "7 is none of a, b"),
    ):
        predict(guess, "b", WHY)
        assert said in capsys.readouterr().out


def test_the_end_shows_each_guess_beside_what_came_out(capsys):
    predict("b", "b", WHY)
    predict("c", "a", {"a": "It stays.", "c": "It goes."})
    predict("?", "a", {"a": "None.", "b": "All."})
    capsys.readouterr()
    guesses()
    assert capsys.readouterr().out.splitlines() == [
        "1. You said (b); it is (b) The map follows the question.",
        "2. You said (c); it is (a) It stays.",
        "3. You said nothing; it is (a) None.",
        "1 of 2 guesses right.",
    ]


def test_a_guess_that_is_changed_counts_once_and_none_at_all_is_no_failure(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")
    predict("?", "b", WHY)
    guesses()
    assert "No guesses" in capsys.readouterr().out
    predict("a", "b", WHY)
    predict("b", "b", WHY)
    guesses()
    assert capsys.readouterr().out.endswith("follows the question.\n1 of 1 guesses right.\n")
