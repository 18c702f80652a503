"""The spool: what is kept, for how long, and what becomes of damage."""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jld_logstash import cursor, records
from jld_logstash.backlog import Backlog
from jld_logstash.errors import BadSettingError, InUseError
from jld_logstash.intake import Intake
from jld_logstash.spool import Batch, Spool
from stack import until


def test_kept_over_a_restart(spools: Any) -> None:
    """What was stored is there after a restart, what was confirmed is not."""
    with spools.open() as first:
        spools.store(first, "a", "b")
        spools.store(first, "c")
        backlog = Backlog(first)
        (record,) = backlog.take(1)
        backlog.confirm([record])
        assert first.events == 2
    with spools.open() as second:
        assert spools.held(second) == ["b", "c"]
        assert second.events == 2
        spools.store(second, "d")
        assert spools.held(second) == ["b", "c", "d"]


def test_private(spools: Any) -> None:
    """Nobody else may read what people's programs print."""
    with spools.open() as found:
        spools.store(found, "a")
        assert spools.folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in spools.folder.iterdir()} == {0o600}


def test_ids_hold_over_restarts(spools: Any) -> None:
    """An event without an id gets one that stays the same, and that no other event gets, in no spool."""

    def ids(of: Spool) -> list[bytes]:
        return [record.id for record in of.read(of.position)]

    with spools.open() as first:
        for _ in range(3):
            first.append(Batch(records.encode(b"", b"{}"), 1))
        spools.store(first, "d")
        before = ids(first)
    with spools.open() as second:
        assert ids(second) == before
        second.append(Batch(records.encode(b"", b"{}"), 1))
        spools.store(second, "e")
        after = ids(second)
    assert after[:4] == before
    shutil.rmtree(spools.folder)
    with spools.open() as third:
        third.append(Batch(records.encode(b"", b"{}"), 1))
        until("it is safe", lambda: third.events)
        after += ids(third)
    assert len(set(after)) == len(after) == 7
    assert max(map(len, after)) <= 255


def test_torn_end(spools: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A crash in the middle of a write costs that write only, and the start says so in one line."""
    with spools.open() as first:
        spools.store(first, "a", "b")
    (segment,) = spools.segments()
    content = segment.read_bytes()
    segment.write_bytes(content[:-3])
    with spools.open() as second:
        assert spools.held(second) == ["a"]
        assert second.events == 1
        spools.store(second, "c")
        assert spools.held(second) == ["a", "c"]
    with spools.open() as third:
        assert spools.held(third) == ["a", "c"]
    assert [record.message for record in caplog.records] == [
        f"repaired the spool: {len(content) // 2 - 3} bytes of a torn end cut off, 0 damaged places skipped"
    ]


def test_nothing_but_a_torn_end(spools: Any) -> None:
    """A segment that holds no whole event is no obstacle."""
    with spools.open() as first:
        spools.store(first, "a")
    (segment,) = spools.segments()
    segment.write_bytes(segment.read_bytes()[:5])
    with spools.open() as second:
        assert spools.held(second) == []
        assert spools.segments() == []
        spools.store(second, "b")
    with spools.open() as third:
        assert spools.held(third) == ["b"]


@pytest.mark.usefixtures("small_segments")
def test_damage(spools: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Damaged records are skipped, counted and said; those around them are kept."""
    with spools.open() as first:
        spools.store(first, "a", "b", "c")
        spools.store(first, "d")
        spools.store(first, "e")
    one, two, _ = spools.segments()
    content = one.read_bytes()
    place = content.index(b'"b"')
    one.write_bytes(content[:place] + b"?" + content[place + 1 :])
    two.write_bytes(bytes(two.stat().st_size))
    with spools.open() as second:
        assert spools.held(second) == ["a", "c", "e"]
        assert (second.events, second.damages) == (3, 2)
        backlog = Backlog(second)
        backlog.confirm(backlog.take(1000))
        assert second.events == 0
    assert [record.message for record in caplog.records] == [
        "repaired the spool: 0 bytes of a torn end cut off, 2 damaged places skipped"
    ]


def test_damage_while_it_runs(spools: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Damage that comes later is skipped, and said once."""
    with spools.open() as found:
        spools.store(found, "a", "b", "c")
        (segment,) = spools.segments()
        with segment.open("r+b") as file:
            file.seek(2)
            file.write(b"\0\0\0\0")
        assert spools.held(found) == spools.held(found) == ["b", "c"]
        assert found.damages == 1
    assert [record.message[:24] for record in caplog.records] == ["the spool has become dam"]


@pytest.mark.parametrize("content", [b"", b"12", b"x", b"9999 00000000\n", b"-1 00000000\n", b"\xff\xfe"])
def test_damaged_cursor(spools: Any, content: bytes) -> None:
    """With a damaged cursor all that is there is sent again: better twice than not at all."""
    with spools.open() as first:
        spools.store(first, "a", "b")
        first.confirm(spools.segments()[0].stat().st_size // 2, 1)
    (spools.folder / "cursor").write_bytes(content)
    with spools.open() as second:
        assert spools.held(second) == ["a", "b"]


@pytest.mark.usefixtures("small_segments")
def test_cursor_left_behind(spools: Any) -> None:
    """Where segments are gone that the cursor still points to, the rest is read."""
    with spools.open() as first:
        spools.store(first, "a")
        spools.store(first, "b")
    spools.segments()[0].unlink()
    with spools.open() as second:
        assert spools.held(second) == ["b"]


def test_lost_segments(spools: Any) -> None:
    """Where the cursor lies behind all that is left, new events are still found."""
    spools.folder.mkdir()
    cursor.store(spools.folder, 10_000)
    with spools.open() as found:
        spools.store(found, "a")
        assert spools.held(found) == ["a"]


@pytest.mark.usefixtures("quick_retries")
def test_full(spools: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A full spool takes nothing and drops nothing; it goes on by itself when events are confirmed."""
    caplog.set_level("INFO")
    limit = 8000
    with spools.open(limit) as found:
        waiting = [spools.batch(*(f"{number}-{name}" for name in range(20))) for number in range(30)]
        for added in waiting:
            found.append(added)
        until("it is full", lambda: found.trouble)
        assert found.trouble == "it is full (LOGSTASH_SPOOL_LIMIT: 8000 bytes)"
        assert found.size <= limit
        assert not waiting[-1].safe.done()
        backlog, read = Backlog(found), []
        while not waiting[-1].safe.done() or found.events:
            some = backlog.take(1000)
            read += [record.id.decode() for record in some]
            backlog.confirm(some)
            assert found.size <= limit
        assert found.trouble is None
    assert read == [f"{number}-{name}" for number in range(30) for name in range(20)]
    messages = [record.message for record in caplog.records]
    assert len([message for message in messages if "have to wait" in message]) == 1
    assert len([message for message in messages if "takes events again" in message]) == 1


@pytest.mark.usefixtures("quick_retries")
def test_larger_than_what_is_left(spools: Any) -> None:
    """A batch that fits only into an empty spool gets in as soon as all else is confirmed."""
    with spools.open(1000) as found:
        spools.store(found, "a" * 200)
        large = spools.batch("b" * 200, "c" * 200)
        found.append(large)
        until("it waits", lambda: found.trouble)
        backlog = Backlog(found)
        (record,) = backlog.take(1)
        backlog.confirm([record])
        large.safe.result(5)
        assert spools.held(found) == ["b" * 200, "c" * 200]


@pytest.mark.usefixtures("quick_retries")
def test_nobody_waits(spools: Any) -> None:
    """What nobody waits for any more is dropped while the spool is full, and readiness comes back with room."""
    with spools.open(1000) as found:
        spools.store(found, "a" * 200, "b" * 200)
        left = spools.batch("c" * 100, "d" * 100)
        found.append(left)
        until("it waits", lambda: found.trouble)
        left.safe.cancel()
        backlog = Backlog(found)
        backlog.confirm(backlog.take(1000))
        until("it takes events again", lambda: found.trouble is None)
        spools.store(found, "e")
        assert spools.held(found) == ["e"]


@pytest.mark.usefixtures("quick_retries")
def test_nobody_waits_behind_another(spools: Any) -> None:
    """What nobody waits for any more is forgotten also where somebody before it still waits for room."""
    with spools.open(1000) as found:
        spools.store(found, "a" * 200, "b" * 200)
        waiting, *left = (spools.batch("c" * 200, "d" * 200) for _ in range(20))
        for batch in (waiting, *left):
            found.append(batch)
        for batch in left:
            batch.safe.cancel()
        until("only one is left", lambda: list(found._batches) == [waiting])


async def test_gone_from_memory(spools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shipper that is gone has sent takes no memory, though the disk that it was for does not answer."""
    begun, goes_on = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        begun.set()
        goes_on.wait(60)

    with spools.open() as found:
        intake = Intake(found, "test")
        monkeypatch.setattr(os, "fsync", hang)
        first = intake.submit([b"{}"], intake.marker("filebeat"))
        assert await asyncio.to_thread(begun.wait, 60)
        for _ in range(2):
            intake.submit([b"{}"], intake.marker("filebeat")).cancel()
        await asyncio.sleep(0)
        assert [batch.data for batch in found._batches] == [b"", b""]
        goes_on.set()
        await first
        assert intake.size == 0


def test_confirmed_out_of_order(spools: Any) -> None:
    """The cursor never passes an event that is not confirmed, whatever comes in between."""
    with spools.open() as found:
        spools.store(found, *"abcd")
        backlog = Backlog(found)
        a, b, c, d = backlog.take(4)
        backlog.confirm([c, b])
        assert (found.position, found.events) == (0, 4)
        backlog.retry([d])
        backlog.retry([a])
        assert backlog.take(3) == [a, d]
        backlog.confirm([a])
        assert (found.position, found.events) == (c.end, 1)
        backlog.confirm([d])
        assert (found.position, found.events) == (d.end, 0)


def test_memory_of_the_backlog(spools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is in the spool, only so many events and bytes are read before some are confirmed."""
    with spools.open() as found:
        spools.store(found, *"abcdefgh")
        for limit, value, count in (("COUNT_LIMIT", 3, 3), ("SIZE_LIMIT", 2 * len('{"n":"a"}'), 2)):
            with monkeypatch.context() as patch:
                patch.setattr(f"jld_logstash.backlog.{limit}", value)
                assert len(Backlog(found).take(1000)) == count


def test_second_collector(spools: Any) -> None:
    """A spool has one owner."""
    with spools.open(), pytest.raises(InUseError, match=r"\ALOGSTASH_SPOOL_DIR=.*spool: .* no other collector uses"):
        Spool(spools.folder, spools.LIMIT)


@pytest.mark.parametrize("make", [lambda path: path.write_text(""), lambda path: (path / "lock").mkdir(parents=True)])
def test_no_folder(spools: Any, make: Callable[[Path], None]) -> None:
    """What is no folder that can be written is refused as a setting."""
    make(spools.folder)
    with pytest.raises(BadSettingError, match=r"\ALOGSTASH_SPOOL_DIR=.*spool: should be a folder to keep events in \("):
        Spool(spools.folder, spools.LIMIT)
