"""The files of the spool: an endless row of bytes, cut into segments that are removed from its front.

A segment's name has the position of its first byte, and a random part, so that an event is never taken for another that
once was at the same position.
"""

import contextlib
import errno
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

from . import records
from .cursor import sync_folder

_log = logging.getLogger(__name__)

_NAME = re.compile(r"\d{20}-[0-9a-f]{32}\.segment")


class Segment:
    """One file.

    Args:
        path: the file, named `<position>-<random>.segment`.
        size: bytes that are safe to be read.
    """

    __slots__ = ("begin", "path", "size", "token")

    def __init__(self, path: Path, size: int) -> None:
        begin, _, self.token = path.stem.partition("-")
        self.path = path
        self.begin = int(begin)
        self.size = size

    @property
    def end(self) -> int:
        """The position after its last safe byte."""
        return self.begin + self.size

    def decode(self, position: int) -> Iterator[records.Record | records.Damage]:
        """Read the safe records from a position on.

        Raises:
            OSError: anything the file system refuses.
        """
        begin = max(position, self.begin)
        with self.path.open("rb") as file:
            data = os.pread(file.fileno(), self.end - begin, begin - self.begin)
        for item in records.decode(data, begin):
            if isinstance(item, records.Record) and not item.id:
                item.id = b"%b-%d" % (self.token.encode(), item.begin)
            yield item


class Segments:
    """All files of one spool. Any thread may read; one thread writes.

    Args:
        folder: the spool's folder.
        segment_size: bytes after which the next segment is begun.
    """

    def __init__(self, folder: Path, segment_size: int) -> None:
        self._folder = folder
        self._segment_size = segment_size
        self._lock = threading.Lock()
        self._all: list[Segment] = []
        self._active: Segment | None = None
        """The segment that is written to; among all as soon as some of it is safe."""
        self._file = -1
        """The descriptor of the active segment."""
        self._position = 0
        """Where the next byte goes."""
        self._damaged: set[int] = set()
        """Where known damage begins."""

    def load(self, confirmed: int) -> int:
        """Take what the folder has; repair it and say so.

        Args:
            confirmed: position below which nothing is needed.

        Returns:
            The number of events from there on.

        Raises:
            OSError: anything the file system refuses.
        """
        paths = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        found = [Segment(path, path.stat().st_size) for path in paths]
        self._all = sorted(found, key=lambda segment: segment.begin)
        self._position = max([confirmed, *(segment.end for segment in found)])
        self.free(confirmed)
        events = torn = 0
        for segment in self._all.copy():
            for item in segment.decode(confirmed):
                if isinstance(item, records.Record):
                    events += 1
                elif item.end == self._position:
                    torn = item.end - item.begin
                    os.truncate(segment.path, segment.size - torn)
                    segment.size -= torn
                else:
                    self._damaged.add(item.begin)
        self.free(confirmed)  # what is empty now
        if torn or self._damaged:
            damaged = len(self._damaged)
            _log.warning("repaired the spool: %d bytes of a torn end cut off, %d damaged places skipped", torn, damaged)
        return events

    @property
    def damages(self) -> int:
        """The number of damaged places met so far."""
        return len(self._damaged)

    @property
    def size(self) -> int:
        """Bytes that all safe records take."""
        with self._lock:
            return sum(segment.size for segment in self._all)

    def read(self, position: int) -> Iterator[records.Record]:
        """Give the safe records from a position on; of a segment, those that are safe when its turn comes.

        Args:
            position: where a record begins, or anything in the gap before it.

        Raises:
            OSError: anything the file system refuses.
        """
        with self._lock:
            segments = [segment for segment in self._all if segment.end > position]
        for segment in segments:
            for item in segment.decode(position):
                if isinstance(item, records.Record):
                    yield item
                elif item.begin not in self._damaged:
                    self._damaged.add(item.begin)
                    _log.error("the spool has become damaged: %d bytes are lost", item.end - item.begin)

    def append(self, data: bytes) -> None:
        """Append whole records and make them safe, or leave all as it was.

        Raises:
            OSError: anything the file system refuses.
        """
        if self._active and self._active.size >= self._segment_size:
            self.close()
        active = self._active or self._open()
        try:
            self._write(data)
            os.fsync(self._file)
            if not active.size:
                sync_folder(self._folder)
            if not os.fstat(self._file).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "somebody has removed its file")
        except OSError:
            self._undo(active)
            raise
        with self._lock:
            if not active.size:
                self._all.append(active)
            active.size = self._position - active.begin

    def _open(self) -> Segment:
        path = self._folder / f"{self._position:020d}-{secrets.token_hex(16)}.segment"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._active = Segment(path, 0)
        return self._active

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            count = os.write(self._file, rest)
            rest = rest[count:]
            self._position += count

    def _undo(self, active: Segment) -> None:
        """Take back what is not safe.

        After a failed fsync the kernel takes the data for written, though they are not, so the next write goes into
        another file. What cannot be taken back are records, whole or torn, that nobody was told to be safe.
        """
        with contextlib.suppress(OSError):
            if active.size:
                os.ftruncate(self._file, active.size)
            else:
                active.path.unlink()
        self.close()

    def close(self) -> None:
        """End the active segment; the next write begins another."""
        if self._active:
            os.close(self._file)
        self._active = None

    def free(self, position: int) -> None:
        """Remove the segments that lie below a position, but the active one.

        Raises:
            OSError: anything the file system refuses.
        """
        for segment in self._all.copy():
            if segment is not self._active and (segment.end <= position or not segment.size):
                segment.path.unlink(missing_ok=True)
                with self._lock:
                    self._all.remove(segment)
