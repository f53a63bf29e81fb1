"""The process that the processes of submissions are forked from, and what these do: run cells, give answers.

The grader starts it, ``python -P nursery.py SOCKET COURSE CLOSED``, for a copy of the course. It imports what
is slow to import once, so that the process of a submission is there in a fraction of a second. It runs no cell itself.
"""

import contextlib
import importlib
import io
import os
import pickle
import pkgutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from grading import fence, wire  # noqa: E402

sys.path.pop(0)


def main(number: str, course: str, closed: str) -> None:
    """Wait for requests: start a process, or end one and tell how it ended. Nobody reads what lies in ``closed``."""
    control = socket.socket(fileno=int(number))
    sys.dont_write_bytecode = True
    sys.path.insert(0, course)
    readable = {course, *fence.python_folders((course, closed))}
    _import_all()
    wire.Channel(control).send({"ready": True})
    children = set()
    while True:
        request, passed, _, _ = socket.recv_fds(control, 1 << 16, 1)
        words = request.decode().split("\n")
        if words[0] == "start":
            if not (pid := os.fork()):
                control.close()
                _live(socket.socket(fileno=passed[0]), words[1], words[2], readable if words[3] == "1" else None)
            os.close(passed[0])
            children.add(pid)
            wire.Channel(control).send({"pid": pid})
        elif words[0] == "end":
            children.discard(pid := int(words[1]))
            wire.Channel(control).send({"status": os.waitstatus_to_exitcode(_end(pid))})
        else:  # the grader is gone
            for pid in children:
                _end(pid)
            return


def _import_all() -> None:
    import helpers

    for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
        importlib.import_module(module.name)
    for name in ("IPython.core.interactiveshell", "matplotlib.pyplot", "safetensors.torch"):
        importlib.import_module(name)


def _end(pid: int) -> int:
    """End a child and what it has started, and return how it ended."""
    for kill in (os.killpg, os.kill):  # a process that is only just there has no group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


# --- a student's process ---


def _live(sock: socket.socket, work: str, memory: str, readable: set[str] | None) -> None:
    """Be a student's process until the grader hangs up; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setsid()
    os.chdir(work)
    scratch = tempfile.mkdtemp(dir=work)
    os.environ |= dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "XDG_CACHE_HOME", "TORCH_HOME"), scratch)
    tempfile.tempdir = None
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        student = _Student(fence.watch(work))
        locked = readable is not None and fence.lock(work, readable)
        fence.limit_memory(float(memory))
        channel = wire.Channel(sock)
        channel.send({"locked": locked})
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

    def do_run(self, message: dict, block: bytes, tensors: dict) -> dict:
        result = self.shell.run_cell(message["source"], silent=False, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        return {"error": error and _in_words(error)}

    def do_fetch(self, message: dict, block: bytes, tensors: dict) -> dict:
        own = self.shell.user_ns
        return {"values": [wire.pack(own[n], tensors) if n in own else None for n in message["names"]]}

    def do_call(self, message: dict, block: bytes, tensors: dict) -> dict:
        from torch import nn

        inputs = pickle.load(io.BytesIO(block))  # from the grader
        value = wire.pack(self.shell.user_ns[message["name"]](*inputs), tensors)
        hooked = [
            [i, name]
            for i, net in enumerate(inputs)
            if isinstance(net, nn.Module)
            for name, part in net.named_modules()
            if part._forward_hooks or part._backward_hooks
        ]
        return {"value": value, "hooked": hooked}

    def patched(self) -> list[str]:
        """Return the names of the course's checkers that are not what they were when last looked at."""
        before, self.known = self.known, _checkers()
        return [name for name, code in before.items() if self.known.get(name) is not code][:3]


def _checkers() -> dict[str, object]:
    """Return what makes each function of ``helpers.checks`` the function that it is."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("helpers.checks"):
            for key, value in vars(module).items():
                if callable(value):
                    inner = getattr(value, "__wrapped__", value)
                    found[f"{name}.{key}"] = value
                    found[f"the code of {name}.{key}"] = getattr(inner, "__code__", None)
    return found


def _in_words(error: BaseException) -> list[str]:
    memory = isinstance(error, MemoryError) or "can't allocate memory" in str(error)
    said = (str(error).strip().splitlines() or [""])[0][:300]
    return ["MemoryError" if memory else type(error).__name__, said]


if __name__ == "__main__":
    main(*sys.argv[1:])
