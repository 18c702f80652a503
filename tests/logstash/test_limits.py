"""How much shippers may ask of the collector at a time: memory, connections, patience."""

import asyncio
import contextlib
import gc
import itertools
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest
from jld_logstash import connection, intake, server
from jld_logstash.lumberjack import Part
from shipper import compressed, event, window
from stack import until

Connected = Callable[..., Any]


def _is_readable(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0.01)[0])


async def test_byte_now_and_then(listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipper that never pauses for long, but never gets on either, is sent away too."""
    monkeypatch.setattr(connection, "WINDOW_SECONDS", 0.3)

    def ship() -> None:
        with connected(listening.port) as shipper:
            for _ in range(3):
                shipper.send(b"2W\0\0\0\1")
                shipper.send(b"2J\0\0\0\1\0\0\0\2{}")
                assert shipper.acknowledged() == 1
            shipper.send(b"2W\0\0\0\1" + b"2J\0\0\0\1\0\0\1\0")
            while not _is_readable(shipper.connection):
                shipper.send(b" ")
            assert shipper.is_closed()

    await asyncio.to_thread(ship)
    assert listening.metrics.refused.labels("slow")._value.get() == 1


async def test_acknowledgements_not_taken(listening: Any, certificates: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipper that sends and sends, and takes no answers, is sent away."""
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.1)
    listening.server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    context = certificates.context(certificates.client)

    def ship() -> None:
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.settimeout(10)
            plain.connect(("127.0.0.1", listening.port))
            shipper = context.wrap_socket(plain, server_hostname="localhost")
            with shipper, pytest.raises((ConnectionError, ssl.SSLEOFError)):
                list(map(shipper.sendall, itertools.repeat(window(0) * 10**5)))

    await asyncio.to_thread(ship)
    assert listening.metrics.refused.labels("slow")._value.get() == 1


async def test_pause_inside_a_window(listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipper that stops in the middle of a window is sent away; between windows it may be silent."""
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.05)

    def ship() -> None:
        with connected(listening.port) as silent, connected(listening.port) as shipper:
            silent.ship([{}])
            shipper.send(b"2W\0\0\0\2" + b"2J\0\0\0\1\0\0\0\2{}")
            assert shipper.is_closed()
            silent.ship([{}])

    await asyncio.to_thread(ship)
    assert listening.metrics.refused.labels("slow")._value.get() == 1


async def test_too_many(listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a connection is refused; when another ends, there is room."""
    monkeypatch.setattr(server, "CONNECTION_LIMIT", 2)

    def connections() -> bool:
        return bool(listening.metrics.connections._value.get() == 1)

    def ship() -> None:
        with connected(listening.port) as first:
            with connected(listening.port) as second:
                second.ship([{}])
                with pytest.raises(OSError), connected(listening.port) as third:  # noqa: PT011 reset or end
                    third.ship([{}])
            first.ship([{}])
            until("the second is gone", lambda: len(listening.server._serving) == 1)
            with connected(listening.port) as third:
                third.ship([{}])

    await asyncio.to_thread(ship)
    assert listening.metrics.refused.labels("too-many")._value.get() == 1


async def test_many_connections(listening: Any, connected: Connected, certificates: Any) -> None:
    """Five hundred shippers at the same time are all heard."""
    context = certificates.context(certificates.client)

    def ship() -> None:
        with contextlib.ExitStack() as stack:
            shippers = [stack.enter_context(connected(listening.port, context)) for _ in range(500)]
            for number, shipper in enumerate(shippers):
                shipper.send_window([{"n": number}])
            assert [shipper.acknowledged() for shipper in shippers] == [1] * 500

    await asyncio.to_thread(ship)
    assert len(set(listening.stored())) == 500


async def test_windows_that_are_not_full(listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """When many windows have begun, what they have so far goes to the spool, so that it takes no memory."""
    monkeypatch.setattr(intake, "HELD_LIMIT", 3000)

    def ship() -> None:
        with contextlib.ExitStack() as stack:
            shippers = [stack.enter_context(connected(listening.port)) for _ in range(8)]
            for shipper in shippers:
                shipper.send(window(2) + event(1, {"text": "x" * 990}))
            until("most of it is in the spool", lambda: len(listening.stored()) >= 5)
            assert listening.intake._held <= 3000 + 2 * 1020
            for shipper in shippers:
                shipper.send(event(2, {}))
            assert [shipper.acknowledged() for shipper in shippers] == [2] * 8

    await asyncio.to_thread(ship)
    assert len(listening.stored()) == 16
    assert listening.intake.size == 0


async def test_events_that_are_in_the_spool(listening: Any, connected: Connected) -> None:
    """Events that are safe take no memory, however long their shipper is connected after that."""

    def ship() -> None:
        with connected(listening.port) as shipper:
            shipper.ship([{}])
            assert not [found for found in gc.get_objects() if isinstance(found, Part) and found.events]

    await asyncio.to_thread(ship)


async def test_large_events_take_turns(listening: Any, connected: Connected) -> None:
    """However many large events begin, only a few are in memory before they are whole, and all arrive."""
    large = event(1, {"text": "x" * 2**20})

    def ship() -> None:
        with contextlib.ExitStack() as stack:
            shippers = [stack.enter_context(connected(listening.port)) for _ in range(12)]
            for shipper in shippers:
                shipper.send(window(1) + large[: 2**17 + 4096])
            until("some wait", lambda: listening.intake.large.locked() and listening.intake.large._waiters)
            rests = [threading.Thread(target=shipper.send, args=[large[2**17 + 4096 :]]) for shipper in shippers]
            for rest in rests:
                rest.start()
            assert [shipper.acknowledged() for shipper in shippers] == [1] * 12
            for rest in rests:
                rest.join(10)

    await asyncio.to_thread(ship)
    assert len(listening.stored()) == 12
    assert listening.intake.size == 0
    assert not listening.intake.large.locked()


async def test_signs_of_life_for_large_events(
    listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits because others have begun large events hears that the collector lives, and may leave its place."""
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.02)
    begun = window(1) + event(1, {"text": "x" * 2**18})[:-1]

    def ship() -> None:
        with contextlib.ExitStack() as stack:
            others = [stack.enter_context(connected(listening.port)) for _ in range(4)]
            for other in others:
                other.send(begun)
            until("all places are taken", listening.intake.large.locked)
            with connected(listening.port) as gone:
                gone.send(begun)
                assert gone.frame() == 0
            shipper = stack.enter_context(connected(listening.port))
            shipper.send(begun)
            assert [shipper.frame() for _ in range(3)] == [0, 0, 0]
            until("the one is gone", lambda: listening.metrics.connections._value.get() == 5)
            others[0].send(b"}")
            shipper.send(b"}")
            assert [others[0].acknowledged(), shipper.acknowledged()] == [1, 1]

    await asyncio.to_thread(ship)
    assert len(listening.stored()) == 2
    await listening.server.close(1)
    assert listening.intake.large._value == intake.LARGE_LIMIT


async def test_large_events_compressed(listening: Any, connected: Connected) -> None:
    """Also of large events that shrink to almost nothing, only a few are inflated before they are whole."""
    frames = event(1, {"text": "x" * 2**22})
    whole = compressed(frames)
    half = len(whole) // 2
    assert half < 2**14

    def ship() -> None:
        with contextlib.ExitStack() as stack:
            shippers = [stack.enter_context(connected(listening.port)) for _ in range(12)]
            for shipper in shippers:
                shipper.send(window(1) + whole[:half])
            until("some wait", lambda: len(listening.intake.large._waiters or ()) == 8)
            assert listening.intake._held < 4 * len(frames) + 8 * 2**18
            for shipper in shippers:
                shipper.send(whole[half:])
            assert [shipper.acknowledged() for shipper in shippers] == [1] * 12

    await asyncio.to_thread(ship)
    assert len(listening.stored()) == 12
    assert listening.intake.size == 0
    assert not listening.intake.large.locked()


async def test_memory_is_bounded(listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the spool takes nothing, only so much is read; afterwards all of it arrives."""
    monkeypatch.setattr(intake, "SIZE_LIMIT", 3000)
    goes_on = threading.Event()
    fsync = os.fsync

    def wait(file: int) -> None:
        goes_on.wait(10)
        fsync(file)

    monkeypatch.setattr(os, "fsync", wait)

    def ship() -> None:
        with contextlib.ExitStack() as stack:
            shippers = [stack.enter_context(connected(listening.port)) for _ in range(8)]
            for shipper in shippers:
                for _ in range(4):
                    shipper.send_window([{"text": "x" * 990}])
            until("as much as may be is read", lambda: listening.server._intake._size >= 3000)
            # Nobody's turn comes while nothing becomes safe.
            for shipper in shippers:
                assert shipper.frame() == 0
            assert listening.server._intake._size < 5000
            goes_on.set()
            for shipper in shippers:
                assert [shipper.acknowledged() for _ in range(4)] == [1] * 4

    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.05)
    await asyncio.to_thread(ship)
    assert len(listening.stored()) == 32
    assert listening.server._intake._size == 0


async def test_gone_while_it_waits(listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shipper that is gone was never told to be safe takes no memory."""
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.02)
    goes_on = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: goes_on.wait(60))

    def ship() -> None:
        for _ in range(3):
            with connected(listening.port) as shipper:
                shipper.send_window([{}])
                assert shipper.frame() == 0
        until("nothing of it is left", lambda: listening.server._intake._size == 0, seconds=5)

    try:
        await asyncio.to_thread(ship)
    finally:
        goes_on.set()


async def test_slow_handshake(listening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not get on with the handshake is sent away."""
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 0.05)

    def wait() -> bytes:
        with socket.create_connection(("127.0.0.1", listening.port), timeout=10) as plain:
            return plain.recv(100)

    assert await asyncio.to_thread(wait) == b""
    assert listening.metrics.refused.labels("tls")._value.get() == 1


async def test_handshakes_that_do_not_end(
    listening: Any, connected: Connected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who begins connections without end keeps nobody away: of those in their handshake the oldest has to go."""
    monkeypatch.setattr(server, "HANDSHAKE_LIMIT", 5)
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.02)

    def ship() -> None:
        with contextlib.ExitStack() as stack:
            strangers = [
                stack.enter_context(socket.create_connection(("127.0.0.1", listening.port), timeout=10))
                for _ in range(12)
            ]
            with connected(listening.port) as shipper:
                shipper.ship([{}])
                assert len(listening.server._handshakes) <= 5
            assert [stranger.recv(1) for stranger in strangers[:7]] == [b""] * 7

    await asyncio.to_thread(ship)
    assert "a shipper is refused: its handshake goes on while others wait" in caplog.messages
