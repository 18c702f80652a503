"""The protocol as bytes. The golden ones are written by hand from the description of the frames."""

import random
import struct
import zlib
from typing import Any

import orjson
import pytest
from jld_logstash import lumberjack
from jld_logstash.errors import ProtocolError
from jld_logstash.lumberjack import (
    COMPRESSED_LIMIT,
    EVENT_LIMIT,
    LARGE_SIZE,
    PAIRS_LIMIT,
    WINDOW_LIMIT,
    Decoder,
    Part,
    acknowledgement,
)

EVENT_1 = b'{"message":"one"}'
EVENT_2 = b'{"message":"two"}'

WINDOW = bytes.fromhex("3257 00000002")
FRAME_1 = bytes.fromhex("324a 00000001 00000011") + EVENT_1
FRAME_2 = bytes.fromhex("324a 00000002 00000011") + EVENT_2
COMPRESSED = bytes.fromhex(
    # Two stored blocks would do as well; this is zlib's header, one stored block of 54 bytes, and Adler-32.
    "3243 00000041 7801 01 3600 c9ff"
) + FRAME_1 + FRAME_2 + struct.pack(">I", zlib.adler32(FRAME_1 + FRAME_2))  # fmt: skip

DATA_1 = bytes.fromhex("3144 00000001 00000001 00000004") + b"line" + bytes.fromhex("00000003") + b"one"
DATA_2 = bytes.fromhex("3144 00000002 00000002 00000004") + b"line" + bytes.fromhex("00000003") + b"two"
DATA_2 += bytes.fromhex("00000004") + b"host" + bytes.fromhex("00000002 c3ff")


def framed(payload: bytes, kind: bytes = b"2C") -> bytes:
    """Write a frame that has a length and a payload."""
    return kind + struct.pack(">I", len(payload)) + payload


def parts(data: bytes, size: int = 2**20) -> list[Part]:
    """Give all parts of what a fresh decoder is fed at once."""
    decoder = Decoder()
    decoder.feed(data)
    return list(iter(lambda: decoder.take(size), None))


def test_acknowledgement() -> None:
    """An acknowledgement is its type and the sequence number."""
    assert acknowledgement(2048) == bytes.fromhex("3241 00000800")
    assert acknowledgement(2048, b"1") == bytes.fromhex("3141 00000800")


@pytest.mark.parametrize(
    "frames", [DATA_1 + DATA_2, framed(zlib.compress(DATA_1 + DATA_2), b"1C")], ids=["plain", "compressed"]
)
def test_version_1(frames: bytes) -> None:
    """Events of v1, pairs of names and text, become JSON objects of text, and are answered in v1, however cut."""
    data = b"1W\0\0\0\x02" + frames
    expected = Part([b'{"line":"one"}', '{"line":"two","host":"\ufffd\ufffd"}'.encode()], 2, b"1")
    assert parts(data) == [expected]
    for cut in range(1, len(data)):
        decoder = Decoder()
        decoder.feed(data[:cut])
        assert decoder.take(2**20) is None
        decoder.feed(data[cut:])
        assert decoder.take(2**20) == expected
        assert decoder.is_idle


def test_version_1_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an event of v1 that is not whole, little is looked at for each byte that comes, and nothing is decoded."""
    looks = []

    class Counted(struct.Struct):
        def unpack_from(self, buffer: Any, /, offset: int = 0) -> tuple[Any, ...]:
            looks.append(offset)
            return super().unpack_from(buffer, offset)

    monkeypatch.setattr(lumberjack, "_LENGTH", Counted(">I"))
    names = [b"%d" % number for number in range(PAIRS_LIMIT)]
    texts = [b"".join(struct.pack(">I", len(text)) + text for text in (name, b"x" * 9)) for name in names]
    decoder = Decoder()
    decoder.feed(b"1W\0\0\0\1" + b"1D\0\0\0\1" + struct.pack(">I", PAIRS_LIMIT))
    data = b"".join(texts)
    for byte in data[:-1]:
        decoder.feed(bytes([byte]))
        assert decoder.take(2**20) is None
    decoder.feed(data[-1:])
    assert decoder.take(2**20) == Part([orjson.dumps(dict.fromkeys(map(bytes.decode, names), "x" * 9))], 1, b"1")
    assert len(looks) < 20 * 2 * PAIRS_LIMIT


def test_versions_alternate() -> None:
    """Each window is answered in its own version."""
    data = b"1W\0\0\0\x01" + DATA_1 + WINDOW + FRAME_1 + FRAME_2 + b"1W\0\0\0\x01" + FRAME_1
    assert [part.version for part in parts(data)] == [b"1", b"2", b"1"]


@pytest.mark.parametrize("frames", [FRAME_1 + FRAME_2, COMPRESSED], ids=["plain", "compressed"])
def test_window(frames: bytes) -> None:
    """A window gives its events and the number to acknowledge."""
    assert parts(WINDOW + frames) == [Part([EVENT_1, EVENT_2], 2)]


@pytest.mark.parametrize("frames", [FRAME_1 + FRAME_2, COMPRESSED], ids=["plain", "compressed"])
def test_any_split(frames: bytes) -> None:
    """However the network cuts the bytes, the events are the same, and none is given before it is whole."""
    data = WINDOW + frames
    for cut in range(1, len(data)):
        decoder = Decoder()
        decoder.feed(data[:cut])
        assert decoder.take(2**20) is None
        assert not decoder.is_idle
        decoder.feed(data[cut:])
        assert decoder.take(2**20) == Part([EVENT_1, EVENT_2], 2)
        assert decoder.is_idle


def test_byte_by_byte() -> None:
    """Bytes that come one at a time are put together."""
    decoder = Decoder()
    found = []
    for byte in 3 * (WINDOW + COMPRESSED):
        decoder.feed(bytes([byte]))
        found += list(iter(lambda: decoder.take(2**20), None))
    assert found == 3 * [Part([EVENT_1, EVENT_2], 2)]


def test_several_compressed_frames() -> None:
    """The events of a window may be spread over compressed frames and plain ones."""
    one, two = framed(zlib.compress(FRAME_1)), framed(zlib.compress(FRAME_2))
    assert parts(WINDOW + one + two) == [Part([EVENT_1, EVENT_2], 2)]
    assert parts(WINDOW + one + FRAME_2) == [Part([EVENT_1, EVENT_2], 2)]


def test_window_inside_compressed_frame() -> None:
    """A compressed frame may hold whole windows, one of them begun outside."""
    inside = framed(zlib.compress(FRAME_2 + WINDOW + FRAME_1 + FRAME_2 + WINDOW))
    expected = [Part([EVENT_1, EVENT_2], 2)] * 2
    assert parts(WINDOW + FRAME_1 + inside + FRAME_1)[:2] == expected


def test_numbers_that_go_on() -> None:
    """The highest number as sent is acknowledged, not the count: some clients never begin anew."""
    third = FRAME_1.replace(b"\0\0\0\x01", b"\0\0\0\x29", 1)
    fourth = FRAME_2.replace(b"\0\0\0\x02", b"\0\0\0\x2a", 1)
    assert parts(WINDOW + third + fourth) == [Part([EVENT_1, EVENT_2], 42)]


def test_empty_window() -> None:
    """An empty window is acknowledged with 0, and the next one is a window as any other."""
    assert parts(b"2W\0\0\0\0" + WINDOW + FRAME_1 + FRAME_2) == [Part([], 0), Part([EVENT_1, EVENT_2], 2)]


def test_window_before_the_last_is_full() -> None:
    """A new window ends one that was not full: what came is acknowledged, and the new one keeps its size."""
    data = b"2W\0\0\0\x05" + FRAME_1 + WINDOW + FRAME_1 + FRAME_2
    assert parts(data) == [Part([EVENT_1], 1), Part([EVENT_1, EVENT_2], 2)]


def test_window_after_a_window() -> None:
    """A window without any event is forgotten when another begins."""
    assert parts(b"2W\0\0\0\x05" + WINDOW + FRAME_1 + FRAME_2) == [Part([EVENT_1, EVENT_2], 2)]


def test_long_window_in_parts() -> None:
    """A window with more bytes than asked for comes in parts, of which the last is acknowledged."""
    assert parts(WINDOW + COMPRESSED, size=len(EVENT_1)) == [Part([EVENT_1], None), Part([EVENT_2], 2)]


def test_what_is_there() -> None:
    """What a window has so far can be had before it is full; what is not whole yet is told in bytes."""
    decoder = Decoder()
    decoder.feed(WINDOW + FRAME_1 + FRAME_2[:-1])
    assert decoder.take(2**20) is None
    assert decoder.begun == len(FRAME_2) - 1
    assert decoder.flush() == Part([EVENT_1], None)
    assert decoder.flush() is None
    decoder.feed(FRAME_2[-1:])
    assert decoder.take(2**20) == Part([EVENT_2], 2)


def test_many_tiny_events() -> None:
    """Events are counted with what they take in memory, so that a window of tiny ones is given in parts too."""
    tiny = b"2J\0\0\0\1\0\0\0\2{}"
    decoder = Decoder()
    decoder.feed(b"2W\0\0\x30\0" + tiny * 2**12)
    assert decoder.take(2**20) is None
    assert decoder.held > 60 * 2**12
    decoder.feed(tiny * 2**13)
    found = [len(part.events) for part in iter(lambda: decoder.take(2**18), None)]
    assert (sum(found), max(found)) == (3 * 2**12, 2**12 + 1)


def test_what_waits_for_its_checksum() -> None:
    """What a compressed frame ends with can be had before its checksum is there, but is not acknowledged before."""
    decoder = Decoder()
    decoder.feed(WINDOW + COMPRESSED[:-1])
    assert decoder.take(2**20) is None
    assert decoder.held > len(EVENT_1 + EVENT_2)
    assert decoder.flush() == Part([EVENT_1, EVENT_2], None)
    assert decoder.flush() is None
    assert decoder.held == 0
    decoder.feed(COMPRESSED[-1:])
    assert decoder.take(2**20) == Part([], 2)


def test_cut_of_a_window_in_parts() -> None:
    """A window that is cut after a part of it was given is acknowledged up to that part."""
    data = b"2W\0\0\0\x05" + FRAME_1 + WINDOW
    assert parts(data, size=len(EVENT_1)) == [Part([EVENT_1], None), Part([], 1)]


def test_much_in_little() -> None:
    """Events that shrink to almost nothing, as blanks do, are taken: memory is bounded by parts, not by a ratio."""
    blanks = b'{"message":"%s"}' % (b" " * 10_000)
    frames = b"".join(b"2J" + struct.pack(">II", number, len(blanks)) + blanks for number in range(1, 2049))
    data = b"2W\0\0\x08\0" + framed(zlib.compress(frames))
    assert len(data) * 250 < len(frames)
    decoder = Decoder()
    decoder.feed(data)
    found = []
    while part := decoder.take(2**20):
        found.append(part)
        assert len(decoder._plain) < 2**19
    assert sum(len(part.events) for part in found) == 2048
    assert found[-1].acknowledge == 2048


def test_large_in_little() -> None:
    """Of a long event that shrinks to almost nothing, not much is inflated before that is asked for."""
    blanks = b'{"message":"%s"}' % (b" " * 2**22)
    decoder = Decoder()
    decoder.feed(WINDOW + framed(zlib.compress(FRAME_1 + b"2J\0\0\0\2" + struct.pack(">I", len(blanks)) + blanks)))
    assert decoder.take(2**20, is_large=False) is None
    assert LARGE_SIZE < decoder.begun < 2**18
    assert decoder.take(2**20, is_large=False) is None
    assert decoder.take(2**23) == Part([EVENT_1, blanks], 2)


def test_random_pieces() -> None:
    """Random windows in random pieces come out as they went in."""
    source = random.Random(7)
    data, expected = b"", []
    for _ in range(50):
        events = [b'{"n":%d}' % source.getrandbits(source.randrange(1, 3000)) for _ in range(source.randrange(1, 9))]
        frames = [
            b"2J" + struct.pack(">II", number, len(event)) + event for number, event in enumerate(events, start=1)
        ]
        data += b"2W" + struct.pack(">I", len(events))
        for frame in frames:
            data += framed(zlib.compress(frame)) if source.random() < 0.5 else frame
        expected.append(Part(events, len(events)))
    decoder, found = Decoder(), []
    while data:
        cut = source.randrange(1, 2000)
        decoder.feed(data[:cut])
        data = data[cut:]
        found += list(iter(lambda: decoder.take(2**30), None))
    assert found == expected


BOMB = zlib.compress(bytes(2**22))


def test_checksum_comes_first() -> None:
    """Events of a compressed frame whose checksum is wrong are not given at all."""
    decoder = Decoder()
    decoder.feed(WINDOW + COMPRESSED[:-1])
    assert decoder.take(2**20) is None
    decoder.feed(b"\xff")
    with pytest.raises(ProtocolError, match="not zlib's"):
        decoder.take(2**20)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "b'GE'"),
        (b"1X\0\0\0\x01", "b'1X'"),
        (b"1W\0\0\0\x01" + b"2D\0\0\0\x01\0\0\0\x01", "b'2D'"),
        (DATA_1, "outside of a window"),
        (b"1W\0\0\0\x01" + b"1D\0\0\0\x01\0\0\0\0", "an event of 0 pairs"),
        (b"1W\0\0\0\x01" + b"1D\0\0\0\x01" + struct.pack(">I", PAIRS_LIMIT + 1), "an event of 1025 pairs"),
        (b"1W\0\0\0\x01" + b"1D\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff", "an event of 4294967313 bytes"),
        (b"1W\0\0\0\x01" + b"1D\0\0\0\x01\0\0\0\x01" + 2 * framed(b"\x01" * 2**21, b""), "bytes as JSON"),
        (b"1W\0\0\0\x01" + framed(zlib.compress(COMPRESSED), b"1C"), "inside a compressed frame"),
        (b"3W\0\0\0\x01", "b'3W'"),
        (b"2X\0\0\0\x01", "b'2X'"),
        (b"2A\0\0\0\x01", "b'2A'"),
        (b"2W" + struct.pack(">I", WINDOW_LIMIT + 1), "a window of 65537 events"),
        (FRAME_1, "outside of a window"),
        (b"2W\0\0\0\x01" + FRAME_1 + FRAME_2, "outside of a window"),
        (b"2W\0\0\0\x01" + framed(zlib.compress(FRAME_1 + FRAME_2)), "outside of a window"),
        (WINDOW + b"2J\0\0\0\x01\0\0\0\0", "an event of 0 bytes"),
        (WINDOW + b"2J\0\0\0\x01" + struct.pack(">I", EVENT_LIMIT + 1), f"an event of {EVENT_LIMIT + 1} bytes"),
        (WINDOW + b"2J\0\0\0\x01\xff\xff\xff\xff", "an event of 4294967295 bytes"),
        (WINDOW + framed(zlib.compress(b"2J\0\0\0\x01\xff\xff\xff\xff")), "an event of 4294967295 bytes"),
        (WINDOW + b"2C\0\0\0\0", "a compressed frame of 0 bytes"),
        (WINDOW + b"2C" + struct.pack(">I", COMPRESSED_LIMIT + 1), "a compressed frame of"),
        (WINDOW + framed(b"no zlib at all"), "not zlib's"),
        (WINDOW + COMPRESSED[:-1] + b"\xff", "not zlib's"),
        (WINDOW + framed(zlib.compress(FRAME_1)[:-5]), "cut off"),
        (WINDOW + framed(zlib.compress(FRAME_1[:-1])), "ends elsewhere"),
        (WINDOW + framed(zlib.compress(FRAME_1) + b"more"), "ends elsewhere"),
        (WINDOW + framed(zlib.compress(COMPRESSED)), "inside a compressed frame"),
        (WINDOW + framed(BOMB), "b'\\x00\\x00'"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    """What is not the protocol, or beyond its limits, is refused with the reason."""
    with pytest.raises(ProtocolError) as refusal:
        parts(data)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"2W\0\0\0\x08" + 8 * (b"2J\0\0\0\x01" + struct.pack(">I", 2**20) + bytes(2**20)), "inflates to more than"),
        (b"2W\0\0\0\x01" * 2**20, "more than 1024 windows"),
        (b"2W\0\0\0\0" * 2**20, "more than 1024 windows"),
        ((b"2W\0\0\x10\0" + b"2J\0\0\0\x01\0\0\0\x02{}" * 2**12) * 2**6, "more than 65536 events"),
        ((b"1W\0\0\x10\0" + DATA_1 * 2**12) * 2**6, "more than 65536 events"),
    ],
    ids=["bytes", "windows", "empty windows", "events", "events of v1"],
)
def test_bomb(monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str) -> None:
    """A compressed frame that goes on and on is refused at its limits, and never inflated as a whole."""
    monkeypatch.setattr(lumberjack, "COMPRESSED_LIMIT", 2**22)
    decoder = Decoder()
    decoder.feed(framed(zlib.compress(content + content)))
    with pytest.raises(ProtocolError, match=reason):
        list(iter(lambda: decoder.take(2**20), None))
    assert len(decoder._plain) < 2**21
