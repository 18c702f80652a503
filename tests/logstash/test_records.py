"""Records of the spool, and what becomes of an event on its way into one."""

import json
import random
from typing import Any

import pytest
from jld_logstash import records
from jld_logstash.errors import ProtocolError
from jld_logstash.events import Marker
from jld_logstash.records import Damage, Record


def items(data: bytes, position: int = 0) -> list[tuple[Any, ...]]:
    """Give what is decoded as tuples."""
    return [
        (item.begin, item.end, item.id, item.event) if isinstance(item, Record) else (item.begin, item.end)
        for item in records.decode(data, position)
    ]


def test_golden() -> None:
    """A record is a mark, length, CRC-32, length of the id, id and event."""
    content = b"\x01" + b"a" + b"{}"
    assert records.encode(b"a", b"{}") == bytes.fromhex("ffff 04000000 d2b49232") + content


def test_all_is_read_back() -> None:
    """What was encoded is decoded, with its positions."""
    first, second = records.encode(b"id", b'{"a":1}'), records.encode(b"", b"{}")
    end = 100 + len(first)
    assert items(first + second, 100) == [(100, end, b"id", b'{"a":1}'), (end, end + len(second), b"", b"{}")]


def test_any_damaged_byte() -> None:
    """Whatever byte of a record is damaged, it alone is missing, and that is told."""
    first, second, third = (records.encode(b"%d" % number, b"{}") for number in range(3))
    for place in range(len(second)):
        damaged = bytearray(second)
        damaged[place] ^= 0x5A
        found = items(first + damaged + third)
        assert [item[2] for item in found if len(item) == 4] == [b"0", b"2"]
        assert [item for item in found if len(item) == 2] == [(len(first), len(first + second))]


def test_torn_end() -> None:
    """A record that is cut off anywhere is damage up to the end."""
    whole, torn = records.encode(b"0", b"{}"), records.encode(b"1", b"{}")
    for cut in range(1, len(torn)):
        data = whole + torn[:cut]
        assert items(data)[1:] == [(len(whole), len(data))]


def test_noise() -> None:
    """Noise is damage, however much it looks like marks."""
    noise = random.Random(3).randbytes(2000) + b"\xff" * 500 + bytes(500)
    found = list(records.decode(noise + records.encode(b"0", b"{}"), 0))
    assert isinstance(found[0], Damage)
    assert [item.id for item in found if isinstance(item, Record)] == [b"0"]


def through(event: bytes) -> tuple[bytes, bytes]:
    """Give id and event of the record that becomes of an event."""
    (item,) = records.decode(Marker("me", "node-1").record(event), 0)
    assert isinstance(item, Record)
    return item.id, item.event


@pytest.mark.parametrize(
    "event",
    [
        b'{"shipper":"x", "n": 1.0,  "big":123456789012345678901234567890}',
        b'{"shipper":null}',
        '{"shipper":"ü","message":"\\ud83d\\ude00"}'.encode(),
    ],
)
def test_untouched(event: bytes) -> None:
    """An event that has a shipper stays as it is, byte by byte, behind the name of the certificate it came with."""
    assert through(event)[1] == b'{"shipper_certificate":"node-1",' + event[1:]


@pytest.mark.parametrize(
    ("event", "becomes"),
    [
        (b"{}", {"shipper": "me"}),
        (b'{"@metadata":null}', {"shipper": "me"}),
        (b'{"@metadata":{"beat":"filebeat"},"shipper":"x"}', {"shipper": "x"}),
        (b'{"a":{"@metadata":1}}', {"a": {"@metadata": 1}, "shipper": "me"}),
        (b'{\n"shipper":\r\n"x"\n}', {"shipper": "x"}),
        (b' {"a": 1} ', {"shipper": "me", "a": 1}),
        (b'{"shipper_certificate":"node-2"}', {"shipper": "me"}),
        (b'{"shipper\\u005fcertificate":"node-2","shipper_certificate":["node-3"]}', {"shipper": "me"}),
    ],
)
def test_changed(event: bytes, becomes: dict[str, object]) -> None:
    """`shipper` is added, `@metadata` dropped, an event has one line, and nobody speaks as somebody else."""
    changed = through(event)[1]
    assert json.loads(changed) == becomes | {"shipper_certificate": "node-1"}
    assert changed.count(b"certificate") == 1
    assert len(changed.splitlines()) == 1


def deep(levels: int) -> bytes:
    """Write a value that is nested so deep."""
    return b'[{"a":' * (levels // 2) + b"1" + b"}]" * (levels // 2)


METADATA = b'"@metadata":{"beat":"filebeat","type":"_doc","version":"7.17.29"}'


@pytest.mark.parametrize(
    ("event", "becomes"),
    [
        (b'{"@timestamp":"t",%b,"x":%b,"shipper":"x"}', b'"@timestamp":"t","x":%b,"shipper":"x"}'),
        (b'{%b,"x":%b,"shipper":"x"}', b'"x":%b,"shipper":"x"}'),
        (b'{"shipper":"x",%b,"x":%b}', None),
        (b'{"@timestamp":"\\"",%b,"x":%b,"shipper":"x"}', None),
        (b'{"shipper":"x",%b,"@metad\\u0061ta":{},"x":%b}', None),
        (b'{%b,"x":{"@metadata":%b},"shipper":"x"}', None),
        (b'{%b,"shipper\\u005fcertificate":"node-2","x":%b}', None),
        (b'{%b,"shipper_certificate":"node-2","shipper_certificate":"node-3","x":%b}', None),
    ],
)
@pytest.mark.parametrize("levels", [300, 1000])
def test_deep(event: bytes, becomes: bytes | None, levels: int) -> None:
    """An event that is nested deep stays as it is where `@metadata` can be cut out, else it becomes a text."""
    event %= (METADATA, deep(levels))
    changed = through(event)[1]
    if becomes:
        assert changed == b'{"shipper_certificate":"node-1",' + becomes % deep(levels)
    else:
        assert json.loads(changed) == {
            "shipper_certificate": "node-1",
            "shipper": "me",
            "message": event.decode(),
            "log": {"flags": ["malformed"]},
        }


def test_deep_and_metadata_last() -> None:
    """So it does where `@metadata` is the last field, which one inside of another field is not; line breaks go."""
    assert through(b'{"x":%b,\n%b}' % (deep(500), METADATA))[1] == (
        b'{"shipper_certificate":"node-1","shipper":"me","x":%b}' % deep(500)
    )
    assert through(b'{"x":%b\n}' % deep(500))[1].endswith(b'"x":%b}' % deep(500))
    for event in (b'{"x":{"y":%b,%b},"@metadata":1}', b'{"@metadata":1,"x":{"y":%b,%b}}'):
        assert b"malformed" in through(event % (deep(500), METADATA))[1]
    inside = b'{"@timestamp":"}%b","z":{},"@metadata":1,"x":%b}' % (METADATA.replace(b'"', b'\\"'), deep(500))
    assert b"malformed" in through(inside)[1]


def test_too_deep() -> None:
    """An event that is nested too deep to be read becomes a text, cut at 2 MiB, as it would be sent again for ever."""
    event = b'{"a":%b}' % deep(2000)
    identity, changed = through(event)
    assert (identity, json.loads(changed)["message"]) == (b"", event.decode())
    fields = json.loads(through(b'{"a":%b,"b":"%b"}' % (deep(2000), b"x" * 2**21))[1])
    assert (len(fields["message"]), fields["log"]["flags"]) == (2**21, ["malformed", "truncated"])


@pytest.mark.parametrize(
    ("event", "identity"),
    [
        (b'{"event":{"id":"a-1"}}', b"a-1"),
        (b'{"event.id":"a-1"}', b""),
        (b'{"event":{"id":"%s"}}' % (b"x" * 255), b"x" * 255),
        (b'{"event":{"id":"%s"}}' % (b"x" * 256), b""),
        (b'{"event":{"id":1}}', b""),
        (b'{"event":"id"}', b""),
        (b"{}", b""),
    ],
)
def test_id(event: bytes, identity: bytes) -> None:
    """The id of an event is `id` in `event`, where receivers look for it, when a message can have it."""
    assert through(event)[0] == identity


@pytest.mark.parametrize("event", [b"", b"{", b"[]", b'"text"', b"1", b"\xff", b'{"a":"\xff"}', b"{}{}", b"[" * 9999])
def test_no_event(event: bytes) -> None:
    """What is no JSON object is refused."""
    with pytest.raises(ProtocolError, match="an event that is not"):
        Marker("me", "node-1").record(event)
