"""Collector to broker with confirms, beside PerfTest and syslog-ng with messages of the same size, in turn.

Ours is the whole way: shippers with mutual TLS, decoding, spool with fsync, and publishing. PerfTest only publishes,
with the same window. syslog-ng reads lines from a file, keeps no spool and waits for no confirms.
"""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import perf_test
import syslog_ng
from collector import Collector, load
from jld_embedded.certificates import Authority
from load import ROUND, SIZE
from measured import Program, all_there, until, usage
from plan import Plan
from rabbit import Broker
from report import Figures, Table

WINDOW = 1000
"""Messages on their way at the same time, of ours and PerfTest's."""

TOGETHER = 100
"""Events that share a message, where they do."""

PART = 0.2
"""Of the first comparison's lines."""


def ours(broker: Broker, kind: str, events: int, together: int) -> Figures:
    """Ship events through the collector; the rate begins with the first confirm."""
    broker.renew(kind)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder)
        with (
            Collector(folder / "collector", authority, broker, together, WINDOW) as collector,
            load(folder / "load", collector, authority, events) as shippers,
        ):
            until("it ships", partial(shippers.line, 0), collector, shippers)
            before, broker_before = usage([collector.pid]), usage([broker.pid])
            first = until("the first is confirmed", collector.confirmed, collector, shippers)
            begin = time.monotonic()
            all_there(collector.confirmed, events, collector, shippers)
            seconds = time.monotonic() - begin
            after, broker_after = usage([collector.pid]), usage([broker.pid])
    return {
        "rate": (events - first) / seconds,
        "cpu_us": (after.cpu - before.cpu) / events * 1e6,
        "broker_cpu_us": (broker_after.cpu - broker_before.cpu) / events * 1e6,
        "memory": after.memory,
    }


def perf(plan: Plan, broker: Broker, kind: str) -> Figures:
    """Have PerfTest publish."""
    broker.renew(kind)
    publisher = perf_test.command(plan.peers.perf_test, broker.port, WINDOW, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        return perf_test.publish(publisher, Path(folder), broker, plan.seconds)


def syslog(plan: Plan, broker: Broker, kind: str, events: int) -> Figures:
    """Have syslog-ng publish the lines of a file; the rate begins with the first message."""
    broker.renew(kind)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines, state = folder / "lines", folder / "syslog-ng"
        lines.write_text("".join(f"{number:012d} {'x' * (SIZE - 13)}\n" for number in range(events)))
        before = usage([broker.pid])
        command = syslog_ng.command(plan.peers.syslog_ng, state, broker.port, syslog_ng.from_file(lines))
        with Program(command, state) as program:
            first = until("the first is there", broker.count, program)
            begin = time.monotonic()
            all_there(broker.count, events, program)
            seconds = time.monotonic() - begin
            taken, after = usage([program.pid]), usage([broker.pid])
    return {
        "rate": (events - first) / seconds,
        "cpu_us": taken.cpu / events * 1e6,
        "broker_cpu_us": (after.cpu - before.cpu) / events * 1e6,
        "memory": taken.memory,
    }


def tables(plan: Plan) -> Iterator[Table]:
    """Compare with each type of queue."""
    columns = {
        "rate": ("events/s", ",.0f"),
        "cpu_us": ("µs of CPU an event", ".1f"),
        "broker_cpu_us": ("µs of the broker's", ".1f"),
        "memory": ("peak MB", ".1f"),
    }
    events = max(int(plan.lines * PART) // ROUND, 1) * ROUND
    many = events * 5
    with tempfile.TemporaryDirectory() as state, Broker(Path(state) / "broker") as broker:
        for kind in ("classic", "quorum"):
            table = Table(f"(b) Events of {SIZE} bytes to the broker, {kind} queue", columns)
            table.measure(
                plan.runs,
                {
                    "ours, confirmed": partial(ours, broker, kind, events, 1),
                    "PerfTest, confirmed": partial(perf, plan, broker, kind),
                    "syslog-ng, without confirms": partial(syslog, plan, broker, kind, events),
                    f"ours, confirmed, {TOGETHER} events a message": partial(ours, broker, kind, many, TOGETHER),
                },
            )
            yield table
