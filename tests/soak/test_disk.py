"""A disk that forgets what was not synced forgets that, and nothing else."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from soak.disk import Disk, Recorder
from stack import until


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Give a disk that this program is on; a parameter is how late it is told what was synced."""
    for name in ("state", "beside"):
        (tmp_path / name).mkdir()
    made = Disk(tmp_path / "state", tmp_path / "beside", tmp_path / "journal")
    monkeypatch.setattr(os, "fsync", os.fsync)  # so that it is as it was afterwards
    Recorder(made, getattr(request, "param", 0)).install()
    return made


def write(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Append to a file, and sync it."""
    with path.open("ab", buffering=0) as file:
        file.write(content)
        if sync:
            os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Sync the names of a folder."""
    file = os.open(folder, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def outcomes(disk: Disk, act: Callable[[], object]) -> set[tuple[tuple[str, bytes], ...]]:
    """Do something and cut the power, many times, and give what was there then."""
    found = set()
    for seed in range(60):
        for path in disk.folder.iterdir():
            path.unlink()
        sync(disk.folder)
        act()
        disk.cut_power(random.Random(seed))
        found.add(tuple(sorted((path.name, path.read_bytes()) for path in disk.folder.iterdir())))
    return found


def test_synced(disk: Disk) -> None:
    """What was synced, with its name, is there after each power cut."""

    def act() -> None:
        write(disk.folder / "a", b"one")
        sync(disk.folder)

    assert outcomes(disk, act) == {(("a", b"one"),)}


def test_not_synced(disk: Disk) -> None:
    """What was written after the sync may be there, in part, as zeros, or not at all."""

    def act() -> None:
        write(disk.folder / "a", b"one")
        sync(disk.folder)
        write(disk.folder / "a", b"23", sync=False)

    contents = {dict(names)["a"] for names in outcomes(disk, act)}
    assert contents == {b"one", b"one2", b"one23", b"one\0\0", b"one2\0"}


def test_name_not_synced(disk: Disk) -> None:
    """A file whose name was not synced may be gone."""
    assert outcomes(disk, lambda: write(disk.folder / "a", b"one")) == {(), (("a", b"one"),)}


def test_replaced(disk: Disk) -> None:
    """After a file was replaced, the old or the new one is there, and always the new one once that was synced."""

    def act() -> None:
        write(disk.folder / "a", b"old")
        sync(disk.folder)
        write(disk.folder / "b", b"new")
        (disk.folder / "b").rename(disk.folder / "a")

    assert outcomes(disk, act) == {(("a", b"old"),), (("a", b"new"),)}

    def act_and_sync() -> None:
        act()
        sync(disk.folder)

    assert outcomes(disk, act_and_sync) == {(("a", b"new"),)}


def test_two_power_cuts(disk: Disk) -> None:
    """What was there after one power cut is there after the next."""
    write(disk.folder / "a", b"one", sync=False)
    for seed in range(20):
        disk.cut_power(random.Random(seed))
        before = {path.name: path.read_bytes() for path in disk.folder.iterdir()}
    disk.cut_power(random.Random(20))
    assert {path.name: path.read_bytes() for path in disk.folder.iterdir()} == before


@pytest.mark.parametrize("disk", [0.2], indirect=True)
def test_late(disk: Disk, tmp_path: Path) -> None:
    """A program that is told too early has on disk what there was when it asked, when that is over."""
    write(disk.folder / "a", b"one")
    write(disk.folder / "a", b"two", sync=False)
    journal = tmp_path / "journal"
    assert not journal.exists()
    until("it is on disk", journal.exists)
    assert '"size": 3' in journal.read_text()
