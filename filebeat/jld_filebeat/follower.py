"""All followed files: which there are, whose turn it is to be read, and when one is let go.

A rescan looks at every folder and every open file; that is the truth. Hints only make it look sooner.
"""

import errno
import logging
import os
import resource
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from .batch import Batch
from .entry import Cut, Entry
from .errors import RewrittenError
from .file import File, text_of
from .inputs import Format, Input, base, find
from .known import Known
from .lines import Reader
from .log import Complaints
from .lost import Lost
from .relation import inherit, predecessors, relate, settled
from .source import Key, Source
from .turns import Turns

QUIET_SECONDS = 5
"""How long a rotated or removed file must not have changed before its unfinished last line is shipped as it is."""

GONE_SECONDS = 60
"""How long a removed file must not have changed before it is let go, as its writer may still have it open; and how long
a copy of what is no longer there is looked out for."""

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
        drop: called with the number of bytes that were there, and cut off before they were read.
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
        drop: Callable[[int], None],
    ) -> None:
        self._inputs = inputs
        self._reader = reader
        self._wake = wake
        self._register = register
        self._count_bytes = count_bytes
        self._drop_bytes = drop
        self._files: dict[Key, File] = {}
        self._places: dict[str, File] = {}
        """Open files by where they are now."""
        self._turns = Turns()
        self._known = Known(entries)
        self._lost = Lost(self._give_up)
        self._last = Batch()
        """What was read last."""
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE
        self._room = self._most
        """How many more files may be opened in this scan."""
        self._complaints = Complaints(_log)

    @property
    def files(self) -> list[File]:
        """The files that are followed."""
        return list(self._files.values())

    def scan(self) -> set[str]:
        """Look for new files and at those that are open, and give the folders where hints would come from."""
        files, folders, unseen = find(self._inputs)
        for folder, error in unseen.items():
            self._complain(folder or "/", error)
        self._room = self._most - sum(file.source.is_open for file in self._files.values())
        hidden = [f"{folder}/" for folder in unseen]
        places: dict[str, File] = {}
        found: set[File] = set()
        strangers: dict[Key, File] = {}
        for path, form in files.items():
            try:
                file = self._at(path, form, strangers)
            except OSError as error:
                self._complain(path, error)
                if not isinstance(error, FileNotFoundError | NotADirectoryError):
                    hidden.append(path)
                continue
            if file and file not in found:  # else it is a second path to the same file, by a link
                found.add(file)
                places[path] = file
        self._keep(tuple(hidden), places, found)
        self._places = places
        self._place_all(found)
        new = [file for file in found if file.size < 0]
        new += [one for one in settled(strangers, files, self._inputs) if self._meet(one) is one]
        # Some may have begun anew meanwhile.
        relate([one for one in new if one.format != "plain" and self._files.get(one.key) is one], self._files.values())
        for file in list(self._files.values()):
            self._look(file)
        self._let_go(strangers)
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
        while self._turns and not batch.is_full and time.monotonic() - begun < TURN_SECONDS:
            file = self._turns.pop()
            if not (file.is_saved and file.source.is_open and inherit(file, self._look) and self._turns.begin(file)):
                continue  # what it waits for puts it back
            if self._read(file, batch):
                self._turns.add(file)
                continue
            self._turns.end(file)
            if file.heir:
                self._turns.add(file.heir)
        if not batch.events:
            self._last.follow(batch)
            if self._turns:
                self._wake()
            return None
        self._last = batch
        return batch

    def entries(self) -> tuple[list[Entry], list[tuple[File, tuple[Cut, ...]]]]:
        """Give what the registry has to keep, and of which files ids and cuts are then on disk."""
        files = [file for file in self._files.values() if file.head]
        kept = [*files, *(file for file in self._lost if file.is_registered)]
        waiting = list(self._known)
        before = predecessors([*self._files.values(), *self._lost], {entry.id for entry in waiting})
        return [file.entry(before[file]) for file in kept] + waiting, [(file, file.cuts) for file in files]

    def registered(self, saved: Iterable[tuple[File, tuple[Cut, ...]]]) -> None:
        """Take note that the ids of these files are on disk, and where lines are cut, so that they may be read."""
        for file, cuts in saved:
            if self._files.get(file.key) is file:
                is_news = not file.is_registered or file.saved_cuts != cuts
                file.is_registered, file.saved_cuts = True, cuts
                if is_news:
                    self._enqueue(file)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.source.close()

    def _enqueue(self, file: File) -> None:
        self._turns.add(file)
        self._wake()

    def _complain(self, path: str, error: OSError) -> None:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # which went meanwhile
            # Without descriptors every file has the same trouble.
            key = str(error.errno) if error.errno in (errno.EMFILE, errno.ENFILE) else path
            self._complaints.tell(key, f"cannot read {text_of(path)!r}: {error.strerror}")

    def _at(self, path: str, form: Format, strangers: dict[Key, File]) -> File | None:
        """Give the file that is at a path now, open; None where there is no regular file, or none that can be opened.

        A file that is not known by its inode is put with the strangers, which are looked at when all others are known.

        Raises:
            OSError: it cannot be told what is there.
        """
        found = os.stat(path)  # noqa: PTH116 # each second for each file: no object for a path
        if not stat.S_ISREG(found.st_mode):
            return None
        key: Key = (found.st_dev, found.st_ino)
        if known := self._files.get(key):
            if known.source.is_at(found):
                return known
            self._remove(known)
        try:
            file = self._open(path, form)
        except OSError as error:
            self._complain(path, error)
            self._known.keep(key)
            return None
        try:
            if file.key in self._files:  # another one took its place since
                file.source.close()
            elif self._known.claim(file):
                file.source.rest()
                self._files[file.key] = file
            elif file.key in strangers:
                file.source.close()
            else:
                strangers[file.key] = file
        except OSError as error:
            file.source.close()
            self._complain(path, error)
            self._known.keep(key)
        return self._files.get(file.key)

    def _open(self, path: str, form: Format) -> File:
        if self._room <= 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        source = Source.open(path)
        self._room -= 1
        try:
            return File(source, path, form)
        except OSError:
            source.close()
            raise

    def _meet(self, new: File) -> File | None:
        """Follow what a file is that is at an inode where none is known, and give that; None while it is not clear.

        A copy, made before its original was truncated or by compressing it, goes on where the original was.
        """
        try:
            file, is_clear = self._recognise(new)
        except OSError as error:
            self._complain(new.path, error)
            file, is_clear = new, False
        if not is_clear:
            new.source.close()
            return None
        file.source.rest()
        self._files[file.key] = self._places[new.place] = file
        self._place(file, new.place, is_gone=False)
        return file

    def _recognise(self, new: File) -> tuple[File, bool]:
        """Tell what to follow for a new file, and whether that can be told."""
        log = base(new.path)
        if log == new.path:
            return new, True
        gone = [
            file
            for file in self._files.values()
            if file.is_gone and base(file.path) == log and not file.source.is_compressed
        ]
        # So that no truncation escapes, nor what was written to a file before it was compressed.
        for file in [*gone, *filter(None, [self._places.get(log)])]:
            self._look(file)
        original = self._places.get(log)
        if self._lost.is_held(new, original, gone, GONE_SECONDS):
            return new, False
        return self._lost.find(new) or (new, self._known.claim_copy(new) or True)

    def _keep(self, hidden: tuple[str, ...], places: dict[str, File], found: set[File]) -> None:
        """Take what cannot be looked at now, by the beginnings of its paths, to be where it was."""
        for path, file in self._places.items():
            if path.startswith(hidden) and file not in found:
                found.add(file)
                places.setdefault(path, file)
        self._known.keep_below(hidden)

    def _place_all(self, found: set[File]) -> None:
        for path, file in self._places.items():
            self._place(file, path, is_gone=False)
        for file in self._files.values():
            if file not in found:
                self._place(file, file.place, is_gone=True)

    def _place(self, file: File, path: str, *, is_gone: bool) -> None:
        # It may have been rotated before it was seen at all.
        is_rotated = file.source.is_compressed or (base(path) != path and base(path) in self._places)
        is_away = is_gone or is_rotated or path != file.path
        file.place = path
        if (is_away, is_gone) != (file.is_away, file.is_gone):
            file.is_away, file.is_gone = is_away, is_gone
            file.changed = time.monotonic()

    def _look(self, file: File) -> None:
        """See whether there is something to read, or to finish."""
        if not file.source.is_open:
            return
        try:
            file.look()
        except RewrittenError:
            file = self._begin_anew(file)
        except OSError as error:
            file.is_failed = True
            self._complain(file.path, error)
            return
        quiet = time.monotonic() - file.changed
        if file.is_away and quiet >= QUIET_SECONDS and file.is_read and file.has_rest:
            # What is left goes as it is, once the registry knows that it does.
            file.cut()
        if file.is_read and not file.is_failed and file.cuts == file.saved_cuts:
            return
        if file.is_saved:
            self._enqueue(file)
        elif file.head:
            self._register()

    def _begin_anew(self, file: File) -> File:
        new = file.again()
        # Some programs write a file anew every second.
        self._complaints.tell(
            f"anew {file.path}", f"{text_of(file.path)!r} was truncated or written anew: read from its beginning"
        )
        self._remove(file)
        self._lost.add(file)
        self._files[new.key] = new
        self._places = {path: new if at is file else at for path, at in self._places.items()}
        try:
            new.look()
        except (OSError, RewrittenError):
            new.is_failed = True  # it changes at this moment; the next rescan looks again
        if new.head:
            self._register()
        return new

    def _give_up(self, file: File) -> None:
        """Take note that what was cut off, or let go, is not to be found."""
        if not file.is_gone:
            self._drop_bytes(max(0, file.size - file.position))

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

    def _let_go(self, strangers: Mapping[Key, File]) -> None:
        """Close removed files that are shipped whole, and forget entries whose files do not come."""
        waiting = [stranger for key, stranger in strangers.items() if key not in self._files]
        for file in list(self._files.values()):
            if file.is_done and not file.joins:
                if file.source.is_compressed:
                    file.source.close()  # it is only remembered
                if file.is_gone and time.monotonic() - file.changed >= GONE_SECONDS:
                    self._remove(file)
                    if any(base(file.path) == base(other.path) for other in waiting if other.source.is_compressed):
                        self._lost.add(file)
                    else:
                        self._give_up(file)
                    self._register()
        self._known.forget(GONE_SECONDS)
        self._lost.forget(GONE_SECONDS, strangers)

    def _remove(self, file: File) -> None:
        """Follow a file no more."""
        self._reader.forget(file)
        file.source.close()
        self._turns.discard(file)
        if self._files.get(file.key) is file:
            del self._files[file.key]
        if not file.head:  # what it is between comes together
            for other in self._files.values():
                if other.previous_id == file.id:
                    other.previous_id = file.previous_id
        between = (None, None) if file.head else (file.previous, file.heir)
        if file.previous:
            file.previous.heir = between[1]
        if file.heir:
            file.heir.previous = between[0]
            self._enqueue(file.heir)
