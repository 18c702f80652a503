"""`make logs`: follow the logs of all services and labs."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import EmbeddedError
from .lines import readable
from .state import State

LAST = 10
"""Lines of each log to begin with."""

PAUSE = 0.2
"""Seconds between two looks at the files; nobody reads faster."""


class Tail:
    """One log: what is added to it, over rotations."""

    def __init__(self, path: Path) -> None:
        """Begin with the last lines of the file."""
        self.path = path
        self.name = path.stem
        self.file: IO[str] | None = None
        self.rest = ""
        self.first = True

    def lines(self) -> Iterator[str]:
        """Take the whole lines that were added since the last call."""
        fresh = list(self.read())
        yield from fresh[-LAST:] if self.first else fresh
        self.first = False

    def read(self) -> Iterator[str]:
        """Read on; go over to the new file when the log was rotated."""
        while True:
            if self.file is None:
                try:
                    self.file = self.path.open(errors="replace")
                except FileNotFoundError:
                    return
            for part in self.file:
                line = self.rest + part
                if line.endswith("\n"):
                    self.rest = ""
                    yield line.rstrip("\n")
                else:
                    self.rest = line
            if not self.rotated(self.file):
                return
            self.file.close()
            self.file = None

    def rotated(self, file: IO[str]) -> bool:
        """Whether the path is another file by now, or the file was cut."""
        try:
            entry = self.path.stat()
        except FileNotFoundError:
            return True
        return entry.st_ino != Path(f"/proc/self/fd/{file.fileno()}").stat().st_ino or entry.st_size < file.tell()


def logs(state: State, service: str | None, member: str | None) -> None:
    """Print what is logged, until interrupted.

    Args:
        state: the stack's state folder.
        service: only this service; `lab` for all labs.
        member: only the lab of this member, and lines that name him.

    Raises:
        EmbeddedError: where there is no such log.
    """
    tails: dict[Path, Tail] = {}
    while True:
        for path in [*state.log.glob("*.log"), *state.log.glob("labs/*.log")]:
            tails.setdefault(path, Tail(path))
        chosen = [tail for tail in tails.values() if wanted(tail.path, service)]
        if not chosen:
            raise EmbeddedError(f"no log of {service or 'any service'} in {state.log}")
        width = max(len(tail.name) for tail in chosen)
        for tail in chosen:
            for line in tail.lines():
                if member is None or member in (tail.name, *line.replace('"', " ").split()):
                    sys.stdout.write(f"{tail.name:{width}}  {readable(line)}\n")
        sys.stdout.flush()
        time.sleep(PAUSE)


def wanted(path: Path, service: str | None) -> bool:
    """Whether a log is one of a service; a lab's is in a folder of its own."""
    return service in (None, "lab" if path.parent.name == "labs" else path.stem)
