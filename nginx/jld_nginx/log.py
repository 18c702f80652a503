"""Log lines: JSON in Logstash's v1 form, one object a line, on standard output."""

import datetime as dt
import logging
import sys
from types import TracebackType

from logstash.formatter import LogstashFormatterVersion1


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


def start() -> None:
    """Send all that is logged, warned of or raised unhandled to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter(message_type="jld_nginx"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_unhandled


def _log_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__package__).critical("ends on an unexpected error", exc_info=(kind, error, trace))
