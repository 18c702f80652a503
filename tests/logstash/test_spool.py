"""The spool: what it promises survives crashes, full disks and damage."""

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jld_logstash import cursor, records, spool
from jld_logstash.backlog import Backlog
from jld_logstash.errors import BadSettingError, InUseError
from jld_logstash.spool import Batch, Spool
from stack import until

LIMIT = 2**30

Open = Callable[..., "contextlib.AbstractContextManager[Spool]"]


def batch(*names: str) -> Batch:
    """Make a batch of events, each with its name as id."""
    data = b"".join(records.encode(name.encode(), b'{"n":"%s"}' % name.encode()) for name in names)
    return Batch(data, len(names))


def held(folder: Spool) -> list[str]:
    """Give the names of all events that are not confirmed."""
    return [record.id.decode() for record in folder.read(folder.position)]


@contextlib.contextmanager
def opened(folder: Path, limit: int = LIMIT) -> Iterator[Spool]:
    """Open a spool, and close it at the end."""
    found = Spool(folder, limit)
    found.start()
    try:
        yield found
    finally:
        found.close(5)
        assert not found.is_alive
        os.close(found._lock)


def store(into: Spool, *names: str) -> None:
    """Put events into a spool and wait until they are safe."""
    added = batch(*names)
    into.append(added)
    added.safe.result(5)


def segments(folder: Path) -> list[Path]:
    """Give the segments in a folder, in their order."""
    return sorted(folder.glob("*.segment"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the path of a spool that is not there yet."""
    return tmp_path / "spool"


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each batch have a segment of its own."""
    monkeypatch.setattr(spool, "SEGMENT_SIZE", 1)


def test_kept_over_a_restart(folder: Path) -> None:
    """What was stored is there after a restart, what was confirmed is not."""
    with opened(folder) as first:
        store(first, "a", "b")
        store(first, "c")
        backlog = Backlog(first)
        record = backlog.next()
        assert record
        backlog.confirm([record])
        assert first.events == 2
    with opened(folder) as second:
        assert held(second) == ["b", "c"]
        assert second.events == 2
        store(second, "d")
        assert held(second) == ["b", "c", "d"]


def test_private(folder: Path) -> None:
    """Nobody else may read what people's programs print."""
    with opened(folder) as found:
        store(found, "a")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_ids_hold_over_restarts(folder: Path) -> None:
    """An event without an id gets one that stays the same, and that no other event gets, in no spool."""

    def ids(of: Spool) -> list[bytes]:
        return [record.id for record in of.read(of.position)]

    with opened(folder) as first:
        for _ in range(3):
            first.append(Batch(records.encode(b"", b"{}"), 1))
        store(first, "d")
        before = ids(first)
    with opened(folder) as second:
        assert ids(second) == before
        second.append(Batch(records.encode(b"", b"{}"), 1))
        store(second, "e")
        after = ids(second)
    assert after[:4] == before
    shutil.rmtree(folder)
    with opened(folder) as third:
        third.append(Batch(records.encode(b"", b"{}"), 1))
        until("it is safe", lambda: third.events)
        after += ids(third)
    assert len(set(after)) == len(after) == 7
    assert max(map(len, after)) <= 255


class ForgetfulDisk:
    """What is on disk if the power goes: only what was synced, under names that were synced.

    Args:
        folder: the folder of which it is told.
        monkeypatch: changes os.fsync.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.files: dict[int, bytes] = {}
        self.names: dict[str, int] = {}
        self.trace: list[str] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.sync)

    def sync(self, file: int) -> None:
        """Remember a file's content, or a folder's names."""
        self._fsync(file)
        path = Path(f"/proc/self/fd/{file}").readlink()
        self.trace.append(path.name)
        if path == self.folder:
            self.names = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self.files[os.fstat(file).st_ino] = path.read_bytes()

    def after_power_cut(self, folder: Path) -> None:
        """Write what is left into another folder."""
        folder.mkdir()
        for name, inode in self.names.items():
            (folder / name).write_bytes(self.files.get(inode, b""))


def test_power_cut(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_segments: None) -> None:
    """Whenever events are told to be safe, they are there after a power cut at that very moment."""
    disk = ForgetfulDisk(folder, monkeypatch)
    cuts: list[Path] = []

    def cut(_: object) -> None:
        cuts.append(tmp_path / f"cut-{len(cuts)}")
        disk.after_power_cut(cuts[-1])

    with opened(folder) as found:
        for number in range(20):
            added = batch(f"{number}")
            added.safe.add_done_callback(cut)
            found.append(added)
            if number % 7 == 6:
                added.safe.result(5)
        until("all are safe", lambda: len(cuts) == 20)
    for number, left in enumerate(cuts):
        with opened(left) as found:
            assert {str(safe) for safe in range(number + 1)} <= set(held(found))


def test_cursor_before_removal(folder: Path, monkeypatch: pytest.MonkeyPatch, small_segments: None) -> None:
    """A segment is removed only after the cursor that makes it superfluous is on disk."""
    disk = ForgetfulDisk(folder, monkeypatch)
    unlink = Path.unlink

    def traced(path: Path, *, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        disk.trace.append(f"unlink {path.name}")

    monkeypatch.setattr(Path, "unlink", traced)
    with opened(folder) as found:
        store(found, "a")
        store(found, "b")
        first = segments(folder)[0]
        disk.trace.clear()
        backlog = Backlog(found)
        record = backlog.next()
        assert record
        backlog.confirm([record])
        until("the first segment is gone", lambda: not first.exists())
    assert disk.trace[:3] == ["cursor.new", "spool", f"unlink {first.name}"]


def test_one_sync_for_many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that wait at the same time become safe with one sync of the file."""
    synced = []
    fsync = os.fsync

    def count(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().suffix)
        fsync(file)

    monkeypatch.setattr(os, "fsync", count)
    found = Spool(folder, LIMIT)
    batches = [batch(f"{number}") for number in range(50)]
    for added in batches:
        found.append(added)
    found.start()
    for added in batches:
        added.safe.result(5)
    found.close(5)
    assert synced.count(".segment") == 1


def test_torn_end(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A crash in the middle of a write costs that write only, and the start says so in one line."""
    with opened(folder) as first:
        store(first, "a", "b")
    (segment,) = segments(folder)
    content = segment.read_bytes()
    segment.write_bytes(content[:-3])
    with opened(folder) as second:
        assert held(second) == ["a"]
        assert second.events == 1
        store(second, "c")
        assert held(second) == ["a", "c"]
    with opened(folder) as third:
        assert held(third) == ["a", "c"]
    assert [record.message for record in caplog.records] == [
        f"repaired the spool: {len(content) // 2 - 3} bytes of a torn end cut off, 0 damaged places skipped"
    ]


def test_nothing_but_a_torn_end(folder: Path) -> None:
    """A segment that holds no whole event is no obstacle."""
    with opened(folder) as first:
        store(first, "a")
    (segment,) = segments(folder)
    segment.write_bytes(segment.read_bytes()[:5])
    with opened(folder) as second:
        assert held(second) == []
        assert segments(folder) == []
        store(second, "b")
    with opened(folder) as third:
        assert held(third) == ["b"]


def test_damage(folder: Path, caplog: pytest.LogCaptureFixture, small_segments: None) -> None:
    """Damaged records are skipped, counted and said; those around them are kept."""
    with opened(folder) as first:
        store(first, "a", "b", "c")
        store(first, "d")
        store(first, "e")
    one, two, _ = segments(folder)
    content = one.read_bytes()
    place = content.index(b'"b"')
    one.write_bytes(content[:place] + b"?" + content[place + 1 :])
    two.write_bytes(bytes(two.stat().st_size))
    with opened(folder) as second:
        assert held(second) == ["a", "c", "e"]
        assert (second.events, second.damages) == (3, 2)
        backlog = Backlog(second)
        backlog.confirm([record for record in iter(backlog.next, None) if record])
        assert second.events == 0
    assert [record.message for record in caplog.records] == [
        "repaired the spool: 0 bytes of a torn end cut off, 2 damaged places skipped"
    ]


def test_damage_while_it_runs(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Damage that comes later is skipped, and said once."""
    with opened(folder) as found:
        store(found, "a", "b", "c")
        (segment,) = segments(folder)
        with segment.open("r+b") as file:
            file.seek(2)
            file.write(b"\0\0\0\0")
        assert held(found) == held(found) == ["b", "c"]
        assert found.damages == 1
    assert [record.message[:24] for record in caplog.records] == ["the spool has become dam"]


@pytest.mark.parametrize("content", [b"", b"12", b"x", b"9999 00000000\n", b"-1 00000000\n", b"\xff\xfe"])
def test_damaged_cursor(folder: Path, content: bytes) -> None:
    """With a damaged cursor all that is there is sent again: better twice than not at all."""
    with opened(folder) as first:
        store(first, "a", "b")
        first.confirm(segments(folder)[0].stat().st_size // 2, 1)
    (folder / "cursor").write_bytes(content)
    with opened(folder) as second:
        assert held(second) == ["a", "b"]


def test_cursor_left_behind(folder: Path, small_segments: None) -> None:
    """Where segments are gone that the cursor still points to, the rest is read."""
    with opened(folder) as first:
        store(first, "a")
        store(first, "b")
    segments(folder)[0].unlink()
    with opened(folder) as second:
        assert held(second) == ["b"]


def test_lost_segments(folder: Path) -> None:
    """Where the cursor lies behind all that is left, new events are still found."""
    folder.mkdir()
    cursor.store(folder, 10_000)
    with opened(folder) as found:
        store(found, "a")
        assert held(found) == ["a"]


def test_full(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full spool takes nothing and drops nothing; it goes on by itself when events are confirmed."""
    caplog.set_level("INFO")
    limit = 8000
    with opened(folder, limit) as found:
        waiting = [batch(*(f"{number}-{name}" for name in range(20))) for number in range(30)]
        for added in waiting:
            found.append(added)
        until("it is full", lambda: found.trouble)
        assert found.trouble == "it is full (LOGSTASH_SPOOL_LIMIT: 8000 bytes)"
        assert found.size <= limit
        assert not waiting[-1].safe.done()
        backlog, read = Backlog(found), []
        while not waiting[-1].safe.done() or found.events:
            some = [record for record in iter(backlog.next, None) if record]
            read += [record.id.decode() for record in some]
            backlog.confirm(some)
            assert found.size <= limit
        assert found.trouble is None
    assert read == [f"{number}-{name}" for number in range(30) for name in range(20)]
    messages = [record.message for record in caplog.records]
    assert len([message for message in messages if "have to wait" in message]) == 1
    assert len([message for message in messages if "takes events again" in message]) == 1


def test_larger_than_what_is_left(folder: Path) -> None:
    """A batch that fits only into an empty spool gets in as soon as all else is confirmed."""
    with opened(folder, 1000) as found:
        store(found, "a" * 200)
        large = batch("b" * 200, "c" * 200)
        found.append(large)
        until("it waits", lambda: found.trouble)
        backlog = Backlog(found)
        record = backlog.next()
        assert record
        backlog.confirm([record])
        large.safe.result(5)
        assert held(found) == ["b" * 200, "c" * 200]


def test_nobody_waits(folder: Path) -> None:
    """What nobody waits for any more is dropped while the spool is full, and readiness comes back with room."""
    with opened(folder, 1000) as found:
        store(found, "a" * 200, "b" * 200)
        left = batch("c" * 100, "d" * 100)
        found.append(left)
        until("it waits", lambda: found.trouble)
        left.safe.cancel()
        backlog = Backlog(found)
        backlog.confirm([record for record in iter(backlog.next, None) if record])
        until("it takes events again", lambda: found.trouble is None)
        store(found, "e")
        assert held(found) == ["e"]


class BadDisk:
    """A disk that refuses on command.

    Args:
        monkeypatch: changes os.write and os.fsync.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuses: dict[str, int] = {}
        self.files: list[str] = []
        """Which files were synced, or would have been."""
        for name in ("write", "fsync"):
            monkeypatch.setattr(os, name, self._maybe(name, getattr(os, name)))

    def _maybe(self, name: str, real: Callable[..., int]) -> Callable[..., int]:
        def call(file: int, *arguments: bytes) -> int:
            path = Path(f"/proc/self/fd/{file}").readlink()
            if name == "fsync":
                self.files.append(path.name)
            if path.name.startswith("cursor") and "cursor" not in self.refuses:
                return real(file, *arguments)
            if number := self.refuses.get(name):
                if name == "write" and arguments[0][:10] != arguments[0]:
                    real(file, arguments[0][:10])  # a full disk takes a part first
                raise OSError(number, os.strerror(number))
            return real(file, *arguments)

        return call


@pytest.mark.parametrize(("name", "number"), [("write", errno.ENOSPC), ("fsync", errno.EIO), ("write", errno.EDQUOT)])
def test_disk_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, number: int
) -> None:
    """While the disk refuses, events wait, which is said once; later each is there once."""
    monkeypatch.setattr(spool, "RETRY_SECONDS", 0.01)
    disk = BadDisk(monkeypatch)
    with opened(folder) as found:
        store(found, "a")
        disk.refuses = {name: number}
        first, second = batch("b"), batch("c")
        found.append(first)
        until("it waits", lambda: found.trouble == os.strerror(number))
        found.append(second)
        before = len(disk.files)
        until("it tried again", lambda: len(disk.files) > before + 2 or name == "write")
        assert held(found) == ["a"]
        assert not first.safe.done()
        disk.refuses = {}
        second.safe.result(5)
        assert first.safe.done()
        assert found.trouble is None
        assert held(found) == ["a", "b", "c"]
    with opened(folder) as again:
        assert held(again) == ["a", "b", "c"]
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"the spool takes no events, shippers have to wait: {os.strerror(number)}"]


def test_never_the_same_file_after_a_failed_sync(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync another file is written, as the kernel forgets what it failed to write."""
    monkeypatch.setattr(spool, "RETRY_SECONDS", 0.01)
    disk = BadDisk(monkeypatch)
    with opened(folder) as found:
        store(found, "a")
        disk.files.clear()
        disk.refuses = {"fsync": errno.EIO}
        added = batch("b")
        found.append(added)
        until("it tried twice", lambda: len(disk.files) >= 2)
        disk.refuses = {}
        added.safe.result(5)
        tried = [name for name in disk.files if name.endswith(".segment")]
        assert len(set(tried)) == len(tried)


def test_cursor_on_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch, small_segments: None) -> None:
    """On a full disk confirmed events are removed though the cursor cannot be stored: nothing else makes room."""
    disk = BadDisk(monkeypatch)
    with opened(folder) as found:
        for name in "abc":
            store(found, name)
        disk.refuses = {"write": errno.ENOSPC, "cursor": 1}
        backlog = Backlog(found)
        given = [record for record in iter(backlog.next, None) if record]
        backlog.confirm(given[:2])
        until("the confirmed ones are removed", lambda: len(segments(folder)) == 1)
        del disk.refuses["cursor"]
    disk.refuses = {}
    with opened(folder) as again:
        assert held(again) == ["c"]


def test_confirmed_out_of_order(folder: Path) -> None:
    """The cursor never passes an event that is not confirmed, whatever comes in between."""
    with opened(folder) as found:
        store(found, *"abcd")
        backlog = Backlog(found)
        a, b, c, d = (record for record in iter(backlog.next, None) if record)
        backlog.confirm([c, b])
        assert (found.position, found.events) == (0, 4)
        backlog.retry([d])
        backlog.retry([a])
        assert (backlog.next(), backlog.next(), backlog.next()) == (a, d, None)
        backlog.confirm([a])
        assert (found.position, found.events) == (c.end, 1)
        backlog.confirm([d])
        assert (found.position, found.events) == (d.end, 0)


def test_memory_of_the_backlog(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is in the spool, only so many events and bytes are read before some are confirmed."""
    with opened(folder) as found:
        store(found, *"abcdefgh")
        for limit, value, count in (("COUNT_LIMIT", 3, 3), ("SIZE_LIMIT", 2 * len('{"n":"a"}'), 2)):
            with monkeypatch.context() as patch:
                patch.setattr(f"jld_logstash.backlog.{limit}", value)
                assert len(list(iter(Backlog(found).next, None))) == count


def test_second_collector(folder: Path) -> None:
    """A spool has one owner."""
    with opened(folder), pytest.raises(InUseError, match=r"\ALOGSTASH_SPOOL_DIR=.*spool: .* no other collector uses"):
        Spool(folder, LIMIT)


@pytest.mark.parametrize("make", [lambda path: path.write_text(""), lambda path: (path / "lock").mkdir(parents=True)])
def test_no_folder(folder: Path, make: Callable[[Path], None]) -> None:
    """What is no folder that can be written is refused as a setting."""
    make(folder)
    with pytest.raises(BadSettingError, match=r"\ALOGSTASH_SPOOL_DIR=.*spool: should be a folder to keep events in \("):
        Spool(folder, LIMIT)


def test_hanging_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs stops neither those who bring events nor the end."""
    goes_on = threading.Event()
    found = Spool(folder, LIMIT)
    monkeypatch.setattr(os, "fsync", lambda _: goes_on.wait(10))
    found.start()
    added = batch("a")
    found.append(added)
    found.append(batch("b"))
    found.close(0.1)
    assert found.is_alive
    assert not added.safe.done()
    goes_on.set()
    until("it ends", lambda: not found.is_alive)
