"""Log lines: JSON in Logstash's v1 form, one object a line, on standard output."""

import logging
import os
import re
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from logstash.formatter import LogstashFormatterVersion1

_LINE = 8192
"""Bytes of output after which a line of a kernel is cut: it may be a progress bar that never ends its line."""

_SECRETS = re.compile(r"([?&](?:token|code|state|_xsrf)=|xsrf cookie for b')[^&\s\"'\\]+")
"""What must not be shown of addresses, which libraries log whole where a request fails, and of cookies."""

_handler = logging.StreamHandler(sys.stdout)


class Formatter(LogstashFormatterVersion1):  # type: ignore[misc]  # the library has no types
    """python-logstash's v1 form as text, with the service and the member in each line.

    Args:
        login: The member's login.
        secret: What no line may show.
    """

    def __init__(self, login: str, secret: str) -> None:
        super().__init__(message_type="jupyterlabdemo")
        self._login = login
        self._secret = secret

    def format(self, record: logging.LogRecord) -> str:
        """Give the line as text: the library gives bytes, for its sockets."""
        line: bytes = super().format(record)
        return _SECRETS.sub(r"\1***", line.decode().replace(self._secret, "***"))

    def get_extra_fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Drop what Python since 3.12 and tornado put into each record, which the library takes for extras."""
        fields: dict[str, Any] = super().get_extra_fields(record)
        for name in ("taskName", "color", "end_color"):
            fields.pop(name, None)
        return fields | {"service": "lab", "user": self._login}

    @classmethod
    def format_timestamp(cls, time: float) -> str:
        """Do without utcfromtimestamp, which Python deprecated in 3.12."""
        stamp = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
        return stamp.replace("+00:00", "Z")


def start(login: str, secret: str) -> None:
    """Send what is logged, warned of, raised unhandled, or written by a kernel to standard output, as JSON.

    Args:
        login: The member's login.
        secret: What no line may show.
    """
    # What cannot be written, on a full disk, is lost; to complain about it would be one more line.
    logging.raiseExceptions = False
    _handler.setStream(_own_stdout())
    _handler.setFormatter(Formatter(login, secret))
    logging.basicConfig(level=logging.INFO, handlers=[_handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_unhandled
    _log_output()


CONFIG = {
    "handlers": {"console": {"()": lambda **_: _handler}},
    "formatters": {"console": {"()": lambda **_: _handler.formatter}},
}
"""Gives the one handler to Jupyter's applications, each of which would make its own."""


def _own_stdout() -> TextIO:
    """Return today's standard output, at a descriptor that kernels do not inherit."""
    return os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)


def _log_output() -> None:
    """Make lines of the log of what this process and its kernels write to their standard output and error."""
    read, write = os.pipe()
    os.dup2(write, 1)
    os.dup2(write, 2)
    os.close(write)
    threading.Thread(target=_log_lines, args=(read,), name="output", daemon=True).start()


def _log_lines(descriptor: int) -> None:
    log = logging.getLogger("output")
    with os.fdopen(descriptor, "rb") as output:
        while line := output.readline(_LINE):
            if text := line.decode(errors="replace").rstrip():
                log.info("%s", text)


def _log_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__package__).critical("ends on an unexpected error", exc_info=(kind, error, trace))


def log_request(handler: Any) -> None:
    """Log a request, without its query, which can hold a token.

    Reads that went well are not logged: the page asks for the state of kernels and terminals all the time.

    Args:
        handler: Tornado's handler of the request.
    """
    status = handler.get_status()
    request = handler.request
    if status < 400 and request.method in ("GET", "HEAD", "OPTIONS"):  # noqa: PLR2004 - HTTP's own number
        return
    level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO  # noqa: PLR2004
    logging.getLogger("access").log(
        level,
        "%s %s: %d",
        request.method,
        request.path,
        status,
        extra={"duration_ms": round(1000 * request.request_time(), 1)},
    )
