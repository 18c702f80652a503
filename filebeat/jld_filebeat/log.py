"""Log lines: JSON in Logstash's v1 form, one object a line, on standard output.

The shipper ships its own log too. A line about every batch or every attempt would feed itself for ever: changes of
state are told, and the same trouble once a minute at most.
"""

import datetime as dt
import logging
import sys
import time
from types import TracebackType

from logstash.formatter import LogstashFormatterVersion1

REPEAT_SECONDS = 60
"""Time between two lines about the same trouble."""


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


class Complaints:
    """Tells troubles, each once a minute at most.

    Args:
        logger: where they are told.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told: dict[str, float] = {}

    def tell(self, key: str, text: str) -> bool:
        """Log a trouble unless that was done within the last minute, and say whether it was logged now.

        Args:
            key: what makes it the same trouble.
            text: the line.
        """
        now = time.monotonic()
        self._told = {told: when for told, when in self._told.items() if now - when < REPEAT_SECONDS}
        if key in self._told:
            return False
        self._told[key] = now
        self._logger.warning("%s", text)
        return True


def start() -> None:
    """Send all that is logged, warned of or raised unhandled to standard output."""
    # What cannot be written, on a full disk, is lost; to complain about it would be one more line.
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter(message_type="jld_filebeat"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_unhandled


def _log_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__package__).critical("ends on an unexpected error", exc_info=(kind, error, trace))
