"""A real RabbitMQ on ports of its own, as dev/broker sets it up."""

import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pika
import pika.exceptions
from jld_embedded.certificates import Authority
from pika.adapters.blocking_connection import BlockingChannel
from stack import free_ports, until

# A broker that is away is what some tests are about; pika says so in dozens of lines an attempt.
logging.getLogger("pika").setLevel(logging.CRITICAL)

PROGRAMS = Path("/usr/lib/rabbitmq/bin")

PASSWORD = "a-well-known-password"


class Broker:
    """RabbitMQ with the exchange and queue `logs`; `logstash` may publish, `reader` may read.

    Attributes:
        port: AMQP over TLS, on 127.0.0.1 and localhost.
        ca: Certificate of the authority to trust.
        password_file: File with the password of both users.
        log: What it printed, over restarts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_ports(4)
        authority = Authority(folder)
        pair = authority.issue("broker")
        self.ca = authority.certificate
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD)
        self.log = folder / "broker.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "BROKER_HOST": "127.0.0.1",
            "BROKER_PORT": str(self.port),
            "BROKER_METRICS_PORT": str(self.port + 1),
            "BROKER_NODE_PORT": str(self.port + 2),
            "BROKER_EPMD_PORT": str(self.port + 3),
            "BROKER_STATE_DIR": str(folder / "state"),
            "BROKER_CERTIFICATE_FILE": str(pair.certificate),
            "BROKER_KEY_FILE": str(pair.key),
            "BROKER_PUBLISHER_PASSWORD_FILE": str(self.password_file),
            "BROKER_READER_PASSWORD_FILE": str(self.password_file),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()
        self.end_mapper()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "jld_broker"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until("RabbitMQ takes connections", self.listens, seconds=60)

    def listens(self) -> bool:
        """Tell whether it takes connections."""
        assert self.process
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def stop(self) -> None:
        """Have it end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without notice, but not before it can find its queue again.

        RabbitMQ 3.10 writes the name of a new stream's keeper to disk some seconds after it made the stream.
        """
        names = self.folder / "state/messages/rabbit@localhost/coordination/rabbit@localhost/names.dets"
        if names.exists():
            until("the stream's keeper is on disk", lambda: b"rabbit_stream_coordinator" in names.read_bytes())
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(timeout=60)
            self.process = None

    def end_mapper(self) -> None:
        """End the port mapper, which outlives its node."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = ["epmd", "-port", self.environment["BROKER_EPMD_PORT"], "-kill"]
            subprocess.run(command, capture_output=True, timeout=10, check=False)

    def control(self, *words: str) -> str:
        """Run rabbitmqctl on it, as its administrator, and return what it printed."""
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder / "state"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_PORT": str(self.port + 3),
        }
        done = subprocess.run(
            [PROGRAMS / "rabbitmqctl", "-q", "-n", "rabbit@localhost", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def parameters(self, user: str = "reader") -> pika.ConnectionParameters:
        """Say how to connect to it."""
        return pika.ConnectionParameters(
            host="127.0.0.1",
            port=self.port,
            credentials=pika.PlainCredentials(user, self.password_file.read_text()),
            ssl_options=pika.SSLOptions(ssl.create_default_context(cafile=str(self.ca)), "localhost"),
        )


class Arrivals:
    """What has arrived at a broker's queue, from its first event on, collected by a thread of its own.

    Attributes:
        events: The events, decoded, in their order.
        properties: What AMQP says of each.
    """

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self.parameters = parameters
        self.events: list[dict[str, Any]] = []
        self.properties: list[pika.BasicProperties] = []
        self.keys: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.error: Exception | None = None

    def _read(self) -> None:
        while not self._over.is_set():
            try:
                with pika.BlockingConnection(self.parameters) as connection:
                    self._take(connection.channel())
            except (pika.exceptions.AMQPError, OSError) as error:  # a broker that restarts
                self.error = error
                self._over.wait(0.1)

    def _take(self, channel: BlockingChannel) -> None:
        channel.basic_qos(prefetch_count=1000)
        begin = {"x-stream-offset": len(self.events) or "first"}
        for method, properties, body in channel.consume("logs", arguments=begin, inactivity_timeout=0.1):
            if self._over.is_set():
                return
            if method is None:
                continue
            self.properties.append(properties)
            self.keys.append(method.routing_key)
            self.events.append(json.loads(body))
            channel.basic_ack(method.delivery_tag)

    @property
    def ids(self) -> list[str]:
        """The ids of the events."""
        return [str(event["event"]["id"]) for event in self.events]

    @property
    def messages(self) -> list[str]:
        """The lines."""
        return [str(event["message"]) for event in self.events]


@contextlib.contextmanager
def arrivals(parameters: pika.ConnectionParameters) -> Iterator[Arrivals]:
    """Collect what arrives at a broker.

    Args:
        parameters: How to connect, as one who may read the queue `logs`.
    """
    reader = Arrivals(parameters)
    reader._thread.start()
    try:
        yield reader
    finally:
        reader._over.set()
        reader._thread.join(10)
