"""The rules of the house: what every notebook, module and page of the repository keeps."""

import ast
import hashlib
import json
import re
import subprocess
import sys
from functools import cache

import pytest
import yaml

from helpers.course import ROOT
from tools import lessons
from tools.bound_numbers import lonely_numbers, plain

NOTEBOOKS = sorted(path for folder in ("notebooks", "solutions", "tools") for path in (ROOT / folder).glob("*.ipynb"))
LESSONS = lessons.paths()
REPOSITORY = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["repository-code"]
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)


@cache
def files():
    """Every file of the repository: what lies here, less what .gitignore names."""
    ignored = {
        ".git",
        *(line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split() if "*" not in line),
    }
    found = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and not ignored.intersection(parts) and parts[:2] != ("datasets", "downloads"):
            found.append(path)
    return [path for path in found if not any(part.endswith(".egg-info") for part in path.parts)]


@cache
def cells_of(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return cells


def code_of(path):
    return [cell for cell in cells_of(path) if cell["cell_type"] == "code"]


def prose_of(path):
    return "\n\n".join(cell["source"] for cell in cells_of(path) if cell["cell_type"] == "markdown")


def outputs_of(path):
    """Everything that the notebook printed, as text."""
    parts = []
    for cell in code_of(path):
        for output in cell["outputs"]:
            parts += output.get("text", []) or output.get("data", {}).get("text/plain", [])
            parts += output.get("data", {}).get("text/html", [])
    return "".join(parts)


def is_picture(output):
    return any(kind.startswith("image/") for kind in output.get("data", {}))


# --- notebooks ---


def test_the_folder_of_lessons_holds_the_lessons_of_the_list_and_figures_alone():
    kept = {path for path in files() if ROOT / "notebooks" in path.parents}
    evidence = ROOT / "notebooks" / "evidence.json"
    assert {path for path in kept if path.parent == ROOT / "notebooks"} - {evidence} == set(LESSONS), "run: make order"
    assert {path.parent.name for path in kept - set(LESSONS) - {evidence}} == {"figures"}
    assert lessons.path("exercises", "solutions") in NOTEBOOKS


def test_the_folder_of_tests_holds_tests_and_what_they_import():
    folder = ROOT / "tests"
    others = {path for path in files() if folder in path.parents and not path.name.startswith("test_")}
    texts = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    for path in others - {folder / "conftest.py"}:
        assert path.suffix == ".py", f"{path.name} is no test"
        assert path.stem == "sitecustomize" or re.search(rf"(from|import) {path.stem}\b", texts), (
            f"no test needs {path.name}"
        )


@every_notebook
def test_saved_as_run_from_top_to_bottom(path):
    counts = [cell["execution_count"] for cell in code_of(path)]
    assert counts == list(range(1, len(counts) + 1))
    kinds = {output["output_type"] for cell in code_of(path) for output in cell["outputs"]}
    assert "error" not in kinds
    noise = [o["text"] for cell in code_of(path) for o in cell["outputs"] if o.get("name") == "stderr"]
    assert not noise, "a warning is saved with the notebook"
    assert "widgets" not in json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert not any("widget-view" in kind for c in code_of(path) for o in c["outputs"] for kind in o.get("data", {}))


@every_notebook
def test_cells_are_short_and_none_is_empty(path):
    for cell in code_of(path):
        assert 0 < len(cell["source"].splitlines()) <= 25, cell["source"][:200]


@every_notebook
def test_it_is_small(path):
    assert path.stat().st_size < 0.8e6


@every_notebook
def test_the_first_code_cell_is_the_same_everywhere(path):
    assert code_of(path)[0]["source"] == code_of(LESSONS[0])[0]["source"]
    assert REPOSITORY in code_of(path)[0]["source"]


@every_notebook
def test_every_picture_has_a_caption_and_words_for_those_who_cannot_see_it(path):
    cells = cells_of(path)
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        pictures = [output for output in cell.get("outputs", []) if is_picture(output)]
        if pictures:
            assert following and following["source"].startswith("**Caption.**"), cell["source"]
        for output in pictures:
            words = [entry.get("alt", "") for entry in output["metadata"].values() if isinstance(entry, dict)]
            assert len("".join(words)) > 10, f"no alt text: {cell['source'][-200:]}"


@every_lesson
def test_the_header_has_the_form_of_a_lesson(path):
    header = cells_of(path)[0]["source"]
    badge, title, *rest = [line for line in header.split("\n\n") if line.strip()]
    colab = REPOSITORY.replace("github.com", "colab.research.google.com/github")
    assert f"({colab}/blob/main/notebooks/{path.name})" in badge
    assert re.match(rf"# {int(lessons.number(lessons.name_of(path)))} · \S", title), "run: make order"
    assert rest[0].startswith("**Goal.**") and rest[1].startswith("**You will be able to**")
    reading, running = re.match(r"Reading (\d+) minutes · running (\d+) s · needs ", rest[2]).groups()
    assert 5 <= int(reading) <= 45 and int(running) < 60


@every_lesson
def test_nothing_in_its_code_serves_the_author_only(path):
    code = "\n".join(cell["source"] for cell in code_of(path))
    assert not re.search(r"\b(claim|predict|guesses|guess)\b", code)
    assert max(len(line) for cell in code_of(path)[1:] for line in cell["source"].splitlines()) <= 88


@every_lesson
def test_every_number_is_bound_or_marked(path):
    """The header is left out: its minutes and seconds are measured by the tools that write them."""
    texts = [cell["source"] for cell in cells_of(path)[1:] if cell["cell_type"] == "markdown"]
    lonely = {text.splitlines()[0][:60]: found for text in texts if (found := lonely_numbers(text))}
    assert lonely == {}


@every_lesson
def test_a_question_comes_before_its_picture_and_its_answer_is_folded(path):
    prose = plain(prose_of(path))
    assert prose.count("> **Predict first.**") == prose.count("<summary>Compare with your prediction</summary>") >= 1


@every_lesson
def test_the_set_up_cell_is_collapsed(path):
    first = code_of(path)[0]
    assert first["metadata"]["jupyter"] == {"source_hidden": True} and first["metadata"]["cellView"] == "form"
    assert first["source"].startswith("# @title ")


@every_lesson
def test_a_lesson_asks_first_checks_and_lets_the_student_work(path):
    code, prose = "\n".join(cell["source"] for cell in code_of(path)), prose_of(path)
    assert "> **Predict first.**" in prose
    assert re.search(r"^assert |^ *assert_close\(|testing\.assert_close\(|checks?\.", code, re.M)
    assert prose.count("<details>") == prose.count("</details>") >= 4
    assert re.search(r"\*\*Next\.\*\*|\*\*Further reading\.\*\*", prose)


@every_notebook
def test_no_call_that_the_course_teaches_against(path):
    check_banned("\n".join(cell["source"] for cell in code_of(path)))


@pytest.mark.parametrize("path", sorted((ROOT / "helpers").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_such_call_in_the_helpers(path):
    check_banned(path.read_text(encoding="utf-8"))


def check_banned(code):
    for pattern in (
        r"""cmap\s*=\s*['"]jet|COLORMAP_JET|\bcm\.jet\b""",
        r"pretrained\s*=\s*True",
        r"register_backward_hook",
        r"\.cuda\(\)",
        r"torch\.load\((?![^)]*weights_only)",
    ):
        assert not re.search(pattern, code), pattern


@every_lesson
def test_folded_solutions_stand_below_their_exercise(path):
    code = "\n".join(cell["source"] for cell in code_of(path))
    if path == lessons.path("exercises"):
        return  # its solutions lie in solutions/
    asked = re.findall(r"^def (\w+)\([^)]*\):\n(?:    .*\n)*?    \.\.\.  # your code here", code, re.M)
    assert asked, "no exercise"
    for name in asked:
        assert re.search(rf"<summary>Solution</summary>.*?```python\n.*?def {name}\(", prose_of(path), re.S), name


# --- pages and links ---


def pages():
    yield from ((path, prose_of(path)) for path in NOTEBOOKS)
    yield from ((path, path.read_text(encoding="utf-8")) for path in files() if path.suffix == ".md")


def texts():
    """What people read and run: every page and module, and each notebook's cells without their outputs."""
    for path in files():
        if path in NOTEBOOKS:
            yield path, "\n\n".join(cell["source"] for cell in cells_of(path))
        elif path.suffix in {".md", ".py", ".toml", ".yml", ".yaml", ".cff", ".html", ".css", ".bib", ""}:
            yield path, path.read_text(encoding="utf-8")


def numbered(text):
    """Lessons that a text calls by their number, which changes when the order does; only a link may have it."""
    names = "|".join(lessons.ORDER)
    counted = r"\blessons?[\s_]+\[?\*?\d+\b"
    return re.findall(rf"{counted}|(?<!\w)\d\d_(?:{names})\b(?!\.ipynb)", text, re.I)


def test_lessons_are_called_by_their_names():
    for path, text in texts():
        if path.name != "test_repository.py":
            assert not numbered(text), f"{path.relative_to(ROOT)}: {numbered(text)}"


@pytest.mark.parametrize(
    "text",
    ["needs lesson 04", "Lessons 4 to 6", "[lesson 04](x)", "lesson *04*", "lesson_04.py", "lesson\n04", "in 04_cam"],
)
def test_a_lesson_called_by_its_number_is_found(text):
    assert numbered(text)
    assert not numbered(
        "lesson *cam*, [lesson *cam*](04_cam.ipynb), 3 lessons, lessons in 4 weeks, a lesson of 25 minutes"
    )


def test_links_inside_the_repository_exist():
    for path, text in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"https?:|mailto:|attachment:|#|data:", target):
                assert (path.parent / target.partition("#")[0]).exists(), f"{path.name}: {target}"


def test_the_readme_lists_every_lesson_with_its_minutes():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in LESSONS:
        minutes = re.search(r"Reading (\d+) minutes", cells_of(path)[0]["source"]).group(1)
        assert re.search(rf"\(notebooks/{path.name}\).*\| {minutes} min", readme), path.name


def test_the_tree_is_small():
    assert sum(path.stat().st_size for path in files()) < 30e6


@pytest.mark.parametrize("folder", ["datasets", "notebooks/figures"])
def test_what_is_shipped_is_what_was_made(folder):
    lines = (ROOT / folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    expected = {name.removeprefix("./"): checksum for checksum, name in (line.split("  ") for line in lines)}
    shipped = [path for path in files() if (ROOT / folder) in path.parents]
    shipped = {
        str(path.relative_to(ROOT / folder)): path
        for path in shipped
        if path.suffix in {".gz", ".png", ".jpg", ".safetensors"}
    }
    assert expected == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in shipped.items()}


def test_nothing_of_one_machine_or_of_a_registry_is_in_the_repository():
    shape = re.compile(
        "/".join(["", "work", "(main|shared)"]) + "|/tm" + r"p/\w|pythonhos" + "ted|pypi.org/sim" + "ple"
    )
    for path in files():
        if path.suffix in {".py", ".md", ".ipynb", ".toml", ".yml", ".txt", ".cff", ""}:
            text = path.read_text(encoding="utf-8")
            found = shape.search(text)
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}"
            assert not re.search(r"\b(TO" + "DO|FIX" + "ME)", text), path


# --- helpers: imports that run one way ---

MAY_IMPORT = {  # a room of helpers, or a module at its top -> the other rooms that it may import, late or early
    "course": {"plotting", "training"},
    "training": set(),
    "hooks": set(),
    "data": {"course"},
    "models": {"course", "data"},
    "attribution": {"hooks"},
    "synthesis": {"attribution", "hooks"},
    "evaluation": {"attribution", "hooks"},
    "plotting": set(),
    "explorer": {"attribution", "data", "evaluation", "models", "plotting"},
    "report": {"attribution", "data", "evaluation", "hooks", "models", "plotting"},
    "checks": {"attribution", "data", "evaluation", "hooks", "models", "synthesis"},
}


def modules():
    return sorted((ROOT / "helpers").rglob("*.py"))


def dotted(path):
    """The name by which a module of helpers is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(path):
    """Every module of helpers, or of tools, that a module imports anywhere: above, inside of functions, for hints."""
    known, found = {dotted(other) for other in modules()}, set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has an import relative to its folder"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in names]
        found.update(name for name in names if name.split(".")[0] in ("helpers", "tools", "tests"))
    return found


def test_every_room_has_its_place_in_the_order():
    rooms = {dotted(path).split(".")[1] for path in modules() if dotted(path) != "helpers"}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    own = dotted(path).split(".")[1:2]
    for name in imported(path):
        assert name.startswith("helpers"), f"{path.name} imports {name}: the package stands below tools and tests"
        room = name.split(".")[1] if "." in name else name
        assert [room] == own or (own and room in MAY_IMPORT[own[0]]), f"{dotted(path)} imports {name}"


def test_no_circle_of_imports():
    """Also not inside of a room, and not by an import inside of a function; a package is what it imports above all."""
    edges = {dotted(path): imported(path) - {dotted(path)} for path in modules()}
    done, on_the_way = set(), []

    def visit(name):
        assert name not in on_the_way, " -> ".join([*on_the_way[on_the_way.index(name) :], name])
        if name not in done and name in edges:
            on_the_way.append(name)
            for other in sorted(edges[name]):
                visit(other)
            on_the_way.pop()
            done.add(name)

    for name in sorted(edges):
        visit(name)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_public_functions_have_hints_and_say_what_they_do(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
            assert node.returns is not None, f"{node.name} does not say what it returns"
            given = [*node.args.args, *node.args.kwonlyargs]
            assert all(arg.annotation is not None for arg in given), f"{node.name} has an argument without a hint"


def test_ruff_has_nothing_to_say():
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "-q", "."],
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
        )
        assert run.returncode == 0, run.stdout + run.stderr


# --- text files and commands on every machine ---

MODES = set("rwaxbt+")


def without_encoding(tree):
    """Lines that read or write text, a file's or a process's, in whatever encoding the machine has."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        given = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
        first = [getattr(argument, "value", None) for argument in call.args]
        if "encoding" in given or None in given:
            continue
        if name in ("read_text", "write_text"):
            missing = len(first) < {"read_text": 1, "write_text": 2}[name]
        elif name == "open":
            first = first[1:] if isinstance(call.func, ast.Name) else first  # open(file, mode), but file.open(mode)
            mode = first[0] if first else given.get("mode", "r")
            missing = isinstance(mode, str) and set(mode) <= MODES and "b" not in mode
        else:
            missing = given.get("text") is True or given.get("universal_newlines") is True
        if missing:
            found.append(call.lineno)
    return found


CODE = [path for path in files() if path.suffix == ".py"]


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_text_is_read_and_written_as_utf_8(path):
    lines = without_encoding(ast.parse(path.read_text(encoding="utf-8")))
    assert not lines, f'{path.relative_to(ROOT)}, lines {lines}: say encoding="utf-8"'


@every_notebook
def test_text_is_read_as_utf_8_in_lessons_too(path):
    for cell in code_of(path):
        assert not without_encoding(ast.parse(cell["source"])), cell["source"]


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("p.read_text(); p.write_text(t); open(f); open(f, 'w'); p.open(); p.open('a'); run(c, text=True)", 7),
        ("p.read_text('utf-8'); p.write_text(t, encoding='utf-8'); open(f, 'rb'); p.open('wb'); run(c)", 0),
        ("Image.open(p); tarfile.open(name); os.open(a, b); open(f, encoding='utf-8', mode='w'); p.open(**k)", 0),
    ],
)
def test_text_without_an_encoding_is_found(code, count):
    assert len(without_encoding(ast.parse(code))) == count


CONSTANT = {"ARGS", "BIN", "INSTALLED", "INSTALLED_ALL", "SLOW"}  # ours, without blanks; ARGS holds several words


def unquoted(makefile):
    """Variables in recipes that a blank or a quote in them would tear apart: outside of double quotes, or not ours."""
    found = []
    for line in re.findall(r"^\t(.*)$", makefile, re.M):
        bare = re.sub(r'"(?:[^"\\\\]|\\\\.)*"', '""', re.sub(r"\$\$\{\w+:\+([^}]*)\}", r"\1", line))
        found += [name for name in re.findall(r"\$[({](\w+)", bare) if name not in CONSTANT]
        found += re.findall(r"\$\$\{?([A-Za-z]\w*)", bare)
        found += [name for name in re.findall(r"\$\((\w+)\)", line) if name not in CONSTANT | {"PYTHON"}]
    return sorted(set(found))


def test_recipes_quote_what_a_caller_names():
    assert not unquoted((ROOT / "Makefile").read_text(encoding="utf-8"))


@pytest.mark.parametrize("recipe", ["grade $(IN)", 'grade "$(IN)"', "grade $$IN", "grade $${IN:?which}", "$(PYTHON) x"])
def test_an_unquoted_variable_is_found(recipe):
    assert unquoted(f"grade: env\n\t$(BIN)/python {recipe} $(ARGS)\n") in (["IN"], ["PYTHON"])
    assert not unquoted('a:\n\t$(BIN)/x "$$IN" "$${IN:?which?}" $${IN:+--in "$$IN"} "$(PYTHON)" $(ARGS) \'$$\'\n')
