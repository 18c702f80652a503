"""The peer: released JupyterHub and JupyterLab with SimpleLocalProcessSpawner, in an environment of their own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx
from stack import CHECKOUT, free_ports, until

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


class StockHub:
    """A running stock hub."""

    login = "alice"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jld-stock-"))
        port = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        config = CONFIG.format(
            port=port, proxy_api=port + 2, node=CHECKOUT / ".venv/bin/node", proxy=PROXY, folder=self.folder
        )
        (self.folder / "jupyterhub_config.py").write_text(config)
        self.log = (self.folder / "hub.log").open("wb")
        self.process = subprocess.Popen(
            [str(ENVIRONMENT / "bin" / "jupyterhub")],
            cwd=self.folder,
            env=os.environ | {"PATH": f"{ENVIRONMENT}/bin:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        until("the stock hub answers", lambda: httpx.get(f"{self.url}/hub/health").is_success)
        self.web = httpx.Client(follow_redirects=True, timeout=60)
        page = self.web.get(f"{self.url}/hub/login")
        xsrf = unescape(page.text.split('name="_xsrf" value="', 1)[1].split('"', 1)[0])
        address = urljoin(self.url, "/hub/login?next=%2Fhub%2Fhome")
        self.web.post(address, data={"username": self.login, "password": "any", "_xsrf": xsrf}).raise_for_status()

    def click(self) -> httpx.Response:
        """Press the button that starts the lab."""
        return self.web.get(f"{self.url}/hub/spawn")

    def stop_lab(self) -> None:
        """Stop the lab and wait until it has ended."""
        xsrf = next(c.value for c in self.web.cookies.jar if c.name == "_xsrf" and c.path == "/hub/")
        headers = {"X-XSRFToken": xsrf or "", "Referer": f"{self.url}/hub/home"}
        address = f"{self.url}/hub/api/users/{self.login}"
        self.web.delete(f"{address}/server", headers=headers).raise_for_status()
        until("the stock lab has ended", lambda: self.web.get(address, headers=headers).json()["server"] is None)

    def close(self) -> None:
        """End the hub, which ends its proxy and labs, and forget its files."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.log.close()
        shutil.rmtree(self.folder)
