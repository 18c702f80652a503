"""The collector as a process, from a shipper to a file."""

from collections.abc import Callable
from typing import Any

from stack import until

Collect = Callable[..., Any]
Written = Callable[[], list[dict[str, Any]]]


def test_from_shipper_to_file(collect: Collect, written: Written) -> None:
    """What a shipper sends is in the file, with the name of the shipper where it had none and without `@metadata`."""
    collector = collect(SHIPPER_NAME="somewhere")
    with collector.shipper() as shipper:
        shipper.ship([{"message": "a", "@metadata": {"beat": "filebeat"}}, {"message": "b", "shipper": "another"}])
        shipper.ship([{"message": "c"}], first=3, compress=False)
    until("all are written", lambda: len(written()) == 3)
    assert written() == [
        {"message": "a", "shipper": "somewhere"},
        {"message": "b", "shipper": "another"},
        {"message": "c", "shipper": "somewhere"},
    ]
    assert collector.metric("logstash_events_acknowledged_total") == 3
    assert collector.end() == 0
    assert collector.messages()[0] == "listens"
    assert collector.messages()[-1] == "ends"
