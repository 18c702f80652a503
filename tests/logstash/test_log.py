"""The form of log lines, and how often the same is said."""

import json
import logging
import threading

import pytest
from jld_logstash import log
from jld_logstash.log import Formatter, Sayings, Trouble


def line(**attributes: object) -> str:
    """Format a record."""
    record = logging.makeLogRecord(
        {"name": "jld_logstash.x", "levelname": "INFO", "msg": "listens", "created": 1700000000.25, **attributes}
    )
    return Formatter(message_type="jld_logstash").format(record)


def test_version_1() -> None:
    """A line is Logstash's v1 form with what the record carries."""
    event = json.loads(line(port=5044))
    assert event["@version"] == "1"
    assert event["@timestamp"] == "2023-11-14T22:13:20.250Z"
    assert (event["message"], event["level"], event["port"]) == ("listens", "INFO", 5044)
    assert "taskName" not in event


def test_traceback_in_one_line() -> None:
    """A traceback stays inside the line that it belongs to."""
    error = RuntimeError("first\nsecond")
    text = line(exc_info=(type(error), error, None))
    assert "\n" not in text
    assert "RuntimeError: first\nsecond" in json.loads(text)["stack_trace"]


def test_same_thing_once_a_minute(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The same is said once a minute, another thing at once, whatever signs it has."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    sayings = Sayings(logging.getLogger("test"))
    for seconds in (0, 59, 1, 10):
        now += seconds
        sayings.warning("100% full", peer="x")
        sayings.warning(f"another {now}")
    said = [record.message for record in caplog.records]
    assert said.count("100% full") == 2
    assert len(said) == 6


def test_memory_of_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many different things are said, only so many are remembered."""
    monkeypatch.setattr(log, "REMEMBERED", 10)
    sayings = Sayings(logging.getLogger("test"))
    for number in range(100):
        sayings.info(f"{number}")
    assert len(sayings._said) <= 10


def test_trouble(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Trouble is said when it changes, and its end when it was said: the last line tells how things are."""
    caplog.set_level("INFO")
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    trouble = Trouble(logging.getLogger("test"), "bad", "good")
    for reason in (None, "a", "a", None, None, "a", None, "b", "a", None):
        trouble.set(reason)
        assert trouble.reason == reason
    assert [record.message for record in caplog.records] == ["bad: a", "good", "bad: b", "good"]


def test_trouble_that_comes_back(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Trouble that is the same within a minute, and so cannot be said at once, is said when it still goes on then."""
    caplog.set_level("INFO")
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    trouble = Trouble(logging.getLogger("test"), "bad", "good")
    for second, reason in ((0, "a"), (1, None), (2, "a"), (30, "b"), (31, "a"), (59, "a"), (60, "a"), (500, "a")):
        now = 1000.0 + second
        trouble.set(reason)
    assert [record.message for record in caplog.records] == ["bad: a", "good", "bad: b", "bad: a"]


def test_threads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What ends a thread unexpectedly is a log line too."""
    for module in ("sys.excepthook", "threading.excepthook", "logging.raiseExceptions"):
        monkeypatch.setattr(module, None)
    root = logging.getLogger()
    handlers, level = root.handlers.copy(), root.level
    try:
        log.start()
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert event["message"] == "ends on an unexpected error"
    assert "ZeroDivisionError" in event["stack_trace"]
