"""Whom a process reaches over the network."""

import json
import subprocess
import sys
from pathlib import Path

Endpoint = tuple[str, int]

CONNECT = """
import socket
from concurrent.futures import ThreadPoolExecutor
def connects(to):
    try:
        socket.create_connection(to, timeout=2).close()
    except OSError:
        return False
    return True
def address(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None
def reached(endpoints):
    with ThreadPoolExecutor(64) as threads:
        return [to for to, answer in zip(endpoints, threads.map(connects, endpoints)) if answer]
def found(names):
    with ThreadPoolExecutor(64) as threads:
        return {name: at for name, at in zip(names, threads.map(address, names)) if at}
"""
"""Runs in a lab, and beside the stack."""

ASK = f"import json, sys\n{CONNECT}\nprint(json.dumps(reached([tuple(to) for to in json.load(sys.stdin)])))"


LOOPBACK = ("0100007F", "0" * 24 + "01000000")
"""127.0.0.1, also as IPv6 has it, and ::1, as /proc/net/tcp and tcp6 end with them."""


def listening(pid: int) -> set[int]:
    """Return the TCP ports that are listened on in a process's network, beside its loopback."""
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            host, port = local.split(":")
            if state == "0A" and not host.endswith(LOOPBACK):
                ports.add(int(port, 16))
    return ports


def reached(network: list[str], endpoints: list[Endpoint]) -> set[Endpoint]:
    """Connect to endpoints, and return those that answer.

    Args:
        network: Command that runs another in some network: of `nsenter` or of `ip netns exec`; none: this machine's.
        endpoints: Addresses and ports.
    """
    done = subprocess.run(
        [*network, sys.executable, "-I", "-c", ASK],
        input=json.dumps(endpoints),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {(str(host), int(port)) for host, port in json.loads(done.stdout)}


def of(pid: int) -> list[str]:
    """Return the command that runs another in the network of a process."""
    return ["nsenter", f"--target={pid}", "--net", "--"]
