"""Lines of the log."""

import json
import logging
import sys
from typing import Any

import pytest
from jld_lab.log import Formatter


def line(message: str, **more: Any) -> dict[str, Any]:
    """Return what becomes of a record."""
    fields = {"name": "some", "levelname": "INFO", "levelno": logging.INFO, "created": 0.5, "msg": message}
    record = logging.makeLogRecord(fields | more)
    text = Formatter("alice", "hush").format(record)
    assert "\n" not in text
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_form() -> None:
    """A line has Logstash's v1 form, the service and the member, and nothing that Python itself put there."""
    found = line("Hello", taskName="Task-1", color="")
    assert (found["@timestamp"], found["@version"]) == ("1970-01-01T00:00:00.500Z", "1")
    assert (found["message"], found["service"], found["user"]) == ("Hello", "lab", "alice")
    assert not {"taskName", "color"} & set(found)


def test_traceback_stays_in_the_line() -> None:
    """A traceback is a field of the one line."""
    try:
        int("broken\nin two")
    except ValueError:
        assert "broken\\nin two" in line("Oh", exc_info=sys.exc_info())["stack_trace"]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("token hush here", "token *** here"),
        ("GET /a?token=abc&b=1 failed", "GET /a?token=***&b=1 failed"),
        ('"/a?x=1&code=c\\d" and so on', '"/a?x=1&code=***\\d" and so on'),
    ],
)
def test_secrets_are_not_shown(message: str, shown: str) -> None:
    """The lab's token, and tokens and codes in addresses, are not in the log."""
    assert line(message)["message"] == shown
