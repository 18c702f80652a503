"""A RabbitMQ of one's own to measure against: plain AMQP on the loopback, one queue of a given type."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import pika

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"

EXCHANGE, QUEUE, KEY = "logs", "bench", "bench"


class Broker:
    """RabbitMQ without TLS: what it costs is in nobody's figures.

    Args:
        folder: for all that it keeps.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.port, self._node_port, self._epmd_port = (found.getsockname()[1] for found in sockets)
        for found in sockets:
            found.close()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it takes connections."""
        folder = self._folder
        folder.mkdir(parents=True)
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "log.file = false\nlog.console = true\nlog.console.level = warning\nloopback_users.guest = true\n"
        )
        (folder / "enabled_plugins").write_text("[].\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        environment = kept | {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": "bench@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "messages"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        with (folder / "output").open("wb") as output:
            self._process = subprocess.Popen([SERVER], env=environment, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self
            time.sleep(0.2)
        raise TimeoutError(f"RabbitMQ does not listen: {folder / 'output'} says why")

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        command = ["epmd", "-port", str(self._epmd_port), "-kill"]
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=10, check=False)

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process
        return self._process.pid

    def renew(self, kind: str) -> None:
        """Make the exchange, and the queue anew and empty.

        Args:
            kind: the queue's type.
        """
        parameters = pika.ConnectionParameters("127.0.0.1", self.port)
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            channel.queue_delete(QUEUE)
            channel.exchange_declare(EXCHANGE, "topic", durable=True)
            channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": kind})
            channel.queue_bind(QUEUE, EXCHANGE, KEY)

    def count(self) -> int:
        """Give the number of messages in the queue."""
        parameters = pika.ConnectionParameters("127.0.0.1", self.port)
        with pika.BlockingConnection(parameters) as connection:
            return int(connection.channel().queue_declare(QUEUE, passive=True).method.message_count)
