"""A followed file: who it is, and how far it was read, shipped and acknowledged."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .errors import RewrittenError
from .inputs import Format

HEAD = 1024
"""Bytes at the beginning of a file that tell it from another one at the same inode."""

_GET_GENERATION = 0x80087601
"""FS_IOC_GETVERSION (ioctl_fs(2)): ext4, XFS and btrfs count or draw a number for each new use of an inode."""

Key = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True)
class Entry:
    """What the registry keeps of a file.

    Attributes:
        id: 128 random bits in hexadecimal digits.
        device: where its inode is.
        inode: number of its inode.
        generation: of the inode, None where the file system tells none.
        path: where it was first seen.
        format: of its lines.
        offset: from where it has to be read again after a restart, in bytes.
        done: up to where its lines were shipped then, in bytes; before, only parts of unfinished lines are of interest.
        head: length of its beginning that is known, in bytes.
        digest: SHA-256 of that beginning.
        previous: id of the file that its first lines may continue.
    """

    id: str
    device: int
    inode: int
    generation: int | None
    path: str
    format: Format
    offset: int
    done: int
    head: int
    digest: str
    previous: str | None

    @property
    def key(self) -> Key:
        """Device and inode."""
        return self.device, self.inode


@dataclass(eq=False)
class Join:
    """A line that its writer cut into parts, of which the last has not come.

    The parts stay on disk until then, so that no writer of endless lines can fill the memory.

    Attributes:
        time: of the first part.
        parts: file, first byte and end of each part's line.
        size: bytes of all parts of the message, also of those that will be cut off.
        holds: files, and from where each has to be read again as long as the last part has not come: its first part,
            or its beginning where earlier files have that. Whatever ended a line in between is read again too.
    """

    time: bytes
    parts: "list[tuple[File, int, int]]" = field(default_factory=list)
    size: int = 0
    holds: "dict[File, int]" = field(default_factory=dict)

    def hold(self, file: "File", start: int) -> None:
        """Have a file read again from there as long as the last part has not come, unless it is from before."""
        if file not in self.holds:
            self.holds[file] = file.held[self] = start


class File:
    """A file, through a descriptor that stays open, whatever happens to its path.

    Args:
        descriptor: open for reading; closed with this.
        path: where it was first seen.
        form: of its lines.
        identity: its id, new unless given.
    """

    def __init__(self, descriptor: int, path: str, form: Format, identity: str | None = None) -> None:
        found = os.fstat(descriptor)
        self.descriptor = descriptor
        self.id = identity or secrets.token_hex(16)
        self.path = path
        self.format = form
        self.key: Key = (found.st_dev, found.st_ino)
        self.generation = _generation(descriptor)
        self.modified = found.st_mtime_ns
        """Time of the last change, in nanoseconds, as the file system has it."""
        self.size = -1
        """Bytes, when it was last looked at."""
        self.head = b""
        self.position = 0
        """First byte that was not read into an event or a join."""
        self.scanned = 0
        """Up to here there is no end of the line that begins at the position."""
        self.acknowledged = 0
        """From here it has to be read again after a restart."""
        self.done = 0
        """All events that end before are acknowledged."""
        self.joins: dict[bytes, Join] = {}
        self.held: dict[Join, int] = {}
        self.is_registered = False
        """Whether its id is on disk: before, none of its events may leave."""
        self.previous: File | None = None
        self.previous_id: str | None = None
        self.heir: File | None = None
        """The file that its last lines may be continued in."""
        self.is_away = False
        """Whether it is not at the path where it was first seen."""
        self.is_gone = False
        """Whether it is at no path at all."""
        self.is_failed = False
        """Whether it could not be read the last time."""
        self.is_final = False
        """Whether what is left of it is shipped though no line ends there."""
        self.changed = time.monotonic()
        """When a change was last noticed, or the loss of its path."""

    @classmethod
    def open(cls, path: str, form: Format) -> Self:
        """Open a file.

        Raises:
            OSError: it cannot be opened.
        """
        # A FIFO that has taken its place must not make the shipper wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return cls(descriptor, path, form)
        except OSError:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Close the descriptor; nothing can be read any more."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    @property
    def resume(self) -> int:
        """From where it would have to be read again if all events so far were acknowledged."""
        return min(self.held.values(), default=self.position)

    @property
    def is_read(self) -> bool:
        """Whether all that was there at the last look is read, an unfinished last line aside."""
        return self.size <= max(self.position, self.scanned)

    @property
    def has_rest(self) -> bool:
        """Whether there is an unfinished last line, or parts of one that no other file continues."""
        return self.position < self.size or (bool(self.joins) and self.heir is None)

    @property
    def is_done(self) -> bool:
        """Whether all of it is shipped and acknowledged."""
        return self.size <= self.position and not self.held and self.acknowledged == self.position

    def look(self) -> bool:
        """Notice what has changed, and say whether anything has.

        Raises:
            RewrittenError: it is shorter than what was read of it.
            OSError: it cannot be read.
        """
        found = os.fstat(self.descriptor)
        if found.st_size < max(self.position, self.scanned, self.done, len(self.head)):
            raise RewrittenError
        if (found.st_size, found.st_mtime_ns) == (self.size, self.modified):
            return False
        self.size, self.modified = found.st_size, found.st_mtime_ns
        self.changed = time.monotonic()
        self.is_final = False
        self.check_head()
        return True

    def check_head(self) -> None:
        """See that it still begins with what it began with, and remember more of that where there is more.

        Raises:
            RewrittenError: it begins with something else.
            OSError: it cannot be read.
        """
        head = os.pread(self.descriptor, HEAD, 0)
        if not head.startswith(self.head):
            raise RewrittenError
        self.head = head

    def entry(self, previous: str | None) -> Entry:
        """Give what the registry keeps.

        Args:
            previous: id of the file that its first lines may continue.
        """
        return Entry(
            id=self.id,
            device=self.key[0],
            inode=self.key[1],
            generation=self.generation,
            path=self.path,
            format=self.format,
            offset=self.acknowledged,
            done=self.done,
            head=len(self.head),
            digest=hashlib.sha256(self.head).hexdigest(),
            previous=previous,
        )

    def claim(self, entry: Entry) -> bool:
        """Take over what the registry kept, if that was this file, and say whether it was."""
        head = os.pread(self.descriptor, entry.head, 0)
        if (
            (entry.key, entry.generation) != (self.key, self.generation)
            or os.fstat(self.descriptor).st_size < max(entry.offset, entry.done)
            or hashlib.sha256(head).hexdigest() != entry.digest
        ):
            return False
        self.id, self.path, self.format, self.head = entry.id, entry.path, entry.format, head
        self.position = self.scanned = self.acknowledged = entry.offset
        self.done = entry.done
        self.previous_id = entry.previous
        self.is_registered = True
        return True

    def again(self) -> "File":
        """Give the same file as a new one: what was read of it is no longer there."""
        new = File(os.dup(self.descriptor), self.path, self.format)
        new.is_away, new.is_gone = self.is_away, self.is_gone
        return new

    def describe(self) -> dict[str, Any]:
        """Tell what an event says about the file itself."""
        return {"path": text_of(self.path)}


def text_of(path: str | Path) -> str:
    """Give a path as text that JSON can hold: its names need not be UTF-8."""
    return os.fsencode(path).decode(errors="replace")


def _generation(descriptor: int) -> int | None:
    number = bytearray(8)
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, _GET_GENERATION, number)
        return int.from_bytes(number[:4], sys.byteorder)
    return None
