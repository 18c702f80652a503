"""The programs as processes: start, refusal to start, end."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from jld_fileserver.__main__ import main

Launch = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize("arguments", [[], ["nfs"], ["provisioner", "keepalive"]])
def test_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Anything but the name of one program ends with a line of usage."""
    monkeypatch.setattr(sys, "argv", ["jld_fileserver", *arguments])
    assert main() == 64
    assert capsys.readouterr().err == "usage: python -m jld_fileserver server|provisioner|keepalive\n"


@pytest.mark.parametrize(
    ("program", "settings", "line"),
    [
        ("provisioner", {}, "jld_fileserver: FILESERVER_TOKEN=: required"),
        ("keepalive", {"KEEPALIVE_INTERVAL": "often"}, "jld_fileserver: KEEPALIVE_INTERVAL=often: should be a"),
    ],
)  # fmt: skip
def test_bad_setting(launch: Launch, program: str, settings: dict[str, str], line: str) -> None:
    """A bad setting ends the start with one line and EX_CONFIG."""
    process = launch(program, **settings)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 78
    assert errors.startswith(line)
    assert errors.count("\n") == 1


@pytest.mark.parametrize(("program", "prefix"), [("provisioner", "FILESERVER"), ("keepalive", "KEEPALIVE")])
def test_busy_port(launch: Launch, token: str, tmp_path: Path, program: str, prefix: str) -> None:
    """A busy port ends the start with one line and EX_UNAVAILABLE."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {f"{prefix}_HOST": "127.0.0.1", f"{prefix}_PORT": port, "KEEPALIVE_PATH": tmp_path}
        process = launch(program, FILESERVER_TOKEN=token, **settings)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 69
    assert errors == (
        f"jld_fileserver: {prefix}_PORT={port}: should be a free port of 127.0.0.1 (Address already in use)\n"
    )


def test_provisioner(run: Callable[..., Any], http: httpx.Client, export: Path, token: str, tmp_path: Path) -> None:
    """The provisioner serves, ends cleanly on SIGTERM, and logs calls but neither probes nor tokens."""
    file = tmp_path / "token"
    file.write_text(token)
    program = run("provisioner", FILESERVER_EXPORT=export, FILESERVER_TOKEN_FILE=file)
    url = f"http://127.0.0.1:{program.port()}/v1/homes/4242424"
    for given, status in ((token, 201), ("a-wrong-token", 401)):
        answer = http.put(url, json={"login": "alice"}, headers={"Authorization": f"Bearer {given}"})
        assert answer.status_code == status
    for probe in ("/healthz", "/readyz", "/metrics"):
        assert program.get(probe).status_code == 200
    with socket.create_connection(("127.0.0.1", program.port())) as connection:
        connection.sendall(f"PUT / HTTP/1.1\r\nAuthorization\0: Bearer {token}\r\n\r\n".encode())
        assert b" 400 " in connection.recv(100)
    assert program.end() == 0
    messages = [event["message"] for event in program.events()]
    calls = ["PUT /v1/homes/4242424: 201", "PUT /v1/homes/4242424: 401"]
    assert [message for message in messages if "not root" not in message] == ["listens", *calls, "ends"]
    assert token not in str(program.events())
    assert "a-wrong-token" not in str(program.events())
