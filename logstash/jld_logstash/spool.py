"""The events on disk, between shippers and broker: a thread that writes, syncs, and forgets what is confirmed."""

import collections
import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from pathlib import Path

from . import cursor
from .errors import BadSettingError, InUseError
from .log import Sayings, Trouble
from .records import Record
from .segments import Segments

SEGMENT_SIZE = 16 * 2**20
"""Bytes of a file, which is removed as a whole. Smaller where the limit is small: an eighth of it."""

CURSOR_SECONDS = 0.25
"""The cursor lies behind for this long at most; what it lies behind is sent again after a crash."""

RETRY_SECONDS = 1
"""Time between attempts to write to a disk that refuses."""

HANGING_SECONDS = 10
"""A disk that takes longer for one write does not answer."""


class Batch:
    """Events that become safe together.

    Args:
        data: their records; nothing when they were dropped.
        count: how many.

    Attributes:
        safe: done when they are. Where it is cancelled before, they may be dropped: nobody was told that they are safe.
    """

    __slots__ = ("count", "data", "safe")

    def __init__(self, data: bytes, count: int) -> None:
        self.data = data
        self.count = count
        self.safe: Future[None] = Future()


class Spool:
    """A folder of segments and a cursor. `append` and `confirm` may be called from any thread, and never wait.

    Args:
        folder: the folder, made where it is missing.
        limit: bytes that the segments may take.

    Raises:
        BadSettingError: the folder cannot be used.
        InUseError: another collector uses it.

    Attributes:
        limit: bytes that the segments may take.
        on_safe: called by the spool's thread when there is more to read.
        on_write: called by the spool's thread with the seconds that it took to make some batches safe.
        events: number of events that are not confirmed, those included that are just being written.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        log = logging.getLogger(__name__)
        self._sayings = Sayings(log)
        self._folder = folder
        self.limit = limit
        self._segment_size = min(SEGMENT_SIZE, limit // 8)
        self._segments = Segments(folder, self._segment_size)
        try:
            self._lock = _lock(folder)
            self._stored = self._confirmed = cursor.load(folder)
            self.events = self._segments.load(self._stored)
        except OSError as error:
            right = f"should be a folder to keep events in ({error.strerror})"
            raise BadSettingError("LOGSTASH_SPOOL_DIR", str(folder), right) from error
        self.on_safe: Callable[[], None] = lambda: None
        self.on_write: Callable[[float], None] = lambda _: None
        self._trouble = Trouble(log, "the spool takes no events, shippers have to wait", "the spool takes events again")
        self._writing_since: float | None = None
        self._batches: collections.deque[Batch] = collections.deque()
        self._change = threading.Condition()
        self._write_at = 0.0
        """When to try to write the batches that wait; monotonic, in seconds."""
        self._store_at = 0.0
        """When to store the cursor if it has moved."""
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Write what waits, if that is possible, store the cursor, and end.

        Args:
            seconds: how long to wait for a disk that does not answer.
        """
        with self._change:
            self._is_closing = True
            self._change.notify()
        self._thread.join(seconds)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written now, None when it can."""
        since = self._writing_since
        if since is not None and time.monotonic() - since > HANGING_SECONDS:
            return "the disk does not answer"
        return self._trouble.reason

    @property
    def position(self) -> int:
        """Where to begin to read: everything below is confirmed."""
        return self._confirmed

    @property
    def size(self) -> int:
        """Bytes that the segments take."""
        return self._segments.size

    @property
    def damages(self) -> int:
        """The number of damaged places met so far."""
        return self._segments.damages

    def append(self, batch: Batch) -> None:
        """Have a batch written. Batches become safe in their order."""
        with self._change:
            self._batches.append(batch)
            self._change.notify()

    def read(self, position: int) -> Iterator[Record]:
        """Give the records from a position on that are safe by now.

        Raises:
            OSError: anything the file system refuses.
        """
        return self._segments.read(position)

    def confirm(self, position: int, count: int) -> None:
        """Take note that all below a position is confirmed.

        Args:
            position: the end of the last record of which that is true.
            count: number of events that are confirmed by that.
        """
        with self._change:
            if self._confirmed == self._stored:
                self._change.notify()  # else it has a time at which to store
            self._confirmed = position
            self.events -= count

    def _run(self) -> None:
        is_over = False
        while not is_over:
            with self._change:
                while not self._is_closing and (seconds := self._seconds_to_wait()) != 0:
                    self._change.wait(seconds)
                group = self._take()
            if group:
                self._write(group)
            elif self._trouble.reason and not self._batches:
                self._look()
            is_over = self._is_closing and (not group or self._trouble.reason is not None)
            if is_over or time.monotonic() >= self._store_at:
                self._store()

    def _seconds_to_wait(self) -> float | None:
        due = []
        if self._batches or self._trouble.reason:
            due.append(self._write_at)
        if self._confirmed != self._stored:
            due.append(self._store_at)
        return max(0, min(due) - time.monotonic()) if due else None

    def _take(self) -> list[Batch]:
        """Take the batches that can be written together now."""
        group: list[Batch] = []
        if time.monotonic() < self._write_at and not self._is_closing:
            return group
        used, size = self._segments.size, 0
        while self._batches and size < self._segment_size:
            batch = self._batches[0]
            if not batch.safe.cancelled():
                if used and used + size + len(batch.data) > self.limit:
                    break
                group.append(batch)
                size += len(batch.data)
            self._batches.popleft()
        if self._batches and not group:
            self._batches = collections.deque(batch for batch in self._batches if not batch.safe.cancelled())
            self._write_at = time.monotonic() + RETRY_SECONDS
            if self.events:
                self._trouble.set(f"it is full (LOGSTASH_SPOOL_LIMIT: {self.limit} bytes)")
            else:
                self._segments.close()  # all of it is confirmed, so that it can be removed
                self._store_at = 0
        return group

    def _write(self, group: list[Batch]) -> None:
        begin = self._writing_since = time.monotonic()
        written = [(batch.data, batch.count) for batch in group if batch.data]  # else it was dropped meanwhile
        count = sum(count for _, count in written)
        with self._change:
            self.events += count  # before they can be read, and so be confirmed
        try:
            if written:
                self._segments.append(b"".join([data for data, _ in written]))
        except OSError as error:
            self._write_at = time.monotonic() + RETRY_SECONDS
            with self._change:
                self.events -= count
                self._batches.extendleft(reversed(group))
            self._trouble.set(error.strerror or str(error))
            return
        finally:
            self._writing_since = None
        self.on_write(time.monotonic() - begin)
        self._trouble.set(None)
        for batch in group:
            with contextlib.suppress(InvalidStateError):  # cancelled meanwhile
                batch.safe.set_result(None)
        self.on_safe()

    def _look(self) -> None:
        """See whether the trouble is over: while nobody may connect, nobody brings events to try it with."""
        self._write_at = time.monotonic() + RETRY_SECONDS
        if self._segments.size + self._segment_size <= self.limit:
            with contextlib.suppress(OSError):
                cursor.store(self._folder, self._confirmed)
                self._trouble.set(None)

    def _store(self) -> None:
        """Store the cursor, then remove what lies below it."""
        position = self._confirmed
        self._store_at = time.monotonic() + CURSOR_SECONDS
        used = self._segments.size
        try:
            if position != self._stored:
                cursor.store(self._folder, position)
                self._stored = position
        except OSError as error:
            self._sayings.warning(f"the spool's cursor is not stored: {error.strerror}")
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                return
            # Only what is removed makes room. A crash would now read from the first segment that is left: the same.
        try:
            self._segments.free(position)
        except OSError as error:
            self._sayings.warning(f"the spool's confirmed events are not removed: {error.strerror}")
        if self._segments.size < used:
            self._write_at = 0


def _lock(folder: Path) -> int:
    """Take the folder for this process alone; the lock ends with it.

    Raises:
        InUseError: another process has it.
        OSError: anything else the file system refuses.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        right = "should be a folder that no other collector uses"
        raise InUseError("LOGSTASH_SPOOL_DIR", str(folder), right) from error
    return file
