"""What the shipper counts, for Prometheus."""

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from .file import text_of
from .lag import Lag

FURTHEST = 20
"""Logs that are shown by themselves: those furthest behind, so that no number of logs makes the answer long."""


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.sent = self._counter("events_sent", "Events sent, with those sent again.")
        self.acknowledged = self._counter("events_acknowledged", "Events that the collector has.")
        self.read = self._counter("bytes_read", "Bytes read from files.")
        self.dropped = self._counter("bytes_dropped", "Bytes that were cut off their file before they were read.")
        self.reconnects = self._counter("reconnects", "Attempts to connect after the first.")
        self.write_failures = self._counter("registry_write_failures", "Attempts to write the registry that failed.")
        self.files = self._gauge("files_open", "Files that are followed.")
        self.lag = self._gauge("lag_bytes", "Bytes of followed files that the collector does not have.")
        self.lag_seconds = self._gauge("lag_seconds", "Age of the oldest bytes that the collector does not have.")
        self.log_lag, self.log_lag_seconds = (
            Gauge(f"filebeat_log_{name}", f"{text}, of the logs furthest behind.", ["path"], registry=self.registry)
            for name, text in (
                ("lag_bytes", "Bytes that the collector does not have"),
                ("lag_seconds", "Age of the oldest bytes that the collector does not have"),
            )
        )
        self.waiting = self._gauge("windows_waiting", "Windows that were read and are not sent.")
        self.outstanding = self._gauge("windows_outstanding", "Windows that were sent and are not acknowledged.")
        self.connected = self._gauge("connected", "1 while there is a connection to the collector, else 0.")
        self.certificate_ends = self._gauge(
            "collector_certificate_expiry_timestamp_seconds",
            "When the certificate that the collector showed last ceases to be valid, in Unix seconds.",
        )
        self.certificate_ends.set(math.nan)  # 0 would be a certificate that ended long ago

    def show(self, lags: Mapping[str, Lag]) -> None:
        """Set how far behind the collector is.

        Args:
            lags: of each log that it does not have whole, by its path.
        """
        self.lag.set(sum(lag.size for lag in lags.values()))
        self.lag_seconds.set(max((lag.seconds for lag in lags.values()), default=0))
        self.log_lag.clear()
        self.log_lag_seconds.clear()
        for path, lag in sorted(lags.items(), key=lambda item: item[1], reverse=True)[:FURTHEST]:
            self.log_lag.labels(text_of(path)).set(lag.size)
            self.log_lag_seconds.labels(text_of(path)).set(lag.seconds)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"filebeat_{name}", text, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"filebeat_{name}", text, registry=self.registry)
