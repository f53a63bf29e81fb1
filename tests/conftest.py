"""What holds for every test and every kernel: the course world, no network, no window, quiet threads.

The environment is set here, not in a fixture: the kernels that nbval starts inherit it, torch reads it once.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

OFFLINE = str(Path(__file__).parent / "offline")
os.environ.update(COURSE_WORLD="course", MPLBACKEND="agg", OMP_WAIT_POLICY="passive")
if OFFLINE not in (folders := os.environ.get("PYTHONPATH", "").split(os.pathsep)):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, *folders]))
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several at work: a core each is enough, and keeps them apart
    os.environ["OMP_NUM_THREADS"] = "1"
# Kernels and other children import the same modules again and again: they share byte code, whatever the shell says
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
for name in ("COURSE_DATA", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
    os.environ.pop(name, None)
sys.path.insert(0, OFFLINE)

from no_network import block  # noqa: E402

pytest.register_assert_rewrite("answers")  # so that its asserts say what they compared, as those of a test do


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkers say what is wrong instead of raising, unless a test asks for it."""
    monkeypatch.delenv("COURSE_STRICT", raising=False)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Make every connection and look-up that leaves this machine fail."""
    lift = block()
    yield
    lift()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """A server in place of the public ones, and a machine without public files; see loopback.py."""
    from loopback import empty_machine  # not above: torch reads the environment when it is imported

    yield from empty_machine(tmp_path, monkeypatch)
