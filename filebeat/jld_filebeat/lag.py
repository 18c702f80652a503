"""How far behind the collector is, in bytes and in seconds, for each log."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from .file import File

STEPS = 32
"""Into how many the time that a file is behind is divided; up to twice as many sizes of it are remembered."""


class Lag(NamedTuple):
    """How far behind the collector is.

    Attributes:
        size: bytes that it does not have.
        seconds: age of the oldest of them, since they were noticed.
    """

    size: int
    seconds: float


class Lags:
    """Lags of all logs; a log is all files that were first seen at the same path."""

    def __init__(self) -> None:
        self._grown: dict[File, list[tuple[int, float]]] = {}
        """Sizes that files had, and since when they had more than the one before; none that the collector has."""

    def note(self, files: Iterable[File]) -> None:
        """Take note of how large files are now; called every now and then, which is how exact the seconds are."""
        now = time.monotonic()
        grown: dict[File, list[tuple[int, float]]] = {}
        for file in files:
            if file.size <= file.acknowledged:
                continue
            steps = [step for step in self._grown.get(file, ()) if step[0] > file.acknowledged]
            # The longer it is behind, the coarser: what comes soon behind a step counts as being as old.
            if steps and now - steps[-1][1] < (now - steps[0][1]) / STEPS:
                steps[-1] = file.size, steps[-1][1]
            elif not steps or steps[-1][0] < file.size:
                steps.append((file.size, now))
            grown[file] = steps if len(steps) <= 2 * STEPS else _thin(steps)
        self._grown = grown

    def tell(self, files: Iterable[File]) -> dict[str, Lag]:
        """Give the lag of each log that the collector does not have whole, by its path."""
        now = time.monotonic()
        lags: dict[str, Lag] = {}
        for file in files:
            size = file.size - file.acknowledged
            if size > 0:
                steps = self._grown.get(file, ())
                since = next((when for until, when in steps if until > file.acknowledged), now)
                before = lags.get(file.path, Lag(0, 0))
                lags[file.path] = Lag(before.size + size, max(before.seconds, now - since))
        return lags


def _thin(steps: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Make one step of the two that are closest to each other, as old as the older one."""
    at = min(range(len(steps) - 1), key=lambda at: steps[at + 1][1] - steps[at][1])
    return [*steps[:at], (steps[at + 1][0], steps[at][1]), *steps[at + 2 :]]
