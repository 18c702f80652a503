"""Lines of logs, as people read them."""

import json
import re
from collections.abc import Mapping
from datetime import datetime


def readable(line: str, member: str | None = None, stamp: str = "") -> str:
    """Put a line on one readable line: time, level, member and message of one in Logstash's v1 form, else all of it.

    The last line of a traceback follows the message.

    Args:
        line: what was logged.
        member: whose it is, where that is known better than by what the line says.
        stamp: when it was read, in ISO 8601, for a line that does not say.
    """
    event = parse(line) or {"message": line, "@timestamp": stamp}
    who = member or event.get("member") or event.get("login") or event.get("user")
    trace = str(event.get("stack_trace") or "").strip().splitlines()
    parts = [
        clock(str(event.get("@timestamp", ""))),
        str(event.get("level", "")),
        f"[{who}]" if isinstance(who, str) else "",
        " ".join(str(event["message"]).split()),
        f"({trace[-1].strip()})" if trace else "",
    ]
    return printable(" ".join(part for part in parts if part))


def printable(text: str) -> str:
    """Replace what could steer a terminal or cannot be written: members choose what stands in their labs' logs.

    Colours go (ECMA-48, SGR), as many programs write them.
    """
    return "".join(sign if sign.isprintable() else "?" for sign in re.sub(r"\x1b\[[0-9;]*m", "", text))


def parse(line: str) -> Mapping[str, object] | None:
    """Read an event; None when a line holds none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and "message" in event else None


def clock(stamp: str) -> str:
    """Give the local time of day of an ISO 8601 time."""
    try:
        return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError):
        return stamp
