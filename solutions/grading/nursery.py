"""The process that the processes of submissions are forked from, and what these do: run cells, give answers.

The grader starts it, ``python -P nursery.py SOCKET COURSE CLOSED``, for a copy of the course, and from a copy of this
module and the four that it needs: a notebook that imports ``grading.exam`` finds none. It imports what is slow to
import once, so that the process of a submission is there in a fraction of a second. It runs no cell itself.
"""

import contextlib
import ctypes
import importlib
import io
import os
import pickle
import pkgutil
import signal
import socket
import sys
import tempfile
import types
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from grading import fence, kernel, notebook, wire  # noqa: E402

sys.path.pop(0)


MOST_CLAUSES = 5  # about what a function has changed in its inputs
ADOPT = 36  # of prctl: what a child has started becomes ours when the child ends, not the system's


def main(number: str, course: str, closed: str) -> None:
    """Wait for requests: start a process, or end one and tell how it ended. Nobody reads what lies in ``closed``."""
    control = socket.socket(fileno=int(number))
    sys.dont_write_bytecode = True
    sys.path.insert(0, course)
    readable = {f"{course}/helpers", f"{course}/datasets", *kernel.python_folders((course, closed))}
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(dir=Path(course, "work")) as home:  # matplotlib writes its list of fonts there
        os.environ["HOME"] = home
        _import_all()
    channel = wire.Channel(control)
    channel.send({"ready": True})
    while True:
        request, passed, _, _ = socket.recv_fds(control, 1 << 16, 1)
        match request.decode().split("\n"):
            case ["start", work, memory, kernels, threads]:
                if not (pid := os.fork()):
                    control.close()
                    behind = readable if kernels == "1" else None
                    _live(socket.socket(fileno=passed[0]), work, float(memory), int(threads), behind)
                os.close(passed[0])
                channel.send({"pid": pid})
            case ["end", pid]:
                channel.send({"status": os.waitstatus_to_exitcode(_end(int(pid)))})
            case ["interrupt", pid]:
                os.kill(int(pid), signal.SIGINT)  # it is there, or a zombie, until we end it
                channel.send({})
            case ["seconds", pid]:
                channel.send({"seconds": _seconds(int(pid))})
            case _:  # the grader is gone
                _end(0)
                os._exit(0)  # Python takes seconds to put torch away


def _import_all() -> None:
    import helpers

    for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
        importlib.import_module(module.name)
    for name in ("IPython.core.interactiveshell", "matplotlib.pyplot", "safetensors.torch"):
        importlib.import_module(name)


def _end(pid: int) -> int:
    """End all children and what they have started, and return how the child ``pid`` ended."""
    status = 0
    with contextlib.suppress(ChildProcessError):
        while True:
            for one in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    one.kill()
            found, how = os.waitpid(-1, 0)
            status = how if found == pid else status
    return status


def _seconds(pid: int) -> float:
    """Return the seconds that a child has computed, with all its threads; 0 if the system does not tell."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:2])
    except psutil.Error:
        return 0.0


# --- a student's process ---


def _live(sock: socket.socket, work: str, memory: float, threads: int, readable: set[str] | None) -> None:
    """Be a student's process until the grader hangs up; never returns."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setsid()
        os.chdir(work)
        scratch = tempfile.mkdtemp(dir=work)
        os.environ |= dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "XDG_CACHE_HOME", "TORCH_HOME"), scratch)
        tempfile.tempdir = None
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        student = _Student(fence.watch(work))
        walls = {}
        if readable is not None:
            walls = {"Landlock": kernel.hide_files(work, readable), "seccomp": kernel.refuse_calls()}
        fence.limit(memory, threads)
        channel = wire.Channel(sock)
        channel.send({"walls": [name for name, stands in walls.items() if stands]})
        while True:
            message, block = channel.receive()
            tensors = {}
            answer = student.obey(message, block, tensors)
            channel.send(answer | {"outside": student.outside(), "patched": student.patched()}, wire.packed(tensors))
    finally:
        os._exit(0)


class _Student:
    """A notebook's variables, and what may be asked of them."""

    def __init__(self, outside) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        self.shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
        self.shell.display_formatter.active_types = ["text/plain"]
        self.shell.enable_gui = lambda gui=None: None  # for %matplotlib
        self.shell.system = self.shell.system_raw  # for !, without a terminal
        self.shell.showtraceback = self.shell.showsyntaxerror = lambda *rest, **others: None  # slow, and nobody looks
        self.outside, self.known = outside, _checkers()

    def obey(self, message: dict, block: bytes, tensors: dict) -> dict:
        """Run a cell, give variables, or call a function; an interrupt or an error becomes part of the answer."""
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                return getattr(self, "do_" + message["do"])(message, block, tensors)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        except BaseException as error:
            return {"error": _in_words(error)}

    def do_read(self, message: dict, block: bytes, tensors: dict) -> dict:
        return {"cells": notebook.cells_of(Path(message["name"]).read_bytes())}

    def do_run(self, message: dict, block: bytes, tensors: dict) -> dict:
        result = self.shell.run_cell(message["source"], silent=False, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        return {"error": error and _in_words(error)}

    def do_fetch(self, message: dict, block: bytes, tensors: dict) -> dict:
        own = self.shell.user_ns
        return {"values": [wire.pack(own[n], tensors) if n in own else None for n in message["names"]]}

    def do_call(self, message: dict, block: bytes, tensors: dict) -> dict:
        from helpers.checks import core

        inputs = pickle.load(io.BytesIO(block))  # from the grader
        function = self.shell.user_ns[message["name"]]
        looks = core.watched(function, inputs)
        value = wire.pack(function(*inputs), tensors)
        return {"value": value, "changed": [clause for look in looks for clause in look()][:MOST_CLAUSES]}

    def patched(self) -> list[str]:
        """Return the names of the course's checkers that do something else than when last looked at."""
        before, self.known = self.known, _checkers()
        return [name for name, code in before.items() if self.known.get(name) != code][:3]


def _checkers() -> dict[str, tuple]:
    """Return what each function of ``helpers.checks`` does; loaded anew, it still does the same."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("helpers.checks"):
            for key, value in vars(module).items():
                inner = getattr(value, "__wrapped__", value)
                if isinstance(inner, types.FunctionType):
                    found[f"{name}.{key}"] = (getattr(value, "__code__", None), inner.__code__)
    return found


def _in_words(error: BaseException) -> list[str]:
    memory = isinstance(error, MemoryError) or "can't allocate memory" in str(error)
    said = (str(error).strip().splitlines() or [""])[0][:300]
    return ["MemoryError" if memory else type(error).__name__, said]


if __name__ == "__main__":
    main(*sys.argv[1:])
