"""The lumberjack protocol, v1 and v2 (Beats), as bytes: no sockets here.

Its source is Elastic's code: `protocol` of elastic/go-lumber, and BeatsParser of logstash-input-beats. All numbers are
unsigned, 32 bits, big-endian; each frame begins with its version and its type, one byte each:

    2W count        window: that many events follow, to be acknowledged together
    2J seq len ...  an event, a JSON object
    2C len ...      zlib data, whole frames inside
    2A seq          acknowledgement, from the server; 0 only says that it is alive
    1W 1C 1A        the same in v1, which knows no sign of life
    1D seq count    an event of v1: so many pairs of name and value, each of both a length and text
"""

import struct
import zlib
from typing import NamedTuple

import orjson

from .errors import ProtocolError

WINDOW_LIMIT = 65_536
"""Events of a window; Filebeat's have 2,048."""

EVENT_LIMIT = 15 * 2**20
"""Bytes of an event: with what is added to it, it must stay below the 16 MiB that RabbitMQ 4 takes by default."""

COMPRESSED_LIMIT = 256 * 2**20
"""Bytes of a compressed frame, inflated. It is inflated piece by piece, so that this bounds time, not memory; a limit
of the ratio would do neither, and refuse honest logs, as blanks shrink to a thousandth."""

WINDOWS_LIMIT = 1024
"""Windows in a compressed frame, which has WINDOW_LIMIT events at the most: as a rule there is one window in it, and a
few bytes must not make work for a minute."""

PAIRS_LIMIT = 1024
"""Pairs of an event of v1."""

LARGE_SIZE = 2**16
"""Bytes of an event that is not whole yet, beyond which no more of a compressed frame is inflated unasked."""

_OVERHEAD = 64
"""Bytes that an event takes in memory beside its own, about."""

_PIECE = 2**17

_HEADER = struct.Struct(">2sI")
_EVENT_HEADER = struct.Struct(">2sII")
_LENGTH = struct.Struct(">I")


class Part(NamedTuple):
    """Events of one window, in order; mostly all of them.

    Attributes:
        events: JSON, not parsed yet.
        acknowledge: the sequence number to send once these and all before them are safe; None where the window goes on.
        version: the protocol's, in which to answer.
    """

    events: list[bytes]
    acknowledge: int | None
    version: bytes = b"2"


def acknowledgement(sequence: int, version: bytes = b"2") -> bytes:
    """Write the frame that says that events are safe up to a sequence number, or with 0, that they are waited for."""
    return _HEADER.pack(version + b"A", sequence)


class Decoder:
    """Takes what arrives on one connection, in pieces of any size, and gives events.

    Attributes:
        version: the protocol's version of the last window.
    """

    def __init__(self) -> None:
        self.version = b"2"
        self._wire = bytearray()
        self._plain = bytearray()
        self._zlib: zlib._Decompress | None = None
        self._compressed = 0
        """Bytes of the compressed frame that have not been taken from the wire."""
        self._inflated = self._windows = self._count = 0
        """Bytes, windows and events of the compressed frame so far."""
        self._has_more = False
        """Whether the inflater may give more without being given any."""
        self._held: Part | None = None
        """What may be given once the checksum of its frame has come."""
        self._events: list[bytes] = []
        self._size = self._last_size = 0
        """Bytes of these, and of the part before."""
        self._wanted = 0
        """Bytes that must be there before another look at what is not whole yet is worth it."""
        self._missing = 0
        """Events that the window still waits for."""
        self._sequence: int | None = None
        """Highest number of the window so far, None before its first event."""

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._wire += data

    @property
    def is_idle(self) -> bool:
        """Whether nothing has begun that has not ended."""
        return not self._wire and not self._zlib and not self._missing

    @property
    def begun(self) -> int:
        """Bytes of what is not whole yet, and so cannot be given."""
        return len(self._wire) + len(self._plain)

    @property
    def held(self) -> int:
        """Bytes of all that has not been given, with what they take in memory beside."""
        return self.begun + self._size + (self._last_size if self._held else 0)

    def take(self, size: int, *, is_large: bool = True) -> Part | None:
        """Give the next events of what was fed, None when more has to be fed first.

        Args:
            size: bytes in memory of events after which a window is given in parts.
            is_large: whether to inflate what an event needs that is longer than LARGE_SIZE. If not, None may also mean
                that there is one: `begun` tells.

        Raises:
            ProtocolError: it is not the protocol, or beyond its limits. The connection is of no use any more.
        """
        while True:
            if not self._held:
                self._held = self._parse(self._plain if self._zlib else self._wire, size)
            # What a compressed frame ends with is given only after its checksum has been seen to be right.
            if self._held and (self._plain or not self._zlib):
                part, self._held = self._held, None
                return part
            if not self._zlib or not (is_large or len(self._plain) <= LARGE_SIZE) or not self._inflate(self._zlib):
                return None

    def flush(self) -> Part | None:
        """Give what a window has so far, None when that is nothing."""
        if self._held and self._held.events:
            part, self._held, self._last_size = self._held, self._held._replace(events=[]), 0
            return part._replace(acknowledge=None)
        return self._cut(None) if self._events else None

    def _parse(self, buffer: bytearray, size: int) -> Part | None:
        """Take whole frames from the front, up to the end of a part or the begin of a compressed frame."""
        if len(buffer) < self._wanted:
            return None
        position, part, self._wanted = 0, None, 0
        with memoryview(buffer) as view:
            while not part and len(view) - position >= _HEADER.size:
                kind, number = _HEADER.unpack_from(view, position)
                if kind in {b"2J", b"1D", b"1J"}:
                    take = self._take_pairs if kind == b"1D" else self._take_objects
                    end = take(view, position, size)
                    if end == position:
                        break
                    position, part = end, self._cut_if_full(size)
                    if self._zlib and self._count > WINDOW_LIMIT:
                        raise ProtocolError(f"a compressed frame of more than {WINDOW_LIMIT} events")
                    continue
                position += _HEADER.size
                if kind in {b"2W", b"1W"}:
                    part = self._open_window(number, kind[:1])
                elif kind in {b"2C", b"1C"}:
                    self._open_compressed(number)
                    break
                else:
                    raise ProtocolError(f"a frame begins with {kind!r}, which is none of 2W, 2J, 2C, 1W, 1D and 1C")
        del buffer[:position]
        return part

    def _take_objects(self, view: memoryview, position: int, size: int) -> int:
        """Take whole events in JSON up to the end of a part, and tell where they end. It is run for each event."""
        header, length_of_header, last = _EVENT_HEADER.unpack_from, _EVENT_HEADER.size, len(view)
        events, taken, missing, highest = self._events, self._size, self._missing, self._sequence or 0
        count = 0
        while last - position >= length_of_header:
            kind, sequence, length = header(view, position)
            if kind not in {b"2J", b"1J"}:
                break
            if not 0 < length <= EVENT_LIMIT:
                raise ProtocolError(f"an event of {length} bytes; 1 to {EVENT_LIMIT} are taken")
            begin = position + length_of_header
            if begin + length > last:
                break
            if count == missing:
                if count:
                    break
                raise ProtocolError("an event outside of a window")
            position = begin + length
            events.append(bytes(view[begin:position]))
            count += 1
            if sequence > highest:  # noqa: PLR1730 a call would cost more
                highest = sequence
            taken += length + _OVERHEAD
            if taken >= size:
                break
        if count:
            self._size, self._missing, self._sequence = taken, missing - count, highest
            self._count += count
        return position

    def _take_pairs(self, view: memoryview, position: int, _: int) -> int:
        """Take an event of v1, if it is there as a whole, and tell where it ends."""
        if len(view) - position < _EVENT_HEADER.size:
            return position
        _, sequence, count = _EVENT_HEADER.unpack_from(view, position)
        if not 0 < count <= PAIRS_LIMIT:
            raise ProtocolError(f"an event of {count} pairs; 1 to {PAIRS_LIMIT} are taken")
        end = position + _EVENT_HEADER.size
        least = end + 2 * count * _LENGTH.size
        texts: list[tuple[int, int]] = []
        # Only lengths are looked at before all is there, and that not for each byte that comes.
        while len(texts) < 2 * count and end + _LENGTH.size <= len(view):
            begin = end + _LENGTH.size
            end = begin + _LENGTH.unpack_from(view, end)[0]
            least += end - begin
            texts.append((begin, end))
            if least - position > EVENT_LIMIT:
                raise ProtocolError(f"an event of {least - position} bytes; up to {EVENT_LIMIT} are taken")
        if least > len(view):
            self._wanted = least - position
            return position
        if not self._missing:
            raise ProtocolError("an event outside of a window")
        found = [str(view[begin:end], errors="replace") for begin, end in texts]  # v1 says nothing of an encoding
        event = orjson.dumps(dict(zip(found[::2], found[1::2], strict=True)))
        if len(event) > EVENT_LIMIT:  # a byte may take six
            raise ProtocolError(f"an event of {len(event)} bytes as JSON; up to {EVENT_LIMIT} are taken")
        self._events.append(event)
        self._size += end - position + _OVERHEAD
        self._sequence = max(self._sequence or 0, sequence)
        self._missing -= 1
        self._count += 1
        return end

    def _cut_if_full(self, size: int) -> Part | None:
        if not self._missing:
            return self._cut(self._sequence)
        return self._cut(None) if self._size >= size else None

    def _open_window(self, count: int, version: bytes) -> Part | None:
        if count > WINDOW_LIMIT:
            raise ProtocolError(f"a window of {count} events; up to {WINDOW_LIMIT} are taken")
        self._windows += 1
        if self._zlib and self._windows > WINDOWS_LIMIT:
            raise ProtocolError(f"a compressed frame of more than {WINDOWS_LIMIT} windows")
        # A window that begins before the last one was full ends that one; an empty one is acknowledged at once.
        part = self._cut(self._sequence) if self._missing and self._sequence is not None else None
        self._missing, self.version = count, version
        return part if count or part else self._cut(0)

    def _cut(self, acknowledge: int | None) -> Part:
        part = Part(self._events, acknowledge, self.version)
        self._events, self._size, self._last_size = [], 0, self._size
        if acknowledge is not None:
            self._sequence = None
        return part

    def _open_compressed(self, length: int) -> None:
        if self._zlib:
            raise ProtocolError("a compressed frame inside a compressed frame")
        if not 0 < length <= COMPRESSED_LIMIT:
            raise ProtocolError(f"a compressed frame of {length} bytes; 1 to {COMPRESSED_LIMIT} are taken")
        self._zlib, self._compressed, self._has_more = zlib.decompressobj(), length, False
        self._inflated = self._windows = self._count = 0

    def _inflate(self, inflater: "zlib._Decompress") -> bool:
        """Inflate the next piece, or end the compressed frame; tell whether there was anything to do."""
        if inflater.eof:
            if self._compressed or inflater.unused_data or self._plain:
                raise ProtocolError("a compressed frame whose content ends elsewhere than the frame")
            self._zlib = None
            return True
        data = inflater.unconsumed_tail
        if not data and not self._has_more:
            data = bytes(self._wire[: min(self._compressed, _PIECE)])
            if not data and not self._compressed:
                raise ProtocolError("a compressed frame whose content is cut off")
            if not data:
                return False
            del self._wire[: len(data)]
            self._compressed -= len(data)
        try:
            piece = inflater.decompress(data, _PIECE)
        except zlib.error as error:
            raise ProtocolError("a compressed frame that is not zlib's") from error
        self._has_more = len(piece) == _PIECE
        self._plain += piece
        self._inflated += len(piece)
        if self._inflated > COMPRESSED_LIMIT:
            raise ProtocolError(f"a compressed frame that inflates to more than {COMPRESSED_LIMIT} bytes")
        return True
