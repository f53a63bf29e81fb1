"""Every method scored on pictures whose truth is known; run with ``python -m tools.scoreboard``."""
