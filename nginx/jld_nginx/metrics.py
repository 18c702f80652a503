"""The figures of nginx and of this program, for Prometheus."""

import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STATUS_SECONDS = 1
"""How long nginx may take to tell its figures."""

_STATUS = re.compile(
    r"Active connections: (\d+) \n"
    r"server accepts handled requests\n (\d+) (\d+) (\d+) \n"
    r"Reading: (\d+) Writing: (\d+) Waiting: (\d+) "
)

_FAMILIES: list[tuple[type[CounterMetricFamily | GaugeMetricFamily], str, str]] = [
    (GaugeMetricFamily, "nginx_connections_active", "Connections of clients, waiting ones too."),
    (CounterMetricFamily, "nginx_connections_accepted", "Connections that clients made."),
    (CounterMetricFamily, "nginx_connections_handled", "Connections that were served; fewer where nginx had no room."),
    (CounterMetricFamily, "nginx_http_requests", "Requests."),
    (GaugeMetricFamily, "nginx_connections_reading", "Connections whose request is being read."),
    (GaugeMetricFamily, "nginx_connections_writing", "Connections that are being answered, websockets too."),
    (GaugeMetricFamily, "nginx_connections_waiting", "Connections without a request."),
]
"""In the order of nginx's status (ngx_http_stub_status_module); the names are those of nginx's own exporter."""


class _Status(Collector):
    """The figures that nginx told last."""

    figures: tuple[int, ...] = ()

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("nginx_up", "Whether nginx tells its figures.", bool(self.figures))
        for (family, name, meaning), figure in zip(_FAMILIES, self.figures, strict=False):
            yield family(name, meaning, figure)


class Metrics:
    """All figures.

    Args:
        socket: the Unix socket at which nginx tells its own.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._status = _Status()
        self._registry.register(self._status)
        self.certificate_ends = Gauge(
            "nginx_certificate_expiry_timestamp_seconds",
            "When the certificate in use ceases to be valid, in Unix seconds.",
            registry=self._registry,
        )
        self.current = Gauge(
            "nginx_configuration_current",
            "1 while nginx uses the certificate that is in the file; 0 while an older one had to stay.",
            registry=self._registry,
        )
        self.current.set(1)
        self.reloads = Counter(
            "nginx_reloads", "Changed configurations that nginx took into use.", registry=self._registry
        )
        self.failed_reloads = Counter(
            "nginx_failed_reloads", "Changed configurations that could not be used.", registry=self._registry
        )

    async def page(self) -> bytes:
        """Give all figures in Prometheus' text form."""
        self._status.figures = await self._ask()
        return generate_latest(self._registry)

    async def _ask(self) -> tuple[int, ...]:
        timeout = aiohttp.ClientTimeout(total=STATUS_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket)), timeout=timeout) as session,
                session.get("http://nginx/") as answer,
            ):
                match = _STATUS.match(await answer.text())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ()
        return tuple(map(int, match.groups())) if match else ()
