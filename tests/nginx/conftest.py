"""What the tests of nginx share: the program as a process, certificates, and a small proxy behind it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
from aiohttp import WSMsgType, web
from jld_embedded.certificates import Pair, self_signed
from stack import free_ports, until

CHUNK = b"x" * 2**16

TRUSTING = ssl.create_default_context()
TRUSTING.check_hostname = False
TRUSTING.verify_mode = ssl.CERT_NONE


class Proxy:
    """A web server in a thread, in the proxy's and the hub's place."""

    def __init__(self) -> None:
        self.connections = 0
        self.arrived = threading.Event()
        """The first bytes of an upload are here."""
        self.go_on = threading.Event()
        """A download may go on to its second half."""
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, at the port of the last time."""
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        """Listen no more."""
        if self._runner:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
            self._runner = None

    def close(self) -> None:
        """End the thread."""
        self.go_on.set()
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> int:
        app = web.Application(client_max_size=2**40)
        app.router.add_get("/socket", self._echo)
        app.router.add_route("*", "/upload", self._swallow)
        app.router.add_get("/download", self._pour)
        app.router.add_route("*", "/status/{status}", self._answer)
        app.router.add_route("*", "/{path:.*}", self._show)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        async for message in answer:
            if message.type == WSMsgType.TEXT:
                await answer.send_str(message.data)
        return answer

    async def _swallow(self, request: web.Request) -> web.Response:
        count = 0
        async for chunk in request.content.iter_any():
            count += len(chunk)
            self.arrived.set()
        return web.json_response({"bytes": count})

    async def _pour(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(CHUNK)
        await asyncio.to_thread(self.go_on.wait, 10)
        await answer.write(CHUNK)
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        headers = {"X-Accel-Redirect": "/elsewhere", "Strict-Transport-Security": "max-age=1"}
        return web.Response(status=int(request.match_info["status"]), text="the hub's own words", headers=headers)

    async def _show(self, request: web.Request) -> web.Response:
        await request.read()
        headers = {name.lower(): request.headers.getall(name) for name in request.headers}
        return web.json_response({"method": request.method, "target": request.raw_path, "headers": headers})


class Edge:
    """The program, running.

    Args:
        process: the process.
        log: the file that its standard output goes to.
        settings: what it was given.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path, settings: dict[str, str]) -> None:
        self.process = process
        self._log = log
        self.port = int(settings["NGINX_HTTPS_PORT"])
        self.url = f"https://127.0.0.1:{self.port}"
        self.pair = Pair(Path(settings["NGINX_CERTIFICATE_FILE"]), Path(settings["NGINX_KEY_FILE"]))
        self.folder = Path(settings["NGINX_RUNTIME_DIR"])
        self.http = httpx.Client(base_url=self.url, verify=TRUSTING, timeout=10)
        self._health = httpx.Client(timeout=10)

    def events(self) -> list[dict[str, Any]]:
        """Parse the log written so far; each line must be one JSON object."""
        return [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line[-1] == "\n"]

    def logged(self, text: str) -> list[dict[str, Any]]:
        """Find the events whose message has a text."""
        return [event for event in self.events() if text in event["message"]]

    def text(self) -> str:
        """Give the log as it is."""
        return self._log.read_text()

    def get(self, path: str) -> httpx.Response:
        """Ask its health port."""
        return self._health.get(f"http://127.0.0.1:{self.logged('listens')[0]['port']}{path}")

    def metric(self, sample: str) -> float:
        """Give one of its figures."""
        lines = self.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(f"{sample} ")).rpartition(" ")[2])

    def served(self) -> str:
        """Connect, and give the certificate that is served, in PEM."""
        return ssl.get_server_certificate(("127.0.0.1", self.port))

    def connect(self) -> ssl.SSLSocket:
        """Connect over TLS, without HTTP/2."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return TRUSTING.wrap_socket(plain)

    def processes(self) -> list[psutil.Process]:
        """List nginx's processes, and what ends them."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, seconds: float = 15) -> int:
        """Send SIGTERM and give the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


class Kit(NamedTuple):
    """What starts programs, and ends them all.

    Attributes:
        launch: starts one with the given settings over sensible ones, and nothing else in its environment.
        run: likewise, and waits until it serves.
    """

    launch: Callable[..., subprocess.Popen[str]]
    run: Callable[..., Edge]


@contextlib.contextmanager
def kit(folder: Path) -> Iterator[Kit]:
    """Make what starts programs, with its files in a folder."""
    processes: list[subprocess.Popen[str]] = []
    edges: list[Edge] = []

    def settings_for(given: dict[str, object]) -> dict[str, str]:
        pair = self_signed(folder, "localhost")
        settings = {
            "PATH": os.environ["PATH"],
            "NGINX_LISTEN": "127.0.0.1",
            "NGINX_HTTPS_PORT": free_ports(1),
            "NGINX_UPSTREAM": "127.0.0.1:1",
            "NGINX_CERTIFICATE_FILE": pair.certificate,
            "NGINX_KEY_FILE": pair.key,
            "NGINX_RUNTIME_DIR": folder / f"nginx-{len(processes)}",
            "NGINX_HOST": "127.0.0.1",
            "NGINX_PORT": 0,
        } | given
        return {name: str(value) for name, value in settings.items()}

    def start(settings: dict[str, str], log: Path) -> subprocess.Popen[str]:
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "jld_nginx"], env=settings, stdout=output, stderr=subprocess.PIPE, text=True
            )
        processes.append(process)
        return process

    def launch(log: Path = Path(os.devnull), **given: object) -> subprocess.Popen[str]:
        return start(settings_for(given), log)

    def run(**given: object) -> Edge:
        settings = settings_for(given)
        log = folder / f"log-{len(processes)}"
        process = start(settings, log)
        edge = Edge(process, log, settings)
        edges.append(edge)
        until("nginx serves", lambda: edge.logged("serves") or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        return edge

    yield Kit(launch, run)
    for edge in edges:
        edge.http.close()
        edge._health.close()
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        process.communicate(timeout=15)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Start programs that several tests use."""
    with kit(tmp_path_factory.mktemp("n")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Kit]:
    """Start programs that one test uses up."""
    with kit(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def proxy() -> Iterator[Proxy]:
    """Run a proxy that is always there."""
    made = Proxy()
    yield made
    made.close()


@pytest.fixture
def own_proxy() -> Iterator[Proxy]:
    """Run a proxy that the test may stop."""
    made = Proxy()
    yield made
    made.close()


@pytest.fixture(scope="session")
def edge(shared: Kit, proxy: Proxy) -> Edge:
    """Run nginx before the proxy, with default settings."""
    return shared.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}")
