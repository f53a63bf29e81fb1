"""A new lesson passes every rule of the repository from its first minute; a bad name is refused with a sentence."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from helpers.course import ROOT
from tools import new_lesson

LEFT_OUT = (".venv", ".git", "build", "downloads", ".*_cache", "__pycache__", ".ipynb_*", ".public*")
FILES = [f"tests/test_{name}.py" for name in ("repository", "checks_25", "hints", "teaching")]
RULES = "25_a_name or lesson_25 or readme or links_inside or machine or tree_is_small or hint or teaching"


def run(root, *command, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, **options
    )


def tree_of(root):
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the tree, in the state that ``make links`` leaves it in."""
    root = tmp_path_factory.mktemp("copy") / "course"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
    assert run(root, "-m", "tools.links").returncode == 0
    return root


@pytest.fixture(scope="module")
def lesson(copy):
    """The copy with a new lesson in it, and what the command said."""
    before = tree_of(copy)
    done = run(copy, "-m", "tools.new_lesson", "25_a_name")
    assert done.returncode == 0, done.stdout + done.stderr
    after = tree_of(copy)
    return copy, {name for name in after if after[name] != before.get(name)}, done.stdout


def test_it_writes_a_notebook_a_checker_a_test_and_a_row(lesson):
    root, written, said = lesson
    names = ("notebooks/25_a_name.ipynb", "helpers/checks/lesson_25.py", "tests/test_checks_25.py")
    names += ("README.md", "docs/teaching.md")
    assert written == set(names) and all(f"wrote {name}\n" in said for name in names)
    rows = re.findall(r"^\| \[(\d\d) ", (root / "README.md").read_text(encoding="utf-8"), re.M)
    assert rows == sorted(rows) and rows[-1] == "25"


def test_it_passes_every_rule_and_its_own_test(lesson):
    root, *_ = lesson
    options = ("-q", "-n", "0", "-p", "no:cacheprovider", "-k", f"{RULES} or test_checks_25")
    done = run(root, "-m", "pytest", *options, *FILES)
    assert done.returncode == 0, done.stdout
    rules = len(
        re.findall(
            r"^@every_(?:notebook|lesson)$", (root / "tests/test_repository.py").read_text(encoding="utf-8"), re.M
        )
    )
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= rules + 3 + 15  # of the checker: 15 tests
    new = ("notebooks/25_a_name.ipynb", "helpers/checks/lesson_25.py", "tests/test_checks_25.py")
    for command in (("check",), ("format", "--check")):
        done = run(root, "-m", "ruff", *command, "-q", *new)
        assert done.returncode == 0, done.stdout
    assert run(root, "-m", "tools.links", "--check").stdout == ""


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("04_more", "04 is taken by notebooks/04_cam.ipynb; choose another number."),
        ("18-name", "'18-name' names no lesson: two digits, then words in small letters, as in 18_name."),
        ("name", "names no lesson"),
        ("18_Name", "names no lesson"),
        ("18_", "names no lesson"),
        ("../18_name", "names no lesson"),
        ("18_name.ipynb", "names no lesson"),
        ("", "Give one name"),
    ],
)
def test_another_name_is_refused_with_a_sentence(copy, monkeypatch, name, hint):
    monkeypatch.setattr(new_lesson, "ROOT", copy)
    before = tree_of(copy)
    with pytest.raises(SystemExit) as refusal:
        new_lesson.main([name])
    assert hint in str(refusal.value) and "\n" not in str(refusal.value)
    assert tree_of(copy) == before


def test_a_number_with_a_checker_alone_is_taken(copy, monkeypatch):
    monkeypatch.setattr(new_lesson, "ROOT", copy)
    checker = copy / "helpers" / "checks" / "lesson_26.py"
    checker.write_text("", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"26 is taken by helpers/checks/lesson_26\.py"):
        new_lesson.main(["26_other"])
    checker.unlink()


def test_a_row_finds_its_place():
    readme = (
        "| [04 A](notebooks/04_a.ipynb) | b | c | 5 min |\n| [06 A](notebooks/06_a.ipynb) | b | c | 5 min |\n\nEnd."
    )
    for number, place in (("03", 0), ("05", 1), ("07", 2)):
        lines = new_lesson.with_row(readme, f"{number}_two_words", number).split("\n")
        assert (
            lines[place].startswith(f"| [{number} Two words](notebooks/{number}_two_words.ipynb)")
            and lines[-1] == "End."
        )
    with pytest.raises(SystemExit, match="README.md has no table"):
        new_lesson.with_row("End.", "05_name", "05")


def test_a_notebook_that_does_not_run_leaves_nothing_behind(copy):
    course = copy / "helpers" / "course.py"
    text = course.read_text(encoding="utf-8")
    course.write_text("raise ImportError('broken on purpose')\n", encoding="utf-8")
    before = tree_of(copy)
    done = run(copy, "-m", "tools.new_lesson", "27_broken")
    after = tree_of(copy)
    course.write_text(text, encoding="utf-8")
    assert done.returncode == 1 and "broken on purpose" in done.stderr and after == before
