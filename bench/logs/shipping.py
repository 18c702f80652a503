"""From files to a counting server of Elastic's protocol library, over mutual TLS: our shipper beside Filebeat.

Each run is a shipper of its own with an empty state: from its start until the server has counted all events.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import container_logs
from jld_embedded.certificates import Authority
from measured import Command, Program, until, usage
from plan import Plan
from report import Figures, Table
from shippers import Shipper, Target, filebeat, ours

LINE = 256
"""Bytes of a line of the first comparison."""

LEAST_LINES = 10_000
"""Of the first comparison: those of a single window would be counted in no time."""

MOST_SECONDS = 1800
"""For one run."""

FILES = (1, 10, 100)
SIZES = {100: 1, 1_000: 0.3, 10_000: 0.05}
"""Bytes of a line, and the part of the first comparison's lines that a run has of them."""


def ship(plan: Plan, shipper: Shipper, pattern: str, lines: int, core: int | None = None) -> dict[str, float]:
    """Have a shipper ship files once, and give all that is known of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder)
        pair = authority.issue("receiver")
        files = {"-authority": authority.certificate, "-certificate": pair.certificate, "-key": pair.key}
        words = [plan.peers.receiver, "-events", str(lines), *(part for item in files.items() for part in item)]
        # It ends with its input, after the shipper has taken the last acknowledgement.
        with Program(Command(words), folder / "receiver", stdin=subprocess.PIPE) as receiver:
            port = int(until("the server listens", partial(receiver.line, 0), receiver))
            command = shipper(folder / "shipper", pattern, Target(port, authority))
            begin = time.monotonic()
            with Program(command, folder / "shipper", core=core) as program:
                done = until("all are counted", partial(receiver.line, 1), receiver, program, seconds=MOST_SECONDS)
                seconds = time.monotonic() - begin
                taken = usage([program.pid])
    counted = json.loads(done)
    events = counted["events"]
    return {
        "rate": events / seconds,
        "flow": events / counted["seconds"],
        "cpu": taken.cpu,
        "cpu_us": taken.cpu / events * 1e6,
        "memory": taken.memory,
        "wire": counted["wire"] / events,
    }


def one_file(plan: Plan) -> Iterator[Table]:
    """Compare with one file of lines of 256 bytes, on all cores and on one."""
    shippers = {
        "ours": ours,
        "Filebeat": filebeat(plan.peers.filebeat),
        "Filebeat, compression at level 1": filebeat(plan.peers.filebeat, compression_level=1),
    }
    columns = {
        "rate": ("events/s", ",.0f"),
        "flow": ("events/s from the first window on", ",.0f"),
        "cpu": ("CPU s", ".2f"),
        "memory": ("peak MB", ".1f"),
        "wire": ("bytes on the wire an event", ".1f"),
    }

    def run(shipper: Shipper, core: int | None) -> Figures:
        figures = ship(plan, shipper, pattern, plan.lines, core)
        return {name: figures[name] for name in columns}

    with tempfile.TemporaryDirectory() as folder:
        pattern = container_logs.write(Path(folder), plan.lines, LINE)
        last = (os.cpu_count() or 1) - 1
        for cores, core in {"all cores": None, "the shipper on one core": last}.items():
            table = Table(f"(a) {plan.lines:,} lines of {LINE} bytes to a counting server, {cores}", columns)
            sides = {name: partial(run, shipper, core) for name, shipper in shippers.items()}
            table.measure(plan.runs, sides)
            yield table


def growth(plan: Plan) -> Iterator[Table]:
    """Compare with more files, and with shorter and longer lines."""
    shippers = {"ours": ours, "Filebeat": filebeat(plan.peers.filebeat)}
    columns = {
        "rate": ("events/s", ",.0f"),
        "megabytes": ("MB/s", ".1f"),
        "cpu_us": ("µs of CPU an event", ".1f"),
        "memory": ("peak MB", ".1f"),
    }

    def run(shipper: Shipper, pattern: str, lines: int, size: int) -> Figures:
        figures = ship(plan, shipper, pattern, lines)
        figures["megabytes"] = figures["rate"] * size / 1e6
        return {name: figures[name] for name in columns}

    for size, part in SIZES.items():
        lines = max(int(plan.lines * part), *FILES)
        table = Table(f"(d) {lines:,} lines of {size:,} bytes to a counting server", columns)
        with tempfile.TemporaryDirectory() as folder:
            sides = {}
            for files in FILES:
                pattern = container_logs.write(Path(folder) / str(files), lines, size, files)
                for name, shipper in shippers.items():
                    told = f"{files} file{'s' * (files > 1)}, {name}"
                    sides[told] = partial(run, shipper, pattern, lines, size)
            table.measure(plan.runs, sides)
        yield table
