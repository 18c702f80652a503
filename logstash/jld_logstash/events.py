"""What the collector does to an event: next to nothing."""

from typing import Any

import orjson

from . import records
from .errors import ProtocolError


def record(event: bytes, shipper: str) -> bytes:
    """Make the record of an event for the spool.

    `@metadata` is dropped, as Logstash does when it sends an event on; `shipper` is added where it is missing. What
    needs neither stays as it is, byte by byte.

    Args:
        event: a JSON object in UTF-8.
        shipper: what `shipper` is to say.

    Raises:
        ProtocolError: it is no such thing.
    """
    try:
        fields = orjson.loads(event)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"an event that is not JSON: {error.msg}") from error
    if not isinstance(fields, dict):
        raise ProtocolError("an event that is not a JSON object")
    identity = _id(fields)
    changed = "@metadata" in fields or "shipper" not in fields
    fields.pop("@metadata", None)
    fields.setdefault("shipper", shipper)
    # White space between fields may hold line breaks, but a file of events has one a line.
    return records.encode(identity, orjson.dumps(fields) if changed or b"\n" in event or b"\r" in event else event)


def _id(fields: dict[str, Any]) -> bytes:
    """Find `event.id`, empty when there is none that a message can have."""
    inner = fields.get("event")
    found = inner.get("id") if isinstance(inner, dict) else fields.get("event.id")
    identity = found.encode() if isinstance(found, str) else b""
    return identity if len(identity) <= records.ID_LIMIT else b""
