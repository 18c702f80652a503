"""The peer: released JupyterHub and JupyterLab with SimpleLocalProcessSpawner, in an environment of their own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx
from stack import CHECKOUT, free_ports, until
from watch import PodWatch

LOGIN = "stock"
"""The member."""

ENVIRONMENT = CHECKOUT / ".bench" / "stock"
PROXY = CHECKOUT / "hub/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"

# Only what one machine and root need differs from the defaults: addresses, the proxy's place, somebody to sign in as.
CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {port} + 1
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api}"
c.ConfigurableHTTPProxy.command = ["{node}", "{proxy}"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/{{username}}"
c.Spawner.args = ["--allow-root"]
"""


class Stock:
    """A running stock hub with a member signed in.

    Args:
        url: Its address.
        pods: Watches his pods, where labs are pods.
    """

    login = LOGIN

    def __init__(self, url: str, pods: PodWatch | None = None) -> None:
        self.url = url
        self.pods = pods
        until("the stock hub answers", lambda: httpx.get(f"{url}/hub/health").is_success)
        self.web = httpx.Client(follow_redirects=True, timeout=60)
        page = self.web.get(f"{url}/hub/login")
        xsrf = unescape(page.text.split('name="_xsrf" value="', 1)[1].split('"', 1)[0])
        address = urljoin(url, "/hub/login?next=%2Fhub%2Fhome")
        self.web.post(address, data={"username": self.login, "password": "any", "_xsrf": xsrf}).raise_for_status()

    def click(self) -> httpx.Response:
        """Press the button that starts the lab, which is a link."""
        return self.web.get(f"{self.url}/hub/spawn")

    def stop_lab(self) -> None:
        """Stop the lab and wait until it has ended."""
        xsrf = next(c.value for c in self.web.cookies.jar if c.name == "_xsrf" and c.path == "/hub/")
        headers = {"X-XSRFToken": xsrf or "", "Referer": f"{self.url}/hub/home"}
        address = f"{self.url}/hub/api/users/{self.login}"
        self.web.delete(f"{address}/server", headers=headers).raise_for_status()
        until("the stock lab has ended", lambda: self.web.get(address, headers=headers).json()["server"] is None)


@contextmanager
def embedded() -> Iterator[Stock]:
    """Run a hub whose labs are processes; at its end it ends its proxy and labs."""
    install()
    with tempfile.TemporaryDirectory(prefix="jld-stock-") as name:
        folder = Path(name)
        port = free_ports(3)
        config = CONFIG.format(
            port=port, proxy_api=port + 2, node=CHECKOUT / ".venv/bin/node", proxy=PROXY, folder=folder
        )
        (folder / "jupyterhub_config.py").write_text(config)
        with (folder / "hub.log").open("wb") as log:
            process = subprocess.Popen(
                [str(ENVIRONMENT / "bin" / "jupyterhub")],
                cwd=folder,
                env=os.environ | {"PATH": f"{ENVIRONMENT}/bin:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield Stock(f"http://127.0.0.1:{port}")
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=30)


def install() -> None:
    """Make the environment from its lock, bytecode compiled as pip would."""
    uv = [shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "uv"]
    lock = CHECKOUT / "bench" / "requirements-stock.txt"
    if not (ENVIRONMENT / "bin" / "python").exists():
        subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT)], check=True)
    subprocess.run(
        [*uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode", str(lock)],
        env=os.environ | {"VIRTUAL_ENV": str(ENVIRONMENT), "UV_NO_CONFIG": "1"},
        check=True,
    )
