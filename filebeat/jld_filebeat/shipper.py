"""The parts together: scans, hints, registry and connection, from the start to SIGTERM."""

import asyncio
import contextlib
import functools
import logging
import signal

from . import service, tls
from .batch import Batch
from .client import Client
from .follower import Follower
from .lag import Lags
from .lines import Reader
from .log import Complaints
from .metrics import Metrics
from .registry import Registry
from .settings import Settings
from .watch import Watch

RESCAN_SECONDS = 1
"""Longest time between two looks at everything."""

SCAN_PAUSE_SECONDS = 0.05
"""Shortest time between them, however many hints say that a file came or went."""

LINGER_SECONDS = 0.02
"""How long lines are gathered after the first that comes when nothing was left to ship."""

SAVE_SECONDS = 0.25
"""Time between two writes of the registry that only tell how far files were shipped."""

RETRY_SECONDS = 1
"""Time between two attempts to write the registry when that fails."""

STOP_SECONDS = 5
"""How long acknowledgements are waited for at the end."""

_log = logging.getLogger(__name__)


async def run() -> None:
    """Ship until a signal ends it.

    Raises:
        BadSettingError: a setting cannot be used.
        UnavailableError: the port or the state is in use.
    """
    settings = Settings.load()
    tls.context(settings)
    with Registry(settings.filebeat_state_dir) as registry:
        shipper = Shipper(settings, registry)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, shipper.stop)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, shipper.renew)
        app = service.application(shipper.metrics, shipper.update, shipper.trouble)
        async with service.listening(app, settings.filebeat_host, settings.filebeat_port):
            await shipper.run()


class Shipper:
    """The shipper.

    Args:
        settings: what to ship where.
        registry: what is known of files.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.metrics = Metrics()
        self._registry = registry
        self._follower = Follower(
            settings.filebeat_inputs,
            Reader(settings.shipper_name, settings.node),
            registry.read(),
            wake=self._wake_reader,
            register=self._wake_keeper,
            count_bytes=self.metrics.read.inc,
            drop=self.metrics.dropped.inc,
        )
        self._lags = Lags()
        self._scannable = asyncio.Event()
        self._watch = Watch(self._hint, self._scannable.set)
        self._client = Client(
            settings.filebeat_collector_host,
            settings.filebeat_collector_port,
            context=functools.partial(tls.context, settings),
            source=self._next,
            acknowledged=self._mark_changed,
            metrics=self.metrics,
        )
        self._complaints = Complaints(_log)
        self._readable = asyncio.Event()
        self._changed = asyncio.Event()
        """Set when the registry is behind."""
        self._urgent = asyncio.Event()
        """Set when a file waits for that."""
        self._saving = asyncio.Lock()
        self._stop = asyncio.Event()
        self._is_scanned = False
        self._trouble: str | None = None
        """Why the registry could not be written the last time."""
        self._is_news = False
        """Whether the log says that it cannot."""

    def trouble(self) -> str | None:
        """Say why it cannot do its work, None when it can. A collector that is away is no such reason."""
        return self._trouble or (None if self._is_scanned else "the files were not looked for yet")

    def update(self) -> None:
        """Set the gauges that follow from the files."""
        files = self._follower.files
        self.metrics.files.set(len(files))
        self.metrics.show(self._lags.tell(files))

    def stop(self) -> None:
        """Read no more, and have it end."""
        self._stop.set()

    def renew(self) -> None:
        """Connect to the collector anew, with the certificates that are there now."""
        self._client.renew()

    async def run(self) -> None:
        """Ship until told to stop, then wait a little for acknowledgements and write the registry."""
        tasks = [asyncio.create_task(work) for work in (self._scan(), self._keep(), self._client.run())]
        end = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait([*tasks, end], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            _log.info("ends")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._client.wait_idle()
        finally:
            async with self._saving:  # a write that is under way goes on in its thread, whoever is cancelled
                for task in (*tasks, end):
                    task.cancel()
            await asyncio.gather(*tasks, end, return_exceptions=True)
            await self._save()
            self._watch.close()
            self._follower.close()

    def _hint(self, path: str, is_change: bool, is_folder: bool) -> None:  # noqa: FBT001 # as the kernel tells it
        if self._follower.hint(path, is_change=is_change, is_folder=is_folder):
            self._scannable.set()

    def _wake_reader(self) -> None:
        self._readable.set()

    def _wake_keeper(self) -> None:
        self._urgent.set()
        self._changed.set()

    def _mark_changed(self) -> None:
        self._changed.set()

    async def _scan(self) -> None:
        while True:
            self._scannable.clear()
            # The watch comes first for what is there, the scan for what came meanwhile.
            self._watch.follow(self._follower.scan())
            self._lags.note(self._follower.files)
            if not self._is_scanned:
                # Whether the registry can be written is to be known before somebody asks for readiness.
                self._is_scanned = await self._save()
            await asyncio.sleep(SCAN_PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESCAN_SECONDS - SCAN_PAUSE_SECONDS):
                    await self._scannable.wait()

    async def _next(self) -> Batch:
        """Give the next batch as soon as there is something to ship."""
        while True:
            self._readable.clear()
            if not self._stop.is_set() and (batch := self._follower.fill()):
                return batch
            await self._readable.wait()
            await asyncio.sleep(LINGER_SECONDS)

    async def _keep(self) -> None:
        """Keep the registry up to date: at once for a new file, else every now and then."""
        while True:
            await self._changed.wait()
            if await self._save():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SAVE_SECONDS):
                        await self._urgent.wait()
            else:
                await asyncio.sleep(RETRY_SECONDS)

    async def _save(self) -> bool:
        """Write the registry, and say whether that worked; one at a time, as each writes the same file aside."""
        async with self._saving:
            return await self._write()

    async def _write(self) -> bool:
        self._changed.clear()
        self._urgent.clear()
        entries, files = self._follower.entries()
        try:
            await asyncio.to_thread(self._registry.write, entries)
        except OSError as error:
            self._changed.set()
            self.metrics.write_failures.inc()
            self._trouble = f"the registry cannot be written: {error.strerror}"
            self._is_news |= self._complaints.tell("registry", self._trouble)
            return False
        self._trouble = None
        if self._is_news:
            self._is_news = False
            _log.info("the registry can be written again")
        self._follower.registered(files)
        return True
