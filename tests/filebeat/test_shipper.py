"""The shipper as a whole, against a collector."""

import errno
import json
import logging
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from jld_filebeat import service
from jld_filebeat.metrics import Metrics
from watchdog.observers.inotify_c import Inotify


async def test_latency(rig: Any) -> None:
    """A line that is appended is on the wire within 0.2 s."""
    rig.write("first\n")
    seconds = []
    async with rig.shipping():
        for number in range(1, 6):
            await rig.soon("the line", lambda number=number: len(rig.collector.events) == number)
            begin = time.monotonic()
            rig.write("next\n")
            await rig.soon("the line", lambda number=number: len(rig.collector.events) == number + 1)
            seconds.append(rig.collector.times[-1] - begin)
    # The machine may be busy with something else once.
    assert statistics.median(seconds) < 0.2


async def test_fields(rig: Any) -> None:
    """A line arrives with all fields, whether it was there before or is appended."""
    file = rig.logs / "app.log"
    rig.write("first\n")
    async with rig.shipping():
        await rig.soon("the first line", lambda: rig.collector.messages() == ["first"])
        rig.write("second\n")
        await rig.soon("the second line", lambda: rig.collector.messages() == ["first", "second"])
    event = rig.collector.events[1]
    identity, _, offset = event["event"]["id"].rpartition("-")
    assert (len(identity), offset) == (32, "6")
    assert event["event"]["id"] != rig.collector.events[0]["event"]["id"]
    assert event["log"] == {"file": {"path": str(file)}, "offset": 6}
    assert event["shipper"] == "jupyterlabdemo"
    assert event["host"] == {"name": "node-1"}
    assert event["@metadata"] == {"beat": "filebeat", "version": "0.1.0", "type": "_doc"}
    assert "stream" not in event
    assert event["@timestamp"].endswith("Z")


async def test_new_files_and_folders(rig: Any) -> None:
    """Files in folders that come up later are found, by hints, within a fraction of a second."""
    rig.environment["FILEBEAT_INPUTS"] = f"cri:{rig.logs}/*/*/*.log*"
    async with rig.shipping() as shipper:
        await rig.soon("it has looked", lambda: shipper.trouble() is None)
        begin = time.monotonic()
        container = rig.logs / "ns_pod_uid" / "notebook"
        container.mkdir(parents=True)
        (container / "0.log").write_text("2026-01-02T03:04:05.123Z stdout F hello\n")
        await rig.soon("the line", lambda: rig.collector.messages() == ["hello"])
        assert time.monotonic() - begin < 0.9
    assert rig.collector.events[0]["kubernetes"]["pod"] == "pod"


async def test_without_hints(rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Where inotify has no instances left, rescans find everything, and that is told once."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr("jld_filebeat.watch.Inotify", refuse)
    monkeypatch.setattr("jld_filebeat.shipper.RESCAN_SECONDS", 0.1)
    async with rig.shipping():
        for name in ("a", "b"):
            rig.write(f"{name}\n", f"{name}.log")
            await rig.soon("the line", lambda name=name: name in rig.collector.messages())
    assert caplog.text.count("inotify has no more instances") == 1


@pytest.mark.parametrize("is_short", [False, True])
async def test_hints_that_break(rig: Any, monkeypatch: pytest.MonkeyPatch, is_short: bool) -> None:
    """When watchdog loses track of folders, the next rescan begins anew with it, though a watch was refused before."""
    monkeypatch.setattr("jld_filebeat.shipper.RESCAN_SECONDS", 0.1)
    real = Inotify.read_events
    real_add = Inotify.add_watch
    broken = iter([True])
    refused = iter([is_short])
    made = []

    def make(*arguments: Any, **options: Any) -> Inotify:
        made.append(Inotify(*arguments, **options))
        return made[-1]

    def read(self: Inotify) -> Any:
        if next(broken, False):
            real(self)
            raise KeyError(1)
        return real(self)

    def add(self: Inotify, path: bytes) -> None:
        if next(refused, False):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        real_add(self, path)

    monkeypatch.setattr(Inotify, "add_watch", add)
    monkeypatch.setattr(Inotify, "read_events", read)
    monkeypatch.setattr("jld_filebeat.watch.Inotify", make)

    def begins_anew() -> bool:
        rig.write("again\n", "a.log")
        return len(made) == 2

    async with rig.shipping():
        for name in ("a", "b"):
            rig.write(f"{name}\n", f"{name}.log")
            await rig.soon("the line", lambda name=name: name in rig.collector.messages())
        await rig.soon("a new beginning", begins_anew)


async def test_unwritable_state(rig: Any, caplog: Any) -> None:
    """While the registry cannot be written, known files are shipped and new ones wait, and readiness says so."""
    caplog.set_level(logging.INFO)
    rig.write("one\n", "known.log")
    obstacle = Path(rig.environment["FILEBEAT_STATE_DIR"]) / "registry.json.new"
    async with rig.shipping() as shipper:
        await rig.soon("the first line", lambda: rig.collector.messages() == ["one"])
        await rig.soon("the registry", lambda: registered_offset(rig.environment) == 4)
        obstacle.mkdir()
        rig.write("new\n", "new.log")
        await rig.soon("the trouble", shipper.trouble)
        assert shipper.trouble() == "the registry cannot be written: Is a directory"
        rig.write("two\n", "known.log")
        await rig.soon("the known file", lambda: rig.collector.messages() == ["one", "two"])
        failures = shipper.metrics.registry.get_sample_value("filebeat_registry_write_failures_total")
        assert failures >= 1
        obstacle.rmdir()
        await rig.soon("the new file", lambda: rig.collector.messages() == ["one", "two", "new"])
        assert shipper.trouble() is None
    assert caplog.text.count("the registry cannot be written") == 1
    assert caplog.text.count("the registry can be written again") == 1


async def test_registry_never_ahead(rig: Any) -> None:
    """The registry has a file's id before its first event leaves, and no offset that was not acknowledged."""
    seen: list[int] = []

    def answer(connection: Any, count: int) -> None:
        seen.append(registered_offset(rig.environment))
        connection.ack(count)

    rig.collector.answer = answer
    rig.write("one\n")
    async with rig.shipping():
        await rig.soon("one", lambda: rig.collector.messages() == ["one"])
        await rig.soon("its offset", lambda: registered_offset(rig.environment) == 4)
        rig.write("two\n")
        await rig.soon("two", lambda: rig.collector.messages() == ["one", "two"])
    assert seen == [0, 4]
    assert registered_offset(rig.environment) == 8


def registered_offset(environment: dict[str, str]) -> int:
    """Give the offset of the one file in the registry."""
    content = json.loads((Path(environment["FILEBEAT_STATE_DIR"]) / "registry.json").read_bytes())
    (entry,) = content["files"]
    return int(entry["offset"])


async def test_readiness() -> None:
    """Readiness says why there is none."""
    troubles = iter(["the registry cannot be written: Is a directory", None])
    app = service.application(Metrics(), lambda: None, lambda: next(troubles))
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/readyz")
        assert answer.status == 503
        assert await answer.json() == {
            "error": "not-ready",
            "message": "the registry cannot be written: Is a directory",
        }
        answer = await client.get("/readyz")
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
