"""Serves the export over NFSv4: NFS-Ganesha, and its health."""

import logging
import os
import socket
from functools import partial
from ipaddress import ip_address

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from . import handles, rights, rpc, service
from .errors import BadSettingError, CannotListenError, StorageError
from .ganesha import Ganesha
from .settings import ServerSettings

ANSWER_SECONDS = 2
"""How long Ganesha may take to answer; probes themselves are given up after a few seconds."""

_log = logging.getLogger(__name__)


async def run() -> None:
    """Serve until a signal ends it.

    Raises:
        BadSettingError: a setting cannot be used.
        CannotListenError: an address cannot be had, or Ganesha is not there.
        EndedError: Ganesha ended by itself.
    """
    settings = ServerSettings.load()
    if names := rights.missing():
        right = f"should be served with the capabilities of this component's README; missing: {', '.join(names)}"
        raise BadSettingError("FILESERVER_EXPORT", str(settings.fileserver_export), right)
    if trouble := handles.trouble(settings.fileserver_export):
        raise BadSettingError("FILESERVER_EXPORT", str(settings.fileserver_export), trouble)
    if not os.access(settings.fileserver_state_dir, os.W_OK | os.X_OK):
        raise BadSettingError(
            "FILESERVER_STATE_DIR", str(settings.fileserver_state_dir), "should be a folder to write to"
        )
    _see_that_it_is_free(settings.fileserver_nfs_host, settings.fileserver_nfs_port)
    ganesha = Ganesha()
    try:
        await service.serve(
            Server(settings, ganesha).application(),
            settings.fileserver_health_host,
            settings.fileserver_health_port,
            "FILESERVER_HEALTH_PORT",
            partial(ganesha.run, settings),
        )
    finally:
        await ganesha.stop()


def _see_that_it_is_free(host: str, port: int) -> None:
    """See that Ganesha can have its port: it would itself say it in its own words, and in several lines."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotListenError(
                f"FILESERVER_NFS_PORT={port}: should be a free port of {host} ({error.strerror})"
            ) from error


class Server:
    """The health of Ganesha.

    Args:
        settings: where it listens.
        ganesha: the process.
    """

    def __init__(self, settings: ServerSettings, ganesha: Ganesha) -> None:
        host = settings.fileserver_nfs_host
        self._address = "127.0.0.1" if ip_address(host).is_unspecified else host, settings.fileserver_nfs_port
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        ProcessCollector("ganesha", pid=lambda: ganesha.pid or "none", registry=self._registry)
        self._up = Gauge("fileserver_nfs_up", "1 when Ganesha answers, else 0.", registry=self._registry)

    def application(self) -> web.Application:
        """Give the application that shows the health."""
        app = web.Application(middlewares=[service.errors_as_json], client_max_size=service.BODY_LIMIT)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _answers(self) -> bool:
        return await rpc.answers(*self._address, ANSWER_SECONDS)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, _: web.Request) -> web.Response:
        if not await self._answers():
            raise StorageError(f"Ganesha does not answer within {ANSWER_SECONDS} s.")
        return web.json_response({"status": "ok"})

    async def _metrics(self, _: web.Request) -> web.Response:
        self._up.set(await self._answers())
        return service.metrics_page(self._registry)
