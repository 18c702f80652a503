"""What both programs do alike: listen, answer errors as JSON, show metrics, end on a signal."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine

import prometheus_client
from aiohttp import http_exceptions, web

from .errors import CannotListenError, RequestError

BODY_LIMIT = 4096
"""Bytes of a request's body; what is sent here has well under a hundred."""

SHUTDOWN_SECONDS = 5
"""How long requests under way may take after SIGTERM."""

PROBES = {"/healthz", "/readyz", "/metrics"}
"""Addresses that machines ask every few seconds: no log lines about them."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REFUSALS = {
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not take this method."),
    413: ("too-large", f"A request's body has at most {BODY_LIMIT} bytes."),
}

_log = logging.getLogger(__name__)


async def _nothing() -> None:
    """Wait for ever: a program that only answers requests has nothing to do beside that."""
    await asyncio.get_running_loop().create_future()


async def serve(
    app: web.Application,
    host: str,
    port: int,
    port_variable: str,
    work: Callable[[], Coroutine[None, None, None]] = _nothing,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way.

    Args:
        app: what to serve.
        host: address to listen on.
        port: port to listen on, 0 for a free one.
        port_variable: the setting that the port came from, to be named when it is busy.
        work: what is done meanwhile; its end is the end of serving, and what it raises is raised.

    Raises:
        CannotListenError: the port is busy, or the address is not this machine's.
    """
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            # The loop's own text repeats the address; a name that does not resolve has no errno of the system's.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise CannotListenError(f"{port_variable}={port}: should be a free port of {host} ({reason})") from error
        _log.info("listens", extra={"address": host, "port": runner.addresses[0][1]})
        await _first(stop.wait(), work())
        _log.info("ends")
    finally:
        await runner.cleanup()


async def _first(*works: Coroutine[None, None, object]) -> None:
    """Wait for the first to end, raise what it raises, and cancel the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out what is no HTTP at all: aiohttp would log it with the bytes, and so perhaps with a token."""
    return not (record.exc_info and isinstance(record.exc_info[1], http_exceptions.HttpProcessingError))


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what goes wrong with a slug for programs and a sentence for people."""
    try:
        return await handler(request)
    except RequestError as error:
        return _answer(error.status, error.slug, str(error))
    except web.HTTPException as error:
        answer = _answer(error.status, *_REFUSALS.get(error.status, ("refused", f"{error.reason}.")))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception:  # noqa: BLE001 the caller gets no traceback, the log does
        _log.exception("a request failed unexpectedly")
        return _answer(500, "internal", "The service failed; its log says why.")


def _answer(status: int, slug: str, sentence: str) -> web.Response:
    return web.json_response({"error": slug, "message": sentence}, status=status)


def metrics_page(registry: prometheus_client.CollectorRegistry) -> web.Response:
    """Give a registry's metrics in Prometheus' text form."""
    return web.Response(
        body=prometheus_client.generate_latest(registry),
        headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
    )
