"""Whose turn it is to be read."""

from .file import File


class Turns:
    """Files that have something to read, in turn; of the compressed ones one at a time, as it takes memory."""

    def __init__(self) -> None:
        self._ready: dict[File, None] = {}
        self._inflating: File | None = None
        self._waiting: dict[File, None] = {}
        """Compressed files that wait for that one."""

    def __len__(self) -> int:
        """How many wait for their turn."""
        return len(self._ready)

    def add(self, file: File) -> None:
        """Have a file take its turn, behind all that wait."""
        self._ready[file] = None

    def discard(self, file: File) -> None:
        """Have a file take no turn."""
        self._ready.pop(file, None)
        self._waiting.pop(file, None)
        if file is self._inflating:
            self.end(file)

    def pop(self) -> File:
        """Give the file whose turn it is; it takes no other one unless it is added again."""
        file = next(iter(self._ready))
        del self._ready[file]
        return file

    def begin(self, file: File) -> bool:
        """Say whether a file may be read now; else it gets a turn when the compressed one before it has ended."""
        if not file.source.is_compressed or self._inflating in (None, file):
            self._inflating = file if file.source.is_compressed else self._inflating
            return True
        self._waiting[file] = None
        return False

    def end(self, file: File) -> None:
        """Take note that a file has nothing more to read, or cannot be read."""
        if file is self._inflating:
            file.source.rest()
            self._inflating = None
            self._ready |= self._waiting
            self._waiting.clear()
