"""The call that asks an NFS server whether it answers."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from jld_fileserver import rpc

SECONDS = 0.3


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[int]:
    """Serve one answer to each call on a port; None stands for silence."""
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (mark,) = struct.unpack(">I", await reader.readexactly(4))
        assert mark >> 31, "the call is one fragment, and the last"
        call = await reader.readexactly(mark & 0x7FFFFFFF)
        if (sent := answer(call)) is not None:
            writer.write(struct.pack(">I", 1 << 31 | len(sent)) + sent)
        await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await left.wait()


def reply(call: bytes, *words: int) -> bytes:
    """Answer a call."""
    return call[:4] + struct.pack(f">{len(words)}I", *words)


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (lambda call: reply(call, 1, 0, 0, 0, 0), True),
        (lambda call: reply(call, 1, 0, 0, 3, 0, 0), True),  # a verifier of three bytes, padded
        (lambda call: reply(call, 1, 0, 0, 0, 2), False),  # the server has no such version
        (lambda call: reply(call, 1, 1, 0, 0, 0), False),  # denied
        (lambda call: b"else" + call[4:], False),
        (lambda call: reply(call, 1), False),
        (lambda _: b"", False),
        (lambda _: None, False),
    ],
)
async def test_answers(answer: Callable[[bytes], bytes | None], good: bool) -> None:
    """Only an answer to this very call that it was executed counts."""
    async with answering(answer) as port:
        assert await rpc.answers("127.0.0.1", port, SECONDS) is good


async def test_call() -> None:
    """The call is procedure 0 of NFS, program 100003, in version 4, without credentials."""
    calls: list[bytes] = []
    async with answering(calls.append) as port:
        await rpc.answers("127.0.0.1", port, SECONDS)
    assert struct.unpack(">9I", calls[0][4:]) == (0, 2, 100003, 4, 0, 0, 0, 0, 0)


async def test_nobody_listens(unused_port: int) -> None:
    """A server that is not there does not answer."""
    assert not await rpc.answers("127.0.0.1", unused_port, SECONDS)


@pytest.fixture
def unused_port() -> int:
    """Give a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
