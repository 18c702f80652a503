"""Nothing is lost between our ends and Elastic's when either is killed, or the collector's spool is full."""

import itertools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from stack import until

pytestmark = pytest.mark.elastic

Plain = Callable[..., list[dict[str, Any]]]

TIME = "2026-01-02T03:04:05.123456789Z"

BURST = 40_000
"""Lines that are written at once, so that whoever is killed is in the middle of them."""

TURNS = 2
"""How often something is killed."""

SOON = {"init": "100ms", "max": "1s"}
"""When Filebeat tries again; from 1 s to 60 s by default."""

DISCARD = 9
"""A port that nobody listens on (RFC 863)."""


@pytest.mark.parametrize("killed", ["collector", "filebeat", "both"])
def test_filebeat(ends: Any, plain: Plain, killed: str) -> None:
    """Elastic's Filebeat or our collector killed in the middle, again and again, no line is lost."""
    lines = [f"line {number}" for number in range(30_000)]
    (ends.logs / "app.log").write_text("".join(f"{line}\n" for line in lines))
    collector = ends.collector()
    filebeat = ends.filebeat(collector.port, inputs=plain(), bulk_max_size=150, backoff=SOON)
    programs = {"collector": [collector], "filebeat": [filebeat], "both": [collector, filebeat]}[killed]
    collector.start()
    filebeat.start()
    for turn in range(TURNS):
        collector.take(len(collector.events()) + 2000)
        assert len(set(collector.messages())) < len(lines), f"all is over before kill {turn}"
        for program in programs:
            program.kill()
        for program in programs:
            program.start()
    until("every line arrives", lambda: set(lines) <= set(collector.messages()), 60)
    assert set(collector.messages()) == set(lines)


def _more_than(filebeat: Any, heard: int) -> bool:
    return bool(filebeat.figure("output", "read", "bytes") > heard)


def test_full_spool(ends: Any, plain: Plain) -> None:
    """While the spool is full, signs of life keep it connected beyond its timeout; when it is not, all lines arrive."""
    lines = [f"line {number} {'x' * 9000}" for number in range(4500)]
    (ends.logs / "app.log").write_text("".join(f"{line}\n" for line in lines))
    nowhere = {"RABBITMQ_TARGET_HOST": "127.0.0.1", "RABBITMQ_TARGET_USER": "x", "RABBITMQ_TARGET_PASSWORD": "x"}
    collector = ends.collector(LOGSTASH_SPOOL_LIMIT="32M")
    collector.settings |= nowhere | {"RABBITMQ_TARGET_PORT": DISCARD, "LOGSTASH_EVENTS_FILE": None}
    collector.start()
    filebeat = ends.filebeat(collector.port, inputs=plain(), bulk_max_size=200, timeout="4s", backoff=SOON)
    filebeat.start()
    until("it is full", lambda: collector.metric("logstash_spool_writable") == 0)
    acknowledged = filebeat.figure("output", "events", "acked")
    for _ in range(2):
        heard = filebeat.figure("output", "read", "bytes")
        until("a sign of life", partial(_more_than, filebeat, heard))
    assert collector.metric("logstash_connections") == 1
    assert not collector.says("is gone")
    assert filebeat.figure("output", "read", "errors") == filebeat.figure("output", "events", "failed") == 0
    assert filebeat.figure("output", "events", "acked") < acknowledged + 2 * 200 < len(lines)
    collector.kill()
    collector.settings |= dict.fromkeys(["RABBITMQ_TARGET_PORT", *nowhere])
    collector.settings["LOGSTASH_EVENTS_FILE"] = collector.folder / "events"
    collector.start()
    until("every line arrives", lambda: set(lines) <= set(collector.messages()))


class Writer(threading.Thread):
    """Writes numbered lines, and renames the log now and then.

    Args:
        log: the file.
    """

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log
        self._over = threading.Event()
        self._turn = threading.Lock()
        self.lines: list[str] = []

    def write(self, count: int) -> None:
        """Write some lines at once."""
        with self._turn, self._log.open("a") as log:
            lines = [f"line {len(self.lines) + number} \N{ROCKET}" for number in range(count)]
            log.write("".join(f"{TIME} stdout F {line}\n" for line in lines))
            self.lines += lines

    def run(self) -> None:
        """Write until told to stop."""
        for rotation in itertools.count():
            for _ in range(300):
                self.write(10)
                if self._over.wait(0.002):
                    return
            with self._turn:
                self._log.rename(self._log.with_name(f"{self._log.name}.{rotation}"))

    def stop(self) -> list[str]:
        """Stop it, and give all that it wrote."""
        self._over.set()
        self.join()
        return self.lines


@pytest.fixture
def writer(ends: Any) -> Iterator[Writer]:
    """Give one that writes until the test ends at the latest."""
    made = Writer(ends.logs / "app.log")
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("server", "killed"),
    [("receiver", "server"), ("receiver", "shipper"), ("receiver", "both"), ("collector", "both")],
    indirect=["server"],
)
def test_shipper(ends: Any, server: Any, writer: Writer, killed: str) -> None:
    """Our shipper or its server killed while lines are written and logs rotate, each line arrives, with one id."""
    shipper = ends.shipper(server.port, "cri")
    programs = {"server": [server], "shipper": [shipper], "both": [server, shipper]}[killed]
    server.start()
    shipper.start()
    for _ in range(TURNS):
        writer.write(BURST)
        server.take(len(server.events()) + 1000)
        for program in programs:
            program.kill()
        for program in programs:
            program.start()
    lines = writer.stop()
    until("every line arrives", lambda: set(lines) <= set(server.messages()))
    ids = {(event["event"]["id"], event["message"]) for event in server.events()}
    assert len(ids) == len({identity for identity, _ in ids}) == len({message for _, message in ids}) == len(lines)
