"""Ports: whether they are free, and who has them when they are not."""

import contextlib
import errno
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from .errors import BusyPortError
from .lines import printable
from .processes import PROC, environment, members
from .service import HOST, MARKER


def check(ports: Iterable[int], ours: Path) -> None:
    """Refuse to start where a port is taken.

    Args:
        ports: what is needed.
        ours: the stack's state folder; what it has itself is no obstacle.

    Raises:
        BusyPortError: naming the first such port and, where that can be seen, who has it.
    """
    for port in ports:
        with socket.socket() as trial:
            # Connections of an earlier run in TIME_WAIT keep nobody from listening.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except PermissionError:
                raise BusyPortError(f"port {port} is for root: set EMBEDDED_PORT above 1023") from None
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                pid = listener(port)
                if pid is None or pid not in members(ours):
                    raise BusyPortError(f"port {port} is in use {owner(pid)}, or set EMBEDDED_PORT") from None


def owner(pid: int | None) -> str:
    """Describe who listens on a port, and what to do about it."""
    if pid is None:
        return "by another user's process or a container: stop that"
    if state := environment(pid).get(MARKER):
        return f"by another stack of this project, in {state}: `EMBEDDED_STATE={state} make down`"
    command = (PROC / str(pid) / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return f"by process {pid} ({printable(command[:60])}): stop that"


def listener(port: int) -> int | None:
    """Find the process that listens on a TCP port, among those that may be looked into (proc_pid_net(5))."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "self/net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for entry in PROC.iterdir():
        if re.fullmatch(r"\d+", entry.name):
            with contextlib.suppress(OSError):
                if any(str(link.readlink()) in inodes for link in Path(entry, "fd").iterdir()):
                    return int(entry.name)
    return None
