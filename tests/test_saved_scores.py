"""Scores kept on disk: a second call does only what is missing, and never takes what belongs to another call."""

import ast
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.course import ROOT
from helpers.evaluation import methods
from nets import Tiny, pictures
from test_scoreboard import LAYER, masks
from tools.scoreboard import saved_scores, work_units
from tools.scoreboard.scoreboard import scoreboard

ROWS = ["gradient", "grad_cam", "random", "Sobel"]
OBJECTS, DISTRACTORS = masks(7)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(work_units, "BATCH", 3)  # 3, 3 and 1 of seven pictures


@pytest.fixture
def worked(monkeypatch):
    """The units that were done, in order."""
    done, work = [], work_units.work
    monkeypatch.setattr(work_units, "work", lambda asked, unit: done.append(unit) or work(asked, unit))
    return done


def board_of(folder=None, net=None, x=None, target=2, objects=OBJECTS, distractors=DISTRACTORS, **options):
    options = {"layer": LAYER, "methods": ROWS, "threads": 1, **options}
    x = pictures(7, 32) if x is None else x
    return scoreboard(net or Tiny().eval(), x, target, objects, distractors, folder=folder, **options)


def same(one, other):
    """Whether two boards are the same bit for bit, with NaN in the same places."""
    pairs = [(one[row][key], other[row][key]) for row in one for key in one[row]]
    equal = [torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs]
    return list(one) == list(other) and bool(pairs) and all(equal)


def test_a_second_call_does_nothing_and_says_the_same(tmp_path, worked):
    plain, first = board_of(), board_of(tmp_path)
    assert len(worked) == 2 * 3 * len(ROWS)
    again = board_of(str(tmp_path))
    assert len(worked) == 2 * 3 * len(ROWS) and same(plain, first) and same(first, again)
    assert all(len(path.read_bytes()) < 1000 for path in tmp_path.iterdir()) and len(list(tmp_path.iterdir())) == 12


def test_scores_that_are_missing_are_kept_as_such(tmp_path, worked):
    net = Tiny().eval()
    with torch.no_grad():
        net.fc.bias -= net(pictures(7, 32))[:, 2].median()  # scores below zero have no Ablation-CAM
    first = board_of(tmp_path, net, methods=["ablation_cam"])
    assert 0 < first["ablation_cam"]["rank"].isnan().sum() < 7
    assert same(first, board_of(tmp_path, net, methods=["ablation_cam"])) and len(worked) == 3


def test_an_interrupted_call_goes_on_where_it_was(tmp_path, worked, monkeypatch):
    def stopped(asked, unit):
        if len(worked) == 5:
            raise KeyboardInterrupt
        return counted(asked, unit)

    counted = work_units.work
    monkeypatch.setattr(work_units, "work", stopped)
    with pytest.raises(KeyboardInterrupt):
        board_of(tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 5
    (tmp_path / "left.part").write_text("by a process that was killed", encoding="utf-8")
    monkeypatch.setattr(work_units, "work", counted)
    board = board_of(tmp_path)
    assert len(worked) == len(set(worked)) == 3 * len(ROWS) and same(board, board_of())


def test_more_pictures_and_more_rows_find_what_is_there(tmp_path, worked):
    board_of(tmp_path, x=pictures(7, 32)[:4], objects=OBJECTS[:4], distractors=DISTRACTORS[:4], methods=ROWS[:3])
    before = len(worked)
    assert same(board_of(tmp_path), board_of()) and before == 6
    assert (
        worked[before : before + 9]
        == [unit for unit in work_units.cut(ROWS, 7) if unit.first or unit.row == "Sobel"][:9]
    )


class Bent(Tiny):
    """Weights and modules of Tiny, and another code."""

    def forward(self, x):
        return super().forward(x) * 1.5


def other_weights():
    net = Tiny().eval()
    with torch.no_grad():
        net.conv1.weight[0, 0, 0, 0] += 1e-3
    return net


def other_setting():
    net = Tiny().eval()
    net.drop.p = 0.25  # without effect here, but who can know
    return net


def moved(masks):
    masks = masks.copy()
    masks[:, 0, 0] = True
    return masks


CHANGES = {
    "seed": {"seed": 1},
    "weights": {"net": other_weights()},
    "setting": {"net": other_setting()},
    "code of the network": {"net": Bent().eval()},
    "pictures": {"x": pictures(7, 32) + 1e-3},
    "order of pictures": {"x": pictures(7, 32).flip(0)},
    "target": {"target": 3},
    "targets": {"target": torch.tensor([2, 2, 3, 2, 2, 3, 3])},
    "objects": {"objects": moved(OBJECTS)},
    "distractors": {"distractors": moved(DISTRACTORS)},
    "outlines": {"outlines": moved(OBJECTS)},
    "layer": {"layer": "act"},
    "precision": {"net": Tiny().eval().double(), "x": pictures(7, 32).double()},
    "threads": {"threads": 2},
    "function": {"target": lambda logits: logits[:, 2]},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_target_finds_nothing(change, tmp_path, worked):
    board_of(tmp_path)
    worked.clear()
    asked = {**change, "methods": ["gradient", "random"]}
    assert same(board_of(tmp_path, **asked), board_of(**asked))
    pictures_changed = {unit.first for unit in worked[: len(worked) - 6]}
    assert pictures_changed == {0, 3, 6}
    worked.clear()
    board_of(tmp_path, **asked)
    assert not worked


def test_objects_count_also_where_the_outlines_stay(tmp_path, worked):
    board_of(tmp_path, outlines=OBJECTS)
    board_of(tmp_path, outlines=OBJECTS, objects=moved(OBJECTS))
    assert len(worked) == 2 * 3 * len(ROWS)


def test_a_network_that_computes_otherwise_finds_nothing(tmp_path, worked, monkeypatch):
    board_of(tmp_path, methods=["Sobel"])
    forward = Tiny.forward
    monkeypatch.setattr(Tiny, "forward", lambda self, x: 2 * forward(self, x))
    board_of(tmp_path, methods=["Sobel"])
    assert len(worked) == 6


def test_a_corrected_method_finds_nothing_of_the_old_one(tmp_path, worked, monkeypatch):
    board_of(tmp_path, methods=["random"])
    monkeypatch.setattr(work_units, "version", lambda: "another")
    board_of(tmp_path, methods=["random"])
    assert len(worked) == 6
    monkeypatch.setitem(
        methods.METHODS_AND_BASELINES, "random", methods.METHODS_AND_BASELINES["random"]._replace(forward="2")
    )
    board_of(tmp_path, methods=["random"])
    assert len(worked) == 9


def test_the_version_is_of_all_code_that_makes_scores(monkeypatch):
    version = work_units.version.__wrapped__
    assert version() == version() == work_units.version() and version().startswith(
        f"torch {torch.__version__} and course "
    )
    text, read = Path.read_text, []
    monkeypatch.setattr(Path, "read_text", lambda self, **how: read.append(self) or text(self, **how))
    version()
    assert {path.relative_to(ROOT).as_posix() for path in read} >= {
        "helpers/attribution/gradients.py",
        "helpers/attribution/_common.py",
        "helpers/evaluation/methods.py",
        "helpers/evaluation/scores.py",
        "helpers/hooks/capture.py",
        "tools/scoreboard/work_units.py",
    }
    for path in read:
        monkeypatch.setattr(Path, "read_text", lambda self, path=path, **how: text(self, **how) + " " * (self == path))
        assert version() != work_units.version(), path


def test_a_layer_may_be_given_as_it_is_and_modes_do_not_matter(tmp_path, worked):
    board_of(tmp_path)
    worked.clear()
    net = Tiny().train()
    net.conv1.requires_grad_(False)
    board_of(tmp_path, net, layer=net.act2)
    board_of(tmp_path, net, target=torch.full((7,), 2))
    assert not worked


def test_a_function_is_known_by_what_it_gives(tmp_path, worked):
    """The same scores for the pictures are not enough: covered pictures have others."""
    net = Tiny().eval()
    with torch.no_grad():
        top = net(pictures(7, 32)).argmax(1)
        net.fc.bias[2] += 10  # so that class 2 is every picture's top one
    functions = [lambda logits: logits[:, 2], lambda logits: logits.amax(1), lambda logits: logits[:, 2] - logits[:, 0]]
    boards = [board_of(tmp_path, net, target=function, methods=["gradient"]) for function in functions]
    assert len(worked) == 9 and top.unique().numel() < 5
    chosen = 2  # an equal function, with other code and a value from outside
    again = board_of(tmp_path, net, target=lambda logits: logits[..., chosen], methods=["gradient"])
    assert len(worked) == 9 and same(again, boards[0]) and not same(boards[0], boards[2])
    chosen = 0
    board_of(tmp_path, net, target=lambda logits: logits[..., chosen], methods=["gradient"])
    assert len(worked) == 12


def damages(text):
    checksum, scores = text.splitlines()
    worse = json.loads(scores)
    worse["rank"][0] = 1.0
    yield from ("", text[: len(text) // 2], checksum, f"{checksum}\n{json.dumps(worse)}\n", f"{text}more\n", "\0" * 300)


def test_a_damaged_file_is_made_again(tmp_path, worked):
    board = board_of(tmp_path, methods=["grad_cam"])
    path = next(tmp_path.glob("grad_cam_0_*.json"))
    whole = path.read_text(encoding="utf-8")
    for number, damaged in enumerate(damages(whole), start=1):
        path.write_text(damaged, encoding="utf-8")
        assert same(board_of(tmp_path, methods=["grad_cam"]), board)
        assert len(worked) == 3 + number and path.read_text(encoding="utf-8") == whole, damaged
    path.write_text(
        next(tmp_path.glob("grad_cam_3_*.json")).read_text(encoding="utf-8"), encoding="utf-8"
    )  # whole, but of other pictures
    assert same(board_of(tmp_path, methods=["grad_cam"]), board) and path.read_text(encoding="utf-8") == whole
    path.write_bytes(b"\xff\xfe")
    assert same(board_of(tmp_path, methods=["grad_cam"]), board)


def test_nothing_is_written_half(tmp_path, monkeypatch):
    """Whoever is stopped while writing leaves a file that nobody asks for."""
    names = []
    monkeypatch.setattr(
        saved_scores.Path,
        "replace",
        lambda self, path: names.append((self.suffix, self.read_text(encoding="utf-8"), path)),
    )
    board_of(tmp_path, methods=["Sobel"])
    assert not list(tmp_path.glob("*.json")) and len(names) == 3
    for suffix, text, path in names:
        checksum, scores = text.splitlines()
        assert suffix == ".part" and path.suffix == ".json" and checksum == saved_scores._hash(path.name, scores)


def test_a_network_with_odd_values_has_a_key(tmp_path, worked):
    net = Tiny().eval()
    net.note, net.table = object(), {"a": 1}  # nothing that a key could be made of
    net.register_buffer("empty", None)
    net.register_buffer("extent", torch.zeros((), dtype=torch.bfloat16), persistent=False)
    net.extra = nn.Identity()
    for _ in range(2):
        board_of(tmp_path, net, methods=["Sobel"])
    net.extent += 1
    assert len(worked) == 3
    board_of(tmp_path, net, methods=["Sobel"])
    assert len(worked) == 6


def imports(body):
    nodes = [node for node in ast.walk(body) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in nodes for alias in node.names} | {getattr(node, "module", "") for node in nodes}
    return {name.partition(".")[0] for name in names if name}


def test_dask_is_imported_in_one_place_and_only_when_it_is_needed():
    for path in (*(ROOT / "helpers").rglob("*.py"), *(ROOT / "tools" / "scoreboard").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = [ast.Pass()]
        assert path.name == "cluster.py" or not imports(tree) & {"dask", "distributed"}, path
        tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
        assert not imports(tree) & {"dask", "distributed"}, path


def test_what_a_client_needs_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    with pytest.raises(ImportError, match="an extra of the course: python -m pip install distributed"):
        board_of(client=object())
