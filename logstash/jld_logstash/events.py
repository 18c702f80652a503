"""What the collector does to an event: next to nothing."""

import re
from typing import Any

import orjson

from . import records
from .errors import ProtocolError

STAMP = "shipper_certificate"
"""The field that tells whose certificate the event came with; a shipper cannot choose it."""

TEXT_LIMIT = 2 * 2**20
"""Bytes of an event that is handed on as text. As JSON, a byte may take six."""

_TOO_DEEP = "depth limit exceeded"
"""What orjson says of an event that is nested deeper than 1024."""

_BLANKS = b" \t\n\r"

_METADATA = rb'"@metadata":\{(?:"[^"\\]*":"[^"\\]*",?)*+\}'
_FIRST = re.compile(rb'\{(?:"@timestamp":"[^"\\]*",)?+(%b,)' % _METADATA)
"""Where `@metadata` is in what Filebeat sends."""

_LAST = re.compile(rb",%b(?=\}\Z)" % _METADATA)
"""Where it is in what jld_filebeat sends. In valid JSON this comma is in no text, and these braces end all there is."""

_ESCAPED = re.compile(rb"\\u00[467]")
"""A letter of `@metadata`, written in another way."""


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
            if error.msg == _TOO_DEEP and event.lstrip(_BLANKS).startswith(b"{"):
                return records.encode(b"", self._as_text(event))
            raise ProtocolError(f"an event that is not JSON: {error.msg}") from error
        if not isinstance(fields, dict):
            raise ProtocolError("an event that is not a JSON object")
        front = self._front if "shipper" in fields else self._long_front
        # White space between fields may hold line breaks, but a file of events has one a line.
        if "@metadata" in fields or STAMP in fields or not fields or b"\n" in event or b"\r" in event:
            is_cuttable = STAMP not in fields
            fields.pop("@metadata", None)
            fields[STAMP] = self._certificate
            fields.setdefault("shipper", self._shipper)
            try:
                marked = orjson.dumps(fields)
            except orjson.JSONEncodeError:  # it reads what is nested 1024 deep, and writes 254
                rest = _without_metadata(event.translate(None, b"\n\r")) if is_cuttable else None
                marked = _behind(front, rest) if rest else self._as_text(event)
        else:
            marked = _behind(front, event)
        return records.encode(_id(fields), marked)

    def _as_text(self, event: bytes) -> bytes:
        """Hand on an event that cannot be looked into: to refuse it would hold up all behind it for ever."""
        flags = ["malformed", *(["truncated"] if len(event) > TEXT_LIMIT else [])]
        text = event[:TEXT_LIMIT].decode(errors="replace")
        marks = {STAMP: self._certificate, "shipper": self._shipper}
        return orjson.dumps({**marks, "message": text, "log": {"flags": flags}})


def _behind(front: bytes, event: bytes) -> bytes:
    """Put fields before those of an event."""
    return front + event[event.index(b"{") + 1 :]


def _without_metadata(event: bytes) -> bytes | None:
    """Cut `@metadata` out of an event that has it at most once and where Filebeat has it; None of another one."""
    if b"\\u00" in event and _ESCAPED.search(event):
        return None
    count = event.count(b"@metadata")
    if found := _LAST.match(event, event.rfind(b',"@metadata"')) if count == 1 else None:
        return event[: found.start()] + b"}"
    if found := _FIRST.match(event) if count == 1 else None:
        return event[: found.start(1)] + event[found.end() :]
    return None if count else event


def _id(fields: dict[str, Any]) -> bytes:
    """Find `id` in `event`, where receivers look for it too; empty when there is none that a message can have."""
    inner = fields.get("event")
    found = inner.get("id") if isinstance(inner, dict) else None
    identity = found.encode() if isinstance(found, str) else b""
    return identity if len(identity) <= records.ID_LIMIT else b""
