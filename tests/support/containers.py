"""A running stack in containers, as a test sees it."""

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pika
import psutil
from stack import Stack, Writer, free_ports

IMAGE = "lsstsqre/jld-fileserver:0.1.0"
"""Any of the stack's that has Python."""

LAB = "lsstsqre/jld-lab-py3"
"""The image of labs, without a tag."""

LABELS = ("com.docker.compose.project", "org.lsst.jupyterlabdemo.stack")
"""What the containers and networks of a stack are marked with: services by Compose, labs by the hub."""


def docker(*words: str, text: str | None = None) -> str:
    """Run a command of docker's and return what it printed.

    Args:
        words: The command.
        text: What it reads.
    """
    return subprocess.run(["docker", *words], input=text, check=True, capture_output=True, text=True).stdout


class ContainerWriter:
    """Writes to its standard output, of which the engine makes a log that it rotates.

    Args:
        name: Of the container.
    """

    mark = "writer "

    def __init__(self, name: str) -> None:
        self.name = name
        shout = "import itertools, time\nfor n in itertools.count(): print('writer', n, flush=True); time.sleep(0.002)"
        # All that is written is kept: files that the engine throws away are not the shipper's to save.
        rotation = ("--log-driver=json-file", "--log-opt=max-size=32k", "--log-opt=max-file=1000")
        image = ("--entrypoint=/usr/bin/python3", IMAGE)
        docker("run", "--detach", "--network=none", f"--name={name}", *rotation, *image, "-c", shout)

    def end(self) -> list[str]:
        """Stop, and return what was written."""
        docker("kill", self.name)
        return docker("logs", self.name).splitlines()

    def remove(self) -> None:
        """Stop, and remove what was written."""
        docker("rm", "--force", self.name)


class ComposeStack(Stack):
    """Containers of one project.

    Attributes:
        project: What their names begin with.
        spare: Second image of the menu, whose tag is this stack's own: a test may have it be something else.
    """

    again = 15.0
    # A container has not even got what is not its member's.
    barred = ("Permission denied", "No such file", "Read-only file system")

    def __init__(self, **settings: str) -> None:
        super().__init__(**settings)
        self.project = self.state.name.lower()
        self.spare = f"{LAB}:experimental-{self.project}"
        first = free_ports(2)
        self.environment |= {
            "RUN": "compose",
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_STATE": str(self.state),
            "COMPOSE_HTTPS_PORT": str(first),
            "COMPOSE_GITHUB_PORT": str(first + 1),
            "LAB_CONTAINER_NAMES": f"{LAB}:0.1.0,{self.spare}",
            **settings,
        }

    def down(self) -> None:
        """Stop it and forget its state; nothing of it may be left on the engine."""
        super().down()
        with contextlib.suppress(subprocess.CalledProcessError):  # it never came so far
            docker("image", "rm", self.spare)
        assert not self.left()

    def left(self) -> list[str]:
        """List the stack's containers and networks, running or not, each by id and name."""
        commands = (("ps", "--all", "--format={{.ID}} {{.Names}}"), ("network", "ls", "--format={{.ID}} {{.Name}}"))
        filters = [f"--filter=label={label}={self.project}" for label in LABELS]
        return [line for command in commands for one in filters for line in docker(*command, one).splitlines()]

    def containers(self) -> list[dict[str, Any]]:
        """Return what the engine tells about each container of the stack, labs too."""
        names = []
        for label in LABELS:
            names += docker("ps", "--all", "--quiet", "--filter", f"label={label}={self.project}").split()
        return list(json.loads(docker("inspect", *names))) if names else []

    def services(self) -> dict[str, dict[str, Any]]:
        """Return what the engine tells about each service, by its name in compose.yaml."""
        label = "com.docker.compose.service"
        found = {one["Config"]["Labels"].get(label): one for one in self.containers()}
        return {name: one for name, one in found.items() if name}

    def starts(self) -> dict[str, tuple[str, str]]:
        """Tell which container each service has, and since when it runs."""
        return {name: (one["Id"], one["State"]["StartedAt"]) for name, one in self.services().items()}

    def container(self, service: str) -> dict[str, Any]:
        """Return what the engine tells about a service."""
        return next(one for one in self.containers() if one["Name"] == f"/{self.project}-{service}-1")

    def lab(self, member: str) -> dict[str, Any]:
        """Return what the engine tells about a member's lab."""
        return next(one for one in self.containers() if one["Name"] == f"/{self.project}-lab-{member}")

    def lab_id(self, member: str) -> str:
        """Return what another lab of the member would not have."""
        return str(self.lab(member)["Id"])

    def processes(self) -> dict[int, dict[str, str]]:
        """Find them as the engine lists them."""
        found: dict[int, dict[str, str]] = {}
        for one in self.containers():
            with contextlib.suppress(subprocess.CalledProcessError):  # it does not run
                for line in docker("top", one["Id"], "-eo", "pid").splitlines()[1:]:
                    with contextlib.suppress(psutil.Error):
                        found[int(line)] = psutil.Process(int(line)).environ()
        return found

    def log(self, service: str) -> str:
        """Ask the engine for it, whichever stream it was written to."""
        command = ["docker", "logs", f"{self.project}-{service}-1"]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout

    def origin(self, event: dict[str, Any]) -> tuple[str, str | None]:
        """Tell by the container's name."""
        name = event.get("container", {}).get("name", "")
        if name.startswith(f"{self.project}-lab-"):
            return "lab", name.removeprefix(f"{self.project}-lab-")
        return name.removeprefix(f"{self.project}-").rpartition("-")[0], None

    def address(self, service: str, network: str) -> str:
        """Return the address of a service in a network of compose.yaml."""
        networks = self.container(service)["NetworkSettings"]["Networks"]
        return str(networks[f"{self.project}_{network}"]["IPAddress"])

    def broker(self) -> pika.ConnectionParameters:
        """Read by the address that the broker's container has now."""
        return self.reader(self.address("broker", "broker"), 5671, "broker")

    def writer(self) -> Writer:
        """Write in a container."""
        return ContainerWriter(f"{self.project}-writer-1")

    @property
    def control(self) -> Path:
        """It is on this machine, by a folder of the state."""
        return self.state / "github" / "github.sock"
