"""The grader: submissions that are right, wrong, hung, crashed, greedy, curious or cheating, and what each scores."""

import ast
import csv
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers.course import ROOT

sys.path.append(str(ROOT / "solutions"))

import grade
from grading import parts
from grading.folder import submissions
from grading.sandbox import Nursery

from tools.lessons import file_name, path

NAMES = ("q2_cam", "q2_count", "q3_cam")
CAM = """
from helpers.checks.exercises import check_q2_cam

def strongest_cam(maps, weight, keep=20):
    chosen = maps.mean((1, 2)).topk(keep).indices
    return (weight[chosen, None, None] * maps[chosen]).sum(0)

q2_cam = check_q2_cam(strongest_cam)"""
COUNT = """
from helpers.checks.exercises import check_q2_count

def maps_needed(maps, weight, share=0.9):
    order = maps.mean((1, 2)).argsort(descending=True)
    sums = (weight[:, None, None] * maps)[order].cumsum(0).flatten(1)
    return ((sums - sums[-1]).norm(dim=1) / sums[-1].norm() <= 1 - share).int().argmax() + 1

q2_count = check_q2_count(maps_needed)"""
GRAD = """
from helpers.checks.exercises import check_q3_cam
from helpers import attribution

def grad_cam_at(net, x, target, layer):
    return attribution.grad_cam(net, x, target, layer=layer)

q3_cam = check_q3_cam(grad_cam_at)"""
WRONG_COUNT = COUNT.replace(".argmax() + 1", ".argmax()")
BLANK = "\n".join(line for line in GRAD.splitlines() if "return" not in line).replace("layer):", "layer):\n    ...")


def inside(function, line):
    """Return a cell in which the function's body begins with another line."""
    return re.sub(r"(def \w+\(.*\):\n)", rf"\1    {line}\n", function)


def tried(line):
    """Return a cell that goes on when a line fails."""
    return f"try:\n    {line}\nexcept Exception as error:\n    caught = error"


LIES = """
import os, socket
for number in range(3, 40):
    try:
        socket.socket(fileno=os.dup(number)).send(b"x" * 10_000)
    except OSError:
        pass"""
SUBMISSIONS = {  # name: cells, points, what the reasons of the parts without points hold
    "right": ([CAM, COUNT, GRAD], (1, 1, 1), ()),
    "half": ([CAM, WRONG_COUNT, BLANK], (1, 0, 0), ("one too few: the first entry", "not answered")),
    "untouched": (["x = 1"], (0, 0, 0), ("there is no 'strongest_cam'", "there is no", "there is no")),
    "no-checks": ([one.rpartition("\n")[0] for one in (CAM, COUNT, GRAD)], (1, 1, 1), ()),
    "loop": (["while True: pass\n" + CAM, COUNT, GRAD], (0, 1, 1), ("cell 2 was still running when the 2 seconds",)),
    "loop-in-a-function": (
        [CAM, inside(COUNT, "while True: pass").replace("q2_count =", "# "), GRAD],
        (1, 0, 1),
        ("its answer was still running when",),
    ),
    "stubborn": (
        [CAM, "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n" + COUNT, GRAD],
        (1, 0, 1),
        ("cell 3 was still running when the 2 seconds",),
    ),
    "crash": (
        [CAM, "import os\nos._exit(3)\n" + COUNT, GRAD],
        (1, 0, 1),
        ("cell 3 ended its process (exit status 3)",),
    ),
    "native-crash": (
        [CAM, inside(COUNT, "import ctypes; ctypes.string_at(0)").replace("q2_count =", "# "), GRAD],
        (1, 0, 1),
        ("its answer ended its process (Segmentation fault)",),
    ),
    "hog": (
        ["kept = []", "while True: kept.append(bytes(3 * 10**8))\n" + CAM, COUNT, "import torch\n" + GRAD],
        (0, 1, 1),
        ("cell 3 asked for more than the 1 GB of memory",),
    ),
    "torch-hog": (
        [CAM, COUNT, "import torch\ntorch.ones(10**10)\n" + GRAD],
        (1, 1, 0),
        ("cell 4 asked for more than",),
    ),
    "error": (["1 / 0", CAM, "undefined\n" + COUNT, GRAD], (1, 0, 1), ("NameError: name 'undefined' is not defined",)),
    "outside": (
        [CAM, tried('open("{out}/note", "w")'), COUNT, GRAD],
        (1, 0, 1),
        ("tried to write outside its folder",),
    ),
    "outside-at-the-end": (
        [CAM, COUNT, GRAD, tried('open("../course.txt", "a")')],
        (1, 1, 0),
        ("tried to write outside",),
    ),
    "other-ways-outside": (
        [
            tried('__import__("os").rename("x", "{out}/x")'),
            CAM,
            tried('__import__("os").mkdir("{out}/y")'),
            COUNT,
            GRAD,
        ],
        (0, 0, 1),
        ("tried to write outside its folder", "tried to write outside its folder"),
    ),
    "inside": (['open("note.txt", "w").write("mine")\n' + CAM, COUNT, GRAD], (1, 1, 1), ()),
    "patched-by-name": (
        ["import helpers.checks.exercises as e\ne.check_q2_cam = lambda f: True\n" + CAM, COUNT, GRAD],
        (0, 1, 1),
        ("replaced a checker (helpers.checks.exercises.check_q2_cam)",),
    ),
    "patched-inside": (
        ["import helpers.checks.core as c\nc.name_the_mistake.__code__ = (lambda *a, **k: a[0]).__code__", WRONG_COUNT],
        (0, 0, 0),
        ("there is no", "replaced a checker", "there is no"),
    ),
    "edited-course": (
        [CAM, tried('open(home / "helpers/checks/core.py", "a").write("#")'), COUNT, GRAD],
        (1, 0, 1),
        ("tried to write outside its folder",),
    ),
    "network": (
        [
            tried('__import__("urllib.request").request.urlopen("http://192.0.2.1", timeout=1)'),
            "raise caught\n" + CAM,
            COUNT,
        ],
        (0, 1, 0),
        ("has no network", "there is no 'grad_cam_at'"),
    ),
    "process": (["import subprocess\nsubprocess.run(['true'])\n" + CAM, COUNT, GRAD], (0, 1, 1), ("no other process",)),
    "kills": (["import os\nos.kill(os.getppid(), 9)\n" + CAM, COUNT, GRAD], (0, 1, 1), ("signals no other process",)),
    "liar": ([CAM, LIES + COUNT, GRAD], (1, 0, 1), ("cell 3 ",)),
    "object": (
        [
            CAM,
            COUNT,
            "class Trap:\n    def __reduce__(self):\n        return print, ()\ngrad_cam_at = Trap()\n# check_q3_cam(",
        ],
        (1, 1, 0),
        ("a function is asked for, not a Trap",),
    ),
    "hooked": (
        [CAM, COUNT, inside(GRAD, "net.register_forward_hook(print)")],
        (1, 1, 0),
        ("hook of yours is still in",),
    ),
    "magic": (["%matplotlib inline\n" + CAM, "%%time\n" + COUNT, "!ls", "input()", "exit()", GRAD], (1, 1, 1), ()),
    "lost-again-and-again": (
        [CAM, *["import os\nos._exit(0)"] * 12, COUNT, GRAD],
        (1, 0, 0),
        ("was not run", "was not run"),
    ),
    "strict": (["import os\nos.environ['COURSE_STRICT'] = '1'", CAM, WRONG_COUNT, GRAD], (1, 0, 1), ("one too few",)),
}
BEHIND = {  # what only the kernel can stop, and only where it can
    "native-writing": (
        [f'import cv2, numpy\nassert cv2.imwrite("{{out}}/x.png", numpy.ones((2, 2)))\n{CAM}'],
        "AssertionError",
    ),
    "torch-writing": ([f'import torch\ntorch.save(1, "{{out}}/x.pt")\n{CAM}'], "cell 2 stopped with RuntimeError"),
    "reads-solutions": ([f'open("{path("exercises", "solutions")}").read()\n{CAM}'], "PermissionError"),
    "reads-others": ([f'open("{{folder}}/right.ipynb").read()\n{CAM}'], "PermissionError"),
    "native-kill": (
        [f"import ctypes, os\nassert ctypes.CDLL(None).kill(os.getppid(), 9) == 0\n{CAM}"],
        "AssertionError",
    ),
}


@pytest.fixture(scope="module")
def first():
    cells = nbformat.read(path("exercises", "solutions"), as_version=4).cells
    return next(cell.source for cell in cells if cell.cell_type == "code")


def hand_in(path, cells, **names):
    for name, value in names.items():
        cells = [cell.replace(f"{{{name}}}", str(value)) for cell in cells]
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in cells]), path)


def rules(**options):
    chosen = [part for part in parts.exercises() if part.name in NAMES]
    return grade.Rules(chosen, file_name("exercises"), {}, **({"seconds": 2.0, "memory": 1.0} | options))


@pytest.fixture(scope="module")
def nursery():
    with Nursery(ROOT) as started:
        yield started


@pytest.fixture(scope="module")
def graded(tmp_path_factory, first, nursery):
    """Grade all submissions at once, each with the rest of the class around it; return scores, folders, CSV."""
    folder, out = tmp_path_factory.mktemp("handed-in"), tmp_path_factory.mktemp("elsewhere")
    for name, (cells, *_) in (SUBMISSIONS | BEHIND).items():
        hand_in(folder / f"{name}.ipynb", [first, *cells], out=out, folder=folder)
    (folder / "damaged.ipynb").write_text("{]", encoding="utf-8")
    (folder / "empty").mkdir()
    own = folder / "own-helpers" / "helpers" / "checks"
    own.mkdir(parents=True)
    (own.parent / "__init__.py").write_text("", encoding="utf-8")
    (own / "__init__.py").write_text("", encoding="utf-8")
    (own / "exercises.py").write_text("check_q2_count = lambda function: True\n", encoding="utf-8")
    hand_in(folder / "own-helpers" / "mine.ipynb", [first, CAM, WRONG_COUNT, GRAD])
    (folder / "linked").mkdir()
    (folder / "linked" / "note.txt").symlink_to(out / "linked")
    hand_in(folder / "linked" / "mine.ipynb", [first, CAM, tried('open("note.txt", "w")'), COUNT, GRAD])
    table = grade.grade(folder, rules(), nursery)
    with (folder / "grades.csv").open(newline="", encoding="utf-8") as file:
        return table, out, {row["name"]: row for row in csv.DictReader(file)}


def reasons(scores):
    return [why for points, why in scores.values() if not points]


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_points_and_reasons(name, graded):
    _, points, hints = SUBMISSIONS[name]
    scores = graded[0][name]
    assert tuple(score for score, _ in scores.values()) == points, scores
    for hint, why in zip(hints, reasons(scores), strict=True):
        assert hint in why and why.endswith(".") and "\n" not in why, why
    assert all(not why for score, why in scores.values() if score)


def test_nothing_was_written_elsewhere(graded):
    assert list(graded[1].iterdir()) == []


@pytest.mark.parametrize("name", BEHIND)
def test_the_kernel_stops_native_code(name, graded):
    if not has_landlock():
        pytest.skip("this system has no Landlock, so native code goes round the fence")
    points, why = graded[0][name]["q2_cam"]
    assert points == 0 and BEHIND[name][1] in why, why


def has_landlock():
    import ctypes

    return sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) >= 6


def test_what_is_no_notebook_gets_a_reason(graded):
    for name, hint in {"damaged": "no notebook, or a damaged one", "empty": "its folder holds no notebooks"}.items():
        assert [score for score, _ in graded[0][name].values()] == [0, 0, 0]
        assert all(hint in why for why in reasons(graded[0][name]))


def test_edited_helpers_beside_the_notebook_change_nothing(graded):
    (cam, _), (count, why), (grad, _) = graded[0]["own-helpers"].values()
    assert (cam, count, grad) == (1, 0, 1) and "one too few" in why


def test_a_link_is_no_way_out(graded):
    (cam, _), (count, why), (grad, _) = graded[0]["linked"].values()
    assert (cam, count, grad) == (1, 0, 1) and "tried to write outside its folder" in why


def test_the_table_has_a_row_for_each_submission(graded):
    table, _, rows = graded
    assert rows.keys() == table.keys()
    assert rows["half"] | {"why q3_cam": ""} == {
        "name": "half",
        **{"q2_cam": "1", "q2_count": "0", "q3_cam": "0", "total": "1"},
        **{"why q2_cam": "", "why q2_count": table["half"]["q2_count"][1], "why q3_cam": ""},
    }


def test_without_the_kernel_python_keeps_the_fence(tmp_path, first, nursery, monkeypatch):
    monkeypatch.setattr(nursery, "kernel", False)
    out = tmp_path / "out"
    out.mkdir()
    folder = tmp_path / "in"
    folder.mkdir()
    cells = [
        first,
        tried('open("{out}/x", "w")'),
        CAM,
        'import cv2, numpy\ncv2.imwrite("{folder}/x.png", numpy.ones((2, 2)))',
    ]
    hand_in(folder / "=cmd.ipynb", [*cells, COUNT, GRAD], out=out, folder=folder)
    scores = grade.grade(folder, rules(), nursery)["=cmd"]
    assert [score for score, _ in scores.values()] == [0, 0, 1]
    assert "tried to write outside" in scores["q2_cam"][1]
    assert "changed files outside its folder (x.png)" in scores["q2_count"][1]
    assert (folder / "grades.csv").read_text(encoding="utf-8").splitlines()[1].startswith("'=cmd,")


def test_a_notebook_is_read_with_a_byte_order_mark_and_by_its_lessons_name(tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell("x = 'ä'")]), tmp_path / "anna.ipynb")
    (tmp_path / "anna.ipynb").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "anna.ipynb").read_bytes())
    (tmp_path / "ben").mkdir()
    for name in ("exercises", "07_other"):  # nbgrader's name for it; a lesson beside it
        nbformat.write(new_notebook(cells=[new_code_cell(f"'{name}'")]), tmp_path / "ben" / f"{name}.ipynb")
    found = submissions(tmp_path, file_name("exercises"))
    assert found["anna"].cells == ["x = 'ä'"] and found["ben"].cells == ["'exercises'"]


def test_a_name_that_a_browser_or_windows_has_changed_is_a_submission_all_the_same(tmp_path):
    names = ("anna.ipynb", "ben.IPYNB", "cem.ipynb.txt", "dora.ipynb.json", "anna.ipynb.txt", "notes.txt", "ipynb")
    (tmp_path / "eve").mkdir()
    for name in (*names, "eve/06_Exercises.ipynb.txt", "eve/._06_Exercises.ipynb"):
        text = nbformat.writes(new_notebook(cells=[new_code_cell(Path(name).name)]))
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = submissions(tmp_path, file_name("exercises"))
    assert {name: one.cells[0] for name, one in found.items()} == {
        "anna": "anna.ipynb", "anna.ipynb.txt": "anna.ipynb.txt", "ben": "ben.IPYNB", "cem": "cem.ipynb.txt",
        "dora": "dora.ipynb.json", "eve": "06_Exercises.ipynb.txt",
    }  # fmt: skip


def test_an_empty_folder_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit):
        grade.main([str(tmp_path)])
    assert "holds no submission: put name.ipynb" in capsys.readouterr().err


def test_the_parts_are_those_of_the_notebook():
    """Every check of the notebook is a part, with the same answers, and what is given is given by the notebook."""
    notebook = nbformat.read(path("exercises"), as_version=4)
    calls = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and re.search(r"= check_q\d\w*\(", cell.source):
            for call in ast.walk(ast.parse(cell.source)):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "").startswith("check_q"):
                    calls[call.func.id] = [one.id for one in call.args]
    known = parts.exercises()
    assert list(calls) == [part.check.__name__ for part in known]
    for part in known:
        names = calls[part.check.__name__]
        assert tuple(names[: len(part.answers)]) == part.answers
        assert len(names) == len(part.answers) + len(part.given())
