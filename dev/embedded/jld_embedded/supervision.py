"""supervisord: its configuration, its start, and its control over a Unix socket."""

import contextlib
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import xmlrpc.client
from pathlib import Path
from typing import Any

from .errors import EX_CONFIG, EX_UNAVAILABLE
from .service import VENV, Service
from .state import State

CONFIG = """\
; Written by `make up`. Paths are relative to the state folder, which is the working directory.
[supervisord]
nodaemon = true
silent = true
logfile = log/supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = {run}/supervisord.pid
{user}

[unix_http_server]
file = {run}/supervisord.sock
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

# startsecs = 0 because a program that ends early with a status that says "will not work" must not be tried again.
PROGRAM = """
[program:{name}]
command = "{python}" -P -m jld_embedded.launch {program}
autorestart = unexpected
exitcodes = {final}
startsecs = 0
stopwaitsecs = 7
redirect_stderr = true
stdout_logfile = log/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3
"""


class UnixTransport(xmlrpc.client.Transport):
    """Takes XML-RPC over a Unix socket, with a deadline."""

    def __init__(self, path: Path) -> None:
        """Take the path of the socket."""
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        """Connect to the socket; the host is of no meaning."""
        connection = http.client.HTTPConnection(host)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(10)
        connection.sock.connect(str(self.path))
        return connection


def control(run: Path) -> Any:
    """Give supervisord's RPC interface; its calls raise OSError where nothing answers."""
    return xmlrpc.client.ServerProxy("http://supervisord", transport=UnixTransport(run / "supervisord.sock")).supervisor


def pid(run: Path | None) -> int | None:
    """Ask for the process id of the supervisord of a folder of sockets; None when none answers."""
    if not run:
        return None
    with contextlib.suppress(OSError, http.client.HTTPException):
        return int(control(run).getPID())
    return None


def configure(state: State, run: Path, services: list[Service]) -> None:
    """Write the configuration; a program that changed has another name, so that supervisord sees the change."""
    text = CONFIG.format(run=run, user="user = root" if os.geteuid() == 0 else "")
    wanted = set()
    for service in services:
        program = service.program()
        file = f"{service.name}-{hashlib.sha256(program.encode()).hexdigest()[:12]}.json"
        (state.programs / file).write_text(program)
        wanted.add(file)
        text += PROGRAM.format(
            name=service.name,
            python=str(VENV / "bin/python").replace("%", "%%"),
            program=f"programs/{file}",
            final=f"{EX_UNAVAILABLE},{EX_CONFIG}",
        )
    state.config.write_text(text)
    for old in state.programs.iterdir():
        if old.name not in wanted:
            old.unlink()


def start(state: State, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start supervisord in the background, as the one whose children orphans become."""
    program = state.programs / "supervisord.json"
    program.write_text(
        json.dumps(
            {
                "argv": [str(VENV / "bin/supervisord"), "-c", str(state.config)],
                "environment": environment,
                "secrets": {},
                "reaper": True,
            }
        )
    )
    with (state.log / "supervisord.err").open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - a program of this environment
            [sys.executable, "-P", "-m", "jld_embedded.launch", str(program)],
            cwd=state.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wake(run: Path | None) -> None:
    """Have supervisord notice signals, those of ended children too; by itself it does so once a second."""
    if run:
        with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
            control(run).getState()


def update(run: Path) -> list[str]:
    """Have supervisord take its configuration anew and (re)start what changed or has ended.

    Returns:
        Names of the services that were started, stopped or both.
    """
    supervisor = control(run)
    [[added, changed, removed]] = supervisor.reloadConfig()
    for name in [*changed, *removed]:
        supervisor.stopProcessGroup(name)
        supervisor.removeProcessGroup(name)
    for name in [*added, *changed]:
        supervisor.addProcessGroup(name)
    ended = [
        process["name"]
        for process in supervisor.getAllProcessInfo()
        if process["statename"] in {"STOPPED", "EXITED", "FATAL"} and process["name"] not in {*added, *changed}
    ]
    for name in ended:
        with contextlib.suppress(xmlrpc.client.Fault):
            supervisor.startProcess(name)
    return [*added, *changed, *removed, *ended]
