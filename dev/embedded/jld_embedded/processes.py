"""Processes as the kernel lists them: who belongs to a stack, and how to end them."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import EmbeddedError
from .service import MARKER

PROC = Path("/proc")

PATIENCE = 10.0
"""Seconds from asking a process to end to killing it; supervisord gives its programs 7 of them."""


@dataclass(frozen=True)
class Process:
    """A process; its id together with its start (in clock ticks since boot) is never used again."""

    pid: int
    start: int
    parent: int = field(compare=False)


def snapshot() -> dict[int, Process]:
    """List what runs now, by id; what has ended but was not reaped yet is left out (proc_pid_stat(5))."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (process := look(int(entry.name))):
            found[process.pid] = process
    return found


def look(pid: int) -> Process | None:
    """Look at one process; None when it does not run."""
    try:
        # The name, in parentheses, may itself hold spaces and parentheses.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else Process(pid, int(fields[19]), int(fields[1]))


def environment(pid: int) -> dict[str, str]:
    """Read the variables that a process was started with; nothing where that is not ours to see."""
    try:
        text = (PROC / str(pid) / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def marked(state: Path, table: dict[int, Process]) -> set[Process]:
    """Find the processes that carry a stack's mark."""
    return {process for process in table.values() if environment(process.pid).get(MARKER) == str(state)}


def descendants(of: Iterable[Process], table: dict[int, Process]) -> set[Process]:
    """Find the processes below some."""
    below: dict[int, list[Process]] = {}
    for process in table.values():
        below.setdefault(process.parent, []).append(process)
    found: set[Process] = set()
    waiting = [process.pid for process in of]
    while waiting:
        children = set(below.get(waiting.pop(), ())) - found
        found |= children
        waiting += [child.pid for child in children]
    return found


def members(state: Path) -> set[int]:
    """List the ids of the processes of a stack: those with its mark, and those below, who may have dropped it."""
    table = snapshot()
    roots = marked(state, table)
    return {process.pid for process in roots | descendants(roots, table)}


def callers(table: dict[int, Process]) -> set[Process]:
    """Find this process and those above it, which must see the end of it."""
    found: set[Process] = set()
    pid = os.getpid()
    while (process := table.get(pid)) and process not in found:
        found.add(process)
        pid = process.parent
    return found


@contextlib.contextmanager
def held(process: Process) -> Iterator[int | None]:
    """Hold a process by a descriptor (pidfd_open(2)), so that its id cannot become another's meanwhile."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        now = look(process.pid)
        yield descriptor if now and now.start == process.start else None
    finally:
        os.close(descriptor)


def end(state: Path, patience: float = PATIENCE, wake: Callable[[], None] = lambda: None) -> int:
    """End all processes of a stack: those with its mark (supervisord is one) and all below them.

    Those without a parent in the stack are asked first (SIGTERM): they know best how to end their own children.
    What is left when they are gone is asked next, and what does not end in time is killed.

    Args:
        state: the stack's state folder.
        patience: seconds from asking a process to killing it.
        wake: called while waiting, for a process that is slow to notice signals.

    Returns:
        How many processes there were.

    Raises:
        EmbeddedError: when one survives even that.
    """
    known: set[Process] = set()
    asked: dict[Process, float] = {}
    while True:
        table = snapshot()
        running = set(table.values())
        alive = (known & running) | marked(state, table)
        alive = (alive | descendants(alive, table)) - callers(table)
        known |= alive
        if not alive:
            return len(known)
        pids = {process.pid for process in alive}
        for process in (process for process in running & alive if process.parent not in pids):
            waited = time.monotonic() - asked[process] if process in asked else None
            if waited is None:
                asked[process] = time.monotonic()
                send(process, signal.SIGTERM)
            elif waited > 2 * patience:
                raise EmbeddedError(f"process {process.pid} does not end, not even by SIGKILL: see ps -o stat,wchan")
            elif waited > patience:
                send(process, signal.SIGKILL)
        wake()
        await_one(alive)


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process, and to no other that has its id by now."""
    with held(process) as descriptor, contextlib.suppress(ProcessLookupError):
        if descriptor is not None:
            signal.pidfd_send_signal(descriptor, number)


def await_one(processes: Iterable[Process], seconds: float = 0.1) -> None:
    """Wait until one of some processes has ended, or a while has passed in which new ones may have come."""
    with contextlib.ExitStack() as stack:
        poll = select.poll()
        for process in processes:
            descriptor = stack.enter_context(held(process))
            if descriptor is None:
                return
            poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)
