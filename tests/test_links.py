"""The course's own address: one setting, and a fork that leaves nothing of the old one behind."""

import importlib.util
import re
import shutil
import xml.etree.ElementTree as ElementTree

import nbformat
import pytest

from helpers.course import ROOT
from tools.lessons import file_name

FORK = "Kim-2/looking.inside"


def load(root):
    """Return tools/links.py of a tree as a module."""
    spec = importlib.util.spec_from_file_location("links", root / "tools" / "links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path):
    """A copy of the tree, of all that is not data, as a module of links.py that works on it."""
    left_out = shutil.ignore_patterns(".venv", ".git", "build", "datasets", ".*_cache", "__pycache__", ".ipynb_*")
    shutil.copytree(ROOT, tmp_path / "course", ignore=left_out)
    links = load(tmp_path / "course")
    page = f"https://{links.setting().split('/')[0]}.github.io/{links.setting().split('/')[1]}/04.html"
    site = links.ROOT / "docs" / "of_the_test"
    site.mkdir(parents=True)
    (site / "index.md").write_text(
        f"[site]({page}) and https://mybinder.org/v2/gh/{links.setting()}/main.", encoding="utf-8"
    )
    return links


def texts(links):
    return {p: p.read_bytes() for p in sorted(links.ROOT.rglob("*")) if p.is_file() and "__pycache__" not in p.parts}


def test_the_tree_has_the_address_of_the_setting_everywhere(capsys):
    assert load(ROOT).main(["--check"]) == 0, capsys.readouterr().out


def test_a_fork_leaves_no_other_address_and_twice_is_once(copy, capsys):
    old = copy.setting()
    assert copy.main([FORK]) == 0 and copy.setting() == FORK
    once, (owner, name) = texts(copy), map(re.escape, old.encode().split(b"/"))
    for path, text in once.items():
        left = re.search(rb"(?<![\w-])" + owner + rb"(/|\.github\.io/)" + name + rb"(?![\w-])", text, re.I)
        assert not left, f"{path}: {left.group()}"
    for path in copy.notebooks():
        cells = nbformat.read(path, as_version=4).cells
        assert cells[0].source.split("\n\n")[0] == copy.badges(FORK, path.name)
        first = next(cell for cell in cells if cell.cell_type == "code")
        assert first.source == copy.first_cell() and f"https://github.com/{FORK} course" in first.source
    site = (copy.ROOT / "docs" / "of_the_test" / "index.md").read_text(encoding="utf-8")
    owner, name = FORK.split("/")
    assert f"gh/{FORK}/main" in site and f"https://{owner.lower()}.github.io/{name}/04.html" in site
    capsys.readouterr()
    assert copy.main([FORK]) == 0 and copy.main([]) == 0 and copy.main(["--check"]) == 0
    assert texts(copy) == once and capsys.readouterr().out == ""


def test_back_again_is_as_before(copy):
    copy.main([])
    before, old = texts(copy), copy.setting()
    copy.main([FORK])
    copy.main([old])
    assert texts(copy) == before


def test_what_a_fork_takes_over_later_is_put_right_without_an_argument(copy, capsys):
    old, lesson = copy.setting(), copy.ROOT / "notebooks" / file_name("cam")
    copy.main([])
    merged = lesson.read_text(encoding="utf-8")
    copy.main([FORK])
    lesson.write_text(merged, encoding="utf-8")
    (copy.ROOT / "README.md").open("a", encoding="utf-8").write(f"\nSee https://github.com/{old}.\n")
    capsys.readouterr()
    assert copy.main(["--check"]) == 1 and lesson.read_text(encoding="utf-8") == merged
    said = capsys.readouterr().out.split("\n")
    assert [line.split()[0] for line in said if line] == ["README.md", f"notebooks/{file_name('cam')}"]
    assert copy.main([]) == 0 and old not in lesson.read_text(encoding="utf-8") + (copy.ROOT / "README.md").read_text(
        encoding="utf-8"
    )


def test_outputs_and_other_cells_stay(copy):
    lesson = copy.ROOT / "notebooks" / file_name("cam")
    before = nbformat.read(lesson, as_version=4)
    copy.main([FORK])
    after = nbformat.read(lesson, as_version=4)
    assert before.cells[2:] == after.cells[2:] and before.metadata == after.metadata
    assert before.cells[1].outputs == after.cells[1].outputs
    assert before.cells[0].source.split("\n\n")[1:] == after.cells[0].source.split("\n\n")[1:]


@pytest.mark.parametrize("kinds", [(), ("code",), ("markdown",)])
def test_a_notebook_that_is_no_lesson_yet_is_left_alone(copy, kinds):
    made = {"code": nbformat.v4.new_code_cell("1 + 1"), "markdown": nbformat.v4.new_markdown_cell("Notes")}
    path = copy.ROOT / "notebooks" / "Untitled.ipynb"
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[made[kind] for kind in kinds])), encoding="utf-8")
    assert copy.main(["--check"]) == 0


def test_a_notebook_that_is_damaged_is_named(copy):
    (copy.ROOT / "notebooks" / "Untitled.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^notebooks.Untitled\.ipynb cannot be read as a notebook; mend it first\.$"):
        copy.main(["--check"])


def test_names_alike_are_left_alone(copy):
    old = copy.setting()
    others = f"https://github.com/{old}-2 github.com/x{old} gitlab.com/{old} {old} github.com/{old}.wiki"
    (copy.ROOT / "notes.md").write_text(f"{others} github.com/{old}. git@github.com:{old}.git", encoding="utf-8")
    copy.main([FORK])
    assert (copy.ROOT / "notes.md").read_text(
        encoding="utf-8"
    ) == f"{others} github.com/{FORK}. git@github.com:{FORK}.git"


@pytest.mark.parametrize(
    "name", ["fork", "a/b/c", "https://github.com/a/b", "a b/c", "-a/b", "a/..", "a/b.git", "a/b;rm", "/b", "ä/b"]
)
def test_another_kind_of_name_is_refused_before_anything_is_written(copy, name):
    before = texts(copy)
    with pytest.raises(SystemExit, match=r"is not owner/name as GitHub has it, such as [\w./-]+\.$"):
        copy.main([name] if not name.startswith("-") else ["--", name])
    assert texts(copy) == before


def test_a_setting_that_cannot_be_is_named(copy):
    citation = copy.ROOT / "CITATION.cff"
    citation.write_text(citation.read_text(encoding="utf-8").replace("repository-code", "code"), encoding="utf-8")
    with pytest.raises(SystemExit, match="CITATION.cff needs a line like this"):
        copy.main([])


def test_the_badges_are_small_pictures_of_their_own():
    for name in ("colab", "kaggle"):
        picture = ROOT / "notebooks" / "figures" / f"{name}.svg"
        root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
        assert root.get("aria-label") == f"Open in {name.title()}" and picture.stat().st_size < 1000
        assert "http" not in picture.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
