"""A remote procedure call that asks an NFS server whether it answers at all."""

import asyncio
import contextlib
import os
import struct

NFS_PROGRAM = 100003
"""Program number of NFS (RFC 8881, section 2.6.3 names the versions)."""

LAST_FRAGMENT = 1 << 31
"""Bit of the record mark that TCP puts before a message (RFC 5531, section 11)."""

LONGEST_ANSWER = 1024
"""Bytes; the answer has 24 and, where a server gives one, a verifier of at most 400."""

CALL, REPLY = 0, 1
ACCEPTED, SUCCESS = 0, 0


async def answers(host: str, port: int, seconds: float) -> bool:
    """Call the procedure NULL of NFSv4 over TCP, which does nothing but answer (RFC 5531, section 12.1).

    Args:
        host: the server's address.
        port: its port.
        seconds: how long the answer may take.
    """
    call_id = os.urandom(4)
    # Version 2 of RPC, version 4 of NFS, procedure 0; credentials and verifier of the flavour none, both empty.
    call = call_id + struct.pack(">9I", CALL, 2, NFS_PROGRAM, 4, 0, 0, 0, 0, 0)
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(struct.pack(">I", LAST_FRAGMENT | len(call)) + call)
                (mark,) = struct.unpack(">I", await reader.readexactly(4))
                length = mark & ~LAST_FRAGMENT
                return length <= LONGEST_ANSWER and _is_success(call_id, await reader.readexactly(length))
            finally:
                writer.transport.abort()
    return False


def _is_success(call_id: bytes, answer: bytes) -> bool:
    """Tell whether an answer is to this call, and says that the procedure was executed (RFC 5531, section 9)."""
    with contextlib.suppress(struct.error):
        kind, state, _, verifier = struct.unpack_from(">4I", answer, 4)
        (outcome,) = struct.unpack_from(">I", answer, 20 + (verifier + 3) // 4 * 4)
        return answer[:4] == call_id and (kind, state, outcome) == (REPLY, ACCEPTED, SUCCESS)
    return False
