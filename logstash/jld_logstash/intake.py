"""The way of events from the loop of the shippers into the spool's thread, with bounded memory."""

import asyncio
import contextlib
from collections.abc import Sequence

from .events import Marker
from .spool import Batch, Spool

SIZE_LIMIT = 32 * 2**20
"""Bytes of events in memory that the spool has not taken yet; with more, no shipper's events are looked at."""

HELD_LIMIT = 16 * 2**20
"""Bytes of windows that are not full yet; with more, windows go to the spool in whatever parts there are."""

LARGE_LIMIT = 4
"""Connections that may hold more than LARGE_SIZE of an event that is not whole yet."""


class Intake:
    """Puts events into the spool, from one loop.

    Args:
        spool: where they go.
        shipper: name of the shipper in events that have none.

    Attributes:
        large: what a connection needs to take more than LARGE_SIZE of an event.
    """

    def __init__(self, spool: Spool, shipper: str) -> None:
        self._spool = spool
        self._shipper = shipper
        self._size = 0
        self._room = asyncio.Event()
        self._room.set()
        self._held = 0
        self.large = asyncio.Semaphore(LARGE_LIMIT)

    @property
    def size(self) -> int:
        """Bytes of events in memory: those the spool has not taken, and those of windows that are not full."""
        return self._size + self._held

    @property
    def is_tight(self) -> bool:
        """Whether windows that are not full should be cut."""
        return self._held >= HELD_LIMIT

    def hold(self, size: int) -> None:
        """Take note of so many more, or with a negative number fewer, bytes that are not submitted yet."""
        self._held += size

    async def has_room(self, seconds: float) -> bool:
        """Wait until there is memory for more events, and tell whether there is.

        Args:
            seconds: how long to wait at the most.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._room.is_set():  # those that were woken before may have taken it
                    await self._room.wait()
        return self._room.is_set()

    def marker(self, certificate: str) -> Marker:
        """Give what makes records of the events of the shipper with a certificate for this name."""
        return Marker(self._shipper, certificate)

    def submit(self, payloads: Sequence[bytes], marker: Marker) -> asyncio.Future[None]:
        """Have events written; the future is done when they are safe, and cancelled when nobody needs to know.

        Args:
            payloads: JSON objects in UTF-8.
            marker: of the shipper that they came from.

        Raises:
            ProtocolError: one of them is no such thing; none of them is written.
        """
        batch = Batch(b"".join([marker.record(payload) for payload in payloads]), len(payloads))
        safe = asyncio.wrap_future(batch.safe)
        size = len(batch.data)
        self._count(size)

        def let_go(_: object) -> None:
            self._count(-size)
            if safe.cancelled():
                batch.data = b""  # the spool may have it in its queue for as long as its disk is full

        safe.add_done_callback(let_go)
        self._spool.append(batch)
        return safe

    def _count(self, size: int) -> None:
        self._size += size
        if self._size < SIZE_LIMIT:
            self._room.set()
        else:
            self._room.clear()
