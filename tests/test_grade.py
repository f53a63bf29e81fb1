"""The grader: submissions that are right, wrong, hung, crashed, greedy, curious or cheating, and what each scores."""

import ast
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from helpers.course import ROOT

sys.path.append(str(ROOT / "solutions"))

import grade
from grading import folder as handed_in
from grading import kernel, parts, sandbox, wire
from grading.folder import submissions
from grading.notebook import cells_of
from grading.sandbox import Nursery
from grading.student import FULL, TOO_LONG, Lost, Student
from grading.table import Table, plain, shown

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
SPOILT = """
import ctypes, os
os.makedirs("a/b")
os.mkdir("c", 0)
ctypes.CDLL(None).mkdir(b"d", 0)
for folder in (b"a/b", b"a", b"../../helpers", b"../..", b"..", b"."):
    ctypes.CDLL(None).chmod(folder, 0)
"""
FORKED = """
import ctypes
libc = ctypes.CDLL(None)
if (pid := libc.fork()) == 0:
    libc.setsid()
    if libc.fork():
        libc._exit(0)  # the other one is nobody's child now
    while True:
        libc.sleep(1)"""
HIDDEN = """
import ctypes, os
file = ctypes.CDLL(None).memfd_create(b"x", 0)
for _ in range(28):
    os.write(file, bytes(10**8))"""
LIMITS = """
import ctypes
assert ctypes.CDLL(None).prlimit(os.getppid(), 1, (ctypes.c_ulong * 2)(2**40, 2**40), None) == 0"""
SUBMISSIONS = {  # name: cells, points, what the reasons of the parts without points hold
    "right": ([CAM, COUNT, GRAD], (1, 1, 1), ()),
    "half": ([CAM, WRONG_COUNT, BLANK], (1, 0, 0), ("one too few: the first entry", "not answered")),
    "untouched": (["x = 1"], (0, 0, 0), ("there is no 'strongest_cam'", "there is no", "there is no")),
    "no-checks": ([one.rpartition("\n")[0] for one in (CAM, COUNT, GRAD)], (1, 1, 1), ()),
    "loop": (["while True: pass\n" + CAM, COUNT, GRAD], (0, 1, 1), ("cell 2 was still running",)),
    "loop-in-a-function": (
        [CAM, inside(COUNT, "while True: pass").replace("q2_count =", "# "), GRAD],
        (1, 0, 1),
        ("its answer was still running",),
    ),
    "stubborn": (
        [CAM, "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n" + COUNT, GRAD],
        (1, 0, 1),
        ("cell 3 was still running",),
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
    "writes-into-its-input": (
        [CAM.replace("    return (", "    result = (").replace("\n\nq2", "\n    maps.zero_()\n    return result\n\nq2")]
        + [COUNT, inside(GRAD, "net.train()")],
        (0, 1, 0),
        ("your function wrote into `maps`", "`net` came in eval() and went back in train()"),
    ),
    "magic": (["%matplotlib inline\n" + CAM, "%%time\n" + COUNT, "!ls", "input()", "exit()", GRAD], (1, 1, 1), ()),
    "lost-again-and-again": (
        [CAM, *["import os\nos._exit(0)"] * 12, COUNT, GRAD],
        (1, 0, 0),
        ("was not run", "was not run"),
    ),
    "reload": (
        ["import importlib, helpers.checks.core as c, helpers.checks.exercises as e\nimportlib.reload(c)"]
        + [f"importlib.reload(e)\n{CAM}", COUNT, GRAD],
        (1, 1, 1),
        (),
    ),
    "spoils-its-folder": ([SPOILT + CAM, COUNT, GRAD], (1, 1, 1), ()),
    "strict": (["import os\nos.environ['COURSE_STRICT'] = '1'", CAM, WRONG_COUNT, GRAD], (1, 0, 1), ("one too few",)),
}
BEHIND = {  # what only the kernel can stop, and only where it can
    "native-writing": (
        [f'import cv2, numpy\nassert cv2.imwrite("{{out}}/x.png", numpy.ones((2, 2)))\n{CAM}'],
        "AssertionError",
    ),
    "torch-writing": ([f'import torch\ntorch.save(1, "{{out}}/x.pt")\n{CAM}'], "cell 2 stopped with RuntimeError"),
    "reads-solutions": ([f'open("{path("exercises", "solutions")}").read()\n{CAM}'], "Error: [Errno"),
    "reads-others": ([f'open("{{folder}}/right.ipynb").read()\n{CAM}'], "Error: [Errno"),
    "native-kill": (
        [f"import ctypes, os\nassert ctypes.CDLL(None).kill(os.getppid(), 9) == 0\n{CAM}"],
        "AssertionError",
    ),
    "native-limits": ([f"import os\n{LIMITS}\n{CAM}"], "AssertionError"),
    "native-fork": ([f"{FORKED}\nassert pid > 0\n{CAM}"], "AssertionError"),
    "hidden-memory": ([f"{HIDDEN}\n{CAM}"], "OSError"),
    "native-socket": ([f"import ctypes\nassert ctypes.CDLL(None).socket(2, 2, 0) >= 0\n{CAM}"], "AssertionError"),
    "who-grades": ([f'import os\nopen(f"/proc/{os.getppid()}/cmdline").read()\n{CAM}'], "Error: [Errno"),
    "who-is-there": ([f'import os\nos.listdir("/proc")\n{CAM}'], "PermissionError"),
    "passwords": ([f'open("/etc/shadow").read()\n{CAM}'], "Error: [Errno"),
    "neighbours": ([f'import os\nos.listdir("..")\n{CAM}'], "PermissionError"),
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
    """Start the processes behind the best fence that there is, or behind the one that FENCE names."""
    with pytest.MonkeyPatch.context() as patch, Nursery(ROOT) as started:
        if "FENCE" in os.environ:
            known = sandbox.fences
            patch.setattr(sandbox, "fences", lambda *given: [f for f in known(*given) if f[0] == os.environ["FENCE"]])
        started.describe()  # so that it has one
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
    hand_in(folder / "linked" / "mine.ipynb", [first, CAM, 'open("note.txt", "x")', COUNT, GRAD])
    (folder / "link.ipynb").symlink_to(folder / "right.ipynb")
    scores = grade.grade(folder, rules(), nursery)
    return scores, out, table_of(folder)


def table_of(folder):
    """Return the rows of ``grades.csv``, by their names."""
    with (folder / "grades.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


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
def test_the_kernel_stops_native_code(name, graded, nursery):
    if not {"Landlock", "seccomp"} <= set(nursery.walls):
        pytest.skip("this system has no Landlock or no seccomp, so native code goes round the fence")
    points, why = graded[0][name]["q2_cam"]
    assert points == 0 and BEHIND[name][1] in why, why


def test_no_process_outlives_its_notebook(graded, nursery):
    found = [one for one in psutil.process_iter(["cmdline"]) if str(nursery.course) in (one.info["cmdline"] or ())]
    assert len(found) == {"bubblewrap": 3, "unshare": 2, "": 1}[nursery.fence], found  # the fence's own, the nursery
    assert not list(nursery.work.iterdir()) and not nursery.left


def test_what_is_no_notebook_has_no_points_but_a_reason(graded):
    scores, _, rows = graded
    for name, hint in {
        "damaged": "is no notebook, or a damaged one",
        "empty": "empty folder",
        "link": "a link",
    }.items():
        assert hint in scores[name] and rows[name]["not graded"] == f"It {scores[name]}."
        assert rows[name]["total"] == rows[name]["q2_cam"] == rows[name]["why q2_cam"] == ""


def test_edited_helpers_beside_the_notebook_change_nothing(graded):
    (cam, _), (count, why), (grad, _) = graded[0]["own-helpers"].values()
    assert (cam, count, grad) == (1, 0, 1) and "one too few" in why


def test_links_inside_a_folder_are_left_out(graded):
    assert [points for points, _ in graded[0]["linked"].values()] == [1, 1, 1], graded[0]["linked"]


def test_the_table_has_a_row_for_each_submission(graded):
    scores, _, rows = graded
    assert rows.keys() == scores.keys()
    assert rows["half"] | {"why q3_cam": "", "version": ""} == {
        "name": "half",
        "file": "half.ipynb",
        **{"q2_cam": "1", "q2_count": "0", "q3_cam": "0", "total": "1", "not graded": ""},
        **{"why q2_cam": "", "why q2_count": scores["half"]["q2_count"][1], "why q3_cam": "", "version": ""},
    }


# --- with less around a notebook than this system has ---


def test_without_the_kernel_python_keeps_the_fence_and_the_grader_the_peace(tmp_path, first, nursery, monkeypatch):
    """Native code gets through, and yet spoils nothing for the next one. Run as an ordinary user, too: see below."""
    monkeypatch.setattr(nursery, "kernel", False)
    monkeypatch.setattr(nursery, "walls", [])
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
    if nursery.fence == "bubblewrap":
        cells[-1] = "import os, ctypes, shutil\nassert not os.path.exists('{folder}')"
    hand_in(folder / "=cmd.ipynb", [*cells, COUNT, GRAD], out=out, folder=folder)
    hand_in(folder / "a.ipynb", [first, FORKED + SPOILT + CAM])
    others = "import os\nassert len([one for one in os.listdir('/proc') if one.isdigit()]) < 9" if nursery.fence else ""
    hand_in(folder / "b.ipynb", [first, f"{others}\n{CAM}", COUNT, GRAD])
    scores = grade.grade(folder, rules(), nursery)
    points = [score for score, _ in scores["=cmd"].values()]
    assert "tried to write outside" in scores["=cmd"]["q2_cam"][1]
    if nursery.fence == "bubblewrap":
        assert points == [0, 1, 1], scores
    else:
        assert points == [0, 0, 1], scores
        assert "changed files outside its folder (x.png)" in scores["=cmd"]["q2_count"][1]
    assert [score for score, _ in scores["b"].values()] == [1, 1, 1], scores
    assert table_of(folder)["'=cmd"]["total"] == str(sum(points))
    test_no_process_outlives_its_notebook(None, nursery)


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("setpriv"), reason="setpriv is of Linux")
def test_the_same_without_the_rights_of_root(tmp_path):
    """In a process for which a folder of mode 0 is shut, as it is for an ordinary user, and with no fence around."""
    command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command += [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", __file__]
    command += ["-k", "without_the_kernel", "--basetemp", tmp_path / "base"]
    run = subprocess.run(command, env=os.environ | {"FENCE": ""}, capture_output=True, encoding="utf-8", cwd=ROOT)
    assert run.returncode == 0 and "1 passed" in run.stdout, run.stdout[-3000:]


def test_a_notebook_is_read_with_a_byte_order_mark_and_by_its_lessons_name(tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell("x = 'ä'")]), tmp_path / "anna.ipynb")
    (tmp_path / "anna.ipynb").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "anna.ipynb").read_bytes())
    (tmp_path / "ben").mkdir()
    for name in ("exercises", path("occlusion").stem):  # nbgrader's name for it; a lesson beside it
        nbformat.write(new_notebook(cells=[new_code_cell(f"'{name}'")]), tmp_path / "ben" / f"{name}.ipynb")
    found = submissions(tmp_path, file_name("exercises"))
    assert [found[name].cells for name in ("anna", "ben")] == [["x = 'ä'"], ["'exercises'"]]


EXERCISES, CAM_LESSON = path("exercises").stem, path("cam").stem


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        ([EXERCISES, f"{EXERCISES}-Copy1"], "holds 2 notebooks: leave the one that counts"),  # blank, and the answers
        ([EXERCISES, "my answers"], "holds 2 notebooks: leave the one that counts"),
        ([EXERCISES, "exam", CAM_LESSON.upper()], ""),
        ([CAM_LESSON], ""),
    ],
)
def test_of_two_notebooks_only_another_lesson_is_left_out(names, wrong, tmp_path):
    (tmp_path / "anna").mkdir()
    for name in names:
        (tmp_path / "anna" / f"{name}.ipynb").write_text("{}", encoding="utf-8")
    found = submissions(tmp_path, file_name("exercises"))["anna"]
    assert found.wrong == wrong and (wrong or found.notebook.stem == names[0])


def test_a_name_that_a_browser_or_windows_has_changed_is_a_submission_all_the_same(tmp_path):
    names = ("anna.ipynb", "ben.IPYNB", "cem.ipynb.txt", "dora.ipynb.json", "anna.ipynb.txt", "notes.txt", "ipynb")
    (tmp_path / "eve").mkdir()
    for name in (*names, "eve/06_Exercises.ipynb.txt", "eve/._06_Exercises.ipynb"):
        text = nbformat.writes(new_notebook(cells=[new_code_cell(Path(name).name)]))
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = submissions(tmp_path, file_name("exercises"))
    assert {name: cells_of(one.notebook.read_bytes())[0] for name, one in found.items() if not one.wrong} == {
        "anna": "anna.ipynb", "anna.ipynb.txt": "anna.ipynb.txt", "ben": "ben.IPYNB", "cem": "cem.ipynb.txt",
        "dora": "dora.ipynb.json", "eve": "06_Exercises.ipynb.txt",
    }  # fmt: skip


ENTRIES = {  # name: what its row says
    "anna.ipynb": None,
    "ben.IPYNB": None,
    "cem.ipynb.txt": None,
    "dora.ipynb.json": None,
    "k\udce4se.ipynb": None,  # a byte of Latin-1
    "two\nlines, and a comma.ipynb": None,
    "=1+1.ipynb": None,
    "ended/one.ipynb": None,
    "eve.zip": "is an archive: unpack it into a folder with the student's name",
    "._anna.ipynb": "is what a Mac writes beside a file",
    ".DS_Store": "begins with a dot",
    "report.pdf": "is no notebook: its name does not end in .ipynb",
    "both/one.ipynb": "holds 2 notebooks",
    "both/two.ipynb": "holds 2 notebooks",
    "deeper/down/one.ipynb": "holds no notebook, only other things",
}


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Return a folder with all kinds of entries, and what grades it at once, without running anything."""
    for name in ENTRIES:
        (tmp_path / "class" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "class" / name).write_text(f"{name!a}", encoding="utf-8")
    graded = []

    def one(submission, *rest):
        graded.append(submission.entry)
        return {name: (1, "") for name in NAMES}

    monkeypatch.setattr(grade, "grade_one", one)
    nursery = type("Nursery", (), {"root": tmp_path, "fence": ""})

    def run(**options):
        graded.clear()
        grade.grade(tmp_path / "class", rules(), nursery, **options)
        return list(graded)

    return tmp_path / "class", run


def test_every_entry_has_a_row(quick):
    folder, run = quick
    (folder / "linked").symlink_to(folder / "ended")
    (folder / "link.ipynb").symlink_to("anna.ipynb")
    (folder / "inside").mkdir()
    (folder / "inside" / "one.ipynb").symlink_to("../anna.ipynb")
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe.ipynb")
    graded = run()
    rows = {row["file"]: row for row in table_of(folder).values()}
    folders = {path.name for path in folder.iterdir() if path.is_dir() and not path.is_symlink()}
    assert rows.keys() == {plain(one.name + "/" * (one.name in folders)) for one in folder.iterdir()} - {"grades.csv"}
    assert sorted(graded) == sorted({re.sub("/.*", "/", name) for name, wrong in ENTRIES.items() if not wrong})
    links = dict.fromkeys(("linked", "link.ipynb"), "is a link") | {"inside/": "holds a notebook that is no file but"}
    for name, wrong in (ENTRIES | links | {"empty/": "empty folder", "pipe.ipynb": "neither a file nor"}).items():
        row = rows[plain(re.sub("/.*", "/", name))]
        assert (row["total"] == "3" and not row["not graded"]) if wrong is None else wrong in row["not graded"], row
        assert wrong is None or not row["total"]
    text = (folder / "grades.csv").read_text(encoding="utf-8")
    assert (
        "k\\udce4se" in text
        and "two\\nlines" in text
        and "\n'=1+1," in text
        and len(text.splitlines()) == len(rows) + 1
    )


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root can read everything")
def test_what_cannot_be_read_has_a_row(tmp_path):
    (tmp_path / "anna" / "data").mkdir(parents=True)
    (tmp_path / "anna" / "one.ipynb").write_text("{}", encoding="utf-8")
    for name in ("ben", "anna/data"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name).chmod(0)
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "solutions")!r}]
from grading.folder import in_words, submissions
found = submissions(Path({str(tmp_path)!r}), "06_exercises.ipynb")
print(found["ben"].wrong)
try:
    found["anna"].fingerprint()
except OSError as error:
    print(in_words(error))"""
    command = (
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if os.geteuid() == 0 else []
    )
    run = subprocess.run([*command, sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    for name in ("ben", "anna/data"):
        (tmp_path / name).chmod(0o700)
    assert run.stdout.splitlines() == ["cannot be read (Permission denied)"] * 2, run.stderr


def test_what_has_not_changed_is_not_graded_again(quick):
    folder, run = quick
    everything = run()
    assert len(everything) == 8 and run() == []
    before = (folder / "grades.csv").read_text(encoding="utf-8")
    (folder / "anna.ipynb").write_text("new", encoding="utf-8")
    (folder / "ended" / "data.txt").write_text("new", encoding="utf-8")
    (folder / "new.ipynb").write_text("new", encoding="utf-8")
    (folder / "grades.csv").write_text(before.replace("ben.IPYNB,1", "ben.IPYNB,0"), encoding="utf-8")  # by hand
    assert run() == ["anna.ipynb", "ended/", "new.ipynb"]
    assert table_of(folder)["ben"]["q2_cam"] == "0"
    (folder / "ben.IPYNB").unlink()
    assert run() == [] and "ben" in table_of(folder)  # nothing is lost
    assert sorted(run(again=True)) == sorted({*everything, "new.ipynb"} - {"ben.IPYNB"})


def give_by_hand(folder, name, **cells):
    """Write cells into a row, as a person does."""
    rows = table_of(folder)
    rows[name] |= cells
    with (folder / "grades.csv").open("w", newline="", encoding="utf-8") as file:  # and without a byte order mark
        table = csv.DictWriter(file, rows[name])
        table.writeheader()
        table.writerows(rows.values())


def test_points_given_by_hand_stay_where_nothing_can_be_graded(quick, capsys, monkeypatch):
    folder, run = quick
    run()
    give_by_hand(folder, "eve.zip", q2_cam="1", total="1")
    give_by_hand(folder, "report.pdf", q3_cam="1")
    (folder / "both" / "three.ipynb").touch()
    (folder / "ben.IPYNB").rename(folder / "other")
    (folder / "ben.IPYNB").symlink_to(folder / "other")
    assert run() == [] and run(again=True) and "eve.zip: not graded. It is an archive" in capsys.readouterr().out
    rows = table_of(folder)
    assert (rows["eve.zip"]["q2_cam"], rows["eve.zip"]["total"], rows["report.pdf"]["q3_cam"]) == ("1", "1", "1")
    assert rows["ben"]["total"] == "3" and "holds 3 notebooks" in rows["both"]["not graded"]
    monkeypatch.setattr(grade, "grade_one", lambda *given: "is no notebook, or a damaged one")
    assert run(again=True) == [] and table_of(folder)["anna"]["total"] == "3"


def test_the_grades_of_another_exam_are_left_alone(quick):
    folder, run = quick
    run()
    before = (folder / "grades.csv").read_bytes()
    with pytest.raises(ValueError, match="holds the grades of another exam: move it away"):
        grade.grade(folder, rules()._replace(files={"exam.safetensors": b"8"}), None)
    assert (folder / "grades.csv").read_bytes() == before and run() == []


def test_a_stop_loses_nothing(quick, monkeypatch):
    folder, run = quick
    one = grade.grade_one

    def stopped(submission, *rest):
        if submission.entry == "cem.ipynb.txt":
            raise KeyboardInterrupt
        return one(submission, *rest)

    monkeypatch.setattr(grade, "grade_one", stopped)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert table_of(folder)["ben"]["total"] == "3" and "cem" not in table_of(folder)
    monkeypatch.setattr(grade, "grade_one", one)
    assert "ben.IPYNB" not in (rest := run()) and "cem.ipynb.txt" in rest


def test_the_command_says_how_it_goes_on_after_a_stop(tmp_path, monkeypatch, capsys):
    (tmp_path / "anna.ipynb").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(grade, "Nursery", lambda root: (_ for _ in ()).throw(KeyboardInterrupt))
    assert grade.main([str(tmp_path)]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_a_full_disk_loses_nothing(quick, monkeypatch, capsys):
    folder, run = quick
    run()
    before = (folder / "grades.csv").read_text(encoding="utf-8")

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (folder / "anna.ipynb").write_text("new", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be written \\(No space left on device\\): see to its folder"):
        run()
    assert (folder / "grades.csv").read_text(encoding="utf-8") == before
    monkeypatch.setattr(grade, "Nursery", lambda root: full(1))
    assert grade.main([str(folder)]) == 1 and "has the grades so far; mend this" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["folder", "link", "another table", "latin", "row"])
def test_a_table_that_is_none_of_ours_is_left_alone(kind, tmp_path):
    file, other = tmp_path / "grades.csv", tmp_path / "other"
    other.write_text("name,mark\nanna,1\n", encoding="utf-8")
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(other)
    else:
        Table(file, ["q1"]).put("anna", "anna.ipynb", "7", {"q1": (1, "")})
        text = file.read_text(encoding="utf-8-sig")
        content = {"another table": "name,mark\nanna,1\n", "latin": text.replace("anna", "änna"), "row": text + "a,b\n"}
        file.write_text(content[kind], encoding="latin-1")
    before = None if kind == "folder" else file.read_bytes()
    with pytest.raises(ValueError, match=r"grades\.csv .* move it away, or give it another name"):
        Table(file, ["q1"])
    assert kind == "folder" or file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grades.csv", "other"]


def test_a_table_is_read_as_it_was_written(tmp_path):
    names = ["=1+1", "'=1+1", "a\nb", "a\\nb", "k\udce4se", "＝1", 'a,b;"c', "\u202egnp"]
    table = Table(tmp_path / "grades.csv", ["q1"])
    for number, name in enumerate(names):
        table.put(name, name, str(number), {"q1": (number, f"-why\n{name}")})
    again = Table(tmp_path / "grades.csv", ["q1"])
    assert again.rows == table.rows and len(again.rows) == len(names)
    assert all(again.has(name, str(number)) for number, name in enumerate(names))
    text = (tmp_path / "grades.csv").read_text(encoding="utf-8")
    assert not re.search(r'(^|,)"?[=+\-@＝]', text, re.M) and len(text.splitlines()) == len(names) + 1
    assert shown("ä ß 7") == "ä ß 7"


def test_a_table_is_for_those_who_could_read_it_before(tmp_path):
    file = tmp_path / "grades.csv"
    Table(file, ["q1"])
    assert file.stat().st_mode & 0o777 == 0o600
    for mode in (0o640, 0o604):
        file.chmod(mode)
        Table(file, ["q1"]).put("anna", "anna.ipynb", "7", {"q1": (1, "")})
        assert file.stat().st_mode & 0o777 == mode


def test_a_spreadsheet_may_save_the_table(quick):
    folder, run = quick
    (folder / "ended").rename(folder / "0123456")
    run()
    assert (folder / "grades.csv").read_bytes().startswith(b"\xef\xbb\xbf")  # or Excel shows JÃ¼rgen
    row = table_of(folder)["0123456"]
    assert row["file"] == "0123456/"
    assert re.fullmatch(r"x[0-9a-f]{8}-[0-9a-f]{16}", row["version"])  # no number, whatever its digits
    assert run() == []


def test_a_table_of_before_is_read(tmp_path):
    file = tmp_path / "grades.csv"
    file.write_text(
        "name,file,q1,total,not graded,why q1,version\n0123,0123,1,1,,,1234567890123e45\n", encoding="utf-8"
    )
    table = Table(file, ["q1"], key="x0")
    assert table.has("0123/", "1234567890123e45") and table.has_points("0123/")
    table.put("0123", "0123/", "x0-7", {"q1": (0, "why.")})
    assert list(Table(file, ["q1"], key="x0").rows) == ["0123/"]


def test_two_graders_do_not_share_a_folder(tmp_path):
    with grade.alone(tmp_path), pytest.raises(ValueError, match="is being graded already"), grade.alone(tmp_path):
        pass
    with grade.alone(tmp_path), grade.alone(tmp_path / "none"):
        pass


# --- what comes from a student's process ---


def sent(value):
    """Return a value as it arrives at the grader."""
    tensors = {}
    tree = json.loads(json.dumps(wire.pack(value, tensors)))
    return wire.unpack(tree, wire.tensors_of(wire.packed(tensors)))


@pytest.mark.parametrize(
    "value",
    [
        np.unravel_index(5, (2, 3)),
        np.array(["A", "B"])[1],
        [np.array(["conv1", "conv2"])[0], "conv2"],
        [np.float32(0.5), np.float64(2)],
        np.bool_(True),
        np.arange(3),
        [1, (2.5, None)],
    ],
)
def test_answers_arrive_as_they_are(value):
    came = sent(value)
    assert type(came) is type(value) or isinstance(value, str) and type(came) is str
    assert np.array_equal(came, value) if isinstance(value, np.ndarray) else came == value
    if isinstance(value, tuple | list) and not isinstance(value[-1], str | tuple):
        assert torch.as_tensor(came).tolist() == pytest.approx([float(one) for one in value])


def test_the_grader_itself_limits_what_it_takes():
    assert len(wire.unpack(["plain", "x" * 200_000], {})) == wire.LETTERS
    first, second = wire.unpack(["list", [["tensor", "0"], ["tensor", "0"]]], {"0": torch.ones(2)})
    assert first.tolist() == [1, 1] and not isinstance(second, torch.Tensor)  # once, or a message holds it many times
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(wire.HEAD.pack(2, 17 << 20))
        with pytest.raises(ValueError, match="a message of 18 MB"):
            wire.Channel(ours).receive(1)


def test_a_student_without_a_process_is_not_graded_where_no_other_has_one(nursery, tmp_path, first, monkeypatch):
    hand_in(tmp_path / "anna.ipynb", [first, CAM])
    start, given = nursery.start, []

    def failing(work, memory):
        given.append(work)
        if fails(work):
            raise EOFError
        return start(work, memory)

    monkeypatch.setattr(nursery, "start", failing)
    fails = lambda work: True  # noqa: E731
    with pytest.raises(OSError, match="no process can be started for a notebook"):
        grade.grade(tmp_path, rules(), nursery)
    assert table_of(tmp_path) == {}
    given.clear()
    fails = lambda work: work == given[0]  # noqa: E731
    scores = grade.grade(tmp_path, rules(), nursery)
    assert scores == {"anna": "cannot be read: reading it has no process: none could be started in its folder"}
    given.clear()
    fails = lambda work: len(given) == 1  # noqa: E731
    assert grade.grade(tmp_path, rules(), nursery, again=True)["anna"]["q2_cam"] == (1, "")


def test_a_full_disk_is_no_students_fault(nursery, tmp_path, monkeypatch):
    (tmp_path / "anna.ipynb").write_text("{}", encoding="utf-8")

    def copy(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(handed_in.Submission, "copy", copy)
    with pytest.raises(OSError, match="is nearly full: set TMPDIR"):
        grade.grade(tmp_path, rules(), nursery)
    assert table_of(tmp_path) == {} and not list(nursery.work.iterdir())


def test_a_text_counts_wherever_it_is_written(student):
    part = parts.Part("q1", "form(", lambda answer: True, ("x",), texts=("why", "meaning"))
    scores = grade._grade_cells(["x, why = 1, '...'  # form(", "why = 'Because.'"], [part], student)
    assert scores.texts == {"why": "Because.", "meaning": ""}


def test_a_text_that_is_lost_is_not_empty(student, monkeypatch):
    part = parts.Part("q1", "form(", lambda answer: True, ("x",), texts=("why", "meaning"))

    def fetch(names):
        raise {"why": Lost, "meaning": KeyError}[names[0]](names[0])

    monkeypatch.setattr(student, "fetch", fetch)
    assert grade._texts(part, student) == {"meaning": ""}


def test_a_notebook_cannot_import_the_grader(nursery, monkeypatch):
    """Not even where no kernel hides its files."""
    monkeypatch.setattr(nursery, "kernel", False)
    monkeypatch.setattr(nursery, "walls", [])
    with nursery.fresh_folder() as work:
        student = Student(nursery, work, 20.0, 1.0, [])
        assert "ImportError: cannot import name 'exam'" in student.run("from grading import exam")
        student.stop()


def test_what_is_left_when_the_course_cannot_be_copied_is_nothing(tmp_path, monkeypatch):
    def stopped(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Nursery, "copy", stopped)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        Nursery(ROOT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_whoever_ends_the_command_interrupts_it(name):
    number = getattr(signal, name)
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(number, signal.SIG_DFL)
        grade.end_as_on_ctrl_c()
        assert signal.getsignal(number) == signal.default_int_handler
        signal.signal(number, signal.SIG_IGN)  # as nohup does
        grade.end_as_on_ctrl_c()
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


# --- limits ---


@pytest.fixture
def student(nursery):
    with nursery.fresh_folder() as work:
        started = Student(nursery, work, 20.0, 1.0, [])
        assert started.run("pass") is None
        yield started
        started.stop()


def test_a_part_is_limited_in_what_it_computes_and_in_time(student, monkeypatch):
    student.seconds = 0.3
    monkeypatch.setattr("grading.student.PATIENCE", 1000)
    student.begin()
    assert student.run("while True: pass") == "was still running when its part had computed for 0.3 seconds"
    monkeypatch.setattr("grading.student.PATIENCE", 3)
    student.begin()
    assert student.run("import time; time.sleep(1000)") == "was still running after 0.9 seconds by the clock"


def test_many_cells_do_not_take_longer_than_one(student):
    """A cell gets a little time when its part has none left, but not for ever."""
    student.end = (begun := time.monotonic()) - 1000
    assert "was still running" in student.run("import time; time.sleep(5)")
    assert time.monotonic() - begun < 5


def test_a_notebook_that_fills_the_disk_is_stopped(student, monkeypatch, tmp_path):
    free = iter([1 << 30])
    usage = lambda folder: type("Usage", (), {"free": next(free, (1 << 30) - 1)})  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert student.run("import time; time.sleep(1000)") == FULL
    assert student.run("short = 1") == FULL
    with pytest.raises(OSError, match="is nearly full"), student.nursery.fresh_folder():
        pass
    with pytest.raises(ValueError, match="is nearly full: set TMPDIR to a folder with 2 GB free"):
        Nursery(ROOT)


def test_a_notebook_may_limit_itself_and_have_threads(student):
    assert student.run("import os, resource, torch\ntorch.set_num_threads(2)") is None
    assert student.run("assert (torch.ones(900, 900) @ torch.ones(900, 900)).sum() == 900**3") is None
    assert student.run("resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))") is None
    assert student.run("os.sched_setaffinity(0, os.sched_getaffinity(0))") is None
    assert "limits and signals no other process" in student.run("resource.prlimit(os.getppid(), 1, (1, 1))")


def test_cells_that_run_again_share_a_limit(student):
    cell = "import os, time\nif os.path.exists('x'):\n    time.sleep(60)\nopen('x', 'w').close()"
    assert student.run(cell) is None and student.run("y = 1") is None
    student.again, begun = 0.5, time.monotonic()
    assert "ended its process" in student.run("import os; os._exit(0)")
    assert student.run("z = 1") == TOO_LONG and time.monotonic() - begun < 20


def test_what_the_system_writes_beside_the_notebooks_is_nobodys_change(nursery, tmp_path):
    with nursery.fresh_folder() as work:
        student = Student(nursery, work, 20.0, 1.0, [tmp_path])
        for name in (".DS_Store", "~$grades.xlsx", ".~lock.grades.csv#", "grades.csv"):
            (tmp_path / name).touch()
        assert student._state() == student.clean
        (tmp_path / "x.png").touch()
        assert student._state() != student.clean


def test_what_cannot_be_removed_is_in_nobodys_way(nursery):
    with nursery.fresh_folder() as work:
        (work / "kept").touch()
        if (
            not shutil.which("chattr")
            or subprocess.run(["chattr", "+i", work / "kept"], capture_output=True).returncode
        ):
            pytest.skip("nothing is immutable here")
    with nursery.fresh_folder() as other:
        assert other != work and not list(other.iterdir())
    subprocess.run(["chattr", "-i", work / "kept"], check=True)
    assert nursery.left == [work] and sandbox.remove(work) and not nursery.left.clear()


# --- reading a notebook ---


def as_file(cells, **more):
    return json.dumps(new_notebook(cells=cells) | more)


def test_a_notebook_is_read_in_any_unicode_and_without_its_outputs():
    cell = new_code_cell("x = 'ä'", outputs=[{"output_type": "stream", "name": "stdout", "text": "x" * 60_000_000}])
    text = as_file([cell, new_code_cell(" ")])
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert cells_of(as_file([new_code_cell("x = 'ä'")]).encode(encoding)) == ["x = 'ä'"]
    assert cells_of(text.encode()) == ["x = 'ä'"]
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": "y", "outputs": ["?"], "language": "python"}]}]}
    assert cells_of(json.dumps(old | {"nbformat": 3, "nbformat_minor": 0, "metadata": {}}).encode()) == ["y"]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "7", "null", '{"cells": 7}', '{"cells": [7]}', "[" * 10**6, "7" * 10**6, "\0"]
)
def test_what_is_no_notebook_is_refused(content):
    with pytest.raises(ValueError, match="is no notebook, or a damaged one"):
        cells_of(content.encode())


def test_too_much_code_is_refused():
    with pytest.raises(ValueError, match="holds more than 1000 code cells"):
        cells_of(as_file([new_code_cell("x") for _ in range(1001)]).encode())


def test_a_file_that_bursts_when_it_is_read_costs_its_own_limits_only(tmp_path, nursery):
    (tmp_path / "bomb.ipynb").write_text('{"cells": [' + "[]," * 3_000_000 + "[]]}", encoding="utf-8")
    (tmp_path / "deep.ipynb").write_text('{"a":' * 10**5, encoding="utf-8")
    scores = grade.grade(tmp_path, rules(seconds=20.0, memory=0.1), nursery)
    assert "cannot be read: reading it asked for more than the 0.1 GB of memory" in scores["bomb"]
    assert "is no notebook, or a damaged one" in scores["deep"]
    scores = grade.grade(tmp_path, rules(seconds=0.05, memory=4), nursery)
    assert "cannot be read: reading it was still running when its part had computed for 0.05" in scores["bomb"]


def test_what_is_too_large_or_too_much_is_not_copied(tmp_path, nursery, monkeypatch):
    monkeypatch.setattr(handed_in, "MOST_FILES", 2)
    (tmp_path / "many").mkdir()
    for name in ("one.ipynb", "b", "c"):
        (tmp_path / "many" / name).write_text("{}", encoding="utf-8")
    with (tmp_path / "large.ipynb").open("wb") as file:
        file.truncate(3 << 30)
    scores = grade.grade(tmp_path, rules(), nursery)
    assert scores == {"large": "is larger than 2 GB", "many": "holds more than 2 files"}


# --- the command ---


@pytest.mark.parametrize(
    "text", ["7", "\ufeffThe exam of May.\n\n 7 \n", '{\n  "seed": 7,\n  "made": "2026"\n}', "seed = 7\n"]
)
def test_an_exams_seed_is_read_from_a_file(text, tmp_path, capsys):
    (tmp_path / "key.txt").write_text(text, encoding="utf-8")
    assert grade.seed_of(str(tmp_path / "key.txt")) == 7 and not capsys.readouterr().err


def test_a_files_name_may_be_a_number(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2026").write_text("seed = 7\n", encoding="utf-8")
    assert grade.seed_of("2026") == 7 and not capsys.readouterr().err


def test_a_seed_on_the_command_line_is_taken_with_a_warning(capsys):
    assert grade.seed_of("7") == 7
    assert "Others on this machine can see a seed on a command line" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "", "no seed", "7\n8\n", "ä"])
def test_a_file_without_a_seed_is_an_error(text, tmp_path, capsys):
    if text is not None:
        (tmp_path / "key.txt").write_text(text, encoding="latin-1")
    (tmp_path / "anna.ipynb").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit):
        grade.main([str(tmp_path), "--exam", str(tmp_path / "key.txt")])
    assert "is no text file with the exam's seed" in capsys.readouterr().err


def test_root_is_told_to_grade_as_somebody_else(tmp_path, capsys, monkeypatch):
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        with pytest.raises(SystemExit):
            grade.main([str(tmp_path)])
        assert ("You are root, and so is each notebook" in capsys.readouterr().err) == (user == 0)


def test_what_stands_around_the_notebooks_is_said(nursery, monkeypatch):
    assert nursery.describe().startswith("Around each notebook: ")
    monkeypatch.setattr(nursery, "kernel", False)
    assert "Native code gets past this: see docs/grading.md" in nursery.describe()
    assert (ROOT / "docs" / "grading.md").exists()


def test_the_numbers_of_system_calls_are_those_of_linux():
    headers = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")
    if not all(header.exists() for header in headers):
        pytest.skip("the kernel's headers are not here")
    known = [dict(re.findall(r"#define __NR_(\w+) (\d+)", header.read_text(encoding="utf-8"))) for header in headers]
    calls = {name: both for group in kernel.REFUSED.values() for name, both in group.items()}
    calls |= kernel.TO_ITSELF | kernel.OF_ITSELF
    for name, numbers in (calls | {"clone": kernel.CLONE}).items():
        for table, number in zip(known, numbers, strict=True):
            assert int(table.get(name, number or -1)) == (-1 if number is None else number), name


REFUSING = """
import ctypes, json, sys
sys.path.insert(0, sys.argv[1])
from grading import kernel
if not kernel.refuse_calls():
    sys.exit(print("null"))
libc, which = ctypes.CDLL(None, use_errno=True), list(kernel.MACHINES).index(kernel.platform.machine())
def tried(number, *given):
    return -ctypes.get_errno() if libc.syscall(number, *given) < 0 else 0
calls = [(name, -error, both[which]) for error, group in kernel.REFUSED.items() for name, both in group.items()]
wrong = [name for name, wanted, number in calls if number is not None and tried(number, 0, 0, 0, 0) != wanted]
wrong += ["clone"] * (tried(kernel.CLONE[which], 17, 0, 0, 0, 0) != -1)
wrong += [name for name, both in kernel.TO_ITSELF.items() if tried(both[which], 1, 0, 0, 0) != -1]
wrong += [name for name, both in kernel.OF_ITSELF.items() if tried(both[which], 1, 0, 0, 0) != -1]
wrong += [name for name, both in kernel.OF_ITSELF.items() if tried(both[which], 0, 0, 0, 0) == -1]
wrong += ["itself"] * (tried(kernel.TO_ITSELF["kill"][which], kernel.os.getpid(), 0) != 0)
print(json.dumps(wrong))"""


def test_the_kernel_refuses_each_call():
    command = [sys.executable, "-c", REFUSING, str(ROOT / "solutions")]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=60)
    wrong = json.loads(run.stdout)
    if wrong is None:
        pytest.skip("this system has no filter of calls that we know")
    assert wrong == []


def test_an_empty_folder_is_an_error(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(SystemExit):
            grade.main([str(folder)])
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
