"""Rotated files that were compressed: read where that is all there is, known for what they were made from elsewhere."""

import gzip
import json
import random
from collections.abc import Callable
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jld_filebeat.batch import Batch
from jld_filebeat.file import File
from jld_filebeat.lines import LINE, SCAN, Reader
from jld_filebeat.source import Compressed, Source
from lacking import lacks

Follow = Callable[[str], Any]
NAME = "0.log.20260102-030405"


@pytest.fixture
def table(follow: Follow, logs: Path) -> Any:
    """Follow logs of the CRI."""
    return follow(f"cri:{logs}/*.log*")


def line(number: int, tag: str = "F") -> str:
    """Write a line as a runtime does."""
    return f"2026-01-02T03:04:05.{number:09d}Z stdout {tag} line {number}\n"


def compress(file: Path) -> Path:
    """Compress a file as the kubelet does: aside, renamed, and the original removed."""
    aside = file.with_name(f"{file.name}.tmp")
    aside.write_bytes(gzip.compress(file.read_bytes()))
    made = aside.rename(file.with_name(f"{file.name}.gz"))
    file.unlink()
    return made


def descriptors() -> int:
    """Count the open descriptors."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_after_downtime(table: Any, logs: Path) -> None:
    """What was written, rotated and compressed while nobody looked is shipped, the rest of a known file with its id."""
    log = logs / "0.log"
    log.write_text(line(1) + line(2))
    first = table.ship()
    with log.open("a") as file:
        file.write(line(3))
    compress(log.rename(logs / NAME))
    log.write_text(line(4))
    compress(log.rename(logs / "0.log.20260102-040405"))
    log.write_text(line(5))
    table.restart()
    events = table.ship() + table.ship()
    assert [event["message"] for event in events] == ["line 3", "line 4", "line 5"]
    assert events[0]["event"]["id"] == first[0]["event"]["id"].removesuffix("-0") + f"-{2 * len(line(1))}"
    assert events[0]["log"]["file"]["path"] == str(log)
    table.restart()
    assert table.messages() == []


def test_unacknowledged_before_downtime(table: Any, logs: Path) -> None:
    """Lines that were not acknowledged are shipped again from the compressed file, with the same ids."""
    log = logs / "0.log"
    log.write_text("".join(map(line, range(1000))))
    before = {event["event"]["id"]: event["message"] for event in table.ship(acknowledge=False)}
    compress(log.rename(logs / NAME))
    table.restart()
    after = {event["event"]["id"]: event["message"] for event in table.ship()}
    assert before == after


def test_while_it_runs(table: Any, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was shipped before it was compressed is not shipped again, at once, later, or after a restart."""
    now = [0.0]
    for module in ("follower", "file", "known", "lost"):
        monkeypatch.setattr(f"jld_filebeat.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))
    log = logs / "0.log"
    log.write_text(line(1))
    table.messages()
    rotated = log.rename(logs / NAME)
    with rotated.open("a") as file:
        file.write(line(2))
    log.write_text(line(3))
    assert table.messages() == ["line 2", "line 3"]
    compress(rotated)
    for _ in range(60):
        assert table.messages() == []
        now[0] += 5
    assert len(table.entries) == 2
    table.restart()
    assert table.messages() == []


def test_compressed_and_removed_between_two_looks(table: Any, logs: Path) -> None:
    """Its last lines come from its descriptor, when it was compressed before they were read."""
    log = logs / "0.log"
    log.write_text(line(1))
    table.messages()
    with log.open("a") as file:
        file.write(line(2))
    compress(log.rename(logs / NAME))
    log.write_text(line(3))
    assert sorted(table.messages() + table.messages()) == ["line 2", "line 3"]


def test_first_start(table: Any, logs: Path) -> None:
    """At a first start compressed files come first, in the order of the dates in their names, and parts are joined."""
    for name, content in (
        ("20260102-050405", line(4)),
        ("20260102-030405", line(1) + line(2, "P")),
        ("20260102-040405", line(3)),
    ):
        (logs / f"0.log.{name}").write_text(content)
        compress(logs / f"0.log.{name}")
    (logs / "0.log").write_text(line(5))
    assert table.messages() == ["line 1", "line 2line 3", "line 4", "line 5"]


def test_a_finished_one_costs_no_descriptor(table: Any, logs: Path) -> None:
    """When all of a compressed file is acknowledged it is closed, and not inflated again after a restart."""
    (logs / NAME).write_text("".join(map(line, range(5000))))
    compress(logs / NAME)
    before = descriptors()
    assert len(table.messages()) == 5000
    table.ship()
    assert descriptors() == before
    table.restart()
    assert table.messages() == []
    assert descriptors() == before
    (file,) = table.follower.files
    assert file.source._raw <= 65536


def test_its_inode_is_reused(table: Any, logs: Path) -> None:
    """What comes at the inode of a compressed file, which was shipped and removed, is followed."""
    inodes: list[int] = []
    for number in range(20):
        (logs / NAME).write_text(line(number))
        made = compress(logs / NAME)
        assert table.messages() == [f"line {number}"]
        assert table.messages() == []
        inodes.append(made.stat().st_ino)
        made.unlink()
    if len(set(inodes)) == len(inodes):
        lacks("this file system does not reuse inodes")


@pytest.mark.usefixtures("impatient")
def test_removed(table: Any, logs: Path) -> None:
    """A compressed file that is removed is forgotten."""
    (logs / NAME).write_text(line(1))
    made = compress(logs / NAME)
    assert table.messages() == ["line 1"]
    made.unlink()
    assert table.messages() + table.messages() == []
    assert table.entries == []


@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_not_complete_yet(table: Any, logs: Path, keep: float, caplog: pytest.LogCaptureFixture) -> None:
    """A compressed file that is still being written is said once, and read on when there is more."""
    content = "".join(f"2026-01-02T03:04:05.1Z stdout F {random.Random(number).random()}\n" for number in range(20_000))
    whole = gzip.compress(content.encode())
    made = logs / f"{NAME}.gz"
    made.write_bytes(whole[: int(len(whole) * keep)])
    messages = table.messages() + table.messages() + table.messages()
    assert 0 < len(messages) < 20_000
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot read '{made}': its gzip data are not complete"
    ]
    with made.open("ab") as file:
        file.write(whole[int(len(whole) * keep) :])
    messages += table.messages() + table.messages()
    assert messages == [entry.split()[-1] for entry in content.splitlines()]


def test_damaged(table: Any, logs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged one is said once, and the others are shipped."""
    (logs / f"{NAME}.gz").write_bytes(b"this is no gzip")
    (logs / "0.log").write_text(line(1))
    assert table.messages() + table.messages() == ["line 1"]
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot read '{logs / NAME}.gz': its gzip data are damaged"
    ]


def test_one_at_a_time(table: Any, logs: Path) -> None:
    """However many compressed files there are, one takes memory."""
    content = "".join(map(line, range(2000)))
    for number in range(30):
        (logs / f"{number}.log.1.gz").write_bytes(gzip.compress(f"{line(10**8 + number)}{content}".encode()))
    table.follower.scan()
    table.save()
    count = 0
    while batch := table.follower.fill():
        count += len(batch.events)
        assert sum(bool(file.source._kept) for file in table.follower.files) <= 1
    assert count == 30 * 2001


def test_any_place(tmp_path: Path) -> None:
    """Bytes of any place can be read, forwards and backwards, of several parts one behind the other, with filling."""
    content = random.Random(1).randbytes(3 * 2**20) + bytes(2**20)
    file = tmp_path / "x.gz"
    file.write_bytes(gzip.compress(content[: 2**20]) + gzip.compress(content[2**20 :]) + bytes(512))
    source = Source.open(str(file))
    try:
        assert isinstance(source, Compressed)
        draw = random.Random(2)
        for _ in range(50):
            offset, size = draw.randrange(len(content) + 100), draw.randrange(2**17)
            assert source.pread(size, offset) == content[offset : offset + size]
        assert source.pread(10, len(content)) == b""
        assert source.stat()[0] == len(content)
    finally:
        source.close()


def test_cut_before_its_first_byte(table: Any, logs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that was cut before anything can be inflated is said once."""
    made = logs / f"{NAME}.gz"
    made.write_bytes(gzip.compress(b"x\n" * 10_000)[:20])
    assert table.messages() + table.messages() == []
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot read '{made}': its gzip data are not complete"
    ]


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes that are inflated, by the looks and turns that do so."""
    counts: list[int] = []
    inflate, read = Compressed._inflate, Reader.read

    def count(self: Compressed) -> bool:
        before = len(self._kept)
        has_more = inflate(self)
        counts[-1] += len(self._kept) - before
        return has_more

    def turn(self: Reader, file: File, batch: Batch) -> bool:
        counts.append(0)
        return read(self, file, batch)

    monkeypatch.setattr(Compressed, "_inflate", count)
    monkeypatch.setattr(Reader, "read", turn)
    return counts


def ship(table: Any, inflated: list[int], until: float = inf) -> list[Any]:
    """Look, and give the events of all turns, up to a number of them."""
    events: list[Any] = []
    inflated.append(0)
    table.follower.scan()
    table.save()
    while len(events) < until and ((batch := table.follower.fill()) or table.follower._turns):
        if batch:
            events += map(json.loads, batch.events)
            batch.acknowledge(len(batch.events))
    table.save()
    return events


def test_long_line_is_inflated_once(follow: Follow, logs: Path, inflated: list[int]) -> None:
    """A line without end in sight is not inflated from the beginning again and again, nor all of it in one turn."""
    before, most = 3 * 2**20, 2**26
    (logs / "app.log.1.gz").write_bytes(gzip.compress(b"a" * before + b"\n" + b"L" * most + b"\nend\n", 1))
    table = follow(f"plain:{logs}/*.log*")
    events = ship(table, inflated) + ship(table, inflated)
    assert [len(event["message"]) for event in events] == [before, LINE, 3]
    assert events[1]["message"] == "L" * LINE
    assert sum(inflated) < 1.1 * most + before
    assert max(inflated) < 2 * SCAN


def test_far_into_a_file(follow: Follow, logs: Path, inflated: list[int]) -> None:
    """After a restart it takes turns to get to where reading had come to, and the ids are the same."""
    table = follow(f"plain:{logs}/*.log*")
    lines = [f"{number:01023d}" for number in range(40_000)]
    (logs / "app.log.1.gz").write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", 1))
    first = ship(table, inflated, 35_000)
    table.restart()
    inflated.clear()
    rest = ship(table, inflated)
    assert [event["message"] for event in first + rest] == lines
    assert {event["event"]["id"].split("-")[0] for event in first} == {rest[0]["event"]["id"].split("-")[0]}
    assert max(inflated) < 2 * SCAN
    table.restart()
    assert table.messages() == []
