"""The HTTP side: health and metrics."""

import asyncio
import logging

import prometheus_client
from aiohttp import http_exceptions, web

from .errors import BusyPortError
from .metrics import Metrics
from .server import Server
from .sink import Sink
from .spool import Spool

SHUTDOWN_SECONDS = 0.5
"""How long an answer under way is waited for at the end."""

CONNECTION_LIMIT = 64
"""Connections at a time: anybody may open one, and the descriptors are for shippers, spool and broker."""


class Service:
    """Answers probes.

    Args:
        metrics: what is shown.
        spool: whether it takes events tells readiness.
        sink: whether it, the spool and the server run tells health.
        server: as the sink.
    """

    def __init__(self, metrics: Metrics, spool: Spool, sink: Sink, server: Server) -> None:
        self._metrics = metrics
        self._spool = spool
        self._sink = sink
        self._server = server
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._show)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self._listening: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer.

        Args:
            host: address to listen on.
            port: port to listen on, 0 for a free one.

        Returns:
            The port.

        Raises:
            BusyPortError: the port is busy, or the address is not this machine's.
        """
        logging.getLogger("aiohttp.server").addFilter(_is_ours)
        await self._runner.setup()
        try:
            loop = asyncio.get_running_loop()
            self._listening = await loop.create_server(self._connect, host, port, backlog=CONNECTION_LIMIT)
        except OSError as error:
            raise BusyPortError("LOGSTASH_PORT", host, port, error) from error
        return int(self._listening.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Answer no more."""
        if self._listening:
            self._listening.close()
        await self._runner.cleanup()

    def _connect(self) -> web.RequestHandler:
        """Take a connection, and with too many end the oldest: a probe is always a new one."""
        server = self._runner.server
        assert server  # noqa: S101 it is set up
        for oldest in server.connections[: 1 - CONNECTION_LIMIT]:
            if oldest.transport:
                oldest.transport.abort()
        return server()

    async def _health(self, _: web.Request) -> web.Response:
        if self._spool.is_alive and self._sink.is_alive and self._server.is_alive:
            return web.json_response({"status": "ok"})
        return _failure("stopped", "A part has ended unexpectedly; the log says why.")

    async def _ready(self, _: web.Request) -> web.Response:
        if not self._spool.trouble:
            return web.json_response({"status": "ok"})
        return _failure("not-ready", f"The spool takes no events: {self._spool.trouble}.")

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.page(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})


def _failure(slug: str, sentence: str) -> web.Response:
    return web.json_response({"error": slug, "message": sentence}, status=503)


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out what is no HTTP at all: aiohttp would log it with its bytes."""
    return not (record.exc_info and isinstance(record.exc_info[1], http_exceptions.HttpProcessingError))
