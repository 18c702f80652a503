"""What the collector does to an event: next to nothing."""

from typing import Any

import orjson

from . import records
from .errors import ProtocolError

STAMP = "shipper_certificate"
"""The field that tells whose certificate the event came with; a shipper cannot choose it."""


class Marker:
    """Makes records of the events of one shipper.

    `@metadata` is dropped, as Logstash does when it sends an event on; `shipper_certificate` is set, and `shipper` is
    added where it is missing. All else stays as it is, byte by byte where nothing had to be dropped.

    Args:
        shipper: what `shipper` is to say.
        certificate: the name that the shipper's certificate is for.
    """

    def __init__(self, shipper: str, certificate: str) -> None:
        self._shipper = shipper
        self._certificate = certificate
        stamp = orjson.dumps({STAMP: certificate})[:-1] + b","
        self._front = stamp
        self._long_front = stamp + orjson.dumps({"shipper": shipper})[1:-1] + b","

    def record(self, event: bytes) -> bytes:
        """Make the record of an event for the spool.

        Args:
            event: a JSON object in UTF-8.

        Raises:
            ProtocolError: it is no such thing.
        """
        try:
            fields = orjson.loads(event)
        except orjson.JSONDecodeError as error:
            raise ProtocolError(f"an event that is not JSON: {error.msg}") from error
        if not isinstance(fields, dict):
            raise ProtocolError("an event that is not a JSON object")
        # White space between fields may hold line breaks, but a file of events has one a line.
        if "@metadata" in fields or STAMP in fields or not fields or b"\n" in event or b"\r" in event:
            fields.pop("@metadata", None)
            fields[STAMP] = self._certificate
            fields.setdefault("shipper", self._shipper)
            marked = orjson.dumps(fields)
        else:
            front = self._front if "shipper" in fields else self._long_front
            marked = front + event[event.index(b"{") + 1 :]
        return records.encode(_id(fields), marked)


def _id(fields: dict[str, Any]) -> bytes:
    """Find `event.id`, empty when there is none that a message can have."""
    inner = fields.get("event")
    found = inner.get("id") if isinstance(inner, dict) else fields.get("event.id")
    identity = found.encode() if isinstance(found, str) else b""
    return identity if len(identity) <= records.ID_LIMIT else b""
