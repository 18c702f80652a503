"""What has been read from the spool for its receiver, and is not confirmed yet."""

import collections
from collections.abc import Iterable, Iterator

from .records import Record
from .spool import Spool

COUNT_LIMIT = 10_000
"""Events in memory. Those behind one that is refused again and again are among them."""

SIZE_LIMIT = 32 * 2**20
"""Bytes of the events in memory."""


class Backlog:
    """Gives events in their order, and moves the spool's cursor to the oldest one that is not confirmed.

    Only the receiver's thread may use it.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._position = spool.position
        self._records: Iterator[Record] = iter(())
        self._open: collections.deque[Record] = collections.deque()
        """All that was given and that is, or lies behind one that is, not confirmed; in order."""
        self._size = 0
        self._again: collections.deque[Record] = collections.deque()

    def next(self) -> Record | None:
        """Give the next event to send, None when there is none now.

        Raises:
            OSError: the spool cannot be read.
        """
        if self._again:
            return self._again.popleft()
        if len(self._open) >= COUNT_LIMIT or self._size >= SIZE_LIMIT:
            return None
        record = next(self._records, None)
        if not record:
            self._records = self._spool.read(self._position)
            record = next(self._records, None)
        if record:
            self._position = record.end
            self._open.append(record)
            self._size += len(record.event)
        return record

    def retry(self, records: Iterable[Record]) -> None:
        """Have events given again, the oldest first."""
        self._again = collections.deque(sorted([*self._again, *records], key=lambda record: record.begin))

    def confirm(self, records: Iterable[Record]) -> None:
        """Take note that the receiver has these events."""
        for record in records:
            record.is_confirmed = True
        count = end = 0
        while self._open and self._open[0].is_confirmed:
            record = self._open.popleft()
            self._size -= len(record.event)
            end = record.end
            count += 1
        if count:
            self._spool.confirm(end, count)
