"""The connection to the collector: sends windows, takes acknowledgements, and begins anew when it breaks."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import random
import socket
import ssl
import sys
import termios
from asyncio.trsock import TransportSocket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from .batch import Batch
from .errors import BadSettingError, CollectorError
from .log import Complaints
from .lumberjack import ACK_BYTES, Windows, decode_ack, encode
from .metrics import Metrics

PIPELINING = 2
"""Windows on their way at once: Filebeat's default."""

AHEAD = 2
"""Windows that are made while others are on their way: one is read while one is compressed."""

INLINE_BYTES = 16 * 2**10
"""Events of fewer bytes are compressed at once; for more a thread is worth its price."""

_log = logging.getLogger(__name__)


class Client:
    """Ships batches for as long as it runs.

    Args:
        host: name of the collector, which its certificate has to have.
        port: its port.
        context: gives the TLS context of a new connection.
        source: gives the next batch as soon as there is one.
        acknowledged: called after files were marked as shipped further.
        metrics: what is counted.
    """

    CONNECT_SECONDS = 30
    SILENT_SECONDS = 30
    """How long a collector that owes acknowledgements may send nothing at all."""
    PROGRESS_SECONDS = 60
    """How long it may acknowledge nothing new: one that is stuck can go on to say that it is at work."""
    IDLE_SECONDS = 5
    """A connection that was of that age when the collector ended it, with nothing owed, was ended for being idle."""
    BACKOFF_SECONDS = (0.1, 30.0)
    """The first and the longest span that the time before an attempt is drawn from."""

    def __init__(  # noqa: PLR0913 # what a connection needs from its surroundings
        self,
        host: str,
        port: int,
        *,
        context: Callable[[], ssl.SSLContext],
        source: Callable[[], Awaitable[Batch]],
        acknowledged: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._source = source
        self._acknowledged = acknowledged
        self._metrics = metrics
        self._complaints = Complaints(_log)
        self._windows = Windows()
        self._unsent: list[Batch] = []
        """Batches of a connection that broke."""
        self._ahead: deque[tuple[Batch, asyncio.Task[bytes]]] = deque()
        """Batches to be sent next, with their frames as soon as there are some."""
        self._made = asyncio.Event()
        """Set when there is one of these."""
        self._changed = asyncio.Event()
        """Set when a window is acknowledged, in whole or in part."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._failures = 0
        self._is_news = True
        """Whether the log does not say that the collector takes events, or says otherwise."""
        self._heard = self._progressed = 0.0
        self._renewed = asyncio.Event()
        metrics.waiting.set_function(lambda: len(self._ahead) + len(self._unsent))
        metrics.outstanding.set_function(lambda: len(self._windows))

    async def wait_idle(self) -> None:
        """Wait until all that was taken from the source is acknowledged."""
        await self._idle.wait()

    def renew(self) -> None:
        """Have it connect anew, at once, with the certificates that are there then."""
        self._renewed.set()

    async def run(self) -> None:
        """Ship until cancelled."""
        while True:
            self._renewed.clear()
            try:
                await self._session()
            except (OSError, EOFError, CollectorError, BadSettingError) as error:
                self._fail(_reason(error))
            finally:
                self._metrics.connected.set(0)
                self._unsent = [*self._windows.take_back(), *(batch for batch, _ in self._ahead), *self._unsent]
                self._ahead.clear()
            first, longest = self.BACKOFF_SECONDS
            span = min(longest, first * 2 ** min(self._failures, 20))
            # Full jitter: the shippers of all nodes lose the same collector at the same time.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0, span)):  # noqa: S311 # no secret
                    await self._renewed.wait()
            self._metrics.reconnects.inc()

    async def _session(self) -> None:
        """Connect, and ship until the connection breaks; returns if it is renewed, or ended for being idle."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self.CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._context(), server_hostname=self._host, ssl_shutdown_timeout=1
            )
        begin = loop.time()
        tasks: list[asyncio.Task[Any]] = []
        try:
            self._metrics.connected.set(1)
            self._metrics.certificate_ends.set(ssl.cert_time_to_seconds(writer.get_extra_info("peercert")["notAfter"]))
            _keep_alive(writer)
            works = (self._make(), self._send(writer), self._receive(reader), self._guard(writer), self._renewed.wait())
            tasks += [asyncio.create_task(work) for work in works]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except EOFError:
            if not self._idle.is_set() or loop.time() - begin < self.IDLE_SECONDS:
                raise
        finally:
            tasks += [frames for _, frames in self._ahead]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await writer.wait_closed()

    async def _make(self) -> None:
        """Read batches and have them encoded, a few ahead of what is sent."""
        while True:
            while len(self._windows) + len(self._ahead) >= PIPELINING + AHEAD:
                self._changed.clear()
                await self._changed.wait()
            batch = self._unsent.pop(0) if self._unsent else await self._source()
            self._idle.clear()
            self._ahead.append((batch, asyncio.create_task(_encode(batch))))
            self._made.set()
            await asyncio.sleep(0)  # acknowledgements and health take their turns

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            while not self._ahead or len(self._windows) >= PIPELINING:
                self._made.clear()
                await self._made.wait()
            batch, making = self._ahead[0]
            frames = await making
            if not self._windows:
                self._heard = self._progressed = asyncio.get_running_loop().time()
            self._ahead.popleft()
            self._metrics.sent.inc(len(self._windows.send(batch)))
            writer.write(frames)
            await writer.drain()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while True:
            number = decode_ack(await reader.readexactly(ACK_BYTES))
            self._heard = asyncio.get_running_loop().time()
            if new := self._windows.acknowledge(number):
                self._progressed = self._heard
                self._failures = 0
                self._metrics.acknowledged.inc(new)
                self._changed.set()
                self._made.set()
                if not (self._windows or self._ahead or self._unsent):
                    self._idle.set()
                self._acknowledged()
                if self._is_news:
                    self._is_news = False
                    _log.info("%s:%d takes events", self._host, self._port)

    async def _guard(self, writer: asyncio.StreamWriter) -> None:
        """End a connection whose collector is silent or stuck."""
        left = 0
        while True:
            await asyncio.sleep(min(1, self.SILENT_SECONDS, self.PROGRESS_SECONDS))
            now = asyncio.get_running_loop().time()
            before, left = left, _unsent(writer)
            if left < before:  # on a slow way a large window takes its time, and can't be answered before it is there
                self._heard = self._progressed = now
            if self._windows and now - self._heard > self.SILENT_SECONDS:
                raise CollectorError(f"said nothing for {self.SILENT_SECONDS} s")
            if self._windows and now - self._progressed > self.PROGRESS_SECONDS:
                raise CollectorError(f"acknowledged nothing for {self.PROGRESS_SECONDS} s while it says it works")

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if self._complaints.tell(reason, f"{self._host}:{self._port}: {reason}; events wait in their files"):
            self._is_news = True


async def _encode(batch: Batch) -> bytes:
    events = batch.events[batch.acknowledged :]
    return encode(events) if batch.size < INLINE_BYTES else await asyncio.to_thread(encode, events)


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the kernel find out that the collector's machine is gone while nothing is sent."""
    connection = _socket(writer)
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ):
        connection.setsockopt(level, option, value)


def _unsent(writer: asyncio.StreamWriter) -> int:
    """Give the bytes that the collector's machine has not confirmed yet (tcp(7): SIOCOUTQ)."""
    queued = fcntl.ioctl(_socket(writer).fileno(), termios.TIOCOUTQ, bytes(4))
    return writer.transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)


def _socket(writer: asyncio.StreamWriter) -> TransportSocket:
    """Give the socket of a connection.

    Raises:
        ConnectionResetError: there is none any more, as when a collector refuses the certificate it was just shown.
    """
    found: TransportSocket | None = writer.get_extra_info("socket")
    if found is None or found.fileno() < 0:
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return found


def _reason(error: Exception) -> str:
    """Say what went wrong in words that do not change from attempt to attempt."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is refused ({error.verify_message})"
        case ssl.SSLError():
            return f"TLS fails ({error.reason or error.strerror})"
        case TimeoutError():
            return "it does not answer"
        case EOFError():
            return "it ended the connection"
        case OSError():
            # The loop's own text repeats the address; a name that does not resolve has no errno of the system's.
            return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)
    return str(error)
