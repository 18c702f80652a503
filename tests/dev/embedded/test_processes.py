"""Processes: all of a stack end, and no other."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jld_embedded.processes import end, marked, snapshot

BUSY = "import os, signal, sys; {before}; print(os.getpid(), flush=True); signal.pause()"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"

Start = Callable[..., list[int]]


@pytest.fixture
def state() -> Path:
    """Name a state that no other process carries."""
    return Path(f"/no/{uuid.uuid4()}")


@pytest.fixture
def start(state: Path) -> Iterator[Start]:
    """Start a program with the stack's mark, which prints the ids of some processes; end these after the test."""
    processes: list[subprocess.Popen[str]] = []
    pids: list[int] = []

    def run(code: str, count: int = 1, *, mark: bool = True) -> list[int]:
        environment = {"PATH": os.environ["PATH"]} | ({"JLD_STATE": str(state)} if mark else {})
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout
        found = [int(process.stdout.readline()) for _ in range(count)]
        pids.extend(found)
        return found

    yield run
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for process in processes:
        process.communicate()


def ended(*pids: int) -> bool:
    """Whether none of some processes runs; the test's own children may be waiting to be reaped."""
    return not set(pids) & set(snapshot())


def test_tree_ends_and_nothing_else(start: Start, state: Path) -> None:
    """A process with the mark ends together with its children; one with another mark, or none, goes on."""
    child = BUSY.format(before="pass")
    tree = start(
        f"import os, signal, subprocess, sys; print(os.getpid(), flush=True);"
        f"subprocess.Popen([sys.executable, '-c', {child!r}]); signal.pause()",
        2,
    )
    (other,) = start(BUSY.format(before="pass"), mark=False)
    assert end(state, patience=5) >= 2
    assert ended(*tree)
    assert not ended(other)


def test_deaf_process_is_killed(start: Start, state: Path) -> None:
    """A process that ignores SIGTERM is killed when its time is over, and not before."""
    pids = start(BUSY.format(before=DEAF))
    begun = time.monotonic()
    end(state, patience=0.5)
    assert 0.5 <= time.monotonic() - begun < 3
    assert ended(*pids)


def test_double_forked_process_is_found(start: Start, state: Path) -> None:
    """A daemon that has left its parents and its session is found by its mark."""
    code = (
        "import os, signal\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "print(os.getpid(), flush=True)\n"
        "signal.pause()"
    )
    (pid,) = start(code)
    assert pid in {process.pid for process in marked(state, snapshot())}
    end(state, patience=5)
    assert ended(pid)


def test_child_without_the_mark_is_found(start: Start, state: Path) -> None:
    """A child with an environment of its own ends too, as it is below a process with the mark."""
    code = (
        "import os, signal, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {BUSY.format(before=DEAF)!r}], env={{}}, start_new_session=True)\n"
        "signal.pause()"
    )
    (pid,) = start(code)
    end(state, patience=0.5)
    assert ended(pid)


def test_parents_are_asked_first(start: Start, state: Path, tmp_path: Path) -> None:
    """A child is left to its parent, which knows best how to end it."""
    report = tmp_path / "report"
    child = BUSY.format(before="signal.signal(signal.SIGTERM, lambda *_: sys.exit('asked directly'))")
    code = (
        "import signal, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "def stop(*_):\n"
        "    child.kill()\n"
        f"    open({str(report)!r}, 'w').write(str(child.wait()))\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "while True: signal.pause()"
    )
    start(code)
    end(state, patience=5)
    assert report.read_text() == str(-signal.SIGKILL)


def test_caller_is_spared(state: Path) -> None:
    """Whoever asks is not ended, though it carries the mark itself, as a member's terminal does."""
    code = f"from pathlib import Path; from jld_embedded.processes import end; print(end(Path({str(state)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JLD_STATE": str(state)},
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert done.stdout == "0\n"


def test_nothing_to_end(state: Path) -> None:
    """Where nothing runs, nothing is ended, at once."""
    begun = time.monotonic()
    assert end(state) == 0
    assert time.monotonic() - begun < 1


def test_newcomer_is_ended_too(start: Start, state: Path) -> None:
    """A process that another one starts while it is asked to end is found as well."""
    child = BUSY.format(before="pass")
    code = (
        "import os, signal, subprocess, sys\n"
        "def stop(*_):\n"
        f"    subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print(os.getpid(), flush=True)\n"
        "while True: signal.pause()"
    )
    start(code)
    assert end(state, patience=5) >= 2
    assert not marked(state, snapshot())


def test_wait_needs_no_sleep(start: Start, state: Path) -> None:
    """A process that ends at once is waited for no longer than it takes."""
    (pid,) = start(BUSY.format(before="pass"))
    descriptor = os.pidfd_open(pid)
    begun = time.monotonic()
    end(state)
    assert time.monotonic() - begun < 0.5
    assert select.select([descriptor], [], [], 0)[0]
    os.close(descriptor)
