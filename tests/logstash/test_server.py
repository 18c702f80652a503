"""What shippers are answered, and when."""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from jld_logstash import connection
from stack import until

Connected = Callable[..., Any]


async def test_many_windows(listening: Any, connected: Connected) -> None:
    """Windows sent one after the other are acknowledged one by one, in their order, never several at once."""

    def ship() -> list[int]:
        with connected(listening.port) as shipper:
            for number in range(1, 30):
                shipper.send_window([{"n": number}] * number)
            return [shipper.acknowledged() for _ in range(1, 30)]

    assert await asyncio.to_thread(ship) == list(range(1, 30))
    assert len(listening.stored()) == sum(range(1, 30))


async def test_sync_before_acknowledgement(
    listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as events are not synced there are signs of life and no acknowledgement."""
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.01)
    goes_on = threading.Event()
    fsync = os.fsync

    def wait(file: int) -> None:
        goes_on.wait(10)
        fsync(file)

    monkeypatch.setattr(os, "fsync", wait)

    def ship() -> None:
        with connected(listening.port) as shipper:
            shipper.send_window([{}, {}])
            assert [shipper.frame() for _ in range(20)] == [0] * 20
            goes_on.set()
            assert shipper.acknowledged() == 2

    await asyncio.to_thread(ship)


async def test_empty_windows_keep_their_turn(
    listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to an empty window does not overtake the one to the window before."""
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 60)

    def ship() -> list[int]:
        with connected(listening.port) as shipper:
            shipper.send_window([{}])
            shipper.send(b"2W\0\0\0\0")
            shipper.send_window([{}, {}])
            return [shipper.frame() for _ in range(3)]

    assert await asyncio.to_thread(ship) == [1, 0, 2]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"2W\0\1\0\1",
        b"2W\0\0\0\1" + b"2J\0\0\0\1\0\0\0\2[]",
        b"2W\0\0\0\2" + b"2J\0\0\0\1\0\0\0\2{}" + b"2J\0\0\0\2\0\0\0\3{x}",
        b"2W\0\0\0\1" + b"2C\0\0\0\3abc",
    ],
)
async def test_refused(listening: Any, connected: Connected, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    """What is not the protocol closes the connection, is said and is never acknowledged; others are not concerned."""

    def ship() -> None:
        with connected(listening.port) as other, connected(listening.port) as shipper:
            shipper.send(data)
            assert shipper.is_closed()
            other.ship([{}])

    await asyncio.to_thread(ship)
    assert [record for record in caplog.records if "a shipper is refused: filebeat: " in record.message]
    assert listening.metrics.refused.labels("protocol")._value.get() == 1
    assert listening.stored() == ['{"shipper_certificate":"filebeat","shipper":"test"}']


async def test_refused_is_said_once(listening: Any, connected: Connected, caplog: pytest.LogCaptureFixture) -> None:
    """A shipper that comes back with the same mistake is not said again within a minute, but counted."""

    def ship() -> None:
        for _ in range(5):
            with connected(listening.port) as shipper:
                shipper.send(b"2X\0\0\0\0")
                assert shipper.is_closed()

    await asyncio.to_thread(ship)
    assert len([record for record in caplog.records if "b'2X'" in record.message]) == 1
    assert listening.metrics.refused.labels("protocol")._value.get() == 5


async def test_version_1(listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who speaks v1 is answered in v1, and gets no signs of life, which v1 does not know."""
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.01)
    fsync = os.fsync
    waits = threading.Event()

    def slow(file: int) -> None:
        waits.wait(0.1)
        fsync(file)

    monkeypatch.setattr(os, "fsync", slow)

    def ship() -> bytes:
        with connected(listening.port) as shipper:
            shipper.send(b"1W\0\0\0\1" + b"1D\0\0\0\7\0\0\0\1" + b"\0\0\0\4line" + b"\0\0\0\1x")
            answer: bytes = shipper.connection.recv(100)
            return answer

    assert await asyncio.to_thread(ship) == b"1A\0\0\0\7"
    assert listening.stored() == ['{"shipper_certificate":"filebeat","shipper":"test","line":"x"}']


async def test_end(listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end what was taken is acknowledged, and only then the connection is closed."""
    goes_on = threading.Event()
    fsync = os.fsync

    def wait(file: int) -> None:
        goes_on.wait(10)
        fsync(file)

    monkeypatch.setattr(os, "fsync", wait)
    taken = threading.Event()

    def ship() -> None:
        with connected(listening.port) as shipper:
            shipper.send_window([{}, {}])
            until("it is taken", lambda: listening.server._intake._size)
            taken.set()
            assert shipper.acknowledged() == 2
            assert shipper.is_closed()

    shipping = asyncio.create_task(asyncio.to_thread(ship))
    await asyncio.to_thread(taken.wait, 10)
    closing = asyncio.create_task(listening.server.close(5))
    await asyncio.sleep(0)
    goes_on.set()
    await shipping
    await closing
