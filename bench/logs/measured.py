"""Programs under measurement: what they take, and their end, whatever happens."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

Found = TypeVar("Found")

TICKS = os.sysconf("SC_CLK_TCK")

STALL_SECONDS = 60
"""Without progress for so long, nothing more is waited for."""


class Usage(NamedTuple):
    """What programs took so far: seconds of CPU, and the most memory of each in MB, added up."""

    cpu: float
    memory: float


def usage(pids: Iterable[int]) -> Usage:
    """Ask the kernel about processes and all that they started.

    A process's peak in wait4(2) would begin with the size of the one that started it; VmHWM does not.
    """
    cpu = memory = 0.0
    for pid in pids:
        for process in _family(pid):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) / TICKS
            peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
            memory += int(peak[1]) / 1000 if peak else 0
    return Usage(cpu, memory)


def _family(pid: int) -> Iterator[Path]:
    process = Path(f"/proc/{pid}")
    yield process
    for task in (process / "task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(OSError):  # it may have ended
                yield from _family(int(child))


class Command(NamedTuple):
    """A program with its arguments, and its variables beside PATH."""

    words: Sequence[str | Path]
    environment: Mapping[str, str] = {}


class Program:
    """A program that runs until the end of a `with`, or until it ends itself.

    Args:
        command: what to run.
        folder: for what it prints; made if missing.
        core: the only one that it may use; all when None.
        stdin: as for subprocess.Popen.
        stdout: likewise; what it prints is kept when None.
    """

    def __init__(
        self,
        command: Command,
        folder: Path,
        *,
        core: int | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.output, self._errors = folder / "output", folder / "errors"
        pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
        self._words = [*pinned, *map(str, command.words)]
        with self.output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                self._words,
                env={"PATH": os.environ["PATH"], **command.environment},
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        """Give it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it; what it would write to its files at a gentler end nobody reads."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def lines(self) -> list[str]:
        """Give the whole lines that it printed."""
        return [line for line in self.output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def line(self, number: int) -> str:
        """Give a line that it printed, counted from 0; empty while it is not there."""
        found = self.lines()
        return found[number] if number < len(found) else ""

    def finished(self) -> bool:
        """Tell whether it has ended well.

        Raises:
            RuntimeError: when it ended otherwise.
        """
        if self._process.poll():
            said = self.output.read_text()[-1000:] + self._errors.read_text()[-1000:]
            raise RuntimeError(f"{self._words} ended with {self._process.returncode}: {said}")
        return self._process.returncode == 0


def until(what: str, ready: Callable[[], Found], *programs: Program, seconds: float = 60) -> Found:
    """Wait until something is true, and give it.

    Args:
        what: what is waited for.
        ready: gives it, or something false.
        programs: none of them may fail meanwhile.
        seconds: for how long at most.

    Raises:
        TimeoutError: when it does not come.
        RuntimeError: when a program failed.
    """
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        for program in programs:
            program.finished()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.005)
    return found


def all_there(count: Callable[[], float], wanted: float, *programs: Program) -> None:
    """Wait until a count has come to what is wanted; it is asked seldom until shortly before, because asking costs.

    Raises:
        TimeoutError: when it grows no more.
        RuntimeError: when a program failed.
    """
    begin = changed = time.monotonic()
    first = before = count()
    while (now := count()) < wanted:
        for program in programs:
            program.finished()
        moment = time.monotonic()
        if now > before:
            before, changed = now, moment
        elif moment > changed + STALL_SECONDS:
            raise TimeoutError(f"{now:,.0f} of {wanted:,.0f} came, and no more for {STALL_SECONDS} s")
        left = (wanted - now) * (moment - begin) / (now - first) if now > first else 0
        time.sleep(min(max(left / 2, 0.005), 0.5))


def say(text: str) -> None:
    """Tell of progress."""
    print(text, file=sys.stderr, flush=True)
