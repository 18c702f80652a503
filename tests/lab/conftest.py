"""Labs as real processes beside a small hub; nothing here needs a network or a built stack."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from jld_lab.stack import SCRIPT
from websockets.sync.client import ClientConnection, connect

UID, GROUPS = 4242424, {"lsst-sqre": 1508001, "lsst": 3050001}
TOKEN = "the-lab-s-own-token"
NOTICES = ["You see <b>this</b> notice.", "It ran \x1b[31mred\x1b[0m once."]
PATIENCE = 20.0


class FakeHub(ThreadingHTTPServer):
    """The part of the hub's API that a lab uses; it takes note of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.seen: list[tuple[str, str, str]] = []
        self.news = threading.Condition()
        self.announcement_statuses: list[int] = []
        self.on_announcement: Callable[[], None] = lambda: None
        self.announced_at = 0.0
        self.url = f"http://127.0.0.1:{self.server_port}"

    def has_seen(self, method: str, path: str, patience: float = PATIENCE) -> bool:
        """Wait until a request has arrived, and return whether it has."""
        with self.news:
            return self.news.wait_for(lambda: any(seen[:2] == (method, path) for seen in self.seen), patience)


class _HubHandler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._take_note()
        if self.path.startswith("/hub/api/user"):
            known = self.headers["Authorization"] in (f"token {TOKEN}", "token from-oauth", "Bearer from-oauth")
            user = {"name": "alice", "kind": "user", "admin": False, "groups": [], "session_id": None, "server": None}
            scopes = ["access:servers!server=alice/"]
            self._answer(200, user | {"scopes": scopes}) if known else self._answer(403, {})
        else:
            self._answer(200, {"version": "6.1.1"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/hub/api/announcement":
            self.server.announced_at = time.monotonic()
            self.server.on_announcement()
            statuses = self.server.announcement_statuses
            self._take_note()
            self._answer(statuses.pop(0) if statuses else 204, None)
        elif self.path == "/hub/api/oauth2/token":
            self._take_note()
            self._answer(200, {"access_token": "from-oauth", "token_type": "Bearer"})
        else:
            self._take_note()
            self._answer(200, {})

    def _take_note(self) -> None:
        with self.server.news:
            self.server.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
            self.server.news.notify_all()

    def _answer(self, status: int, body: Any) -> None:
        content = b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class Lab:
    """One lab: its process, its folders, and a client that acts as its owner."""

    def __init__(self, hub: FakeHub, folder: Path, stack: Path, **overrides: str | None) -> None:
        self.hub, self.folder = hub, folder
        self.home, self.log = folder / "home", folder / "log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/user/alice"
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"token {TOKEN}"}, timeout=PATIENCE)
        self.process: subprocess.Popen[bytes] | None = None
        environment: dict[str, str | None] = {
            "HOME": str(self.home),
            "USER": "alice",
            "LOGNAME": "alice",
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "SHELL": "/bin/bash",
            "JUPYTERHUB_API_TOKEN": TOKEN,
            "JUPYTERHUB_API_URL": f"{hub.url}/hub/api",
            "JUPYTERHUB_ACTIVITY_URL": f"{hub.url}/hub/api/users/alice/activity",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-alice",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!server=alice/", "access:servers!user=alice"]',
            "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/alice/oauth_callback",
            "JUPYTERHUB_OAUTH_SCOPES": '["access:servers!server=alice/", "access:servers!user=alice"]',
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
            "JUPYTERHUB_SERVICE_URL": f"{self.url}/",
            "JUPYTERHUB_USER": "alice",
            "LAB_ANNOUNCE_URL": f"{hub.url}/hub/api/announcement",
            "LAB_GROUPS": ",".join(f"{name}:{gid}" for name, gid in GROUPS.items()),
            "LAB_GROUPS_DIR": str(folder / "groups"),
            "LAB_NOTICES": json.dumps(NOTICES),
            "LAB_RUNTIME_DIR": str(folder / "run"),
            "LAB_STACK_DIR": str(stack),
        }
        self.environment = {name: value for name, value in (environment | overrides).items() if value is not None}
        for name in ("home", "groups"):
            (folder / name).mkdir()
        give(folder, self.home)

    def start(self, *, root: bool = False, interpreter_options: tuple[str, ...] = ("-I",)) -> "Lab":
        """Start the process, as another user where this one is root."""
        member: dict[str, Any] = {}
        if os.geteuid() == 0 and not root:
            member = {"user": UID, "group": UID, "extra_groups": list(GROUPS.values())}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *interpreter_options, "-m", "jld_lab"],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **member,
            )
        return self

    def ready(self) -> "Lab":
        """Wait until the lab has said that it listens."""
        assert self.process
        deadline = time.monotonic() + PATIENCE
        while not self.hub.has_seen("POST", "/hub/api/announcement", patience=0.1):
            assert self.process.poll() is None, f"it ended; the log: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"no word from it; the log: {self.log.read_text()}"
        return self

    def end(self) -> int:
        """End the lab as the hub does, and return its exit status."""
        self.client.close()
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def lines(self) -> list[dict[str, Any]]:
        """Return the log, each line of which is a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_for_line(self, message: str) -> dict[str, Any]:
        """Wait for a line of the log whose message begins so, and return it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            # The last line may not be whole yet.
            for line in self.log.read_text().splitlines(keepends=True):
                if line.endswith("\n") and (parsed := json.loads(line))["message"].startswith(message):
                    return dict(parsed)
            time.sleep(0.02)
        raise AssertionError(f"no line {message!r} within {PATIENCE} s; the log: {self.log.read_text()}")

    def socket(self, path: str) -> ClientConnection:
        """Open a websocket."""
        return connect(
            f"{self.url}{path}".replace("http:", "ws:"), additional_headers={"Authorization": f"token {TOKEN}"}
        )

    def run_cell(self, code: str) -> str:
        """Run a cell in a new LSST_Stack kernel and return what it printed."""
        started = self.client.post("/api/kernels", json={"name": "LSST_Stack"})
        assert started.status_code == 201, started.text
        kernel = started.json()["id"]
        header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
        request = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": True, "allow_stdin": False},
            "channel": "shell",
        }
        printed = ""
        with self.socket(f"/api/kernels/{kernel}/channels") as socket:
            socket.send(json.dumps(request))
            while True:
                message = json.loads(socket.recv(PATIENCE))
                if message["parent_header"].get("msg_id") != "1":
                    continue
                content = message["content"]
                if message["msg_type"] == "stream":
                    printed += content["text"]
                elif message["msg_type"] == "error":
                    raise AssertionError("\n".join(content["traceback"]))
                elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                    return printed

    def run_in_terminal(self, command: str) -> str:
        """Run a command in a new terminal and return all that the terminal showed up to its end."""
        name = self.client.post("/api/terminals").json()["name"]
        shown = ""
        with self.socket(f"/terminals/websocket/{name}") as socket:
            # The quotes keep the mark of the end out of the echo of the command.
            socket.send(json.dumps(["stdin", f"{command}; echo E''ND\r"]))
            while "END" not in shown:
                kind, *content = json.loads(socket.recv(PATIENCE))
                if kind == "stdout":
                    shown += content[0]
        return shown


def free_port() -> int:
    """Return a port that is free."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def give(folder: Path, *more: Path) -> None:
    """Let the member have folders, where this process is root."""
    for path in (folder, *more):
        if os.geteuid() == 0:
            os.chown(path, UID, UID)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own is not, with a short path for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="jld-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub."""
    yield from run_hub()


def run_hub() -> Iterator[FakeHub]:
    """Run a hub in a thread."""
    with FakeHub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def stack(open_folder: Path) -> Path:
    """A stack with the real loadLSST.bash, around this very interpreter."""
    folder = open_folder / "stack"
    (folder / "env/bin").mkdir(parents=True)
    shutil.copyfile(SCRIPT, folder / "loadLSST.bash")
    (folder / "version").write_text("1.0\n")
    python = folder / "env/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


@pytest.fixture
def new_lab(hub: FakeHub, stack: Path, open_folder: Path) -> Iterator[Callable[..., Lab]]:
    """Make labs, not yet started, with variables of their own; None leaves one out."""
    labs: list[Lab] = []

    def make(**overrides: str | None) -> Lab:
        folder = Path(tempfile.mkdtemp(dir=open_folder))
        folder.chmod(0o755)
        labs.append(Lab(hub, folder, stack, **overrides))
        return labs[-1]

    yield make
    for lab in labs:
        lab.end()


@pytest.fixture(scope="module")
def lab(stack: Path, open_folder: Path) -> Iterator[Lab]:
    """A running lab that a module's tests share."""
    folder = Path(tempfile.mkdtemp(dir=open_folder))
    folder.chmod(0o755)
    for hub in run_hub():
        shared = Lab(hub, folder, stack).start().ready()
        yield shared
        shared.end()
