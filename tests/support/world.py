"""Servers somewhere in the world, which no network of an engine's or a cluster's is joined to."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PORT = 8081

LISTEN = """
import selectors, socket, sys
select = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    select.register(socket.create_server(("", port)), selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in select.select():
        key.fileobj.accept()[0].close()
"""

_TURNS = itertools.count()


@contextmanager
def place(*addresses: str, ports: tuple[int, ...] = (PORT,)) -> Iterator[str]:
    """Run a server in a network namespace of its own, behind a route of this machine's; needs root.

    Args:
        addresses: Which it has, beside one of its own; what it sends by itself comes from the first.
        ports: What it listens on.

    Yields:
        The namespace's name; its own address is that of `own_address`.
    """
    # Two runs on one machine must not have the same addresses; RFC 5737 keeps these free of anybody's.
    turn = (os.getpid() + 7 * next(_TURNS)) % 10000
    name, ours, first = f"jld{turn}", f"jldv{turn}", turn % 63 * 4
    here, there = (f"198.51.100.{first + host}" for host in (1, 2))
    commands = [
        f"ip netns add {name}",
        f"ip link add {ours} type veth peer name eth0 netns {name}",
        f"ip addr add {here}/30 dev {ours}",
        f"ip link set {ours} up",
        f"ip -n {name} addr add {there}/30 dev eth0",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} link set lo up",
    ]
    for address in addresses:
        commands += [
            f"ip -n {name} addr add {address}/32 dev eth0",
            f"ip route add {address}/32 via {there} dev {ours}",
        ]
    commands.append(f"ip -n {name} route add default via {here} src {(*addresses, there)[0]}")
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        listen = ["ip", "netns", "exec", name, sys.executable, "-I", "-c", LISTEN, *map(str, ports)]
        with subprocess.Popen(listen, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout
                assert server.stdout.readline() == b"listening\n"
                yield name
            finally:
                server.terminate()
    finally:
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["ip", "netns", "del", name], check=True)
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["ip", "link", "del", ours], check=True, stderr=subprocess.DEVNULL)


def own_address(name: str) -> str:
    """Return the address that a place has of its own."""
    return f"198.51.100.{int(name.removeprefix('jld')) % 63 * 4 + 2}"


@contextmanager
def world() -> Iterator[str]:
    """Run a server in a network namespace of its own, and give its address; needs root."""
    with place() as name:
        yield own_address(name)
