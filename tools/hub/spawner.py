"""How the test starts a student's server: under a user id of its own, in a home of its own, with a limit of memory."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

from jupyterhub.spawner import LocalProcessSpawner

from tools.hub.accounts import number_of


class NumberSpawner(LocalProcessSpawner):
    """Start a student's server under the student's number, in the student's home, with a limit of memory.

    The limit is RLIMIT_DATA, on each process by itself: a stand-in for the cgroup that systemd or Kubernetes would set
    on all of a student's processes together. (RLIMIT_AS would not do: torch's libraries alone map gigabytes.)
    """

    def home(self) -> Path:
        """Return the student's home."""
        return Path(os.environ["HUB_TEST_SITE"]) / self.user.name

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Add what a login would."""
        return env | {"USER": self.user.name, "HOME": str(self.home()), "SHELL": "/bin/sh"}

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """Return what the new process does before it becomes the student's server."""
        home, number = self.home(), number_of(name)
        limit = None if os.environ.get("HUB_TEST_BREAK") == "limit" else self.mem_limit

        def become() -> None:
            os.setgroups([])
            os.setgid(number)
            os.setuid(number)
            os.chdir(home)
            if limit:
                resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

        return become
