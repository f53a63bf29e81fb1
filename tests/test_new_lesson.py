"""A new lesson passes every rule of the repository from its first minute; a bad name is refused with a sentence.

So does a change of the lessons' order: every link follows, twice is once, and what is interrupted is taken back.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from helpers.course import ROOT
from tools import lessons, links, new_lesson, order, run_notebooks

LEFT_OUT = (".venv", ".git", "build", "downloads", ".*_cache", "__pycache__", ".ipynb_*", ".public*")
NAME, AFTER = "a_name", "occlusion"
NEW = f"{int(lessons.number(AFTER)) + 1:02d}_{NAME}.ipynb"


def run(root, *command):
    return subprocess.run(
        [sys.executable, *command],
        cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, encoding="utf-8",
    )  # fmt: skip


def contents(root):
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def copy_to(root):
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return root


def without_numbers(text):
    """A text with the numbers of lessons taken off, to be compared with itself in another order."""
    text = re.sub(r"\[\d\d ([^\]\n]*\]\([^()\s]*\d\d_\w+\.ipynb\))", r"[\1", text)
    return re.sub(r"^# \d+ · ", "# ", re.sub(r"(?<!\w)\d\d_(?=\w+\.ipynb)", "", text), flags=re.M)


# --- a new lesson ---


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """A copy of the tree with a new lesson in its middle; what was there before, and what the command said."""
    root = copy_to(tmp_path_factory.mktemp("new") / "course")
    before = contents(root)
    done = run(root, "-m", "tools.new_lesson", NAME, "--after", AFTER)
    assert done.returncode == 0, done.stdout + done.stderr
    return root, before, done.stdout


def test_it_writes_a_notebook_a_checker_a_test_its_rows_and_a_part(lesson):
    root, before, said = lesson
    new = {f"notebooks/{NEW}", f"helpers/checks/{NAME}.py", f"tests/test_checks_{NAME}.py"}
    after = contents(root)
    assert new <= set(after) and all(f"wrote {name}\n" in said for name in new)
    moved = {f"notebooks/{lessons.file_name(name)}" for name in lessons.ORDER[int(lessons.number(AFTER)) + 1 :]}
    assert set(before) - set(after) == moved - set(after) and len(after) == len(before) + len(new)
    rows = re.findall(r"^\| \[(\d\d) .*\]\(notebooks/(\d\d)_", (root / "README.md").read_text(encoding="utf-8"), re.M)
    assert rows == [(f"{n:02d}", f"{n:02d}") for n in range(len(lessons.ORDER) + 1)]
    assert f"### {AFTER}\n" in (guide := (root / "docs" / "teaching.md").read_text(encoding="utf-8"))
    assert re.findall(r"^### (\w+)$", guide, re.M)[int(lessons.number(AFTER)) + 1] == NAME
    outcomes = (root / "docs" / "outcomes.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (\w+)$", outcomes, re.M)[int(lessons.number(AFTER)) + 1] == NAME


def test_the_lessons_behind_it_have_moved_and_nothing_else_has_changed(lesson):
    root, before, _ = lesson
    for name in lessons.ORDER:
        (path,) = (root / "notebooks").glob(f"[0-9][0-9]_{name}.ipynb")
        assert int(path.stem[:2]) == int(lessons.number(name)) + (lessons.number(name) > lessons.number(AFTER))
        old, new = json.loads(before[f"notebooks/{lessons.file_name(name)}"]), json.loads(path.read_bytes())
        for cell, was in zip(new["cells"], old["cells"], strict=True):
            text, before_it = (without_numbers("".join(one.pop("source"))) for one in (cell, was))
            if name == AFTER:
                text, before_it = (one.partition("**Next.**")[0] for one in (text, before_it))
            assert text == before_it
        assert new == old, "outputs, ids and metadata stay"
        assert f"\n# {int(path.stem[:2])} · " in nbformat.read(path, as_version=4).cells[0].source


def last_paragraph(path):
    return nbformat.read(path, as_version=4).cells[-1].source.rpartition("\n\n")[2]


def test_the_lesson_before_leads_to_it_and_it_leads_on(lesson):
    root, before, _ = lesson
    (path,) = (root / "notebooks").glob(f"[0-9][0-9]_{AFTER}.ipynb")
    assert last_paragraph(path).startswith(f"**Next.** [Lesson *{NAME}*]({NEW}) ")
    old = nbformat.reads(before[f"notebooks/{lessons.file_name(AFTER)}"].decode(), as_version=4).cells[-1].source
    assert without_numbers(last_paragraph(root / "notebooks" / NEW)) == without_numbers(old.rpartition("\n\n")[2])


@pytest.mark.parametrize("folder", ["", "../notebooks/"])
def test_the_next_lesson_is_handed_on(folder):
    words = f"Recap.\n\n**Next.** A slope: [lesson *two*]({folder}01_two.ipynb), see [page](../tools/x.ipynb)."
    cells = [nbformat.v4.new_markdown_cell(words)]
    text, following = new_lesson.handed_on(nbformat.writes(nbformat.v4.new_notebook(cells=cells)), "four", 1)
    (cell,) = nbformat.reads(text, as_version=4).cells
    assert cell.source.startswith(f"Recap.\n\n**Next.** [Lesson *four*]({folder}01_four.ipynb) is new: say here")
    assert following == "**Next.** A slope: [lesson *two*](01_two.ipynb), see [page](../tools/x.ipynb)."
    text = nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("End.")]))
    assert new_lesson.handed_on(text, "four", 1) == (text, "")


def test_it_passes_the_rules_and_its_own_test(lesson, monkeypatch, capsys):
    """Those of the new notebook, and those that hold all files together; elsewhere only numbers have changed."""
    root, *_ = lesson
    rules = (
        f"{NAME} or readme or links_inside or folder_of or by_their_names or machine or hint or every_lesson or minutes"
        " or every_path"
    )
    files = [f"tests/test_{name}.py" for name in ("repository", f"checks_{NAME}", "hints", "teaching", "progress")]
    files.append("tests/test_map_of_helpers.py")
    done = run(root, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", rules, *files)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 40
    new = (f"notebooks/{NEW}", f"helpers/checks/{NAME}.py", f"tests/test_checks_{NAME}.py", "tools/lessons.py")
    for command in (("check",), ("format", "--check")):
        done = run(root, "-m", "ruff", *command, "-q", *new)
        assert done.returncode == 0, done.stdout
    for module in (order, links):
        monkeypatch.setattr(module, "ROOT", root)
    assert links.main(["--check"]) == 0 and capsys.readouterr().out == ""
    at = int(lessons.number(AFTER)) + 1
    monkeypatch.setattr(order, "GUIDE", root / "docs" / "teaching.md")
    monkeypatch.setattr(order, "OUTCOMES", root / "docs" / "outcomes.md")
    monkeypatch.setattr(order, "MAP", root / "helpers" / "README.md")
    assert order.plan((*lessons.ORDER[:at], NAME, *lessons.ORDER[at:])) == ({}, {}), "make order has nothing to do"


@pytest.mark.parametrize(
    ("name", "after", "hint"),
    [
        ("grad_cam", "cam", "The name 'grad_cam' is taken by helpers/checks/grad_cam.py; choose another one."),
        ("core", "cam", "is taken by helpers/checks/core.py"),
        ("checker", "cam", "is taken by the course"),
        (
            "18_name",
            "cam",
            "'18_name' names no lesson: words in small letters, without a number, as in counterfactual_maps.",
        ),
        ("a-name", "cam", "names no lesson"),
        ("Name", "cam", "names no lesson"),
        ("name_", "cam", "names no lesson"),
        ("../name", "cam", "names no lesson"),
        ("name.ipynb", "cam", "names no lesson"),
        ("näme", "cam", "names no lesson"),
        ("class", "cam", "names no lesson"),
        ("", "cam", "Give the lesson's name: make new LESSON=counterfactual_maps AFTER=occlusion"),
        ("a_name", "04", "There is no lesson '04' to come after; the lessons are start_here, "),
    ],
)
def test_another_name_or_place_is_refused_with_a_sentence(name, after, hint, monkeypatch):
    for change in ("write", "rename"):
        monkeypatch.setattr(order.Changes, change, lambda *a: pytest.fail("something was written"))
    with pytest.raises(SystemExit) as refusal:
        new_lesson.main([name, "--after", after])
    assert hint in str(refusal.value) and "\n" not in str(refusal.value)


def test_without_a_table_a_readme_is_refused():
    with pytest.raises(SystemExit, match="^README.md has no table"):
        new_lesson.with_row("End.", "name", 5)
    with pytest.raises(SystemExit, match="^helpers/README.md has no table"):
        new_lesson.with_map_row("| *no_lesson* | x |\n", "name")


# --- the order ---


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small tree of three lessons, answers of the last one, and pages; tools.order works on it."""
    for folder in ("notebooks", "solutions", "docs", "tools", "tests", "helpers"):
        (tmp_path / folder).mkdir()
    for file in ("CITATION.cff", "tools/first_cell.py"):
        shutil.copyfile(ROOT / file, tmp_path / file)
    for module in (order, links):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(order, "GUIDE", tmp_path / "docs" / "teaching.md")
    monkeypatch.setattr(order, "MAP", tmp_path / "helpers" / "README.md")
    for number, name in enumerate(THREE):
        save(tmp_path / "notebooks" / f"{number:02d}_{name}.ipynb", f"# {number} · The title of {name}")
    save(tmp_path / "solutions" / "02_three_c.ipynb", "# 2 · The title of three_c")
    rows = "".join(f"| [{n:02d} Title](notebooks/{n:02d}_{name}.ipynb) | x |\n" for n, name in enumerate(THREE))
    (tmp_path / "README.md").write_text(f"| a | b |\n|---|---|\n{rows}\nEnd: `solutions/02_three_c.ipynb`.\n", "utf-8")
    parts = "\n\n".join(f"### {name}\n\nAbout *{name}*." for name in THREE)
    (tmp_path / "docs" / "teaching.md").write_text(f"# Guide\n\n{parts}\n", "utf-8")
    (tmp_path / "helpers" / "README.md").write_text(map_of(THREE), "utf-8")
    (tmp_path / "tests" / "test_x.py").write_text(
        'A = "notebooks/01_two.ipynb, x01_two.ipynb, 01_four.ipynb"\n', "utf-8"
    )
    (tmp_path / "tests" / "run").write_text("notebooks/01_two.ipynb", "utf-8")
    (tmp_path / "tests" / "run").chmod(0o755)
    return tmp_path


THREE = ("one", "two", "three_c")
OTHER = ("one", "three_c", "two")


def map_of(names):
    return "| lesson | in |\n|---|---|\n" + "".join(f"| *{name}* | `x.py` |\n" for name in names) + "\nEnd.\n"


def save(path, title):
    cells = [
        nbformat.v4.new_markdown_cell(links.badges(links.setting(), path.name) + f"\n\n{title}", id="a"),
        nbformat.v4.new_code_cell(links.first_cell(), id="b", metadata=links.COLLAPSED),
        nbformat.v4.new_markdown_cell("See [lesson *two*](01_two.ipynb), [02 Three](02_three_c.ipynb#x).", id="c"),
        nbformat.v4.new_code_cell(
            "f('01_two.ipynb')", outputs=[nbformat.v4.new_output("stream", text="01_two.ipynb")], id="d"
        ),
    ]
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)) + "\n", encoding="utf-8")


def put(names):
    with order.Changes() as changes:
        return order.apply(changes, names)


def test_a_change_of_order_renames_files_and_mends_links_titles_badges_rows_and_parts(tree):
    put(OTHER)
    names = sorted(path.name for path in (tree / "notebooks").iterdir())
    assert names == ["00_one.ipynb", "01_three_c.ipynb", "02_two.ipynb"]
    assert [path.name for path in (tree / "solutions").iterdir()] == ["01_three_c.ipynb"]
    for path in (tree / "notebooks" / "01_three_c.ipynb", tree / "solutions" / "01_three_c.ipynb"):
        head, _, prose, code = nbformat.read(path, as_version=4).cells
        assert head.source == links.badges(links.setting(), path.name) + "\n\n# 1 · The title of three_c"
        assert prose.source == "See [lesson *two*](02_two.ipynb), [01 Three](01_three_c.ipynb#x)."
        assert code.source == "f('02_two.ipynb')" and code.outputs[0].text == "01_two.ipynb", "outputs stay"
    readme = (tree / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\[(\d\d) Title\]\(notebooks/(\d\d_\w+)", readme) == [
        ("00", "00_one"), ("01", "01_three_c"), ("02", "02_two"),
    ]  # fmt: skip
    assert readme.startswith("| a | b |\n|---|---|\n| [00 ") and "`solutions/01_three_c.ipynb`" in readme
    guide = (tree / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert guide == "# Guide\n\n" + "\n\n".join(f"### {name}\n\nAbout *{name}*." for name in OTHER) + "\n"
    assert (tree / "helpers" / "README.md").read_text(encoding="utf-8") == map_of(OTHER)
    test = (tree / "tests" / "test_x.py").read_text(encoding="utf-8")
    assert test == 'A = "notebooks/02_two.ipynb, x01_two.ipynb, 01_four.ipynb"\n', "other names are left alone"
    assert (tree / "tests" / "run").read_text(encoding="utf-8") == "notebooks/02_two.ipynb"
    assert (tree / "tests" / "run").stat().st_mode & 0o111, "what could be run still can"


def test_twice_is_once_and_back_again_is_as_before(tree):
    before = contents(tree)
    assert put(OTHER) and put(OTHER) == [] and contents(tree) != before
    put(THREE)
    assert contents(tree) == before


@pytest.mark.parametrize("last", [0, 1, 4, 8, 9])
def test_what_is_interrupted_is_taken_back(tree, monkeypatch, last):
    before, done = contents(tree), []
    for name in ("write", "rename"):
        real = getattr(order.Changes, name)

        def step(self, *given, real=real):
            done.append(given)
            if len(done) > last:
                raise KeyboardInterrupt
            real(self, *given)

        monkeypatch.setattr(order.Changes, name, step)
    with pytest.raises(KeyboardInterrupt):
        put(OTHER)
    assert len(done) == last + 1 and contents(tree) == before


def test_a_tree_left_half_way_is_finished_by_the_next_run(tree):
    put(OTHER)
    wanted = contents(tree)
    put(THREE)
    (tree / "notebooks" / "02_three_c.ipynb").rename(tree / "notebooks" / "01_three_c.ipynb")  # a power cut
    put(OTHER)
    assert contents(tree) == wanted


@pytest.mark.parametrize(
    ("names", "spoil", "hint"),
    [
        ((*THREE, "four"), None, "ORDER in tools/lessons.py names 'four', which has no notebook; take it out."),
        (("one", "two"), None, "notebooks/02_three_c.ipynb is not in ORDER of tools/lessons.py; add 'three_c' there"),
        (("one", *THREE), None, "ORDER in tools/lessons.py names 'one' twice; take one of them out."),
        ((*THREE, "my-lesson"), None, "ORDER in tools/lessons.py names 'my-lesson'; use words in small letters, as in"),
        (OTHER, "notebooks/05_two.ipynb", "notebooks/01_two.ipynb and 05_two.ipynb are one lesson; move one"),
        (
            OTHER,
            "notebooks/Untitled.ipynb",
            "notebooks/Untitled.ipynb is not in ORDER of tools/lessons.py; move the file",
        ),
        (
            OTHER,
            "notebooks/01_two-Copy1.ipynb",
            "01_two-Copy1.ipynb is not in ORDER of tools/lessons.py; move the file",
        ),
        (OTHER, "solutions/03_four.ipynb", "solutions/03_four.ipynb is not in ORDER"),
        (OTHER, "notebooks/01_two.ipynb", "notebooks/01_two.ipynb cannot be read as a notebook; mend it first."),
    ],
)
def test_list_and_folder_that_differ_are_refused_before_anything_changes(tree, names, spoil, hint):
    if spoil:
        (tree / spoil).write_text("{", encoding="utf-8")
    before = contents(tree)
    with pytest.raises(SystemExit) as refusal:
        put(names)
    assert hint in str(refusal.value) and "\n" not in str(refusal.value)
    assert contents(tree) == before


@pytest.mark.parametrize("fault", [RuntimeError("on purpose"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("late", [False, True])
def test_a_notebook_that_does_not_run_leaves_nothing_behind(tree, monkeypatch, fault, late):
    """Also when all is written already, and only the minutes of the guide are wrong."""
    monkeypatch.setattr(new_lesson, "ROOT", tree)
    monkeypatch.setattr(lessons, "ORDER", THREE)
    (tree / "helpers" / "checks").mkdir()
    (tree / "helpers" / "checks" / "__init__.py").write_text("", encoding="utf-8")
    listing = "ORDER = (\n" + "".join(f'    "{name}",\n' for name in THREE) + ")\n"
    (tree / "tools" / "lessons.py").write_text(listing, encoding="utf-8")
    before, written = contents(tree), []

    def fail(given):
        written.extend(sorted(set(contents(tree)) - set(before)))
        raise fault

    monkeypatch.setattr(new_lesson, "execute", (lambda path: None) if late else fail)
    monkeypatch.setattr(new_lesson.minutes, "updated", fail)
    with pytest.raises(type(fault)):
        new_lesson.main(["four", "--after", "one"])
    assert {"helpers/checks/four.py", "notebooks/01_four.ipynb", "tests/test_checks_four.py"} <= set(written)
    assert ("notebooks/02_two.ipynb" in written) == late and contents(tree) == before


def test_the_list_and_the_files_agree():
    assert order.plan(lessons.ORDER) == ({}, {}), "run: make order"
    assert [lessons.name_of(path) for path in lessons.paths()] == list(lessons.ORDER)
    assert lessons.path("cam").name == f"{lessons.number('cam')}_cam.ipynb" and lessons.path("cam").is_file()
    with pytest.raises(ValueError, match="There is no lesson '04'; the lessons are start_here, look_inside,"):
        lessons.path("04")


def test_lessons_named_on_a_command_line():
    paths = lessons.paths()
    assert lessons.chosen(paths, []) == paths
    assert lessons.chosen(paths, ["grad_cam", "cam"]) == [lessons.path("cam"), lessons.path("grad_cam")]
    with pytest.raises(SystemExit, match=r"There is no lesson '04'; the lessons here are: start_here\.$"):
        lessons.chosen(paths[:1], ["04"])
    with pytest.raises(SystemExit, match=r"99_gone\.ipynb is missing; if ORDER .* has changed, run: make order"):
        lessons.chosen([paths[0], paths[0].with_name("99_gone.ipynb")], ["gone"])


@pytest.mark.parametrize("name", ["04", "camel", str(ROOT / "README.md"), str(ROOT / "notebooks")])
def test_only_notebooks_of_the_course_are_run(name):
    with pytest.raises(SystemExit, match="There is no notebook .* of the course; name a lesson, such as cam"):
        run_notebooks.main([name])
