"""The NFS server where it cannot start, and what it tells Ganesha. What it does for members is in tests/nfs."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jld_fileserver import handles
from jld_fileserver.ganesha import configuration
from jld_fileserver.settings import ServerSettings

Launch = Callable[..., subprocess.Popen[str]]


def test_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ganesha is told what the settings say, and serves nothing but NFSv4 over TCP with root squashed."""
    monkeypatch.setenv("FILESERVER_NFS_PORT", "2050")
    monkeypatch.setenv("FILESERVER_EXPORT", "/srv/homes")
    lines = [line.strip() for line in configuration(ServerSettings.load()).splitlines()]
    for line in (
        "NFS_Port = 2050;",
        "Bind_Addr = 0.0.0.0;",
        'Path = "/srv/homes";',
        'RecoveryRoot = "/var/lib/ganesha";',
    ):
        assert line in lines
    for line in ("Enable_UDP = false;", "Transports = TCP;", "Squash = Root_Squash;", "Only_Numeric_Owners = true;"):
        assert line in lines
    assert lines.count("Protocols = 4;") == 2


def refusal(launch: Launch, **settings: object) -> tuple[int, str]:
    """Start the server, and give status and what it says."""
    process = launch("server", FILESERVER_HEALTH_HOST="127.0.0.1", FILESERVER_HEALTH_PORT=0, **settings)
    _, errors = process.communicate(timeout=10)
    return process.returncode, errors


@pytest.mark.root
@pytest.mark.parametrize("name", ["dac_read_search", "setuid"])
def test_no_capability(export: Path, name: str) -> None:
    """Without a right it does not start: members could read nothing, or would be taken for root."""
    ended = subprocess.run(
        ["setpriv", f"--bounding-set=-{name}", "--inh-caps=-all", sys.executable, "-m", "jld_fileserver", "server"],
        env={"FILESERVER_EXPORT": str(export)}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 78
    assert ended.stderr.endswith(f"missing: CAP_{name.upper()}\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.root
def test_no_export(launch: Launch, tmp_path: Path) -> None:
    """An export that is not there is told in one line."""
    status, errors = refusal(launch, FILESERVER_EXPORT=tmp_path / "none")
    assert status == 78
    assert errors == (
        f"jld_fileserver: FILESERVER_EXPORT={tmp_path}/none: should be a folder (No such file or directory)\n"
    )


@pytest.mark.root
def test_no_handles(launch: Launch) -> None:
    """A file system that gives no handles is told in one line, with what to do."""
    status, errors = refusal(launch, FILESERVER_EXPORT="/proc/sys")
    assert status == 78
    assert errors.startswith(
        "jld_fileserver: FILESERVER_EXPORT=/proc/sys: should be on a file system that finds files by"
    )
    assert errors.count("\n") == 1


def test_no_system_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the container refuses the system calls that find files by handle, they are named."""

    def refuse(_: int) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(handles, "_round_trip", refuse)
    assert "should be served with a seccomp profile" in str(handles.trouble(tmp_path))


@pytest.mark.root
def test_no_state(launch: Launch, export: Path, tmp_path: Path) -> None:
    """Without a folder for what outlives it, it does not start: clients would lose what they have locked."""
    status, errors = refusal(launch, FILESERVER_EXPORT=export, FILESERVER_STATE_DIR=tmp_path / "none")
    assert status == 78
    assert errors == f"jld_fileserver: FILESERVER_STATE_DIR={tmp_path}/none: should be a folder to write to\n"


@pytest.mark.root
def test_busy_port(launch: Launch, export: Path, tmp_path: Path) -> None:
    """A port that is taken is told in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, errors = refusal(
            launch,
            FILESERVER_EXPORT=export,
            FILESERVER_STATE_DIR=tmp_path,
            FILESERVER_NFS_HOST="127.0.0.1",
            FILESERVER_NFS_PORT=port,
        )
    assert status == 69
    assert errors == (
        f"jld_fileserver: FILESERVER_NFS_PORT={port}: should be a free port of 127.0.0.1 (Address already in use)\n"
    )
