"""What Linux itself refuses to a student's process, native code included: files by Landlock, system calls by seccomp.

Landlock (Linux 5.13 and newer) hides all files but a few, ``/proc`` of other processes and ``/etc/shadow`` among them.
The filter of system calls (x86-64 and 64-bit ARM) lets a process have threads but no child, so that nothing outlives
it, and all its memory counts; it has no memory outside of its address space (``memfd_create``, System V), no sockets,
no signals but to itself, no namespaces, and no sight of another process. It sets no limit and no priority of another
process: one user's processes may do that to each other, and the notebooks that come after would inherit it. Changing
modes and owners of files is not refused but does nothing: Landlock knows no right for it, and ``shutil.copy`` would
fail for no reason.
"""

import ctypes
import os
import platform
import site
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # of prctl

# What of the system may be read. In /etc lie the loader's, the clock's and the fonts' settings; in /proc, the process's
# own folder and what says which machine this is.
FILES = ("/usr", "/lib", "/lib64", "/bin", "/nix/store", "/proc/self", "/sys/devices/system", "/sys/fs/cgroup")
FILES += tuple(f"/proc/{name}" for name in ("cpuinfo", "meminfo", "stat", "version", "filesystems", "uptime", "sys"))
FILES += tuple(f"/etc/{name}" for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime"))
FILES += tuple(f"/etc/{name}" for name in ("fonts", "mime.types", "os-release", "nsswitch.conf", "timezone"))
FILES += tuple(f"/dev/{name}" for name in ("zero", "random", "urandom"))


def python_folders(without: Iterable[str]) -> set[str]:
    """Return the folders that Python and its packages live in, less those that hold a folder of ``without``."""
    found = {sys.prefix, sys.base_prefix, *sys.path, *site.getsitepackages()}
    closed = [Path(path).resolve() for path in without]
    return {path for path in found if path and not any(one.is_relative_to(Path(path).resolve()) for one in closed)}


# --- Landlock, by its three system calls; their numbers are the same on every processor ---

CREATE, ADD, RESTRICT = 444, 445, 446
WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
SINCE = ((1, (1 << 13) - 2), (2, 1 << 13), (3, TRUNCATE))  # version of Landlock, rights that it knows, but executing


def hide_files(folder: str, readable: Iterable[str]) -> bool:
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
    for path in filter(os.path.exists, {*FILES, *readable}):
        allow(path, READ_FILE | READ_DIR)
    done = libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(RESTRICT, rules, 0) == 0
    os.close(rules)
    return done


# --- seccomp: a small program of the kernel's that decides on each system call ---

EPERM, ENOSYS, NO_SUCH_ATTRIBUTE = 1, 38, 95
REFUSED = {  # what a call gets instead: its numbers on x86-64 and on 64-bit ARM (None: it has no such call)
    EPERM: {
        **{"fork": (57, None), "vfork": (58, None), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40)},
        **{"memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190)},
        **{"msgget": (68, 186), "mq_open": (240, 180), "socket": (41, 198), "ptrace": (101, 117), "bpf": (321, 280)},
        **{"process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438)},
        **{"pidfd_send_signal": (424, 424), "io_uring_setup": (425, 425), "userfaultfd": (323, 282)},
        **{"perf_event_open": (298, 241), "add_key": (248, 217), "keyctl": (250, 219), "tkill": (200, 130)},
        **{"setpriority": (141, 140), "ioprio_set": (251, 30)},
    },
    ENOSYS: {"clone3": (435, 435)},  # the C library then takes clone, whose flags can be seen
    NO_SUCH_ATTRIBUTE: {"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7)},
    0: {  # refused, and said to be done
        **{"chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452)},
        **{"chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54)},
    },
}
TO_ITSELF = {"kill": (62, 129), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240)}
OF_ITSELF = {"prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119)}
OF_ITSELF |= {"sched_setparam": (142, 118), "sched_setattr": (314, 274)}  # 0 is the process that calls
CLONE, THREAD = (56, 220), 0x10000  # a flag of its first argument
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
LOAD, EQUAL, HAS, AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000


def refuse_calls() -> bool:
    """Let the kernel refuse from now on what :data:`REFUSED` names; a process that is refused gets an error number.

    Returns:
        Whether this machine can do it; if not, nothing has changed.
    """
    if sys.platform != "linux" or (machine := platform.machine()) not in MACHINES or sys.maxsize < 2**32:
        return False
    which = list(MACHINES).index(machine)
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, MACHINES[machine]), (RETURN, 0, 0, ERROR | EPERM)]  # no 32-bit calls
    steps += [(LOAD, 0, 0, 0), (AT_LEAST, 0, 1, 1 << 30), (RETURN, 0, 0, ERROR | EPERM)]  # nor those of x32
    for error, calls in REFUSED.items():
        for numbers in calls.values():
            if numbers[which] is not None:
                steps += [(EQUAL, 0, 1, numbers[which]), (RETURN, 0, 0, ERROR | error)]
    first = [(CLONE, HAS, THREAD), *((numbers, EQUAL, os.getpid()) for numbers in TO_ITSELF.values())]
    first += [(numbers, EQUAL, 0) for numbers in OF_ITSELF.values()]
    for numbers, test, value in first:  # allowed if the first argument is so
        steps += [(EQUAL, 0, 4, numbers[which]), (LOAD, 0, 0, 16), (test, 0, 1, value)]
        steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERROR | EPERM)]
    steps.append((RETURN, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.prctl(SECCOMP, FILTER, program, 0, 0) == 0
