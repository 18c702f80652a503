"""The Docker engine, by its own commands."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from jld_embedded.errors import EX_UNAVAILABLE, EmbeddedError

OLDEST_COMPOSE = (2, 20)
"""The first Compose with dependencies that need not be there (`required: false`)."""

STACK_LABEL = "org.lsst.jupyterlabdemo.stack"
"""What the hub puts on labs and their networks, with the project's name."""

INSTALL = "see https://docs.docker.com/compose/install/, or use RUN=embedded, which does without"


class EngineError(EmbeddedError):
    """The engine, or Compose, does not do what it is asked for."""

    status = EX_UNAVAILABLE


class Container(NamedTuple):
    """A container of the stack.

    Attributes:
        name: of the container.
        service: of compose.yaml; empty for a lab.
        member: whose lab it is; empty for a service.
        details: what the engine tells about it.
    """

    name: str
    service: str
    member: str
    details: Mapping[str, Any]

    @property
    def id(self) -> str:
        """What the engine calls it; one that is made anew has another."""
        return str(self.details["Id"])

    @property
    def state(self) -> str:
        """What the engine calls it, such as `running`, `restarting`, `exited`."""
        return str(self.details["State"]["Status"])

    @property
    def pid(self) -> int:
        """Its first process, as this machine numbers it; 0 when it does not run."""
        return int(self.details["State"]["Pid"])

    @property
    def is_ready(self) -> bool:
        """Whether its own check says so; one without a check is ready when it runs."""
        health = self.details["State"].get("Health")
        return self.state == "running" and (not health or health["Status"] == "healthy")

    @property
    def started(self) -> datetime:
        """When it was last started."""
        return datetime.fromisoformat(self.details["State"]["StartedAt"])

    @property
    def starts(self) -> int:
        """How often the engine has started it again by itself."""
        return int(self.details["RestartCount"])

    def address(self, network: str) -> str:
        """Give its address in a network; empty when it is not in it."""
        found = self.details["NetworkSettings"]["Networks"].get(network)
        return str(found["IPAddress"]) if found else ""


def docker(*arguments: str, text: str | None = None) -> str:
    """Run a command of docker's and return what it printed.

    Args:
        arguments: the command.
        text: what it reads.

    Raises:
        EngineError: where there is no docker, no engine answers, or the command fails.
    """
    program = shutil.which("docker")
    if not program:
        raise EngineError(f"docker is not on PATH: {INSTALL}")
    ended = subprocess.run([program, *arguments], input=text, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or [f"status {ended.returncode}"]
        raise EngineError(f"docker {arguments[0]}: {said[-1]}")
    return ended.stdout


def compose() -> list[str]:
    """Find Compose under either of its names.

    Raises:
        EngineError: where it is missing or too old.
    """
    found = []
    for command in (["docker", "compose"], ["docker-compose"]):
        if not shutil.which(command[0]):
            continue
        asked = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        number = re.search(r"(\d+)\.(\d+)[\d.]*", asked.stdout)
        if asked.returncode or not number:
            continue
        if (int(number[1]), int(number[2])) >= OLDEST_COMPOSE:
            return command
        found.append(f"{' '.join(command)} is {number[0]}")
    oldest = ".".join(map(str, OLDEST_COMPOSE))
    raise EngineError(f"Compose {oldest} or newer is needed; {' and '.join(found) or 'there is none'}: {INSTALL}")


def networks(project: str) -> list[str]:
    """List the networks of a stack, those of labs too."""
    return marked(project, "network", "ls", "--quiet")


def marked(project: str, *command: str) -> list[str]:
    """List what Compose, or the hub, has marked as a stack's."""
    labels = (f"com.docker.compose.project={project}", f"{STACK_LABEL}={project}")
    return [found for label in labels for found in docker(*command, "--filter", f"label={label}").split()]


def containers(project: str) -> list[Container]:
    """List the containers of a stack, labs last, running or not."""
    listed = marked(project, "ps", "--all", "--quiet", "--no-trunc")
    if not listed:
        return []
    try:
        told = json.loads(docker("inspect", "--type", "container", *listed))
    except EngineError:
        # One of them ended meanwhile.
        return containers(project)
    found = []
    for details in told:
        labels = details["Config"]["Labels"]
        service, member = labels.get("com.docker.compose.service", ""), labels.get("org.lsst.jupyterlabdemo.member", "")
        found.append(Container(details["Name"].removeprefix("/"), service, member, details))
    return sorted(found, key=lambda one: (not one.service, one.service, one.member))


def root() -> str:
    """Name the engine's own folder, in which the logs of containers are."""
    return docker("info", "--format", "{{.DockerRootDir}}").strip()


def engine_socket() -> Path:
    """Name the engine's socket on this machine: DOCKER_HOST, else what the context in use says.

    Raises:
        EngineError: where the engine is on another machine.
    """
    host = (
        os.environ.get("DOCKER_HOST") or docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip()
    )
    if not host.startswith("unix://"):
        raise EngineError(f"the engine is at {host}: one on this machine is needed, as homes are folders of it")
    return Path(host.removeprefix("unix://"))
