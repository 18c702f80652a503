"""Where the proxy is: nginx asks once, at its start, and never again."""

import asyncio
import contextlib
import socket
import threading
from ipaddress import ip_address

LOOKUP_SECONDS = 5
"""How long an answer is waited for."""


class Upstream:
    """The proxy's addresses.

    Args:
        address: host and port, as in proxy:8000.
    """

    def __init__(self, address: str) -> None:
        host, _, self._port = address.rpartition(":")
        self._host = host.strip("[]")

    async def servers(self) -> tuple[str, ...]:
        """Look the name up, and give each address with the port; none when there is no answer.

        In a daemon thread: a name server that is away would otherwise hold up the end of the program.
        """
        with contextlib.suppress(ValueError):
            return (self._server(str(ip_address(self._host))),)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[set[str]] = loop.create_future()

        def hand_over(found: set[str]) -> None:
            if not answer.done():
                answer.set_result(found)

        def look_up() -> None:
            found: set[str] = set()
            with contextlib.suppress(OSError, UnicodeError):
                entries = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                found = {str(entry[4][0]) for entry in entries}
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(hand_over, found)

        threading.Thread(target=look_up, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKUP_SECONDS):
                return tuple(map(self._server, sorted(await answer)))
        return ()

    def _server(self, address: str) -> str:
        return f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}"
