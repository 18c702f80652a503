"""Logs: one JSON object a line on stdout, in Logstash's v1 form."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from logstash.formatter import LogstashFormatterVersion1


class _Formatter(LogstashFormatterVersion1):  # type: ignore[misc]  # the library has no types
    """python-logstash's v1 form, mended for today's Python."""

    def format(self, record: logging.LogRecord) -> str:
        return str(super().format(record), "utf-8")

    def get_extra_fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_extra_fields(record)
        fields.pop("taskName", None)  # an attribute of every record from Python 3.12 on, not an extra
        return fields

    @classmethod
    def format_timestamp(cls, time: float) -> str:
        # The library's own calls utcfromtimestamp, which Python 3.12 deprecates.
        stamp = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
        return stamp.replace("+00:00", "Z")


def configure() -> None:
    """Send every logger's records, and warnings, to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter("jld_github"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
