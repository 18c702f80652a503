"""What the kernel does not tell: hints that were lost, limits of inotify, many files, clocks that are set."""

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lacking import lacks


@pytest.fixture
def most() -> int:
    """Give the length of the kernel's queue of hints."""
    found = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if found > 100_000:
        lacks("this machine's queue of hints is too long to fill")
    return found


async def test_overflow(rig: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that come while the kernel's queue of hints is full are found at once, not at the next rescan."""
    monkeypatch.setattr("jld_filebeat.shipper.RESCAN_SECONDS", 3600)
    async with rig.shipping():
        rig.write("\n", "a.log")
        rig.write("\n", "b.log")
        await rig.soon("both are followed", lambda: len(rig.collector.events) == 2)
        with (rig.logs / "a.log").open("a", buffering=1) as one, (rig.logs / "b.log").open("a", buffering=1) as other:
            for _ in range(most // 2 + 10):  # by turns: equal hints behind each other are one
                one.write("\n")
                other.write("\n")
        rig.write("late\n", "c.log")
        await rig.soon("the line", lambda: "late" in rig.collector.messages())
        await rig.soon("the others", lambda: len(rig.collector.events) == 2 * (most // 2 + 10) + 3)
    assert len({event["event"]["id"] for event in rig.collector.events}) == len(rig.collector.events)


@pytest.fixture
def limited(environment: dict[str, str], tmp_path: Path, logs: Path) -> Iterator[Callable[[str], Path]]:
    """Give a function that runs the shipper in a user's namespace where inotify has less; it gives the log's path."""
    programs = []

    def start(limit: str) -> Path:
        name, _, number = limit.partition("=")
        script = f'echo {number} > /proc/sys/user/{name} && exec "$@"'
        unshare = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
        if (
            not shutil.which("unshare")
            or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode
        ):
            lacks("there are no user namespaces here")
        log = tmp_path / "output"
        with log.open("w") as output:
            settings = environment | {"FILEBEAT_INPUTS": f"plain:{logs}/*/*.log*"}
            command = [*unshare, sys.executable, "-m", "jld_filebeat"]
            programs.append(subprocess.Popen(command, env={"PATH": os.environ["PATH"], **settings}, stdout=output))
        return log

    yield start
    for program in programs:
        program.kill()
        program.wait()


@pytest.mark.parametrize(
    ("limit", "what"), [("max_inotify_instances=0", "instances"), ("max_inotify_watches=1", "watches")]
)
def test_limits_of_inotify(limited: Any, logs: Path, collector: Any, limit: str, what: str) -> None:
    """Where the kernel has no more instances (EMFILE) or watches (ENOSPC), rescans find everything; told once."""
    for name in "abc":
        (logs / name).mkdir()
        (logs / name / "x.log").write_text("one\n")
    output = limited(limit)
    collector.wait(lambda: collector.messages() == ["one"] * 3, "what was there")
    (logs / "d").mkdir()
    for name in "abcd":
        with (logs / name / "x.log").open("a") as log:
            log.write(f"two {name}\n")
    collector.wait_for("two a", "two b", "two c", "two d")
    (logs / "a" / "x.log").rename(logs / "a" / "x.log.1")
    (logs / "a" / "x.log").write_text("three\n")
    collector.wait_for("three")
    messages = [json.loads(line)["message"] for line in output.read_text().splitlines()]
    assert [message.split(" (")[0] for message in messages if "inotify" in message] == [f"inotify has no more {what}"]


def test_a_thousand_files(launch: Any, logs: Path, collector: Any) -> None:
    """A thousand open files are followed, also when each of them rotates, and each line arrives once."""
    names = [f"{number:04d}.log" for number in range(1000)]
    for name in names:
        (logs / name).write_text(f"{name} one\n")
    launch()
    collector.wait(lambda: len(collector.events) == 1000, "the first lines", 20)
    for name in names:
        with (logs / name).open("a") as log:
            log.write(f"{name} two\n")
        (logs / name).rename(logs / f"{name}.1")
        (logs / name).write_text(f"{name} three\n")
    wanted = {f"{name} {number}" for name in names for number in ("one", "two", "three")}
    collector.wait(lambda: len(collector.events) >= 3000, "all lines", 20)
    assert sorted(collector.messages()) == sorted(wanted)
    assert len({event["event"]["id"] for event in collector.events}) == 3000


@pytest.mark.parametrize("step", [-(10**9), -1, 10**9])
def test_clock_that_is_set(follow: Any, logs: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines arrive once each, and parts are joined over rotations, when the clock jumps between any two of them."""
    clock = time.time()

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override] # no one asks for its class
            return dt.datetime.fromtimestamp(clock, tz)

    monkeypatch.setattr("jld_filebeat.lines.dt.datetime", Clock)
    log = logs / "0.log"
    table = follow(f"cri:{logs}/*.log*")
    messages = []
    for number in range(6):
        with log.open("a") as file:
            file.write(f"2026-01-02T03:04:05.1Z stdout F {number}\n2026-01-02T03:04:05.1Z stdout P {number}\n")
        os.utime(log, (clock, clock))
        messages += table.messages()
        clock += step
        log.rename(logs / f"0.log.{number}")
        log.write_text("2026-01-02T03:04:05.1Z stdout F end\n")
        os.utime(log, (clock, clock))
        messages += table.messages()
    assert messages == [text for number in range(6) for text in (f"{number}", f"{number}end")]
