"""A server on this machine in place of MNIST's mirrors and torchvision's home, and ways for things to go wrong."""

import errno
import hashlib
import io
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
import torchvision.models

from helpers import course
from helpers.data.fetched import connection, public_files, public_world
from helpers.data.fetched.idx_format import write_idx

NAME = "squeezenet1_1"
WEIGHTS = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
FILES = [f"{part}-{kind}.gz" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]


class Server:
    """Serves ``files``; ``fault`` says what goes wrong, ``faulty`` with which file; notes the GETs."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.fault, self.faulty = "", ""
        self.done = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                if outer.fault == "mute":
                    outer.done.wait(10)
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                outer.asked.append(name)
                fault = outer.fault if outer.faulty in name else ""
                if fault == "404" or name not in outer.files:
                    return self.send_error(404)
                data = outer.files[name]
                if fault == "checksum":
                    data = data[:-1] + bytes([data[-1] ^ 1])
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data[: len(data) // 2] if fault in ("truncated", "stalls") else data)
                except OSError:  # torchvision hangs up after a first look for redirections
                    return
                if fault == "stalls":
                    outer.done.wait(10)

            def log_message(self, *args) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.done.set()
        self.http.shutdown()
        self.http.server_close()


@cache
def made_files() -> tuple[dict[str, bytes], bytes]:
    """A small MNIST, packed, and the weights file of an untrained net."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        for file in FILES:
            count = 30 if file.startswith("train") else 10
            images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            write_idx(folder / file, images if "images" in file else (np.arange(count) % 10).astype(np.uint8))
        torch.manual_seed(0)
        torch.save(torchvision.models.get_model(NAME).state_dict(), folder / "net.pth")
        return {file: (folder / file).read_bytes() for file in FILES}, (folder / "net.pth").read_bytes()


def empty_machine(tmp_path: Path, monkeypatch) -> Iterator[Server]:
    """A stand-in for MNIST's mirrors and the home of torchvision's weights; a machine without files."""
    mnist, net = made_files()
    server = Server()
    file = f"net-{hashlib.sha256(net).hexdigest()[:8]}.pth"
    server.files = {**mnist, file: net}
    monkeypatch.setenv("COURSE_WORLD", "auto")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(public_files, "MNIST_MIRRORS", [server.url + "mnist/"])
    monkeypatch.setattr(public_files, "MNIST_FILES", {f: hashlib.md5(data).hexdigest() for f, data in mnist.items()})
    monkeypatch.setattr(WEIGHTS.value, "url", server.url + file)
    for memory in (course._said, connection._answers, public_world._given_up):
        memory.clear()
    monkeypatch.setattr("helpers.models.load._real", lambda: "efficientnet_lite0")  # test_real_network has it
    yield server
    server.close()


def left(tmp_path: Path) -> set[str]:
    """The names of all files on the made machine."""
    return {path.name for path in tmp_path.rglob("*") if path.is_file()}


def full_disk(monkeypatch, module) -> None:
    """Let files that a module opens for writing take a little, and then no more."""

    def opened(path, mode="r", *args, **kwargs):
        file = io.open(path, mode, *args, **kwargs)  # noqa: PTH123, UP020 - the builtin is replaced
        if "w" not in mode:
            return file

        class Full:
            name = file.name

            def write(self, data: bytes) -> None:
                file.write(data[:100])
                file.flush()
                raise OSError(errno.ENOSPC, "No space left on device")

            def close(self) -> None:
                file.close()

            def __enter__(self):
                return self

            def __exit__(self, *error) -> None:
                file.close()

        return Full()

    monkeypatch.setattr(module, "open", opened, raising=False)
