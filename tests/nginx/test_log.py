"""The form of log lines."""

import json
import logging

from jld_nginx.log import Formatter


def _line(**attributes: object) -> str:
    record = logging.makeLogRecord(
        {"name": "jld_nginx.x", "levelname": "INFO", "msg": "serves", "created": 1700000000.25, **attributes}
    )
    return Formatter(message_type="jld_nginx").format(record)


def test_version_1() -> None:
    """A line is Logstash's v1 form with what the record carries."""
    event = json.loads(_line(port=1))
    assert event["@version"] == "1"
    assert event["@timestamp"] == "2023-11-14T22:13:20.250Z"
    assert (event["message"], event["level"], event["port"]) == ("serves", "INFO", 1)
    assert "taskName" not in event


def test_traceback_in_one_line() -> None:
    """A traceback stays inside the line that it belongs to."""
    error = RuntimeError("first\nsecond")
    line = _line(exc_info=(type(error), error, None))
    assert "\n" not in line
    assert "RuntimeError: first\nsecond" in json.loads(line)["stack_trace"]
