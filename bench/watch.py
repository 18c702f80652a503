"""What a start of a lab looks like from outside, in the same way for whoever starts it."""

import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

LISTENS = "0A"
"""State of a socket in the kernel's tables (proc_pid_net(5): include/net/tcp_states.h)."""


def processes() -> set[str]:
    """Return the ids of all processes."""
    return {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - called every 5 ms


class LabWatch(threading.Thread):
    """Finds the server of a member by its environment, and the moment it listens, in a container of this machine too.

    Args:
        login: The member.

    Attributes:
        born: When it was found, on time.monotonic's clock; 0: it was not.
        listens: When its port accepted connections, likewise.
    """

    def __init__(self, login: str) -> None:
        super().__init__(daemon=True)
        self.mark = f"JUPYTERHUB_USER={login}".encode()
        self.ignore = processes()
        self.born = self.listens = 0.0
        self.stopped = threading.Event()

    def run(self) -> None:
        """Look every 5 ms."""
        found = None
        while not self.listens and not self.stopped.wait(0.005):
            if found is None:
                found = self._find()
            elif _listens(*found):
                self.listens = time.monotonic()

    def _find(self) -> tuple[str, int] | None:
        for name in processes() - self.ignore:
            with suppress(OSError):
                variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
                if self.mark in variables:
                    self.born = time.monotonic()
                    url = next(v for v in variables if v.startswith(b"JUPYTERHUB_SERVICE_URL=")).decode()
                    return name, urlsplit(url.partition("=")[2]).port or 0
        return None


def _listens(process: str, port: int) -> bool:
    """Tell whether a port accepts in the network namespace of a process."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == LISTENS and local.endswith(f":{port:04X}"):
                    return True
    return False


class PodWatch(threading.Thread):
    """Notes the moment at which each pod of a name is made, as the API server tells whoever watches.

    Args:
        namespace: Where.
        name: The pods' name.

    Attributes:
        made: When, on time.monotonic's clock, by the pod's unique id.
    """

    def __init__(self, namespace: str, name: str) -> None:
        super().__init__(daemon=True)
        self.made: dict[str, float] = {}
        select = (f"--namespace={namespace}", f"--field-selector=metadata.name={name}")
        form = r'--output=jsonpath={.metadata.uid}{"\n"}'
        self.kubectl = subprocess.Popen(
            ["kubectl", "get", "pods", *select, "--watch", form], stdout=subprocess.PIPE, text=True
        )
        self.start()

    def run(self) -> None:
        """Read until kubectl ends."""
        assert self.kubectl.stdout
        for line in self.kubectl.stdout:
            self.made.setdefault(line.strip(), time.monotonic())

    def close(self) -> None:
        """End it."""
        self.kubectl.terminate()
        self.kubectl.wait()
        self.join()
