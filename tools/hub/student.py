"""A student, as the hub sees one: a browser that logs in, starts its server and runs cells through the server's API."""

import json
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import websocket

from tools.hub.service import Hub

PATIENCE = 600  # seconds that a server's start or a cell may take
GLANCE = 5  # seconds to wait for a message before one looks at the clock


class Student:
    """One student's browser."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub, self.name, self.browser = hub, name, requests.Session()
        self.home, self.server = f"{hub.url}/hub", f"{hub.url}/user/{name}"
        self.kernel, self.channel = "", None

    def arrive(self) -> float:
        """Log in and start the server; return the seconds until JupyterLab's page is there."""
        begin = time.perf_counter()
        self.browser.get(f"{self.home}/login", timeout=60).raise_for_status()
        words = {"username": self.name, "password": self.hub.password, "_xsrf": self._mark("/hub/")}
        self.browser.post(f"{self.home}/login", data=words, timeout=60).raise_for_status()
        self.ask("POST", f"{self.home}/api/users/{self.name}/server").raise_for_status()
        until = time.monotonic() + PATIENCE
        while not (told := self.ask("GET", f"{self.home}/api/users/{self.name}").json())["server"]:
            if not told["pending"] or time.monotonic() > until:
                raise SystemExit(f"The server of {self.name} did not start; the hub said:\n{self.hub.log()}")
            time.sleep(0.2)
        self.browser.get(f"{self.server}/lab", timeout=60).raise_for_status()  # here the server's cookie is set
        return time.perf_counter() - begin

    def _mark(self, path: str) -> str:
        """Return the word that shows the hub, or the server, that a request comes from its own page."""
        return next((one.value for one in self.browser.cookies if one.name == "_xsrf" and one.path == path), "")

    def ask(self, verb: str, url: str, data: Any = None) -> requests.Response:
        """Send a request as a page of the hub, or of a server, would."""
        path = "/hub/" if url.startswith(self.home) else f"/user/{self.name}/"
        return self.browser.request(verb, url, json=data, headers={"X-XSRFToken": self._mark(path)}, timeout=120)

    def token(self) -> str:
        """Ask the hub for a token of the student's own."""
        answer = self.ask("POST", f"{self.home}/api/users/{self.name}/tokens", {"note": "hub-test"})
        return answer.json()["token"]

    def cells(self, notebook: str) -> list[str]:
        """Return the code cells of one of the student's notebooks, as their server hands it out."""
        answer = self.ask("GET", f"{self.server}/api/contents/{quote(notebook)}")
        answer.raise_for_status()
        cells = answer.json()["content"]["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]

    def open(self, notebook: str) -> None:
        """Begin a session with a kernel of its own for a notebook, as JupyterLab does."""
        about = {"path": notebook, "name": Path(notebook).name, "type": "notebook", "kernel": {"name": "python3"}}
        answer = self.ask("POST", f"{self.server}/api/sessions", about)
        answer.raise_for_status()
        self.kernel = answer.json()["kernel"]["id"]
        self._connect()

    def _connect(self) -> None:
        cookies = "; ".join(
            f"{one.name}={one.value}" for one in self.browser.cookies if one.path in f"/user/{self.name}/"
        )
        url = f"{self.server.replace('http', 'ws', 1)}/api/kernels/{self.kernel}/channels"
        self.channel = websocket.create_connection(url, cookie=cookies, timeout=GLANCE)

    def send(self, code: str) -> str:
        """Send a cell to the kernel; return the message's number."""
        number = uuid.uuid4().hex
        header = {
            "msg_id": number,
            "msg_type": "execute_request",
            "username": self.name,
            "session": number,
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
            "buffers": [],
        }
        self.channel.send(json.dumps(message))
        return number

    def outputs(self, number: str, patience: float = PATIENCE) -> list[dict]:
        """Wait until a cell has run, and return its outputs, each with the moment when it came.

        A kernel that died gives an output of type "died".

        Raises:
            TimeoutError: the cell takes longer than ``patience`` seconds.
        """
        found, answered, idle, until = [], False, False, time.monotonic() + patience
        while not (answered and idle):
            message = self._receive(until)
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] in ("restarting", "dead", "autorestarting"):
                return [*found, {"type": "died", "at": time.perf_counter()}]
            if message["parent_header"].get("msg_id") != number:
                continue
            answered |= kind == "execute_reply"
            idle |= kind == "status" and content["execution_state"] == "idle"
            if kind in ("stream", "display_data", "execute_result", "error"):
                found.append(
                    content | {"type": kind, "at": time.perf_counter()} | {"metadata": content.get("metadata")}
                )
        return found

    def _receive(self, until: float) -> dict:
        """Return the next message; the server's pings, which come each half minute, are none."""
        while time.monotonic() < until:
            with suppress(websocket.WebSocketTimeoutException):
                return json.loads(self.channel.recv())
        raise TimeoutError(f"The cell of {self.name} still runs.")

    def run(self, code: str) -> list[dict]:
        """Run a cell and return its outputs."""
        return self.outputs(self.send(code))

    def tell(self, code: str) -> str:
        """Run a cell and return what it printed, or the error it ended in."""
        outputs = self.run(code)
        errors = [f"{one['ename']}: {one['evalue']}" for one in outputs if one["type"] == "error"]
        died = ["the kernel died"] * any(one["type"] == "died" for one in outputs)
        return "".join(one["text"] for one in outputs if one["type"] == "stream").strip() or "".join(errors + died)

    def interrupt(self) -> None:
        """Press the button that stops a running cell."""
        self.ask("POST", f"{self.server}/api/kernels/{self.kernel}/interrupt").raise_for_status()

    def close(self) -> None:
        """Shut the kernel down."""
        if self.channel:
            self.channel.close()
        self.ask("DELETE", f"{self.server}/api/kernels/{self.kernel}")
        self.kernel, self.channel = "", None

    def leave(self) -> None:
        """Stop the server, and forget who logged in."""
        if self.channel:
            self.channel.close()
        self.ask("DELETE", f"{self.home}/api/users/{self.name}/server").raise_for_status()
        until = time.monotonic() + PATIENCE
        while self.ask("GET", f"{self.home}/api/users/{self.name}").json()["servers"] and time.monotonic() < until:
            time.sleep(0.2)
        self.browser, self.kernel, self.channel = requests.Session(), "", None
