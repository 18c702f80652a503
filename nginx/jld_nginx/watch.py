"""Hints that files may have changed, so that a change need not wait for the next look."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

READS = {"opened", "closed_no_write"}
"""Events that looking itself brings about."""

_log = logging.getLogger(__name__)


class _Handler(FileSystemEventHandler):
    def __init__(self, hint: asyncio.Event) -> None:
        self._hint = hint
        self._loop = asyncio.get_running_loop()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the one who looks; called in a thread of watchdog's."""
        if event.event_type not in READS:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody looks any more
                self._loop.call_soon_threadsafe(self._hint.set)


@contextlib.contextmanager
def watching(files: Iterable[Path], hint: asyncio.Event) -> Iterator[None]:
    """Set the event whenever something changes beside one of the files.

    The folders are watched, not the files: files are replaced, and what Kubernetes replaces is a link beside them.
    """
    observer = Observer()
    handler = _Handler(hint)
    try:
        for folder in {file.parent for file in files}:
            observer.schedule(handler, str(folder))
        observer.start()
    except OSError as error:
        # The machine's inotify instances or watches are used up.
        _log.warning("changed certificates are seen later: %s", error.strerror)
        yield
        return
    try:
        yield
    finally:
        observer.stop()
        observer.join()
