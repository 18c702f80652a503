"""The parts that are disturbed: each a process that is started, paused and killed."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from broker import Broker

from .disk import Disk
from .network import Wire

SUPPORT = Path(__file__).parents[1]


class Part:
    """A process.

    Args:
        name: its name.
        command: how it is started.
        environment: all of its environment.
        log: the file that its output is appended to.

    Attributes:
        surprises: what it did that nobody asked it to.
    """

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.surprises: list[str] = []
        self._command = command
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs."""
        if self.is_running():
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def is_running(self) -> bool:
        """Tell whether it runs; an end that nobody asked for is a surprise."""
        if self._process and (status := self._process.poll()) is not None:
            self.surprises.append(f"{self.name} ended with status {status}: {self._log.name} says why")
            self._process = None
        return self._process is not None

    def pause(self) -> None:
        """Have it do nothing."""
        if self.is_running() and self._process:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        if self.is_running() and self._process:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without notice."""
        if self.is_running() and self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


class Component(Part):
    """The shipper or the collector, on a machine with a disk of its own.

    Args:
        name: `shipper` or `collector`.
        folder: for its log and journal, and of that name for its state and what its disk keeps.
        environment: its settings.
        wires: the ways to and from it.
        mutant: how it is broken on purpose, if it is.
    """

    def __init__(self, name: str, folder: Path, environment: dict[str, str], *, wires: list[Wire], mutant: str) -> None:
        state, beside, journal = folder / name / "state", folder / name / "kept", folder / f"{name}.journal"
        command = [sys.executable, "-P", "-m", f"soak.{name}", str(state), str(beside), str(journal), mutant]
        own = {"PATH": os.defpath, "PYTHONPATH": str(SUPPORT)}
        super().__init__(name, command, own | environment, folder / f"{name}.log")
        self._disk = Disk(state, beside, journal)
        self._wires = wires

    def cut_power(self, chance: random.Random) -> None:
        """Have its machine lose power: what is not on disk is gone, what was not sent too."""
        for wire in self._wires:
            wire.lose()
        self.kill()
        self._disk.cut_power(chance)

    def power_on(self) -> None:
        """Have its machine start again."""
        for wire in self._wires:
            wire.mend()
        self.start()


class RabbitMQ(Part):
    """The broker.

    Args:
        broker: what knows how to set it up.
    """

    def __init__(self, broker: Broker) -> None:
        super().__init__(
            "broker", [sys.executable, "-P", "-m", "jld_broker"], broker.environment, broker.folder / "broker.log"
        )
        self._broker = broker
        self._calls: list[subprocess.Popen[bytes]] = []

    def kill(self) -> None:
        """End it without notice."""
        self._broker.process = self._process
        self._broker.kill()
        self._process = None

    def listens(self) -> bool:
        """Tell whether it takes connections."""
        self._broker.process = self._process
        return self._broker.listens()

    def watermark(self, share: float) -> None:
        """Have it take nothing when it has more than this share of the memory; it may do it later.

        Its own command would take seconds, most of them to start.
        """
        cookie = (self._broker.folder / "state/.erlang.cookie").read_text()
        node = ["-address", f"127.0.0.1:{self._broker.port + 2}", "-c", cookie]
        call = f"vm_memory_monitor set_vm_memory_high_watermark [{share}]"
        self._calls.append(
            subprocess.Popen(["erl_call", *node, "-a", call], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )

    def is_calm(self) -> bool:
        """Tell whether it did all of that, once it runs and is not paused."""
        if all(call.poll() is not None for call in self._calls):
            self._calls.clear()
        return not self._calls
