"""Events on their way through a collector to the broker."""

from typing import Any

from stack import until


def events(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Make events with ids."""
    return [{"n": number, "event": {"id": f"id-{number}"}} for number in range(first, first + count)]


def confirmed(collector: Any, count: int) -> None:
    """Wait until so many events are confirmed."""
    until("all are confirmed", lambda: collector.metric("logstash_events_confirmed_total") >= count)
