"""The port for shippers: who is heard, what is answered and when."""

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from jld_embedded.certificates import Authority
from jld_logstash import connection, intake, server, tls
from jld_logstash.intake import Intake
from jld_logstash.metrics import Metrics
from jld_logstash.server import Server
from jld_logstash.settings import Settings
from jld_logstash.spool import Spool
from stack import until


class Listening:
    """A server in this process, with its spool.

    Attributes:
        port: where it listens.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.spool = Spool(folder, 2**30)
        self.metrics = Metrics(self.spool)
        self.server = Server(tls.for_shippers(settings), Intake(self.spool, "test"), self.metrics)
        self.port = self.server.listen("127.0.0.1", 0)
        self.spool.start()

    def stored(self) -> list[str]:
        """Give the events in the spool."""
        return [record.event.decode() for record in self.spool.read(0)]


@pytest.fixture
async def listening(tmp_path: Path, settings: dict[str, str]) -> AsyncIterator[Listening]:
    """Give a server."""
    typed = Settings(**{name.lower(): value for name, value in settings.items()})  # type: ignore[arg-type] # parsed
    found = Listening(tmp_path / "spool", typed)
    yield found
    await found.server.close(1)
    found.spool.close(5)


@pytest.fixture
def connected(certificates: Any) -> Callable[..., Any]:
    """Give a function that connects a shipper to a port."""
    return certificates.shipper  # type: ignore[no-any-return] # from another file


Connected = Callable[..., Any]


async def test_many_windows(listening: Listening, connected: Connected) -> None:
    """Windows sent one after the other are acknowledged one by one, in their order, never several at once."""

    def ship() -> list[int]:
        with connected(listening.port) as shipper:
            for number in range(1, 30):
                shipper.send_window([{"n": number}] * number)
            return [shipper.acknowledged() for _ in range(1, 30)]

    assert await asyncio.to_thread(ship) == list(range(1, 30))
    assert len(listening.stored()) == sum(range(1, 30))


async def test_sync_before_acknowledgement(
    listening: Listening, connected: Connected, monkeypatch: pytest.MonkeyPatch
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
    listening: Listening, connected: Connected, monkeypatch: pytest.MonkeyPatch
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
async def test_refused(
    listening: Listening, connected: Connected, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    """What is not the protocol closes the connection, is said and is never acknowledged; others are not concerned."""

    def ship() -> None:
        with connected(listening.port) as other, connected(listening.port) as shipper:
            shipper.send(data)
            assert shipper.is_closed()
            other.ship([{}])

    await asyncio.to_thread(ship)
    assert [record for record in caplog.records if "a shipper is refused: filebeat: " in record.message]
    assert listening.metrics.refused.labels("protocol")._value.get() == 1
    assert listening.stored() == ['{"shipper":"test"}']


async def test_refused_is_said_once(
    listening: Listening, connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    """A shipper that comes back with the same mistake is not said again within a minute, but counted."""

    def ship() -> None:
        for _ in range(5):
            with connected(listening.port) as shipper:
                shipper.send(b"2X\0\0\0\0")
                assert shipper.is_closed()

    await asyncio.to_thread(ship)
    assert len([record for record in caplog.records if "b'2X'" in record.message]) == 1
    assert listening.metrics.refused.labels("protocol")._value.get() == 5


async def test_pause_inside_a_window(
    listening: Listening, connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def test_too_many(listening: Listening, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_many_connections(listening: Listening, connected: Connected) -> None:
    """A hundred shippers at the same time are all heard."""

    def ship() -> None:
        with contextlib.ExitStack() as stack:
            shippers = [stack.enter_context(connected(listening.port)) for _ in range(100)]
            for number, shipper in enumerate(shippers):
                shipper.send_window([{"n": number}])
            assert [shipper.acknowledged() for shipper in shippers] == [1] * 100

    await asyncio.to_thread(ship)
    assert len(set(listening.stored())) == 100


async def test_memory_is_bounded(listening: Listening, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_gone_while_it_waits(listening: Listening, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_end(listening: Listening, connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    ("shown", "reason"),
    [(None, "peer did not return a certificate"), ("stranger", "unable to get local issuer certificate")],
)
async def test_strangers(
    listening: Listening, certificates: Any, caplog: pytest.LogCaptureFixture, shown: str | None, reason: str
) -> None:
    """Who shows no certificate of the authority is refused before a byte is taken, which is said."""
    context = certificates.context(getattr(certificates, shown) if shown else None)

    def ship() -> None:
        # TLS 1.3: the client is through with its handshake before it is refused.
        with pytest.raises(OSError), certificates.shipper(listening.port, context) as shipper:  # noqa: PT011 reset or alert
            shipper.ship([{}])

    await asyncio.to_thread(ship)
    assert [record.message for record in caplog.records] == [f"a shipper is refused: {reason}"]
    assert listening.stored() == []


async def test_old_tls(listening: Listening, connected: Connected, certificates: Any) -> None:
    """TLS before 1.2 is not spoken."""
    context = certificates.context(certificates.client)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")

    def ship() -> None:
        with connected(listening.port, context):
            pass

    with pytest.raises(ssl.SSLError):
        await asyncio.to_thread(ship)


async def test_no_tls(listening: Listening, caplog: pytest.LogCaptureFixture) -> None:
    """Who speaks no TLS is refused, which is said; who says nothing is a probe, which is not."""

    def ship() -> None:
        socket.create_connection(("127.0.0.1", listening.port)).close()
        with socket.create_connection(("127.0.0.1", listening.port), timeout=10) as plain:
            plain.sendall(b"2W\0\0\0\1" + b"2J\0\0\0\1\0\0\0\2{}")
            with contextlib.suppress(ConnectionError):
                assert b"2A" not in plain.recv(100)

    await asyncio.to_thread(ship)
    assert [record.message for record in caplog.records] == ["a shipper is refused: wrong version number"]


async def test_slow_handshake(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not get on with the handshake is sent away."""
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 0.05)

    def wait() -> bytes:
        with socket.create_connection(("127.0.0.1", listening.port), timeout=10) as plain:
            return plain.recv(100)

    assert await asyncio.to_thread(wait) == b""
    assert listening.metrics.refused.labels("tls")._value.get() == 1


async def test_changed_certificate(
    listening: Listening, connected: Connected, certificates: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New connections meet the certificates as the files have them now, while files that do not fit are not used."""
    caplog.set_level("INFO")
    authority = Authority(tmp_path)
    made = authority.issue("logstash")
    served = certificates.server
    before = served.certificate.read_bytes(), served.key.read_bytes()
    context = certificates.context(certificates.client)
    context.load_verify_locations(authority.certificate)

    def shown() -> bytes:
        with connected(listening.port, context) as shipper:
            shipper.ship([{}])
            certificate: bytes = shipper.connection.getpeercert(binary_form=True)
            return certificate

    def ship() -> None:
        with connected(listening.port) as old:
            first = shown()
            served.certificate.write_bytes(made.certificate.read_bytes())
            assert shown() == first
            served.key.write_bytes(made.key.read_bytes())
            assert shown() != first
            old.ship([{}])

    try:
        await asyncio.to_thread(ship)
    finally:
        served.certificate.write_bytes(before[0])
        served.key.write_bytes(before[1])
    messages = [record.message for record in caplog.records if "certificates" in record.message]
    assert len(messages) == 2
    assert "changed certificates are not used: LOGSTASH_KEY_FILE=" in messages[0]
    assert messages[1] == "changed certificates are used from now on"
