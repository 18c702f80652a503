"""What the shipper's tests share: followed files, and the shipper as a task and as a process."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jld_embedded.certificates import Authority
from jld_filebeat.entry import Entry
from jld_filebeat.follower import Follower
from jld_filebeat.inputs import Input
from jld_filebeat.lines import Reader
from jld_filebeat.registry import Registry
from jld_filebeat.settings import Settings
from jld_filebeat.shipper import Shipper
from lumberjack_server import Collector
from stack import until


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give who issues the certificates of both ends."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def collector(authority: Authority) -> Iterator[Collector]:
    """Give a collector that acknowledges everything; nothing may arrive that Filebeat would not send."""
    made = Collector(authority)
    yield made
    made.go_away()
    assert made.errors == []


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Give an empty folder for logs."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(tmp_path: Path, logs: Path, authority: Authority, collector: Collector) -> dict[str, str]:
    """Give the settings of a shipper of plain logs."""
    pair = authority.issue("shipper")
    return {
        "FILEBEAT_INPUTS": f"plain:{logs}/*.log*",
        "FILEBEAT_STATE_DIR": str(tmp_path / "state"),
        "FILEBEAT_NODE_NAME": "node-1",
        "FILEBEAT_COLLECTOR_HOST": "127.0.0.1",
        "FILEBEAT_COLLECTOR_PORT": str(collector.port),
        "FILEBEAT_CA_FILE": str(authority.certificate),
        "FILEBEAT_CERTIFICATE_FILE": str(pair.certificate),
        "FILEBEAT_KEY_FILE": str(pair.key),
        "FILEBEAT_HOST": "127.0.0.1",
        "FILEBEAT_PORT": "0",
    }


class Table:
    """Followed files without a connection: what would be sent is given back, and acknowledged.

    Args:
        pattern: the one input, `format:glob`.
    """

    def __init__(self, pattern: str) -> None:
        form, _, glob = pattern.partition(":")
        self._input = Input(form, glob)  # type: ignore[arg-type] # as tests write them
        self.entries: list[Entry] = []
        """What is on disk."""
        self.dropped: list[int] = []
        """Bytes that were cut off before they were read."""
        self.follower = self._follow()

    def _follow(self) -> Follower:
        return Follower(
            [self._input],
            Reader("shipper", "node-1"),
            self.entries,
            wake=lambda: None,
            register=lambda: None,
            count_bytes=lambda _: None,
            drop=self.dropped.append,
        )

    def restart(self) -> None:
        """Begin anew with what is on disk, as after kill -9."""
        self.follower.close()
        self.follower = self._follow()

    def save(self) -> None:
        """Write to disk how far files are."""
        self.entries, files = self.follower.entries()
        self.follower.registered(files)

    def ship(self, *, acknowledge: bool = True) -> list[dict[str, Any]]:
        """Give the events of all that can be read now."""
        self.follower.scan()
        self.save()
        events = []
        while batch := self.follower.fill():
            events += [json.loads(event) for event in batch.events]
            if acknowledge:
                batch.acknowledge(len(batch.events))
        self.save()
        return events

    def messages(self, *, acknowledge: bool = True) -> list[str]:
        """Give the messages of these events."""
        return [event["message"] for event in self.ship(acknowledge=acknowledge)]


@pytest.fixture
def follow() -> Iterator[Callable[[str], Table]]:
    """Give a function that follows the files of an input."""
    tables: list[Table] = []

    def start(pattern: str) -> Table:
        tables.append(Table(pattern))
        return tables[-1]

    yield start
    for table in tables:
        table.follower.close()


@pytest.fixture
def table(follow: Callable[[str], Table], logs: Path) -> Any:
    """Callable[[str], Table] plain logs."""
    return follow(f"plain:{logs}/*.log*")


@pytest.fixture
def app(logs: Path) -> Path:
    """Give a log with two lines."""
    file = logs / "app.log"
    file.write_text("one\ntwo\n")
    return file


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no rotated file to become quiet, and for no removed one."""
    monkeypatch.setattr("jld_filebeat.follower.QUIET_SECONDS", 0)
    monkeypatch.setattr("jld_filebeat.follower.GONE_SECONDS", 0)


class Rig:
    """A shipper in this process, and what is around it.

    Args:
        environment: its settings.
        collector: where it ships to.
        logs: where its logs are.
    """

    def __init__(self, environment: dict[str, str], collector: Collector, logs: Path) -> None:
        self.environment = environment
        self.collector = collector
        self.logs = logs

    @contextlib.asynccontextmanager
    async def shipping(self) -> AsyncIterator[Shipper]:
        """Run it until the context ends."""
        settings = Settings(**{name.lower(): value for name, value in self.environment.items()})  # type: ignore[arg-type] # as text, which is how they come
        with Registry(settings.filebeat_state_dir) as registry:
            shipper = Shipper(settings, registry)
            task = asyncio.create_task(shipper.run())
            yield shipper
            shipper.stop()
            await task

    async def soon(self, what: str, check: Callable[[], Any]) -> Any:
        """Wait, without stopping the loop, until something is true."""
        return await asyncio.to_thread(until, what, check, 10)

    def files(self, *names: str) -> list[bytes]:
        """Read the files that settings name."""
        return [Path(self.environment[name]).read_bytes() for name in names]

    def write(self, text: str, name: str = "app.log") -> None:
        """Write to the end of a log."""
        with (self.logs / name).open("a") as log:
            log.write(text)


@pytest.fixture
def rig(environment: dict[str, str], collector: Collector, logs: Path) -> Rig:
    """Give a shipper that is not running yet, with its collector."""
    return Rig(environment, collector, logs)


class Program:
    """The shipper as a process.

    Args:
        environment: its settings.
        log: the file that its standard output goes to.
    """

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jld_filebeat"],
                env={"PATH": os.environ["PATH"], **environment},
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )

    def lines(self) -> list[dict[str, Any]]:
        """Read its log."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def port(self) -> int:
        """Wait until it listens, and give the port."""

        def listens() -> int | None:
            assert self.process.poll() is None, self.process.communicate()[1]
            return next((line["port"] for line in self.lines() if line["message"] == "listens"), None)

        port = until("the shipper listens", listens, 10)
        assert port
        return port

    def end(self) -> tuple[int, str]:
        """Wait for its end, and give the exit status and what it wrote to its standard error."""
        _, errors = self.process.communicate(timeout=10)
        return self.process.returncode, errors


@pytest.fixture
def launch(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Give a function that starts the shipper as a process, with the environment's settings and others."""
    programs: list[Program] = []

    def start(**settings: str) -> Program:
        programs.append(Program(environment | settings, tmp_path / f"output-{len(programs)}"))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()
