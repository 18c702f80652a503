"""A followed file: who it is, and how far it was read, shipped and acknowledged."""

import hashlib
import os
import secrets
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .entry import NOWHERE, Cut, Entry
from .errors import RewrittenError
from .inputs import Format
from .source import GZIP, HEAD, Key, Source

TAIL = 4 * 2**10
"""Bytes before what was not read yet that tell whether another file is a copy, if it begins alike."""

LAST = 256
"""Bytes of these that are compared at each look: a file that was written anew can begin like the one before it."""


@dataclass(eq=False)
class Join:
    """A line that its writer cut into parts, of which the last has not come.

    The parts stay on disk until then, so that no writer of endless lines can fill the memory.

    Attributes:
        time: of the first part.
        parts: file, first byte and end of each part's line.
        size: bytes of all parts of the message, also of those that will be cut off.
        is_cut: whether some of them will be.
        holds: files, and from where each has to be read again as long as the last part has not come: its first part,
            or its beginning where earlier files have that. Whatever ended a line in between is read again too.
    """

    time: bytes
    parts: "list[tuple[File, int, int]]" = field(default_factory=list)
    size: int = 0
    is_cut: bool = False
    holds: "dict[File, int]" = field(default_factory=dict)

    def hold(self, file: "File", start: int) -> None:
        """Have a file read again from there as long as the last part has not come, unless it is from before."""
        if file not in self.holds:
            self.holds[file] = file.held[self] = start


class File:
    """A followed file, open whatever happens to its path.

    Args:
        source: its bytes; closed with this.
        path: where it was first seen.
        form: of its lines.
    """

    def __init__(self, source: Source, path: str, form: Format) -> None:
        self.source = source
        self.id = secrets.token_hex(16)
        self.path = path
        self.place = path
        """Where it was seen last."""
        self.format = form
        self.modified = source.stat()[1]
        """Time of the last change, in nanoseconds, as the file system has it."""
        self.size = -1
        """Bytes, when it was last looked at."""
        self.head = b""
        self.tail = b""
        """Bytes before the position."""
        self._digest = (b"", _digest(b""))
        """Bytes before the position as they were at some time, with their digest."""
        self.position = 0
        """First byte that was not read into an event or a join."""
        self.scanned = 0
        """Up to here there is no end of the line that begins at the position."""
        self.acknowledged = 0
        """From here it has to be read again after a restart."""
        self.done = 0
        """All events that end before are acknowledged."""
        self.once_read = (0, "")
        """Where it was read up to before a restart, and the digest of the last bytes before."""
        self.cuts: tuple[Cut, ...] = ()
        """Those that matter until what is before is acknowledged, in order."""
        self.saved_cuts: tuple[Cut, ...] = ()
        """Those that are on disk: after a restart the same lines have to end there."""
        self.joins: dict[bytes, Join] = {}
        self.held: dict[Join, int] = {}
        self.is_registered = False
        """Whether its id is on disk: before, none of its events may leave."""
        self.previous: File | None = None
        self.previous_id: str | None = None
        self.heir: File | None = None
        """The file that its last lines may be continued in."""
        self.order = 0.0
        """Its place among the files that were the same log, the higher the later; 0 before that was found out."""
        self.is_away = False
        """Whether it was rotated, renamed or removed."""
        self.is_gone = False
        """Whether it is at no path at all."""
        self.is_failed = False
        """Whether it could not be read the last time."""
        self.changed = time.monotonic()
        """When a change was last noticed, or the loss of its path."""

    @property
    def key(self) -> Key:
        """Device and inode."""
        return self.source.key

    @property
    def resume(self) -> int:
        """From where it would have to be read again if all events so far were acknowledged."""
        return min(self.held.values(), default=self.position)

    @property
    def furthest(self) -> int:
        """Up to where it was ever read, in bytes: what is behind has no event."""
        return max(self.position, self.once_read[0])

    @property
    def is_read(self) -> bool:
        """Whether all that was there at the last look is read, an unfinished last line aside."""
        return self.size <= max(self.position, self.scanned) and self.source.is_ended

    @property
    def has_rest(self) -> bool:
        """Whether there is an unfinished last line, or parts of one that no other file continues."""
        return self.position < self.size or (bool(self.joins) and self.heir is None)

    @property
    def is_done(self) -> bool:
        """Whether all of it is shipped and acknowledged."""
        return self.is_read and self.size <= self.position and not self.held and self.acknowledged == self.position

    @property
    def is_saved(self) -> bool:
        """Whether what it is known by is on disk, so that it may be read."""
        return self.is_registered and self.saved_cuts == self.cuts

    @property
    def ends_parts(self) -> bool:
        """Whether lines of which only parts are there end at the position."""
        return bool(self.joins) and any(cut.has_parts and cut.offset == self.position for cut in self.cuts)

    def cut(self) -> None:
        """Have what is left end where the file ends."""
        before = (cut for cut in self.cuts if self.acknowledged <= cut.offset < self.size)
        self.cuts = (*before, Cut(self.size, has_parts=self.heir is None))

    def look(self) -> bool:
        """Notice what has changed, and say whether anything has.

        Raises:
            RewrittenError: it is shorter than what was read of it.
            OSError: it cannot be read.
        """
        size, modified = self.source.stat()
        if size < max(self.position, self.scanned, self.done, len(self.head)):
            raise RewrittenError
        if (size, modified) == (self.size, self.modified):
            return False
        if size == self.size > 0 and not self.source.is_compressed and self.source.pread(1, size - 1) == b"\0":
            self.scanned = self.position  # it was made longer before, and is filled in now
        self.size, self.modified = size, modified
        self.changed = time.monotonic()
        self.check()
        return True

    def check(self) -> None:
        """See that it has what it began with, and what was read last; note more of the beginning if there is more.

        Raises:
            RewrittenError: there is something else.
            OSError: it cannot be read.
        """
        head = self.source.pread(HEAD, 0)
        if not head.startswith(self.head):
            raise RewrittenError
        last = self.tail[-LAST:]
        if last and not self.source.is_compressed and self.source.pread(len(last), self.position - len(last)) != last:
            raise RewrittenError
        self.head = head.rstrip(b"\0") or head  # that may be where nothing was written yet

    def reach(self) -> bool:
        """Get nearer to the position, and say whether it can be read from there; one call does not take long.

        Raises:
            RewrittenError: it is shorter than what was read of it.
            OSError: it cannot be read.
        """
        if self.tail or not self.source.is_compressed:
            return self.source.reach(self.position)
        size = min(TAIL, self.position)
        if not self.source.reach(self.position - size):
            return False
        self.tail = self.source.pread(size, self.position - size)
        if len(self.tail) < size:
            raise RewrittenError
        return True

    def advance(self, chunk: bytes, begin: int) -> None:
        """Remember the bytes before the position.

        Args:
            chunk: bytes that were read, those up to the position among them.
            begin: where they begin, in bytes.
        """
        read = self.position - begin
        before = self.tail[max(0, len(self.tail) + read - TAIL) :] if read < TAIL else b""
        self.tail = before + chunk[max(0, read - TAIL) : read]

    def entry(self, previous: str | None) -> Entry:
        """Give what the registry keeps.

        Args:
            previous: id of the file that its first lines may continue.
        """
        if self._digest[0] is not self.tail:
            self._digest = self.tail, _digest(self.tail)
        is_open = self.source.is_open or self.source.is_compressed
        return Entry(
            id=self.id,
            device=(self.key if is_open else NOWHERE)[0],
            inode=(self.key if is_open else NOWHERE)[1],
            generation=self.source.generation,
            path=self.path,
            format=self.format,
            offset=self.acknowledged,
            done=self.done,
            head=len(self.head),
            digest=_digest(self.head),
            previous=previous,
            read=self.furthest,
            ends=self._digest[1] if self.position > self.once_read[0] else self.once_read[1],
            cuts=self.cuts,
            place=self.place,
        )

    def claim(self, entry: Entry) -> bool:
        """Take over what the registry kept, if that was this file, and say whether it was.

        Raises:
            OSError: it cannot be read.
        """
        head = self.source.pread(entry.head, 0)
        if (entry.key, entry.generation) != (self.key, self.source.generation) or _digest(head) != entry.digest:
            return False
        if not self.source.is_compressed:
            size = self.source.stat()[0]
            if size < max(entry.offset, entry.done):
                return False
            if size < entry.read:
                # A power cut took what was not on disk: what comes there now is not what was read.
                entry = replace(entry, read=0, ends="")
            if entry.read and not self.ends_with(entry.read, entry.ends):
                return False
        self._take_over(entry, head)
        return True

    def claim_copy(self, entry: Entry) -> bool:
        """Take over what the registry kept of another file, if this is a copy of it, and say whether it is.

        Raises:
            OSError: it cannot be read.
        """
        head = self.source.pread(entry.head, 0)
        if _digest(head) != entry.digest or (entry.read and not self.ends_with(entry.read, entry.ends)):
            return False
        self._take_over(entry, head)
        return True

    def _take_over(self, entry: Entry, head: bytes) -> None:
        self.id, self.path, self.format, self.head = entry.id, entry.path, entry.format, head
        self.begin(entry.offset, entry.done)
        self.once_read = entry.read, entry.ends
        self.cuts = self.saved_cuts = entry.cuts
        self.previous_id = entry.previous
        self.is_registered = True

    def begin(self, offset: int, done: int) -> None:
        """Go on at an offset.

        Args:
            offset: from where it is read, in bytes.
            done: up to where its lines were shipped, in bytes.

        Raises:
            OSError: what is before cannot be read.
        """
        self.position = self.scanned = self.acknowledged = offset
        self.done = done
        self.source.begin(offset)
        if not self.source.is_whole(offset) and not self.source.is_compressed:
            self.tail = self.source.pread(min(TAIL, offset), max(0, offset - TAIL))

    def compare(self, other: "File") -> int:
        """Tell how many of the bytes that were read another file has too; 0 if it is no copy of this one.

        Raises:
            OSError: the other one cannot be read.
        """
        head = other.source.pread(len(self.head), 0)
        if not head or not self.head.startswith(head):
            return 0
        if other.path == self.place + GZIP and other.source.is_whole(self.furthest):
            return self.furthest
        if self.position < self.furthest:
            return self.furthest if other.ends_with(*self.once_read) else 0
        begin = self.position - len(self.tail)
        found = other.source.pread(len(self.tail), begin)
        return begin + len(found) if found and self.tail.startswith(found) else 0

    def ends_with(self, read: int, digest: str) -> bool:
        """Whether the last bytes before an offset have a digest.

        Raises:
            OSError: they cannot be read.
        """
        size = min(TAIL, read)
        tail = self.source.pread(size, read - size)
        return bool(read) and len(tail) == size and _digest(tail) == digest

    def move(self, other: "File") -> None:
        """Go on in a copy, which has all that was read."""
        self.source.close()
        self.source, self.place, self.modified = other.source, other.path, -1
        self.changed = time.monotonic()

    def again(self) -> "File":
        """Give the same file as a new one: what was read of it is no longer there."""
        new = File(self.source.again(), self.path, self.format)
        new.place, new.is_away, new.is_gone = self.place, self.is_away, self.is_gone
        return new

    def describe(self) -> dict[str, Any]:
        """Tell what an event says about the file itself."""
        return {"path": text_of(self.path)}


def text_of(path: str | Path) -> str:
    """Give a path as text that JSON can hold: its names need not be UTF-8."""
    return os.fsencode(path).decode(errors="replace")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
