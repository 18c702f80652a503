"""The form of log lines, and how often a trouble is told."""

import json
import logging

import pytest
from jld_filebeat.log import Complaints, Formatter


def line(**attributes: object) -> str:
    """Format a record."""
    record = logging.makeLogRecord(
        {"name": "jld_filebeat.x", "levelname": "INFO", "msg": "done", "created": 1700000000.25, **attributes}
    )
    return Formatter(message_type="jld_filebeat").format(record)


def test_version_1() -> None:
    """A line is Logstash's v1 form with what the record carries."""
    event = json.loads(line(port=5))
    assert event["@version"] == "1"
    assert event["@timestamp"] == "2023-11-14T22:13:20.250Z"
    assert (event["message"], event["level"], event["type"], event["port"]) == ("done", "INFO", "jld_filebeat", 5)
    assert "taskName" not in event


def test_traceback_in_one_line() -> None:
    """A traceback stays inside the line that it belongs to."""
    error = RuntimeError("first\nsecond")
    text = line(exc_info=(type(error), error, None))
    assert "\n" not in text
    assert "RuntimeError: first\nsecond" in json.loads(text)["stack_trace"]


def test_complaints(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The same trouble is told once a minute, and another one beside it."""
    now = 1000.0
    monkeypatch.setattr("jld_filebeat.log.time.monotonic", lambda: now)
    complaints = Complaints(logging.getLogger("test"))
    told = [complaints.tell("a", "first") for _ in range(3)]
    assert told == [True, False, False]
    complaints.tell("b", "other")
    now += 60
    complaints.tell("a", "again")
    assert caplog.messages == ["first", "other", "again"]
