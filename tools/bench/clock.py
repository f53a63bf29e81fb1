"""Timing that a busy machine bends little: one process, everyone in turn, and ratios of neighbours in time.

A contender is first run once, under the profiler, which gives its peak of memory and the result that is checked; then
come rounds, in each of which every contender runs once. What is slow takes part in fewer rounds.
"""

import gc
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch.autograd.profiler import profile

SLOW = 10.0  # seconds of a call that needs no warm-up: its first run, under the profiler, is timed as round 0


class Budget(NamedTuple):
    """How long one case may take: rounds at most and at least, seconds for each contender, seconds for a first run.

    A call of ``once`` seconds is not repeated, nor are those of its case that are not quick.
    """

    rounds: int = 9
    least: int = 2
    seconds: float = 1.0
    limit: float = 120.0
    once: float = 60.0


FULL, QUICK = Budget(once=SLOW), Budget(rounds=5, least=1, seconds=0.3, limit=20.0)


class Ratio(NamedTuple):
    """Median of the ratios round by round; low and high are quartiles, of fewer than five the smallest and largest."""

    median: float
    low: float
    high: float


class Timing:
    """One contender: what it does, the seconds of each round it took part in, and its peak of memory in bytes."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.seconds: dict[int, float] = {}  # round -> seconds
        self.peak: int | None = None

    def first_run(self, limit: float, memory: bool = True) -> object:
        """Return the result of a run that may measure memory; its seconds are noted as those of round 0.

        Raises:
            TimeoutError: the call takes longer than ``limit`` seconds.
        """
        with time_limit(limit), profile(enabled=memory, profile_memory=True) as profiler:
            start = time.perf_counter()
            result = self.call()
            seconds = time.perf_counter() - start
        if memory:
            events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
            self.peak = highest(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
        self.seconds[0] = seconds if seconds > 1 else self.clock()
        return result

    def clock(self) -> float:
        start = time.perf_counter()
        self.call()
        return time.perf_counter() - start

    def takes_part(self, least: int, seconds: float) -> bool:
        """Say whether it takes part in one more round: in so many at least, and then while the seconds last."""
        spent = list(self.seconds.values())
        return len(spent) < least or sum(spent) + spent[-1] <= seconds

    @property
    def median(self) -> float:
        return statistics.median(self.seconds.values())


def in_turn(timings: dict[str, Timing], budget: Budget) -> None:
    """Time all contenders in rounds; each has made its first run."""
    longest = max(timing.seconds[0] for timing in timings.values())
    if longest < SLOW:
        for timing in timings.values():
            timing.seconds.clear()
    least = budget.least if longest < budget.once else 1
    for number in range(1, budget.rounds + 1):
        taking_part = [timing for timing in timings.values() if timing.takes_part(least, budget.seconds)]
        if not taking_part:
            break
        gc.collect()
        first = number % len(taking_part)  # in turn: whoever comes first after the collecting finds the caches cold
        for timing in taking_part[first:] + taking_part[:first]:
            timing.seconds[number] = timing.clock()


def ratio(ours: Timing, theirs: Timing) -> Ratio:
    """Return time of ours / time of theirs, from the rounds that both took part in."""
    pairs = [ours.seconds[n] / theirs.seconds[n] for n in sorted(ours.seconds.keys() & theirs.seconds.keys())]
    if len(pairs) < 5:
        return Ratio(statistics.median(pairs), min(pairs), max(pairs))
    low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive")
    return Ratio(middle, low, high)


def quickest(calls: dict[str, Callable[[], object]], seconds: float = 0.25) -> str:
    """Return the name of the call whose best time is shortest; they take turns, five times or until the time is up."""
    best, spent = dict.fromkeys(calls, float("inf")), 0.0
    for _ in range(5):
        for name, call in calls.items():
            took = Timing(call).clock()
            best[name], spent = min(best[name], took), spent + took
        if spent > seconds:
            break
    return min(best, key=best.get)


def highest(changes: Iterator[int]) -> int:
    """Return the largest sum reached while adding up, at least 0."""
    total = peak = 0
    for change in changes:
        total += change
        peak = max(peak, total)
    return peak


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside the block after so long, between two steps of Python; without effect on Windows."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
