"""From a file to the broker: whole chains, each with a spool on disk before the broker.

Only ours waits for the broker's confirms.
"""

import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

import container_logs
import latency
import syslog_ng
from collector import Collector
from jld_embedded.certificates import Authority
from measured import Command, Program, all_there, usage
from plan import Plan
from rabbit import Broker
from report import Figures, Table
from shippers import Shipper, Target, filebeat, filebeat_to, ours

KIND = "quorum"
"""Of queue, as our collector declares it by default."""

LINE = 256
"""Bytes of a line."""

PART = 0.2
"""Of the first comparison's lines."""


class Chain(ABC):
    """Programs that bring lines from a file to the broker.

    Args:
        folder: for what they keep.
        plan: has the programs.
        broker: where to.
        pattern: glob of the file.
    """

    def __init__(self, folder: Path, plan: Plan, broker: Broker, pattern: str) -> None:
        self._folder = folder
        self._peers = plan.peers
        self._broker = broker
        self._pattern = pattern
        self._stack = ExitStack()
        self.programs: list[Program] = []

    def __enter__(self) -> Self:
        """Give it; nothing runs yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all parts."""
        self._stack.close()

    @abstractmethod
    def receive(self) -> None:
        """Start what is behind the shipper, and wait until it is ready."""

    @abstractmethod
    def ship(self) -> None:
        """Start what reads the file."""

    def there(self) -> float:
        """Give the number of events that the broker has."""
        return self._broker.count()

    def _add(self, program: Program) -> None:
        self._stack.enter_context(program)
        self.programs.append(program)

    def _add_shipper(self, command: Command, stdout: int | None = None) -> None:
        self._add(Program(command, self._folder / "shipper", stdout=stdout))


class ToCollector(Chain):
    """A shipper, and our collector."""

    def receive(self) -> None:
        """Start the collector."""
        self._authority = Authority(self._folder)
        self._collector = Collector(self._folder / "collector", self._authority, self._broker)
        self._add(self._collector)

    def ship(self) -> None:
        """Start the shipper."""
        target = Target(self._collector.port, self._authority)
        self._add_shipper(self._shipper()(self._folder / "shipper", self._pattern, target))

    def there(self) -> float:
        """Give the number of events that the broker confirmed."""
        return self._collector.confirmed()

    def _shipper(self) -> Shipper:
        return ours


class FilebeatToCollector(ToCollector):
    """Elastic's Filebeat, and our collector."""

    def _shipper(self) -> Shipper:
        return filebeat(self._peers.filebeat)


class FilebeatToSyslog(Chain):
    """Elastic's Filebeat, which prints events into a pipe, and syslog-ng at its other end."""

    prompt = False

    def receive(self) -> None:
        """Start syslog-ng."""
        reading, self._writing = os.pipe()
        self._stack.callback(os.close, self._writing)
        folder = self._folder / "syslog-ng"
        command = syslog_ng.command(self._peers.syslog_ng, folder, self._broker.port, syslog_ng.STDIN, spool=True)
        self._add(Program(command, folder, stdin=reading))
        os.close(reading)
        syslog_ng.wait_for_start(folder, self.programs[-1])

    def ship(self) -> None:
        """Start Filebeat."""
        folder = self._folder / "shipper"
        printing = {"output.console": {"codec.json": {"pretty": False}}}
        command = filebeat_to(self._peers.filebeat, folder, self._pattern, printing, prompt=self.prompt)
        self._add_shipper(command, stdout=self._writing)


class PromptFilebeatToSyslog(FilebeatToSyslog):
    """The same, with Filebeat set so that lines do not wait."""

    prompt = True


class Syslog(Chain):
    """Nothing but syslog-ng."""

    pause: float | None = None

    def receive(self) -> None:
        """Start nothing: there is only what reads the file."""

    def ship(self) -> None:
        """Start syslog-ng."""
        (file,) = Path("/").glob(self._pattern.removeprefix("/"))
        folder = self._folder / "syslog-ng"
        source = syslog_ng.from_file(file, self.pause)
        command = syslog_ng.command(self._peers.syslog_ng, folder, self._broker.port, source, spool=True)
        self._add(Program(command, folder))


class PromptSyslog(Syslog):
    """The same, set so that lines do not wait."""

    pause = 0.01


CHAINS: dict[str, type[Chain]] = {
    "ours": ToCollector,
    "Filebeat and our collector": FilebeatToCollector,
    "Filebeat and syslog-ng, without confirms": FilebeatToSyslog,
    "syslog-ng alone, without confirms": Syslog,
}

PROMPT: dict[str, type[Chain]] = {
    "Filebeat and syslog-ng, set not to wait": PromptFilebeatToSyslog,
    "syslog-ng alone, set not to wait": PromptSyslog,
}
"""Others whose pauses, which make up most of their times, are as short as can be."""


def throughput(plan: Plan, broker: Broker, kind: type[Chain], pattern: str, lines: int) -> Figures:
    """Bring a file to the broker, from the start of what reads it until the broker has all of it."""
    broker.renew(KIND)
    with tempfile.TemporaryDirectory() as folder, kind(Path(folder), plan, broker, pattern) as chain:
        chain.receive()
        before, broker_before = usage(part.pid for part in chain.programs), usage([broker.pid])
        begin = time.monotonic()
        chain.ship()
        all_there(chain.there, lines, *chain.programs)
        seconds = time.monotonic() - begin
        after, broker_after = usage(part.pid for part in chain.programs), usage([broker.pid])
    return {
        "rate": lines / seconds,
        "cpu": after.cpu - before.cpu,
        "broker_cpu": broker_after.cpu - broker_before.cpu,
        "memory": after.memory,
    }


def delay(plan: Plan, broker: Broker, kind: type[Chain]) -> Figures:
    """Write lines at a steady pace, and give how long each took until a consumer had it."""
    broker.renew(KIND)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = container_logs.path(folder / "pods", 0)
        with (
            kind(folder, plan, broker, str(file)) as chain,
            latency.Consumer(folder, broker.port, plan.seconds) as consumer,
        ):
            # What is there at the start is found at once; and from its arrival on, all of the chain runs.
            latency.write_first(file)
            chain.receive()
            chain.ship()
            consumer.wait_for_first(*chain.programs)
            begin, before = time.monotonic(), usage(part.pid for part in chain.programs)
            found = consumer.measure(file, LINE, *chain.programs)
            taken = usage(part.pid for part in chain.programs).cpu - before.cpu
            passed = time.monotonic() - begin
    return {**found, "cpu_percent": 100 * taken / passed}


def tables(plan: Plan) -> Iterator[Table]:
    """Compare what they can take, and how long a line is on its way."""
    lines = int(plan.lines * PART)
    with tempfile.TemporaryDirectory() as name, Broker(Path(name) / "broker") as broker:
        pattern = container_logs.write(Path(name) / "pods", lines, LINE)
        columns = {
            "rate": ("events/s", ",.0f"),
            "cpu": ("CPU s", ".2f"),
            "broker_cpu": ("broker's CPU s", ".2f"),
            "memory": ("peak MB", ".1f"),
        }
        table = Table(f"(c) {lines:,} lines of {LINE} bytes to the broker, {KIND} queue", columns)
        table.measure(
            plan.runs,
            {side: partial(throughput, plan, broker, kind, pattern, lines) for side, kind in CHAINS.items()},
        )
        yield table
        table = Table(f"(c) From line written to a consumer, {latency.RATE:,} lines/s", latency.COLUMNS)
        table.measure(plan.runs, {side: partial(delay, plan, broker, kind) for side, kind in (CHAINS | PROMPT).items()})
        yield table
