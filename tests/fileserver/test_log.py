"""The form of log lines."""

import json
import logging

import pytest
from jld_fileserver.log import Formatter


def _line(**attributes: object) -> str:
    record = logging.makeLogRecord(
        {"name": "jld_fileserver.x", "levelname": "INFO", "msg": "made", "created": 1700000000.25, **attributes}
    )
    return Formatter(message_type="jld_fileserver").format(record)


def test_version_1() -> None:
    """A line is Logstash's v1 form with what the record carries."""
    event = json.loads(_line(seconds=0.5))
    assert event["@version"] == "1"
    assert event["@timestamp"] == "2023-11-14T22:13:20.250Z"
    assert (event["message"], event["level"], event["seconds"]) == ("made", "INFO", 0.5)
    assert "taskName" not in event


def test_traceback_in_one_line() -> None:
    """A traceback stays inside the line that it belongs to."""
    error = RuntimeError("first\nsecond")
    line = _line(exc_info=(type(error), error, None))
    assert "\n" not in line
    assert "RuntimeError: first\nsecond" in json.loads(line)["stack_trace"]


@pytest.mark.parametrize("text", ["a\nb", "a\u2028b", "\udcff"])
def test_odd_text(text: str) -> None:
    """Whatever a message holds, its line is one line of ASCII."""
    line = _line(msg=text)
    assert line.isascii()
    assert json.loads(line)["message"] == text
    assert len(line.splitlines()) == 1
