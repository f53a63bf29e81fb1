"""The fence around a student's process: its own folder, its memory, no network, no other process.

Two layers. An audit hook of Python refuses with a sentence, and notes who tried to write elsewhere; it works on every
system, but native code (``ctypes``, OpenCV's or torch's own file functions) goes round it, and so does a path that is
relative to an opened folder. On Linux the kernel stands
behind it with Landlock: it refuses native code too, hides all files but Python's own and the copy of the course, and
stops signals to other processes. The memory limit counts address space beyond what the process has when it starts.
"""

import ctypes
import os
import resource
import site
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

FILE_SIZE = 1 << 30
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {  # audit events that change files: how many of their first arguments are paths
    **dict.fromkeys(("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"), 1),
    **dict.fromkeys(("os.setxattr", "os.removexattr", "os.chflags", "sqlite3.connect"), 1),
    **dict.fromkeys(("os.rename", "os.link"), 2),
}
NETWORK = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")
NETWORK += ("socket.gethostbyaddr",)
PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
PROCESSES += ("os.kill", "os.killpg", "pty.spawn")


def limit_memory(gigabytes: float) -> None:
    """Let this process take so many gigabytes more than it has now, and write no file of over one; no core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    status = Path("/proc/self/statm")
    pages = int(status.read_text(encoding="utf-8").split()[0]) if status.exists() else 0
    most = pages * resource.getpagesize() + int(gigabytes * 2**30)
    if pages:  # elsewhere the address space is not limited, or not known
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def watch(folder: str) -> Callable[[], list[str]]:
    """Refuse, from now on, to write outside ``folder``, to use the network and to start or signal processes.

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
            raise PermissionError("while it is graded, a notebook starts and signals no other process")

    def since() -> list[str]:
        found = list(tried)
        tried.clear()
        return found

    sys.addaudithook(hook)
    return since


# --- Landlock, by its three system calls; the numbers are the same on every processor ---

CREATE, ADD, RESTRICT, NO_NEW_PRIVILEGES = 444, 445, 446, 38
WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
SINCE = ((1, (1 << 13) - 2), (2, 1 << 13), (3, TRUNCATE))  # version of Landlock, rights that it knows, but executing
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev", "/nix/store")


def lock(folder: str, readable: Iterable[str]) -> bool:
    """Let the kernel refuse to this process all files but ``folder`` and, to read, ``readable``; no TCP, no signals.

    Returns:
        Whether this kernel can do it; if not, nothing has changed.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = sum(bits for since, bits in SINCE if version >= since)
    attributes = struct.pack("<QQQ", rights, 3, 3)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = libc.syscall(CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return False

    def allow(path: str, wanted: int) -> None:
        if not Path(path).is_dir():
            wanted &= WRITE_FILE | READ_FILE | TRUNCATE
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        libc.syscall(ADD, rules, 1, struct.pack("<Qi", wanted & rights, opened), 0)
        os.close(opened)

    allow(folder, rights)
    allow(os.devnull, rights)
    for path in filter(os.path.exists, {*SYSTEM, *readable}):
        allow(path, READ_FILE | READ_DIR)
    done = libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(RESTRICT, rules, 0) == 0
    os.close(rules)
    return done


def python_folders(without: Iterable[str]) -> set[str]:
    """Return the folders that Python and its packages live in, less those that hold a folder of ``without``."""
    found = {sys.prefix, sys.base_prefix, *sys.path, *site.getsitepackages()}
    closed = [Path(path).resolve() for path in without]
    return {path for path in found if path and not any(one.is_relative_to(Path(path).resolve()) for one in closed)}
