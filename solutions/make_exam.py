"""Write a fresh exam and its key: ``python solutions/make_exam.py --seed 7 --output build/exam-7``.

``exam.ipynb`` and ``exam.safetensors`` are for the students, ``key.ipynb``, with answers and working, is not. Pictures,
planted cue, nets and questions come from the seed: the same seed makes the same exam. The exam tells only whether an
answer has the right form; ``python solutions/grade.py FOLDER --exam 7`` computes the answers again and compares.
Whoever has the course and guesses the seed has the key, so take a long number. Students put both files into the
course's ``notebooks/``.
"""

import argparse
import copy
import os
import re
import sys
from pathlib import Path

os.environ["COURSE_WORLD"] = "course"
os.environ.pop("COURSE_STRICT", None)
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "solutions")]

import nbformat  # noqa: E402
from grading import exam  # noqa: E402
from grading.exam_cells import CELLS  # noqa: E402
from make_exercises import blank, execute  # noqa: E402
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook  # noqa: E402

from helpers.data.shapes import CATEGORIES  # noqa: E402
from tools.lessons import path  # noqa: E402


def notebooks(seed: int) -> dict[str, nbformat.NotebookNode]:
    """Return the exam and its key, not run yet, by the names of their files; raises ValueError for a negative seed."""
    drawn = exam.draw(seed)
    right = exam.answers(drawn)
    lesson = nbformat.read(path("exercises", "solutions"), as_version=4)
    facts = right | drawn._asdict()
    facts |= {"seed": seed, "count": exam.PICTURES, "steps": exam.STEPS, "fingerprint": exam.fingerprint(drawn)}
    facts["first"] = next(cell.source for cell in lesson.cells if cell.cell_type == "code")
    facts["category_name"] = CATEGORIES[drawn.category]
    facts["covered"] = drawn.tensors["watermarks"].float().mean().item()
    facts["on_A"], facts["on_B"] = right["on_watermark"].mean(1).tolist()
    facts |= {name: ", ".join(f"{v:.2f}" for v in right[name].tolist()) for name in ("on_object", "deleted")}
    kinds = [new_markdown_cell if re.match(r"#+ |\*\*", text) else new_code_cell for text in CELLS]
    texts = [text.format(**facts) for text in CELLS]
    cells = zip(kinds, texts, strict=True)
    key = new_notebook(cells=[kind(text, id=f"cell-{number:02d}") for number, (kind, text) in enumerate(cells)])
    return {exam.NOTEBOOK: blank(copy.deepcopy(key)), "key.ipynb": key}


def write(seed: int, folder: Path) -> None:
    """Write exam, data and key of a seed into a folder of the course, and run both notebooks there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in exam.files(exam.draw(seed)).items():
        (folder / name).write_bytes(content)
    for name, notebook in notebooks(seed).items():
        nbformat.write(notebook, folder / name)
        print(f"{folder / name}: {execute(folder / name):.1f} s", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Write the exam that the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description="Write a fresh exam and its key.")
    parser.add_argument("--seed", type=int, required=True, help="0 or more; a long number is not guessed")
    parser.add_argument("--output", type=Path, help="folder inside the course (build/exam-SEED)")
    asked = parser.parse_args(arguments)
    folder = (asked.output or ROOT / "build" / f"exam-{asked.seed}").resolve()
    if asked.seed < 0:
        parser.error(f"the seed is {asked.seed}; give a number of 0 or more.")
    if not folder.is_relative_to(ROOT):
        parser.error(f"{folder} is not inside the course, where its notebooks find helpers/; leave --output away.")
    write(asked.seed, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
