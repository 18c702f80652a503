"""Our collector as a process, and shippers that load it."""

import json
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

from jld_embedded.certificates import Authority
from measured import Command, Program, until
from rabbit import KEY, Broker

WITH_WINDOW = """\
import sys
from jld_logstash import __main__, broker
assert broker.WINDOW
broker.WINDOW = int(sys.argv[1])
sys.exit(__main__.main())
"""


class Collector(Program):
    """The collector, ready to take events.

    Args:
        folder: for its spool and log.
        authority: of its certificates.
        broker: where it publishes.
        together: events that may share a message.
        window: messages that may be on their way at the same time; its own when None.

    Attributes:
        port: for shippers, on 127.0.0.1.
    """

    def __init__(
        self, folder: Path, authority: Authority, broker: Broker, together: int = 1, window: int | None = None
    ) -> None:
        pair = authority.issue("logstash")
        settings = {
            "LOGSTASH_HOST": "127.0.0.1",
            "LOGSTASH_PORT": "0",
            "LOGSTASH_BEATS_PORT": "0",
            "LOGSTASH_SPOOL_DIR": str(folder / "spool"),
            "LOGSTASH_CA_FILE": str(authority.certificate),
            "LOGSTASH_CERTIFICATE_FILE": str(pair.certificate),
            "LOGSTASH_KEY_FILE": str(pair.key),
            "RABBITMQ_TARGET_HOST": "127.0.0.1",
            "RABBITMQ_TARGET_PORT": str(broker.port),
            "RABBITMQ_TARGET_TLS": "false",
            "RABBITMQ_TARGET_USER": "guest",
            "RABBITMQ_TARGET_PASSWORD": "guest",
            "RABBITMQ_TARGET_EVENTS_PER_MESSAGE": str(together),
            "SHIPPER_NAME": KEY,
        }
        words = ["-m", "jld_logstash"] if window is None else ["-c", WITH_WINDOW, str(window)]
        super().__init__(Command([sys.executable, *words], settings), folder)
        try:
            started: dict[str, Any] = json.loads(until("the collector listens", self._start, self))
        except BaseException:
            self.__exit__()
            raise
        self.port = int(started["beats_port"])
        self._metrics = f"http://127.0.0.1:{started['port']}/metrics"

    def _start(self) -> str:
        return next((line for line in self.lines() if '"listens"' in line), "")

    def confirmed(self) -> float:
        """Give the number of events that the broker confirmed."""
        with urllib.request.urlopen(self._metrics) as answer:
            found = re.search(r"^logstash_events_confirmed_total (\S+)", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0


def load(folder: Path, collector: Collector, authority: Authority, events: int) -> Program:
    """Ship events that were made before, and end; `begins` is printed when the first one leaves."""
    pair = authority.issue("filebeat")
    files = (authority.certificate, pair.certificate, pair.key)
    program = Path(__file__).with_name("load.py")
    return Program(Command([sys.executable, program, str(collector.port), *files, str(events)]), folder)
