"""What the registry knew of files that were not found yet."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .entry import NOWHERE, Entry
from .file import File
from .inputs import base
from .source import GZIP, HEAD, Key


class Known:
    """Entries of the registry, each until its file is found or has been away for long.

    Args:
        entries: as the registry has them; what is in front is preferred.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        now = time.monotonic()
        self._entries = {entry.id: (entry, now) for entry in entries}
        """By id, with the time when it was not known last that its file is there."""
        self._ids: dict[Key, list[str]] = {}
        """By where a file was; entries that were put elsewhere since, or are gone, among them."""
        for entry in self:
            self._ids.setdefault(entry.key, []).append(entry.id)

    def __iter__(self) -> Iterator[Entry]:
        """Give all entries."""
        return (entry for entry, _ in self._entries.values())

    def _at(self, key: Key) -> list[Entry]:
        found = (self._entries[id_][0] for id_ in self._ids.get(key, ()) if id_ in self._entries)
        return [entry for entry in found if entry.key == key]

    def claim(self, file: File) -> bool:
        """Have a file take over the entry of its inode, if it is that file, and say whether it is.

        Raises:
            OSError: that cannot be told.
        """
        for entry in self._at(file.key):
            if file.claim(entry):
                del self._entries[entry.id]
                return True
            if entry.generation == file.source.generation:
                # Truncated or written anew: what it had may be in a copy.
                self._entries[entry.id] = (replace(entry, device=NOWHERE[0], inode=NOWHERE[1]), time.monotonic())
            else:
                self._entries[entry.id] = (replace(entry, inode=-1), time.monotonic())
        return False

    def claim_copy(self, file: File) -> bool:
        """Have a file take over the entry of one that it is a copy of, and say whether it is.

        A file that is no longer at its inode was removed: only what it was compressed to can be its copy then, and
        only its name, its first kilobyte or the times in its lines tell that one from another.

        Raises:
            OSError: that cannot be told.
        """
        for entry in list(self):
            is_sure = entry.head == HEAD or entry.format != "plain" or entry.place + GZIP == file.path
            if (
                ((entry.key == NOWHERE and (entry.read or is_sure)) or (file.source.is_compressed and is_sure))
                and base(entry.path) == base(file.path)
                and file.claim_copy(entry)
            ):
                del self._entries[entry.id]
                return True
        return False

    def keep(self, key: Key) -> None:
        """Note that what is at an inode is there, though nobody can tell what it is."""
        for entry in self._at(key):
            self._entries[entry.id] = (entry, time.monotonic())

    def keep_below(self, hidden: tuple[str, ...]) -> None:
        """Note that nobody can tell what is at the paths that begin like that."""
        for entry in [entry for entry in self if entry.path.startswith(hidden)]:
            self._entries[entry.id] = (entry, time.monotonic())

    def forget(self, seconds: float) -> None:
        """Forget the entries of files that have been away for so long."""
        now = time.monotonic()
        self._entries = {key: (entry, since) for key, (entry, since) in self._entries.items() if now - since < seconds}
