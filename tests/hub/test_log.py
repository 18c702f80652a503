"""Log lines."""

import json
import logging
import sys

from jld_hub.log import JsonFormatter


def line(message: str, *args: object, exc_info: object = None) -> dict[str, object]:
    """Format one record."""
    record = logging.LogRecord("Hub", logging.WARNING, "app.py", 1, message, args, exc_info)  # type: ignore[arg-type]
    record.taskName = "Task-1"
    text = JsonFormatter("format", "date format").format(record)
    assert "\n" not in text
    parsed: dict[str, object] = json.loads(text)
    return parsed


def test_logstash_form() -> None:
    """A line has the fields of Logstash's v1 form and the service's name, and no name of a task."""
    fields = line("User logged in: %s", "alice")
    assert fields["message"] == "User logged in: alice"
    assert (fields["@version"], fields["level"], fields["service"]) == ("1", "WARNING", "hub")
    assert str(fields["@timestamp"]).endswith("Z")
    assert "taskName" not in fields


def test_traceback_stays_in_the_line() -> None:
    """An exception is a field of its line."""
    try:
        int("x")
    except ValueError:
        assert "invalid literal" in str(line("oh", exc_info=sys.exc_info())["stack_trace"])


def test_secrets_of_addresses_and_cookies() -> None:
    """Codes, states and tokens of addresses, and what XSRF cookies are made from, are not written."""
    message = line('403 GET /hub/oauth_callback?code=c0de&state=st4te&x=1 (1.2.3.4): no "b"')["message"]
    assert message == '403 GET /hub/oauth_callback?code=***&state=***&x=1 (1.2.3.4): no "b"'
    assert line("Setting new xsrf cookie for %r %r", b"s:t", {})["message"] == "Setting new xsrf cookie for b'***' {}"
