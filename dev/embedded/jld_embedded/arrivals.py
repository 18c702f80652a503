"""Events as they arrive: at the broker, or in the file that the collector writes where there is none."""

import contextlib
import json
import logging
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from pika.spec import Basic, BasicProperties

# `away` is told in a line what pika would tell in dozens.
logging.getLogger("pika").setLevel(logging.CRITICAL)

QUEUE = "logs"

PAUSE = 0.2
"""Seconds between two looks, at a file or for a broker that is away; nobody reads faster."""

PREFETCH = 1000
"""Events that the broker may send ahead."""

Event = Mapping[str, Any]


class Broker(NamedTuple):
    """Where events arrive, and how to read them.

    Attributes:
        host: address.
        port: AMQP over TLS.
        name: what its certificate must be for.
        authority: file of the certificate that vouches for the broker's.
        password: file of the reader's password.
    """

    host: str
    port: int
    name: str
    authority: Path
    password: Path


def away(why: str) -> None:
    """Say that the broker does not answer."""
    sys.stderr.write(f"the broker does not answer, trying on ({' '.join(why.split())[:200]})\n")


def from_broker(
    find: Callable[[], Broker], begin: datetime, away: Callable[[str], None]
) -> Generator[Event, None, None]:
    """Give events from the broker's queue, for ever; over restarts of the broker too.

    The queue is a stream: reading takes nothing away, and each event has an offset to go on from
    (RabbitMQ's guide on streams).

    Args:
        find: tells the broker, which may have another address after a restart.
        begin: how far back to begin; somewhat older events may come too.
        away: told once, with the reason, each time the broker is lost.
    """
    offset: datetime | int = begin
    told = False
    while True:
        try:
            connection = pika.BlockingConnection(parameters(find()))
            for following, event in messages(connection, offset):
                offset, told = following, False
                yield event
        except (AMQPError, OSError) as error:
            if not told:
                away(str(error) or type(error).__name__)
            told = True
            time.sleep(PAUSE)


def parameters(broker: Broker) -> pika.ConnectionParameters:
    """Say how to connect as the reader."""
    context = ssl.create_default_context(cafile=str(broker.authority))
    return pika.ConnectionParameters(
        host=broker.host,
        port=broker.port,
        credentials=pika.PlainCredentials("reader", broker.password.read_text()),
        ssl_options=pika.SSLOptions(context, broker.name),
    )


def messages(connection: pika.BlockingConnection, begin: datetime | int) -> Iterator[tuple[int, Event]]:
    """Give the events of the queue, each with the offset of the one after it; close the connection at the end."""
    waiting: deque[tuple[int, BasicProperties, bytes]] = deque()

    def keep(_: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        waiting.append((method.delivery_tag, properties, body))

    try:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)
        # Not pika's own iterator: at its end it gives messages back, which a stream does not take.
        channel.basic_consume(QUEUE, keep, arguments={"x-stream-offset": begin})
        while True:
            connection.process_data_events(time_limit=None)
            while waiting:
                tag, properties, body = waiting.popleft()
                yield properties.headers["x-stream-offset"] + 1, json.loads(body)
                channel.basic_ack(tag)
    finally:
        with contextlib.suppress(AMQPError, OSError):
            connection.close()


def from_file(path: Path) -> Generator[Event, None, None]:
    """Give events from the collector's file, for ever, over rotations."""
    with contextlib.closing(Tail(path)) as tail:
        while True:
            for line in tail.read():
                yield json.loads(line)
            time.sleep(PAUSE)


class Tail:
    """A file that is written line by line: what is added to it, over rotations."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[str] | None = None
        self.rest = ""

    def read(self) -> Iterator[str]:
        """Take the whole lines that were added since the last call; go over to the new file after a rotation."""
        while True:
            if self.file is None:
                try:
                    self.file = self.path.open(errors="replace")
                except FileNotFoundError:
                    return
            for part in self.file:
                line = self.rest + part
                self.rest = "" if line.endswith("\n") else line
                if not self.rest:
                    yield line.rstrip("\n")
            if not self.rotated(self.file):
                return
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self.file:
            self.file.close()
            self.file = None

    def rotated(self, file: IO[str]) -> bool:
        """Whether the path is another file by now, or the file was cut."""
        try:
            entry = self.path.stat()
        except FileNotFoundError:
            return True
        return entry.st_ino != Path(f"/proc/self/fd/{file.fileno()}").stat().st_ino or entry.st_size < file.tell()
