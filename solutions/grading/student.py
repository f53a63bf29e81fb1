"""A notebook that runs cell by cell in a process of its own. Nothing that comes from there is ever run here.

A function of the student's becomes a proxy: the checker calls it as if it were its own, the inputs go to the process
and tensors come back.
"""

import pickle
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from grading import wire
from grading.folder import TABLE
from grading.sandbox import COPIED, SPARE, Nursery, state_of
from helpers.checks import core

GRACE = 2.0  # seconds from the interrupt of what takes too long to the end of its process
AGAIN = 5.0  # seconds that a cell may take when it is run again, beyond three times those it took first
MOST_LOST = 10  # times that a notebook may hang or lose its process
LEAST = 0.1  # the share of its part's time that a cell gets when nothing is left of it
PATIENCE = 3  # times the seconds that a part may compute may pass by the clock
LARGE = 1 << 20  # bytes of a notebook
FULL = "filled the disk"
TOO_LONG = "was not run: running the cells before it again took too long"
NOT_THEIRS = (TABLE, ".", "~$")  # beginnings of names that the grader, the system and office programs write
LOOK = 0.2  # seconds from one look at how long it has computed to the next
MOST_CLAUSES, LETTERS = 5, 200  # about what a function has changed in its inputs; letters of one


class Lost(BaseException):
    """A process hangs, is gone or makes no sense. Not an Exception: no checker may take it for an answer."""


class NoProcess(BaseException):
    """This machine has no process for anybody: no fault of the student's, and for no checker either."""


class Student:
    """A submission's process. When it is lost, another takes its place, and runs the cells again that had ended."""

    def __init__(self, nursery: Nursery, work: Path, seconds: float, memory: float, guarded: Iterable[Path]) -> None:
        """Begin with the first part.

        Args:
            nursery: where its processes come from.
            work: the folder it runs in, inside the nursery's copy of the course.
            seconds: that a part may compute; see :meth:`begin`.
            memory: in GB.
            guarded: folders in which nothing may change meanwhile.
        """
        self.nursery, self.work, self.seconds, self.memory = nursery, work, seconds, memory
        self.guarded = [*(nursery.course / name for name in COPIED), *guarded]
        self.pid, self.channel, self.lost = None, None, 0
        self.done: list[tuple[str, float]] = []  # cells that ended, and the seconds that each took
        self.again = PATIENCE * seconds  # seconds by the clock for all cells that run again, in the whole notebook
        self.clean = self._state()
        self.begin()

    def begin(self) -> None:
        """Begin a part: all of its seconds are left, and three times as many by the clock; no rule is broken yet."""
        self.end, self.left = time.monotonic() + PATIENCE * self.seconds, self.seconds
        self.broken: list[str] = []  # what it did against the rules, in words

    def read(self, name: str) -> list[str]:
        """Return the cells of a notebook in its folder; raises ValueError or Lost with the reason why not."""
        answer = self._ask({"do": "read", "name": name})[0]
        if error := _error(answer):
            raise ValueError(error[1])
        cells = answer.get("cells")
        if (self.work / name).stat().st_size > LARGE:
            self.stop()  # its memory may still be full of the file
        return cells

    def run(self, source: str) -> str | None:
        """Run a cell; return what was wrong with it, in words, or None."""
        begun = time.monotonic()
        try:
            error = _error(self._ask({"do": "run", "source": source})[0])
        except Lost as lost:
            return str(lost)
        self.done.append((source, time.monotonic() - begun))
        return error and f"stopped with {': '.join(filter(None, error))}"

    def fetch(self, names: Sequence[str]) -> list[Any]:
        """Return variables by their names, functions as proxies; raises Lost, and KeyError if there is none."""
        answer, tensors = self._ask({"do": "fetch", "names": list(names)})
        trees = answer.get("values")
        if not isinstance(trees, list) or len(trees) != len(names):
            raise self._nonsense()
        if None in trees:
            raise KeyError(names[trees.index(None)])
        values = [self._value(tree, tensors) for tree in trees]
        return [self._proxy(n) if v is wire.Function else v for n, v in zip(names, values, strict=True)]

    def stop(self) -> int:
        """End the process and return its exit status."""
        if self.pid is None:
            return 0
        pid, self.pid = self.pid, None
        self.channel.sock.close()
        return self.nursery.end(pid)

    def _proxy(self, name: str) -> Callable:
        def function(*inputs: Any) -> Any:
            answer, tensors = self._ask({"do": "call", "name": name}, pickle.dumps(inputs))
            if error := _error(answer):
                blank = error[0] == "NotImplementedError"
                raise NotImplementedError if blank else wire.named(error[0], Exception)(error[1])
            changed = answer.get("changed")
            if not isinstance(changed, list) or not all(isinstance(clause, str) for clause in changed):
                raise self._nonsense()
            core.tell_changed(clause[:LETTERS] for clause in changed[:MOST_CLAUSES])  # its own copies are untouched
            return self._value(answer.get("value"), tensors)

        function.__name__ = name
        return function

    def _value(self, tree: Any, tensors: dict) -> Any:
        try:
            return wire.unpack(tree, tensors)
        except (ValueError, TypeError, RecursionError):
            raise self._nonsense() from None

    def _ask(self, message: dict, block: bytes = b"") -> tuple[dict, dict]:
        """Return an answer and its tensors; raises Lost, and whatever comes next gets a new process if need be."""
        if self.lost >= MOST_LOST:
            raise Lost(f"was not run: the notebook hung or lost its process {MOST_LOST} times before")
        try:
            return self._ask_once(message, block)
        except Lost:
            self.lost += 1
            raise

    def _ask_once(self, message: dict, block: bytes) -> tuple[dict, dict]:
        if shutil.disk_usage(self.work).free < SPARE:  # many short cells fill it, too
            raise Lost(FULL)
        if self.pid is None:
            begun = time.monotonic()
            self._start()
            self.end += time.monotonic() - begun
        seconds, left = max(self.left, LEAST * self.seconds), self.end - time.monotonic()
        clock = max(left, min(LEAST * PATIENCE * self.seconds, left + PATIENCE * self.seconds))  # twice, at the most
        try:
            answer, found = self._exchange(message, block, seconds, clock)
            tensors = wire.tensors_of(found)
        except (EOFError, OSError):
            status = self.stop()
            how = signal.strsignal(-status) if status < 0 else f"exit status {status}"
            raise Lost(f"ended its process ({how})") from None
        except ValueError:
            raise self._nonsense() from None
        if (_error(answer) or ("", ""))[0] == "MemoryError":  # what fills the memory would fail the cells to come
            self.stop()
            raise Lost(f"asked for more than the {self.memory:.3g} GB of memory that it is given")
        return answer, tensors

    def _exchange(self, message: dict, block: bytes, seconds: float, clock: float) -> tuple[dict, bytes]:
        """Return an answer; raises Lost when it has computed for ``seconds``, or ``clock`` seconds have passed."""
        begun, late = time.monotonic(), ""
        before = self.nursery.seconds(self.pid)
        self.channel.send(message, block, max(clock, 1.0))
        while True:
            try:
                answer, found = self.channel.receive(LOOK)
                break
            except TimeoutError:
                if self.nursery.seconds(self.pid) - before > seconds:
                    late = f"was still running when its part had computed for {self.seconds:.3g} seconds"
                elif time.monotonic() - begun > clock:
                    late = f"was still running after {PATIENCE * self.seconds:.3g} seconds by the clock"
                elif shutil.disk_usage(self.work).free < SPARE:
                    late = FULL
                if not late:
                    continue
            self.nursery.interrupt(self.pid)
            try:
                answer, found = self.channel.receive(GRACE)
            except TimeoutError:
                answer, found = {}, b""
                self.stop()
            break
        if self.pid is not None:
            self.left -= self.nursery.seconds(self.pid) - before
        self._note(answer)
        if late:
            raise Lost(late)
        return answer, found

    def _note(self, answer: dict) -> None:
        for key, did in (("outside", "tried to write outside its folder"), ("patched", "replaced a checker")):
            if found := answer.get(key):
                self.broken.append(f"{did} ({found[0] if isinstance(found, list) else found})"[:200])
        if (now := self._state()) != self.clean:
            changed = min(path for path, _ in now.items() ^ self.clean.items())
            self.broken.append(f"changed files outside its folder ({Path(changed).name})")
            self.nursery.copy()
            self.clean = self._state()

    def _state(self) -> dict[str, tuple]:
        found = {path: state for folder in self.guarded for path, state in state_of(folder).items()}
        return {path: state for path, state in found.items() if not Path(path).name.startswith(NOT_THEIRS)}

    def _nonsense(self) -> Lost:
        self.stop()
        return Lost("sent the grader what is no answer")

    def _start(self) -> None:
        """Start a process and run again what had ended; a cell that now does not end is left out."""
        while self.pid is None:
            if self.done and self.again <= 0:
                raise Lost(TOO_LONG)
            self.pid, self.channel = self._process()
            self._run_again()

    def _run_again(self) -> None:
        """Run the cells again that had ended; at the first that now does not, forget it and end the process."""
        broken, left = list(self.broken), self.left
        for cell in list(self.done):
            source, took = cell
            begun, seconds, lost = time.monotonic(), 3 * took + AGAIN, False
            try:
                self._exchange({"do": "run", "source": source}, b"", seconds, min(PATIENCE * seconds, self.again))
            except (Lost, EOFError, OSError, ValueError):
                lost = True
            self.again -= time.monotonic() - begun
            self.broken, self.left = broken, left  # what the cells did was noted when they ran first
            if lost:
                self.done.remove(cell)
                self.stop()
                return

    def _process(self) -> tuple[int, wire.Channel]:
        """Return a new process; raises Lost if none starts in its folder, and NoProcess if none starts elsewhere."""
        for _ in range(2):  # the second time from a nursery that is new
            try:
                return self.nursery.start(self.work, self.memory)
            except (EOFError, OSError):
                self.nursery.give_up()
        try:
            self.nursery.describe()
        except (EOFError, OSError) as error:
            reason = str(error) or "it ended at once"
            raise NoProcess(f"no process can be started for a notebook ({reason})") from None
        raise Lost("has no process: none could be started in its folder")


def _error(answer: dict) -> tuple[str, str] | None:
    """Return an answer's error, its type and its message, or None."""
    match answer.get("error"):
        case None:
            return None
        case [str(kind), str(said)]:
            return kind[:60], " ".join(said.split())[:200]
    return "Error", ""
