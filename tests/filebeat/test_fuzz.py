"""Whatever order writes, rotations, scans, acknowledgements and restarts come in, each message arrives as one event."""

import gzip
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Follow = Callable[[str], Any]


class Life:
    """A container's log and its shipper, driven by a seeded random number generator.

    Args:
        table: what follows the log.
        log: the log.
        seed: of the generator.
        compresses: whether what was rotated is compressed at the next rotation, as the kubelet does.
    """

    def __init__(self, table: Any, log: Path, seed: int, *, compresses: bool = False) -> None:
        self._table = table
        self._log = log
        self._random = random.Random(seed)
        self._clock = 10**18
        self._count = 0
        self._rotations = 0
        self._compresses = compresses
        self.now = 0.0
        """What a clock shows, in seconds."""
        self._unfinished = {"stdout": "", "stderr": ""}
        self._unacknowledged: list[Any] = []
        self.written: list[str] = []
        self.arrived: dict[str, str] = {}
        """Messages by the ids of their events."""
        self._append("")

    def step(self) -> None:
        """Do something."""
        self.now += 0.1
        steps = (self._write, self._rotate, self._scan, self._ship, self._acknowledge, self._table.save, self._restart)
        self._random.choices((*steps, self._pass_time), (50, 10, 12, 13, 5, 6, 4, 4 * self._compresses))[0]()

    def finish(self) -> None:
        """End all messages, and ship until nothing is left."""
        for stream in self._unfinished:
            self._write_part(stream, is_last=True)
        quiet = 0
        while quiet < 3:
            self._scan()
            self._table.save()
            quiet = 0 if self._ship() else quiet + 1
            for batch in self._unacknowledged:
                batch.acknowledge(len(batch.events))
            self._unacknowledged.clear()

    def _write(self) -> None:
        for _ in range(self._random.randint(1, 6)):
            self._write_part(self._random.choice(["stdout", "stderr"]), is_last=self._random.random() < 0.5)

    def _write_part(self, stream: str, *, is_last: bool) -> None:
        self._count += 1
        self._unfinished[stream] += f"<{self._count}>"
        self._append(f"2026-01-02T03:04:05.000Z {stream} {'F' if is_last else 'P'} <{self._count}>\n")
        if is_last:
            self.written.append(self._unfinished[stream])
            self._unfinished[stream] = ""

    def _append(self, text: str) -> None:
        with self._log.open("a") as file:
            file.write(text)
        self._clock += self._random.randint(0, 1)
        os.utime(self._log, ns=(self._clock, self._clock))

    def _rotate(self) -> None:
        before = Path(f"{self._log}.20260102-{self._rotations:06d}")
        if self._compresses and before.exists():
            aside = before.with_name(f"{before.name}.tmp")
            aside.write_bytes(gzip.compress(before.read_bytes()))
            aside.rename(f"{before}.gz")
            before.unlink()
        self._rotations += 1
        self._log.rename(f"{self._log}.20260102-{self._rotations:06d}")
        self._append("")

    def _pass_time(self) -> None:
        for _ in range(self._random.randint(1, 15)):
            self.now += 10
            self._scan()

    def _scan(self) -> None:
        self._table.follower.scan()

    def _ship(self) -> bool:
        batch = self._table.follower.fill()
        if batch:
            self._unacknowledged.append(batch)
        for event in map(json.loads, batch.events if batch else ()):
            identity, message = event["event"]["id"], event["message"]
            assert self.arrived.setdefault(identity, message) == message
        return batch is not None

    def _acknowledge(self) -> None:
        while self._unacknowledged and self._random.random() < 0.7:
            batch = self._unacknowledged[0]
            batch.acknowledge(self._random.randint(batch.acknowledged, len(batch.events)))
            if not batch.is_acknowledged:
                break
            del self._unacknowledged[0]

    def _restart(self) -> None:
        self._unacknowledged.clear()
        self._table.restart()


@pytest.mark.parametrize("seed", range(100))
def test_any_order(follow: Follow, logs: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message arrives as one event of one id: none is missing, in fragments, or there under another id."""
    monkeypatch.setattr("jld_filebeat.follower.QUIET_SECONDS", 3600)
    life = Life(follow(f"cri:{logs}/*.log*"), logs / "0.log", seed)
    for _ in range(100):
        life.step()
    life.finish()
    assert sorted(life.arrived.values()) == sorted(life.written)


@pytest.mark.parametrize("seed", range(60))
def test_any_order_with_compression(follow: Follow, logs: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """That holds when what was rotated is compressed, however much time goes by in between."""
    monkeypatch.setattr("jld_filebeat.follower.QUIET_SECONDS", 10**9)
    life = Life(follow(f"cri:{logs}/*.log*"), logs / "0.log", seed, compresses=True)
    for module in ("follower", "file", "known", "lost"):
        monkeypatch.setattr(f"jld_filebeat.{module}.time", SimpleNamespace(monotonic=lambda: life.now))
    for _ in range(100):
        life.step()
    life.finish()
    assert sorted(life.arrived.values()) == sorted(life.written)


@pytest.mark.parametrize("compresses", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_any_order_without_patience(
    follow: Follow, logs: Path, seed: int, compresses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody waits for the rest of a message, its pieces may be several events; none is missing or repeated."""
    monkeypatch.setattr("jld_filebeat.follower.QUIET_SECONDS", 0)
    life = Life(follow(f"cri:{logs}/*.log*"), logs / "0.log", seed, compresses=compresses)
    for module in ("follower", "file", "known", "lost"):
        monkeypatch.setattr(f"jld_filebeat.{module}.time", SimpleNamespace(monotonic=lambda: life.now))
    for _ in range(100):
        life.step()
    life.finish()
    assert sorted(re.findall("<.*?>", "".join(life.arrived.values()))) == sorted(
        re.findall("<.*?>", "".join(life.written))
    )
