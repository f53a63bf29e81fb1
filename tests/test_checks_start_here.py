"""The checker of lesson *start_here* accepts the folded solution and others, names each known mistake, and waits."""

import pytest

from folded import solution
from helpers.checks import NotAnswered, Wrong, start_here

RIGHT = {
    "folded": lambda logits, labels: solution("start_here", "accuracy_of")(logits, labels),
    "a loop": lambda logits, labels: (
        sum(row.argmax() == c for row, c in zip(logits, labels, strict=True)) / len(labels)
    ),
    "a number": lambda logits, labels: (logits.topk(1).indices[:, 0] == labels).double().mean().item(),
}
WRONG = {
    "divide by how many": lambda logits, labels: (logits.argmax(1) == labels).sum(),
    "a percentage": lambda logits, labels: 100 * (logits.argmax(1) == labels).float().mean(),
    "wrong answers": lambda logits, labels: (logits.argmax(1) != labels).float().mean(),
    "down the columns": lambda logits, labels: (logits.argmax(0) == labels[:6]).float().mean(),
    "likes least": lambda logits, labels: (logits.argmin(1) == labels).float().mean(),
    "has shape": lambda logits, labels: logits.argmax(1) == labels,
    "stopped with": lambda logits, labels: logits.argmax(1) == labels.missing,
}


@pytest.mark.parametrize("name", RIGHT)
def test_accepts_right_answers(name):
    assert start_here.check_accuracy(RIGHT[name]) is True


@pytest.mark.parametrize("hint", WRONG)
def test_names_the_mistake(hint, capsys, monkeypatch):
    assert start_here.check_accuracy(WRONG[hint]) is False
    assert hint in capsys.readouterr().out
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(Wrong, match=hint):
        start_here.check_accuracy(WRONG[hint])


def test_waits_for_an_answer(capsys, monkeypatch):
    assert start_here.check_accuracy(lambda logits, labels: ...) is None
    assert "Not answered yet" in capsys.readouterr().out
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(NotAnswered):
        start_here.check_accuracy(lambda logits, labels: None)
