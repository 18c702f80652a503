"""Listens for shippers: only those that show a certificate of the authority are heard."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Collection

from .connection import Connection, SlowError
from .errors import BusyPortError, ProtocolError
from .intake import Intake
from .log import Sayings
from .metrics import Metrics
from .stream import Stream
from .tls import Certificates, name_of, reason_of

CONNECTION_LIMIT = 1000

HANDSHAKE_SECONDS = 10

HANDSHAKE_LIMIT = 100
"""Connections whose handshake goes on; beyond it, others wait to be taken."""

GRACE_SECONDS = 1
"""While others wait, a handshake may take so long: who has no certificate cannot keep away those who have one."""

SHUTDOWN_SECONDS = 0.5
"""How long a shipper's part of the end of TLS is waited for."""

BACKLOG = 1024
"""Connections that wait to be taken."""

RETRY_SECONDS = 1
"""Time until connections are taken again after the system refused one, mostly for want of descriptors."""

_log = logging.getLogger(__name__)


class Server:
    """The port for shippers.

    Args:
        certificates: what to show and whom to trust.
        intake: where the events go.
        metrics: what is counted.
        names: names of certificates that are heard; None hears all.
    """

    def __init__(
        self, certificates: Certificates, intake: Intake, metrics: Metrics, names: Collection[str] | None = None
    ) -> None:
        self._sayings = Sayings(_log)
        self._certificates = certificates
        self._intake = intake
        self._metrics = metrics
        self._names = names
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._handshakes: dict[asyncio.Task[None], float] = {}
        """When they began, the oldest first."""
        self._handshake_over = asyncio.Event()
        self._connections: set[Connection] = set()

    def listen(self, host: str, port: int) -> int:
        """Begin to take connections.

        Args:
            host: address to listen on.
            port: port to listen on, 0 for a free one.

        Returns:
            The port.

        Raises:
            BusyPortError: the port is busy, or the address is not this machine's.
        """
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise BusyPortError("LOGSTASH_BEATS_PORT", host, port, error) from error
        listener.setblocking(False)  # noqa: FBT003 the socket's own way
        self._socket = listener
        self._accepting = asyncio.create_task(self._accept(listener))
        self._accepting.add_done_callback(_say_why)
        return int(listener.getsockname()[1])

    @property
    def is_alive(self) -> bool:
        """Whether it takes connections, or was told to take no more."""
        return self._accepting is not None and (not self._accepting.done() or self._accepting.cancelled())

    async def close(self, seconds: float) -> None:
        """Take no more connections and no more events, and acknowledge what was taken.

        Args:
            seconds: how long to wait for that.
        """
        if self._accepting:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._socket:
            self._socket.close()
        for connection in self._connections:
            connection.finish()
        if self._serving:
            _, late = await asyncio.wait(self._serving, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wait_for_handshakes()
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:
                self._sayings.warning(f"shippers cannot connect: {error.strerror}")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a shipper's machine may just vanish
            if len(self._serving) >= CONNECTION_LIMIT:
                self._refuse("too-many", f"there are {CONNECTION_LIMIT} already", address[0])
                accepted.close()
                continue
            task = asyncio.create_task(self._serve(accepted, address[0]), name=address[0])
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            self._handshakes[task] = loop.time()
            task.add_done_callback(self._end_handshake)

    async def _wait_for_handshakes(self) -> None:
        """Wait until another handshake may begin."""
        while len(self._handshakes) >= HANDSHAKE_LIMIT:
            oldest, since = next(iter(self._handshakes.items()))
            left = since + GRACE_SECONDS - asyncio.get_running_loop().time()
            if left <= 0:
                self._refuse("tls", "its handshake goes on while others wait", oldest.get_name())
                oldest.cancel()
                self._end_handshake(oldest)
                continue
            self._handshake_over.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._handshake_over.wait(), left)

    def _end_handshake(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        self._handshake_over.set()

    async def _serve(self, accepted: socket.socket, peer: str) -> None:
        stream = Stream(accepted, self._certificates.context())
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                shown = await stream.shake_hands()
        except (OSError, asyncio.CancelledError) as error:
            accepted.close()
            if isinstance(error, TimeoutError):
                self._refuse("tls", "its handshake takes too long", peer)
            elif not isinstance(error, OSError):
                raise
            elif not isinstance(error, ConnectionError):  # which a probe of the port makes
                self._refuse("tls", reason_of(error), peer)
            return
        if task := asyncio.current_task():
            self._end_handshake(task)
        name = name_of(shown)
        if name and (self._names is None or name in self._names):
            self._metrics.certificate_ends.labels(name).set(ssl.cert_time_to_seconds(shown["notAfter"]))
            await self._hear(stream, peer, name)
            return
        self._refuse("tls", f"{name} is none of LOGSTASH_SHIPPERS" if name else "its certificate has no name", peer)
        stream.abort()

    async def _hear(self, stream: Stream, peer: str, name: str) -> None:
        self._sayings.info(f"shipper {name} is connected", peer=peer)
        connection = Connection(stream, self._intake, self._metrics, name=name)
        self._connections.add(connection)
        self._metrics.connections.inc()
        try:
            await connection.run()
        except (ProtocolError, SlowError) as error:
            self._refuse("protocol" if isinstance(error, ProtocolError) else "slow", f"{name}: {error}", peer)
        except OSError:
            pass  # it will come again
        except Exception:  # noqa: BLE001 one connection must not end the others
            _log.exception("a connection ended on an unexpected error", extra={"peer": peer})
        else:
            await stream.close(SHUTDOWN_SECONDS)
        finally:
            stream.abort()  # unless it is closed
            self._connections.discard(connection)
            self._metrics.connections.dec()
        self._sayings.info(f"shipper {name} is gone", peer=peer)

    def _refuse(self, kind: str, reason: str, peer: str) -> None:
        self._metrics.refused.labels(kind).inc()
        self._sayings.warning(f"a shipper is refused: {reason}", peer=peer)


def _say_why(accepting: asyncio.Task[None]) -> None:
    """Log what ended the taking of connections, unless it was asked to end."""
    if not accepting.cancelled():
        _log.critical("no more shippers can connect", exc_info=accepting.exception())
