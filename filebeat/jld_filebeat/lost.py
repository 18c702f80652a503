"""Files whose bytes are no longer where they were: truncated behind a copy, or compressed and removed."""

import time
from collections.abc import Callable, Container, Iterable, Iterator

from .file import File
from .inputs import base
from .source import GZIP, HEAD, Key

EMPTY_SECONDS = 5
"""How long an empty file may be a copy that has just begun."""


class Lost:
    """Files that were truncated or let go, and new ones that may be their copies.

    Args:
        give_up: called with a file whose bytes did not turn up anywhere.
    """

    def __init__(self, give_up: Callable[[File], None]) -> None:
        self._give_up = give_up
        self._files: dict[File, float] = {}
        self._held: dict[Key, float] = {}
        """Since when new files wait, by inode."""

    def __iter__(self) -> Iterator[File]:
        """Give the files that are lost."""
        return iter(self._files)

    def add(self, file: File) -> None:
        """Look out for a copy of a file; what was read of it and not acknowledged is still on its way."""
        if file.furthest:
            self._files[file] = time.monotonic()
        else:
            self._give_up(file)

    def is_held(self, new: File, original: File | None, gone: Iterable[File], seconds: float) -> bool:
        """Say whether a new file has to wait, as it may be a copy of one that is still followed.

        Args:
            new: the file.
            original: what is at the path that it was named after.
            gone: followed files that are at no path any more.
            seconds: how long it may wait for its original to be truncated.
        """
        head = new.source.pread(HEAD, 0)
        if new.source.is_compressed:
            alike = (old for old in gone if old.head and base(old.path) == base(new.path))
            return any(old.place + GZIP == new.path or head.startswith(old.head) for old in alike)
        if original is None or not original.head.startswith(head):
            return False
        since = self._held.setdefault(new.key, time.monotonic())
        return time.monotonic() - since < (seconds if head else EMPTY_SECONDS)

    def find(self, new: File) -> tuple[File, bool] | None:
        """Find what a new file is a copy of.

        Returns:
            The file to follow, and whether that can be done at once; None if it is a copy of none.

        Raises:
            OSError: the new file cannot be read.
        """
        for old in self._files:
            if base(old.path) != base(new.path) or not (has := old.compare(new)):
                continue
            if has >= old.furthest:
                del self._files[old]
                old.move(new)
                return old, True
            # Lines were written, and read, between the copy and the truncation: what more comes is another's.
            from_here = min(old.resume, has)
            if old.acknowledged < from_here:
                self._files[old] = time.monotonic()
                return new, False
            del self._files[old]
            new.begin(from_here, has)
            return new, True
        return None

    def forget(self, seconds: float, present: Container[Key]) -> None:
        """Give up files that have been lost for so long, and what waits no more.

        Args:
            seconds: how long.
            present: inodes of new files that are there.
        """
        now = time.monotonic()
        for file, since in list(self._files.items()):
            if now - since >= seconds:
                del self._files[file]
                self._give_up(file)
        self._held = {key: since for key, since in self._held.items() if key in present}
