"""Score every method: python -m tools.scoreboard, see tools/scoreboard/run.py."""

import sys

from tools.scoreboard.run import main

if __name__ == "__main__":
    sys.exit(main())
