"""What the collector asks of the system, as strace sees it: nothing is acknowledged that is not on disk."""

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import until

Collect = Callable[..., Any]

pytestmark = pytest.mark.strace


class Trace:
    """The calls of a process, in their order: those that write when they begin, fsync when it is over.

    Args:
        file: where strace writes them.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def calls(self) -> list[tuple[str, str]]:
        """Give the calls: each its name and what its descriptor is."""
        found = []
        begun: dict[str, tuple[str, str]] = {}
        for line in self._file.read_text().splitlines():
            thread, _, call = line.partition(" ")
            if match := re.match(r"\s*(write|fsync|sendto)\(\d+<(.*?)>[,) ]", call):
                name, target = match.groups()
                if name != "fsync" or call.endswith(" = 0"):
                    found.append((name, target))
                else:
                    begun[thread] = name, target
            elif re.match(r"\s*<\.\.\. fsync resumed>.* = 0$", call):
                found.append(begun.pop(thread))
        return found


@pytest.fixture
def traced(collect: Collect, tmp_path: Path) -> Iterator[tuple[Any, Trace]]:
    """Give a collector and its trace."""
    file = tmp_path / "trace"
    words = ["strace", "-f", "-yy", "-s", "0", "-e", "trace=write,fsync,sendto", "-o", str(file)]
    with pytest.MonkeyPatch.context() as patch:
        real = subprocess.Popen
        patch.setattr(subprocess, "Popen", lambda command, **more: real([*words, *command], **more))
        collector = collect()
    yield collector, Trace(file)
    # What is traced outlives its tracer.
    (traced_one,) = Path(f"/proc/{collector.process.pid}/task/{collector.process.pid}/children").read_text().split()
    subprocess.run(["kill", "-9", traced_one], check=True)
    collector.process.wait(10)


def test_order_of_calls(traced: tuple[Any, Trace]) -> None:
    """Each acknowledgement leaves after its events are written and synced, the first one after the folder is too."""
    collector, trace = traced
    with collector.shipper() as shipper:
        for number in range(20):
            shipper.ship([{"n": number}] * 10)
        until("all are sent on", lambda: collector.metric("logstash_events_confirmed_total") == 200)
    calls = [
        (name, "shipper" if "TCP" in target else "segment" if target.endswith(".segment") else "folder")
        for name, target in trace.calls()
        if target.startswith("TCP") or target.endswith((".segment", "/spool"))
    ]
    begin = calls.index(("write", "segment"))
    ways = [("write", "segment"), ("fsync", "segment"), ("sendto", "shipper")]
    first, others = calls[begin : begin + 4], calls[begin + 4 :]
    assert first == [*ways[:2], ("fsync", "folder"), ways[2]]
    assert others[: 19 * 3] == ways * 19


def test_calls_for_many(traced: tuple[Any, Trace]) -> None:
    """Windows of several shippers share a sync."""
    collector, trace = traced
    with contextlib.ExitStack() as stack:
        shippers = [stack.enter_context(collector.shipper()) for _ in range(10)]
        for _ in range(10):
            for shipper in shippers:
                shipper.send_window([{"n": 1}])
        for shipper in shippers:
            assert [shipper.acknowledged() for _ in range(10)] == [1] * 10
    synced = [target for name, target in trace.calls() if name == "fsync" and target.endswith(".segment")]
    assert 0 < len(synced) < 80
