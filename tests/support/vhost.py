"""Virtual hosts of a broker, for tests that must not see each other's messages."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import pika
from broker import Broker

HOSTS = tuple(f"test-{number}" for number in range(20))


def make(broker: Broker, folder: Path) -> None:
    """Make all hosts, where `logstash` and `reader` may do all; at once, as that takes time.

    Args:
        broker: where.
        folder: for a file of definitions.
    """
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    definitions = folder / "definitions.json"
    definitions.write_text(
        json.dumps(
            {
                "vhosts": [{"name": host} for host in HOSTS],
                "permissions": [
                    {"user": user, "vhost": host, **everything} for host in HOSTS for user in ("logstash", "reader")
                ],
            }
        )
    )
    broker.control("import_definitions", str(definitions))


class Host:
    """A virtual host of the broker.

    Args:
        broker: the broker.
        name: the host's name.
    """

    def __init__(self, broker: Broker, name: str) -> None:
        self.name = name
        parameters = broker.parameters()
        parameters.virtual_host = name
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()

    def make_exchange(self) -> None:
        """Make the exchange that the collector publishes to."""
        self._channel.exchange_declare("logs", "topic", durable=True)

    def make_queue(self, **arguments: object) -> None:
        """Make a queue for all that is published."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._channel.queue_declare("q", durable=True, arguments=named)
        self._channel.queue_bind("q", "logs", "#")

    def delete_queue(self) -> None:
        """Delete the queue."""
        self._channel.queue_delete("q")

    def unbind_queue(self, key: str) -> None:
        """Have the queue no longer take what is published.

        Args:
            key: the routing key that it is bound for.
        """
        self._channel.queue_unbind("q", "logs", key)

    def take(self) -> list[tuple[Any, pika.BasicProperties, dict[str, Any]]]:
        """Take all that is in the queue, decoded."""
        return [(method, properties, json.loads(body)) for method, properties, body in self._take()]

    def take_bodies(self) -> list[tuple[pika.BasicProperties, bytes]]:
        """Take all that is in the queue, as it is."""
        return [(properties, body) for _, properties, body in self._take()]

    def _take(self) -> list[tuple[Any, pika.BasicProperties, bytes]]:
        count = self._channel.queue_declare("q", passive=True).method.message_count
        if not count:
            return []
        found = []
        for item in itertools.islice(self._channel.consume("q"), count):
            found.append(item)
            # A quorum queue gives no more than 2,000 before some are taken for sure.
            if not len(found) % 1000 or len(found) == count:
                self._channel.basic_ack(item[0].delivery_tag, multiple=True)
        self._channel.cancel()
        return found

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._connection.close()
