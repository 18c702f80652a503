"""Log lines: JSON in Logstash's v1 form, one object a line, on standard output."""

import contextlib
import datetime as dt
import logging
import sys
import threading
import time
from types import TracebackType

from logstash.formatter import LogstashFormatterVersion1

QUIET_SECONDS = 60
"""The same thing is said at most once in this time: what this program logs comes back to it as events."""

REMEMBERED = 1000
"""Things remembered as said; some are about shippers, of which any number may come."""


class Formatter(LogstashFormatterVersion1):  # type: ignore[misc] # the library has no types
    """python-logstash's formatter, for a stream and for Python since 3.12."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line as text: the library gives bytes, for its sockets."""
        line: bytes = super().format(record)
        return line.decode()

    def get_extra_fields(self, record: logging.LogRecord) -> dict[str, object]:
        """Leave out taskName, which Python since 3.12 gives each record and the library takes for an extra."""
        fields: dict[str, object] = super().get_extra_fields(record)
        fields.pop("taskName", None)
        return fields

    @classmethod
    def format_timestamp(cls, time: float) -> str:
        """Do without utcfromtimestamp, which Python deprecated in 3.12."""
        moment = dt.datetime.fromtimestamp(time, dt.UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


class Sayings:
    """Says the same thing at most once a minute.

    Args:
        log: where it is said.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[str, float] = {}

    def info(self, text: str, **extra: object) -> None:
        """Say that something is as it should be."""
        self._say(logging.INFO, text, extra)

    def warning(self, text: str, **extra: object) -> bool:
        """Say that something is not as it should be, and tell whether it was said."""
        return self._say(logging.WARNING, text, extra)

    def _say(self, level: int, text: str, extra: dict[str, object]) -> bool:
        now = time.monotonic()
        if now - self._said.get(text, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[text] = now
        self._log.log(level, "%s", text, extra=extra)
        return True


class Trouble:
    """What is wrong with one thing, said when it changes: the same at most once a minute, its end whenever it was said.

    Args:
        log: where it is said.
        begin: said before the reason.
        end: said when nothing is wrong any more.

    Attributes:
        reason: what is wrong, None when nothing is.
        said: the reason that was said last; None once the end was said, or when nothing was. Set it to have an end said
            that has no begin.
    """

    def __init__(self, log: logging.Logger, begin: str, end: str) -> None:
        self.reason: str | None = None
        self.said: str | None = None
        self._log = log
        self._sayings = Sayings(log)
        self._begin = begin
        self._end = end

    def set(self, reason: str | None) -> None:
        """Take note of what is wrong now; None for nothing. What could not be said yet is said by a later call."""
        self.reason = reason
        if reason and reason != self.said:
            if self._sayings.warning(f"{self._begin}: {reason}"):
                self.said = reason
        elif self.said is not None and not reason:
            self._log.info(self._end)
            self.said = None


def start() -> None:
    """Send all that is logged, warned of or raised unhandled to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter(message_type="jld_logstash"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a full disk under standard output is no reason to write tracebacks to another
    # It says each step of each attempt to connect; the publisher says what became of it.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    sys.excepthook = _log_unhandled
    threading.excepthook = lambda failure: _log_unhandled(
        failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback
    )


def end() -> None:
    """Close standard output: what it does not take would change the exit status."""
    with contextlib.suppress(OSError):
        sys.stdout.close()


def _log_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__package__).critical("ends on an unexpected error", exc_info=(kind, error, trace))
