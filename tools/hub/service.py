"""A hub on this machine for as long as a test takes: its folders, its start, and an end that leaves nothing behind."""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests

from tools.hub import scratch
from tools.hub.accounts import FIRST, NAMES, number_of
from tools.hub.memory import of_students

STARTING = 60  # seconds
PARENT_DIES = 1  # PR_SET_PDEATHSIG


class Hub:
    """What the students need to know of a hub that runs."""

    def __init__(self, site: Path, names: tuple[str, ...]) -> None:
        self.site, self.names = site, names
        self.course, self.data, self.own = site / "course", site / "course-data", site / "hub"
        self.password, self.ports = secrets.token_hex(16), free_ports(3)
        self.url, self.process = f"http://127.0.0.1:{self.ports[0]}", None

    def log(self) -> str:
        """Return the last lines that the hub wrote."""
        return "\n".join((self.own / "log").read_text(errors="replace", encoding="utf-8").splitlines()[-30:])


def must_be_root() -> None:
    """See that there are the rights to start processes of several users.

    Raises:
        SystemExit: there are not.
    """
    if os.geteuid() != 0:
        raise SystemExit(
            "Whether one student reads another's files is seen only where each runs under a user of their own, which "
            "takes root: run it with sudo, or in a container."
        )


def free_ports(count: int) -> list[int]:
    """Return ports of this machine on which nobody listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def lay_out(hub: Hub, broken: str | None) -> None:
    """Make the shared course, the hub's own folder and the students' homes."""
    hub.site.chmod(0o711)
    scratch.share(hub.course)
    for folder, number, mode in (
        (hub.data, 0, 0o755),
        (hub.own, 0, 0o755 if broken == "homes" else 0o700),
        *((hub.site / name, number_of(name), 0o755 if broken == "homes" else 0o700) for name in hub.names),
    ):
        folder.mkdir()
        os.chown(folder, number, number)
        folder.chmod(mode)
    if broken == "course":
        for path in (hub.data, hub.course, *hub.course.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)


@contextmanager
def running(count: int, broken: str | None = None) -> Iterator[Hub]:
    """Start a hub for some students; at the end, whatever happens, end all its processes and remove its folders.

    Raises:
        SystemExit: the students could not read the packages, or the hub does not start.
    """
    if taken := of_students():
        raise SystemExit(f"Process {taken[0].pid} belongs to user {FIRST} or one after, which the test needs: end it.")
    site = Path(tempfile.mkdtemp(prefix="hub-"))
    hub = Hub(site, NAMES[:count])
    try:
        lay_out(hub, broken)
        _start(hub, broken)
        yield hub
    finally:
        end(hub)
        shutil.rmtree(site, ignore_errors=True)
        for path in map(Path, strays(hub)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _start(hub: Hub, broken: str | None) -> None:
    if not scratch.everybody_may_run(scratch.PYTHON):
        raise SystemExit(f"Students cannot read {scratch.FOLDER}: put the repository where everybody may enter.")
    environment = os.environ | {
        "PATH": os.pathsep.join([str(scratch.PYTHON.parent), os.environ["PATH"]]),
        "HUB_TEST_SITE": str(hub.site),
        "HUB_TEST_PORTS": " ".join(map(str, hub.ports)),
        "HUB_TEST_PASSWORD": hub.password,
        "HUB_TEST_BREAK": broken or "",
    }
    command = [scratch.PYTHON, "-m", "jupyterhub", "-f", Path(__file__).with_name("jupyterhub_config.py")]
    libc = ctypes.CDLL(None)
    with (hub.own / "log").open("wb") as log:
        hub.process = subprocess.Popen(
            command,
            cwd=hub.own,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the test alone, which then ends the hub in order
            preexec_fn=lambda: libc.prctl(PARENT_DIES, signal.SIGTERM),  # also when the test is killed
        )
    until = time.monotonic() + STARTING
    while time.monotonic() < until and hub.process.poll() is None:
        with suppress(requests.RequestException):
            if requests.get(f"{hub.url}/hub/health", timeout=5).ok:
                return
        time.sleep(0.2)
    raise SystemExit(f"The hub did not start; it said:\n{hub.log()}")


def strays(hub: Hub) -> list[str]:
    """Return the files on this machine's disks that belong to students' user ids and do not lie in their homes."""
    student = ["-uid", f"+{FIRST - 1}", "-uid", f"-{FIRST + len(NAMES)}"]
    places = ["/", *(place for place in ("/tmp", "/dev/shm") if os.path.ismount(place))]
    command = ["find", *places, "-xdev", "-path", hub.site, "-prune", "-o", *student, "-print"]
    in_course = ["find", hub.course, hub.data, hub.own, *student, "-print"]
    found = [
        subprocess.run(one, capture_output=True, check=False, encoding="utf-8").stdout for one in (command, in_course)
    ]
    return "".join(found).splitlines()


def end(hub: Hub) -> None:
    """End the hub, which ends its servers and its proxy; what is left of them a moment later is killed."""
    if hub.process is None:
        return
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(hub.process.pid).children(recursive=True)
        hub.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            hub.process.wait(20)
        hub.process.kill()
        for process in [*family, *of_students()]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    hub.process.wait()
