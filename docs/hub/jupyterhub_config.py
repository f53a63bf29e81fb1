"""JupyterHub for one class on one server; docs/hub.md goes through it: ``jupyterhub -f docs/hub/jupyterhub_config.py``.

``make hub-test`` loads this file and changes three things: who may log in, under which user a server runs, and ports.
"""

import sys
from pathlib import Path

c = get_config()  # noqa: F821 - JupyterHub defines it
COURSE = Path(__file__).resolve().parents[2]  # owned by root; students read it
DATA = COURSE.with_name("course-data")  # MNIST and networks, fetched once for all; students read it

# Who may log in: everybody with an account on this server. The teacher also sees the hub's admin page.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"  # a web server with a certificate stands in front of it
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"teacher"}

# A student's server: under the student's own user, in a unit of systemd, which keeps the limits below.
c.JupyterHub.spawner_class = "systemd"
c.SystemdSpawner.isolate_tmp = True
c.SystemdSpawner.disable_user_sudo = True
c.Spawner.cmd = [sys.executable, str(COURSE / "docs" / "hub" / "student_server.py")]
c.Spawner.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.Spawner.start_timeout = 120  # a whole class arrives at once
c.Spawner.http_timeout = 120

# Kernels listen on sockets in the student's home: to a port of this machine, every student could listen.
c.Spawner.args = ["--KernelManager.transport=ipc"]

# Limits, from docs/hub/measured.json; tests/test_hub.py holds the two against each other.
c.Spawner.mem_guarantee = "2.2G"
c.Spawner.mem_limit = "4G"
c.Spawner.cpu_limit = 2
c.Spawner.environment = {
    "COURSE_WORLD": "auto",
    "COURSE_DATA": str(DATA),
    "TORCH_HOME": str(DATA / "torch"),
    "OMP_NUM_THREADS": "2",  # torch would start as many as the machine has cores, whatever the limit
    "OMP_WAIT_POLICY": "passive",
}

# A server that nobody used for an hour is stopped; files stay, variables of open notebooks do not.
c.JupyterHub.services = [
    {"name": "idle-culler", "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=3600"]}
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["idle-culler"],
    }
]
