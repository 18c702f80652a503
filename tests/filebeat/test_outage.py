"""What the shipper does as a process while nobody takes what it has: it keeps files, and little memory."""

import re
from pathlib import Path
from typing import Any

import pytest

LINES = 40_000
"""Of 256 bytes: several times what is read ahead."""

LONG = 9 * 2**20
"""Bytes of a long line."""

MIB_FOR_LONG_LINES = 200
"""Four windows and what is read, each with such a line, beside the base of 55 MB; a container has 256."""


@pytest.fixture
def away(collector: Any) -> Any:
    """Give a collector that does not answer yet."""
    collector.stop_listening()
    return collector


def test_removed_unread(launch: Any, logs: Path, away: Any, environment: dict[str, str]) -> None:
    """A file that was removed while the collector was away is read to its end, of which nothing was read before."""
    log = logs / "app.log"
    with log.open("w") as writer:
        writer.write("".join(f"{number:<255}\n" for number in range(LINES)))
        writer.flush()
        program = launch()
        descriptors = Path(f"/proc/{program.process.pid}/fd")
        registry = Path(environment["FILEBEAT_STATE_DIR"], "registry.json")
        away.wait(lambda: any(_target(link) == str(log) for link in descriptors.iterdir()), "the log is open")
        away.wait(lambda: registry.exists() and "offset" in registry.read_text(), "it is registered")
        log.unlink()
        writer.write("the last line\n")
    away.come_back()
    away.wait(lambda: len(away.events) > LINES, "all lines", 30)
    assert [message.strip() for message in away.messages()] == [*map(str, range(LINES)), "the last line"]


def test_memory_of_long_lines(launch: Any, logs: Path, away: Any) -> None:
    """Long lines that wait for the collector take a bounded share of memory, however many there are."""
    with (logs / "app.log").open("w") as log:
        for number in range(20):
            log.write(f"{number} {'x' * LONG}\n")
    program = launch()
    away.come_back()
    away.wait(lambda: len(away.events) == 20, "all lines", 60)
    assert [message.partition(" ")[0] for message in away.messages()] == [str(number) for number in range(20)]
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index] # the kernel writes it
    assert peak < MIB_FOR_LONG_LINES * 1024


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""
