"""Log lines as JSON objects in Logstash's v1 form."""

import logging
import re
from datetime import UTC, datetime
from typing import Any

from logstash.formatter import LogstashFormatterVersion1

_SECRETS = re.compile(r"""([?&](?:code|state|token|_xsrf)=|xsrf cookie for b')[^&\s"'\\]+""")
"""Values in addresses and cookies that let somebody in; Tornado logs the address of each failed request whole."""


class JsonFormatter(LogstashFormatterVersion1):  # type: ignore[misc]
    """python-logstash's formatter, as text, with the service's name in each line.

    Args:
        unused: Format and date format, which JupyterHub hands to every formatter.
    """

    def __init__(self, *unused: Any, **also_unused: Any) -> None:  # noqa: ARG002 - see above
        super().__init__(message_type="jupyterlabdemo")

    @classmethod
    def format_timestamp(cls, time: float) -> str:
        """Format a time in UTC, by a call that Python 3.12 does not deprecate."""
        return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def get_extra_fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Add the service and drop the task's name, which Python 3.12 puts into each record."""
        fields: dict[str, Any] = super().get_extra_fields(record)
        fields.pop("taskName", None)
        fields.pop("color", None)
        fields.pop("end_color", None)
        return fields | {"service": "hub"}

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, with stars in place of secrets."""
        line: bytes = super().format(record)
        return _SECRETS.sub(r"\1***", line.decode())
