"""Run the course on a JupyterHub of this machine: python tests/hub [--students N] [--only PART ...] [--break WHAT]."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TESTS)]

from hub.run import main  # noqa: E402

if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit("Stopped; the hub and all its servers are ended.") from None
