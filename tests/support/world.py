"""A server somewhere in the world, which no network of an engine's is joined to."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PORT = 8081

LISTEN = (
    f"use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => {PORT}, Listen => 9, ReuseAddr => 1) or die $!;"
    "while (1) { $c = $s->accept; close $c if $c }"
)


@contextmanager
def world() -> Iterator[str]:
    """Run a server in a network namespace of its own, and give its address; needs root."""
    # Two runs on one machine must not have the same addresses; RFC 5737 keeps these free of anybody's.
    run = os.getpid() % 10000
    name, ours, first = f"jld{run}", f"jldv{run}", run % 63 * 4
    here, there = (f"198.51.100.{first + host}" for host in (1, 2))
    for command in (
        f"ip netns add {name}",
        f"ip link add {ours} type veth peer name eth0 netns {name}",
        f"ip addr add {here}/30 dev {ours}",
        f"ip link set {ours} up",
        f"ip -n {name} addr add {there}/30 dev eth0",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} link set lo up",
        f"ip -n {name} route add default via {here}",
    ):
        subprocess.run(command.split(), check=True)
    try:
        with subprocess.Popen(["ip", "netns", "exec", name, "perl", "-e", LISTEN]) as server:
            try:
                yield there
            finally:
                server.terminate()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["ip", "link", "del", ours], check=True, stderr=subprocess.DEVNULL)
