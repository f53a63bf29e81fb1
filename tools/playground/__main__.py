"""Build the playground and serve it on this machine: python -m tools.playground [--port 8000] [--build-only]."""

import argparse
import functools
import http.server
from pathlib import Path

from tools.playground.build import ROOT, build


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve files, and print a line only where something went wrong."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",  # some machines know other types
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def serve(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Return a server of a folder on 127.0.0.1; where the port is taken, on a free one."""
    handler = functools.partial(Quiet, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


def main() -> None:
    """Build the page, say its address and serve it until Ctrl+C."""
    parser = argparse.ArgumentParser(description="Build the playground and serve it on this machine.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--build-only", action="store_true", help="write build/playground and end")
    given = parser.parse_args()
    print("Building the playground; the first time takes a minute.", flush=True)
    folder = ROOT / "build" / "playground"
    build(folder)
    if given.build_only:
        print(f"The playground: {folder}; it has to be served, python -m http.server --directory {folder}")
        return
    with serve(folder, given.port) as server:
        print(f"The playground: http://127.0.0.1:{server.server_port}/ (Ctrl+C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
