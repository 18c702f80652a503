"""Puts the parts together: shippers, spool, and broker or file."""

import asyncio
import logging
import signal
from importlib.metadata import version

from . import tls
from .eventsfile import EventsFile
from .intake import Intake
from .metrics import Metrics
from .publisher import Publisher
from .server import Server
from .service import Service
from .settings import Settings
from .sink import Sink
from .spool import Spool

# With that of the service these times make 5 s: who ends it, may kill it after 7 s.
SHIPPER_SECONDS = 1
"""How long the batches under way may take after SIGTERM."""

SINK_SECONDS = 2.5
"""How long confirms, and the end of the connection, are waited for after that."""

SPOOL_SECONDS = 1
"""How long the disk is waited for at the end."""

_log = logging.getLogger(__name__)


async def run() -> None:
    """Collect until a signal ends it.

    Raises:
        BadSettingError: a setting cannot be used.
        InUseError: a port, or the spool, is somebody else's.
    """
    settings = Settings.load()
    certificates = tls.for_shippers(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    to_broker = tls.for_broker(settings) if settings.rabbitmq_target_host and settings.rabbitmq_target_tls else None
    spool = Spool(settings.logstash_spool_dir, settings.logstash_spool_limit)
    metrics = Metrics(spool)
    sink: Sink
    if settings.logstash_events_file:
        sink = EventsFile(settings.logstash_events_file, spool, metrics)
    else:
        sink = Publisher(settings, to_broker, spool, metrics)
    spool.on_safe = sink.wake
    intake = Intake(spool, settings.shipper_name)
    metrics.watch(intake)
    server = Server(certificates, intake, metrics, settings.logstash_shippers)
    service = Service(metrics, spool, sink, server)
    try:
        port = await service.listen(settings.logstash_host, settings.logstash_port)
        beats_port = server.listen(settings.logstash_host, settings.logstash_beats_port)
        spool.start()
        sink.start()
        _log.info(
            "listens",
            extra={
                "version": version("jld-logstash"),
                "address": settings.logstash_host,
                "port": port,
                "beats_port": beats_port,
                "waiting_events": spool.events,
            },
        )
        await stop.wait()
        _log.info("ends")
        await server.close(SHIPPER_SECONDS)
        await asyncio.to_thread(sink.stop, SINK_SECONDS)
        await asyncio.to_thread(spool.close, SPOOL_SECONDS)
    finally:
        await service.close()
