"""One connection to the broker, from its begin to its end (AMQP 0-9-1 with RabbitMQ's publisher confirms)."""

import collections
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pika
import pika.exceptions
from pika.adapters.select_connection import IOLoop, SelectConnection

from . import tls
from .backlog import Backlog
from .frames import Form
from .metrics import Metrics
from .records import Record

EXCHANGE = "logs"

WINDOW = 2000
"""Messages on their way at the same time. The broker syncs many at once; more than this no longer makes it faster."""

GUST = 8
"""An eighth of the window has to be free before more is sent: a write for each confirm would cost both ends more."""

MESSAGE_SIZE = 2**18
"""Bytes of events that share a message, unless a single one is longer."""

WRITE_SIZE = 2**16
"""Bytes of messages that are handed to the connection together. It copies what is left after each write."""

BATCH = 1000
"""Events that are read from the spool at a time."""

NOT_FOUND = 404
"""The reply code of what is not there (AMQP 0-9-1, section 1.3)."""

HEARTBEAT_SECONDS = 20
"""A broker that is silent for twice this time is taken for gone."""

BLOCKED_SECONDS = 300
"""After so long without memory or disk the connection is made anew; it may lead to another node."""


class Backoff:
    """Times to wait: drawn from a range that doubles up to a limit.

    Several collectors do not come at once, and none comes late.
    """

    FIRST_SECONDS = 0.5
    LAST_SECONDS = 5.0

    def __init__(self) -> None:
        self._range = self.FIRST_SECONDS

    def reset(self) -> None:
        """Begin with short times again."""
        self._range = self.FIRST_SECONDS

    def seconds(self) -> float:
        """Give the next time to wait."""
        drawn = random.uniform(0, self._range)  # noqa: S311 it spreads load and guards nothing
        self._range = min(2 * self._range, self.LAST_SECONDS)
        return drawn


class Target(NamedTuple):
    """Where messages go, and what they are.

    Attributes:
        key: routing key.
        queue: queue to declare; None declares none.
        queue_type: its type.
        events_per_message: how many may share a message.
    """

    key: str
    queue: str | None = None
    queue_type: str = "quorum"
    events_per_message: int = 1


Message = list[Record]
"""Events that share a message."""


class Session:
    """A connection with one channel, run by one thread. Its first events go one by one, until all is seen to be well.

    Args:
        parameters: how to connect.
        backlog: where the events come from.
        metrics: what is counted.
        target: where the events go.
        backoff: times to wait before a refused event is sent again.
        report: called with what is wrong now, or with None when an event was confirmed.
    """

    def __init__(  # noqa: PLR0913 each is a part of its own
        self,
        parameters: pika.ConnectionParameters,
        backlog: Backlog,
        metrics: Metrics,
        *,
        target: Target,
        backoff: Backoff,
        report: Callable[[str | None], None],
    ) -> None:
        self._target = target
        self._backlog = backlog
        self._metrics = metrics
        self._backoff = backoff
        self._report = report
        self._loop = IOLoop()
        self._is_woken = threading.Event()
        self._is_blocked = self._is_ending = False
        self._pause: object = None
        """The timer that ends a pause after a refusal."""
        self._window = 1
        self._tag = 0
        self._answered_tag = 0
        """All up to this one are answered."""
        self._outstanding: dict[int, Message] = {}
        """By delivery tag."""
        self._returned: collections.Counter[bytes] = collections.Counter()
        """Ids of events that came back and whose confirm, which does not tell that, is still to come."""
        self._end: BaseException | None = None
        self._channel: Any = None
        self._form: Form | None = None
        self._is_exchange_missing = self._is_queue_missing = False
        self._connection = SelectConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_end,
            on_close_callback=self._on_end,
            custom_ioloop=self._loop,
        )

    def run(self) -> BaseException | None:
        """Send events until the connection ends, and tell why it did."""
        try:
            self._loop.start()
        finally:
            self._metrics.broker_connected.set(0)
            self._metrics.broker_blocked.set(0)
            self._give_back()
            self._loop.close()
        return self._end

    def wake(self) -> None:
        """Tell that there are more events. Any thread may call this."""
        if not self._is_woken.is_set():
            self._is_woken.set()
            self._loop.add_callback_threadsafe(self._fill)

    def finish(self, seconds: float) -> None:
        """Send no more events, wait for what is to be confirmed, and end. Any thread may call this.

        Args:
            seconds: how long to wait.
        """
        self._loop.add_callback_threadsafe(lambda: self._finish(seconds))

    def _finish(self, seconds: float) -> None:
        self._is_ending = True
        self._loop.call_later(seconds, self._close)
        if not self._outstanding:
            self._close()

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()
        elif not self._connection.is_closing:
            self._loop.stop()

    def _on_end(self, _: object, reason: BaseException) -> None:
        self._end = reason
        self._loop.stop()

    def _on_open(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(lambda _, frame: self._block(frame.method.reason))
        connection.add_on_connection_unblocked_callback(lambda *_: self._block(None))
        self._open_channel()

    def _block(self, reason: str | None) -> None:
        self._is_blocked = reason is not None
        self._metrics.broker_blocked.set(self._is_blocked)
        if self._is_blocked:
            self._report(f"the broker takes nothing: {reason}")
        self._fill()

    def _open_channel(self) -> None:
        self._connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_close)
        channel.add_on_return_callback(self._on_return)
        self._declare(channel)
        channel.confirm_delivery(self._on_answer, callback=lambda _: self._on_ready(channel))

    def _declare(self, channel: Any) -> None:
        """Make what is missing. None of it is answered: what the broker refuses closes the channel."""
        queue = self._target.queue
        if self._is_exchange_missing or queue:
            channel.exchange_declare(EXCHANGE, "topic", durable=True)
        if queue:
            arguments = {"x-queue-type": self._target.queue_type}
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.queue_bind(queue, EXCHANGE, self._target.key)
        self._is_exchange_missing = self._is_queue_missing = False

    def _on_ready(self, channel: Any) -> None:
        content_type = "application/x-ndjson" if self._target.events_per_message > 1 else "application/json"
        frame_max = self._connection.params.frame_max
        self._form = Form(channel.channel_number, EXCHANGE, self._target.key, content_type, frame_max)
        self._channel, self._tag, self._answered_tag, self._window = channel, 0, 0, 1
        self._metrics.broker_connected.set(1)
        self._fill()

    def _on_channel_close(self, _: object, reason: BaseException) -> None:
        """Open another channel when only the channel was closed, as RabbitMQ does where the exchange is missing."""
        self._channel = None
        self._give_back()
        self._metrics.broker_connected.set(0)
        if self._connection.is_open:
            self._is_exchange_missing = getattr(reason, "reply_code", None) == NOT_FOUND
            self._metrics.broker_unroutable.set(1)
            self._refuse(f"the broker refuses events: {reason_of(reason)}")

    def _give_back(self) -> None:
        """Have all that is not answered sent again."""
        self._backlog.retry(record for message in self._outstanding.values() for record in message)
        self._outstanding.clear()
        self._returned.clear()
        self._metrics.broker_outstanding.set(0)

    def _fill(self) -> None:
        """Send what there is, up to the window."""
        self._is_woken.clear()
        if not self._channel or self._is_blocked or self._is_ending or self._pause:
            return
        # The first ones go alone, so that one that is refused is not sent again and again with others in its message.
        per_message = self._target.events_per_message if self._window > 1 else 1
        try:
            while (room := self._window - len(self._outstanding)) > self._window // GUST:
                records = self._backlog.take(min(room * per_message, BATCH))
                if not records:
                    break
                self._send(_messages(records, per_message))
        except OSError as error:
            self._refuse(f"the spool cannot be read: {error.strerror}")
        self._metrics.broker_outstanding.set(len(self._outstanding))

    def _send(self, messages: Iterable[Message]) -> None:
        assert self._form  # noqa: S101 there is one as long as there is a channel
        now = int(time.time())
        pieces: list[bytes] = []
        size = count = 0
        for message in messages:
            self._tag += 1
            self._outstanding[self._tag] = message
            first = message[0]
            body = first.event if len(message) == 1 else b"\n".join([record.event for record in message])
            size += self._form.write(pieces, first.id, now, body)
            count += len(message)
            if size >= WRITE_SIZE:
                self._write(pieces)
                size = 0
        if pieces:
            self._write(pieces)
        self._metrics.published.inc(count)

    def _write(self, pieces: list[bytes]) -> None:
        """Send frames. pika has no other way for those that it has not made itself."""
        self._connection._output_marshaled_frames([b"".join(pieces)])  # noqa: SLF001 as the docstring says
        pieces.clear()

    def _on_return(self, _channel: object, _method: object, properties: Any, _body: bytes) -> None:
        self._returned[properties.message_id.encode()] += 1

    def _on_answer(self, frame: Any) -> None:
        """Take an ack or a nack, of one message or of all up to it."""
        messages = self._answered(frame.method.delivery_tag, multiple=frame.method.multiple)
        returned: list[Record] = []
        others: list[Record] = []
        for message in messages:
            (returned if self._returned and self._was_returned(message) else others).extend(message)
        is_ack = isinstance(frame.method, pika.spec.Basic.Ack)
        if others and is_ack:
            self._metrics.confirmed.inc(len(others))
            self._metrics.broker_unroutable.set(0)
            self._backlog.confirm(others)
            self._backoff.reset()
            self._window = min(2 * self._window, WINDOW)
            self._report(None)
        elif others:
            self._metrics.nacked.inc(len(others))
            self._backlog.retry(others)
            self._refuse("the broker refuses events: it sent a nack")
        if returned:
            self._metrics.returned.inc(len(returned))
            self._metrics.broker_unroutable.set(1)
            self._backlog.retry(returned)
            key = self._target.key
            self._is_queue_missing = True
            self._refuse(f"unroutable: no queue is bound to the exchange {EXCHANGE} for the routing key {key}")
        if self._is_ending and not self._outstanding:
            self._close()
        self.wake()  # once for all answers that came together

    def _answered(self, tag: int, *, multiple: bool) -> list[Message]:
        """Give the messages that an answer is about."""
        if not multiple:
            return [message] if (message := self._outstanding.pop(tag, None)) else []
        begin, self._answered_tag = self._answered_tag, max(tag, self._answered_tag)
        pop = self._outstanding.pop
        return [message for sent in range(begin + 1, tag + 1) if (message := pop(sent, None))]

    def _was_returned(self, message: Message) -> bool:
        identity = message[0].id
        if identity not in self._returned:
            return False
        self._returned[identity] -= 1
        if not self._returned[identity]:
            del self._returned[identity]
        return True

    def _refuse(self, trouble: str) -> None:
        """Pause, then go on with one event at a time."""
        self._report(trouble)
        self._window = 1
        if not self._pause:
            self._pause = self._loop.call_later(self._backoff.seconds(), self._resume)

    def _resume(self) -> None:
        self._pause = None
        if self._channel:
            if self._is_queue_missing:
                self._declare(self._channel)
            self._fill()
        elif self._connection.is_open:
            self._open_channel()


def _messages(records: list[Record], per_message: int) -> Iterable[Message]:
    """Divide events into messages. One without an id of its own goes alone: a message has one id, its first event's."""
    if per_message == 1:
        return [[record] for record in records]
    messages: list[Message] = []
    room = size = 0
    for record in records:
        size -= len(record.event)
        if not record.has_own_id or not room or size < 0:
            messages.append([])
            room, size = per_message, MESSAGE_SIZE - len(record.event)
        messages[-1].append(record)
        room = room - 1 if record.has_own_id else 0
    return messages


def reason_of(error: BaseException | None) -> str:
    """Find out of what pika wraps an error in what happened, in words for one line."""
    while True:
        inside = (*getattr(error, "exceptions", ()), getattr(error, "exception", None), *getattr(error, "args", ()))
        deeper = [found for found in inside if isinstance(found, BaseException)]
        if not deeper:
            break
        error = deeper[-1]
    text = tls.reason_of(error) if isinstance(error, OSError) else str(getattr(error, "reply_text", error))
    return " ".join(text.split()) or type(error).__name__
