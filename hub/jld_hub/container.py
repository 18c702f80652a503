"""Compose's adapter: a lab is a container of its own, in a network of its own."""

import asyncio
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

from docker.errors import APIError, DockerException, NotFound
from dockerspawner import DockerSpawner
from requests import RequestException

from .lab import Lab
from .network import HUB, Networks, NoSubnetError
from .settings import Settings
from .spawner import LabError, MemberSpawner, last_message

LABEL = "org.lsst.jupyterlabdemo"
"""Prefix of the labels of labs and their networks: `.stack` (the project), `.member` and `.uid`."""

PIDS = 4096
"""Processes and threads of a lab: a build on all CPUs or a few dozen kernels need hundreds, a fork bomb more."""

SHM = 64 * 2**20
"""Bytes of /dev/shm, the engine's own default; they count as the lab's memory."""

NAMES_SIZE = 2**20
"""Bytes of the folder for names of one user and at most 16 groups."""

LAST_LINES = 20
"""Lines of a dead lab's log among which its last words are."""

ENGINE_SECONDS = 30
"""What an answer of the engine may take; starting a container takes about one on a busy machine."""

CALLS = 8
"""Calls to the engine at the same time; one that stops a lab lasts until the lab has ended."""

KILLED = 128 + signal.SIGKILL
"""The exit status of what was killed."""

AWAY = "Labs cannot be {} right now: the engine does not answer. Please try again, or tell your operator."


def _kill(state: Mapping[str, Any]) -> str:
    """Say how a lab was killed, if it was.

    The kernel's word of want of memory can reach the engine behind the lab's end, and is lost then (Docker 20.10).
    """
    if state["OOMKilled"]:
        return "ended for want of memory"
    return "killed, most likely for want of memory" if state["ExitCode"] == KILLED else ""


def labels(lab: Lab, project: str) -> dict[str, str]:
    """Return what tells a lab's container and network from others.

    Args:
        lab: The lab.
        project: Name of the stack.
    """
    return {
        f"{LABEL}.stack": project,
        f"{LABEL}.member": lab.identity.login,
        f"{LABEL}.uid": str(lab.identity.uid),
    }


def mounts(lab: Lab, settings: Settings) -> list[dict[str, str]]:
    """Return the folders of a lab as bind mounts, for which an absent source is an error.

    Args:
        lab: The lab.
        settings: The hub's settings.
    """
    return [
        {"type": "bind", "source": str(settings.hub_homes_dir / folder.source), "target": folder.target}
        for folder in (lab.home, *lab.groups)
    ]


def limits(lab: Lab) -> dict[str, Any]:
    """Return what the engine holds a lab to, as arguments of docker.types.HostConfig; CPU and memory aside.

    Args:
        lab: The lab.
    """
    return {
        "auto_remove": False,  # a dead lab's last words are wanted
        "restart_policy": {"Name": "no"},
        "group_add": [str(group.id) for group in lab.identity.groups],
        "memswap_limit": lab.mem_limit,  # of memory and swap together
        "pids_limit": PIDS,
        "shm_size": SHM,
        "ipc_mode": "private",
        "init": False,  # the image has its own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        "tmpfs": {
            # Members compile there. Half of the memory, which it counts as, so that a full one leaves room to say so.
            "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={lab.mem_limit // 2}",  # noqa: S108 - the lab's own
            "/var/lib/extrausers": f"rw,noexec,nosuid,nodev,mode=1777,size={NAMES_SIZE}",
        },
        "log_config": {"type": "json-file", "config": {"max-size": "10m", "max-file": "3"}},
    }


class ContainerSpawner(MemberSpawner, DockerSpawner):  # type: ignore[misc]
    """Starts the image's own command as the member, in a container that can do little else than compute."""

    _executor = ThreadPoolExecutor(CALLS, thread_name_prefix="engine")
    _networks: ClassVar[Networks | None] = None
    _away: ClassVar[bool] = False
    _started = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        settings = self.settings
        self.client_kwargs = {"base_url": settings.hub_docker_url, "timeout": ENGINE_SECONDS}
        self.prefix = f"{settings.hub_docker_project}-lab"
        self.object_name = self._object_name_default()
        self.hub_connect_url = f"http://{HUB}:{settings.hub_port}"
        # The name comes after those of Compose's networks, `<project>_…`: by names the engine chooses through which of
        # its networks a container's traffic leaves.
        self.network_name = f"{settings.hub_docker_project}_z-lab-{self.escaped_name}"
        self.use_internal_ip = True
        self.allowed_images = "*"  # the menu decides, in pick_image
        self.pull_policy = "never"
        self.remove = True

    @property
    def networks(self) -> Networks:
        """The labs' networks; made in a thread, since making a client asks the engine for its version."""
        cls = type(self)
        if cls._networks is None:
            cls._networks = Networks(self.client, self.settings.hub_docker_project, self.settings.hub_docker_networks)
        return cls._networks

    async def on_networks(self, do: Callable[[Networks], None]) -> None:
        """Do something with the networks in a thread of the engine's calls."""
        await asyncio.wrap_future(self.executor.submit(lambda: do(self.networks)))

    async def start(self) -> Any:
        """Start the container and return its address once the lab listens.

        Raises:
            LabError: It cannot be started; the message says why.
        """
        with self._engines_words("started"):
            return await super().start()

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - its signature
        """Stop the container, and remove it once it has ended.

        Raises:
            LabError: It cannot be stopped; the message says why.
        """
        with self._engines_words("stopped"):
            await super().stop(now)

    @contextmanager
    def _engines_words(self, done: str) -> Iterator[None]:
        """Turn what the engine says, or does not say, into a sentence for the member.

        Args:
            done: What was to be done with the lab.
        """
        try:
            yield
        except NoSubnetError as error:
            self.log.error("All of HUB_DOCKER_NETWORKS, %s, is in use", self.settings.hub_docker_networks)  # noqa: TRY400
            raise LabError("There is no room for another lab right now.", reason="network", status=503) from error
        except APIError as error:
            words = " ".join(str(error.explanation or error).split())[:400].replace(self.api_token or "\n", "***")
            raise LabError(f"Your lab could not be {done}: {words}", reason="engine") from error
        except (DockerException, RequestException) as error:
            self.log.error("The container engine does not answer: %s", error)  # noqa: TRY400 - the cause is in it
            raise LabError(AWAY.format(done), reason="engine", status=503) from error

    async def pull_image(self, image: str) -> None:
        """Look whether the image is there; operators pull images, members do not wait for that."""
        try:
            await super().pull_image(image)
        except NotFound as error:
            raise LabError(
                f"The image {image} is not on this machine. Please pick another, or tell your operator.",
                reason="image",
                status=503,
            ) from error

    async def get_command(self) -> None:
        """Name no command: the image has its own."""

    async def create_object(self) -> dict[str, Any]:
        """Make the network, with hub and proxy in it, and then the container."""
        self._started = True
        lab = self.lab
        assert lab is not None, "start describes the lab first"  # noqa: S101 - for the type checker
        marks = labels(lab, self.settings.hub_docker_project)
        self.cpu_limit, self.mem_limit = lab.cpu_limit, lab.mem_limit
        self.mounts = mounts(lab, self.settings)
        self.extra_create_kwargs = {"user": f"{lab.identity.uid}:{lab.identity.uid}", "labels": marks}
        self.extra_host_config = limits(lab)
        await self.on_networks(lambda networks: networks.make(self.network_name, marks))
        created: dict[str, Any] = await super().create_object()
        return created

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the lab that an earlier hub started."""
        super().load_state(state)
        self._started = bool(self.object_id)

    async def get_object(self) -> dict[str, Any] | None:
        """Return what the engine knows of the container, or None where it has none.

        DockerSpawner takes an engine's error for the container's end.

        Raises:
            APIError: The engine has trouble.
        """
        try:
            container: dict[str, Any] = await self.docker("inspect_container", self.object_name)
        except NotFound:
            self.object_id = ""
            return None
        self.object_id = container["Id"]
        return container

    async def poll(self) -> int | None:
        """Tell whether the lab runs, and see to it that hub and proxy are in its network.

        A container whose start an earlier hub did not live to see the end of is no lab: nobody knows its address, and
        what it announced was lost.

        Returns:
            None while it runs, or while the engine does not answer: that is no lab's end.
        """
        cls = type(self)
        try:
            container = await self.get_object()
            running = self._started and container is not None and container["State"]["Running"]
            if running:
                await self.on_networks(lambda networks: networks.join(self.network_name))
        except (DockerException, RequestException) as error:
            if not cls._away:
                self.log.error("The container engine has trouble; labs count as running: %s", error)  # noqa: TRY400
            cls._away = True
            return None
        if cls._away:
            cls._away = False
            self.log.warning("The container engine answers again")
        if running:
            return None
        if container is None:
            return 0
        if kill := _kill(container["State"]):
            self.log.warning("The lab of %s was %s", self.user.name, kill)
        return int(container["State"]["ExitCode"])

    async def last_words(self) -> str:
        """Return the message of the last line that the lab wrote, or that its memory was too small."""
        container = await self.get_object()
        if container is None:
            return ""
        if kill := _kill(container["State"]):
            return f"It was {kill}: it may use {self.mem_limit / 2**20:.0f} MiB."
        log = await self.docker("logs", self.object_id, tail=LAST_LINES)
        return last_message(log)

    async def remove_object(self) -> None:
        """Remove the container, also one that an earlier hub left running while it started."""
        try:
            await self.docker("remove_container", self.object_id, v=True, force=True)
        except APIError as error:
            if error.status_code not in (404, 409):  # it has gone, or somebody else is removing it
                raise

    async def run_post_stop_hook(self) -> None:
        """Remove the network, and the container of a lab that died or did not start.

        JupyterHub calls this after each stop, and for a lab that died by itself, which it does not stop. What an
        engine in trouble leaves behind is replaced at the member's next start.
        """
        try:
            if self.object_id:
                await self.remove_object()
            await self.on_networks(lambda networks: networks.remove(self.network_name))
        except (DockerException, RequestException) as error:
            self.log.error("Could not clear up after the lab of %s: %s", self.user.name, error)  # noqa: TRY400

    @staticmethod
    def _escape(text: str) -> str:
        """Make a part of a container's name of a login: what GitHub allows is left as it is."""
        return re.sub(r"[^a-z0-9_-]", lambda sign: f".{ord(sign[0]):x}.", text)
