"""The program as a process: start, refusal to start, end, and what it leaves behind."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from channel import Channel
from jld_embedded.certificates import self_signed
from stack import free_ports, until

from tests.nginx.conftest import CHUNK, TRUSTING, Edge, Kit, Proxy

pytestmark = pytest.mark.nginx


def _refusals(*processes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """Wait for the ends of programs that start at the same time; give status and standard error of each."""
    errors = [process.communicate(timeout=15)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, errors, strict=True)]


def _all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_refusals(own: Kit, tmp_path: Path) -> None:
    """What cannot be started says so in one line, with the status of its kind, and leaves nothing running."""
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refusals = _refusals(
            own.launch(NGINX_UPSTREAM="nowhere"),
            own.launch(NGINX_RUNTIME_DIR=tmp_path / "file/folder"),
            own.launch(NGINX_PORT=port),
            own.launch(NGINX_HTTPS_PORT=port),
        )
    busy = f"={port}: should be a free port of 127.0.0.1 (Address already in use)\n"
    assert refusals == [
        (78, "jld_nginx: NGINX_UPSTREAM=nowhere: should be a host and a port, as in proxy:8000\n"),
        (
            78,
            f"jld_nginx: NGINX_RUNTIME_DIR={tmp_path}/file/folder: should be a folder to write to (Not a directory)\n",
        ),
        (69, f"jld_nginx: NGINX_PORT{busy}"),
        (69, f"jld_nginx: NGINX_HTTPS_PORT{busy}"),
    ]


@pytest.mark.root
def test_folder_of_somebody_else(own: Kit, tmp_path: Path) -> None:
    """A folder whose owner could change nginx's configuration is not used."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 4242424, 4242424)
    ((status, line),) = _refusals(own.launch(NGINX_RUNTIME_DIR=folder))
    assert status == 78
    assert "(it belongs to another user)" in line


def test_nginx_that_refuses(own: Kit, tmp_path: Path) -> None:
    """An nginx that does not take its configuration is quoted in one line, with EX_CONFIG."""
    program = tmp_path / "nginx"
    program.write_text('#!/bin/sh\n[ "$1" = -V ] && exit\necho "nginx: [emerg] no room" >&2\nexit 1\n')
    program.chmod(0o755)
    (refusal,) = _refusals(own.launch(PATH=tmp_path))
    assert refusal == (78, "jld_nginx: nginx refuses its configuration: no room\n")


def test_trouble_that_may_pass(own: Kit, tmp_path: Path) -> None:
    """What another start may overcome ends this one with EX_SOFTWARE, and one line in the log."""
    pair = self_signed(tmp_path, "changing")
    (tmp_path / "run/new.conf").mkdir(parents=True)
    for folder, script in (("ends", "exit 0"), ("changes", f": >{pair.key}")):
        program = tmp_path / folder / "nginx"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    begun: dict[str, dict[str, object]] = {
        "nginx ended; its log says why": {"PATH": tmp_path / "ends"},
        "nginx cannot be given a configuration: ": {"NGINX_RUNTIME_DIR": tmp_path / "run"},
        "NGINX_KEY_FILE should hold a key in PEM": {
            "PATH": tmp_path / "changes",
            "NGINX_CERTIFICATE_FILE": pair.certificate,
            "NGINX_KEY_FILE": pair.key,
        },
    }
    logs = [tmp_path / f"log of {number}" for number in range(len(begun))]
    processes = [own.launch(log, **given) for log, given in zip(logs, begun.values(), strict=True)]
    assert _refusals(*processes) == [(70, "")] * len(begun)
    for text, log in zip(begun, logs, strict=True):
        event = json.loads(log.read_text().splitlines()[-1])
        assert event["message"].startswith(text)
        assert event["level"] == "CRITICAL"
        assert "stack_trace" not in event


def test_end(own: Kit, proxy: Proxy) -> None:
    """On SIGTERM requests under way are finished, websockets are ended a little later, and then nothing is left."""
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}")
    processes = edge.processes()
    proxy.go_on.clear()
    with (
        Channel(f"wss://127.0.0.1:{edge.port}/socket", {}, TRUSTING),
        edge.http.stream("GET", "/download") as download,
    ):
        edge.process.send_signal(signal.SIGTERM)
        until("no new connections are taken", lambda: _is_closed(edge))
        proxy.go_on.set()
        assert len(download.read()) == 2 * len(CHUNK)
        assert edge.process.wait(10) == 0
    assert _all_gone(processes)
    assert [event["message"] for event in edge.events() if "service" not in event] == ["listens", "serves", "ends"]


def _is_closed(edge: Edge) -> bool:
    try:
        edge.connect().close()
    except OSError:
        return True
    return False


def test_kill(own: Kit, proxy: Proxy) -> None:
    """When the program is killed, nginx and all its workers end with it, and the next one can start at once."""
    port = free_ports(1)
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}", NGINX_HTTPS_PORT=port)
    processes = edge.processes()
    assert len(processes) == 4
    with Channel(f"wss://127.0.0.1:{port}/socket", {}, TRUSTING):
        edge.process.kill()
        until("nothing is left", lambda: _all_gone(processes), 2)
    again = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}", NGINX_HTTPS_PORT=port, NGINX_RUNTIME_DIR=edge.folder)
    assert again.http.get("/").status_code == 200


def test_death_of_a_part(own: Kit) -> None:
    """When nginx, or what watches over it, is killed, all ends with a message and EX_SOFTWARE."""
    edges = [own.run(), own.run()]
    processes = [edge.processes() for edge in edges]
    for name, edge, parts in zip(("sh", "nginx"), edges, processes, strict=True):
        next(part for part in parts if part.name() == name and part.ppid() == edge.process.pid).kill()
    for edge, parts in zip(edges, processes, strict=True):
        assert edge.process.wait(10) == 70
        assert _all_gone(parts)
        assert edge.events()[-1]["level"] == "CRITICAL"


def test_log_that_nobody_reads(own: Kit, tmp_path: Path) -> None:
    """When the log cannot be written any more, the program ends: nginx must not wait for ever for that."""
    fifo, port = tmp_path / "log", free_ports(1)
    os.mkfifo(fifo)
    # Both ends at first: to open one end alone is to wait for the other.
    with os.fdopen(os.open(fifo, os.O_RDWR)) as log:
        process = own.launch(fifo, NGINX_HTTPS_PORT=port)
        assert any('"serves"' in line for line in log)
        processes = psutil.Process(process.pid).children(recursive=True)
    assert httpx.get(f"https://127.0.0.1:{port}", verify=TRUSTING).status_code == 503
    assert process.wait(10) != 0
    assert _all_gone(processes)


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
    answer = edge.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"error": "not-ready", "message": "nginx completes no TLS handshake."}
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
