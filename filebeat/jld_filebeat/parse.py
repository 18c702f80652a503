"""Lines of containers' logs: the CRI's `time stream tags message` (kubelet CRI logging design); Docker's json-file."""

import datetime as dt
import re
from typing import Any, NamedTuple

import orjson

STREAMS = (b"stdout", b"stderr")
"""What a container writes to."""

_CRI = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::\S*)?(?: (.*))?",
    re.DOTALL,
)
_USUAL_CRI = re.compile(rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z) (stdout|stderr) F (.*)\n", re.MULTILINE)
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class Line(NamedTuple):
    """A line of a container's log.

    Attributes:
        time: when it was written, ISO 8601 in UTC.
        stream: stdout or stderr.
        is_partial: whether the message goes on in the stream's next line.
        text: the message.
    """

    time: bytes
    stream: bytes
    is_partial: bool
    text: bytes


def usual_cri(chunk: bytes, end: int) -> list[tuple[bytes, bytes, bytes]] | None:
    """Give time, stream and message of each line, if all are whole lines in the form that runtimes write; else None.

    Args:
        chunk: whole lines, and more.
        end: where the last line feed of these lines ends, in bytes.
    """
    rows = _USUAL_CRI.findall(chunk, 0, end)
    return rows if len(rows) == chunk.count(b"\n", 0, end) else None


def _parse_cri(line: bytes) -> Line | None:
    match = _CRI.fullmatch(line)
    if match is None:
        return None
    day, fraction, zone, stream, tag, text = match.groups()
    time = _utc(day, fraction, zone)
    return Line(time, stream, tag == b"P", text or b"") if time else None


def _parse_docker(line: bytes) -> Line | None:
    try:
        fields: Any = orjson.loads(line)
        text, stream = fields["log"].encode(), fields["stream"].encode()
        match = _TIME.fullmatch(fields["time"].encode())
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return None
    if stream not in STREAMS or match is None or not (time := _utc(*match.groups())):
        return None
    return Line(time, stream, not text.endswith(b"\n"), text.removesuffix(b"\n"))


PARSERS = {"cri": _parse_cri, "docker": _parse_docker}
"""By format; each gives None for a line that does not fit."""


def _utc(moment: bytes, fraction: bytes | None, zone: bytes) -> bytes | None:
    """Give a time in UTC with at least milliseconds, as exactly as it was."""
    if zone != b"Z":
        try:
            local = dt.datetime.fromisoformat((moment + zone).decode())
            moment = local.astimezone(dt.UTC).replace(tzinfo=None).isoformat().encode()
        except (ValueError, OverflowError):
            return None
    return b"%b.%bZ" % (moment, (fraction or b"").ljust(3, b"0"))
