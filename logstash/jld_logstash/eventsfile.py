"""Writes events to a file, one a line, where there is no broker."""

import logging
import mmap
import os
import threading
from pathlib import Path

from .backlog import Backlog
from .cursor import sync_folder
from .errors import BadSettingError
from .log import Trouble
from .metrics import Metrics
from .records import Record
from .spool import RETRY_SECONDS, Spool

SIZE_LIMIT = 64 * 2**20
"""Bytes of the file; then it gets the suffix .1, in place of the one that had it."""

GROUP_LIMIT = 4 * 2**20
"""Bytes of events that are written together."""


class EventsFile:
    """The file and the thread that writes to it.

    Args:
        path: the file.
        spool: where the events come from.
        metrics: what is counted.

    Raises:
        BadSettingError: the file cannot be written.
    """

    def __init__(self, path: Path, spool: Spool, metrics: Metrics) -> None:
        self._trouble = Trouble(logging.getLogger(__name__), "events stay in the spool", "events are written again")
        self._path = path
        self._backlog = Backlog(spool)
        self._metrics = metrics
        metrics.backlog_events.set_function(lambda: len(self._backlog))
        self._wake = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="events file", daemon=True)
        try:
            _mend(path)
        except OSError as error:
            right = f"should be a file that can be written ({error.strerror})"
            raise BadSettingError("LOGSTASH_EVENTS_FILE", str(path), right) from error

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def wake(self) -> None:
        """Tell that the spool has more."""
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """End; what is not written stays in the spool.

        Args:
            seconds: how long to wait for what is under way.
        """
        self._is_over = True
        self._wake.set()
        self._thread.join(seconds)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._is_over:
            while self._write_group():
                pass
            self._wake.wait(RETRY_SECONDS if self._trouble.reason else None)
            self._wake.clear()

    def _write_group(self) -> bool:
        """Write some events; tell whether it is worthwhile to try again at once."""
        group: list[Record] = []
        try:
            self._read(group)
            if group:
                _append(self._path, b"".join([record.event + b"\n" for record in group]))
        except OSError as error:
            self._backlog.retry(group)
            self._trouble.set(f"{self._path}: {error.strerror}")
            return False
        if group:
            self._trouble.set(None)
        self._backlog.confirm(group)
        self._metrics.published.inc(len(group))
        self._metrics.confirmed.inc(len(group))
        return bool(group)

    def _read(self, group: list[Record]) -> None:
        size = 0
        while size < GROUP_LIMIT and (records := self._backlog.take(100)):
            group += records
            size += sum(len(record.event) for record in records)


def _append(path: Path, data: bytes) -> None:
    """Append whole lines and have them on disk, or leave the file as it was.

    Raises:
        OSError: anything the file system refuses.
    """
    _rotate(path, len(data))
    # Opened each time: somebody may have moved or removed it.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(file).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
        if not size:
            sync_folder(path.parent)
    finally:
        os.close(file)


def _rotate(path: Path, more: int) -> None:
    """Move the file out of the way when it would become too long."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size and size + more > SIZE_LIMIT:
        path.replace(path.with_name(f"{path.name}.1"))


def _mend(path: Path) -> None:
    """Cut off a line that a crash left unfinished; it is still in the spool.

    Raises:
        OSError: the file cannot be written.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        if os.fstat(file.fileno()).st_size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                whole = content.rfind(b"\n") + 1
            file.truncate(whole)
