"""The spool and its disk: what was told to be safe is safe, whatever the disk does."""

import errno
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jld_logstash.backlog import Backlog
from jld_logstash.spool import Spool
from stack import until


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
        self.on_sync: Callable[[], None] = lambda: None
        self._kept: list[int] = []
        """Descriptors, so that no number of a file is given to another one."""
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.sync)

    def sync(self, file: int) -> None:
        """Remember a file's content, or a folder's names."""
        self.on_sync()
        self._fsync(file)
        path = Path(f"/proc/self/fd/{file}").readlink()
        self.trace.append(path.name)
        if path == self.folder:
            self.names = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            if os.fstat(file).st_ino not in self.files:
                self._kept.append(os.dup(file))
            self.files[os.fstat(file).st_ino] = path.read_bytes()
        self.on_sync()

    def after_power_cut(self, folder: Path) -> None:
        """Write what is left into another folder."""
        folder.mkdir()
        for name, inode in self.names.items():
            (folder / name).write_bytes(self.files.get(inode, b""))

    def close(self) -> None:
        """Let go of all files."""
        for file in self._kept:
            os.close(file)


@pytest.mark.usefixtures("small_segments")
def test_power_cut(spools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever events are told to be safe, they are there after a power cut at that very moment."""
    disk = ForgetfulDisk(spools.folder, monkeypatch)
    cuts: list[Path] = []

    def cut(_: object) -> None:
        cuts.append(tmp_path / f"cut-{len(cuts)}")
        disk.after_power_cut(cuts[-1])

    with spools.open() as found:
        for number in range(20):
            added = spools.batch(f"{number}")
            added.safe.add_done_callback(cut)
            found.append(added)
            if number % 7 == 6:
                added.safe.result(5)
        until("all are safe", lambda: len(cuts) == 20)
    for number, left in enumerate(cuts):
        with spools.open(folder=left) as found:
            assert {str(safe) for safe in range(number + 1)} <= set(spools.held(found))


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("seed", range(4))
def test_power_cut_at_any_sync(spools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Before and after each sync, what is safe and not confirmed survives a power cut, however both go on."""
    chance = random.Random(seed)
    disk = ForgetfulDisk(spools.folder, monkeypatch)
    safe: set[str] = set()
    confirmed: set[str] = set()
    cuts: list[tuple[Path, set[str]]] = []

    def cut() -> None:
        cuts.append((tmp_path / f"cut-{len(cuts)}", safe - confirmed))
        disk.after_power_cut(cuts[-1][0])

    monkeypatch.setattr("jld_logstash.spool.CURSOR_SECONDS", 0)
    with spools.open() as found:
        disk.on_sync = cut
        backlog, given = Backlog(found), []
        for number in range(25):
            added = spools.batch(f"{number}")
            added.safe.add_done_callback(lambda _, name=f"{number}": safe.add(name))
            found.append(added)
            added.safe.result(5)
            given += backlog.take(chance.randrange(4))
            if given and chance.random() < 0.7:
                some = [given.pop(chance.randrange(len(given))) for _ in range(chance.randrange(len(given)) + 1)]
                confirmed.update(record.id.decode() for record in some)
                backlog.confirm(some)
    disk.on_sync = lambda: None
    disk.close()
    assert len(cuts) > 100
    for left, expected in cuts:
        with spools.open(folder=left) as found:
            assert expected <= set(spools.held(found))


@pytest.mark.usefixtures("small_segments")
def test_cursor_before_removal(spools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment is removed only after the cursor that makes it superfluous is on disk."""
    disk = ForgetfulDisk(spools.folder, monkeypatch)
    unlink = Path.unlink

    def traced(path: Path, *, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        disk.trace.append(f"unlink {path.name}")

    monkeypatch.setattr(Path, "unlink", traced)
    with spools.open() as found:
        spools.store(found, "a")
        spools.store(found, "b")
        first = spools.segments()[0]
        disk.trace.clear()
        backlog = Backlog(found)
        (record,) = backlog.take(1)
        backlog.confirm([record])
        until("the first segment is gone", lambda: not first.exists())
    assert disk.trace[:3] == ["cursor.new", "spool", f"unlink {first.name}"]


def test_one_sync_for_many(spools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that wait at the same time become safe with one sync of the file."""
    synced = []
    fsync = os.fsync

    def count(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().suffix)
        fsync(file)

    monkeypatch.setattr(os, "fsync", count)
    found = Spool(spools.folder, spools.LIMIT)
    batches = [spools.batch(f"{number}") for number in range(50)]
    for added in batches:
        found.append(added)
    found.start()
    for added in batches:
        added.safe.result(5)
    found.close(5)
    assert synced.count(".segment") == 1


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


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(("name", "number"), [("write", errno.ENOSPC), ("fsync", errno.EIO), ("write", errno.EDQUOT)])
def test_disk_refuses(
    spools: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, number: int
) -> None:
    """While the disk refuses, events wait, which is said once; later each is there once."""
    disk = BadDisk(monkeypatch)
    with spools.open() as found:
        spools.store(found, "a")
        disk.refuses = {name: number}
        first, second = spools.batch("b"), spools.batch("c")
        found.append(first)
        until("it waits", lambda: found.trouble == os.strerror(number))
        found.append(second)
        before = len(disk.files)
        until("it tried again", lambda: len(disk.files) > before + 2 or name == "write")
        assert spools.held(found) == ["a"]
        assert not first.safe.done()
        disk.refuses = {}
        second.safe.result(5)
        assert first.safe.done()
        assert found.trouble is None
        assert spools.held(found) == ["a", "b", "c"]
    with spools.open() as again:
        assert spools.held(again) == ["a", "b", "c"]
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"the spool takes no events, shippers have to wait: {os.strerror(number)}"]


@pytest.mark.usefixtures("quick_retries")
def test_never_the_same_file_after_a_failed_sync(spools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync another file is written, as the kernel forgets what it failed to write."""
    disk = BadDisk(monkeypatch)
    with spools.open() as found:
        spools.store(found, "a")
        disk.files.clear()
        disk.refuses = {"fsync": errno.EIO}
        added = spools.batch("b")
        found.append(added)
        until("it tried twice", lambda: len(disk.files) >= 2)
        disk.refuses = {}
        added.safe.result(5)
        tried = [name for name in disk.files if name.endswith(".segment")]
        assert len(set(tried)) == len(tried)


@pytest.mark.usefixtures("quick_retries")
def test_removed_folder(spools: Any) -> None:
    """What is written to a file that somebody has removed is not told to be safe; a folder that is back is used."""
    with spools.open() as found:
        spools.store(found, "a")
        shutil.rmtree(spools.folder)
        added = spools.batch("b")
        found.append(added)
        until("it waits", lambda: found.trouble == os.strerror(errno.ENOENT))
        assert not added.safe.done()
        spools.folder.mkdir()
        added.safe.result(5)
        assert found.trouble is None
    with spools.open() as again:
        assert spools.held(again) == ["b"]


@pytest.mark.usefixtures("quick_retries")
def test_removed_file(spools: Any, caplog: pytest.LogCaptureFixture) -> None:
    """When only the file is removed that is written to, another one is, which is said."""
    with spools.open() as found:
        spools.store(found, "a")
        (removed,) = spools.segments()
        removed.unlink()
        spools.store(found, "b")
        (segment,) = spools.segments()
        assert b"b" in segment.read_bytes()
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["the spool takes no events, shippers have to wait: somebody has removed its file"]


@pytest.mark.usefixtures("small_segments")
def test_cursor_on_a_full_disk(spools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk confirmed events are removed though the cursor cannot be stored: nothing else makes room."""
    disk = BadDisk(monkeypatch)
    with spools.open() as found:
        for name in "abc":
            spools.store(found, name)
        disk.refuses = {"write": errno.ENOSPC, "cursor": 1}
        backlog = Backlog(found)
        given = backlog.take(1000)
        backlog.confirm(given[:2])
        until("the confirmed ones are removed", lambda: len(spools.segments()) == 1)
        del disk.refuses["cursor"]
    disk.refuses = {}
    with spools.open() as again:
        assert spools.held(again) == ["c"]


def test_hanging_disk(spools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs stops neither those who bring events nor the end."""
    goes_on = threading.Event()
    found = Spool(spools.folder, spools.LIMIT)
    monkeypatch.setattr(os, "fsync", lambda _: goes_on.wait(10))
    found.start()
    added = spools.batch("a")
    found.append(added)
    found.append(spools.batch("b"))
    found.close(0.1)
    assert found.is_alive
    assert not added.safe.done()
    monkeypatch.setattr("jld_logstash.spool.HANGING_SECONDS", 0.01)
    until("it is seen", lambda: found.trouble == "the disk does not answer")
    goes_on.set()
    until("it ends", lambda: not found.is_alive)
