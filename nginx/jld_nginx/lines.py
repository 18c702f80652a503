"""What nginx writes: its access log is passed on, its messages are made fit for a log."""

import asyncio
import logging
import re
import sys
import time
from collections.abc import AsyncIterator

LEVELS = {
    "emerg": logging.CRITICAL,
    "alert": logging.CRITICAL,
    # What a client does to the handshake counts as `crit` to nginx: no reason to wake anybody.
    "crit": logging.ERROR,
    "error": logging.ERROR,
    "warn": logging.WARNING,
}
"""Levels of nginx; those not here say what is normal."""

QUIET_SECONDS = 60
"""The same message is logged at most this often: a proxy that is away would bring one with each request."""

_MESSAGE = re.compile(
    r"""
    (?:\d{4}/\d\d/\d\d\ \d\d:\d\d:\d\d|nginx:)\ \[(?P<level>\w+)\]\   # before it has a log, nginx names itself
    (?:\d+\#\d+:\ )?(?:\*\d+\ )?                                      # process, thread, connection
    (?P<text>.*?)
    (?:,\ client:\ (?P<client>[^,\s]+)(?P<details>.*))?
    """,
    re.VERBOSE | re.DOTALL,
)

_REQUEST = re.compile(r', request: "(?P<method>[A-Z]+) (?P<path>[^\s?#"]*)')

_log = logging.getLogger(__name__)


async def pass_on(access: asyncio.StreamReader) -> None:
    """Write the lines of the access log, which are JSON already, to standard output until nginx ends."""
    async for line in _lines(access):
        # Bytes of a path that are no UTF-8 would make the line no JSON.
        sys.stdout.write(line.decode(errors="replace"))
        sys.stdout.flush()


class Messages:
    """Logs nginx's messages: as JSON, not over and over, and without what a log must not hold."""

    def __init__(self) -> None:
        self._logged_at: dict[tuple[str, str], float] = {}

    async def log(self, errors: asyncio.StreamReader) -> None:
        """Log the messages until nginx ends."""
        async for line in _lines(errors):
            self.log_one(line.decode(errors="replace").rstrip("\n"))

    def log_one(self, line: str) -> None:
        """Log one message, unless the same was logged lately."""
        level, text, extra = parse(line)
        now = time.monotonic()
        self._logged_at = {key: at for key, at in self._logged_at.items() if now - at < QUIET_SECONDS}
        if (level, text) not in self._logged_at:
            self._logged_at[level, text] = now
            _log.log(LEVELS.get(level, logging.INFO), "nginx: %s", text, extra=extra)


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


def parse(line: str) -> tuple[str, str, dict[str, str]]:
    """Take a message apart, and leave out what could be secret.

    A message about a request ends with the request line, the address at the proxy and the Referer, each with its
    query: codes and tokens travel there. Of these only method and path are kept. Such a message may also quote
    what the client or the proxy sent; the quotation is left out.

    Args:
        line: one message as nginx writes it, at most 2048 bytes of it.

    Returns:
        Level, text, and client, method and path where there are any.
    """
    match = _MESSAGE.fullmatch(line)
    if not match:
        return "notice", _without_query(line), {}
    text = match["text"]
    if not match["client"]:
        return match["level"], _without_query(text), {}
    request = _REQUEST.match(match["details"][match["details"].find(", request: ") :])
    return (
        match["level"],
        re.sub(r'"[^"]*("|$)', '"…"', text),
        {"client": match["client"], **(request.groupdict() if request else {})},
    )


def _without_query(text: str) -> str:
    return re.sub(r"\?\S*", "?…", text)
