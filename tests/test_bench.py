"""The bench's own machinery: who is timed when, what is refused, what is said. How fast anything is, is not tested."""

import json
import re
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers.course import ROOT
from tools.bench import cases, clock, floors, run, seeds_way, subjects, table
from tools.bench.cases import Aim, Case
from tools.bench.clock import Budget, Ratio, Timing
from tools.bench.libraries import Peer, close
from tools.bench.rows import FORWARD, LEAST, OURS, measure

WITHOUT_LIMITS = Budget(rounds=4, least=2, seconds=1e9, limit=60)


@pytest.fixture
def hours(monkeypatch):
    """A clock that only moves when a call says so: `call = hours("ours", 3)` takes three seconds and notes its name."""
    now, noted = [0.0], []

    def takes(name, seconds, result=None):
        def call():
            noted.append(name)
            now[0] += seconds
            return result

        return call

    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(clock, "gc", SimpleNamespace(collect=lambda: None))
    return SimpleNamespace(takes=takes, noted=noted)


def timed(hours, seconds, budget=WITHOUT_LIMITS):
    timings = {name: Timing(hours.takes(name, s)) for name, s in seconds.items()}
    for timing in timings.values():
        timing.first_run(budget.limit, memory=False)
    hours.noted.clear()
    clock.in_turn(timings, budget)
    return timings


# --- timing ---


def test_contenders_take_turns(hours):
    timings = timed(hours, {"ours": 1.5, "theirs": 3, "least": 1.25})
    assert hours.noted[:9] == ["theirs", "least", "ours", "least", "ours", "theirs", "ours", "theirs", "least"]
    assert timings["theirs"].seconds == {1: 3, 2: 3, 3: 3, 4: 3}  # the first run was only a warm-up
    assert clock.ratio(timings["ours"], timings["theirs"]) == (0.5, 0.5, 0.5)


def test_what_is_slow_takes_part_less_often(hours):
    timings = timed(hours, {"ours": 2, "theirs": 5}, Budget(rounds=9, least=2, seconds=8, limit=60))
    assert [len(timing.seconds) for timing in timings.values()] == [4, 2]
    assert hours.noted == ["theirs", "ours", "ours", "theirs", "ours", "ours"]


@pytest.mark.parametrize("slow, rounds", [(12, [[0, 1], [0, 1, 2], [0, 1]]), (70, [[0], [0, 1, 2], [0]])])
def test_a_slow_first_run_counts_and_of_a_very_slow_one_there_is_no_second(hours, slow, rounds):
    timings = timed(hours, {"ours": 4, "quick": 1.25, "slow": slow}, Budget(rounds=9, least=2, seconds=4, limit=99))
    assert [list(timing.seconds) for timing in timings.values()] == rounds
    assert clock.ratio(timings["ours"], timings["slow"]).median == 4 / slow


def test_a_quick_call_is_warm_when_it_is_first_timed(hours):
    timing = Timing(hours.takes("quick", 0.125))
    timing.first_run(9, memory=False)
    assert hours.noted == ["quick", "quick"] and timing.seconds[0] == 0.125


def test_ratios_are_those_of_neighbours():
    ours, theirs = Timing(None), Timing(None)
    ours.seconds, theirs.seconds = {1: 1, 2: 10, 3: 4, 7: 99}, {1: 2, 2: 20, 3: 2}  # the machine was busy in round 2
    assert clock.ratio(ours, theirs) == (0.5, 0.5, 2)
    ours.seconds, theirs.seconds = dict(enumerate([1, 2, 3, 4, 5])), dict.fromkeys(range(5), 1)
    assert clock.ratio(ours, theirs) == (3, 2, 4)  # median and quartiles


def test_the_quickest_call_is_named(hours):
    calls = {"a": hours.takes("a", 0.5), "b": hours.takes("b", 0.25), "c": hours.takes("c", 5)}
    assert clock.quickest(calls, seconds=8) == "b"
    assert hours.noted == ["a", "b", "c"] * 2


def test_the_peak_of_memory_is_seen():
    megabyte = torch.zeros(2**18)

    def call():
        first = megabyte + 1
        second = first + 1  # two at once
        del first, second
        return (megabyte + 1).sum()

    timing = Timing(call)
    assert timing.first_run(60) == 2**18
    assert timing.peak == pytest.approx(2 * 2**20, rel=0.01)
    assert clock.highest([5, -5, 3, 4, -7]) == 7


@pytest.mark.skipif(not hasattr(clock.signal, "setitimer"), reason="no timer on this system")
def test_a_call_that_takes_too_long_is_stopped():
    with pytest.raises(TimeoutError, match=r"more than 0\.05 s"):
        Timing(lambda: time.sleep(5)).first_run(0.05, memory=False)
    time.sleep(0.06)  # nothing is left that would ring


# --- rows ---


def a_case(peers, aims=(), least=None, ours=lambda setting: lambda: torch.ones(3)):
    return Case(ours, peers, aims, least, "nothing", forward=None, memory=False)


def test_a_wrong_result_is_refused_before_it_is_timed(hours):
    peers = {
        "right": lambda _: Peer(hours.takes("right", 2, torch.ones(3)), close),
        "wrong": lambda _: Peer(hours.takes("wrong", 2, torch.ones(3) * 1.01), close),
    }
    row = measure("method", a_case(peers, (Aim("wrong", 1),)), "net", None, WITHOUT_LIMITS)
    assert hours.noted.count("right") == 5 and hours.noted.count("wrong") == 1
    assert row.failed and list(row.timings) == ["ours", "right"] and row.verdicts == []
    assert row.left_out["wrong"].startswith("not timed, its result is not ours: off by 0.0099")
    assert any("wrong" in line and "not ours" in line for line in table.lines(row))


def test_a_peer_that_is_missing_fails_or_is_not_defined_is_left_out(hours, monkeypatch):
    def fails():
        raise RuntimeError("no such\n  layer")

    monkeypatch.setitem(cases.libraries.MODULES, "absent", "no_module_of_this_name")
    peers = {
        "absent": lambda _: 1 / 0,
        "absent, otherwise": lambda _: 1 / 0,
        "broken": lambda _: Peer(fails, close),
        "undefined": lambda _: None,
        "uncheckable": lambda _: Peer(lambda: None, close),
    }
    row = measure("method", a_case(peers), "net", None, WITHOUT_LIMITS)
    assert row.left_out == {
        "absent": "not installed",
        "absent, otherwise": "not installed",
        "broken": "RuntimeError: no such layer",
        "uncheckable": "AttributeError: 'NoneType' object has no attribute 'shape'",
    }
    assert not row.failed and list(row.timings) == [OURS]


def test_ours_that_fails_is_a_failure():
    row = measure("method", a_case({}, ours=lambda _: lambda: 1 / 0), "net", None, WITHOUT_LIMITS)
    assert row.failed and row.left_out == {OURS: "ZeroDivisionError: division by zero"}
    assert "division by zero" in "".join(table.lines(row))


@pytest.mark.parametrize("theirs", [torch.zeros(3), torch.ones(2), torch.tensor([1, 1, 0.99])])
def test_close_is_not_fooled(theirs):
    close(torch.ones(3), torch.ones(3) + 1e-4)
    with pytest.raises(AssertionError):
        close(torch.ones(3), theirs)
    with pytest.raises(AssertionError, match="zero everywhere"):
        close(torch.zeros(3), torch.zeros(3))


@pytest.fixture
def judged(hours):
    peers = {name: lambda _, n=name, s=s: Peer(hours.takes(n, s), lambda *_: None) for name, s in (("a", 8), ("b", 5))}
    aims = (
        Aim("fastest library", 0.5),
        Aim("a", 0.5),
        Aim("least", 1.1, ("net",)),
        Aim("a", 0.01, ("other",)),
        Aim("c", 1),
    )
    case = a_case(peers, aims, lambda _: hours.takes("least", 3), lambda _: hours.takes("ours", 4))
    return measure("method", case._replace(forward=lambda _: hours.takes("forward", 2)), "net", None, WITHOUT_LIMITS)


def test_aims_are_judged(judged):
    found = [(v.against, v.aim.ratio, v.ratio.median, v.reached, v.floor) for v in judged.verdicts]
    assert found == [("b", 0.5, 0.8, False, 0.6), ("a", 0.5, 0.5, True, 0.375), ("least", 1.1, 4 / 3, False, 1)]
    assert judged.peers == ["a", "b"] and list(judged.timings)[-2:] == [LEAST, FORWARD]


def test_the_table_says_it(judged):
    text = "\n".join(table.lines(judged))
    assert re.search(r"method +ours +4000\.0 +4 +2\.00", text)
    assert re.search(r"b +5000\.0 +4 +2\.50 +0\.80 \[0\.80 0\.80\] +<= 0\.50 of the fastest library MISSED", text)
    assert "MISSED (the least possible: 0.60)" in text and "<= 0.50 reached" in text and "forward" not in text
    assert list(table.summary([judged]))[2:] == [
        "| method | fastest library | 0.50 | **0.80** |",
        "| method | a | 0.50 | 0.50 |",
        "| method | least | 1.10 | **1.33** |",
    ]
    assert [table.number(v) for v in (13.4, 0.1, 0.0123, 1e-4)] == ["13.40", "0.10", "0.012", "0.0001"]
    assert table.short(Ratio(0.5, 0.01, 2)) == "0.50 [0.01 2.00]"


def test_json_holds_the_same(judged):
    found = json.loads(json.dumps(table.record(judged), allow_nan=False))
    assert found["contenders"]["b"] == {
        "ms": 5000,
        "runs": 4,
        "passes": 2.5,
        "peak_bytes": None,
        "ours_by_it": {"median": 0.8, "low": 0.8, "high": 0.8},
    }
    assert found["contenders"][OURS]["ours_by_it"] is None
    assert [aim["reached"] for aim in found["aims"]] == [False, True, False]


def test_facts_tell_nothing_of_the_machine_but_its_kind():
    import platform
    from pathlib import Path

    text = json.dumps(table.facts())
    assert platform.node() not in text and str(Path.cwd()) not in text
    assert f'"torch": "{torch.__version__.split("+")[0]}' in text and '"threads":' in text


# --- what is run ---


def test_words_choose():
    every = run.chosen([], quick=False)
    assert len(every) == len(subjects.NETS) * len(cases.CASES) + len(seeds_way.CASES)
    assert run.chosen(["score", "vgg16"], quick=False) == [("score_cam", "vgg16")]
    assert {method for method, _ in run.chosen(["lrp", "occlusion"], quick=True)} == {"lrp", "occlusion"}
    assert {setting for _, setting in run.chosen(["digits_cnn_mnist"], quick=True)} == {"digits_cnn_mnist"}
    with pytest.raises(SystemExit, match="--only resnet49: no method"):
        run.chosen(["resnet49"], quick=False)


@pytest.mark.parametrize("name", subjects.NETS)
def test_halves_are_the_whole(name):
    s = subjects.subject(name, quick=True)
    trunk, head = subjects.halves(s.model)
    torch.testing.assert_close(head(trunk(s.x)), s.model(s.x))
    assert all(p.requires_grad for p in s.model.parameters()) and not s.model.training
    assert s.model.get_submodule(s.layer) is not None and s.x.shape[2] >= s.patch


def test_a_borrowed_net_shares_its_weights_and_nothing_else():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)).train()
    copy = subjects.borrowed(net, frozen=True, inplace=False)
    copy.register_forward_hook(lambda *_: None)
    assert copy[0].weight.data_ptr() == net[0].weight.data_ptr() and not net._forward_hooks
    assert net[0].weight.requires_grad and not copy[0].weight.requires_grad
    assert net[1].inplace and not copy[1].inplace and net.training and not copy.training


def test_floors_run(capsys):
    s = subjects.subject("digits_cnn_mnist", quick=True)
    for case in cases.CASES.values():
        assert case.least is None or case.least(s._replace(samples=2))() is None
    assert floors.masks(s) <= 128


def test_the_command(tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert run.main(["--quick", "--only", "digits_cnn_mnist", "grad_cam", "--json", str(file)]) == 0
    out, found = capsys.readouterr().out, json.loads(file.read_text(encoding="utf-8"))
    assert (
        "grad_cam               ours" in out and "| grad_cam | fastest library | 1.05 |" in out and "quick run" in out
    )
    assert [row["method"] for row in found["rows"]] == ["grad_cam"]
    assert found["quick"] and not found["rows"][0]["failed"] and found["rows"][0]["contenders"]["ours"]["passes"] > 0


# --- the page ---


def test_the_page_shows_the_table_and_what_is_missed(hours):
    case = Case(
        lambda s: hours.takes("ours", 3.0),
        {"captum": lambda s: Peer(hours.takes("captum", 2.0), lambda ours, theirs: None)},
        (Aim("captum", 1.05), Aim("captum", 2.0)),
        forward=None,
        memory=False,
    )
    row = measure("lrp", case, "resnet50", object(), WITHOUT_LIMITS)
    text = table.page(table.facts(), [row], 125)
    assert "| lrp | captum | 1.05 | **1.50** |" in text and "| lrp | captum | 2.00 | 1.50 |" in text
    assert "- `lrp` on resnet50: 1.50 [1.50 1.50] of the time of captum.\n" in text and "took 2 minutes" in text


def test_a_page_keeps_what_was_not_measured_again(hours):
    def row(method, net, seconds):
        case = Case(
            lambda s: hours.takes("ours", seconds),
            {"captum": lambda s: Peer(hours.takes("captum", 2.0), lambda ours, theirs: None)},
            (Aim("captum", 1.05),),
            forward=None,
            memory=False,
        )
        return measure(method, case, net, object(), WITHOUT_LIMITS)

    first = table.page(table.facts(), [row("lrp", "a", 3.0), row("lrp", "b", 4.0), row("lime", "a", 1.0)], 60)
    text = table.page(table.facts(), [row("lrp", "b", 1.0), row("lime", "c", 5.0)], 60, first)
    assert "| method | against | aim | a | b | c |" in text
    assert "| lrp | captum | 1.05 | **1.50** | 0.50 |  |" in text
    assert "| lime | captum | 1.05 | 0.50 |  | **2.50** |" in text
    assert "- `lrp` on a: 1.50" in text and "`lrp` on b" not in text and "- `lime` on c: 2.50" in text


def test_the_shipped_page_is_of_nets_and_methods_that_the_bench_knows():
    text = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    (head,) = re.findall(r"^\| method \| against \| aim \| (.*) \|$", text, re.M)
    assert {"resnet18"} <= set(head.split(" | ")) <= {*subjects.NETS, seeds_way.WORKS[0]}
    rows = set(re.findall(r"^\| ([a-z_]+(?:, maps given)?) \| ", text, re.M)) - {"method"}
    assert set(cases.CASES) <= rows <= {*cases.CASES, *seeds_way.CASES}
