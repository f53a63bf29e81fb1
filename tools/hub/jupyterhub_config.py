"""The example of docs/hub/, with accounts that only this test knows, on ports of 127.0.0.1 that happen to be free."""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tools.hub import scratch  # noqa: E402
from tools.hub.accounts import NAMES  # noqa: E402
from tools.hub.spawner import NumberSpawner  # noqa: E402

SITE = Path(os.environ["HUB_TEST_SITE"])
BREAK = os.environ.get("HUB_TEST_BREAK")  # what to spoil, so that a check is seen to fail

load_subconfig(str(SITE / "course" / "docs" / "hub" / "jupyterhub_config.py"))  # noqa: F821 - JupyterHub defines it
c = get_config()  # noqa: F821

port, api_port, hub_port = os.environ["HUB_TEST_PORTS"].split()
c.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = [str(scratch.PROXY)]
c.JupyterHub.db_url = f"sqlite:///{SITE / 'hub' / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(SITE / "hub" / "cookie_secret")

c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["HUB_TEST_PASSWORD"]
c.Authenticator.admin_users = set()
c.Authenticator.allow_all = False
c.Authenticator.allowed_users = set(NAMES)
c.JupyterHub.spawner_class = NumberSpawner
c.Spawner.environment |= {"COURSE_WORLD": "course"}

if BREAK == "ports":
    c.Spawner.args = []
if BREAK == "roles":
    everything = ["self", "access:servers", "servers"]
    c.JupyterHub.load_roles = [*c.JupyterHub.load_roles, {"name": "user", "scopes": everything}]
    c.JupyterHub.tornado_settings = {"oauth_no_confirm_list": {f"jupyterhub-user-{name}" for name in NAMES}}
