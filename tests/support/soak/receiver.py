"""Whoever collects the events at the broker."""

import threading

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

from .ledger import Ledger

QUEUE = "soak"


class Receiver(threading.Thread):
    """Takes what is in the queue, and has the broker forget it once the ledger has it.

    Args:
        parameters: how to connect.
        ledger: takes the events.
    """

    def __init__(self, parameters: pika.ConnectionParameters, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self._parameters = parameters
        self._ledger = ledger
        self._over = threading.Event()

    def run(self) -> None:
        """Take events until told to end."""
        while not self._over.is_set():
            try:
                with pika.BlockingConnection(self._parameters) as connection:
                    self._take(connection.channel())
            except (pika.exceptions.AMQPError, OSError):  # the broker restarts, or has no queue yet
                self._over.wait(0.2)

    def _take(self, channel: BlockingChannel) -> None:
        channel.basic_qos(prefetch_count=500)
        for method, properties, body in channel.consume(QUEUE, inactivity_timeout=0.1):
            if self._over.is_set():
                return
            if method is not None:
                self._ledger.take(body, properties.message_id)
                channel.basic_ack(method.delivery_tag)

    def end(self) -> None:
        """Take no more."""
        self._over.set()
        self.join(10)
