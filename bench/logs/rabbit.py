"""A RabbitMQ of one's own to measure against: plain AMQP on the loopback, one queue of a given type."""

import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

import pika
from measured import Command, Program, until

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
        self._program: Program | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it takes connections."""
        folder = self._folder
        folder.mkdir(parents=True)
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "log.file = false\nlog.console = true\nlog.console.level = warning\nloopback_users.guest = true\n"
        )
        (folder / "enabled_plugins").write_text("[].\n")
        environment = {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
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
        self._program = Program(Command([SERVER], environment), folder)
        try:
            until("RabbitMQ listens", self._listens, self._program)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and the port mapper that it started."""
        if self._program:
            self._program.__exit__()
        command = ["epmd", "-port", str(self._epmd_port), "-kill"]
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=10, check=False)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    @property
    def pid(self) -> int:
        """The process."""
        assert self._program
        return self._program.pid

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
