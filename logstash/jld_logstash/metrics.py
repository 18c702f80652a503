"""The collector's figures for Prometheus."""

from collections.abc import Callable, Iterator

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from .intake import Intake
from .spool import Spool


class Dropped(Collector):
    """A counter of what was acknowledged and is lost, read where it is found out.

    Args:
        count: gives the number so far.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the counter as it is now."""
        meaning = "Events lost after they were acknowledged: one for each damaged place of the spool, at least."
        yield CounterMetricFamily("logstash_events_dropped", meaning, self._count())


class Metrics:
    """One registry and what is in it.

    Args:
        spool: what the figures of the spool are of.
    """

    def __init__(self, spool: Spool) -> None:
        self._registry = registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        self.received = Counter("logstash_events_received", "Events that shippers sent.", registry=registry)
        self.acknowledged = Counter(
            "logstash_events_acknowledged",
            "Events that are safe in the spool, as shippers were told.",
            registry=registry,
        )
        self.published = Counter("logstash_events_published", "Events sent, repeats included.", registry=registry)
        self.confirmed = Counter("logstash_events_confirmed", "Events that the receiver confirmed.", registry=registry)
        self.returned = Counter("logstash_events_returned", "Events that no queue was bound for.", registry=registry)
        self.nacked = Counter("logstash_events_nacked", "Events that the broker refused.", registry=registry)
        self.connections = Gauge("logstash_connections", "Shippers that are connected.", registry=registry)
        self.refused = Counter(
            "logstash_connections_refused",
            "Connections refused or closed by kind: tls, protocol, slow, too-many.",
            ["kind"],
            registry=registry,
        )
        self.certificate_ends = Gauge(
            "logstash_shipper_certificate_expiry_timestamp_seconds",
            "When the certificate that a shipper showed last ceases to be valid, in Unix seconds.",
            ["shipper"],
            registry=registry,
        )
        self.broker_connected = Gauge(
            "logstash_broker_connected", "1 while events can be sent to the broker.", registry=registry
        )
        self.broker_blocked = Gauge(
            "logstash_broker_blocked", "1 while the broker takes nothing for want of memory or disk.", registry=registry
        )
        self.broker_unroutable = Gauge(
            "logstash_broker_unroutable",
            "1 while exchange, queue or the right to write are missing at the broker.",
            registry=registry,
        )
        self.broker_outstanding = Gauge(
            "logstash_broker_outstanding", "Messages sent and not confirmed yet.", registry=registry
        )
        self.backlog_events = Gauge(
            "logstash_backlog_events", "Events read from the spool that are not confirmed yet.", registry=registry
        )
        self.broker_reconnects = Counter(
            "logstash_broker_reconnects", "Attempts to connect to the broker after the first.", registry=registry
        )
        writes = Histogram(
            "logstash_spool_write_seconds",
            "Time to write and sync some batches, in seconds.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        spool.on_write = writes.observe
        registry.register(Dropped(lambda: spool.damages))
        for name, meaning, value in (
            ("events", "Events in the spool that are not confirmed.", lambda: spool.events),
            ("size_bytes", "Bytes that the spool's files take.", lambda: spool.size),
            ("limit_bytes", "Bytes that they may take.", lambda: spool.limit),
            ("writable", "1 while the spool takes events.", lambda: spool.trouble is None),
            (
                "damaged_places",
                "Damaged places of the spool that were skipped.",
                lambda: spool.damages,
            ),
        ):
            Gauge(f"logstash_spool_{name}", meaning, registry=registry).set_function(value)

    def watch(self, intake: Intake) -> None:
        """Show what of the intake is in memory."""
        name = "logstash_intake_size_bytes"
        meaning = "Bytes of events in memory that are not in the spool yet."
        Gauge(name, meaning, registry=self._registry).set_function(lambda: intake.size)

    def page(self) -> bytes:
        """Write all figures in Prometheus' text form."""
        return prometheus_client.generate_latest(self._registry)
