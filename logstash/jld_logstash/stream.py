"""TLS on a socket that was accepted.

asyncio's own holds half a megabyte for each connection that has ever sent something, and copies what is sent four
times; here only what has not been asked for yet is held, and the kernel holds it.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Any

READ_SIZE = 2**16
"""Bytes that are taken from the kernel at a time."""

_RESET = struct.pack("ii", 1, 0)
"""Have no time to linger: the peer is told that the connection broke, and not that it ended (socket(7))."""


class Stream:
    """One connection, used by one loop.

    Args:
        connection: the socket, which does not block.
        context: for the server's side.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._turn = asyncio.Lock()
        """To send: what TLS has made first must leave first."""

    async def shake_hands(self) -> dict[str, Any]:
        """Begin, and give the certificate that the peer showed, as ssl.SSLSocket.getpeercert does.

        Raises:
            ssl.SSLError: the peer does not speak TLS, or shows no certificate of the authority.
            ConnectionError: the peer has gone.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise ConnectionResetError from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # it tells the peer why
                raise
            else:
                await self._flush()
                return self._tls.getpeercert() or {}

    async def read(self) -> bytes:
        """Give what has come, nothing at the end.

        Raises:
            OSError: the connection broke.
        """
        await asyncio.sleep(0)  # others may have something to read too
        while True:
            try:
                return self._tls.read(READ_SIZE)
            except ssl.SSLWantReadError:
                # Whoever stops the reading must not stop this in its middle.
                await asyncio.shield(self._flush())
                if not await self._fill():
                    return b""

    async def send(self, data: bytes) -> None:
        """Send something short, and wait until the kernel has it.

        Raises:
            OSError: the connection broke.
        """
        self._tls.write(data)
        await self._flush()

    async def close(self, seconds: float) -> None:
        """End the connection, and give the peer time to take what was sent.

        Args:
            seconds: how long to wait for the peer's end.
        """
        with contextlib.suppress(OSError):
            async with asyncio.timeout(seconds):
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
                await self._flush()
                self._socket.shutdown(socket.SHUT_WR)
                while await self._loop.sock_recv(self._socket, READ_SIZE):
                    pass
        self._socket.close()

    def abort(self) -> None:
        """Break the connection."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()

    async def _fill(self) -> bool:
        """Wait for more to come, and tell whether there is."""
        data = await self._loop.sock_recv(self._socket, READ_SIZE)
        self._incoming.write(data)
        return bool(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            async with self._turn:
                await self._loop.sock_sendall(self._socket, self._outgoing.read())
