"""The connection: what is made of a collector's answers, and of its absence."""

import asyncio
import functools
import logging
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from jld_embedded.certificates import Authority
from jld_filebeat.client import Client, _keep_alive, _unsent

LINES = 5000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "BACKOFF_SECONDS", (0.01, 0.1))


@pytest.fixture
def _many(rig: Any) -> None:
    """Write a log of several windows."""
    rig.write("".join(f"{number}\n" for number in range(LINES)))


def numbers(collector: Any) -> list[int]:
    """Give the lines that arrived."""
    return [int(message) for message in collector.messages()]


def value(shipper: Any, name: str) -> float:
    """Give a metric's value."""
    found = shipper.metrics.registry.get_sample_value(f"filebeat_{name}")
    assert found is not None
    return float(found)


@pytest.mark.usefixtures("_many")
async def test_two_windows_at_once(rig: Any) -> None:
    """Two windows are on their way at once and no third, so that memory is bounded while the collector waits."""
    free = threading.Event()

    def wait(connection: Any, count: int) -> None:
        if len(rig.collector.sizes) == 2:
            assert free.wait(10)
            connection.ack(rig.collector.sizes[0])
            connection.ack(count)
        elif len(rig.collector.sizes) > 2:
            connection.ack(count)

    rig.collector.answer = wait
    async with rig.shipping() as shipper:
        await rig.soon("two windows", lambda: rig.collector.sizes == [2048, 2048])
        assert value(shipper, "events_sent_total") == 4096
        assert value(shipper, "events_acknowledged_total") == 0
        assert value(shipper, "windows_outstanding") == 2
        await rig.soon("the third is read", lambda: value(shipper, "windows_waiting") == 1)
        free.set()
        await rig.soon("the rest", lambda: numbers(rig.collector) == list(range(LINES)))
        await rig.soon("all acknowledged", lambda: value(shipper, "events_acknowledged_total") == LINES)
        assert value(shipper, "windows_outstanding") == value(shipper, "windows_waiting") == 0
        assert value(shipper, "connected") == 1
        assert value(shipper, "reconnects_total") == 0


@pytest.mark.usefixtures("_many")
async def test_partial_acknowledgements(rig: Any) -> None:
    """Partial acknowledgements and signs of life in between are taken, and the rest alone is sent again."""

    def answer(connection: Any, count: int) -> None:
        connection.ack(0)
        if len(rig.collector.sizes) == 1:
            connection.ack(1000)
            connection.ack(0)
            connection.ack(1500)
            connection.close()
        else:
            connection.ack(count)

    rig.collector.answer = answer
    async with rig.shipping() as shipper:
        await rig.soon("all acknowledged", lambda: value(shipper, "events_acknowledged_total") == LINES)
    assert set(numbers(rig.collector)) == set(range(LINES))
    again = next(i for i, size in enumerate(rig.collector.sizes) if size == 2048 - 1500)
    start = sum(rig.collector.sizes[:again])
    assert numbers(rig.collector)[start] == 1500


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda connection, count: connection.ack(count + 1), "acknowledged 2 of 1"),
        (lambda connection, count: connection.send(b"2J\0\0\0\1" + bytes(count)), "sent b'2J' for an acknowledgement"),
        (lambda connection, _: connection.close(), "it ended the connection"),
    ],
)
async def test_hard_errors(rig: Any, caplog: pytest.LogCaptureFixture, answer: Any, reason: str) -> None:
    """A wrong answer ends the connection, is told once, and nothing counts as acknowledged; all is sent again."""
    caplog.set_level(logging.INFO)
    rig.write("one\n")
    rig.collector.answer = answer
    async with rig.shipping() as shipper:
        await rig.soon("it is sent again and again", lambda: rig.collector.messages()[:3] == ["one"] * 3)
        assert value(shipper, "events_acknowledged_total") == 0
        assert len({event["event"]["id"] for event in rig.collector.events}) == 1
        rig.collector.answer = lambda connection, count: connection.ack(count)
        await rig.soon("it is acknowledged", lambda: value(shipper, "events_acknowledged_total") == 1)
        assert value(shipper, "reconnects_total") >= 3
    told = [record.getMessage() for record in caplog.records if record.name == "jld_filebeat.client"]
    address = f"127.0.0.1:{rig.collector.port}"
    assert told == [f"{address}: {reason}; events wait in their files", f"{address} takes events"]


async def test_coming_and_going(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that comes and goes makes no line each time: the shipper's own log may be what is shipped."""
    caplog.set_level(logging.INFO)

    def answer(connection: Any, count: int) -> None:
        connection.ack(count)
        connection.close()

    rig.collector.answer = answer
    async with rig.shipping() as shipper:
        for number in range(1, 6):
            rig.write(f"{number}\n")
            acknowledged = functools.partial(value, shipper, "events_acknowledged_total")
            await rig.soon("it is acknowledged", lambda number=number, get=acknowledged: get() == number)
    assert len([record for record in caplog.records if record.name == "jld_filebeat.client"]) <= 3


async def test_stuck(rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """A collector that only says that it is at work is left after a while, and all is sent again."""
    monkeypatch.setattr(Client, "PROGRESS_SECONDS", 0.3)
    rig.write("one\n")

    def only_alive(connection: Any, _: int) -> None:
        for _ in range(1000):
            if len(rig.collector.connections) > 1:
                return
            connection.ack(0)

    rig.collector.answer = only_alive
    async with rig.shipping():
        await rig.soon("a second connection", lambda: len(rig.collector.connections) > 1)
        rig.collector.answer = lambda connection, count: connection.ack(count)
        await rig.soon("it is sent again", lambda: len(rig.collector.events) > 1)
    assert "acknowledged nothing for 0.3 s" in caplog.text


async def test_silent(rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """A collector that says nothing at all is left sooner."""
    monkeypatch.setattr(Client, "SILENT_SECONDS", 0.2)
    rig.write("one\n")

    def second_time(connection: Any, count: int) -> None:
        if len(rig.collector.connections) > 1:
            connection.ack(count)

    rig.collector.answer = second_time
    async with rig.shipping() as shipper:
        await rig.soon("it is acknowledged", lambda: value(shipper, "events_acknowledged_total") == 1)
    assert "said nothing for 0.2 s" in caplog.text


async def test_slow_way(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow way a large window takes longer than a collector may be silent, and arrives on one connection."""
    monkeypatch.setattr(Client, "SILENT_SECONDS", 1)
    rig.collector.be_slow(0.03)
    rig.write(f"{random.randbytes(2**20).hex()}\n")
    async with rig.shipping() as shipper:
        await rig.soon("it is acknowledged", lambda: value(shipper, "events_acknowledged_total") == 1)
        assert value(shipper, "reconnects_total") == 0
    assert len(rig.collector.events) == 1


async def test_idle_connection_is_ended(rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """A collector that ends an idle connection is connected to again without a word."""
    monkeypatch.setattr(Client, "IDLE_SECONDS", 0)
    rig.write("one\n")
    async with rig.shipping() as shipper:
        await rig.soon("it is acknowledged", lambda: value(shipper, "events_acknowledged_total") == 1)
        rig.collector.connections[0].close()
        await rig.soon("a second connection", lambda: len(rig.collector.connections) == 2)
        rig.write("two\n")
        await rig.soon("the next line", lambda: rig.collector.messages() == ["one", "two"])
    assert caplog.records == []


async def test_collector_away(rig: Any, caplog: Any) -> None:
    """Lines that are written while the collector is away arrive when it is back, even of files removed meanwhile."""
    rig.collector.go_away()
    rig.write("one\n")
    async with rig.shipping() as shipper:
        await rig.soon("an attempt", lambda: "Connection refused" in caplog.text)
        await rig.soon("it is ready all the same", lambda: shipper.trouble() is None)
        assert value(shipper, "connected") == 0
        await rig.soon("it is followed", lambda: shipper.update() or value(shipper, "files_open") == 1)
        (rig.logs / "app.log").unlink()
        rig.collector.come_back()
        await rig.soon("it is acknowledged", lambda: value(shipper, "events_acknowledged_total") == 1)
        assert value(shipper, "connected") == 1
        rig.collector.go_away()
        await rig.soon("the loss is noticed", lambda: value(shipper, "connected") == 0)
    assert "Connection refused" in caplog.text


async def test_gone_at_once(rig: Any) -> None:
    """A connection that is gone before anything was said on it is one that broke, not a bug that ends the shipper."""
    _, writer = await asyncio.open_connection("127.0.0.1", rig.collector.port)
    writer.close()
    await writer.wait_closed()
    for look in (_unsent, _keep_alive):
        with pytest.raises(ConnectionResetError):
            look(writer)


async def test_unknown_authority(rig: Any, tmp_path: Path, caplog: Any) -> None:
    """A collector whose certificate is not the authority's gets nothing."""
    rig.write("one\n")
    (tmp_path / "other").mkdir()
    rig.environment["FILEBEAT_CA_FILE"] = str(Authority(tmp_path / "other").certificate)
    async with rig.shipping():
        await rig.soon("it is told", lambda: "its certificate is refused" in caplog.text)


async def test_wrong_name(rig: Any, caplog: Any) -> None:
    """A collector whose certificate has another name gets nothing."""
    rig.write("one\n")
    rig.environment["FILEBEAT_COLLECTOR_HOST"] = "127.0.0.2"
    rig.collector.go_away()
    rig.collector.come_back("127.0.0.2")
    async with rig.shipping():
        await rig.soon("it is told", lambda: "not valid for '127.0.0.2'" in caplog.text)
    assert rig.collector.events == []


async def test_certificate_is_refused(rig: Any, tmp_path: Path, caplog: Any) -> None:
    """A shipper whose certificate the collector refuses says so once, and takes a new one from the same files."""
    rig.write("one\n")
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").issue("shipper")
    names = ("FILEBEAT_CERTIFICATE_FILE", "FILEBEAT_KEY_FILE")
    good = rig.files(*names)
    rig.environment |= dict(zip(names, map(str, stranger), strict=True))
    async with rig.shipping():
        await rig.soon("it is told", lambda: "TLS fails" in caplog.text)
        assert rig.collector.events == []
        for path, content in zip(stranger, good, strict=True):
            path.write_bytes(content)
        await rig.soon("the line", lambda: rig.collector.messages() == ["one"])


async def test_backpressure_bounds_reading(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read and not acknowledged is two windows on their way and two to come, however much is waiting."""
    monkeypatch.setattr("jld_filebeat.shipper.STOP_SECONDS", 0)
    rig.collector.answer = lambda *_: None
    for name in "abc":
        rig.write(f"{'x' * 1000}\n" * 10_000, f"{name}.log")
    async with rig.shipping() as shipper:
        await rig.soon("two windows", lambda: len(rig.collector.sizes) == 2)
        await rig.soon("two more", lambda: value(shipper, "bytes_read_total") > 2.5 * 2**20)
        for _ in range(10):  # as often as it could go on, were it to go on
            await rig.soon("a look at it", lambda: shipper.update() or True)
        assert value(shipper, "bytes_read_total") < 3.5 * 2**20
        assert len(rig.collector.sizes) == 2
        shipper.update()
        assert value(shipper, "lag_bytes") == 3 * 10_000 * 1001
