"""What the shipper's tests share: a collector, an independent and strict decoder of lumberjack, and the shipper."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
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
from stack import until

Answer = Callable[["Connection", int], None]
"""What is done about a window, given the number of its events."""


def acknowledge(connection: "Connection", count: int) -> None:
    """Acknowledge the whole window."""
    connection.ack(count)


class Connection:
    """One shipper's connection."""

    def __init__(self, stream: ssl.SSLSocket, pause: float) -> None:
        self._stream = stream
        self._pause = pause

    def ack(self, number: int) -> None:
        """Send an acknowledgement."""
        self._stream.sendall(b"2A" + struct.pack(">I", number))

    def send(self, content: bytes) -> None:
        """Send anything."""
        self._stream.sendall(content)

    def close(self) -> None:
        """End the connection at once."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def take(self, count: int) -> bytes:
        """Receive that many bytes.

        Raises:
            EOFError: the connection ends.
        """
        taken = b""
        while len(taken) < count:
            piece = self._stream.recv(count - len(taken))
            if not piece:
                raise EOFError
            taken += piece
            if self._pause:
                time.sleep(self._pause)
        return taken

    def windows(self) -> Iterator[list[bytes]]:
        """Give the payloads of each window; anything that Filebeat would not send is an error."""
        while True:
            head = self.take(2)
            assert head == b"2W", head
            (count,) = struct.unpack(">I", self.take(4))
            assert 0 < count <= 2048
            assert self.take(2) == b"2C"
            frames = zlib.decompress(self.take(struct.unpack(">I", self.take(4))[0]))
            payloads, end = [], 0
            for expected in range(1, count + 1):
                kind, number, length = struct.unpack_from(">2sII", frames, end)
                assert (kind, number) == (b"2J", expected)
                payloads.append(frames[end + 10 : end + 10 + length])
                end += 10 + length
            assert end == len(frames)
            yield payloads


class Collector:
    """A collector on a free port of the loopback; `events` has what arrived, acknowledged or not.

    Args:
        authority: who issued its certificate and those of its shippers.
        answer: what is done about a window.
        name: the name in its certificate.
    """

    def __init__(self, authority: Authority, answer: Answer = acknowledge, name: str = "collector") -> None:
        pair = authority.issue(name)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*pair)
        self._context.load_verify_locations(authority.certificate)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self.answer = answer
        self.pause = 0.0
        self.events: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.times: list[float] = []
        """When each event arrived, in seconds of the monotonic clock."""
        self.connections: list[Connection] = []
        self.errors: list[Exception] = []
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start()

    def _start(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self._context.wrap_socket(raw, server_side=True) as stream:
                connection = Connection(stream, self.pause)
                with self._changed:
                    self.connections.append(connection)
                    self._changed.notify_all()
                for payloads in connection.windows():
                    with self._changed:
                        self.events += [json.loads(payload) for payload in payloads]
                        self.sizes.append(len(payloads))
                        self.times += [time.monotonic()] * len(payloads)
                        self._changed.notify_all()
                    self.answer(connection, len(payloads))
        except (OSError, EOFError):
            raw.close()
        except Exception as error:  # noqa: BLE001 told when the test ends
            self.errors.append(error)
            raw.close()

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 10) -> None:
        """Wait until something is true of what arrived."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds} s: {what}; arrived: {self.messages()[-5:]}; {self.errors}"
                self._changed.wait(min(left, 0.05))

    def messages(self) -> list[str]:
        """List the messages in the order of their arrival."""
        return [event["message"] for event in self.events]

    def wait_for(self, *messages: str, seconds: float = 10) -> None:
        """Wait until these messages have arrived."""
        self.wait(lambda: set(messages) <= set(self.messages()), f"{messages} arrive", seconds)

    def be_slow(self, pause: float) -> None:
        """Have the way to new connections be slow.

        Args:
            pause: seconds after each 16 KiB.
        """
        self.pause = pause
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)

    def stop_listening(self) -> None:
        """Take no new connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def go_away(self) -> None:
        """End all connections and take no new ones."""
        self.stop_listening()
        for connection in self.connections:
            connection.close()

    def come_back(self, host: str = "127.0.0.1") -> None:
        """Listen at the same port again."""
        self._listener = socket.create_server((host, self.port))
        self._start()


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
