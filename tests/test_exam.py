"""The exams: drawn from a seed, silent about their answers, and graded against that seed alone."""

import sys

import nbformat
import pytest
import torch

from helpers.course import ROOT

sys.path.append(str(ROOT / "solutions"))

import grade
import make_exam
from grading import exam
from grading.sandbox import Nursery
from grading.student import Student

SEED, OTHER = 7, 8


@pytest.fixture(scope="module")
def drawn():
    return exam.draw(SEED)


@pytest.fixture(scope="module")
def parts(drawn):
    return exam.parts(drawn)


@pytest.fixture(scope="module")
def answers():
    """Return the answers of both seeds."""
    return {seed: exam.answers(exam.draw(seed)) for seed in (SEED, OTHER)}


@pytest.fixture(scope="module")
def written():
    """Return the notebooks of both seeds."""
    return {seed: make_exam.notebooks(seed) for seed in (SEED, OTHER)}


@pytest.fixture(scope="module")
def nursery():
    with Nursery(ROOT) as started:
        yield started


def said(capsys, part, *given):
    capsys.readouterr()
    verdict = part.check(*given)
    return verdict, capsys.readouterr().out.strip()


def typed(notebook, values):
    """Return an exam with answers written into it as plain numbers."""
    filled = nbformat.from_dict(notebook)
    for cell in filled.cells:
        if cell.source.startswith(("peak, value =", "on_watermark, fell =", "on_object, deleted =")):
            names = [one.strip() for one in cell.source.partition("=")[0].split(",")]
            plain = [v.tolist() if isinstance(v := values[one], torch.Tensor) else v for one in names]
            cell.source = cell.source.replace("...  # your code here", f"{', '.join(names)} = {plain!r}")
    return filled


# --- drawing ---


def test_the_same_seed_draws_the_same_exam(drawn):
    again = exam.draw.__wrapped__(SEED)
    assert again[1:] == drawn[1:] and exam.files(again) == exam.files(drawn)


def test_another_seed_draws_other_pictures_cues_and_answers(drawn, answers):
    other = exam.draw(OTHER)
    assert not torch.equal(drawn.tensors["watermarks"], other.tensors["watermarks"])
    for name in ("pictures", "marked", "objects"):
        assert not any(torch.equal(a, b) for a, b in zip(drawn.tensors[name], other.tensors[name], strict=True)), name
    for name in answers[SEED].keys() - {"fell"}:  # one of two letters
        a, b = (answers[seed][name] for seed in (SEED, OTHER))
        assert not torch.equal(a, b) if isinstance(a, torch.Tensor) else a != b


@pytest.mark.parametrize("seed", [SEED, OTHER, 20_261_120_987_654_321])
def test_every_question_has_one_clear_answer(seed):
    one = exam.draw(seed)
    right = exam.answers(one)
    marked = one.tensors["marked"] != one.tensors["pictures"]
    assert torch.equal(marked.any(3) & ~one.tensors["watermarks"], torch.zeros_like(one.tensors["watermarks"]))
    fell, kept = right["on_watermark"].flip(0) if one.fell == "B" else right["on_watermark"]
    assert fell.min() > 3 * kept.max() and fell.min() > 0.05
    assert all(values.isfinite().all() for values in right.values() if isinstance(values, torch.Tensor))
    assert right["value"] > 5


def test_a_negative_seed_is_an_error(capsys):
    with pytest.raises(ValueError, match="the seed is -1; give a number"):
        exam.draw(-1)
    with pytest.raises(SystemExit):
        make_exam.main(["--seed", "-1"])
    with pytest.raises(SystemExit):
        make_exam.main(["--seed", "1", "--output", "/elsewhere"])
    assert "is not inside the course" in capsys.readouterr().err


# --- the notebooks ---


def test_the_exam_gives_nothing_away(written, answers):
    paper, key = written[SEED].values()
    paper, key = ("\n".join(cell.source for cell in one.cells) for one in (paper, key))
    for value in (f"{answers[SEED]['value']:.2f}", str(answers[SEED]["peak"]), f"Net {answers[SEED]['fell']} fell"):
        assert value in key and value not in paper
    assert "SOLUTION" not in paper and "seed" not in paper
    assert paper.count("\n...  # your code here") == paper.count("\nform(") == 3


def test_cells_are_short_and_pictures_have_captions(written):
    for notebook in written[SEED].values():
        assert all(len(cell.source.splitlines()) <= 25 for cell in notebook.cells if cell.cell_type == "code")
        assert any(cell.source.startswith("**Caption.**") for cell in notebook.cells)


def test_it_runs_blank_to_its_end_and_judges_form_only(written, drawn, answers, nursery, tmp_path):
    work = nursery.work / "blank"
    work.mkdir()
    (work / exam.DATA).write_bytes(exam.files(drawn)[exam.DATA])
    student = Student(nursery, work, seconds=60, memory=4, guarded=[])
    code = [cell.source for cell in written[SEED][exam.NOTEBOOK].cells if cell.cell_type == "code"]
    assert [student.run(source) for source in code] == [None] * len(code)
    spoken = """
from contextlib import redirect_stdout
from io import StringIO
with redirect_stdout(StringIO()) as spoken:
    form(peak=..., value=1.5)
    form(peak=(1, 2), value=[3])
    form(fell="C", on_watermark=torch.zeros(2, 6))
spoken = spoken.getvalue()"""
    assert student.run(spoken) is None
    assert student.fetch(["spoken"])[0].splitlines() == [
        "peak: not answered yet.",
        "value: the form is right.",
        "peak: the form is right.",
        "value: [1], not [].",
        "fell: one letter is asked for, A or B.",
        "on_watermark: the form is right.",
    ]
    student.stop()


# --- grading ---


@pytest.fixture(scope="module")
def graded(tmp_path_factory, written, answers, drawn, parts, nursery):
    folder = tmp_path_factory.mktemp("exams")
    handed_in = {
        "key": written[SEED]["key.ipynb"],
        "blank": written[SEED][exam.NOTEBOOK],
        "typed": typed(written[SEED][exam.NOTEBOOK], answers[SEED]),
        "copied": typed(written[SEED][exam.NOTEBOOK], answers[OTHER]),
        "other-key": written[OTHER]["key.ipynb"],
    }
    for name, notebook in handed_in.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
    (folder / "own-data").mkdir()
    nbformat.write(handed_in["other-key"], folder / "own-data" / exam.NOTEBOOK)
    for name, content in exam.files(exam.draw(OTHER)).items():
        (folder / "own-data" / name).write_bytes(content)
    rules = grade.Rules(parts, exam.NOTEBOOK, exam.files(drawn), seconds=60)
    return grade.grade(folder, rules, nursery)


def test_the_key_is_right_however_it_is_written(graded):
    for name in ("key", "typed"):
        assert [points for points, _ in graded[name].values()] == [1, 1, 1], graded[name]


def test_a_blank_exam_scores_nothing(graded):
    assert list(graded["blank"].values()) == [(0, "not answered.")] * 3


def test_answers_from_another_seed_fail(graded):
    for name in ("copied", "other-key", "own-data"):
        assert [points for points, _ in graded[name].values()] == [0, 0, 0], name
    assert "peak" in graded["copied"]["q1"][1]
    for name in ("other-key", "own-data"):
        assert all("belongs to another exam" in why for _, why in graded[name].values()), graded[name]


def test_the_likely_mistakes_get_their_own_reason(drawn, parts, answers, capsys):
    right, (one, two, three) = answers[SEED], parts
    shares = right["on_watermark"]
    other = "AB"[drawn.fell == "A"]
    for hint, part, *given in (
        ("row and column are exchanged", one, right["peak"][::-1], right["value"]),
        ("the map for the net's own answer", one, exam._peak(exam._cam(drawn, None))[:2], 1.0),
        ("divided by the number of places", one, right["peak"], right["value"] / 64),
        ("a map scaled to 1", one, right["peak"], 1.0),
        ("peak has shape [1], asked for is [2]", one, [3], 1.0),
        ("the other net fell", two, other, shares),
        ("the rows are exchanged", two, drawn.fell, shares.flip(0)),
        (
            "without the watermark",
            two,
            drawn.fell,
            torch.stack([exam.on_watermark(drawn, n, "pictures") for n in "AB"]),
        ),
        ("these are percentages", two, drawn.fell, 100 * shares),
        ("for the net's own answers", three, exam._on_object(drawn, None), right["deleted"]),
        ("deleted is in the opposite order", three, right["on_object"], right["deleted"].flip(0)),
    ):
        verdict, line = said(capsys, part, *given)
        assert verdict is False and hint in line, line
    assert said(capsys, one, right["peak"], right["value"] * 1.005)[0] is True
