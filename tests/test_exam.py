"""The exams: drawn from a seed, silent about their answers, and graded against that seed alone."""

import ast
import re
import sys

import nbformat
import numpy as np
import pytest
import torch

from helpers.course import ROOT

sys.path.append(str(ROOT / "solutions"))

import grade
import make_exam
from grading import bank, exam
from grading.sandbox import Nursery
from grading.student import Student
from grading.table import Table

SEED, OTHER = 7, 8
LONG = 17_293_822_569_102_704_642  # of 64 bits
EXAMPLE = """
[[question]]
name = "brightness"
title = "how bright is it?"
text = "Compute the mean of picture <<picture>> of `x`, and its class. **Answers:** `mean`, `category`, `reason`."
draw = { picture = [0, 1, 2, 3, 4, 5] }
solution = '''
mean, category = x[<<picture>>].mean(), int(classes[<<picture>>])
word = "picture"
reason = "A mean says nothing about the network."
'''
answers = { mean = 0.01, category = 0, word = 0 }
mistakes = { "this is the sum." = "mean = x[<<picture>>].sum()", "not the net." = "word = 'net'" }
free_text = "reason"
rubric = ["Nothing.", "A mean is named.", "The network is named.", "Both are told apart."]
"""
SECOND = re.sub(r"(?<!\.)\b(mean|category|word|reason)\b", r"\1_", EXAMPLE)


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
        if cell.cell_type == "code" and "...  # your code here" in cell.source:
            names = [one.strip() for one in cell.source.partition("=")[0].split(",")]
            plain = [v.tolist() if isinstance(v := values[one], torch.Tensor) else v for one in names]
            cell.source = cell.source.replace("...  # your code here", f"{', '.join(names)}, = {plain!r}")
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
    for name in answers[SEED].keys() - {"fell", "believe", "decides", "named"}:  # of which there are few
        a, b = (answers[seed][name] for seed in (SEED, OTHER))
        assert not torch.equal(a, b) if isinstance(a, torch.Tensor) else a != b


@pytest.mark.parametrize("seed", [SEED, OTHER, 1, 2, LONG])
def test_every_question_has_one_clear_answer(seed):
    one = exam.draw(seed)
    right = exam.answers(one)
    marked = one.tensors["marked"] != one.tensors["pictures"]
    assert torch.equal(marked.any(3) & ~one.tensors["watermarks"], torch.zeros_like(one.tensors["watermarks"]))
    fell, kept = right["on_watermark"].flip(0) if one.fell == "B" else right["on_watermark"]
    assert fell.min() > 3 * kept.max() and fell.min() > 0.05
    assert all(values.isfinite().all() for values in right.values() if isinstance(values, torch.Tensor))
    assert right["value"] > 5
    assert 0 < right["named"].sum() < exam.PICTURES
    refuted = exam.refuting([right[name] for name in exam.CHECKS])
    assert refuted.nonzero().tolist() == [[exam.CHECKS.index(right["decides"]), one.refuted - 1]]
    assert right["believe"] + one.refuted == 3
    for margin in (-0.5, 0.5):  # no rounding decides
        assert torch.equal(exam.refuting([right[name] for name in exam.CHECKS], margin), refuted)
    for part in exam.parts(one):
        given = [right[name] for name in part.answers]
        assert part.check(*given) is True and part.check(*[...] * len(given)) is None, part.name
        assert part.check(*[8 if isinstance(one, str | int) else torch.zeros(3) for one in given]) is False, part.name


def test_a_negative_seed_is_an_error():
    with pytest.raises(ValueError, match="the seed is -1; give a number"):
        exam.draw(-1)


def test_a_seed_without_clear_questions_gets_a_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(exam, "_shares", lambda model, pictures, watermarks: np.zeros(len(pictures)))
    monkeypatch.setattr(exam, "draw", exam.draw.__wrapped__)
    (tmp_path / "seed").write_text("7\n", encoding="utf-8")
    for command, words in ((make_exam.main, ["--seed-file"]), (grade.main, [str(tmp_path), "--exam"])):
        with pytest.raises(SystemExit):
            command([*words, str(tmp_path / "seed")])
        assert "no six pictures of this seed make clear questions; take another seed" in capsys.readouterr().err


def test_each_of_the_three_checks_decides_in_some_exam():
    drawn = [exam.draw(seed) for seed in (SEED, OTHER, 2)]
    assert {one.decides for one in drawn} == set(exam.CHECKS) and {one.refuted for one in drawn} == {1, 2}


# --- the command ---


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Return a function that writes an exam as the command does, without running it, and its folder."""
    monkeypatch.setattr(make_exam, "execute", lambda path: 0.0)
    monkeypatch.setattr(make_exam, "ROOT", tmp_path)

    def write(*words):
        folder = tmp_path / "build" / f"exam-{len(list(tmp_path.glob('build/*')))}"
        assert make_exam.main(["--output", str(folder), *map(str, words)]) == 0
        return folder

    return write


def test_the_seed_is_drawn_and_kept_beside_the_key_alone(made, monkeypatch, capsys):
    monkeypatch.setattr(make_exam.secrets, "randbits", lambda bits: LONG if bits == 64 else 0)
    folder = made()
    secret = folder / "key" / "seed.txt"
    assert grade.seed_of(str(secret)) == LONG and str(LONG) not in capsys.readouterr().out
    assert (folder / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert secret.stat().st_mode & 0o077 == 0 and (folder / "key").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in (folder / "students").iterdir()) == ["exam.ipynb", "exam.safetensors"]
    first = int(exam.stream(LONG, "exam").integers(2**40, 2**50))
    drawn = {f"{number:{form}}" for number in (LONG, first) for form in ("d", "x", "X")}
    drawn |= {number.to_bytes(8, order).hex() for number in (LONG, first) for order in ("big", "little")}
    for path in (folder / "students").iterdir():
        content = path.read_bytes()
        for text in drawn:
            assert text not in str(path) and text.encode() not in content
            if not len(text) % 2 and len(text) == 16:
                assert bytes.fromhex(text) not in content


def test_a_file_with_a_seed_makes_the_same_exam_again(made, tmp_path, capsys):
    (tmp_path / "seed").write_text(f"seed = {LONG}\n", encoding="utf-8")
    folders = [made("--seed-file", tmp_path / "seed") for _ in range(2)]
    for name in ("exam.ipynb", "exam.safetensors"):
        one, two = ((folder / "students" / name).read_bytes() for folder in folders)
        assert one == two
    assert "found by trying" not in capsys.readouterr().err
    (tmp_path / "seed").write_text("7\n", encoding="utf-8")
    made("--seed-file", tmp_path / "seed")
    assert "This seed is found by trying" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed-file", "7"], "Write the seed into a file"),
        (["--seed-file", "none"], "none is no text file with the exam's seed"),
        (["--output", "/elsewhere"], "is not inside the course"),
        (["--bank", "none"], "The bank none cannot be read"),
        (["--output", str(ROOT / "README.md")], "README.md cannot be made (Not a directory): name another folder"),
    ],
)
def test_a_wrong_command_gets_a_sentence(words, said, capsys):
    with pytest.raises(SystemExit):
        make_exam.main(words)
    assert said in capsys.readouterr().err


def test_an_exam_is_never_written_over_another(made, tmp_path, capsys):
    folder = made()
    before = (folder / "key" / "seed.txt").read_bytes()
    with pytest.raises(SystemExit):
        make_exam.main(["--output", str(folder)])
    assert "holds something already" in capsys.readouterr().err
    assert (folder / "key" / "seed.txt").read_bytes() == before


# --- the notebooks ---


def test_the_exam_gives_nothing_away(written, answers):
    paper, key = written[SEED].values()
    paper, key = ("\n".join(cell.source for cell in one.cells) for one in (paper, key))
    for value in (f"{answers[SEED]['value']:.2f}", str(answers[SEED]["peak"]), f"Net {answers[SEED]['fell']} fell"):
        assert value in key and value not in paper
    for text in ("integrated gradients", "proven right", "Level 3", "Level 0", "other class won"):
        assert text not in paper
    assert "Level 3" in key and "proven right" in key
    assert "SOLUTION" not in paper and "seed" not in paper
    assert paper.count("\n...  # your code here") == paper.count("\nform(") == 6


def test_a_bank_may_not_use_what_the_paper_binds(written):
    paper = [cell.source for cell in written[SEED][exam.NOTEBOOK].cells if cell.cell_type == "code"][1:]
    bound = set()
    for line in [line for source in paper for line in ast.parse(source).body]:
        targets = [name for target in getattr(line, "targets", ()) for name in ast.walk(target)]
        bound |= {name.id for name in targets if isinstance(name, ast.Name)}
        bound |= {one.asname or one.name for one in getattr(line, "names", ())}
        bound |= {line.name} if isinstance(line, ast.FunctionDef) else set()
    assert {"FORMS", "form", "load_file", "peak"} <= bound <= bank.TAKEN


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
    form(believe=2, decides="looks", why="It is right.", meaning="...")
spoken = spoken.getvalue()"""
    assert student.run(spoken) is None
    assert student.fetch(["spoken"])[0].splitlines() == [
        "peak: not answered yet.",
        "value: the form is right.",
        "peak: the form is right.",
        "value: [1], not [].",
        "fell: one of ['A', 'B'] is asked for.",
        "on_watermark: the form is right.",
        "believe: the form is right.",
        "decides: one of ['other_class', 'adds_up', 'removed'] is asked for.",
        "why: 3 words.",
        "meaning: not answered yet.",
    ]
    student.stop()


# --- grading ---

HALF = {"deleted": torch.zeros(6), "removed": torch.zeros(2), "believe": 1}


@pytest.fixture(scope="module")
def graded(tmp_path_factory, written, answers, drawn, parts, nursery):
    folder = tmp_path_factory.mktemp("exams")
    handed_in = {
        "key": written[SEED]["key.ipynb"],
        "blank": written[SEED][exam.NOTEBOOK],
        "typed": typed(written[SEED][exam.NOTEBOOK], answers[SEED]),
        "copied": typed(written[SEED][exam.NOTEBOOK], answers[OTHER]),
        "other-key": written[OTHER]["key.ipynb"],
        "half": typed(written[SEED][exam.NOTEBOOK], answers[SEED] | HALF),
    }
    for cell in handed_in["half"].cells:
        cell.source = cell.source.replace('why = """..."""', 'why = """=1+1 Map 2,\nI think."""')
        cell.source = cell.source.replace('meaning = """..."""', "meaning = 7")
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
        assert [points for points, _ in graded[name].values()] == [1] * 6, graded[name]


def test_a_blank_exam_scores_nothing(graded):
    assert list(graded["blank"].values()) == [(0, "not answered.")] * 6


def test_answers_from_another_seed_fail(graded):
    for name in ("copied", "other-key", "own-data"):
        assert [points for points, _ in graded[name].values()] == [0] * 6, name
    assert "peak" in graded["copied"]["q1"][1]
    for name in ("other-key", "own-data"):
        computed = [why for part, (_, why) in graded[name].items() if part != "q4_verdict"]  # two words, in the key
        assert all("belongs to another exam" in why for why in computed), graded[name]


def test_half_an_exam_gets_what_is_right_in_it(graded):
    assert {name: points for name, (points, _) in graded["half"].items()} == {
        "q1": 1,
        "q2": 1,
        "q3": 0,
        "q3_named": 1,
        "q4_numbers": 0,
        "q4_verdict": 0,
    }


def test_free_texts_come_with_the_points(graded):
    assert graded["half"].texts == {"meaning": "", "why": "=1+1 Map 2,\nI think."}
    assert graded["blank"].texts == {"meaning": "", "why": ""}
    assert "another class won" in graded["key"].texts["meaning"] and "proven right" in graded["key"].texts["why"]


def test_the_table_shows_free_texts_and_keeps_their_levels(tmp_path):
    def put(text):
        table = Table(tmp_path / "grades.csv", ["q4"], ["why"])
        table.put("anna", "anna.ipynb", "7", {"q4": (1, "")}, {"why": text})
        return table

    table = put("=1+1\nMap 2.")
    assert table.row("anna.ipynb")["text why"] == "'=1+1 Map 2." and table.row("anna.ipynb")["level why"] == ""
    table.row("anna.ipynb")["level why"] = "3"
    table.write()
    assert put("=1+1\nMap 2.").row("anna.ipynb")["level why"] == "3"
    table = put("Map 1.")
    assert table.row("anna.ipynb")["level why"] == ""
    table.row("anna.ipynb")["level why"] = "2"
    for scores, texts in (({"q4": (0, "slow.")}, {}), ("cannot be read", None)):  # no text came in this run
        table.put("anna", "anna.ipynb", "8", scores, texts)
        assert (table.row("anna.ipynb")["text why"], table.row("anna.ipynb")["level why"]) == ("Map 1.", "2")
    assert put("").row("anna.ipynb")["level why"] == ""
    table.put("ben", "ben.ipynb", "7", "is an archive")
    assert table.row("ben.ipynb")["text why"] == "" and table.row("ben.ipynb")["level why"] == ""


def test_the_likely_mistakes_get_their_own_reason(drawn, parts, answers, capsys):
    right, (one, two, three, named, numbers, verdict) = answers[SEED], parts
    three_numbers = [right[name] for name in exam.CHECKS]
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
        ("that the net names wrongly", named, ~right["named"]),
        ("compare them with classes", named, exam._named_as(drawn.tensors["pictures"].numpy())),
        ("removed has map 2 first", numbers, *three_numbers[:2], three_numbers[2].flip(0)),
        (
            "divide it by the difference",
            numbers,
            three_numbers[0],
            drawn.tensors["maps"][0].sum((1, 2)),
            three_numbers[2],
        ),
        (
            "subtract that of the centred Gaussian",
            numbers,
            *three_numbers[:2],
            exam.three_checks(drawn.judged, drawn.tensors, control=False)[2],
        ),
        ("is the one that removed refutes", verdict, drawn.refuted, "removed"),
        ("adds_up refutes neither map", verdict, right["believe"], "adds_up"),
        ("believe is 1 or 2", verdict, 3, "removed"),
    ):
        verdict, line = said(capsys, part, *given)
        assert verdict is False and hint in line, line
    assert said(capsys, one, right["peak"], right["value"] * 1.005)[0] is True


# --- questions of a private bank ---


@pytest.fixture
def private(tmp_path):
    """Return what an exam takes from a bank of this text, and the file that names the bank."""

    def take(text, seed=SEED):
        (tmp_path / "bank.toml").write_text(text, encoding="utf-8")
        (tmp_path / "seed.txt").write_text(f"seed = {seed}\nbank = bank.toml\n", encoding="utf-8")
        return exam.private(tmp_path / "seed.txt", seed)

    return take


def test_a_bank_adds_questions_whose_key_is_right(private, drawn, nursery):
    found = private('leave_out = ["q1"]\n' + EXAMPLE)
    papers = make_exam.notebooks(SEED, found)
    paper, key = ("\n".join(cell.source for cell in one.cells) for one in papers.values())
    assert "## Question 4: how bright is it?" in paper and "<<" not in key and "form(peak=" not in paper
    assert "Both are told apart" in key and "Both are told apart" not in paper and ".mean(), int(" not in paper
    every = exam.parts(drawn, found)
    assert [part.name for part in every][-1] == "brightness" and "q1" not in [part.name for part in every]
    for name, points, text in (("key.ipynb", 1, "A mean says nothing about the network."), (exam.NOTEBOOK, 0, "")):
        work = nursery.work / f"bank-{points}"
        work.mkdir()
        (work / exam.DATA).write_bytes(exam.files(drawn)[exam.DATA])
        student = Student(nursery, work, seconds=60, memory=4, guarded=[])
        code = [cell.source for cell in papers[name].cells if cell.cell_type == "code"]
        scores = grade._grade_cells([*code[:4], code[-1]], every[-1:], student)
        student.stop()
        assert scores["brightness"][0] == points, scores
        assert scores.texts == {"reason": text}


def test_hints_of_a_bank_are_filled_in(private, capsys):
    (part,) = private(EXAMPLE.replace("this is the sum.", "the sum of <<picture>>.")).questions[0].parts()
    (question,) = private(EXAMPLE).questions
    mean, category, word = (value for value, _ in question.answers.values())
    verdict, line = said(capsys, part, mean * 3 * 128 * 128, category, word)
    assert verdict is False and re.search(r"the sum of [0-5]\.", line)
    counted = EXAMPLE.replace(
        '"not the net." = "word = \'net\'"', '"of the next." = "category = classes[<<picture>>] + 1"'
    )
    (part,) = private(counted).questions[0].parts()
    verdict, line = said(capsys, part, mean, category + 1, word)
    assert verdict is False and "of the next." in line


@pytest.mark.parametrize(
    "line", ["bank = FILE", "bank = 'FILE'  # mine", '  "bank": "FILE",', '"bank": "FILE"', "bank: FILE", "bank=FILE "]
)
@pytest.mark.parametrize("name", ["bank.toml", "my#1, the best.toml"])
def test_a_bank_is_named_on_a_line_of_the_seeds_file(line, name, tmp_path):
    (tmp_path / "seed.txt").write_text(f"seed = 7\n{line.replace('FILE', name)}\n", encoding="utf-8")
    found = bank.named_in(tmp_path / "seed.txt")
    assert found == tmp_path / name
    (tmp_path / "seed.txt").write_text("# the bank: mine\nseed = 7\n", encoding="utf-8")
    assert bank.named_in(tmp_path / "seed.txt") is None


def test_answers_to_a_banks_question_are_compared(private, capsys):
    (part,) = private(EXAMPLE).questions[0].parts()
    mean, category, word = (value for value, _ in private(EXAMPLE).questions[0].answers.values())
    assert said(capsys, part, 1.005 * mean, category, word)[0] is True
    assert said(capsys, part, mean, torch.tensor(category), word)[0] is True
    for given, hint in (
        ((1.1 * mean, category, word), "mean is"),
        ((mean * 3 * 128 * 128, category, word), "this is the sum."),
        ((mean, category + 1, word), "category is another one."),
        ((mean, "star", word), "category is a whole number."),
        ((mean, torch.zeros(3), word), "category is a whole number."),
        ((mean, category, "net"), "not the net."),
        ((mean, category, 7), "word is a word."),
    ):
        verdict, line = said(capsys, part, *given)
        assert verdict is False and hint in line, line
    assert said(capsys, part, ..., category, word)[0] is None


def test_the_seed_chooses_from_a_bank(private):
    two = "take = 1\n" + EXAMPLE + SECOND.replace("brightness", "second")
    chosen = {one.name + one.text for seed in range(1, 9) for one in [*private(two, seed).questions]}
    assert len({text.split("Compute")[0] for text in chosen}) == 2 and len(chosen) > 3
    assert [one.text for one in private(two, 3).questions] == [one.text for one in private(two, 3).questions]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[[question]]", "[[question", "is no TOML"),
        ("[[question]]", "[[questions]]", "at its top there are take, leave_out"),
        ("[[question]]", "take = 2\n[[question]]", "take is 2; it has 1 questions"),
        ("[[question]]", 'leave_out = ["q4"]\n[[question]]', "give a list of q1, q2, q3"),
        ('title = "how bright is it?"', "", "has no title"),
        ('title = "how bright is it?"', "title = 7", "title is 7; give a text"),
        ('"brightness"', '"q7"', "give it a name of small letters"),
        ('"brightness"', '"total"', "name, file, total, version are columns of the table"),
        ("= x[<<picture>>].sum()", "= y.sum()", "its mistake 'this is the sum.' stops with NameError"),
        (
            "mean = x[<<picture>>].sum()",
            "meen = 1",
            "its mistake 'this is the sum.' binds none of mean, category, word",
        ),
        ("draw = {", "chances = {", "has 'chances'; there are name, title"),
        ("picture = [0, 1, 2, 3, 4, 5]", "picture = 3", "draw has no choices for picture"),
        ("<<picture>> of", "<<number>> of", "<<number>> has no choices"),
        ("mean = 0.01", "mean = 3", "mean may be off by 3"),
        ("mean = 0.01", "total = 0.01", "its solution does not bind total"),
        ("mean = 0.01", "x = 0.01", "'x' is no name of a variable, or one that the exam uses"),
        ("x[<<picture>>].mean()", "y.mean()", "its solution stops with NameError"),
        ("x[<<picture>>].mean()", "x[<<picture>>].mean() / 0", "mean holds NaN or infinity"),
        ("x[<<picture>>].mean()", "print", "mean is a builtin_function_or_method"),
        (', "Both are told apart."', "", "a free_text has a rubric of 4 texts"),
        ('free_text = "reason"', "", "a free_text has a rubric of 4 texts"),
        ('reason = "A mean', 'because = "A mean', "does not bind reason to a text"),
    ],
)
def test_a_wrong_bank_gets_one_sentence(private, old, new, said):
    assert old in EXAMPLE
    with pytest.raises(ValueError, match="^The bank .*") as error:
        private(EXAMPLE.replace(old, new, 1))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_two_questions_of_one_name_are_an_error(private):
    with pytest.raises(ValueError, match="there are two of this name"):
        private(EXAMPLE + SECOND)


def test_the_bank_goes_with_the_key(made, tmp_path):
    (tmp_path / "mine.toml").write_text(EXAMPLE, encoding="utf-8")
    folder = made("--bank", tmp_path / "mine.toml")
    secret = folder / "key" / "seed.txt"
    assert bank.named_in(secret).read_text(encoding="utf-8") == EXAMPLE
    found = exam.private(secret, grade.seed_of(str(secret)))
    assert [one.name for one in found.questions] == ["brightness"]
    again = made("--seed-file", secret)
    assert (again / "students" / "exam.ipynb").read_bytes() == (folder / "students" / "exam.ipynb").read_bytes()


def test_the_bank_in_the_documentation_is_a_bank(private):
    page = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    text = re.search(r"```toml\n(.*?)```", page, re.S)[1]
    found = private(text.replace("take = 1", "take = 2", 1))
    assert [one.name for one in found.questions] == ["brightness", "largest_weight"] and found.leave_out == ("q1",)
    keys = {*bank.NEEDED, *bank.OTHERS, "take", "leave_out"}
    assert keys <= set(re.findall(r"^(\w+) =", text, re.M))


def test_the_pages_do_not_present_a_guessable_seed():
    for page in ("README.md", "docs/teaching.md", "docs/grading.md", "Makefile"):
        assert not re.search(
            r"exam.{0,20}SEED=|make_exam.py.*--seed |--exam \d", (ROOT / page).read_text(encoding="utf-8")
        ), page
