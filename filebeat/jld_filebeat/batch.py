"""Events on their way: what is sent in one window, and how far files are done once it is acknowledged."""

from typing import Self

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
        self._marks: list[tuple[int, File, int, int]] = []

    @property
    def is_full(self) -> bool:
        """Whether no more events are to be added."""
        return len(self.events) >= EVENTS or self.size >= BYTES

    def add(self, event: bytes) -> None:
        """Add an event, a JSON object."""
        self.events.append(event)
        self.size += len(event)

    def extend(self, events: list[bytes], size: int) -> None:
        """Add events of that many bytes together."""
        self.events += events
        self.size += size

    @property
    def is_acknowledged(self) -> bool:
        """Whether the collector has all of the events."""
        return self.acknowledged == len(self.events)

    def mark(self, file: File) -> None:
        """Note how far a file is done once all events so far are acknowledged."""
        self._marks.append((len(self.events), file, file.resume, file.position))

    def follow(self, other: Self) -> None:
        """Take over the marks of what was read behind this and has no events."""
        self._marks += [(len(self.events), *mark[1:]) for mark in other._marks]
        if self.is_acknowledged:  # else batches before this may not be: their lines lie before these marks
            self.acknowledge(self.acknowledged)

    def acknowledge(self, count: int) -> None:
        """Take note that the collector has the first `count` events."""
        self.acknowledged = count
        done = [mark for mark in self._marks if mark[0] <= count]
        del self._marks[: len(done)]
        for _, file, offset, position in done:
            file.acknowledged = offset
            file.done = max(file.done, position)
