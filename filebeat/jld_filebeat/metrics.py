"""What the shipper counts, for Prometheus."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.sent = self._counter("events_sent", "Events sent, with those sent again.")
        self.acknowledged = self._counter("events_acknowledged", "Events that the collector has.")
        self.read = self._counter("bytes_read", "Bytes read from files.")
        self.reconnects = self._counter("reconnects", "Attempts to connect after the first.")
        self.write_failures = self._counter("registry_write_failures", "Attempts to write the registry that failed.")
        self.files = self._gauge("files_open", "Files that are followed.")
        self.lag = self._gauge("lag_bytes", "Bytes of followed files that the collector does not have.")
        self.connected = self._gauge("connected", "1 while there is a connection to the collector, else 0.")
        self.certificate_ends = self._gauge(
            "collector_certificate_expiry_timestamp_seconds",
            "When the certificate that the collector showed last ceases to be valid, in Unix seconds.",
        )
        self.certificate_ends.set(math.nan)  # 0 would be a certificate that ended long ago

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"filebeat_{name}", text, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"filebeat_{name}", text, registry=self.registry)
