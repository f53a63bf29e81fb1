"""Run the course on a JupyterHub of this machine: python -m tools.hub [--students N] [--only PART ...]."""

from tools.hub.run import main

if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit("Stopped; the hub and all its servers are ended.") from None
