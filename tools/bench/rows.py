"""One row of the table: everyone's first run is checked, then all are timed in turn, then the aims are judged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tools.bench import clock
from tools.bench.cases import Aim, Case
from tools.bench.clock import Budget, Ratio, Timing
from tools.bench.libraries import Peer, missing

OURS, LEAST, FORWARD = "ours", "least", "forward"


class Verdict(NamedTuple):
    """An aim, whom it was measured against, the ratio, and the ratio that the least possible would have."""

    aim: Aim
    against: str
    ratio: Ratio
    floor: float | None

    @property
    def reached(self) -> bool:
        return self.ratio.median <= self.aim.ratio


@dataclass
class Row:
    """A method on a net (or the like): the contenders' times, who was left out and why, and what was aimed at."""

    method: str
    setting: str
    case: Case
    timings: dict[str, Timing] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: bool = False  # a result differs, or ours did not give one

    @property
    def peers(self) -> list[str]:
        return [name for name in self.timings if name not in (OURS, LEAST, FORWARD)]

    def ratio_to(self, name: str) -> Ratio:
        return clock.ratio(self.timings[OURS], self.timings[name])

    @property
    def verdicts(self) -> list[Verdict]:
        """The aims that are about this setting and whose peer was timed, judged."""
        found = []
        for aim in self.case.aims:
            name = aim.against
            if name == "fastest library" and self.peers:
                name = min(self.peers, key=lambda peer: self.timings[peer].median)
            if (not aim.settings or self.setting in aim.settings) and name in self.timings:
                floor = clock.ratio(self.timings[LEAST], self.timings[name]).median if LEAST in self.timings else None
                found.append(Verdict(aim, name, self.ratio_to(name), floor))
        return found


def measure(method: str, case: Case, name: str, setting: object, budget: Budget) -> Row:
    """Run one case on one setting. What goes wrong with a peer leaves that peer out; what goes wrong with ours ends it.

    A peer whose result is not ours is never timed, and the row counts as failed.
    """
    row, result = Row(method, name, case), None
    for who, build in contenders(case):
        if missing(who):
            row.left_out[who] = "not installed"
            continue
        try:
            peer = build(setting)
            if peer is None:
                continue
            timing = Timing(peer.call)
            given = timing.first_run(budget.limit, case.memory)
            peer.check(result, given)
        except AssertionError as error:
            row.left_out[who], row.failed = f"not timed, its result is not ours: {said(error)}", True
        except Exception as error:  # a library may raise anything
            row.left_out[who] = said(error)
        else:
            row.timings[who] = timing
        if who == OURS:
            if OURS not in row.timings:
                row.failed = True
                return row
            result = given
    clock.in_turn(row.timings, budget)
    return row


def contenders(case: Case) -> Iterator[tuple[str, Callable[[object], Peer | None]]]:
    """Give everyone's name and how its call is made: ours, the peers, the least possible, a forward pass."""

    def unchecked(build: Callable[[object], Callable[[], object]]) -> Callable[[object], Peer]:
        return lambda setting: Peer(build(setting), lambda ours, theirs: None)

    yield OURS, unchecked(case.ours)
    yield from case.peers.items()
    for name, build in ((LEAST, case.least), (FORWARD, case.forward)):
        if build is not None:
            yield name, unchecked(build)


def said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".removeprefix("AssertionError: ").split())[:150]
