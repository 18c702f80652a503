"""What the collector's tests share: certificates, a strict shipper, and the collector as a process."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import vhost
from broker import Broker
from jld_embedded.certificates import Authority, Pair
from jld_logstash import records, spool, tls
from jld_logstash.intake import Intake
from jld_logstash.metrics import Metrics
from jld_logstash.server import Server
from jld_logstash.settings import Settings
from jld_logstash.spool import Batch, Spool
from shipper import Shipper
from stack import free_ports, until


class Certificates(NamedTuple):
    """Files of certificates.

    Attributes:
        ca: the authority of both ends.
        server: the collector's.
        client: a shipper's.
        stranger: one of an authority that nobody trusts.
    """

    ca: Path
    server: Pair
    client: Pair
    stranger: Pair

    def settings(self) -> dict[str, str]:
        """Give the collector's settings that name these files."""
        return {
            "LOGSTASH_CA_FILE": str(self.ca),
            "LOGSTASH_CERTIFICATE_FILE": str(self.server.certificate),
            "LOGSTASH_KEY_FILE": str(self.server.key),
        }

    def context(self, shown: Pair | None) -> ssl.SSLContext:
        """Make a shipper's TLS context.

        Args:
            shown: the certificate that it shows, None to show none.
        """
        context = ssl.create_default_context(cafile=str(self.ca))
        if shown:
            context.load_cert_chain(shown.certificate, shown.key)
        return context

    @contextlib.contextmanager
    def shipper(self, port: int, context: ssl.SSLContext | None = None) -> Iterator[Shipper]:
        """Connect a shipper to a port; one that shows the right certificate unless another context is given."""
        context = context or self.context(self.client)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            yield Shipper(connection)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Give certificates for both ends."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    stranger = Authority(tmp_path_factory.mktemp("stranger")).issue("stranger")
    return Certificates(authority.certificate, authority.issue("logstash"), authority.issue("filebeat"), stranger)


class Collector:
    """The collector as a process.

    Args:
        process: the process.
        log: the file that its standard output goes to.
        certificates: for its shippers.
        http: what asks it.
    """

    def __init__(
        self, process: subprocess.Popen[str], log: Path, certificates: Certificates, http: httpx.Client
    ) -> None:
        self.process = process
        self._log = log
        self._certificates = certificates
        self._http = http

    def log(self) -> list[dict[str, Any]]:
        """Parse the log written so far; each line must be one JSON object."""
        return [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line[-1] == "\n"]

    def messages(self) -> list[str]:
        """Give the log's messages."""
        return [str(line["message"]) for line in self.log()]

    def says(self, part: str) -> bool:
        """Tell whether a message of the log has a part."""
        return any(part in message for message in self.messages())

    def started(self) -> dict[str, Any] | None:
        """Give the line that tells the ports, None before it is there."""
        if self.process.poll() is not None:
            pytest.fail(f"the collector ended: {self.process.communicate()[1]}")
        return next((line for line in self.log() if line["message"] == "listens"), None)

    def get(self, path: str) -> httpx.Response:
        """Ask it."""
        line = self.started()
        assert line
        return self._http.get(f"http://127.0.0.1:{line['port']}{path}")

    def metric(self, sample: str) -> float:
        """Give one of its figures."""
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert found, f"no figure {sample}"
        return float(found[1])

    @contextlib.contextmanager
    def shipper(self) -> Iterator[Shipper]:
        """Connect a shipper."""
        line = self.started()
        assert line
        with self._certificates.shipper(line["beats_port"]) as shipper:
            yield shipper

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 15) -> int:
        """Send a signal, and give the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Give a function that starts the collector with the given settings and nothing else in its environment."""
    processes: list[subprocess.Popen[str]] = []

    def start(**settings: object) -> subprocess.Popen[str]:
        with (tmp_path / f"log-{len(processes)}").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "jld_logstash"],
                env={name: str(value) for name, value in settings.items()},
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


@pytest.fixture
def settings(tmp_path: Path, certificates: Certificates) -> dict[str, str]:
    """Give settings with which the collector writes its events to a file."""
    return {
        "LOGSTASH_HOST": "127.0.0.1",
        "LOGSTASH_PORT": "0",
        "LOGSTASH_BEATS_PORT": "0",
        "LOGSTASH_SPOOL_DIR": str(tmp_path / "spool"),
        "LOGSTASH_EVENTS_FILE": str(tmp_path / "events"),
        **certificates.settings(),
    }


class Spools:
    """One folder for spools, and what tests do with them.

    Attributes:
        folder: it is not there before the first is opened.
    """

    LIMIT = 2**30

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def open(self, limit: int = LIMIT, folder: Path | None = None) -> Iterator[Spool]:
        """Open a spool, and close it at the end."""
        found = Spool(folder or self.folder, limit)
        found.start()
        try:
            yield found
        finally:
            found.close(5)
            assert not found.is_alive
            os.close(found._lock)

    def segments(self) -> list[Path]:
        """Give the segments in the folder, in their order."""
        return sorted(self.folder.glob("*.segment"))

    @staticmethod
    def batch(*names: str) -> Batch:
        """Make a batch of events, each with its name as id."""
        data = b"".join(records.encode(name.encode(), b'{"n":"%s"}' % name.encode()) for name in names)
        return Batch(data, len(names))

    def store(self, into: Spool, *names: str) -> None:
        """Put events into a spool and wait until they are safe."""
        added = self.batch(*names)
        into.append(added)
        added.safe.result(5)

    @staticmethod
    def held(in_spool: Spool) -> list[str]:
        """Give the names of all events that are not confirmed."""
        return [record.id.decode() for record in in_spool.read(in_spool.position)]


@pytest.fixture
def spools(tmp_path: Path) -> Spools:
    """Give a folder for spools."""
    return Spools(tmp_path / "spool")


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the spool try again soon."""
    monkeypatch.setattr(spool, "RETRY_SECONDS", 0.01)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each batch have a segment of its own."""
    monkeypatch.setattr(spool, "SEGMENT_SIZE", 1)


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """Give one HTTP client for all: making one takes longer than a request."""
    with httpx.Client(timeout=5) as client:
        yield client


@pytest.fixture
def collect(
    launch: Launch, settings: dict[str, str], certificates: Certificates, http: httpx.Client, tmp_path: Path
) -> Callable[..., Collector]:
    """Give a function that starts the collector and waits until it listens; a setting of None is left out."""

    def start(**others: object) -> Collector:
        before = len(list(tmp_path.glob("log-*")))
        merged = settings | others
        process = launch(**{name: value for name, value in merged.items() if value is not None})
        collector = Collector(process, tmp_path / f"log-{before}", certificates, http)
        until("the collector listens", collector.started)
        return collector

    return start


class Listening:
    """A server in this process, with its spool.

    Attributes:
        port: where it listens.
    """

    def __init__(self, folder: Path, settings: Settings, names: list[str] | None = None) -> None:
        self.spool = Spool(folder, 2**30)
        self.metrics = Metrics(self.spool)
        self.intake = Intake(self.spool, "test")
        self.server = Server(tls.for_shippers(settings), self.intake, self.metrics, names)
        self.port = self.server.listen("127.0.0.1", 0)
        self.spool.start()

    def stored(self) -> list[str]:
        """Give the events in the spool."""
        return [record.event.decode() for record in self.spool.read(0)]


@pytest.fixture
async def listening(
    request: pytest.FixtureRequest, tmp_path: Path, settings: dict[str, str]
) -> AsyncIterator[Listening]:
    """Give a server; a parameter is the names of certificates that it hears."""
    typed = Settings(**{name.lower(): value for name, value in settings.items()})  # type: ignore[arg-type] # parsed
    found = Listening(tmp_path / "spool", typed, getattr(request, "param", None))
    yield found
    await found.server.close(1)
    found.spool.close(5)


@pytest.fixture
def connected(certificates: Any) -> Callable[..., Any]:
    """Give a function that connects a shipper to a port."""
    return certificates.shipper  # type: ignore[no-any-return] # from another file


@pytest.fixture
def written(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """Give a function that reads the events that the collector wrote to its file."""

    def read() -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
        return []

    return read


@pytest.fixture
def to_nowhere(tmp_path: Path) -> dict[str, str | None]:
    """Give the settings with which the collector publishes to a broker that is not there."""
    (tmp_path / "password").write_text("nobody's password")
    return {
        "LOGSTASH_EVENTS_FILE": None,
        "RABBITMQ_TARGET_HOST": "127.0.0.1",
        "RABBITMQ_TARGET_PORT": str(free_ports(1)),
        "RABBITMQ_TARGET_USER": "nobody",
        "RABBITMQ_TARGET_PASSWORD_FILE": str(tmp_path / "password"),
    }


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Give a broker that all tests share: it takes seconds to start."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
        running.kill()  # its clean end takes seconds, and is the matter of others


@pytest.fixture
def to_broker(broker: Broker) -> dict[str, str | None]:
    """Give the settings with which the collector publishes to the shared broker."""
    return {
        "LOGSTASH_EVENTS_FILE": None,
        "RABBITMQ_TARGET_HOST": "127.0.0.1",
        "RABBITMQ_TARGET_PORT": str(broker.port),
        "RABBITMQ_TARGET_CA_FILE": str(broker.ca),
        "RABBITMQ_TARGET_USER": "logstash",
        "RABBITMQ_TARGET_PASSWORD_FILE": str(broker.password_file),
    }


@pytest.fixture(scope="session")
def hosts(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give names of virtual hosts that have nothing yet."""
    vhost.make(broker, tmp_path_factory.mktemp("definitions"))
    return iter(vhost.HOSTS)


@pytest.fixture
def host(broker: Broker, hosts: Iterator[str]) -> Iterator[vhost.Host]:
    """Give a virtual host that has nothing yet."""
    made = vhost.Host(broker, next(hosts))
    yield made
    made.close()


@pytest.fixture
def to_host(to_broker: dict[str, str | None], host: vhost.Host) -> dict[str, str | None]:
    """Give the settings with which the collector publishes to that host."""
    return to_broker | {"RABBITMQ_TARGET_VHOST": host.name}
