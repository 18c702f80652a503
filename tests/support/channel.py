"""A websocket for tests that wait for one thing at a time.

websockets' own synchronous client reads and writes one TLS connection from two threads, which OpenSSL does not allow
and Python's ssl before 3.13 does not prevent: with TLS 1.3, one handshake in some hundred waited for ever here.
"""

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, Self, TypeVar

from websockets.asyncio.client import connect

T = TypeVar("T")

OPEN_SECONDS = 60
"""How long a server may take to open one."""


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Start the loop that all of them live in; it answers pings while the test does something else."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def _wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


class Channel:
    """A websocket.

    Args:
        url: Where it leads.
        headers: Sent with the handshake.
        tls: What is trusted, where the address is one with TLS.
    """

    def __init__(self, url: str, headers: dict[str, str], tls: ssl.SSLContext) -> None:
        async def open_it() -> Any:
            context = tls if url.startswith("wss:") else None
            return await connect(
                url,
                additional_headers=headers,
                ssl=context,
                proxy=None,
                open_timeout=OPEN_SECONDS,
                # Whoever does not read for a while is to lose nothing, and neither his connection.
                max_size=None,
                max_queue=None,
                ping_interval=None,
            )

        self._connection = _wait(open_it())

    def __enter__(self) -> Self:
        """Give it open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        _wait(self._connection.close())

    def send(self, message: str) -> None:
        """Send a text message."""
        _wait(self._connection.send(message))

    def receive(self, seconds: float) -> str | bytes:
        """Return the next message.

        Raises:
            TimeoutError: None came in that time.
        """

        async def next_one() -> str | bytes:
            async with asyncio.timeout(seconds):
                message: str | bytes = await self._connection.recv()
                return message

        return _wait(next_one())
