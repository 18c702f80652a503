"""Health and metrics over HTTP."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable

import prometheus_client
from aiohttp import http_exceptions, web

from .errors import UnavailableError
from .metrics import Metrics

_log = logging.getLogger(__name__)


def application(metrics: Metrics, update: Callable[[], None], trouble: Callable[[], str | None]) -> web.Application:
    """Give the application.

    Args:
        metrics: what is shown.
        update: called before metrics are shown, to set the gauges.
        trouble: says why the shipper cannot do its work, None when it can.
    """

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        if why := trouble():
            return web.json_response({"error": "not-ready", "message": why}, status=503)
        return web.json_response({"status": "ok"})

    async def show(_: web.Request) -> web.Response:
        update()
        return web.Response(
            body=prometheus_client.generate_latest(metrics.registry),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )

    app = web.Application()
    app.router.add_get("/healthz", health)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", show)
    return app


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve an application for a while.

    Args:
        app: what to serve.
        host: address to listen on.
        port: port to listen on, 0 for a free one.

    Raises:
        UnavailableError: the port is busy, or the address is not this machine's.
    """
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            # The loop's own text repeats the address; a name that does not resolve has no errno of the system's.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise UnavailableError(f"FILEBEAT_PORT={port}: should be a free port of {host} ({reason})") from error
        _log.info("listens", extra={"address": host, "port": runner.addresses[0][1]})
        yield
    finally:
        await runner.cleanup()


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out what is no HTTP at all: aiohttp would log it with its bytes, each time that somebody sends some."""
    return not (record.exc_info and isinstance(record.exc_info[1], http_exceptions.HttpProcessingError))
