"""Writes to the share at an interval, and tells by its health whether that still works."""

import asyncio
import contextlib
import errno
import logging
import math
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from . import service
from .settings import KeepaliveSettings

REAP_SECONDS = 1
"""How long a killed write may take to go. One that waits for a disk only goes when the disk answers."""

FIRST_SECONDS = 2
"""Time between attempts until the first success: the share may come up beside this program."""

SAY_SECONDS = 60
"""Least time between two lines about the same trouble; what is logged is shipped."""

_log = logging.getLogger(__name__)


async def run() -> None:
    """Write and serve until a signal ends it.

    Raises:
        BadSettingError: a setting cannot be used.
        CannotListenError: the address cannot be had.
    """
    settings = KeepaliveSettings.load()
    await service.serve(
        Keepalive(settings).application(), settings.keepalive_host, settings.keepalive_port, "KEEPALIVE_PORT"
    )


class WriteError(Exception):
    """A write that did not succeed; the text is its kind: the error's name, timeout, stuck or crash."""


class Keepalive:
    """The writer and its health.

    Args:
        settings: where and how often to write, and what counts as too late.
    """

    def __init__(self, settings: KeepaliveSettings) -> None:
        self._settings = settings
        self._child: Process | None = None
        self._alive_at = time.monotonic()
        """Time of the last success; before the first, of the start."""
        self._written = False
        self._trouble: str | None = "no write yet"
        self._said_at = -math.inf
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._success = Gauge(
            "keepalive_last_success_timestamp_seconds",
            "Time of the last success, in Unix seconds; 0 before the first.",
            registry=self._registry,
        )
        self._failures = Counter(
            "keepalive_failures",
            "Failed writes by kind: the error's name, timeout, stuck (an earlier one still hangs) or crash.",
            ["kind"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "keepalive_write_seconds", "Time a successful write took, in seconds.", registry=self._registry
        )

    def application(self) -> web.Application:
        """Give the application that shows the health; it writes as long as it is served."""
        app = web.Application(middlewares=[service.errors_as_json], client_max_size=service.BODY_LIMIT)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        app.cleanup_ctx.append(self._writing)
        return app

    async def _writing(self, _: web.Application) -> AsyncIterator[None]:
        passes = asyncio.create_task(self._write_for_ever())
        yield
        passes.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await passes

    async def _write_for_ever(self) -> None:
        while True:
            begin = time.monotonic()
            await self._pass()
            interval = self._settings.keepalive_interval
            wait = interval if self._written else min(interval, FIRST_SECONDS)
            await asyncio.sleep(max(0, begin + wait - time.monotonic()))

    async def _pass(self) -> None:
        begin = time.monotonic()
        try:
            sequence = await self._write()
        except WriteError as error:
            if self._trouble != str(error) or begin - self._said_at >= SAY_SECONDS:
                _log.warning("no keepalive in %s: %s", self._settings.keepalive_path, error)
                self._said_at = begin
            self._trouble = str(error)
            self._failures.labels(self._trouble).inc()
            return
        self._alive_at = time.monotonic()
        self._success.set_to_current_time()
        self._seconds.observe(self._alive_at - begin)
        if self._trouble:
            _log.info("keepalive in %s works", self._settings.keepalive_path, extra={"sequence": sequence})
        self._trouble, self._written = None, True

    async def _write(self) -> int:
        """Have one write done by a child, and give its sequence number.

        Raises:
            WriteError: it failed, or did not end in time.
        """
        if self._child and self._child.returncode is None:
            raise WriteError("stuck")
        try:
            # -P: a file in the current folder must not stand in for a module, nor may that folder be waited for.
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "jld_fileserver.heartbeat", str(self._settings.keepalive_path),
                stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
            )  # fmt: skip
            async with asyncio.timeout(self._settings.keepalive_timeout):
                output, errors = await self._child.communicate()
        except TimeoutError as error:
            raise WriteError("timeout") from error
        except OSError as error:
            raise WriteError(errno.errorcode.get(error.errno or 0, "EIO")) from error
        finally:
            await self._end_child()
        if self._child.returncode == os.EX_IOERR:
            raise WriteError(output.decode().strip())
        if self._child.returncode != 0 or not output.strip().isdigit():
            _log.error("the write ended with %d: %s", self._child.returncode, errors.decode(errors="replace"))
            raise WriteError("crash")
        return int(output)

    async def _end_child(self) -> None:
        """Kill the child if it still runs, and do not wait long: a hanging disk keeps it even so."""
        if self._child is None or self._child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAP_SECONDS):
                await self._child.wait()

    def _report(self, *, good: bool) -> web.Response:
        return web.json_response(
            {
                "status": "ok" if good else "failed",
                "age": round(time.monotonic() - self._alive_at, 3),
                "trouble": self._trouble,
            },
            status=200 if good else 503,
        )

    def _is_recent(self) -> bool:
        return time.monotonic() - self._alive_at <= self._settings.keepalive_max_age

    async def _health(self, _: web.Request) -> web.Response:
        return self._report(good=self._is_recent())

    async def _ready(self, _: web.Request) -> web.Response:
        return self._report(good=self._is_recent() and self._written)

    async def _metrics(self, _: web.Request) -> web.Response:
        return service.metrics_page(self._registry)
