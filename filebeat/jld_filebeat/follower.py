"""All followed files: which there are, whose turn it is to be read, and when one is let go.

A rescan looks at every folder and every open file; that is the truth. Hints only make it look sooner.
"""

import errno
import logging
import os
import resource
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from .batch import Batch
from .errors import RewrittenError
from .file import Entry, File, Key, text_of
from .inputs import Format, Input, base, find
from .lines import Reader
from .log import Complaints

QUIET_SECONDS = 5
"""How long a rotated or removed file must not have changed before its unfinished last line is shipped as it is."""

GONE_SECONDS = 60
"""How long a removed file must not have changed before it is let go: its writer may still have it open."""

TURN_SECONDS = 0.1
"""How long one search for events may take; connection, health and signals wait meanwhile."""

SPARE = 32
"""Descriptors that are left for everything else: connection, registry, folders, probes."""

_log = logging.getLogger(__name__)


class Follower:
    """The table of files.

    Args:
        inputs: which files to follow.
        reader: what makes events of them.
        entries: what the registry knows.
        wake: called when there is something to read.
        register: called when a new file waits for its id to be on disk.
        count_bytes: called with the number of bytes that were read.
    """

    def __init__(  # noqa: PLR0913 # what it needs from its surroundings
        self,
        inputs: Sequence[Input],
        reader: Reader,
        entries: Iterable[Entry],
        *,
        wake: Callable[[], None],
        register: Callable[[], None],
        count_bytes: Callable[[int], None],
    ) -> None:
        self._inputs = inputs
        self._reader = reader
        self._wake = wake
        self._register = register
        self._count_bytes = count_bytes
        self._files: dict[Key, File] = {}
        self._places: dict[str, File] = {}
        """Open files by where they are now."""
        self._ready: dict[File, None] = {}
        """Files to be read, in this order."""
        self._unclaimed = {entry.key: (entry, time.monotonic()) for entry in entries}
        """Entries whose files were not found yet, and since when."""
        self._last = Batch()
        """What was read last."""
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE
        self._complaints = Complaints(_log)

    @property
    def count(self) -> int:
        """How many files are open."""
        return len(self._files)

    @property
    def lag(self) -> int:
        """Bytes of open files that are not acknowledged, as of the last look at each."""
        return sum(max(0, file.size - file.acknowledged) for file in self._files.values())

    def scan(self) -> set[str]:
        """Look for new files and at those that are open, and give the folders where hints would come from."""
        files, folders, unseen = find(self._inputs)
        for folder, error in unseen.items():
            self._complain(folder or "/", error)
        hidden = [f"{folder}/" for folder in unseen]
        places: dict[str, File] = {}
        found: set[File] = set()
        for path, form in files.items():
            try:
                file = self._at(path, form)
            except OSError as error:
                self._complain(path, error)
                if not isinstance(error, FileNotFoundError | NotADirectoryError):
                    hidden.append(path)
                continue
            if file and file not in found:  # a second path to the same file, by a link, counts for nothing
                found.add(file)
                places[path] = file
        if hidden:
            self._keep(tuple(hidden), places, found)
        self._places = places
        self._relate([file for file in found if file.size < 0 and file.format != "plain"])
        for path, file in places.items():
            self._place(file, is_away=path != file.path, is_gone=False)
        for file in list(self._files.values()):
            if file not in found:
                self._place(file, is_away=True, is_gone=True)
            self._look(file)
        self._let_go()
        return folders

    def hint(self, path: str, *, is_change: bool, is_folder: bool) -> bool:
        """Look at the file that a hint is about, and say whether a scan is needed.

        Args:
            path: what it is about.
            is_change: whether bytes changed; else it came, went or was renamed.
            is_folder: whether it is a folder.
        """
        if is_change:
            if file := self._places.get(path):
                self._look(file)
            return False
        return is_folder or path in self._places or any(wanted.matches(path) for wanted in self._inputs)

    def fill(self) -> Batch | None:
        """Read a window's events, a piece of each file that has some in turn; None when there are none.

        A line without end in sight, or a file that a member has made huge, takes a turn like any other.
        """
        batch, begun = Batch(), time.monotonic()
        if self._last.is_acknowledged:
            self._last = Batch()  # nor are its events kept in memory
        while self._ready and not batch.is_full and time.monotonic() - begun < TURN_SECONDS:
            file = next(iter(self._ready))
            del self._ready[file]
            if not (file.is_registered and self._inherit(file)):
                continue  # what it waits for puts it back
            if self._read(file, batch):
                self._ready[file] = None
            elif file.heir:
                self._ready[file.heir] = None
        if not batch.events:
            self._last.follow(batch)
            if self._ready:
                self._wake()
            return None
        self._last = batch
        return batch

    def entries(self) -> tuple[list[Entry], list[File]]:
        """Give what the registry has to keep, and the files whose ids are then on disk."""
        files = [file for file in self._files.values() if file.head]
        waiting = [entry for entry, _ in self._unclaimed.values()]
        known = {file.id for file in files} | {entry.id for entry in waiting}
        empty = {file.id: file.previous_id for file in self._files.values() if not file.head}

        def before(file: File) -> str | None:
            previous = file.previous_id
            while previous and previous not in known:
                previous = empty.get(previous)
            return previous

        return [file.entry(before(file)) for file in files] + waiting, files

    def registered(self, files: Iterable[File]) -> None:
        """Take note that the ids of these files are on disk, so that they may be read."""
        for file in files:
            if not file.is_registered and self._files.get(file.key) is file:
                file.is_registered = True
                self._enqueue(file)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()

    def _enqueue(self, file: File) -> None:
        self._ready[file] = None
        self._wake()

    def _complain(self, path: str, error: OSError) -> None:
        # Without descriptors every file has the same trouble.
        key = str(error.errno) if error.errno in (errno.EMFILE, errno.ENFILE) else path
        self._complaints.tell(key, f"cannot read {text_of(path)!r}: {error.strerror}")

    def _at(self, path: str, form: Format) -> File | None:
        """Give the file that is at a path now, open; None where there is no regular file, or none that can be opened.

        Raises:
            OSError: it cannot be told what is there.
        """
        found = os.stat(path)  # noqa: PTH116 # each second for each file: no object for a path
        if not stat.S_ISREG(found.st_mode):
            return None
        key: Key = (found.st_dev, found.st_ino)
        if key not in self._files:
            try:
                file = self._open(path, form)
            except OSError as error:
                self._complain(path, error)
                self._wait_for(key)
                return None
            key = file.key
            if key in self._files:  # another one took its place since
                file.close()
            elif not self._claim(file):
                return None
        return self._files[key]

    def _open(self, path: str, form: Format) -> File:
        if len(self._files) >= self._most:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return File.open(path, form)

    def _claim(self, file: File) -> bool:
        """Follow a new file, as the one that the registry knows if it is that; say whether that could be told."""
        entry, _ = self._unclaimed.get(file.key, (None, 0))
        try:
            if entry:
                file.claim(entry)
        except OSError as error:
            file.close()
            self._complain(file.path, error)
            self._wait_for(file.key)
            return False
        self._unclaimed.pop(file.key, None)
        self._files[file.key] = file
        return True

    def _wait_for(self, key: Key) -> None:
        """Keep what the registry knows of a file that is there."""
        if key in self._unclaimed:
            self._unclaimed[key] = (self._unclaimed[key][0], time.monotonic())

    def _keep(self, hidden: tuple[str, ...], places: dict[str, File], found: set[File]) -> None:
        """Take what cannot be looked at now, by the beginnings of its paths, to be where it was."""
        for path, file in self._places.items():
            if path.startswith(hidden) and file not in found:
                found.add(file)
                places.setdefault(path, file)
        for key, (entry, _) in self._unclaimed.items():
            if entry.path.startswith(hidden):
                self._wait_for(key)

    def _relate(self, new: Iterable[File]) -> None:
        """Find out for new files which one each continues: parts of a line can be in both."""
        groups: dict[str, list[File]] = defaultdict(list)
        for file in self._files.values():
            if file.format != "plain":
                groups[base(file.path)].append(file)
        paths = {file: path for path, file in self._places.items()}

        def age(file: File) -> tuple[bool, int, str]:
            # Total, so that no two files can continue each other: rotated files may have been changed at the same time.
            path = paths.get(file, file.path)
            return file in paths and path == base(path), file.modified, path

        # What the registry tells comes first: a file between the two that it never held takes the place of neither.
        for file in sorted(new, key=lambda file: (not file.is_registered, age(file))):
            group = groups[base(file.path)]
            if file.is_registered:
                previous = next((other for other in group if other.id == file.previous_id), None)
            else:
                previous = max((other for other in group if age(other) < age(file)), key=age, default=None)
            if previous and previous.heir is None and file.previous is None:
                file.previous, file.previous_id, previous.heir = previous, previous.id, file

    def _place(self, file: File, *, is_away: bool, is_gone: bool) -> None:
        if (is_away, is_gone) != (file.is_away, file.is_gone):
            file.is_away, file.is_gone = is_away, is_gone
            file.changed = time.monotonic()

    def _look(self, file: File) -> None:
        """See whether there is something to read, or to finish."""
        try:
            file.look()
        except RewrittenError:
            file = self._begin_anew(file)
        except OSError as error:
            file.is_failed = True
            self._complain(file.path, error)
            return
        quiet = time.monotonic() - file.changed
        if file.is_away and quiet >= QUIET_SECONDS and file.is_read and file.has_rest and not file.is_final:
            file.is_final = True
        elif file.is_read and not file.is_failed:
            return
        if file.is_registered:
            self._enqueue(file)
        elif file.head:
            self._register()

    def _begin_anew(self, file: File) -> File:
        new = file.again()
        # Some programs write a file anew every second.
        self._complaints.tell(
            f"anew {file.path}", f"{text_of(file.path)!r} was truncated or written anew: read from its beginning"
        )
        self._drop(file)
        self._files[new.key] = new
        self._places = {path: new if at is file else at for path, at in self._places.items()}
        try:
            new.look()
        except (OSError, RewrittenError):
            new.is_failed = True  # it changes at this moment; the next rescan looks again
        if new.head:
            self._register()
        return new

    def _inherit(self, file: File) -> bool:
        """Take over the unfinished lines of the file that this one continues, and say whether that is done."""
        previous = file.previous
        if previous and not previous.is_failed:
            self._look(previous)
            if previous is file.previous and not (previous.is_read and self._inherit(previous)):
                return False
        if previous is None or previous is not file.previous:  # it was truncated: nothing is left of its parts
            return True
        file.previous = previous.heir = None
        if file.position == 0:  # else they were written late, and what they might continue in is shipped
            for join in previous.joins.values():
                join.hold(file, 0)
            file.joins.update(previous.joins)
            previous.joins.clear()
        return True

    def _read(self, file: File, batch: Batch) -> bool:
        before = file.position
        try:
            more = self._reader.read(file, batch)
        except RewrittenError:
            self._begin_anew(file)
            return False
        except OSError as error:
            file.is_failed = True
            self._complain(file.path, error)
            return False
        file.is_failed = False
        self._count_bytes(file.position - before)
        return more

    def _let_go(self) -> None:
        """Close removed files that are shipped whole, and forget entries whose files do not come."""
        now = time.monotonic()
        for file in list(self._files.values()):
            if file.is_gone and file.is_done and not file.joins and now - file.changed >= GONE_SECONDS:
                self._drop(file)
                self._register()
        for key, (_, since) in list(self._unclaimed.items()):
            if now - since >= GONE_SECONDS:
                del self._unclaimed[key]

    def _drop(self, file: File) -> None:
        file.close()
        self._reader.forget(file)
        self._ready.pop(file, None)
        if self._files.get(file.key) is file:
            del self._files[file.key]
        if not file.head:  # what it is between comes together
            for other in self._files.values():
                if other.previous_id == file.id:
                    other.previous_id = file.previous_id
        if file.previous:
            file.previous.heir = None
        if file.heir:
            file.heir.previous = None
            self._enqueue(file.heir)
