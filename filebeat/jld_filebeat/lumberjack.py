"""Version 2 of the Beats protocol, the sender's side (go-lumber, `protocol/v2` and `client/v2`).

Numbers are 32 bits, the highest first. Each frame begins with `2` and its type: `2W` count, `2J` sequence length JSON,
`2C` length zlib-of-frames, and from the receiver `2A` sequence.
"""

import itertools
import struct
from collections import deque
from collections.abc import Sequence

from isal import isal_zlib

from .batch import Batch
from .errors import CollectorError

COMPRESSION = 1
"""Of ISA-L's levels, 0 to 3."""

ACK_BYTES = 6
"""Length of an acknowledgement."""

_WINDOW = struct.Struct(">2sI")
_JSON = struct.Struct(">2sII")
_COMPRESSED = struct.Struct(">2sI")
_ACK = struct.Struct(">2sI")


def encode(events: Sequence[bytes]) -> bytes:
    """Give a window with its events, numbered from 1, in one compressed frame."""
    heads = map(_JSON.pack, itertools.repeat(b"2J"), itertools.count(1), map(len, events))
    frames = b"".join(itertools.chain.from_iterable(zip(heads, events, strict=False)))
    compressed = isal_zlib.compress(frames, COMPRESSION)
    return b"".join((_WINDOW.pack(b"2W", len(events)), _COMPRESSED.pack(b"2C", len(compressed)), compressed))


def decode_ack(frame: bytes) -> int:
    """Give the number that an acknowledgement carries.

    Raises:
        CollectorError: it is none.
    """
    kind, number = _ACK.unpack(frame)
    if kind != b"2A":
        raise CollectorError(f"sent {kind!r} for an acknowledgement")
    return int(number)


class Windows:
    """Windows that were sent and not acknowledged, in order.

    A window is a batch without those of its events that were acknowledged on an earlier connection.
    """

    def __init__(self) -> None:
        self._sent: deque[tuple[Batch, int]] = deque()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sent)

    def send(self, batch: Batch) -> Sequence[bytes]:
        """Note that what is left of a batch is sent, and give it."""
        self._sent.append((batch, batch.acknowledged))
        return batch.events[batch.acknowledged :]

    def acknowledge(self, number: int) -> int:
        """Take an acknowledgement, which counts within the oldest window.

        Returns:
            How many events it newly acknowledged: 0 for the receiver's sign that it is still at work.

        Raises:
            CollectorError: it acknowledges what was not sent.
        """
        if number == 0:
            return 0
        if not self._sent:
            raise CollectorError(f"acknowledged {number} of nothing")
        batch, before = self._sent[0]
        if before + number > len(batch.events):
            raise CollectorError(f"acknowledged {number} of {len(batch.events) - before}")
        new = before + number - batch.acknowledged
        if new <= 0:
            return 0
        batch.acknowledge(before + number)
        if batch.is_acknowledged:
            self._sent.popleft()
        return new

    def take_back(self) -> list[Batch]:
        """Give the batches that have to be sent again, and forget them here."""
        batches = [batch for batch, _ in self._sent]
        self._sent.clear()
        return batches
