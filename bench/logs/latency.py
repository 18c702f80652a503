"""How long lines take from a file to a consumer: they have the time in them at which they were written."""

import json
import statistics
import sys
from pathlib import Path
from typing import Self

from measured import Command, Program, until

RATE = 1000
"""Lines a second."""

WARM_SECONDS = 2
"""At the beginning, whose lines count for nothing: readers that wait longer the less they find get into their pace."""

FIRST = -1
"""Number of the line that is there before."""

COLUMNS = {
    "median": ("median ms", ",.1f"),
    "p99": ("p99 ms", ",.1f"),
    "most": ("longest ms", ",.1f"),
    "cpu_percent": ("% of a core", ".1f"),
}

HERE = Path(__file__).parent


def text(number: int, moment: int, size: int) -> bytes:
    """Write a line as a kubelet's runtime does.

    Args:
        number: its own.
        moment: in nanoseconds.
        size: bytes of it.
    """
    line = f"2026-01-02T03:04:05.000000000Z stdout F written={moment} number={number} "
    return line.encode().ljust(size - 1, b"x") + b"\n"


def write_first(file: Path) -> None:
    """Write a line whose arrival tells that a chain is there."""
    file.write_bytes(text(FIRST, 0, 100))


class Consumer:
    """Reads the queue.

    Args:
        folder: for what is printed.
        port: the broker's.
        seconds: for how long lines count.
    """

    def __init__(self, folder: Path, port: int, seconds: int) -> None:
        self._folder = folder
        self._count = (WARM_SECONDS + seconds) * RATE
        words: list[str | Path] = [sys.executable, HERE / "line_reader.py", str(port), str(self._count)]
        self._program = Program(Command(words), folder / "reader")

    def __enter__(self) -> Self:
        """Give it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._program.__exit__()

    def wait_for_first(self, *programs: Program) -> None:
        """Wait until the first line has come; none of the programs may fail meanwhile."""
        until("the first line comes", lambda: self._program.line(0), self._program, *programs)

    def measure(self, file: Path, size: int, *programs: Program) -> dict[str, float]:
        """Write lines, and wait for all of them.

        Args:
            file: where to.
            size: bytes of each.
            programs: those between, none of which may fail.

        Returns:
            Median, 99th percentile and the longest time of all, in milliseconds.
        """
        words: list[str | Path] = [
            sys.executable,
            HERE / "line_writer.py",
            file,
            str(self._count),
            str(RATE),
            str(size),
        ]
        with Program(Command(words), self._folder / "writer") as writer:
            until("all have come", self._program.finished, writer, *programs, seconds=2 * self._count / RATE + 60)
        found = {int(number): nanoseconds / 1e6 for number, nanoseconds in json.loads(self._program.line(1)).items()}
        times = [found[number] for number in range(WARM_SECONDS * RATE, self._count)]
        return {"median": statistics.median(times), "p99": statistics.quantiles(times, n=100)[98], "most": max(times)}
