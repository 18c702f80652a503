"""What Ganesha writes, made fit for a log."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator

LEVELS = {
    "FATAL": logging.CRITICAL,
    "MAJ": logging.ERROR,
    "CRIT": logging.ERROR,
    "WARN": logging.WARNING,
    # Of a line that is written whatever the level; all of them tell how the levels were set.
    "NULL": logging.DEBUG,
}
"""Levels of Ganesha; those not here say what is normal."""

QUIET_SECONDS = 60
"""The same message is logged at most this often: a failing disk would bring one with each request."""

EXPECTED = {
    "Cannot register NFS V4 on TCP",
    "Missing RADOS URLs backend library",
    "Failed to set PR_SET_IO_FLUSHER due to EPERM, ignoring...",
}
"""Warnings of what is as it should be: no portmapper, no Ceph, no disk that is reached over the network."""

# Before Ganesha has read its configuration, date, time and the like stand before the thread's name.
_MESSAGE = re.compile(r"[^[]*\[\S+\] (?P<function>\w+) :(?P<component>[A-Z0-9_ ]+) :(?P<level>[A-Z_]+) :(?P<text>.*)")

_log = logging.getLogger(__name__)


class Messages:
    """Logs Ganesha's messages: as JSON, and not over and over."""

    def __init__(self) -> None:
        self._logged_at: dict[tuple[int, str], float] = {}

    async def log(self, output: asyncio.StreamReader) -> None:
        """Log the messages until Ganesha ends."""
        async for line in _lines(output):
            self.log_one(line.decode(errors="replace").rstrip("\n"))

    def log_one(self, line: str) -> None:
        """Log one message, unless the same was logged lately."""
        level, text, extra = parse(line)
        now = time.monotonic()
        self._logged_at = {key: at for key, at in self._logged_at.items() if now - at < QUIET_SECONDS}
        if (level, text) not in self._logged_at and text not in EXPECTED:
            self._logged_at[level, text] = now
            _log.log(level, "ganesha: %s", text, extra=extra)


def parse(line: str) -> tuple[int, str, dict[str, str]]:
    """Take a message apart.

    Args:
        line: one message as Ganesha writes it.

    Returns:
        Level, text, and Ganesha's function and component where it tells them.
    """
    match = _MESSAGE.fullmatch(line)
    if not match:
        return logging.INFO, line.strip(), {}
    extra = {"function": match["function"], "component": match["component"].strip()}
    return LEVELS.get(match["level"], logging.INFO), match["text"].strip(), extra


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Give the lines, but those beyond the reader's limit: no line is worth the end of the program."""
    is_rest = False
    while True:
        try:
            line = await reader.readuntil()
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(error.consumed)
            is_rest = True
            continue
        except asyncio.IncompleteReadError as error:
            line = error.partial
        if not line:
            return
        if not is_rest:
            yield line
        is_rest = False
