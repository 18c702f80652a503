"""The embedded run's adapter: a lab is a process with the member's uid, gid and groups."""

import grp
import os
import pwd
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import LocalProcessSpawner

from .lab import Lab
from .spawner import MemberSpawner, last_message

UMASK = 0o027
"""Homes are private to the member and readable for his organizations at most."""

PATH = "/usr/local/bin:/usr/bin:/bin"


def is_taken(number: int) -> bool:
    """Tell whether this machine has a user or group with an id; one by one, since directories list none."""
    for find in (pwd.getpwuid, grp.getgrgid):
        with suppress(KeyError):
            find(number)
            return True
    return False


CLOCK_SECONDS = 60
"""How far the clock may have been set since a process began; no other gets its id that soon after."""


def _born(pid: int) -> float:
    """Return when a process began, in seconds since 1970, or 0 where there is none."""
    with suppress(psutil.Error):
        return psutil.Process(pid).create_time()
    return 0.0


class LocalSpawner(MemberSpawner, LocalProcessSpawner):  # type: ignore[misc]
    """Starts `python -m jld_lab` as the member where the hub is root, else as the hub's own user."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # -I: the working directory is the member's home, and the server imports nothing from there.
        self.cmd = [str(self.settings.hub_lab_python), "-I", "-m", "jld_lab"]
        self.env_keep = ["JLD_STATE"]
        self.log_start = 0
        self.born = 0.0
        self.uid = 0

    async def start(self) -> Any:
        """Start the process; its output goes to a file that outlives the hub."""
        with self.log_file.open("ab") as log:
            self.log_start = log.tell()
            output: dict[str, Any] = {"stdout": log, "stderr": log}
            self.popen_kwargs = output
            return await super().start()

    def get_state(self) -> dict[str, Any]:
        """Keep whose the process is and when it began, beside its id, which may be another's after a while."""
        if self.proc is not None:
            self.born = _born(self.pid)
        state: dict[str, Any] = super().get_state()
        return state | {"born": self.born, "uid": self.uid}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a process that an earlier hub started."""
        super().load_state(state)
        self.born, self.uid = state.get("born", 0.0), state.get("uid", 0)

    async def poll(self) -> int | None:
        """Tell whether the process runs; one with its id that began at another time is a stranger."""
        if self.proc is None and self.pid and abs(_born(self.pid) - self.born) > CLOCK_SECONDS:
            self.clear_state()
            return 0
        status: int | None = await super().poll()
        return status

    async def make_folders(self, lab: Lab) -> None:
        """Have the folders made, and local ones for sockets and for the links that stand for mounts."""
        await super().make_folders(lab)
        self.uid = lab.identity.uid
        homes, runtime = self.settings.hub_homes_dir, self.runtime_dir
        self.groups_dir.mkdir(parents=True, exist_ok=True)
        for link in self.groups_dir.iterdir():
            link.unlink()
        for folder in lab.groups:
            (self.groups_dir / Path(folder.target).name).symlink_to(homes / folder.source)
        self._end_leftovers()
        runtime.mkdir(mode=0o700, parents=True)
        self.popen_kwargs |= {"cwd": homes / lab.home.source, "umask": UMASK}
        if os.geteuid() == 0:
            os.chown(runtime, lab.identity.uid, lab.identity.uid, follow_symlinks=False)
            self.popen_kwargs |= {
                "user": lab.identity.uid,
                "group": lab.identity.uid,
                "extra_groups": [group.id for group in lab.identity.groups],
            }

    def get_env(self) -> dict[str, str]:
        """Put this machine's paths in place of a container's."""
        environment = super().get_env()
        if self.lab is None:
            return environment
        homes = self.settings.hub_homes_dir
        return environment | {
            "PATH": PATH,
            "HOME": str(homes / self.lab.home.source),
            "LAB_GROUPS_DIR": str(self.groups_dir),
            "LAB_RUNTIME_DIR": str(self.runtime_dir),
            "LAB_STACK_DIR": str(self.settings.hub_lab_stack_dir),
        }

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Leave names and folders to get_env: the members are no users of this machine."""
        return env

    def make_preexec_fn(self, name: str) -> Callable[[], None] | None:  # noqa: ARG002 - its signature
        """Leave uid, gid and groups to popen_kwargs, for the same reason."""
        return None

    def notices(self) -> list[str]:
        """Say where labs run, and as whom."""
        if os.geteuid() == 0:
            return []
        return ["This lab runs as the user who started the stack: nothing separates members from each other."]

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002 - its signature
        """End the server by SIGTERM: without a terminal it takes SIGINT for an interrupt, and leaves its kernels."""
        await super().stop(now=True)

    async def run_post_stop_hook(self) -> None:
        """End whatever the member has left running, as the end of a container would.

        JupyterHub calls this after each stop, and for a lab that died by itself, which it does not stop.
        """
        self._end_leftovers()

    def _end_leftovers(self) -> None:
        """Kill what is left of this lab, and remove its runtime folder.

        All that members start stays below the hub's parent, which adopts orphans. Root knows it by the member's uid;
        anybody else, for whom labs have his own, by the runtime folder in its environment.
        """
        parent = psutil.Process().parent()
        for process in parent.children(recursive=True) if parent else []:
            with suppress(psutil.Error):
                if self._is_mine(process):
                    process.kill()
                    self.log.info("Killed process %d, which outlived the lab of %s", process.pid, self.user.name)
        shutil.rmtree(self.runtime_dir, ignore_errors=True)

    def _is_mine(self, process: psutil.Process) -> bool:
        if os.geteuid() == 0:
            return self.uid != 0 and process.uids().real == self.uid
        return process.environ().get("LAB_RUNTIME_DIR") == str(self.runtime_dir)

    @property
    def runtime_dir(self) -> Path:
        """Folder for this lab's sockets, short since a socket's path is limited to 107 bytes."""
        return self.settings.hub_runtime_dir / "labs" / str(self.user.id)

    @property
    def groups_dir(self) -> Path:
        """Folder with a link to each shared folder of this member, as /groups has mounts in a container."""
        return self.settings.hub_runtime_dir / "groups" / self.runtime_dir.name

    @property
    def log_file(self) -> Path:
        """The lab's log."""
        self.settings.hub_log_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        return self.settings.hub_log_dir / f"{self.user.name}.log"

    async def last_words(self) -> str:
        """Return the message of the last line that this lab, not an earlier one, wrote to its log."""
        with self.log_file.open("rb") as log:
            log.seek(max(self.log_start, log.seek(0, os.SEEK_END) - 4096))
            return last_message(log.read())
