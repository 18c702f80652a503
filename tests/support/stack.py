"""A running stack, as a test sees it; the embedded one, and what all have in common."""

import base64
import contextlib
import hashlib
import itertools
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import pika
import psutil
from cryptography import x509
from cryptography.hazmat.primitives import serialization

T = TypeVar("T")

PORTS = 15
"""Ports that a stack counts from EMBEDDED_PORT."""

BROKER = 10
"""Which of them is the broker's."""

CHECKOUT = Path(__file__).resolve().parents[2]


class CommandError(Exception):
    """A make target failed."""


def until(what: str, check: Callable[[], T], seconds: float = 30) -> T:
    """Return what a check returns as soon as it is true.

    Args:
        what: What is awaited, for the error.
        check: May raise AssertionError, OSError or an httpx error while it is too early.
        seconds: How long to wait at the most.

    Raises:
        AssertionError: It did not become true; the text has the last error.
    """
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            if result := check():
                return result
        except (AssertionError, OSError, httpx.HTTPError) as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what} (last: {last})")


class Writer(Protocol):
    """Writes numbered lines to a log, 500 a second, which is rotated now and then.

    Attributes:
        mark: What each of them begins with.
    """

    mark: str

    def end(self) -> list[str]:
        """Stop, and return what was written."""

    def remove(self) -> None:
        """Stop, and remove what was written."""


class FileWriter(threading.Thread):
    """Writes to a file, which is rotated by rename.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.mark = f"{path.stem} "
        self.lines: list[str] = []
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        """Write until told to end."""
        for rotation in itertools.count(1):
            with self.path.open("a") as file:
                for number in range(400):
                    line = f"{self.path.stem} {rotation} {number}"
                    file.write(f"{line}\n")
                    file.flush()
                    self.lines.append(line)
                    if self.over.wait(0.002):
                        return
            self.path.rename(f"{self.path}.{rotation}")

    def end(self) -> list[str]:
        """Stop, and return what was written."""
        self.over.set()
        self.join()
        return self.lines

    def remove(self) -> None:
        """Stop, and remove what was written."""
        self.end()
        for file in self.path.parent.glob(f"{self.path.name}*"):
            file.unlink()


class Stack:
    """A stack in a state folder and on ports of its own, beside one that may be running; a subclass per target.

    Attributes:
        url: Where browsers go, as `make up` says.
        tls: What they trust.
        state: The state folder.
        output: What the last `make` printed.
        told: What `make up` printed when this one was started.
        command: How `make` is run.
        again: Seconds that a second `make up` may take.
        barred: What a program in a lab may say of that which its member is not to reach, one of them.
        passphrase: What the stand-in GitHub asks for, if it does.
    """

    again = 3.0
    barred: tuple[str, ...] = ("Permission denied",)
    passphrase = ""

    def __init__(self, **settings: str) -> None:
        # Labs run as other users, who must be able to pass.
        self.state = Path(tempfile.mkdtemp(prefix="jld-e2e-", dir="/var/tmp"))
        self.state.chmod(0o755)
        self.url = ""
        self.tls = ssl.create_default_context()
        self.output = self.told = ""
        self.command = ["make", "--no-print-directory"]
        # The stack's settings are this test's alone, whatever the developer has set for his own.
        own = (
            *("GITHUB_", "HUB_", "LAB_", "STANDIN_", "OAUTH_", "KEEPALIVE_", "FILESERVER_", "COMPOSE_", "EMBEDDED_"),
            *("FILEBEAT_", "LOGSTASH_", "NGINX_", "BROKER_", "RABBITMQ_", "SHIPPER_NAME", "RUN", "DEV", "K8S_"),
        )
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.environment = inherited | {
            "EMBEDDED_ENV_FILE": os.devnull,
            "GITHUB_ORGANIZATION_WHITELIST": "lsst-sqre,lsst",
            "LAB_CONTAINER_NAMES": "lsstsqre/jld-lab-py3:0.1.0,lsstsqre/jld-lab-py3:experimental",
            "LAB_CONTAINER_DESCS": "Recommended,Experimental",
            **settings,
        }

    def words(self, verb: str) -> list[str]:
        """Return the command for what `make up`, `status`, `logs` and `down` do; more arguments may follow."""
        return [*self.command, verb]

    def make(self, verb: str, *words: str, seconds: float = 300) -> str:
        """Run a make target against this stack and return what it printed.

        Raises:
            CommandError: It failed; the text is its output.
        """
        done = subprocess.run(
            [*self.words(verb), *words],
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        self.output = done.stdout
        if done.returncode:
            raise CommandError(done.stdout)
        return done.stdout

    def start(self) -> None:
        """Start it, and note where it is."""
        self.told = self.make("up", seconds=900)
        found = re.search(r"^open (\S+)$", self.told, re.MULTILINE)
        assert found, self.told
        self.url = found[1]

    def up(self) -> None:
        """Start it, and trust its certificate."""
        self.start()
        if self.url.startswith("https:"):
            self.trust()

    def trust(self) -> None:
        """Trust the certificate that it has now."""
        self.tls.load_verify_locations(self.state / "secrets/certificates/nginx.pem")

    def down(self) -> None:
        """Stop it and forget its state."""
        self.make("down")
        shutil.rmtree(self.state)

    @property
    def export(self) -> Path:
        """Where the file server keeps homes and group folders."""
        return self.state / "export"

    def pid(self, part: str) -> int:
        """Return the process id of a part, as `make status` tells it."""
        self.is_ready()  # what is not ready is listed too
        for line in self.output.splitlines():
            words = line.split()
            if words and words[0] == part and (numbers := [int(word) for word in words[1:] if word.isdigit()]):
                return numbers[0]
        raise AssertionError(f"make status lists no process of {part}: {self.output}")

    def processes(self) -> dict[int, dict[str, str]]:
        """Return every process of this stack with its environment, as far as that can be read."""
        raise NotImplementedError

    def log(self, service: str) -> str:
        """Return what a service has logged."""
        raise NotImplementedError

    def origin(self, event: dict[str, Any]) -> tuple[str, str | None]:
        """Tell the service and, for a lab, the member that an event is of."""
        raise NotImplementedError

    def broker(self) -> pika.ConnectionParameters:
        """Say how to read the events that have arrived."""
        raise NotImplementedError

    def writer(self) -> "Writer":
        """Start writing to a log beside those of the services."""
        raise NotImplementedError

    def database(self) -> bytes:
        """Return what the files of the hub's database hold."""
        return b"".join(file.read_bytes() for file in (self.state / "hub").iterdir())

    def secrets(self) -> set[str]:
        """Return what the files of secrets hold: passwords, tokens, and the lines of keys."""
        found = {
            line
            for file in (self.state / "secrets").rglob("*")
            if file.is_file() and file.suffix != ".pem"
            for line in file.read_text().splitlines()
            if len(line) > 10 and not line.startswith("-----")
        }
        assert len(found) > 20
        return found

    @property
    def control(self) -> Path:
        """The socket by which the stand-in GitHub is changed."""
        raise NotImplementedError

    @contextlib.contextmanager
    def github(self) -> Iterator[httpx.Client]:
        """Change what the stand-in GitHub says; undone at the end, without ending anybody's session."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.control)), base_url="http://github") as client:
            before = client.get("/state").raise_for_status().json()
            try:
                yield client
            finally:
                client.delete("/outage").raise_for_status()
                for organization in before["organizations"]:
                    approval = {"approved": organization["approved"]}
                    client.patch(f"/organizations/{organization['login']}", json=approval).raise_for_status()
                for member in before["members"]:
                    client.put(f"/members/{member.pop('login')}", json=member).raise_for_status()

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        """Ask the site for a page, as nobody in particular."""
        return httpx.get(f"{self.url}{path}", verify=self.tls, **arguments)

    def key_pin(self) -> str:
        """Give the SHA-256 of the site's public key, in base64, by which a browser can be told to trust it."""
        pem = (self.state / "secrets/certificates/nginx.pem").read_bytes()
        key = x509.load_pem_x509_certificate(pem).public_key()
        form = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(form).digest()).decode()

    def is_ready(self) -> bool:
        """Tell whether every part is ready, as `make status` says."""
        try:
            return bool(self.make("status"))
        except CommandError:
            return False

    def hub_is_ready(self) -> bool:
        """Tell whether the hub answers through the proxy."""
        return self.get("/hub/health", timeout=5).is_success

    def reader(self, host: str, port: int, name: str) -> pika.ConnectionParameters:
        """Say how to read from a broker, whose certificate must have a name."""
        context = ssl.create_default_context(cafile=str(self.state / "secrets/certificates/authority.pem"))
        return pika.ConnectionParameters(
            host=host,
            port=port,
            credentials=pika.PlainCredentials("reader", (self.state / "secrets/reader_password").read_text()),
            ssl_options=pika.SSLOptions(context, name),
        )


class EmbeddedStack(Stack):
    """Processes under supervisord."""

    def __init__(self, **settings: str) -> None:
        super().__init__(**settings)
        self.port = free_ports(PORTS + 1)
        self.environment |= {
            "RUN": "embedded",
            "EMBEDDED_STATE": str(self.state),
            "EMBEDDED_PORT": str(self.port),
            "EMBEDDED_HTTPS_PORT": str(self.port + PORTS),
        }

    def processes(self) -> dict[int, dict[str, str]]:
        """Find them by the mark in the environment, and as descendants of supervisord."""
        found: dict[int, dict[str, str]] = {}
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            supervisord = psutil.Process(int((self.state / "run" / "supervisord.pid").read_text()))
            found = {process.pid: {} for process in (supervisord, *supervisord.children(recursive=True))}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                environment = process.environ()
                if process.pid in found or environment.get("JLD_STATE") == str(self.state):
                    found[process.pid] = environment
        return found

    def log(self, service: str) -> str:
        """Read its file."""
        return (self.state / "log" / f"{service}.log").read_text()

    def origin(self, event: dict[str, Any]) -> tuple[str, str | None]:
        """Tell by the path of the log."""
        path = Path(event["log"]["file"]["path"])
        name = path.name.partition(".log")[0]
        return ("lab", name) if path.parent.name == "labs" else (name, None)

    def broker(self) -> pika.ConnectionParameters:
        """Read on the loopback."""
        return self.reader("127.0.0.1", self.port + BROKER, "localhost")

    def writer(self) -> Writer:
        """Write to a file among the logs."""
        return FileWriter(self.state / "log/writer.log")

    @property
    def control(self) -> Path:
        """The path of a socket must be short, which that of the state need not be."""
        return (self.state / "run").resolve() / "github.sock"


def free_ports(count: int) -> int:
    """Return the first of some neighbouring ports that nobody uses, nor another worker of these tests is about to."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for first in range(21000 + 20 * worker, 32000, 20 * workers):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")
