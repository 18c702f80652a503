"""A shipper of the lumberjack protocol v2 that believes nothing."""

import json
import socket
import struct
import zlib
from collections.abc import Sequence


def window(count: int) -> bytes:
    """Write a window frame."""
    return b"2W" + struct.pack(">I", count)


def event(sequence: int, fields: object) -> bytes:
    """Write the frame of an event; bytes are taken as they are."""
    payload = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return b"2J" + struct.pack(">II", sequence, len(payload)) + payload


def compressed(frames: bytes) -> bytes:
    """Write a compressed frame around frames."""
    payload = zlib.compress(frames, 3)
    return b"2C" + struct.pack(">I", len(payload)) + payload


class Shipper:
    """A shipper that believes nothing: an acknowledgement that does not fit what it sent fails the test.

    Args:
        connection: the connection to the collector.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.keepalives = 0

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def ship(self, events: Sequence[object], first: int = 1, *, compress: bool = True) -> int:
        """Send a window and wait until it is acknowledged; give the number that was."""
        self.send_window(events, first, compress=compress)
        acknowledged = self.acknowledged()
        assert acknowledged == first + len(events) - 1
        return acknowledged

    def send_window(self, events: Sequence[object], first: int = 1, *, compress: bool = True) -> None:
        """Send a window, as Filebeat does."""
        frames = b"".join(event(first + number, fields) for number, fields in enumerate(events))
        self.send(window(len(events)) + (compressed(frames) if compress else frames))

    def acknowledged(self) -> int:
        """Wait for the next acknowledgement that is none of a keep-alive."""
        while not (number := self.frame()):
            self.keepalives += 1
        return number

    def frame(self) -> int:
        """Read one acknowledgement, 0 for a keep-alive."""
        data = b""
        while len(data) < 6:
            more = self.connection.recv(6 - len(data))
            if not more:
                raise ConnectionAbortedError(f"the collector closed the connection after {data!r}")
            data += more
        assert data[:2] == b"2A"
        return int(struct.unpack(">I", data[2:])[0])

    def is_closed(self) -> bool:
        """Tell whether the collector has closed the connection without another acknowledgement."""
        try:
            return not self.connection.recv(6)
        except ConnectionError:
            return True
