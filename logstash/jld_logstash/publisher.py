"""Keeps a connection to the broker: a thread of its own, and times to wait that grow while it does not succeed."""

import logging
import threading
import time

import pika

from . import broker
from .backlog import Backlog
from .log import Trouble
from .metrics import Metrics
from .settings import Settings
from .spool import Spool
from .tls import Certificates

CLOSE_SECONDS = 0.5
"""Of the time to stop, what is left for the end of the connection, which the broker has to answer."""

STABLE_SECONDS = 30
"""A connection that held for this long makes the next time to wait a short one."""

_log = logging.getLogger(__name__)


class Publisher:
    """Sends what is in the spool to the broker.

    Args:
        settings: broker, login and routing key.
        certificates: what to trust and show, None to speak without TLS.
        spool: where the events come from.
        metrics: what is counted.
    """

    def __init__(self, settings: Settings, certificates: Certificates | None, spool: Spool, metrics: Metrics) -> None:
        self._settings = settings
        self._target = broker.Target(
            key=settings.shipper_name,
            queue=settings.rabbitmq_target_queue,
            queue_type=settings.rabbitmq_target_queue_type,
            events_per_message=settings.rabbitmq_target_events_per_message,
        )
        self._certificates = certificates
        self._backlog = Backlog(spool)
        self._metrics = metrics
        metrics.backlog_events.set_function(lambda: len(self._backlog))
        self._backoff = broker.Backoff()
        self._session: broker.Session | None = None
        self._stopping = threading.Event()
        self._trouble = Trouble(_log, "events stay in the spool", "events reach the broker")
        self._trouble.said = ""  # the first success is worth a line
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def wake(self) -> None:
        """Tell that the spool has more."""
        if session := self._session:
            session.wake()

    def stop(self, seconds: float) -> None:
        """Wait for the confirms of what was sent, and end.

        Args:
            seconds: how long to wait.
        """
        self._stopping.set()
        if session := self._session:
            session.finish(seconds - CLOSE_SECONDS)
        self._thread.join(seconds)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            begin = time.monotonic()
            try:
                trouble = self._converse()
            except Exception:  # noqa: BLE001 whatever it is, another connection may do better
                _log.exception("the connection to the broker ended on an unexpected error")
                trouble = "an unexpected error"
            if self._stopping.is_set():
                return
            self._trouble.set(f"the broker {self._settings.rabbitmq_target_host} is away: {trouble}")
            if time.monotonic() - begin > STABLE_SECONDS:
                self._backoff.reset()
            self._stopping.wait(self._backoff.seconds())
            self._metrics.broker_reconnects.inc()

    def _converse(self) -> str:
        """Hold one connection, and tell why it ended."""
        self._session = broker.Session(
            self._parameters(),
            self._backlog,
            self._metrics,
            target=self._target,
            backoff=self._backoff,
            report=self._trouble.set,
        )
        try:
            # Whoever stops this either was seen here or sees the session.
            return "" if self._stopping.is_set() else broker.reason_of(self._session.run())
        finally:
            self._session = None

    def _parameters(self) -> pika.ConnectionParameters:
        settings = self._settings
        password = settings.rabbitmq_target_password
        return pika.ConnectionParameters(
            host=settings.rabbitmq_target_host,
            port=settings.rabbitmq_target_port,
            virtual_host=settings.rabbitmq_target_vhost,
            credentials=pika.PlainCredentials(settings.rabbitmq_target_user, password and password.get_secret_value()),
            ssl_options=pika.SSLOptions(self._certificates.context()) if self._certificates else None,
            heartbeat=broker.HEARTBEAT_SECONDS,
            blocked_connection_timeout=broker.BLOCKED_SECONDS,
            client_properties={"connection_name": "jld_logstash"},
        )
