"""Readiness is the spool's: a broker that is away is no reason to send shippers elsewhere. What is lost is counted."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stack import until

Collect = Callable[..., Any]
Written = Callable[[], list[dict[str, Any]]]

BLOB = "x" * 2**22


def test_ready_while_the_broker_is_away(collect: Collect, to_nowhere: dict[str, str | None]) -> None:
    """Without a broker it is ready, and acknowledges what shippers send."""
    collector = collect(**to_nowhere)
    until("it says that the broker is away", lambda: collector.says("is away"))
    with collector.shipper() as shipper:
        shipper.ship([{"n": 1}])
    answer = collector.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert collector.metric("logstash_broker_connected") == 0
    assert collector.metric("logstash_spool_events") == collector.metric("logstash_events_acknowledged_total") == 1
    assert collector.metric("logstash_events_dropped_total") == 0


def test_not_ready_while_the_spool_is_full(collect: Collect, written: Written, tmp_path: Path) -> None:
    """A full spool takes nothing and is not ready, until its events are taken; then it is, and nothing is lost."""
    collector = collect(LOGSTASH_SPOOL_LIMIT="32M")
    target = tmp_path / "events"
    target.unlink()
    target.mkdir()  # which nothing can be written to
    acknowledged = []

    def ship() -> None:
        with collector.shipper() as shipper:
            for number in range(12):
                shipper.ship([{"n": number, "blob": BLOB}], compress=False)
                acknowledged.append(number)

    shipping = threading.Thread(target=ship)
    shipping.start()
    until("it is not ready", lambda: collector.get("/readyz").status_code == 503, seconds=20)
    answer = collector.get("/readyz").json()
    assert answer["error"] == "not-ready"
    assert "full" in answer["message"]
    assert collector.get("/healthz").status_code == 200
    assert len(acknowledged) == collector.metric("logstash_spool_events") < 12
    target.rmdir()
    until("it is ready again", lambda: collector.get("/readyz").status_code == 200, seconds=20)
    shipping.join(20)
    assert len(acknowledged) == 12
    until("the spool is empty", lambda: collector.metric("logstash_spool_events") == 0)
    assert [event["n"] for event in written()] == list(range(12))
    assert collector.metric("logstash_events_dropped_total") == 0


def test_drops_are_counted(collect: Collect, to_nowhere: dict[str, str | None], tmp_path: Path) -> None:
    """An event that the disk has lost is counted as one, while those around it are kept."""
    collector = collect(**to_nowhere)
    with collector.shipper() as shipper:
        shipper.ship([{"n": 1}, {"n": "lost"}, {"n": 3}])
    assert collector.metric("logstash_events_dropped_total") == 0
    assert collector.end() == 0
    (segment,) = (tmp_path / "spool").glob("*.segment")
    segment.write_bytes(segment.read_bytes().replace(b"lost", b"LOST"))
    again = collect(**to_nowhere)
    assert again.metric("logstash_events_dropped_total") == again.metric("logstash_spool_damaged_places") == 1
    assert again.metric("logstash_spool_events") == 2
    assert "# TYPE logstash_events_dropped_total counter" in again.get("/metrics").text
