"""Bytes on the wire, written down by hand from what go-lumber's client sends and its server answers."""

import zlib

import pytest
from jld_filebeat.batch import Batch
from jld_filebeat.errors import CollectorError
from jld_filebeat.file import File
from jld_filebeat.lumberjack import Windows, decode_ack, encode
from jld_filebeat.source import Source

WINDOW_OF_2 = bytes.fromhex("3257 00000002")
JSON_1 = bytes.fromhex("324a 00000001 00000007") + b'{"a":1}'
JSON_2 = bytes.fromhex("324a 00000002 0000000a") + '{"b":"é"}'.encode()
COMPRESSED = bytes.fromhex("3243")


def batch_of(count: int) -> Batch:
    """Give a batch of that many events."""
    batch = Batch()
    for number in range(count):
        batch.add(b'{"n":%d}' % number)
    return batch


def test_window() -> None:
    """A batch is a window frame and one compressed frame with its JSON frames, numbered from 1."""
    sent = encode([b'{"a":1}', '{"b":"é"}'.encode()])
    assert sent[:6] == WINDOW_OF_2
    assert sent[6:8] == COMPRESSED
    assert int.from_bytes(sent[8:12]) == len(sent) - 12
    assert zlib.decompress(sent[12:]) == JSON_1 + JSON_2


def test_compression_is_zlib() -> None:
    """The compressed frame is a zlib stream (RFC 1950) with the window that every receiver can read."""
    sent = encode([b"{}"])
    assert sent[12] == 0x78
    assert int.from_bytes(sent[12:14]) % 31 == 0


@pytest.mark.parametrize(
    ("frame", "number"),
    [("3241 00000000", 0), ("3241 00000001", 1), ("3241 00000800", 2048), ("3241 ffffffff", 2**32 - 1)],
)
def test_ack(frame: str, number: int) -> None:
    """An acknowledgement is `2A` and its number."""
    assert decode_ack(bytes.fromhex(frame)) == number


@pytest.mark.parametrize("frame", ["3141 00000001", "3257 00000001", "0000 00000000"])
def test_no_ack(frame: str) -> None:
    """Anything else is an error."""
    with pytest.raises(CollectorError, match="for an acknowledgement"):
        decode_ack(bytes.fromhex(frame))


def test_windows_in_order() -> None:
    """Each window is acknowledged by itself, in order, also in several steps."""
    windows = Windows()
    first, second = batch_of(3), batch_of(2)
    assert len(windows.send(first)) == 3
    assert len(windows.send(second)) == 2
    assert [windows.acknowledge(number) for number in (1, 0, 1, 3)] == [1, 0, 0, 2]
    assert (first.acknowledged, second.acknowledged, len(windows)) == (3, 0, 1)
    assert windows.acknowledge(2) == 2
    assert len(windows) == 0


def test_only_the_rest_is_sent_again() -> None:
    """After a partial acknowledgement the rest is sent again, counted from 1."""
    windows = Windows()
    batch = batch_of(3)
    windows.send(batch)
    windows.acknowledge(1)
    (again,) = windows.take_back()
    assert windows.send(again) == [b'{"n":1}', b'{"n":2}']
    assert windows.acknowledge(2) == 2
    assert batch.acknowledged == 3


@pytest.mark.parametrize(("sent", "number"), [(0, 1), (2, 3), (2, 2**32 - 1)])
def test_more_than_was_sent(sent: int, number: int) -> None:
    """An acknowledgement of what was not sent is an error, and nothing is taken for acknowledged."""
    windows = Windows()
    batch = batch_of(sent)
    if sent:
        windows.send(batch)
    with pytest.raises(CollectorError, match=f"acknowledged {number} of"):
        windows.acknowledge(number)
    assert batch.acknowledged == 0


def test_files_follow_acknowledgements() -> None:
    """A file is done up to a mark when all events before the mark are acknowledged, and not before."""
    source = Source.open(__file__)
    try:
        file = File(source, __file__, "plain")
        batch = batch_of(2)
        file.position = 10
        batch.mark(file)
        batch.add(b"{}")
        file.position = 20
        batch.mark(file)
        for count, offset in ((1, 0), (2, 10), (3, 20)):
            batch.acknowledge(count)
            assert file.acknowledged == offset
    finally:
        source.close()


@pytest.mark.parametrize(("events", "size"), [(2048, 1), (1, 2**20)])
def test_full(events: int, size: int) -> None:
    """A batch is full with 2048 events, or with a megabyte."""
    batch = Batch()
    for _ in range(events):
        assert not batch.is_full
        batch.add(b"x" * size)
    assert batch.is_full
