"""The checkers' machinery: right, wrong, blank and failing answers, strict or not; blank exercises."""

import importlib.util

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.checks import NotAnswered, Wrong, ask, checker, close, name_the_mistake
from helpers.course import ROOT


@checker
def check_mean(function):
    """Check a function that takes [N, K] and returns the mean of each row [N]."""
    rng = torch.Generator().manual_seed(0)
    for shape in ((2, 3), (5, 1)):
        x = torch.rand(shape, generator=rng) + 1
        wrong = {"you averaged over the rows": x.mean(0), "this is the sum": lambda x=x: x.sum(1)}
        name_the_mistake(ask(function, x), wrong, x.mean(1))
    return "the means of 2 random shapes agree to 0.0001."


@checker
def check_number(answer):
    """Check a number."""
    close(answer, 3.0)
    return "3.00."


def refuse(x):
    raise NotImplementedError


ANSWERS = [
    (lambda x: x.mean(1), True, "Right: the means of 2 random shapes"),
    (lambda x: x.sum(1) / x.shape[1], True, "Right: "),
    (lambda x: x.mean(1).numpy(), True, "Right: "),
    (lambda x: np.flip(np.flip(x.numpy(), 0).mean(1)), True, "Right: "),  # negative strides
    (lambda x: pd.Series(x.mean(1), index=range(5, 5 + len(x))), True, "Right: "),
    (lambda x: x.mean(0), False, "Not yet: you averaged over the rows"),
    (lambda x: x.sum(1), False, "Not yet: this is the sum"),
    (lambda x: x.mean(1) * 1.01, False, "Not yet: every value of your answer is 1.01 times too large"),
    (lambda x: x.mean(1, keepdim=True), False, "shape [2, 1], asked for is [2]; squeeze"),
    (lambda x: x.mean(1) / 0, False, "2 values that are NaN or infinite"),
    (lambda x: "two", False, "your answer is a str, not a tensor"),
    (lambda x: x @ x, False, "your function stopped with RuntimeError"),
    (lambda x: (x > 0) - (x > 1), False, "your function stopped with NotImplementedError: Subtraction"),
    (torch.ones(2), False, "a function is asked for, not a Tensor"),
    (lambda x: None, None, "Not answered yet"),
    (lambda x: ..., None, "Not answered yet"),
    (refuse, None, "Not answered yet"),
    (None, None, "Not answered yet"),
    (..., None, "Not answered yet"),
]


@pytest.mark.parametrize(("answer", "verdict", "said"), ANSWERS)
def test_each_answer_gets_its_verdict(answer, verdict, said, capsys, monkeypatch):
    assert check_mean(answer) is verdict
    out = capsys.readouterr().out
    assert said in out and "Traceback" not in out and out.count("\n") == 1
    monkeypatch.setenv("COURSE_STRICT", "1")
    if verdict is True:
        assert check_mean(answer) is True
    else:
        with pytest.raises(NotAnswered if verdict is None else Wrong):
            check_mean(answer)


def test_a_call_without_an_answer_is_a_blank_one(capsys):
    assert check_number() is None and check_number("?") is None and check_number((1.0, ...)) is None
    assert capsys.readouterr().out.count("Not answered yet") == 3


def test_a_check_that_stops_gives_a_hint_and_no_traceback(capsys):
    @checker
    def check_shape(answer):
        return f"{answer.shape}."

    assert check_shape(7) is False
    assert "the check stopped with AttributeError" in capsys.readouterr().out
    assert check_shape.__name__ == "check_shape"


@pytest.mark.parametrize("right", [3.0, 3, np.float32(3), torch.tensor(3.0, requires_grad=True)])
def test_numbers_of_any_type_are_right(right):
    assert check_number(right) is True


def test_tolerance_is_a_share_of_the_largest_value():
    tiny = torch.tensor([1e-6, 2e-6])
    close(tiny * (1 + 5e-5), tiny)
    with pytest.raises(Wrong, match="1.01 times too large"):
        close(tiny * 1.01, tiny)
    with pytest.raises(Wrong):
        close(torch.full((2,), 0.1), torch.zeros(2))
    close(torch.zeros(0), torch.zeros(0))


def test_a_mistake_that_makes_no_difference_is_right():
    name_the_mistake(torch.ones(2), {"never": torch.ones(2)}, torch.ones(2))


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_exercises", ROOT / "solutions" / "make_exercises.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_blank_takes_answers_out_and_nothing_else(make):
    answered = new_notebook(
        cells=[
            new_markdown_cell("# Exercises\n<!-- BEGIN SOLUTION -->\nwith answers\n<!-- END SOLUTION -->\nText."),
            new_code_cell(
                "def mean(x):\n    # rows\n    ### BEGIN SOLUTION\n    y = x.mean(1)\n\n    return y\n"
                "    ### END SOLUTION",
                execution_count=3,
                outputs=[nbformat.v4.new_output("stream", text="secret")],
            ),
            new_markdown_cell("Why this is right.", metadata={"tags": ["solution"]}),
            new_code_cell("%time x = 1"),
        ]
    )
    before = nbformat.writes(answered)
    made = make.blank(answered)
    assert [cell.source for cell in made.cells] == [
        "# Exercises\nText.",
        "def mean(x):\n    # rows\n    ...  # your code here",
        "%time x = 1",
    ]
    assert [cell.id for cell in made.cells] == ["cell-01", "cell-02", "cell-03"]
    assert made.cells[1].outputs == [] and made.cells[1].execution_count is None
    assert nbformat.writes(answered) == before and make.same(made, make.blank(answered))
    assert not make.same(made, answered)
    nbformat.validate(made)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n### BEGIN SOLUTION", "cell 1 .*line 2: BEGIN SOLUTION without an END"),
        ("### END SOLUTION", "line 1: END SOLUTION without a BEGIN"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "line 2: .*begun in line 1"),
        ("x = (\n### BEGIN SOLUTION\n1)\n### END SOLUTION", "no valid Python without its answer"),
    ],
)
def test_unbalanced_marks_are_named(make, source, message):
    with pytest.raises(ValueError, match=message):
        make.blank(new_notebook(cells=[new_code_cell(source)]))


def test_make_and_check(make, tmp_path, monkeypatch, capsys):
    for folder in ("solutions", "notebooks"):
        (tmp_path / folder).mkdir()
    source, goal = (tmp_path / folder / make.NAMES[0] for folder in ("solutions", "notebooks"))
    answered = new_notebook(cells=[new_code_cell("x = ...\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\nprint(x)")])
    nbformat.write(answered, source)
    monkeypatch.setattr(make, "ROOT", tmp_path)
    monkeypatch.setattr(make.os, "environ", dict(make.os.environ))
    assert make.main(["--check"]) == 1
    assert make.main([]) == 0
    written = goal.read_text(encoding="utf-8")
    assert "Ellipsis" in written and "x = 1" not in written
    assert make.main(["--check"]) == 0
    assert make.main([]) == 0 and goal.read_text(encoding="utf-8") == written
    answered.cells[0].source += "\nprint(2)"
    nbformat.write(answered, source)
    assert make.main(["--check"]) == 1
    assert "make solutions" in capsys.readouterr().out
