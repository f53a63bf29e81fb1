"""The scoreboard on a cluster: the local scores bit for bit, also when a worker is killed; make test-all starts two."""

import os
import signal
import threading
import time
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from helpers.data import planted_cues, shapes
from helpers.models import load_classifier
from nets import Tiny, pictures
from test_saved_scores import board_of, same
from test_scoreboard import masks
from tools.scoreboard import cluster, work_units
from tools.scoreboard.scoreboard import scoreboard

with_dask = pytest.mark.skipif(not find_spec("distributed"), reason="Dask is not installed: pip install distributed")
slow = pytest.mark.skipif(
    os.environ.get("COURSE_ALL") != "1" or not find_spec("distributed"), reason="make test-all starts workers"
)


class Noted(Tiny):
    """A net that writes into a file whenever a process has unpacked it, and fails where it was told to."""

    def __init__(self, notes, broken=False):
        super().__init__()
        self.notes, self.broken, self.home = str(notes), broken, os.getpid()
        with torch.no_grad():  # some scores below zero, so that Ablation-CAM has no map of their pictures
            self.eval()
            self.fc.bias -= self(pictures(12, 32))[:, 2].median()

    def __setstate__(self, state):
        super().__setstate__(state)
        self.note("unpacked")

    def note(self, what):
        with open(self.notes, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{what} {os.getpid()}\n")

    def forward(self, x):
        if self.__dict__.get("broken") and os.getpid() != self.home:
            self.note("broken")
            raise RuntimeError("a bug in the middle of a network")
        return super().forward(x)


def noted(path, what):
    """The processes that noted something, in order."""
    return [int(line.split()[1]) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(what)]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


ROWS = ["gradient", "integrated_gradients", "smooth_grad", "rise", "ablation_cam", "random", "Sobel"]


@pytest.fixture
def call(tmp_path, monkeypatch):
    """What is asked in the tests with workers: 12 pictures, in units of three."""
    monkeypatch.setattr(work_units, "BATCH", 3)
    objects, distractors = masks(12)
    net = Noted(tmp_path / "notes").eval()
    return {"net": net, "x": pictures(12, 32), "objects": objects, "distractors": distractors, "methods": ROWS}


# --- with workers that are processes ---


@pytest.fixture(scope="module")
def client():
    with cluster.connected(workers=2) as client:
        started = set(client.run(os.getpid).values())
        yield client
        started |= set(client.run(os.getpid).values())
    assert len(started) >= 2 and not any(map(alive, started))  # none is left


@slow
def test_two_workers_give_the_local_scores_and_each_gets_the_network_once(client, call, tmp_path):
    workers = set(client.run(os.getpid).values())
    local, far = board_of(**call), board_of(**call, client=client)
    assert same(local, far)
    assert 0 < local["ablation_cam"]["rank"].isnan().sum() < 12 and not local["rise"]["rank"].isnan().any()
    assert len(workers) == 2 and sorted(noted(tmp_path / "notes", "unpacked")) == sorted(workers)
    assert all(count == 1 for count in client.nthreads().values())  # and one is what torch may use, unless told


@slow
def test_a_network_of_the_course_with_functions_and_layers_sent_as_they_are(client, monkeypatch):
    monkeypatch.setattr(work_units, "BATCH", 2)
    net, drawn = load_classifier("shapes_resnet"), planted_cues.planted(4, 71)
    x, truth = shapes.preprocess(drawn.images), (drawn.objects, drawn.distractors)
    options = {"methods": ["gradient", "lrp", "grad_cam", "smooth_grad"], "layer": net.model.layer4, "threads": 1}
    for target in (torch.from_numpy(drawn.labels), lambda logits: logits[:, 3] - logits[:, 5]):
        boards = [scoreboard(net.model, x, target, *truth, client=one, **options) for one in (None, client)]
        assert same(*boards)


@slow
def test_a_bug_in_a_network_is_raised_as_it_is_and_once(client, call, tmp_path):
    net = Noted(tmp_path / "bug", broken=True).eval()
    with pytest.raises(RuntimeError, match="^a bug in the middle of a network$"):
        board_of(**{**call, "net": net, "methods": ["gradient"]}, client=client)
    assert 1 <= len(noted(tmp_path / "bug", "broken")) <= 4  # not more than there are units: none was asked for again
    assert same(board_of(**call), board_of(**call, client=client))  # and the cluster goes on


@slow
def test_one_of_two_workers_is_killed_half_way(client, call, tmp_path, monkeypatch):
    local, folder, killed = board_of(**call), tmp_path / "parts", []
    before, victim = set(client.run(os.getpid).values()), list(client.run(os.getpid).values())[0]

    def kill():
        while len(list(folder.glob("*.json"))) < len(ROWS) * 4 // 2:
            time.sleep(0.001)
        os.kill(victim, signal.SIGKILL)
        killed.append(len(list(folder.glob("*.json"))))

    watcher = threading.Thread(target=kill, daemon=True)
    watcher.start()
    board = board_of(**call, client=client, folder=folder)
    watcher.join(10)
    assert same(local, board) and killed and killed[0] < len(ROWS) * 4
    unpacked = noted(tmp_path / "notes", "unpacked")
    assert len(unpacked) == len(set(unpacked)) and before <= set(unpacked)  # the one that took its place, once as well
    # What is kept is whole: here and now, without workers, nothing is left to do, and without a part only that part is.
    with monkeypatch.context() as patch:
        patch.setattr(work_units, "work", lambda *given: pytest.fail("nothing is missing"))
        assert same(local, board_of(**call, folder=folder))
    for path in (missing := sorted(folder.glob("*.json"))[:3]):
        path.unlink()
    asked, spread = [], cluster.spread
    monkeypatch.setattr(cluster, "spread", lambda *given: asked.extend(given[-1]) or spread(*given))
    assert same(local, board_of(**call, client=client, folder=folder))
    assert len(asked) == 3 and all(path.exists() for path in missing)


# --- with a scheduler and workers in threads of this process ---


@pytest.fixture
def near(monkeypatch):
    """A client whose workers come and go at once, in this process."""
    from distributed import Client, LocalCluster

    monkeypatch.setattr(cluster, "PATIENCE", 20.0)
    monkeypatch.setattr(cluster, "POLL", 0.05)
    options = {"host": "127.0.0.1", "protocol": "tcp", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, **options) as local, Client(local) as client:
        yield client


TRIED = []


def doubled(sent, unit):
    TRIED.append(unit)
    return sent * unit


def lost(sent, unit):
    from distributed import KilledWorker

    TRIED.append(unit)
    raise KilledWorker(f"{unit}", SimpleNamespace(address="nowhere"), 3)


def broken(sent, unit):
    TRIED.append(unit)
    raise TimeoutError("of the work itself")


def alone(sent, unit):
    """Whether nobody else began in the meantime."""
    TRIED.append(unit)
    time.sleep(0.1)
    return TRIED[-1] == unit


def once_without_workers(sent, unit):
    """Wait, the first time, until the worker has been taken away."""
    TRIED.append(unit)
    time.sleep(1 if len(TRIED) == 3 else 0)
    return sent * unit


@with_dask
def test_what_all_workers_lost_is_sent_and_asked_for_again(near):
    TRIED.clear()

    def swap():
        while len(TRIED) < 3:
            time.sleep(0.01)
        near.cluster.scale(0)
        while near.nthreads():
            time.sleep(0.01)
        near.cluster.scale(1)

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    assert dict(cluster.spread(near, once_without_workers, 10, [1, 2, 3, 4, 5])) == {n: 10 * n for n in range(1, 6)}
    thread.join(10)
    assert len(TRIED) > 5  # some were done twice


@with_dask
def test_workers_that_are_always_lost_are_given_up(near):
    TRIED.clear()
    with pytest.raises(RuntimeError, match=r"lost 3 times, with 2 units not done, the first of them [78]: look for"):
        list(cluster.spread(near, lost, 10, [7, 8]))
    assert len(TRIED) == 6


@with_dask
def test_an_error_that_looks_like_one_of_the_cluster_is_raised_as_it_is(near):
    TRIED.clear()
    with pytest.raises(TimeoutError, match="of the work itself"):
        list(cluster.spread(near, broken, 10, [7]))
    assert TRIED == [7]


@with_dask
def test_without_a_worker_it_says_so(near, monkeypatch):
    near.cluster.scale(0)
    while near.nthreads():
        time.sleep(0.01)
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    with pytest.raises(RuntimeError, match="no worker for 0 seconds: start one, `dask worker`"):
        list(cluster.spread(near, doubled, 10, [1]))


@with_dask
def test_a_scheduler_that_went_is_noticed(near):
    results = cluster.spread(near, doubled, 10, [1, 2, 3])
    next(results)
    near.cluster.close()
    with pytest.raises(RuntimeError, match="scheduler cannot be reached: start it again"):
        list(results)


@with_dask
def test_two_threads_of_a_worker_share_a_network_and_take_turns(near):
    TRIED.clear()
    assert set(near.nthreads().values()) == {2}
    assert dict(cluster.spread(near, alone, 10, [1, 2, 3, 4])) == {n: True for n in range(1, 5)}
    options = {"methods": ["guided_backprop", "deconvnet", "gradient", "full_grad", "grad_cam"]}
    net = Tiny().train()  # as it comes: the methods switch its modes, and change its ReLUs
    assert same(board_of(net=net, **options), board_of(net=net, client=near, **options)) and net.training


@with_dask
def test_partial_results_come_back_also_to_a_cluster(near, tmp_path, monkeypatch):
    board, asked, spread = board_of(tmp_path, client=near), [], cluster.spread
    monkeypatch.setattr(cluster, "spread", lambda *given: asked.extend(given[-1]) or spread(*given))
    assert same(board, board_of(tmp_path, client=near)) and not asked
    next(tmp_path.glob("random_*.json")).unlink()
    assert same(board, board_of(tmp_path, client=near)) and [unit.row for unit in asked] == ["random"]


@with_dask
def test_more_threads_than_a_worker_has_are_said(near):
    with pytest.warns(UserWarning, match="3 threads for a unit and a worker has 2: .* give threads=2 to the score"):
        board_of(client=near, threads=3, methods=["Sobel"])


@with_dask
def test_another_version_on_a_worker_is_refused(near, monkeypatch):
    versions = iter(["torch 1.0 and course 1", *["torch 2.0 and course 2"] * 3])
    monkeypatch.setattr(work_units, "version", lambda: next(versions))
    with pytest.raises(
        RuntimeError, match="has torch 2.0 and course 2, the .* asked for with torch 1.0 and course 1: "
    ):
        board_of(client=near, methods=["Sobel"])


@with_dask
@pytest.mark.parametrize("client", ["tcp://127.0.0.1:8786", 2, object()])
def test_something_else_than_a_client(client):
    with pytest.raises(TypeError, match=f"The client is a {type(client).__name__}; give one of dask.distributed"):
        board_of(client=client)


@with_dask
@pytest.mark.parametrize("workers", [None, 0, -2])
def test_no_workers_at_all(workers):
    with pytest.raises(ValueError, match=f"workers is {workers}; give how many to start"), cluster.connected(workers):
        pass


@with_dask
def test_a_closed_client(near):
    near.close()
    with pytest.raises(ValueError, match="closed or asynchronous"):
        board_of(client=near)
