"""The program: nginx, what keeps its configuration, and the health of both."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Coroutine

from aiohttp import http_exceptions, web
from prometheus_client import CONTENT_TYPE_LATEST

from .errors import BadSettingError, CannotListenError
from .keeper import Keeper
from .metrics import Metrics
from .process import Nginx, abilities, program
from .settings import Settings

_log = logging.getLogger(__name__)


async def run() -> None:
    """Run nginx until SIGTERM or SIGINT.

    Raises:
        BadSettingError: a setting cannot be used.
        CannotListenError: an address cannot be had.
        CertificateError: certificate and key were changed during the start, and cannot be used.
        RefusedError: nginx refuses its configuration.
        NotTakenError: nginx does not come to use its configuration.
        EndedError: nginx ended by itself.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = Settings.load()
    path = program()
    _make_folder(settings)
    _see_that_it_is_free(settings)
    metrics = Metrics(settings.status_socket)
    nginx = Nginx(settings, path)
    keeper = Keeper(settings, nginx, await abilities(path), metrics)
    async with _health(settings, keeper, metrics):
        try:
            await _first(stop.wait(), _work(settings, keeper, nginx))
            _log.info("ends")
        finally:
            await nginx.stop()


async def _work(settings: Settings, keeper: Keeper, nginx: Nginx) -> None:
    """Start nginx, and keep its configuration until it ends."""
    await keeper.start()
    _log.info("serves", extra={"address": settings.nginx_listen, "port": settings.nginx_https_port})
    await _first(keeper.look_for_ever(), nginx.ended())


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


def _make_folder(settings: Settings) -> None:
    """Make the folder for nginx's files, and see that it is no other user's.

    Raises:
        BadSettingError: it cannot be made, or belongs to somebody else; root is trusted, whose an empty volume is.
    """
    folder = settings.nginx_runtime_dir
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        found = folder.stat()
        reason = "" if stat.S_ISDIR(found.st_mode) and os.access(folder, os.W_OK | os.X_OK) else "no write permission"
        if found.st_uid not in (0, os.geteuid()):
            reason = "it belongs to another user"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise BadSettingError("NGINX_RUNTIME_DIR", folder, f"should be a folder to write to ({reason})")


def _see_that_it_is_free(settings: Settings) -> None:
    """See that nginx can have its port: it would itself try for seconds, and then say so in its own words."""
    address, port = settings.nginx_listen, settings.nginx_https_port
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise _not_free("NGINX_HTTPS_PORT", address, port, error) from error


def _not_free(variable: str, address: str, port: int, error: OSError) -> CannotListenError:
    # The loop's own text repeats the address.
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return CannotListenError(f"{variable}={port}: should be a free port of {address} ({reason})")


@contextlib.asynccontextmanager
async def _health(settings: Settings, keeper: Keeper, metrics: Metrics) -> AsyncIterator[None]:
    """Serve health and metrics."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        if trouble := await keeper.trouble():
            return web.json_response({"error": "not-ready", "message": trouble}, status=503)
        return web.json_response({"status": "ok"})

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=await metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", health), web.get("/readyz", ready), web.get("/metrics", figures)])
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    host, port = settings.nginx_host, settings.nginx_port
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise _not_free("NGINX_PORT", host, port, error) from error
        _log.info("listens", extra={"address": host, "port": runner.addresses[0][1]})
        yield
    finally:
        await runner.cleanup()


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out what is no HTTP at all: aiohttp would log it with the bytes, and so perhaps with a token."""
    return not (record.exc_info and isinstance(record.exc_info[1], http_exceptions.HttpProcessingError))
