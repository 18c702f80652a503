"""Labs in containers of a real engine: what tests of them share."""

import os
import time
from collections.abc import Callable

import docker
from docker.models.containers import Container
from jld_hub import container
from jld_hub.container import ContainerSpawner

PROJECT = f"jldtest{os.getpid()}"

LISTEN = (
    "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => PORT, Listen => 9, ReuseAddr => 1) or die $!;"
    "$SIG{TERM} = sub { exit 0 }; while (1) { $c = $s->accept; close $c if $c }"
)

COMMANDS = {
    "lab": ["perl", "-e", LISTEN.replace("PORT", "8888")],
    "service": ["perl", "-e", LISTEN.replace("PORT", "8081")],
    "no-entry": ["/nowhere"],
    "dies": ["perl", "-e", r'print qq(before\n{"message": "no stack here"}\n); exit 3'],
    "greedy": ["perl", "-e", '$x = "x" x (256 * 2**20); sleep 60'],
    "greedy-later": [
        "perl",
        "-e",
        '$SIG{USR1} = sub { $x = "x" x (4 * $ENV{MEM_LIMIT}) };' + LISTEN.replace("PORT", "8888"),
    ],
}
"""Images that the tests build of Debian's, and what these run."""

ALICE = 4242424
BOB = 5252525

Make = Callable[..., ContainerSpawner]


def tag(name: str) -> str:
    """Return the whole name of a test's image."""
    return f"jld-test-{name}:{os.getpid()}"


def forget_engine() -> None:
    """Let the next spawner ask for an engine again, as in another process."""
    if ContainerSpawner._client is not None:
        ContainerSpawner._client.close()
    ContainerSpawner._client = ContainerSpawner._networks = None
    ContainerSpawner._away = False


def serve(engine: docker.DockerClient, service: str, network: str) -> Container:
    """Run a service as Compose does, which listens on port 8081."""
    labels = {"com.docker.compose.project": PROJECT, "com.docker.compose.service": service}
    started: Container = engine.containers.run(
        tag("service"), detach=True, labels=labels, network=network, name=f"{PROJECT}-{service}-{time.monotonic_ns()}"
    )
    return started


def run(engine: docker.DockerClient, lab: ContainerSpawner, *command: str) -> str:
    """Run a command in a lab, and return what it writes."""
    output = engine.containers.get(lab.object_id).exec_run(list(command)).output
    assert isinstance(output, bytes)
    return output.decode()


def reaches(engine: docker.DockerClient, lab: ContainerSpawner, host: str, port: int) -> bool:
    """Tell whether a lab can connect to a port within a second."""
    script = f"use IO::Socket::INET; print IO::Socket::INET->new(PeerAddr => '{host}:{port}', Timeout => 1) ? 'yes' : 0"
    return run(engine, lab, "perl", "-e", script) == "yes"


def address(engine: docker.DockerClient, name: object, network: str) -> str:
    """Return a container's address in a network."""
    found: str = engine.containers.get(str(name)).attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
    return found


def joined(engine: docker.DockerClient, peer: Container) -> set[str]:
    """Name the networks that a container is in."""
    return set(engine.containers.get(str(peer.name)).attrs["NetworkSettings"]["Networks"])


def left(engine: docker.DockerClient) -> list[str]:
    """Name the labs' containers and networks that the engine has."""
    label = f"{container.LABEL}.stack={PROJECT}"
    labs = [str(lab.name) for lab in engine.containers.list(all=True, filters={"label": label})]
    return labs + [str(network.name) for network in engine.networks.list(filters={"label": label})]
