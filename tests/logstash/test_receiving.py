"""The receiver of docs/logs.md, as it stands there, with a real broker."""

import contextlib
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from broker import Broker
from stack import CHECKOUT, until
from vhost import Host

pytestmark = pytest.mark.rabbitmq

Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Name the receiver's database."""
    return tmp_path / "events.sqlite"


@pytest.fixture
def receive(broker: Broker, host: Host, tmp_path: Path, database: Path) -> Iterator[Start]:
    """Give a function that starts the receiver."""
    (text,) = re.findall(r"^```python\n(.*?)^```", (CHECKOUT / "docs/logs.md").read_text(), re.MULTILINE | re.DOTALL)
    program = tmp_path / "receiver.py"
    program.write_text(text)
    running: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        environment = {
            "BROKER_HOST": "localhost",
            "BROKER_PORT": str(broker.port),
            "BROKER_VHOST": host.name,
            "PASSWORD_FILE": str(broker.password_file),
            "CA_FILE": str(broker.ca),
            "DATABASE": str(database),
            "QUEUE": "q",
        }
        running.append(subprocess.Popen([sys.executable, str(program)], env=environment))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def stored(database: Path) -> list[str]:
    """Give the ids in the database."""
    with contextlib.closing(sqlite3.connect(database)) as found, contextlib.suppress(sqlite3.OperationalError):
        return [identity for (identity,) in found.execute("SELECT id FROM event")]
    return []


@pytest.mark.parametrize("per_message", [1, 50])
def test_each_event_once(
    collect: Any, to_host: dict[str, str | None], receive: Start, database: Path, per_message: int
) -> None:
    """Events that come twice, and a receiver that is killed in the middle, leave each event there once."""
    collector = collect(**to_host, RABBITMQ_TARGET_QUEUE="q", RABBITMQ_TARGET_EVENTS_PER_MESSAGE=per_message)
    batches = [
        [{"n": number, "event": {"id": f"id-{number}"}} for number in range(first, first + 100)]
        for first in range(0, 5000, 100)
    ]
    until("the queue is there", lambda: collector.metric("logstash_broker_connected") == 1)
    receiver = receive()
    repeats = batches[::2]
    without_id = [{"n": "without id"}, {"event.id": "dotted"}, {"event.id": "dotted too"}]
    for number, batch in enumerate([*batches, without_id, *repeats]):
        before = len(stored(database))
        with collector.shipper() as shipper:
            shipper.ship(batch)
        if number in {10, 20, 30, 40}:
            until("more are stored", lambda: len(stored(database)) > before)  # noqa: B023 used at once
            receiver.kill()
            receiver.wait()
            receiver = receive()
    until("all are at the broker", lambda: collector.metric("logstash_spool_events") == 0)
    with collector.shipper() as shipper:
        shipper.ship([{"event": {"id": "last"}}])
    until("the last one is stored", lambda: "last" in stored(database), seconds=30)
    found = stored(database)
    assert len(found) == 5004
    assert {f"id-{number}" for number in range(5000)} < set(found)
