"""Hints from the kernel that something changed in a folder of logs.

They only make the shipper look sooner than at its next rescan: watchdog drops the kernel's word that it lost hints,
and some file systems give none. This uses watchdog's inotify class without its threads: the loop waits for the
descriptor, one instance serves all folders, and there is no half second of waiting behind each rename.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Iterable

from watchdog.observers.inotify_c import Inotify, InotifyConstants

_MASK = (
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_ONLYDIR
)

_MANY = 500
"""So many hints at once may be all that the kernel's queue could hold: it drops the others, and watchdog its word of
that (a watch descriptor of -1)."""

REST_SECONDS = 0.02
"""How long hints are gathered after some: a busy log gives one for each line."""

_SHORT = {errno.ENOSPC: "watches", errno.EMFILE: "instances", errno.ENFILE: "files"}

_log = logging.getLogger(__name__)


class Watch:
    """Watches folders.

    Args:
        hint: called with the path that a hint is about, whether its bytes changed (else it came, went or was
            renamed), and whether it is a folder.
        missed: called when there may have been hints that were lost.
    """

    def __init__(self, hint: Callable[[str, bool, bool], None], missed: Callable[[], None]) -> None:
        self._hint = hint
        self._missed = missed
        self._inotify: Inotify | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._is_short = False
        """Whether the log says that some folders are not watched."""
        self._is_off = False
        """Whether there could be no inotify: a failed one can leave descriptors open, so there is no second attempt."""

    def follow(self, folders: Iterable[str]) -> None:
        """Watch these folders too; those already watched stay so, however they were renamed."""
        if self._inotify is None and not self._is_off:
            self._open()
        if self._inotify is None:
            return
        for folder in folders:
            try:
                self._inotify.add_watch(os.fsencode(folder))
            except OSError as error:
                if error.errno in _SHORT:
                    self._tell(error.errno)
                    return
                # It is gone or no folder; the rescan knows.

    def close(self) -> None:
        """Stop watching."""
        if self._rest:
            self._rest.cancel()
        if self._inotify:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _open(self) -> None:
        try:
            # It wants a folder to begin with, and leaves descriptors open if that one is not there.
            self._inotify = Inotify(b"/", event_mask=_MASK)
        except OSError as error:
            self._is_off = True
            self._tell(error.errno or errno.EMFILE)
        else:
            self._listen(self._inotify)

    def _listen(self, inotify: Inotify) -> None:
        asyncio.get_running_loop().add_reader(inotify.fd, self._read, inotify)

    def _read(self, inotify: Inotify) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(inotify.fd)
        self._rest = loop.call_later(REST_SECONDS, self._listen, inotify)
        try:
            events = inotify.read_events()
        except (KeyError, OSError):
            # Its book-keeping does not stand every order of renames and removals; the next rescan begins anew.
            self.close()
            return
        if len(events) >= _MANY:
            self._missed()
        for event in events:
            self._hint(os.fsdecode(event.src_path), event.is_modify, event.is_directory)

    def _tell(self, number: int) -> None:
        if not self._is_short:
            self._is_short = True
            _log.warning(
                "inotify has no more %s (sysctl fs.inotify): changes in some folders are seen by rescans only",
                _SHORT.get(number, os.strerror(number)),
            )
