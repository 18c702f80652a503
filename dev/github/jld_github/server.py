"""The server: what is served where, what goes for every request, and the life of the process."""

import asyncio
import errno
import logging
import os
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from jld_github import api, pages
from jld_github.api import Api, GitHubError
from jld_github.control import Control
from jld_github.oauth import OAuth
from jld_github.settings import EX_UNAVAILABLE, Settings, stop
from jld_github.state import Outage, State

log = logging.getLogger(__name__)

_PROBES = ("/healthz", "/readyz", "/metrics")

_GRACE = 3.0
"""Seconds that requests under way have when the server ends."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(settings: Settings, state: State) -> web.Application:
    """Make the application that browsers and the hub speak to."""

    @web.middleware
    async def answer(request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Count, log and answer a request, or fail it as an outage would."""
        if request.path in _PROBES:
            return await handler(request)
        resource = request.match_info.route.resource
        state.requests[f"{request.method} {resource.canonical if resource else 'elsewhere'}"] += 1
        start = time.monotonic()
        try:
            if state.outage and request.path.startswith(state.outage.path):
                await _suffer(state.outage)
            response = await handler(request)
        except GitHubError as error:
            response = error.response()
        except web.HTTPNotFound:
            response = pages.render("error.html", 404, message="There is nothing at this address.")
        _log(request, response.status, start)
        return response

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        lines = ["# TYPE jld_github_requests_total counter"]
        lines += [f'jld_github_requests_total{{endpoint="{name}"}} {count}' for name, count in state.requests.items()]
        return web.Response(text="\n".join(lines) + "\n", headers={"Content-Type": "text/plain; version=0.0.4"})

    async def release(_: web.Application) -> None:
        state.end_outage()

    app = web.Application(middlewares=[answer])
    app.add_routes(OAuth(settings, state).routes())
    app.add_subapp(api.PREFIX, Api(state, settings.public_url, settings.client_id).app())
    app.router.add_get("/assets/style.css", pages.style)
    app.router.add_get("/healthz", health)
    app.router.add_get("/readyz", health)
    app.router.add_get("/metrics", metrics)
    app.on_shutdown.append(release)  # a request that an outage holds would hold the end as well
    return app


@asynccontextmanager
async def running(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Serve an application on a bound socket for as long as the context lasts."""
    # Cancellation: a client that gives up on a hanging request must not leave it behind.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


async def serve(settings: Settings, state: State) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SystemExit: where an address cannot be had, after a line that says so.
    """
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    listener = _bind(settings.host, settings.port)
    async with running(make_app(settings, state), listener):
        where = {"address": settings.host, "port": settings.port, "public_url": settings.public_url}
        if path := settings.control_socket:
            control = bind_control(path)
            try:
                async with running(Control(state).app(), control):
                    log.info("ready, with the control interface", extra=where)
                    await end.wait()
            finally:
                path.unlink(missing_ok=True)
        else:
            log.info("ready", extra=where)
            await end.wait()
    log.info("ended")


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            stop("port", port, f"a free port; something listens at {host}:{port} already", EX_UNAVAILABLE)
        stop("host", host, f"an address of this machine with a port that may be used ({error.strerror})")


def bind_control(path: Path) -> socket.socket:
    """Bind a Unix socket with mode 0600 from the first moment on.

    A socket file on which nobody listens, left behind by a process that was killed, is replaced.

    Raises:
        SystemExit: where the path is in use or unusable, after a line that says so.
    """
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode) and not _listened_at(path):
                path.unlink()
        listener.bind(str(path))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            stop("control_socket", path, "a path at which there is nothing yet", EX_UNAVAILABLE)
        stop("control_socket", path, f"a path for a socket, at most 107 bytes, in an existing folder ({error})")
    finally:
        os.umask(mask)
    return listener


def _listened_at(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def _suffer(outage: Outage) -> None:
    """Fail as an outage does, or hold the request until it is over.

    Raises:
        GitHubError: what GitHub would answer.
    """
    if outage.kind == "hang":
        await outage.over.wait()
    elif outage.kind == "500":
        raise GitHubError(500, "Server Error")
    else:
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        documentation = "/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"
        raise GitHubError(int(outage.kind), message, documentation, outage.retry_after)


def _log(request: web.Request, status: int, start: float) -> None:
    # The path without the query, which may hold an application's state.
    fields = {
        "method": request.method,
        "url_path": request.path,
        "status": status,
        "duration_ms": round((time.monotonic() - start) * 1000, 1),
        "remote": request.remote,
    }
    log.info("%s %s %s", request.method, request.path, status, extra=fields)
