"""One shipper's connection: events in, acknowledgements out, in order and never before the events are safe."""

import asyncio
import time
from typing import Any

from .intake import Intake
from .lumberjack import LARGE_SIZE, Decoder, Part, acknowledgement
from .metrics import Metrics
from .stream import Stream

KEEPALIVE_SECONDS = 3
"""While events wait, the shipper is told at this interval that the collector is alive; Filebeat waits for 30 s."""

PATIENCE_SECONDS = 60
"""How long a shipper may pause inside a window, or not take what is sent to it."""

WINDOW_SECONDS = 600
"""How long a window may be waited for altogether: who sends a byte now and then holds memory and a place."""

PART_SIZE = 4 * 2**20
"""Bytes of events after which a window is given to the spool in parts."""

PARTS = 2
"""Parts of one connection that wait at the same time: the next is decoded while one is written."""


class SlowError(Exception):
    """A shipper takes too long."""


class Connection:
    """What is said on one connection.

    Args:
        stream: to the shipper.
        intake: where the events go.
        metrics: what is counted.
        name: the one that the shipper's certificate is for.
    """

    def __init__(self, stream: Stream, intake: Intake, metrics: Metrics, *, name: str) -> None:
        self._marker = intake.marker(name)
        self._stream = stream
        self._intake = intake
        self._metrics = metrics
        self._decoder = Decoder()
        self._free = asyncio.Semaphore(PARTS)
        self._parts: asyncio.Queue[tuple[asyncio.Future[None] | None, int, Part] | None] = asyncio.Queue()
        """Parts to be acknowledged in this order, each once its future is done, with the number of their events, which
        are no longer in them; None after the last one."""
        self._unsafe: set[asyncio.Future[None]] = set()
        self._reading: asyncio.Task[None] | None = None
        self._waited = 0.0
        """Seconds that this window was waited for so far."""
        self._held = 0
        """Bytes that the decoder holds, as the intake was told."""
        self._is_large = False
        """Whether this is one of the few connections that may have begun a large event."""

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
            self._intake.hold(-self._held)
            if self._is_large:
                self._intake.large.release()

    def finish(self) -> None:
        """Take no more, acknowledge what was taken, and end."""
        if self._reading:
            self._reading.cancel()

    async def _read(self) -> None:
        try:
            while data := await self._receive():
                self._decoder.feed(data)
                goes_on = True
                while goes_on:
                    while part := await self._next_part():
                        self._take(part)
                    goes_on = await self._hold()
        finally:
            self._parts.put_nowait(None)

    async def _receive(self) -> bytes:
        if self._decoder.is_idle:
            return await self._stream.read()
        begin = time.monotonic()
        try:
            async with asyncio.timeout(min(PATIENCE_SECONDS, WINDOW_SECONDS - self._waited)):
                return await self._stream.read()
        except TimeoutError as error:
            raise SlowError("it paused inside a window, or took too long for it") from error
        finally:
            self._waited += time.monotonic() - begin

    async def _hold(self) -> bool:
        """Account for what stays in the decoder; with much of one event, only go on as one of a few.

        Returns:
            Whether it has become one of these, so that the decoder may inflate more.
        """
        self._intake.hold(self._decoder.held - self._held)
        self._held = self._decoder.held
        was_large, is_large = self._is_large, self._decoder.begun > LARGE_SIZE
        if is_large and not was_large:
            await self._become_large()
        elif was_large and not is_large:
            self._intake.large.release()
            self._is_large = False
        return is_large and not was_large

    async def _become_large(self) -> None:
        """Wait, in the order of those that wait, for one of the few places."""
        turn = asyncio.ensure_future(self._intake.large.acquire())
        try:
            await self._wait(turn, self._decoder.version)
        finally:
            self._is_large = not turn.cancel()  # what is done cannot be cancelled

    async def _next_part(self) -> Part | None:
        if self._decoder.is_idle:
            return None
        await self._free.acquire()
        part = None
        try:
            while not await self._intake.has_room(KEEPALIVE_SECONDS):
                await self._keep_alive(self._decoder.version)
            part = self._decoder.take(PART_SIZE, is_large=self._is_large)
            if not part and self._intake.is_tight:
                part = self._decoder.flush()
        finally:
            if not part:
                self._free.release()
        return part

    def _take(self, part: Part) -> None:
        safe = None
        if part.acknowledge is not None:
            self._waited = 0
        if part.events:
            self._metrics.received.inc(len(part.events))
            safe = self._intake.submit(part.events, self._marker)
            self._unsafe.add(safe)
            safe.add_done_callback(self._unsafe.discard)
        self._parts.put_nowait((safe, len(part.events), part._replace(events=[])))

    async def _acknowledge(self) -> None:
        count = 0
        while entry := await self._parts.get():
            safe, events, part = entry
            if safe:
                await self._wait(safe, part.version)
            count += events
            if part.acknowledge is not None:
                await self._send(acknowledgement(part.acknowledge, part.version))
                self._metrics.acknowledged.inc(count)
                count = 0
            self._free.release()

    async def _wait(self, done: asyncio.Future[Any], version: bytes) -> None:
        """Wait until something is done, and tell the shipper meanwhile that the collector is alive."""
        while not done.done():
            await asyncio.wait((done,), timeout=KEEPALIVE_SECONDS)
            if not done.done():
                await self._keep_alive(version)

    async def _keep_alive(self, version: bytes) -> None:
        if version != b"1":
            await self._send(acknowledgement(0))

    async def _send(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._stream.send(data)
        except TimeoutError as error:
            raise SlowError("it takes no acknowledgements") from error
