"""The lab's image, on a stack's image that is not its own: who a member is there, and what his kernel runs on."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from containers import docker
from stack import free_ports, until
from websockets.sync.client import connect

from dev.images import ROOT

pytestmark = pytest.mark.docker

UID = 4242424
GROUPS = {"lsst": 3050001, "mail": 1508001}
"""The second is named as a group of the image's own."""

LIMIT = 700_000_000
"""Bytes that the image may have without its stack."""

TOKEN = "the-lab-s-own-token"

SCOPES = ["access:servers!server=alice/"]


class HubHandler(BaseHTTPRequestHandler):
    """What of the hub's API a lab asks."""

    def do_GET(self) -> None:
        """Say whose the token is."""
        who = {"name": "alice", "kind": "user", "admin": False, "groups": [], "session_id": None, "scopes": SCOPES}
        self._answer(who if "/user" in self.path else {"version": "6.1.1"})

    def do_POST(self) -> None:
        """Take what the lab says of itself."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer({})

    def _answer(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    """Run a hub on the loopback, and give the address of its API."""
    with ThreadingHTTPServer(("127.0.0.1", 0), HubHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hub/api"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def image(built: None, build: Callable[..., str]) -> str:  # noqa: ARG001 - its stages are in the cache, then
    """Build the lab's image on the smallest of stacks."""
    stack = build(Path(__file__).with_name("stack"))
    return build(ROOT / "lab", "--build-arg", f"LAB_STACK_IMAGE={stack}")


@pytest.fixture
def lab(image: str, start: Callable[..., Any], hub: str) -> Callable[..., Any]:
    """Start labs as the hub does; they share the host's network, in which this hub is."""

    def begin(login: str = "alice") -> Any:
        port = free_ports(1)
        environment = {
            "HOME": f"/home/{login}",
            "USER": login,
            "JUPYTERHUB_API_TOKEN": TOKEN,
            "JUPYTERHUB_API_URL": hub,
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-alice",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(SCOPES),
            "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/alice/oauth_callback",
            "JUPYTERHUB_OAUTH_SCOPES": json.dumps(SCOPES),
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/user/alice/",
            "JUPYTERHUB_USER": "alice",
            "LAB_GROUPS": ",".join(f"{name}:{gid}" for name, gid in GROUPS.items()),
        }
        container = start(
            image,
            "--network=host",
            f"--user={UID}:{UID}",
            *(f"--group-add={gid}" for gid in GROUPS.values()),
            "--tmpfs=/tmp:mode=1777",
            "--tmpfs=/var/lib/extrausers:mode=1777,size=1m",
            f"--tmpfs=/home/{login}:mode=0750,uid={UID},gid={UID},exec",
            *(f"--env={name}={value}" for name, value in environment.items()),
        )
        container.url = f"http://127.0.0.1:{port}/user/alice"

        def listens() -> bool:
            assert container.state().startswith("running"), container.said()
            return httpx.get(f"{container.url}/api").is_success

        until("a lab that listens", listens)
        return container

    return begin


def test_size_without_a_stack(image: str) -> None:
    """The image without a stack is below its limit."""
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
    print(f"lab without a stack: {size / 1e6:.0f} MB")  # noqa: T201 - a figure for CI's log
    assert size < LIMIT


def test_kernel_runs_on_the_stack_of_the_image(lab: Callable[..., Any]) -> None:
    """LSST_Stack has loaded the stack image's own loadLSST.bash and set up lsst_distrib; SIGTERM ends the lab."""
    container = lab()
    headers = {"Authorization": f"token {TOKEN}"}
    answer = httpx.post(f"{container.url}/api/kernels", json={"name": "LSST_Stack"}, headers=headers, timeout=30)
    kernel = answer.raise_for_status().json()["id"]
    code = "import os; print(os.environ['STAND_IN_LOADED'], os.environ['STAND_IN_SETUP'], os.getuid())"
    header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    address = f"{container.url}/api/kernels/{kernel}/channels".replace("http:", "ws:")
    said: dict[str, Any] = {"msg_type": "", "content": {}}
    with connect(address, additional_headers=headers) as socket:
        socket.send(json.dumps(request))
        while said["msg_type"] not in ("stream", "error"):
            said = json.loads(socket.recv(60))
    assert said["content"].get("text") == f"/opt/lsst/software/stack/loadLSST.bash lsst_distrib {UID}\n", said
    assert container.end() == 0


@pytest.mark.parametrize(("login", "name"), [("alice", "alice"), ("games", "github-games")])
def test_names(lab: Callable[..., Any], login: str, name: str) -> None:
    """A member and his groups have their names; one that is the image's own gets a prefix, and keeps its number."""
    container = lab(login)
    assert container.run("whoami") == f"{name}\n"
    mine = "alice" if login == "alice" else name
    expected = {UID: mine, GROUPS["lsst"]: "lsst", GROUPS["mail"]: "github-mail"}
    said = container.run("id")
    assert said.startswith(f"uid={UID}({name}) gid={UID}({mine}) groups=")
    assert set(said.rpartition("groups=")[2].strip().split(",")) == {f"{gid}({name})" for gid, name in expected.items()}
    assert container.run("getent", "group", "lsst") == f"lsst:x:{GROUPS['lsst']}:{name}\n"
    assert container.run("getent", "passwd", name) == f"{name}:x:{UID}:{UID}::/home/{login}:/bin/bash\n"
    assert container.run("getent", "passwd", "games").startswith("games:x:5:")
    assert container.run("getent", "group", "mail").startswith("mail:x:8:")
