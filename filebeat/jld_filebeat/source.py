"""Where the bytes of a followed file come from: the file itself, or what it was compressed from."""

import contextlib
import errno
import fcntl
import os
import sys
import zlib
from typing import Self

GZIP = ".gz"
"""How names of compressed files end."""

HEAD = 1024
"""Bytes at the beginning of a file that tell it from another one at the same inode."""

_GET_GENERATION = 0x80087601
"""FS_IOC_GETVERSION (ioctl_fs(2)): ext4, XFS and btrfs count or draw a number for each new use of an inode."""

_PIECE = 64 * 2**10
"""Compressed bytes that are read at a time."""

_BEHIND = 256 * 2**10
"""Inflated bytes that stay at hand: parts of a line are read once more when its last one is there."""

_STEP = 16 * 2**20
"""Inflated bytes after which everything else has its turn."""

Key = tuple[int, int]
"""Device and inode."""


class Source:
    """A file as it is.

    Args:
        descriptor: open for reading; closed with this.
    """

    is_compressed = False
    is_ended = True
    """Whether its size is that of all that is there."""

    def __init__(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self._descriptor = descriptor
        self.key: Key = (found.st_dev, found.st_ino)
        self.generation = _generation(descriptor)

    @staticmethod
    def open(path: str) -> "Source":
        """Open a file.

        Raises:
            OSError: it cannot be opened.
        """
        kind = Compressed if path.endswith(GZIP) else Source
        # A FIFO that has taken its place must not make the shipper wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return kind(descriptor)
        except OSError:
            os.close(descriptor)
            raise

    @property
    def is_void(self) -> bool:
        """Whether there is nothing in it, and never will be."""
        return False

    @property
    def is_open(self) -> bool:
        """Whether something can be read."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Close the descriptor; nothing can be read any more."""
        if self.is_open:
            os.close(self._descriptor)
        self._descriptor = -1

    def is_at(self, found: os.stat_result) -> bool:  # noqa: ARG002 # no other one is, as long as this is open
        """Whether it is what was found at its inode."""
        return self.is_open

    def again(self) -> Self:
        """Give the same file once more, with a descriptor of its own."""
        return type(self)(os.dup(self._descriptor))

    def stat(self) -> tuple[int, int]:
        """Give size in bytes, and time of the last change in nanoseconds as the file system has it.

        Raises:
            OSError: it cannot be told.
        """
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns

    def pread(self, size: int, offset: int) -> bytes:
        """Give bytes; fewer only where they end.

        Raises:
            OSError: they cannot be read.
        """
        return os.pread(self._descriptor, size, offset)

    def reach(self, offset: int) -> bool:  # noqa: ARG002 # of a compressed one
        """Get nearer to an offset, and say whether what is there can be read without much work.

        Raises:
            OSError: what is before cannot be read.
        """
        return True

    def begin(self, offset: int) -> None:
        """Take note that it has that many bytes at least."""

    def is_whole(self, size: int) -> bool:  # noqa: ARG002 # a compressed one tells its size
        """Whether it is known, without reading it, to have that many bytes and to get no more."""
        return False

    def rest(self) -> None:
        """Keep nothing in memory until it is read again."""


class Compressed(Source):
    """What a file of gzip (RFC 1952) was made from.

    It is inflated anew from its beginning for what lies far behind; that is read for lines of many parts only.
    """

    is_compressed = True

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.is_ended = False
        self._size = 0
        """Bytes that are known to be in it."""
        self._first = b""
        self._last = (-1, -1)
        """Its own size in bytes, and the time of its last change in nanoseconds, when it was closed."""
        self._begin()

    def _begin(self) -> None:
        self._raw = 0
        self._zlib = zlib.decompressobj(wbits=31)
        self._kept = bytearray()
        self._start = 0
        """Where the bytes that are kept begin."""
        self._told = 0
        """Up to where there was nothing more when it was read last, though it was not over."""
        self._is_over = False
        """Whether all was inflated, since the beginning."""

    @property
    def is_void(self) -> bool:
        """Whether there is nothing in it, and never will be."""
        return self.is_ended and self._size == 0

    def rest(self) -> None:
        """Keep nothing in memory until it is read again."""
        self._begin()

    def close(self) -> None:
        """Close the descriptor: the inode may become another file's."""
        if self.is_open:
            found = os.fstat(self._descriptor)
            self._last = found.st_size, found.st_mtime_ns
            self.rest()
        super().close()

    def is_at(self, found: os.stat_result) -> bool:
        """Whether it is what was found at its inode."""
        return self.is_open or (found.st_size, found.st_mtime_ns) == self._last

    def reach(self, offset: int) -> bool:
        """Inflate a step of what is before an offset, and say whether that was all.

        Raises:
            OSError: it cannot be read, or is damaged.
        """
        if offset < self._start:
            self._begin()
        return not self._go(offset, 0, _STEP)

    def begin(self, offset: int) -> None:
        """Take note that it has that many bytes at least."""
        self._size = max(self._size, offset)

    def is_whole(self, size: int) -> bool:
        """Whether it says at its end that it has that many bytes; they are not inflated for that."""
        last = os.pread(self._descriptor, 4, max(0, super().stat()[0] - 4))
        if not size or int.from_bytes(last, "little") != size % 2**32:
            return False
        self._size, self.is_ended = size, True
        return True

    def stat(self) -> tuple[int, int]:
        """Give the bytes that it is known to have, and the time of the last change of the file in nanoseconds."""
        return self._size, super().stat()[1]

    def pread(self, size: int, offset: int) -> bytes:
        """Give bytes; fewer only where they end, or where the file is not written any further.

        Raises:
            OSError: they cannot be read, or are damaged, or are not there yet.
        """
        if offset + size <= len(self._first):  # each read looks at the beginning too
            return self._first[offset : offset + size]
        if offset < self._start:
            self._begin()
        self._go(offset, size, sys.maxsize)
        begin = offset - self._start
        found = bytes(self._kept[begin : begin + size])
        if len(found) < size and not self._is_over:
            if self._told == self._end:
                raise OSError(errno.ENODATA, "its gzip data are not complete")
            self._told = self._end
        return found

    @property
    def _end(self) -> int:
        """Up to where it is inflated."""
        return self._start + len(self._kept)

    def _go(self, offset: int, size: int, most: int) -> bool:
        """Inflate up to the end of that many bytes at an offset, and say whether it was left off: that is too much."""
        until = self._end + most
        while not self._is_over and self._end < offset + size:
            if self._end >= until:
                return True
            if not self._inflate():
                break
            behind = len(self._kept) - _BEHIND - size
            if behind > _BEHIND and self._start + behind < offset:
                del self._kept[:behind]
                self._start += behind
        return False

    def _inflate(self) -> bool:
        """Inflate a piece, and say whether there was one."""
        if self._zlib.eof:
            # A file may be several of them, one behind the other; what else follows is filling.
            rest = self._zlib.unused_data or self._more()
            if not rest.startswith(b"\x1f"):
                self._is_over = self.is_ended = True
                return False
            self._zlib = zlib.decompressobj(wbits=31)
        else:
            rest = self._zlib.unconsumed_tail or self._more()
        try:
            piece = self._zlib.decompress(rest, _BEHIND)
        except zlib.error as error:
            raise OSError(errno.EBADMSG, "its gzip data are damaged") from error
        self._kept += piece
        self._size = max(self._size, self._start + len(self._kept))
        if self._start == 0 and len(self._first) < HEAD:
            self._first = bytes(self._kept[:HEAD])
        return bool(rest or piece)

    def _more(self) -> bytes:
        rest = os.pread(self._descriptor, _PIECE, self._raw)
        self._raw += len(rest)
        return rest


def _generation(descriptor: int) -> int | None:
    number = bytearray(8)
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, _GET_GENERATION, number)
        return int.from_bytes(number[:4], sys.byteorder)
    return None
