"""Lines that nobody ended: each id stands for one text, whatever is written behind them, and whenever kill -9 comes."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from log_file import append

Follow = Callable[[str], Any]
LINE = "2026-01-02T03:04:05.1Z stdout"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jld_filebeat.follower.QUIET_SECONDS", 0)


def read(table: Any) -> list[Any]:
    """Give what leaves, without acknowledging it or writing the registry."""
    events = []
    while batch := table.follower.fill():
        events += [json.loads(event) for event in batch.events]
    return events


def test_nothing_leaves_before_the_cut_is_on_disk(follow: Follow, logs: Path) -> None:
    """An unfinished last line leaves only when the registry knows where it was cut."""
    (logs / "app.log").write_text("one\nno end")
    table = follow(f"plain:{logs}/*.log*")
    assert table.messages() == ["one"]
    (logs / "app.log").rename(logs / "app.log.1")
    table.follower.scan()
    assert read(table) == []
    table.save()
    assert [event["message"] for event in read(table)] == ["no end"]
    assert table.entries[0].cuts == ((10, True),)


@pytest.mark.parametrize("rest", [" of it\n", "\n", "\nmore\n", " of\nit", ""])
def test_killed_before_its_acknowledgement(follow: Follow, logs: Path, rest: str) -> None:
    """The rest that is written behind a cut is another line, also when the first is shipped again after kill -9."""
    (logs / "app.log").write_text("one\nno end")
    table = follow(f"plain:{logs}/*.log*")
    events = table.ship()
    old = (logs / "app.log").rename(logs / "app.log.1")
    table.follower.scan()
    table.save()
    events += read(table)
    append(old, rest)
    table.restart()  # with the registry of before it was acknowledged
    for _ in range(3):
        events += table.ship()
    texts: dict[str, str] = {}
    for event in events:
        assert texts.setdefault(event["event"]["id"], event["message"]) == event["message"]
    assert "no end" in texts.values()
    assert "".join(texts.values()) == ("one" + "no end" + rest).replace("\n", "")
    assert "" not in texts.values()


def test_killed_behind_parts(follow: Follow, logs: Path) -> None:
    """Parts that were shipped without their last one stay so after kill -9, though that comes late."""
    log = logs / "0.log"
    log.write_text(f"{LINE} P a\n{LINE} P b\n")
    table = follow(f"cri:{logs}/*.log*")
    assert table.ship() == []
    with log.open("a") as writer:
        log.unlink()
        table.follower.scan()
        table.save()
        (event,) = read(table)
        assert event["message"] == "ab"
        writer.write(f"{LINE} F c\n")
    table.follower.scan()
    (later,) = read(table)
    assert (later["message"], later["event"]["id"] != event["event"]["id"]) == ("c", True)


def test_killed_behind_parts_of_a_rotated_file(follow: Follow, logs: Path) -> None:
    """That holds for a rotated file too, and for the one that comes behind it only then."""
    log = logs / "0.log"
    log.write_text(f"{LINE} P a\n{LINE} P b\n")
    table = follow(f"cri:{logs}/*.log*")
    assert table.ship() == []
    old = log.rename(logs / "0.log.20260102-030405")
    table.follower.scan()
    table.save()
    (event,) = read(table)
    assert event["message"] == "ab"
    append(old, f"{LINE} F c\n")
    log.write_text(f"{LINE} F d\n")
    table.restart()
    events = table.ship() + table.ship()
    assert [found["message"] for found in events] == ["ab", "c", "d"]
    assert events[0]["event"]["id"] == event["event"]["id"]
    assert len({found["event"]["id"] for found in events}) == 3


class Life:
    """Logs that are written in pieces, driven by a seeded random number generator.

    Args:
        table: what follows the logs.
        log: the log that is rotated.
        seed: of the generator.
    """

    def __init__(self, table: Any, log: Path, seed: int) -> None:
        self._table = table
        self._log = log
        self._random = random.Random(seed)
        self._turn = 0
        self._files: list[Path] = []
        self.written: list[str] = []
        """What was written to each of these files."""
        self.texts: dict[str, tuple[int, str]] = {}
        """Offsets and messages by the ids of their events."""
        self._begin()

    def step(self) -> None:
        """Do something."""
        self._turn += 1
        steps = (self._write, self._rotate, self._table.follower.scan, self._table.save, self._ship, self._restart)
        self._random.choices(steps, (40, 10, 15, 10, 15, 10))[0]()

    def finish(self) -> None:
        """Ship until nothing is left."""
        self._turn += 1
        self._rotate()
        quiet = 0
        while quiet < 3:
            self._table.follower.scan()
            self._table.save()
            quiet = 0 if self._ship(1) else quiet + 1

    def _begin(self) -> None:
        self._log.touch()
        self._files.append(self._log)
        self.written.append("")

    def _write(self) -> None:
        at = self._random.randrange(len(self._files))
        piece = self._random.choice(["x", "ab", "c\n", "d\ne", "\n"]) + str(self._turn)
        append(self._files[at], piece)
        self.written[at] += piece

    def _rotate(self) -> None:
        self._files[-1] = self._log.rename(f"{self._log}.{self._turn:06d}")
        self._begin()

    def _ship(self, share: float = 0.5) -> int:
        events = 0
        is_taken = self._random.random() < share
        while batch := self._table.follower.fill():
            for event in map(json.loads, batch.events):
                text = event["log"]["offset"], event["message"]
                assert self.texts.setdefault(event["event"]["id"], text) == text
            events += len(batch.events)
            if is_taken:
                batch.acknowledge(len(batch.events))
        return events

    def _restart(self) -> None:
        self._table.restart()


@pytest.mark.parametrize("seed", range(60))
def test_any_order(follow: Follow, logs: Path, seed: int) -> None:
    """In any order of pieces, rotations, looks and restarts no byte is lost, and no id has two texts."""
    life = Life(follow(f"plain:{logs}/*.log*"), logs / "app.log", seed)
    for _ in range(80):
        life.step()
    life.finish()
    found: dict[str, list[tuple[int, str]]] = {}
    for identity, text in life.texts.items():
        found.setdefault(identity.rpartition("-")[0], []).append(text)
    whole = sorted("".join(text for _, text in sorted(lines)) for lines in found.values())
    assert whole == sorted(text.replace("\n", "") for text in life.written if text)
