"""Events on their way: what is sent in one window, and how far files are done once it is acknowledged."""

from .file import File

EVENTS = 2048
"""Events of a window: Filebeat's default, which every collector takes."""

BYTES = 2**20
"""Bytes of a window's events; one more event may go beyond."""


class Batch:
    """Events of one window."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.size = 0
        """Bytes of the events."""
        self.acknowledged = 0
        """How many of the events the collector has."""
        self._marks: list[tuple[int, File, int]] = []

    @property
    def is_full(self) -> bool:
        """Whether no more events are to be added."""
        return len(self.events) >= EVENTS or self.size >= BYTES

    def add(self, event: bytes) -> None:
        """Add an event, a JSON object."""
        self.events.append(event)
        self.size += len(event)

    def mark(self, file: File) -> None:
        """Note that a file need not be read again up to where it is now, once all events so far are acknowledged."""
        self._marks.append((len(self.events), file, file.resume))

    def acknowledge(self, count: int) -> None:
        """Take note that the collector has the first `count` events."""
        self.acknowledged = count
        done = [mark for mark in self._marks if mark[0] <= count]
        del self._marks[: len(done)]
        for _, file, offset in done:
            file.acknowledged = offset
