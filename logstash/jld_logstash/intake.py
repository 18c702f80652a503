"""The way of events from the loop of the shippers into the spool's thread, with bounded memory."""

import asyncio
import contextlib
from collections.abc import Sequence

from . import events
from .spool import Batch, Spool

SIZE_LIMIT = 64 * 2**20
"""Bytes of events in memory that the spool has not taken yet; with more, no shipper's events are looked at."""


class Intake:
    """Puts events into the spool, from one loop.

    Args:
        spool: where they go.
        shipper: name of the shipper in events that have none.
    """

    def __init__(self, spool: Spool, shipper: str) -> None:
        self._spool = spool
        self._shipper = shipper
        self._size = 0
        self._room = asyncio.Event()
        self._room.set()

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

    def submit(self, payloads: Sequence[bytes]) -> asyncio.Future[None]:
        """Have events written; the future is done when they are safe, and cancelled when nobody needs to know.

        Args:
            payloads: JSON objects in UTF-8.

        Raises:
            ProtocolError: one of them is no such thing; none of them is written.
        """
        batch = Batch(b"".join([events.record(payload, self._shipper) for payload in payloads]), len(payloads))
        safe = asyncio.wrap_future(batch.safe)
        self._count(len(batch.data))
        safe.add_done_callback(lambda _: self._count(-len(batch.data)))
        self._spool.append(batch)
        return safe

    def _count(self, size: int) -> None:
        self._size += size
        if self._size < SIZE_LIMIT:
            self._room.set()
        else:
            self._room.clear()
