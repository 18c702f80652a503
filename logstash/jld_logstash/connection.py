"""One shipper's connection: events in, acknowledgements out, in order and never before the events are safe."""

import asyncio

from .intake import Intake
from .lumberjack import Decoder, Part, acknowledgement
from .metrics import Metrics

KEEPALIVE_SECONDS = 3
"""While events wait, the shipper is told at this interval that the collector is alive; Filebeat waits for 30 s."""

PATIENCE_SECONDS = 60
"""How long a shipper may pause inside a window, or not take what is sent to it."""

PART_SIZE = 4 * 2**20
"""Bytes of events after which a window is given to the spool in parts."""

PARTS = 2
"""Parts of one connection that wait at the same time: the next is decoded while one is written."""

_READ_SIZE = 2**18


class SlowError(Exception):
    """A shipper paused for too long."""


class Connection:
    """What is said on one connection.

    Args:
        reader: what the shipper sends.
        writer: what it gets.
        intake: where the events go.
        metrics: what is counted.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, intake: Intake, metrics: Metrics
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._intake = intake
        self._metrics = metrics
        self._decoder = Decoder()
        self._free = asyncio.Semaphore(PARTS)
        self._parts: asyncio.Queue[tuple[asyncio.Future[None] | None, Part] | None] = asyncio.Queue()
        """Parts to be acknowledged in this order, each once its future is done; None after the last one."""
        self._unsafe: set[asyncio.Future[None]] = set()
        self._reading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Converse until the shipper or `finish` ends it.

        Raises:
            ProtocolError: the shipper does not keep to the protocol.
            SlowError: the shipper paused for too long.
            OSError: the connection broke.
        """
        self._reading = asyncio.create_task(self._read())
        acknowledging = asyncio.create_task(self._acknowledge())
        try:
            await asyncio.wait((self._reading, acknowledging), return_when=asyncio.FIRST_COMPLETED)
            if self._reading.done() and not self._reading.cancelled():
                self._reading.result()
            await acknowledging
        finally:
            self._reading.cancel()
            acknowledging.cancel()
            await asyncio.gather(self._reading, acknowledging, return_exceptions=True)
            for safe in self._unsafe.copy():
                safe.cancel()

    def finish(self) -> None:
        """Take no more, acknowledge what was taken, and end."""
        if self._reading:
            self._reading.cancel()

    async def _read(self) -> None:
        try:
            while data := await self._receive():
                self._decoder.feed(data)
                while part := await self._next_part():
                    self._take(part)
        finally:
            self._parts.put_nowait(None)

    async def _receive(self) -> bytes:
        if self._decoder.is_idle:
            return await self._reader.read(_READ_SIZE)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._reader.read(_READ_SIZE)
        except TimeoutError as error:
            raise SlowError("it paused inside a window") from error

    async def _next_part(self) -> Part | None:
        if self._decoder.is_idle:
            return None
        await self._free.acquire()
        part = None
        try:
            while not await self._intake.has_room(KEEPALIVE_SECONDS):
                await self._send(0)
            part = self._decoder.take(PART_SIZE)
        finally:
            if not part:
                self._free.release()
        return part

    def _take(self, part: Part) -> None:
        safe = None
        if part.events:
            self._metrics.received.inc(len(part.events))
            safe = self._intake.submit(part.events)
            self._unsafe.add(safe)
            safe.add_done_callback(self._unsafe.discard)
        self._parts.put_nowait((safe, part))

    async def _acknowledge(self) -> None:
        count = 0
        while entry := await self._parts.get():
            safe, part = entry
            while safe and not safe.done():
                await asyncio.wait((safe,), timeout=KEEPALIVE_SECONDS)
                if not safe.done():
                    await self._send(0)
            count += len(part.events)
            if part.acknowledge is not None:
                await self._send(part.acknowledge)
                self._metrics.acknowledged.inc(count)
                count = 0
            self._free.release()

    async def _send(self, sequence: int) -> None:
        self._writer.write(acknowledgement(sequence))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._writer.drain()
        except TimeoutError as error:
            raise SlowError("it takes no acknowledgements") from error
