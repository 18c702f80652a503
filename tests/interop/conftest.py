"""Both ends of the protocol, ours and Elastic's, each as the process that runs in production."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
import pytest
import yaml
from jld_embedded.certificates import LOOPBACK, Authority
from stack import free_ports, until

from dev import peers

CONFIGURATION = Path(__file__).with_name("filebeat.yml")
"""Of Elastic's Filebeat, as an operator would write it."""


class Identity(NamedTuple):
    """The files of one end.

    Attributes:
        authority: whose certificates it trusts.
        certificate: its own.
        key: the key of that.
    """

    authority: Path
    certificate: Path
    key: Path

    def options(self) -> list[object]:
        """Give the options that tell the programs of go-lumber."""
        return [word for name, file in self._asdict().items() for word in (f"-{name}", file)]


class Lines:
    """The whole lines of a file that grows, each a JSON object.

    Args:
        path: the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._lines: list[dict[str, Any]] = []

    def __call__(self) -> list[dict[str, Any]]:
        """Give what is there."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read += len(whole) + 1
                self._lines += map(json.loads, whole.split(b"\n"))
        return self._lines


class Program:
    """A program that is started, killed and started again.

    Attributes:
        folder: for its files; nothing else is in it at first.
        process: the last one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.output = folder / "output"

    def run(self, command: list[object], environment: Mapping[str, object]) -> None:
        """Start a process, with PATH and these variables for its environment."""
        variables = {"PATH": os.environ["PATH"]} | {name: str(value) for name, value in environment.items()}
        with self.output.open("w") as output, (self.folder / "errors").open("a") as errors:
            self.process = subprocess.Popen(
                list(map(str, command)),
                env=variables,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                text=True,
            )

    def start(self) -> None:
        """Start it, and wait until it works as far as can be seen."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.communicate()

    def errors(self) -> str:
        """Give what it wrote to its standard error, over all starts."""
        return (self.folder / "errors").read_text()

    def runs(self) -> bool:
        """Tell whether it runs; the test fails when it ended by itself."""
        assert self.process
        assert self.process.poll() is None, self.errors()[-2000:]
        return True


class Server(Program):
    """One that takes events.

    Attributes:
        port: where it listens, over restarts.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_ports(1)

    def events(self) -> list[dict[str, Any]]:
        """Give all events that arrived, over all starts."""
        raise NotImplementedError

    def messages(self) -> list[str]:
        """Give their messages."""
        return [event["message"] for event in self.events()]

    def take(self, count: int) -> None:
        """Wait until that many events have arrived, over all starts."""
        until(f"{count} events arrive", lambda: len(self.events()) >= count)


class Receiver(Server):
    """Elastic's server of the protocol, that of its library go-lumber.

    Args:
        folder: for its files.
        identity: its certificate, and whom it trusts.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        super().__init__(folder)
        self._identity = identity
        self._records: list[Lines] = []

    def start(self) -> None:
        """Start it, and wait until it listens."""
        # A new file each time, as a kill may tear the last line.
        record = self.folder / f"record-{len(self._records)}"
        self._records.append(Lines(record))
        self.run([peers.receiver(), *self._identity.options(), "-port", self.port, "-events", 0, "-record", record], {})
        until("the receiver listens", lambda: self.runs() and self.output.read_text())

    def events(self) -> list[dict[str, Any]]:
        """Give all events that arrived, acknowledged or not."""
        return [event for record in self._records for event in record()]


class Collector(Server):
    """Our collector, that writes to a file what it would publish.

    Args:
        folder: for its files.
        identity: its certificate, and whom it trusts.
        settings: further ones; None unsets one.

    Attributes:
        settings: all of them.
    """

    def __init__(self, folder: Path, identity: Identity, **settings: object) -> None:
        super().__init__(folder)
        self.settings = {
            "LOGSTASH_HOST": "127.0.0.1",
            "LOGSTASH_PORT": 0,
            "LOGSTASH_BEATS_PORT": self.port,
            "LOGSTASH_SPOOL_DIR": folder / "spool",
            "LOGSTASH_EVENTS_FILE": folder / "events",
            "LOGSTASH_CA_FILE": identity.authority,
            "LOGSTASH_CERTIFICATE_FILE": identity.certificate,
            "LOGSTASH_KEY_FILE": identity.key,
        } | settings
        self._events = Lines(folder / "events")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        settings = {name: value for name, value in self.settings.items() if value is not None}
        self.run([sys.executable, "-m", "jld_logstash"], settings)
        until("the collector listens", lambda: self.runs() and self.says("listens"))

    def log(self) -> list[dict[str, Any]]:
        """Give the log since the last start."""
        return Lines(self.output)()

    def says(self, part: str) -> bool:
        """Tell whether a message of the log has a part."""
        return any(part in line["message"] for line in self.log())

    def metric(self, sample: str) -> float:
        """Give one of its figures."""
        page = httpx.get(f"http://127.0.0.1:{self.log()[0]['port']}/metrics").text
        return float(next(line.split()[1] for line in page.splitlines() if line.startswith(f"{sample} ")))

    def events(self) -> list[dict[str, Any]]:
        """Give all events that it published."""
        return self._events()


class Filebeat(Program):
    """Elastic's Filebeat.

    Args:
        folder: for its files.
        identity: its certificate, and whom it trusts.
        port: the collector's.
        logs: the glob of its logs.
        inputs: in place of the one of filebeat.yml.
        output: what else is set of its output.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        port: int,
        logs: str,
        inputs: list[dict[str, Any]] | None = None,
        **output: object,
    ) -> None:
        super().__init__(folder)
        settings = yaml.safe_load(CONFIGURATION.read_text())
        settings["filebeat.inputs"] = inputs or settings["filebeat.inputs"]
        settings["output.logstash"] |= output
        settings |= {"http.enabled": True, "http.host": f"unix://{folder}/http"}
        self._file = folder / "filebeat.yml"
        self._file.write_text(json.dumps(settings))
        self._file.chmod(0o600)
        self._environment = {
            "LOGS": logs,
            "COLLECTOR": f"localhost:{port}",
            "CA_FILE": identity.authority,
            "CERTIFICATE_FILE": identity.certificate,
            "KEY_FILE": identity.key,
        }

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.run([peers.filebeat(), "-e", "-c", self._file, "--path.home", self.folder], self._environment)
        until("Filebeat answers", lambda: self.runs() and self.figure("output", "events", "acked") >= 0)

    def figure(self, *names: str) -> int:
        """Give one of its own figures, of libbeat."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(f"{self.folder}/http")
            connection.sendall(b"GET /stats HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        found = json.loads(answer.partition(b"\r\n\r\n")[2])
        for name in ("libbeat", *names):
            assert name in found, f"no figure {names} yet"
            found = found[name]
        return int(found)


class Shipper(Program):
    """Our shipper.

    Args:
        folder: for its files.
        identity: its certificate, and whom it trusts.
        port: the collector's.
        inputs: what it ships.
    """

    def __init__(self, folder: Path, identity: Identity, port: int, inputs: str) -> None:
        super().__init__(folder)
        self.settings = {
            "FILEBEAT_INPUTS": inputs,
            "FILEBEAT_STATE_DIR": folder / "state",
            "FILEBEAT_NODE_NAME": "node-1",
            "FILEBEAT_COLLECTOR_HOST": "localhost",
            "FILEBEAT_COLLECTOR_PORT": port,
            "FILEBEAT_CA_FILE": identity.authority,
            "FILEBEAT_CERTIFICATE_FILE": identity.certificate,
            "FILEBEAT_KEY_FILE": identity.key,
            "FILEBEAT_HOST": "127.0.0.1",
            "FILEBEAT_PORT": 0,
        }

    def start(self) -> None:
        """Start it, and wait until it says so."""
        self.run([sys.executable, "-m", "jld_filebeat"], self.settings)
        until("the shipper listens", lambda: self.runs() and self.says("listens"))

    def says(self, part: str) -> bool:
        """Tell whether a message of the log since its last start has a part."""
        return any(part in line["message"] for line in Lines(self.output)())


P = TypeVar("P", bound=Program)


class Ends:
    """Makes the programs of a test, with certificates of one authority, and ends them.

    Args:
        folder: for their files.
        authority: who issues the certificates.

    Attributes:
        logs: the folder of the logs.
    """

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._folder = folder
        self._authority = authority
        self._programs: list[Program] = []
        self.logs = folder / "logs"
        self.logs.mkdir()

    def receiver(self, *hosts: str) -> Receiver:
        """Make a receiver of go-lumber, whose certificate is for the loopback unless hosts are named."""
        return self._keep(Receiver(self._next(), self.identity("receiver", *hosts)))

    def collector(self, **settings: object) -> Collector:
        """Make a collector of ours."""
        return self._keep(Collector(self._next(), self.identity("logstash"), **settings))

    def filebeat(self, port: int, name: str = "filebeat", **settings: Any) -> Filebeat:
        """Make a Filebeat of Elastic's, whose certificate has a name."""
        return self._keep(Filebeat(self._next(), self.identity(name), port, f"{self.logs}/*.log", **settings))

    def shipper(self, port: int, form: str = "plain") -> Shipper:
        """Make a shipper of ours."""
        return self._keep(Shipper(self._next(), self.identity("shipper"), port, f"{form}:{self.logs}/*.log*"))

    def identity(self, name: str, *hosts: str) -> Identity:
        """Give a certificate, for the loopback unless hosts are named."""
        pair = self._authority.issue("-".join((name, *hosts)), hosts or LOOPBACK)
        return Identity(self._authority.certificate, *pair)

    def end(self) -> None:
        """Kill what runs."""
        for program in self._programs:
            if program.process and program.process.poll() is None:
                program.kill()

    def _next(self) -> Path:
        return self._folder / f"program-{len(self._programs)}"

    def _keep(self, program: P) -> P:
        self._programs.append(program)
        return program


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give who issues the certificates of all ends."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def ends(tmp_path: Path, authority: Authority) -> Iterator[Ends]:
    """Give what makes the programs."""
    made = Ends(tmp_path, authority)
    yield made
    made.end()


@pytest.fixture(params=["receiver", "collector"])
def server(request: pytest.FixtureRequest, ends: Ends) -> Server:
    """Give Elastic's server, and as a control our own; it is not started yet."""
    made: Server = getattr(ends, request.param)()
    return made


@pytest.fixture
def plain(ends: Ends) -> Callable[..., list[dict[str, Any]]]:
    """Give a function that makes Filebeat's input of plain logs."""
    return lambda **more: [{"type": "log", "paths": [f"{ends.logs}/*.log"], **more}]
