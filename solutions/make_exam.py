"""Write a fresh exam and its key: ``make exam`` writes both into a new folder of ``build/``.

``students/`` holds ``exam.ipynb`` and ``exam.safetensors``, which students put into the course's ``notebooks/``.
``key/`` is for the instructor alone: ``key.ipynb``, with answers, working and rubrics, and ``seed.txt``, from which
``python solutions/grade.py FOLDER --exam build/exam-.../key/seed.txt`` computes the answers again and compares.

Pictures, planted cue, nets and questions come from a seed of 64 random bits, and the same seed makes the same exam:
``--seed-file FILE`` takes one that was written before. Nothing in ``students/`` holds the seed, and trying all seeds
takes longer than anybody has. But the answers follow from the students' files, and the code that computes them is
public; ``docs/teaching.md`` says what that means for an exam. ``--bank FILE`` adds questions of your own, which are not
public.
"""

import argparse
import copy
import os
import pprint
import re
import secrets
import sys
import textwrap
import time
from pathlib import Path

os.environ["COURSE_WORLD"] = "course"
os.environ.pop("COURSE_STRICT", None)
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "solutions")]

import nbformat  # noqa: E402
from grade import seed_of  # noqa: E402
from grading import bank, exam, exam_cells  # noqa: E402
from make_exercises import blank, execute  # noqa: E402
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook  # noqa: E402

from helpers.data.shapes import CATEGORIES  # noqa: E402
from tools.lessons import path  # noqa: E402

BITS = 64
FEW = 2**40  # seeds below it are found by trying
SECRET, BANK = "seed.txt", "bank.toml"


def notebooks(seed: int, private: bank.Asked = bank.NOTHING) -> dict[str, nbformat.NotebookNode]:
    """Return the exam and its key, not run yet, by the names of their files.

    Args:
        seed: of the exam.
        private: questions of a bank, as ``grading.exam.private`` returns them.

    Raises:
        ValueError: the seed is negative.
    """
    drawn = exam.draw(seed)
    own = [name for name in exam_cells.QUESTIONS if name not in private.leave_out]
    names = [*own, *(question.name for question in private.questions)]
    facts = _facts(drawn, private)
    facts |= {"number_of": {name: i for i, name in enumerate(names, 1)}, "questions": len(names)}
    groups = [exam_cells.START, *(exam_cells.QUESTIONS[name] for name in own)]
    templates = [text for group in groups for text in group]
    kinds = [new_markdown_cell if re.match(r"#+ |\*\*", text) else new_code_cell for text in templates]
    cells = [kind(text.format(**facts)) for kind, text in zip(kinds, templates, strict=True)]
    for number, question in enumerate(private.questions, len(own) + 1):
        text, code = exam_cells.of_bank(question, number)
        cells += [new_markdown_cell(text), new_code_cell(code)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:02d}"
    key = new_notebook(cells=cells)
    return {exam.NOTEBOOK: blank(copy.deepcopy(key)), "key.ipynb": key}


def _facts(drawn: exam.Exam, private: bank.Asked) -> dict[str, object]:
    """Return what stands in the exam's cells, by the names in their braces."""
    right = exam.answers(drawn)
    lesson = nbformat.read(path("exercises", "solutions"), as_version=4)
    facts = right | drawn._asdict()
    facts |= {"count": exam.PICTURES, "steps": exam.STEPS, "number": drawn.tensors["number"].item()}
    facts |= {"alike": exam.ALIKE, "off": exam.OFF, "points": exam.POINTS, "forms": _forms(private)}
    facts["first"] = next(cell.source for cell in lesson.cells if cell.cell_type == "code")
    facts["category_name"] = CATEGORIES[drawn.category]
    facts["covered"] = drawn.tensors["watermarks"].float().mean().item()
    facts["on_A"], facts["on_B"] = right["on_watermark"].mean(1).tolist()
    facts |= {name: ", ".join(f"{v:.2f}" for v in right[name].tolist()) for name in ("on_object", "deleted")}
    facts["named"], facts["right_count"] = right["named"].tolist(), int(right["named"].sum())
    facts["wrong_count"] = exam.PICTURES - facts["right_count"]
    for word, name in (("own", "classes"), ("other", "distractors")):
        category = int(drawn.tensors[name][drawn.judged])
        facts |= {f"{word}_class": category, f"{word}_class_number": category, f"{word}_name": CATEGORIES[category]}
    facts["numbers"] = [" | ".join(f"{right[name][i]:.2f}" for name in exam.CHECKS) for i in (0, 1)]
    bad, good = (f"{right[drawn.decides][i - 1]:.2f}" for i in (drawn.refuted, right["believe"]))
    reason = exam_cells.REASONS[drawn.decides]
    facts |= {"bad_number": bad, "good_number": good, "reason": reason}
    why = (
        f"{drawn.decides} is {bad} for map {drawn.refuted} and {good} for map {right['believe']}. This speaks against "
        f"map {drawn.refuted}: {reason} Map {right['believe']} passes all three checks. It is not proven right by "
        "this: a fourth check may refute it, and one picture is an example."
    )
    facts["why"] = textwrap.fill(why, 80)
    return facts


def _forms(private: bank.Asked) -> str:
    """Return the cell that says which form each answer has."""
    count = exam.PICTURES
    forms = {"peak": (2,), "value": (), "fell": ["A", "B"], "on_watermark": (2, count), "on_object": (count,)}
    forms |= {"deleted": (count,), "named": (count,), "meaning": str}
    forms |= dict.fromkeys(exam.CHECKS, (2,)) | {"believe": [1, 2], "decides": list(exam.CHECKS), "why": str}
    for question in private.questions:
        for name, (value, _) in question.answers.items():
            forms[name] = str if isinstance(value, str) else tuple(getattr(value, "shape", ()))
        forms |= dict.fromkeys(filter(None, [question.free_text]), str)
    text = pprint.pformat(forms, width=88, compact=True, sort_dicts=False).replace("<class 'str'>", "str")
    return f"FORMS = {text}".replace("'", '"').replace("\n", "\n        ")


def write(seed: int, folder: Path, private: bank.Asked = bank.NOTHING) -> None:
    """Write exam, data and key of a seed into a new folder of the course, and run both notebooks there.

    Raises:
        ValueError: the folder holds something already, or cannot be made.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"{folder} holds something already, perhaps an exam whose seed is needed: name another folder."
        )
    students, key = folder / "students", folder / "key"
    try:
        students.mkdir(parents=True, exist_ok=True)
        key.mkdir(mode=0o700)
    except OSError as error:
        raise ValueError(f"{folder} cannot be made ({error.strerror}): name another folder.") from None
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")  # so that no commit publishes the key
    lines = ["# The seed of an exam. Whoever has it has the key: keep it where only you can read it.", f"seed = {seed}"]
    if private.known:
        _write_for_one(key / BANK, private.known)
        lines.append(f"bank = {BANK}")
    _write_for_one(key / SECRET, "\n".join([*lines, ""]))
    for place in (students, key):
        for name, content in exam.files(exam.draw(seed)).items():
            (place / name).write_bytes(content)
    for (name, notebook), place in zip(notebooks(seed, private).items(), (students, key), strict=True):
        nbformat.write(notebook, place / name)
        print(f"{place / name}: {execute(place / name):.1f} s", flush=True)


def _write_for_one(file: Path, text: str) -> None:
    """Write a text that nobody but its owner can read."""
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write the exam that the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description="Write a fresh exam and its key.")
    parser.add_argument(
        "--seed-file", type=Path, metavar="FILE", help="take the seed that stands in FILE, not a new one"
    )
    parser.add_argument("--bank", type=Path, metavar="FILE", help="add the questions of this file (docs/teaching.md)")
    parser.add_argument("--output", type=Path, help="new folder inside the course (build/exam-DATE-TIME)")
    asked = parser.parse_args(arguments)
    folder = (asked.output or ROOT / "build" / time.strftime("exam-%Y-%m-%d-%H%M%S")).resolve()
    if not folder.is_relative_to(ROOT):
        parser.error(f"{folder} is not inside the course, where its notebooks find helpers/; leave --output away.")
    try:
        seed = secrets.randbits(BITS)
        file = asked.bank
        if asked.seed_file:
            if str(asked.seed_file).isdecimal() and not asked.seed_file.is_file():
                raise ValueError("Write the seed into a file, and name the file: others can see a command line.")
            seed, known = seed_of(str(asked.seed_file)), bank.named_in(asked.seed_file)
            if file and known:
                raise ValueError(f"{asked.seed_file} names the bank {known} already; leave --bank away.")
            file = file or known
        if seed < FEW:
            print("This seed is found by trying; leave --seed-file away and get one that is not.", file=sys.stderr)
        private = bank.asked(file, exam.bindings(exam.draw(seed)), exam.stream(seed, "bank"))
        write(seed, folder, private)
    except ValueError as error:
        parser.error(str(error))
    place = folder.relative_to(ROOT)
    print(f"for the students: {place / 'students'}\nfor you alone: {place / 'key'}")
    print(f"to grade what they hand in: make grade IN='my class' ARGS='--exam {place / 'key' / SECRET}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
