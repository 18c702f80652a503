"""Keeps nginx's configuration at what certificate, key and the proxy's addresses are now."""

import asyncio
import contextlib
import logging

from . import certificate
from .certificate import Certificate
from .configuration import Abilities, render
from .errors import CertificateError, NotTakenError
from .metrics import Metrics
from .process import Nginx
from .settings import Settings
from .upstream import Upstream
from .watch import watching

LOOK_SECONDS = 5
"""Time between two looks; a hint brings the next one forward."""

SETTLE_SECONDS = 0.5
"""How long files that do not work may stay so before it is said: certificate and key are seldom replaced at once."""

TAKE_SECONDS = 10
"""How long nginx may take to serve a new certificate."""

PAUSE_SECONDS = 0.2
"""Least time between two looks: something else may be busy in the folders that are watched."""

ASK_SECONDS = 0.05
"""Time between two questions which certificate is served."""

_log = logging.getLogger(__name__)


class Keeper:
    """Looks for changes, and has nginx take them.

    Args:
        settings: what is looked at.
        nginx: what takes the changes.
        abilities: what nginx can do.
        metrics: where it shows.
    """

    def __init__(self, settings: Settings, nginx: Nginx, abilities: Abilities, metrics: Metrics) -> None:
        self._settings = settings
        self._nginx = nginx
        self._abilities = abilities
        self._metrics = metrics
        self._upstream = Upstream(settings.nginx_upstream)
        self._hint = asyncio.Event()
        self._certificate: Certificate | None = None
        self._next: Certificate | None = None
        self._servers: tuple[str, ...] = ()
        self._trouble = ""
        self._suspicion = ""

    async def start(self) -> None:
        """Start nginx.

        Raises:
            CertificateError: certificate and key have become such that they cannot be used.
            RefusedError: nginx refuses the configuration.
            NotTakenError: nginx does not come to use it.
        """
        self._servers = await self._look_up()
        await self._take(self._load(), self._servers)

    async def look_for_ever(self) -> None:
        """Look, on hints and now and then, and have nginx take what changed."""
        with watching((self._settings.nginx_certificate_file, self._settings.nginx_key_file), self._hint):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SETTLE_SECONDS if self._suspicion else LOOK_SECONDS):
                        await self._hint.wait()
                self._hint.clear()
                await self._look()
                await asyncio.sleep(PAUSE_SECONDS)

    async def trouble(self) -> str | None:
        """Say why nginx is not ready; None when it answers with the certificate that it was given last."""
        served = await self._nginx.served()
        if served is None:
            return "nginx completes no TLS handshake."
        if served not in [known.leaf for known in (self._certificate, self._next) if known]:
            return "nginx answers with another certificate than the one that it was given last."
        return None

    async def _look(self) -> None:
        servers = await self._look_up()
        try:
            found = self._load()
            self._suspicion = ""
            if found != self._certificate or servers != self._servers:
                is_seen = found != self._certificate
                await self._take(found, servers)
                self._metrics.reloads.inc()
                _log.info(
                    # Clients see a certificate; nothing shows from when on other addresses are used.
                    "nginx uses a new configuration" if is_seen else "nginx is given a new configuration",
                    extra={"certificate": found.fingerprint, "ends": found.ends.isoformat(), "servers": list(servers)},
                )
            elif self._trouble:
                _log.info("certificate and key are again those in use")
            self._trouble = ""
            self._metrics.current.set(1)
        except CertificateError as error:
            self._fail(str(error), wait=True)
        except NotTakenError as error:
            self._fail(str(error), wait=False)

    def _load(self) -> Certificate:
        return certificate.load(self._settings.nginx_certificate_file, self._settings.nginx_key_file)

    async def _look_up(self) -> tuple[str, ...]:
        """Ask where the proxy is; with no answer, it is where it was."""
        return await self._upstream.servers() or self._servers

    async def _take(self, found: Certificate, servers: tuple[str, ...]) -> None:
        self._next = found
        try:
            await self._nginx.take(render(self._settings, self._abilities, servers))
            await self._wait_until_served(found)
        finally:
            self._next = None
        self._certificate, self._servers = found, servers
        self._metrics.certificate_ends.set(found.ends.timestamp())

    async def _wait_until_served(self, expected: Certificate) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAKE_SECONDS):
                while await self._nginx.served() != expected.leaf:
                    if not self._nginx.is_running:
                        raise NotTakenError("nginx ended; its log says why")
                    await asyncio.sleep(ASK_SECONDS)
                return
        raise NotTakenError(f"nginx does not serve the certificate within {TAKE_SECONDS} s")

    def _fail(self, trouble: str, *, wait: bool) -> None:
        """Say once what is wrong; with `wait`, only if it is so at the next look too."""
        if trouble == self._trouble:
            self._suspicion = ""
            return
        if wait and trouble != self._suspicion:
            self._suspicion = trouble
            return
        self._suspicion, self._trouble = "", trouble
        self._metrics.failed_reloads.inc()
        self._metrics.current.set(0)
        _log.error("what was in use stays in use: %s", trouble)
