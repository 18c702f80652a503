"""Collector to broker with confirms, beside RabbitMQ's PerfTest and syslog-ng with messages of the same size, in turn.

Ours is the whole way: shippers with mutual TLS, decoding, spool with fsync, and publishing, until the last event is
confirmed. PerfTest only publishes, with the same window. syslog-ng reads lines from a file and waits for no confirms.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from collector_broker import KEY, Broker
from collector_load import SIZE
from collector_peers import PerfTest, SyslogNg
from jld_embedded.certificates import Authority

WINDOW = 1000
"""Messages on their way at the same time, of both."""

TOGETHER = 100
"""Events that share a message, where they do."""

CODE = """\
import sys
from jld_logstash import __main__, broker
broker.WINDOW = int(sys.argv[1])
sys.exit(__main__.main())
"""

TICKS = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """What a process took so far: seconds of CPU, and the most memory in MB."""

    cpu: float
    memory: float


def usage(pid: int) -> Usage:
    """Ask the kernel about a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return Usage((int(fields[11]) + int(fields[12])) / TICKS, int(peak[1]) / 1000 if peak else 0)


class Collector:
    """The collector as a process.

    Args:
        folder: for its spool.
        authority: of its certificates.
        broker: where it publishes.
        together: events that may share a message.
    """

    def __init__(self, folder: Path, authority: Authority, broker: Broker, together: int) -> None:
        pair = authority.issue("logstash")
        folder.mkdir()
        self._log = folder / "log"
        settings = {
            "LOGSTASH_HOST": "127.0.0.1",
            "LOGSTASH_PORT": "0",
            "LOGSTASH_BEATS_PORT": "0",
            "LOGSTASH_SPOOL_DIR": str(folder / "spool"),
            "LOGSTASH_CA_FILE": str(authority.certificate),
            "LOGSTASH_CERTIFICATE_FILE": str(pair.certificate),
            "LOGSTASH_KEY_FILE": str(pair.key),
            "RABBITMQ_TARGET_HOST": "127.0.0.1",
            "RABBITMQ_TARGET_PORT": str(broker.port),
            "RABBITMQ_TARGET_TLS": "false",
            "RABBITMQ_TARGET_USER": "guest",
            "RABBITMQ_TARGET_PASSWORD": "guest",
            "RABBITMQ_TARGET_EVENTS_PER_MESSAGE": str(together),
            "SHIPPER_NAME": KEY,
        }
        command = [sys.executable, "-c", CODE, str(WINDOW)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, env=settings, stdout=log)
        self.started = self._wait_for_start()

    def _wait_for_start(self) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for line in self._log.read_text().splitlines():
                if '"listens"' in line:
                    found: dict[str, Any] = json.loads(line)
                    return found
            time.sleep(0.05)
        raise TimeoutError(self._log.read_text())

    def confirmed(self) -> float:
        """Give the number of events that the broker confirmed."""
        page = httpx.get(f"http://127.0.0.1:{self.started['port']}/metrics").text
        found = re.search(r"^logstash_events_confirmed_total (\S+)", page, re.MULTILINE)
        return float(found[1]) if found else 0

    def end(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


@contextmanager
def load(collector: Collector, authority: Authority, events: int) -> Iterator[float]:
    """Ship events to a collector; gives the time at which the first one leaves."""
    pair = authority.issue("filebeat")
    program = Path(__file__).with_name("collector_load.py")
    files = map(str, (authority.certificate, *pair))
    words = [str(program), str(collector.started["beats_port"]), *files, str(events)]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield time.monotonic()
        process.wait(120)


def ours(broker: Broker, kind: str, events: int, together: int) -> dict[str, float]:
    """Ship events through the collector, and give what was measured."""
    broker.renew(kind)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder)
        collector = Collector(folder / "collector", authority, broker, together)
        before, broker_before = usage(collector.process.pid), usage(broker.pid)
        with load(collector, authority, events) as begin:
            whole = events // 4096 * 4096
            while collector.confirmed() < whole:
                time.sleep(0.1)
            seconds = time.monotonic() - begin
        after, broker_after = usage(collector.process.pid), usage(broker.pid)
        collector.end()
    return {
        "rate": whole / seconds,
        "cpu_us": (after.cpu - before.cpu) / whole * 1e6,
        "broker_cpu_us": (broker_after.cpu - broker_before.cpu) / whole * 1e6,
        "memory_mb": after.memory,
    }


def theirs(broker: Broker, peer: PerfTest, kind: str, seconds: int) -> dict[str, float]:
    """Have PerfTest publish, and give what was measured."""
    broker.renew(kind)
    before = usage(broker.pid)
    rate = peer.run(broker.port, kind=kind, window=WINDOW, size=SIZE, seconds=seconds)
    cpu = usage(broker.pid).cpu - before.cpu
    return {"rate": rate, "broker_cpu_us": cpu / max(1, broker.count()) * 1e6}


def syslog(broker: Broker, peer: SyslogNg, kind: str, events: int) -> dict[str, float]:
    """Have syslog-ng publish the lines of a file, and give what was measured from the first message on."""
    broker.renew(kind)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = folder / "lines"
        lines.write_text("".join(f"{number:012d} {'x' * (SIZE - 13)}\n" for number in range(events)))
        before = usage(broker.pid)
        process = peer.start(folder, broker.port, lines)
        try:
            while not (first := broker.count()):
                time.sleep(0.01)
            begin = time.monotonic()
            while broker.count() < events:
                time.sleep(0.1)
            seconds = time.monotonic() - begin
            cpu, memory = usage(process.pid)
        finally:
            process.kill()
            process.wait()
    return {
        "rate": (events - first) / seconds,
        "cpu_us": cpu / events * 1e6,
        "broker_cpu_us": (usage(broker.pid).cpu - before.cpu) / events * 1e6,
        "memory_mb": memory,
    }


def row(who: str, found: list[dict[str, float]]) -> str:
    """Write a row of the table: medians, of the rate with the least and the most."""
    rates = [run["rate"] for run in found]
    cells = [who, f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"]
    for name in ("cpu_us", "broker_cpu_us", "memory_mb"):
        values = [run[name] for run in found if name in run]
        cells.append(f"{statistics.median(values):.1f}" if values else "")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure as the arguments say, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", choices=["classic", "quorum"], action="append", help="types of queue; both")
    parser.add_argument("--runs", type=int, default=5, help="of each, interleaved")
    parser.add_argument("--events", type=int, default=200_000, help="of ours in a run")
    parser.add_argument("--seconds", type=int, default=10, help="of PerfTest's runs")
    parser.add_argument("--json", type=Path, help="file for every figure")
    parser.add_argument("--peers", type=Path, default=Path(".bench"), help="folder for the others")
    parser.add_argument("--only-ours", action="store_true", help="without the others")
    arguments = parser.parse_args()
    folder = arguments.peers.resolve()
    peers = None if arguments.only_ours else (PerfTest(folder), SyslogNg(folder))
    figures: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as state, Broker(Path(state) / "broker") as broker:
        for _ in range(arguments.runs):
            for kind in arguments.kind or ["classic", "quorum"]:
                names = {1: f"ours, {kind}", TOGETHER: f"ours, {kind}, {TOGETHER} events a message"}
                for together, name in names.items():
                    figures.setdefault(name, []).append(ours(broker, kind, arguments.events, together))
                if peers:
                    found = theirs(broker, peers[0], kind, arguments.seconds)
                    figures.setdefault(f"PerfTest, {kind}", []).append(found)
                    found = syslog(broker, peers[1], kind, arguments.events)
                    figures.setdefault(f"syslog-ng, {kind}, without confirms", []).append(found)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print("| | events/s, confirmed | µs of CPU an event | µs of the broker's | peak MB |\n|---|---|---|---|---|")
    for name, found_here in figures.items():
        print(row(name, found_here))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
