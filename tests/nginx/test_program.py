"""The program as a process: start, refusal to start, end, and what it leaves behind."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from stack import free_ports, until
from websockets.sync.client import connect

from tests.nginx.conftest import TRUSTING, Edge, Kit, Proxy

pytestmark = pytest.mark.nginx


def _refusal(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=15)
    return process.returncode, errors


def _all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_bad_setting(own: Kit) -> None:
    """A bad setting ends the start with one line and EX_CONFIG."""
    line = "jld_nginx: NGINX_UPSTREAM=nowhere: should be a host and a port, as in proxy:8000\n"
    assert _refusal(own.launch(NGINX_UPSTREAM="nowhere")) == (78, line)


@pytest.mark.parametrize("variable", ["NGINX_PORT", "NGINX_HTTPS_PORT"])
def test_busy_port(own: Kit, variable: str) -> None:
    """A busy port ends the start with one line and EX_UNAVAILABLE, and leaves nothing running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = f"jld_nginx: {variable}={port}: should be a free port of 127.0.0.1 (Address already in use)\n"
        assert _refusal(own.launch(**{variable: port})) == (69, line)


def test_folder_that_is_none(own: Kit, tmp_path: Path) -> None:
    """A folder that cannot be made or written ends the start with one line and EX_CONFIG."""
    (tmp_path / "file").touch()
    status, line = _refusal(own.launch(NGINX_RUNTIME_DIR=tmp_path / "file/folder"))
    assert status == 78
    assert line == (
        f"jld_nginx: NGINX_RUNTIME_DIR={tmp_path}/file/folder: should be a folder to write to (Not a directory)\n"
    )


@pytest.mark.root
def test_folder_of_somebody_else(own: Kit, tmp_path: Path) -> None:
    """A folder whose owner could change nginx's configuration is not used."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 4242424, 4242424)
    status, line = _refusal(own.launch(NGINX_RUNTIME_DIR=folder))
    assert status == 78
    assert "(it belongs to another user)" in line


def test_without_nginx(own: Kit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An nginx that does not start is told in one line, with EX_CONFIG."""
    program = tmp_path / "nginx"
    program.write_text('#!/bin/sh\n[ "$3" = -p ] || exit 0\necho "nginx: [emerg] no room" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert _refusal(own.launch()) == (78, "jld_nginx: nginx refuses its configuration: no room\n")


def test_end(own: Kit, proxy: Proxy) -> None:
    """On SIGTERM requests under way are finished, and then nothing is left."""
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}")
    processes = edge.processes()
    proxy.go_on.clear()
    with edge.http.stream("GET", "/download") as download:
        edge.process.send_signal(signal.SIGTERM)
        until("no new connections are taken", lambda: _is_closed(edge))
        proxy.go_on.set()
        assert len(download.read()) == 2 * 2**16
    assert edge.process.wait(10) == 0
    assert _all_gone(processes)
    assert [event["message"] for event in edge.events() if "service" not in event] == ["listens", "serves", "ends"]


def _is_closed(edge: Edge) -> bool:
    try:
        edge.connect().close()
    except OSError:
        return True
    return False


def test_end_with_a_websocket(own: Kit, proxy: Proxy) -> None:
    """A websocket, which would never end by itself, does not hold up the end for long."""
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}")
    with connect(f"wss://127.0.0.1:{edge.port}/socket", ssl=TRUSTING):
        assert edge.end(10) == 0


def test_kill(own: Kit, proxy: Proxy) -> None:
    """When the program is killed, nginx and all its workers end with it, and the next one can start at once."""
    port = free_ports(1)
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}", NGINX_HTTPS_PORT=port)
    processes = edge.processes()
    assert len(processes) == 4
    with connect(f"wss://127.0.0.1:{port}/socket", ssl=TRUSTING):
        edge.process.kill()
        until("nothing is left", lambda: _all_gone(processes), 2)
    again = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}", NGINX_HTTPS_PORT=port, NGINX_RUNTIME_DIR=edge.folder)
    assert again.http.get("/").status_code == 200


@pytest.mark.parametrize("name", ["nginx: master", "sh"])
def test_death_of_a_part(own: Kit, name: str) -> None:
    """When nginx, or what watches over it, is killed, all ends with a message and EX_SOFTWARE."""
    edge = own.run()
    processes = edge.processes()
    part = next(
        process for process in processes if " ".join(process.cmdline()).startswith(name) or process.name() == name
    )
    part.kill()
    assert edge.process.wait(10) == 70
    assert _all_gone(processes)
    assert edge.events()[-1]["level"] == "CRITICAL"


def test_metrics_and_health(edge: Edge) -> None:
    """Health is green while nginx serves, and the figures are those of nginx and of the certificate in use."""
    assert edge.get("/healthz").json() == edge.get("/readyz").json() == {"status": "ok"}
    before = edge.metric("nginx_http_requests_total")
    edge.http.get("/")
    assert edge.metric("nginx_http_requests_total") == before + 2
    assert edge.metric("nginx_up") == edge.metric("nginx_configuration_current") == 1
    assert edge.metric("nginx_connections_active") >= 1


def test_health_while_nginx_hangs(own: Kit) -> None:
    """An nginx that does not answer makes the service unready, and its figures are not made up."""
    edge = own.run()
    parts = [process for process in edge.processes() if process.name() == "nginx"]
    for part in parts:
        part.suspend()
    assert edge.get("/readyz").status_code == 503
    assert edge.get("/healthz").status_code == 200
    assert edge.metric("nginx_up") == 0
    for part in parts:
        part.resume()
    assert edge.get("/readyz").status_code == 200


def test_secrets_stay_where_they_are(edge: Edge) -> None:
    """Neither the log, nor the processes' arguments, nor the files beside the configuration hold the key."""
    line = edge.pair.key.read_text().splitlines()[1]
    seen = edge.text() + str([process.cmdline() for process in edge.processes()])
    seen += "".join(file.read_text() for file in edge.folder.iterdir() if file.is_file())
    assert line not in seen
