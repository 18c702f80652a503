"""Makes homes and group folders for the hub, over HTTP."""

import hmac
import json
import logging
import math
import os
import time

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from . import service
from .errors import InTheWayError, InvalidError, MalformedError, MediaTypeError, StorageError, UnauthorizedError
from .folders import GROUPS, HOMES, Export, Kind
from .names import parse_id, parse_name
from .settings import ProvisionerSettings
from .worker import Worker

CHANGE_SECONDS = 20
"""How long a call waits for a folder. Members wait behind it, and a disk that takes longer hangs."""

LOOK_SECONDS = 2
"""How long a probe waits for the file system; probes themselves are given up after a few seconds."""

_KINDS: dict[str, tuple[Kind, str]] = {"homes": (HOMES, "login"), "groups": (GROUPS, "organization")}

_log = logging.getLogger(__name__)


async def run() -> None:
    """Serve until a signal ends it.

    Raises:
        BadSettingError: a setting cannot be used.
        CannotListenError: the address cannot be had.
    """
    settings = ProvisionerSettings.load()
    provisioner = Provisioner(Export(settings.fileserver_export), settings.fileserver_token.get_secret_value())
    if not provisioner.export.is_root:
        _log.warning("not root: all folders will belong to the caller, uid %d", os.geteuid())
    await provisioner.prepare()
    await service.serve(
        provisioner.application(), settings.fileserver_host, settings.fileserver_port, "FILESERVER_PORT"
    )


class Provisioner:
    """The HTTP interface to an export.

    Args:
        export: where the folders are made.
        token: what callers have to present as bearer token.
    """

    def __init__(self, export: Export, token: str) -> None:
        self.export = export
        self._token = token.encode()
        self._changes = Worker(CHANGE_SECONDS)
        self._looks = Worker(LOOK_SECONDS)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "fileserver_requests",
            "Requests by kind of folder and status: 201 made, 200 there, 409 something in the way, 507 full.",
            ["kind", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "fileserver_request_seconds", "Time to answer, in seconds.", ["kind"], registry=self._registry
        )
        self._size = Gauge("fileserver_export_size_bytes", "Size of the export.", registry=self._registry)
        self._free = Gauge("fileserver_export_free_bytes", "Free space of the export.", registry=self._registry)
        self._files = Gauge("fileserver_export_files", "Files the export can hold.", registry=self._registry)
        self._free_files = Gauge(
            "fileserver_export_free_files", "Files the export can hold beside those it has.", registry=self._registry
        )

    def application(self) -> web.Application:
        """Give the application that serves this export."""
        app = web.Application(middlewares=[self._observe, service.errors_as_json], client_max_size=service.BODY_LIMIT)
        app.router.add_put("/v1/{kind:homes|groups}/{id}", self._put)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def prepare(self) -> None:
        """Put the export right; where that cannot be, homes may be made all the same, and the log says why."""
        try:
            await self._changes.run(self.export.prepare)
        except (StorageError, InTheWayError) as error:
            _log.error("%s: %s", self.export.path, error)

    async def _put(self, request: web.Request) -> web.Response:
        self._authorize(request)
        kind, key = _KINDS[request.match_info["kind"]]
        number = parse_id(request.match_info["id"])
        name = parse_name((await _read_object(request)).get(key))
        try:
            provided = await self._changes.run(self.export.provide, kind, number, name)
        except StorageError as error:
            _log.error("%s/%d: %s", kind.folders, number, error)
            raise
        return web.json_response(
            {"path": str(provided.path), "link": str(provided.link)}, status=201 if provided.made else 200
        )

    def _authorize(self, request: web.Request) -> None:
        """Check the bearer token (RFC 6750, section 2.1), in a time that does not tell how much of it is right."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip(" ").encode(errors="surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            raise UnauthorizedError("This address takes the bearer token of the fileserver.")

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, _: web.Request) -> web.Response:
        if trouble := await self._looks.run(self.export.trouble):
            raise StorageError(trouble)
        return web.json_response({"status": "ok"})

    async def _metrics(self, _: web.Request) -> web.Response:
        size = free = files = free_files = math.nan
        try:
            found = await self._looks.run(os.statvfs, self.export.path)
            size, free = found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail
            files, free_files = found.f_files, found.f_favail
        except (OSError, StorageError) as error:
            _log.warning("no figures of the export: %s", error)
        self._size.set(size)
        self._free.set(free)
        self._files.set(files)
        self._free_files.set(free_files)
        return service.metrics_page(self._registry)

    @web.middleware
    async def _observe(self, request: web.Request, handler: service.Handler) -> web.StreamResponse:
        """Count and log requests, except those of probes."""
        begin = time.perf_counter()
        response = await handler(request)
        if response.status == web.HTTPUnauthorized.status_code:
            response.headers["WWW-Authenticate"] = 'Bearer realm="fileserver"'  # RFC 6750, section 3
        if request.path in service.PROBES:
            return response
        seconds = time.perf_counter() - begin
        kind = request.match_info.get("kind", "none")
        self._requests.labels(kind, response.status).inc()
        self._seconds.labels(kind).observe(seconds)
        _log.info("%s %s: %d", request.method, request.path, response.status, extra={"seconds": round(seconds, 6)})
        return response


async def _read_object(request: web.Request) -> dict[str, object]:
    if request.content_type != "application/json":
        raise MediaTypeError("The body has to be application/json.")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise MalformedError("The body is not JSON.") from error
    if not isinstance(body, dict):
        raise InvalidError("The body has to be a JSON object.")
    return body
