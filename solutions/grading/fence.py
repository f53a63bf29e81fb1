"""The fence around a student's process, as far as Python and every system have it: its own folder, its memory.

An audit hook of Python refuses with a sentence, and notes who tried to write elsewhere. Native code (``ctypes``,
OpenCV's or torch's own file functions) goes round it, and so does a path that is relative to an opened folder: for
those there are ``kernel.py`` and, around all processes, ``sandbox.py``. The memory limit counts address space beyond
what the process has when it starts.
"""

import os
import resource
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

FILE_SIZE, OPENED = 1 << 30, 256  # bytes of one file; files opened at once
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {  # audit events that change files: how many of their first arguments are paths
    **dict.fromkeys(("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"), 1),
    **dict.fromkeys(("os.setxattr", "os.removexattr", "os.chflags", "sqlite3.connect"), 1),
    **dict.fromkeys(("os.rename", "os.link"), 2),
}
NETWORK = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")
NETWORK += ("socket.gethostbyaddr",)
PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
PROCESSES += ("os.kill", "os.killpg", "pty.spawn", "resource.prlimit")


def limit(gigabytes: float, threads: int) -> None:
    """Limit this process for good: its memory and its files here, and the threads of its user on the whole machine.

    Args:
        gigabytes: of memory that it may take beyond what it has now.
        threads: of all processes of this user; nobody counts those of root.
    """
    status = Path("/proc/self/statm")
    pages = int(status.read_text(encoding="utf-8").split()[0]) if status.exists() else 0
    most = pages * resource.getpagesize() + int(gigabytes * 2**30)
    limits = {"CORE": 0, "FSIZE": FILE_SIZE, "NOFILE": OPENED, "NPROC": threads} | ({"AS": most} if pages else {})
    for name, value in limits.items():  # AS on Linux only: elsewhere it is not kept, or not known
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def watch(folder: str) -> Callable[[], list[str]]:
    """Refuse, from now on, to write outside ``folder``, to use the network and to start, limit or signal processes.

    Returns:
        What says, each time for the time since the last call, which paths outside this process tried to change.
    """
    folder, tried = os.path.realpath(folder), []

    def is_outside(path: object) -> bool:
        if isinstance(path, int) or path is None:
            return False
        real = os.path.realpath(os.fsdecode(path))
        return real != folder and not real.startswith(folder + os.sep) and real != os.devnull

    def refuse(paths: Iterable[object]) -> None:
        for path in filter(is_outside, paths):
            del tried[10:]
            if not os.path.realpath(os.fsdecode(path)).startswith("/dev/"):
                tried.append(os.fsdecode(path))
            raise PermissionError(f"while it is graded, a notebook writes into its own folder only, not to {path}")

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            if flags & WRITING if isinstance(flags, int) else set(mode or "r") & set("wax+"):
                refuse([path])
        elif event in CHANGES:
            refuse(arguments[: CHANGES[event]])
        elif event == "os.symlink":
            refuse(arguments[1:2])
        elif event in NETWORK:
            raise PermissionError("while it is graded, a notebook has no network")
        elif event in PROCESSES:
            raise PermissionError("while it is graded, a notebook starts, limits and signals no other process")

    def since() -> list[str]:
        found = list(tried)
        tried.clear()
        return found

    sys.addaudithook(hook)
    return since
