"""The form of the spool: a record for each event.

    FF FF  length  CRC-32  length of the id  id  event

Lengths and checksum are unsigned, 32 bits, little-endian, but that of the id, one byte; length and checksum are of all
that follows them. FF is in no UTF-8, so that after a damaged record the next one can be found.
"""

import struct
import zlib
from collections.abc import Iterator

_MARK = b"\xff\xff"
_HEADER = struct.Struct("<2sII")

ID_LIMIT = 255
"""Bytes of an id: what a `message_id` can have (AMQP 0-9-1, section 4.2.5.3: short strings)."""


class Record:
    """An event in the spool.

    Attributes:
        begin: its position in the spool.
        end: the position after it.
        id: its own id; empty when it has none.
        has_own_id: whether that was so when it was read.
        event: JSON.
        is_confirmed: whether its receiver has it.
    """

    __slots__ = ("begin", "end", "event", "has_own_id", "id", "is_confirmed")

    def __init__(self, begin: int, end: int, identity: bytes, event: bytes) -> None:
        self.begin = begin
        self.end = end
        self.id = identity
        self.has_own_id = bool(identity)
        self.event = event
        self.is_confirmed = False


class Damage:
    """Bytes in the spool that are no record, from one position to another."""

    __slots__ = ("begin", "end")

    def __init__(self, begin: int, end: int) -> None:
        self.begin = begin
        self.end = end


def encode(identity: bytes, event: bytes) -> bytes:
    """Write a record.

    Args:
        identity: the event's id, at most ID_LIMIT bytes; empty when it has none.
        event: JSON.
    """
    content = b"%c%b%b" % (len(identity), identity, event)
    return _HEADER.pack(_MARK, len(content), zlib.crc32(content)) + content


def decode(data: bytes, position: int) -> Iterator[Record | Damage]:
    """Read records.

    Args:
        data: whole records, if they are not damaged.
        position: where data begins in the spool.
    """
    view, size = memoryview(data), len(data)
    begin = 0
    while begin < size:
        start = begin + _HEADER.size
        # What _next does too is written out here: this is run for each event.
        if start < size:
            mark, length, checksum = _HEADER.unpack_from(data, begin)
            end = start + length
            if mark == _MARK and length and end <= size and zlib.crc32(view[start:end]) == checksum:
                event = start + 1 + data[start]
                yield Record(position + begin, position + end, data[start + 1 : event], data[event:end])
                begin = end
                continue
        begin, damage = _next(data, begin + 1), begin
        yield Damage(position + damage, position + begin)


def _next(data: bytes, begin: int) -> int:
    """Find where the next record begins that is not damaged; the end, when there is none."""
    while (begin := data.find(_MARK, begin)) >= 0:
        start = begin + _HEADER.size
        if start < len(data):
            _, length, checksum = _HEADER.unpack_from(data, begin)
            if length and start + length <= len(data) and zlib.crc32(data[start : start + length]) == checksum:
                return begin
        begin += 1
    return len(data)
