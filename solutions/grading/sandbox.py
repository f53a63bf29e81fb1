"""A copy of the course to grade in, and the processes that run there: the grader's side of ``nursery.py``.

Around all of these processes stands what the system has: bubblewrap if it is installed, or else ``unshare`` of
util-linux. Both give them processes, sockets and shared memory of their own, and end them all together. Bubblewrap also
shows them only the files that they need, also where the kernel has no Landlock.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from grading import kernel, wire

STARTING, ENDING = 300.0, 5.0  # seconds
SPARE = 1 << 30  # bytes of the disk that stay free
THREADS = 1000  # that may start beside those that this user has
HERE = Path(__file__).resolve().parent
OWN = ("__init__", "nursery", "wire", "fence", "kernel", "notebook")  # modules that run there, and no others
COPIED = ("helpers", "datasets")
KEPT = ("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
SETTINGS = {"COURSE_WORLD": "course", "MPLBACKEND": "agg", "OMP_WAIT_POLICY": "passive", "USER": "student"}
SETTINGS |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return each file's number, size and time of the last change of any kind (no one can set it), by its path."""
    found = {}
    for parent, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                stat = Path(parent, file).lstat()
                found[f"{parent}/{file}"] = (stat.st_ino, stat.st_size, stat.st_ctime_ns)
    return found


def nearly_full() -> str:
    """Return a sentence for when the disk that we work on has no room."""
    return f"{tempfile.gettempdir()} is nearly full: set TMPDIR to a folder with {SPARE >> 29} GB free."


def remove(folder: Path) -> bool:
    """Remove a folder, whatever a student left in it, and tell whether it is gone; ``rm`` knows no depth too deep."""
    if folder.exists():
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*command, "--", folder], capture_output=True, check=False)
    return not folder.exists()


def fences(readable: Iterable[str], writable: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield what can stand around the processes, the best first: its name, and the command that puts it there.

    Args:
        readable: folders that they need.
        writable: the folder that they work in.
    """
    if sys.platform == "linux" and shutil.which("bwrap"):
        command = ["bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
        command += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        for path in (path for path in kernel.FILES if not path.startswith(("/proc", "/dev"))):
            command += ["--ro-bind-try", path, path]
        for path in sorted(readable, key=len):  # an outer folder before what lies in it
            command += ["--ro-bind-try", path, path]
        command += ["--bind", str(writable), str(writable), "--remount-ro", "/", "--chdir", str(writable)]
        yield "bubblewrap", command
    if sys.platform == "linux" and shutil.which("unshare"):
        yield "unshare", "unshare --map-root-user --net --ipc --pid --fork --kill-child --mount-proc".split()
    yield "", []


class Nursery:
    """A copy of the course, and the process that students' processes are forked from.

    Attributes:
        course: the copy; a student's folder lies in ``course / "work"``.
        kernel: whether the kernel may be asked to stand behind the fence; tests say no.
        walls: what stands around the processes, once the first has run: "bubblewrap", "Landlock" and so on.
        left: folders that could not be removed.
    """

    def __init__(self, root: Path) -> None:
        if not hasattr(os, "fork"):
            raise ValueError("Grading forks processes, which Windows cannot; run it on Linux or macOS, or in WSL.")
        self.root, self.kernel = root, True
        if shutil.disk_usage(tempfile.gettempdir()).free < 2 * SPARE:
            raise ValueError(nearly_full())
        self.folder = Path(tempfile.mkdtemp(prefix="grading-")).resolve()
        self.course, self.work = self.folder / "course", self.folder / "course" / "work"
        self.control, self.process, self.fence, self.walls, self.left = None, None, None, [], []
        try:
            self.work.mkdir(parents=True)
            self.copy()
        except BaseException:  # Ctrl-C, too
            remove(self.folder)
            raise

    @property
    def locked(self) -> bool:
        """Whether the kernel hides from the processes what is not theirs."""
        return "Landlock" in self.walls

    def copy(self) -> None:
        """Make the copy of the course anew."""
        left_out = shutil.ignore_patterns("downloads", "__pycache__", "*.py[co]")
        self._open()
        for name in COPIED:
            remove(self.course / name)
            shutil.copytree(self.root / name, self.course / name, ignore=left_out)

    @contextlib.contextmanager
    def fresh_folder(self) -> Iterator[Path]:
        """Give a folder to work in that nobody has had before, and remove it; raises OSError if there is no room."""
        self._open()
        if shutil.disk_usage(self.work).free < SPARE:
            raise OSError(nearly_full())
        work = Path(tempfile.mkdtemp(prefix="submission-", dir=self.work))
        try:
            yield work
        finally:
            self._open()
            if not remove(work):
                self.left.append(work)

    def _open(self) -> None:
        """Give us back the rights to our folders, which a student may have taken where no kernel stands behind."""
        for folder in (self.folder, self.course, self.work):
            folder.chmod(0o700)

    def start(self, work: Path, memory: float) -> tuple[int, wire.Channel]:
        """Return the number of a new process that works in ``work``, and the channel to it."""
        if self.process is None or self.process.poll() is not None:
            self._begin()
        ours, theirs = socket.socketpair()
        with theirs:
            words = ["start", work, memory, int(self.kernel), _threads() + THREADS]
            socket.send_fds(self.control.sock, ["\n".join(map(str, words)).encode()], [theirs.fileno()])
            pid = self.control.receive(STARTING)[0]["pid"]
        channel = wire.Channel(ours)
        self.walls = [*filter(None, [self.fence]), *channel.receive(STARTING)[0]["walls"]]
        return pid, channel

    def describe(self) -> str:
        """Return a sentence about what stands around the notebooks here, from a process that does nothing."""
        with self.fresh_folder() as work:
            pid, channel = self.start(work, 1.0)
            channel.sock.close()
            self.end(pid)
        said = f"Around each notebook: {', '.join(self.walls) or 'nothing but Python itself'}."
        missing = {"Landlock", "seccomp"} - set(self.walls)
        return f"{said} Native code gets past this: see docs/grading.md." if missing else said

    def end(self, pid: int) -> int:
        """End a process, with all that it started, and return its exit status, negative for a signal."""
        try:
            return self._ask("end", pid)["status"]
        except (OSError, EOFError):
            self.give_up()
            return -signal.SIGKILL

    def interrupt(self, pid: int) -> None:
        """Interrupt what a process is doing."""
        self._ask("interrupt", pid)

    def seconds(self, pid: int) -> float:
        """Return the seconds that a process has computed."""
        return self._ask("seconds", pid)["seconds"]

    def _ask(self, *words: object) -> dict:
        self.control.sock.sendall("\n".join(map(str, words)).encode())
        return self.control.receive(STARTING)[0]

    def _begin(self) -> None:
        """Start the process that the others are forked from, behind the best fence that this system lets us have."""
        closed, own = (self.course, self.root, self.root / "solutions"), self.folder / "nursery" / "grading"
        remove(own)
        own.mkdir(parents=True)
        for name in OWN:
            shutil.copy(HERE / f"{name}.py", own)
        readable, said = {*kernel.python_folders(closed), str(self.course), str(own)}, []
        for name, command in fences(readable, self.work):
            if self.fence not in (None, name):
                continue
            ours, theirs = socket.socketpair()
            self.control = wire.Channel(ours)
            program = [sys.executable, "-P", own / "nursery.py", str(theirs.fileno()), self.course, self.root]
            kept = {key: os.environ[key] for key in KEPT if key in os.environ}
            with theirs, tempfile.TemporaryFile() as errors:
                self.process = subprocess.Popen(
                    [*command, *program],
                    env=kept | SETTINGS,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
                theirs.close()
                try:
                    self.control.receive(STARTING)
                    self.fence = name
                    return
                except EOFError:
                    self.give_up()
                    errors.seek(0)
                    said.append(errors.read().decode(errors="replace"))
        raise OSError(f"the process that is to run the notebooks did not start:\n{said[-1]}")

    def give_up(self) -> None:
        """End all processes; the next one that is asked for begins anew."""
        if self.control:
            self.control.sock.close()
        if self.process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(ENDING)
            self.process.kill()
            self.process.wait()
        self.process = None

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *error: object) -> None:
        """End all processes and remove the copy."""
        self.give_up()
        self._open()
        remove(self.folder)


def _threads() -> int:
    """Return how many threads this user has on the machine."""
    own, count = os.getuid(), 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        if process.info["uids"] and process.info["uids"].real == own:
            count += process.info["num_threads"] or 0
    return count
