"""No one reads another's files: what one student tries against another, and must not achieve."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import psutil
import requests

from tools.hub.accounts import number_of
from tools.hub.lessons import path_of
from tools.hub.service import Hub, strays
from tools.hub.student import Student
from tools.hub.table import LESSON

SECRET = "for ben alone"
REFUSED = "PermissionError"

# What one student's kernel tries. The system must refuse it; any other outcome fails.
AGAINST_ANOTHER = {
    "list another's home": "import os; print(os.listdir('{home}'))",
    "read another's notebook": "print(open('{home}/seeing-inside-cnns/{notebook}').read(9))",
    "write into another's home": "print(open('{home}/planted.py', 'w'))",
    "read the key to another's kernel": "print(open('{key}').read(9))",
    "signal another's kernel": "import os; print(os.kill({kernel}, 0))",
    "read another's environment": "print(len(open('/proc/{kernel}/environ').read()))",
    "open another's memory": "print(open('/proc/{kernel}/mem', 'rb'))",
}
AGAINST_ALL = {
    "write into the shared course": "print(open('{course}/helpers/planted.py', 'w'))",
    "change weights that all share": "print(open('{weights}', 'r+b'))",
    "write into the shared data": "import os; print(os.mkdir('{data}/planted'))",
    "read the hub's cookie secret": "print(len(open('{hub}/cookie_secret').read()))",
    "read the hub's database": "print(open('{hub}/jupyterhub.sqlite', 'rb').read(9))",
}
LISTEN = """
import time, zmq
lines = [line.split() for line in open('/proc/net/tcp').readlines()[1:]]
ports = [int(words[1].split(':')[1], 16) for words in lines if words[3] == '0A' and words[7] == '{number}']
ear, heard, until = zmq.Context().socket(zmq.SUB), b'', time.time() + 4
ear.subscribe(b'')
for port in ports:
    ear.connect(f'tcp://127.0.0.1:{{port}}')
while time.time() < until:
    heard += b''.join(ear.recv_multipart()) if ear.poll(100) else b''
print('heard' if b'{secret}' in heard else 'nothing', 'at', len(ports), 'ports')
"""


class Check(NamedTuple):
    """One thing that must hold, whether it held, and what was seen."""

    name: str
    passed: bool
    seen: str


def facts(hub: Hub, victim: Student) -> dict[str, object]:
    """Return what the thief knows: where the other's things are (anybody may list processes), and what all share."""
    kernel = int(victim.tell("import os; print(os.getpid())"))
    return {
        "home": hub.site / victim.name,
        "notebook": path_of(LESSON),
        "kernel": kernel,
        "key": psutil.Process(kernel).cmdline()[-1],
        "course": hub.course,
        "data": hub.data,
        "hub": hub.own,
        "weights": next((hub.course / "datasets" / "weights").glob("*.safetensors")),
    }


def spoil(hub: Hub, victim: Student) -> None:
    """Open a student's home, and the hub's own folder, to everybody, and lose a file: the checks below must notice."""
    victim.tell("import pathlib; pathlib.Path('/var', 'tmp', 'stray').touch()")
    for folder in (hub.site / victim.name, hub.own):
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink() and not path.is_socket():
                path.chmod(0o777 if path.is_dir() else 0o666)


def checks(hub: Hub, thief: Student, victim: Student) -> Iterator[Check]:
    """Try everything, and that the other one may do with their own things what the thief may not."""
    known = facts(hub, victim)
    for name, code in (AGAINST_ANOTHER | AGAINST_ALL).items():
        seen = thief.tell(code.format(**known))
        yield Check(name, seen.startswith(REFUSED), seen)
    own = {name: victim.tell(code.format(**known)) for name, code in AGAINST_ANOTHER.items()}
    wrong = [f"{name}: {seen}" for name, seen in own.items() if "Error" in seen]
    yield Check("but do all that at home", not wrong, "; ".join(wrong) or "all done")
    yield listening(thief, victim)
    found = strays(hub)
    yield Check("leave files outside of the homes", not found, ", ".join(found) or "none")
    yield from asking(hub, thief, victim)


def listening(thief: Student, victim: Student) -> Check:
    """Listen at all ports of the other's processes while the other's kernel prints something."""
    number = thief.send(LISTEN.format(number=number_of(victim.name), secret=SECRET))
    for _ in range(6):
        time.sleep(0.5)
        victim.run(f"print({SECRET!r})")
    seen = "".join(output.get("text", output.get("evalue", "")) for output in thief.outputs(number)).strip()
    return Check("hear what another's kernel prints", seen.startswith("nothing"), seen)


def asking(hub: Hub, thief: Student, victim: Student) -> Iterator[Check]:
    """Ask the other's server, and the hub, for what is the other's: by cookie, by token, past the proxy."""
    keys, own = {"Authorization": f"token {thief.token()}"}, {"Authorization": f"token {victim.token()}"}
    files = f"/user/{victim.name}/api/contents/{path_of(LESSON)}"
    doors = {
        "open it in the browser": ("GET", f"{hub.url}/user/{victim.name}/files/{path_of(LESSON)}", None),
        "read it through the hub, by cookie": ("GET", f"{hub.url}{files}", None),
        "read it through the hub, by token": ("GET", f"{hub.url}{files}", keys),
        "read it past the proxy, by token": ("GET", f"http://127.0.0.1:{port_of(victim)}{files}", keys),
        "start a kernel there": ("POST", f"{hub.url}/user/{victim.name}/api/kernels", keys),
        "stop another's server": ("DELETE", f"{hub.url}/hub/api/users/{victim.name}/server", keys),
    }
    allowed = requests.get(f"{hub.url}{files}", headers=own, timeout=60).status_code
    yield Check("but read it with the own token", allowed == 200, f"status {allowed}")
    for name, (verb, url, key) in doors.items():
        send = requests.request if key else thief.browser.request
        status = send(verb, url, headers=key, timeout=60).status_code
        yield Check(name, status in (403, 404), f"status {status}")


def port_of(student: Student) -> int:
    """Return the port at which a student's server listens."""
    server = psutil.Process(int(student.tell("import os; print(os.getpid())"))).parent()
    return next(one.laddr.port for one in server.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
