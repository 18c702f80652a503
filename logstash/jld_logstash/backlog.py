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

    def __len__(self) -> int:
        """Give the number of events in memory."""
        return len(self._open)

    def take(self, count: int) -> list[Record]:
        """Give the next events to send, those first that are to be sent again.

        Args:
            count: how many at the most.

        Raises:
            OSError: the spool cannot be read.
        """
        again = min(count, len(self._again))
        found = [self._again.popleft() for _ in range(again)]
        count = min(count - again, COUNT_LIMIT - len(self._open))
        if count > 0 and self._size < SIZE_LIMIT:
            found += self._read(count)
        return found

    def _read(self, count: int) -> list[Record]:
        found: list[Record] = []
        is_new = False
        while len(found) < count and self._size < SIZE_LIMIT:
            try:
                record = next(self._records, None)
                if not record and not is_new:
                    self._records, is_new = self._spool.read(self._position), True
                    continue
            except OSError:
                if not found:
                    raise
                break  # the next call meets it again
            if not record:
                break
            self._position = record.end
            self._size += len(record.event)
            found.append(record)
        self._open += found
        return found

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
