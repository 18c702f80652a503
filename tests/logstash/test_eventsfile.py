"""The file that events are written to where there is no broker."""

import errno
import os
from pathlib import Path

import pytest
from jld_logstash import eventsfile, records
from jld_logstash.errors import BadSettingError
from jld_logstash.eventsfile import EventsFile
from jld_logstash.metrics import Metrics
from jld_logstash.spool import Batch, Spool
from stack import until


class Written:
    """A spool, and the file that its events are written to.

    Args:
        folder: where both are.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events"
        self.spool = Spool(folder / "spool", 2**30)
        self.file = EventsFile(self.path, self.spool, Metrics(self.spool))
        self.spool.on_safe = self.file.wake

    def start(self) -> None:
        """Begin to write."""
        self.spool.start()
        self.file.start()

    def put(self, *events: bytes) -> None:
        """Put events into the spool and wait until they are safe."""
        batch = Batch(b"".join(records.encode(b"", event) for event in events), len(events))
        self.spool.append(batch)
        batch.safe.result(5)

    def lines(self) -> list[bytes]:
        """Give the lines of the file."""
        return self.path.read_bytes().splitlines()

    def close(self) -> None:
        """End both."""
        self.file.stop(5)
        self.spool.close(5)
        os.close(self.spool._lock)


def test_confirmed_after_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events leave the spool only after they are on disk in the file."""
    synced: list[bytes] = []
    found = Written(tmp_path)
    fsync, confirm = os.fsync, found.spool.confirm

    def sync(file: int) -> None:
        fsync(file)
        if Path(f"/proc/self/fd/{file}").readlink() == found.path:
            synced.extend(found.lines())

    def check(position: int, count: int) -> None:
        assert synced == [b"1", b"2"]
        confirm(position, count)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(found.spool, "confirm", check)
    found.start()
    found.put(b"1", b"2")
    until("all are confirmed", lambda: found.spool.events == 0)
    found.close()
    assert found.path.stat().st_mode & 0o777 == 0o600


def test_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that would become too long is moved, and one older file is kept."""
    monkeypatch.setattr(eventsfile, "SIZE_LIMIT", 10)
    found = Written(tmp_path)
    found.start()
    for number in (b"1111", b"2222", b"3333", b"4444", b"5555"):
        found.put(number)
        until("it is written", lambda: found.spool.events == 0)
    found.close()
    assert found.lines() == [b"5555"]
    assert (tmp_path / "events.1").read_bytes() == b"3333\n4444\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "events.1", "spool"]


def test_unfinished_line(tmp_path: Path) -> None:
    """A line that a crash cut off is removed: its event is still in the spool."""
    (tmp_path / "events").write_bytes(b'{"n":1}\n{"n":')
    found = Written(tmp_path)
    found.start()
    found.put(b'{"n":2}')
    until("it is written", lambda: found.spool.events == 0)
    found.close()
    assert found.lines() == [b'{"n":1}', b'{"n":2}']


def test_moved_away(tmp_path: Path) -> None:
    """When somebody moves the file, a new one is made."""
    found = Written(tmp_path)
    found.start()
    found.put(b"1")
    until("the first is written", lambda: found.spool.events == 0)
    found.path.unlink()
    found.put(b"2")
    until("the second is written", lambda: found.spool.events == 0)
    found.close()
    assert found.lines() == [b"2"]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """While the disk is full events stay in the spool, which is said once; later each is there once and whole."""
    monkeypatch.setattr(eventsfile, "RETRY_SECONDS", 0.01)
    found = Written(tmp_path)
    tries = 0
    is_full = True
    write = os.write

    def refuse(file: int, data: bytes) -> int:
        nonlocal tries
        if is_full and Path(f"/proc/self/fd/{file}").readlink() == found.path:
            tries += 1
            if tries % 2:
                return write(file, data[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data)

    monkeypatch.setattr(os, "write", refuse)
    found.start()
    found.put(b"first")
    found.put(b"second")
    until("it tried some times", lambda: tries > 5)
    assert found.spool.events == 2
    is_full = False
    until("it is written", lambda: found.spool.events == 0)
    found.close()
    assert found.lines() == [b"first", b"second"]
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        f"events stay in the spool: {found.path}: No space left on device"
    ]


def test_no_file(tmp_path: Path) -> None:
    """What cannot be written is refused as a setting."""
    (tmp_path / "events").mkdir()
    with pytest.raises(
        BadSettingError, match=r"\ALOGSTASH_EVENTS_FILE=.*/events: .*can be written \(Is a directory\)\Z"
    ):
        Written(tmp_path)
