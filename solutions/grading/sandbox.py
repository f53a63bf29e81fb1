"""A copy of the course to grade in, and the processes that run there: the grader's side of ``nursery.py``."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from grading import wire

STARTING, ENDING = 300.0, 5.0  # seconds
HERE = Path(__file__).resolve().parent
COPIED = ("helpers", "datasets")


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return each file's number, size and time of the last change of any kind (no one can set it), by its path."""
    found = {}
    for parent, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                stat = Path(parent, file).lstat()
                found[f"{parent}/{file}"] = (stat.st_ino, stat.st_size, stat.st_ctime_ns)
    return found


class Nursery:
    """A copy of the course, and the process that students' processes are forked from."""

    def __init__(self, root: Path) -> None:
        if not hasattr(os, "fork"):
            raise ValueError("Grading forks processes, which Windows cannot; run it on Linux or macOS, or in WSL.")
        self.root, self.kernel = root, True  # without the kernel the fence is left to Python alone
        self.folder = Path(tempfile.mkdtemp(prefix="grading-")).resolve()
        self.course, self.control, self.process, self.locked = self.folder / "course", None, None, False
        self.copy()

    def copy(self) -> None:
        """Make the copy of the course anew."""
        left_out = shutil.ignore_patterns("downloads", "__pycache__", "*.py[co]")
        for name in COPIED:
            shutil.rmtree(self.course / name, ignore_errors=True)
            shutil.copytree(self.root / name, self.course / name, ignore=left_out)

    def start(self, work: Path, memory: float) -> tuple[int, wire.Channel]:
        """Return the number of a new process that works in ``work``, and the channel to it."""
        if self.process is None or self.process.poll() is not None:
            self._begin()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(
                self.control.sock, [f"start\n{work}\n{memory}\n{int(self.kernel)}".encode()], [theirs.fileno()]
            )
            pid = self.control.receive(STARTING)[0]["pid"]
        channel = wire.Channel(ours)
        self.locked = channel.receive(STARTING)[0]["locked"]
        return pid, channel

    def end(self, pid: int) -> int:
        """End a process and return its exit status, negative for a signal."""
        try:
            self.control.sock.sendall(f"end\n{pid}".encode())
            return self.control.receive(STARTING)[0]["status"]
        except (OSError, EOFError):
            self.process = None
            return -signal.SIGKILL

    def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        settings = {"COURSE_WORLD": "course", "MPLBACKEND": "agg", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": ""}
        dropped = ("COURSE_STRICT", "COURSE_DATA", "PYTHONSTARTUP")
        kept = {key: value for key, value in os.environ.items() if key not in dropped}
        command = [
            *_no_network(),
            sys.executable,
            "-P",
            HERE / "nursery.py",
            str(theirs.fileno()),
            self.course,
            self.root,
        ]
        with theirs:
            self.process = subprocess.Popen(
                command,
                env=kept | quiet | settings,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.control = wire.Channel(ours)
        try:
            self.control.receive(STARTING)
        except EOFError:
            raise RuntimeError("The process that is to run the notebooks did not start; why, stands above.") from None

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *error: object) -> None:
        """End all processes and remove the copy."""
        if self.control:
            self.control.sock.close()
        if self.process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(ENDING)
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _no_network() -> list[str]:
    """Return the command that takes the network away from a process, or nothing where there is none."""
    command = ["unshare", "--map-root-user", "--net"]
    if sys.platform == "linux" and shutil.which(command[0]):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []
