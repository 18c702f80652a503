"""Shippers that send what they have made before: as little as can be of the machine goes into the load.

`load.py PORT CA CERTIFICATE KEY EVENTS` ships so many events, over two connections with four windows on their
way each, and ends when all are acknowledged.
"""

import json
import socket
import ssl
import struct
import sys
import threading
import zlib

SIZE = 256
"""Bytes of an event as the collector publishes it."""

WINDOW = 2048
CONNECTIONS = 2
ROUND = WINDOW * CONNECTIONS
"""Events are shipped in multiples of this."""

PIPELINED = 4
LEVEL = 3
"""Compression; all as Elastic's Filebeat has them by default, but for PIPELINED, which is 2 there."""

FRAME = 6
"""Bytes of an acknowledgement."""

DIFFERENT = 32
"""Windows that differ, which then come again."""


def event(number: int) -> bytes:
    """Make an event that has SIZE bytes once the collector has added the name of the certificate."""
    fields = {
        "@timestamp": "2026-01-01T00:00:00.000Z",
        "message": "",
        "stream": "stdout",
        "event": {"id": f"0123456789abcdef-{number:012d}"},
        "shipper": "bench",
    }
    dropped = {"@metadata": {"beat": "filebeat", "version": "0.1.0", "type": "_doc"}}
    short = json.dumps(fields, separators=(",", ":"))
    text = f"GET /hub/api/{number:09d} 200 {number * 7919 % 99991} ms "
    room = SIZE - len('"shipper_certificate":"filebeat",') - len(short)
    fields["message"] = (text * 4)[:room]
    return json.dumps(fields | dropped, separators=(",", ":")).encode()


def window(first: int) -> bytes:
    """Make a window of events, compressed."""
    frames = b"".join(
        b"2J" + struct.pack(">II", number + 1, len(payload)) + payload
        for number, payload in enumerate(event(first + index) for index in range(WINDOW))
    )
    content = zlib.compress(frames, LEVEL)
    return b"2W" + struct.pack(">I", WINDOW) + b"2C" + struct.pack(">I", len(content)) + content


class Shipper(threading.Thread):
    """One connection.

    Args:
        connection: the connection.
        windows: what to send, over and over.
        count: how many windows to send.
    """

    def __init__(self, connection: ssl.SSLSocket, windows: list[bytes], count: int) -> None:
        super().__init__()
        self._connection = connection
        self._windows = windows
        self._count = count

    def run(self) -> None:
        """Send."""
        sent = acknowledged = 0
        received = self._connection.makefile("rb")
        while acknowledged < self._count:
            while sent < self._count and sent - acknowledged < PIPELINED:
                self._connection.sendall(self._windows[sent % len(self._windows)])
                sent += 1
            frame = received.read(FRAME)
            if len(frame) < FRAME:
                raise ConnectionError("the collector closed the connection")
            acknowledged += struct.unpack(">I", frame[2:])[0] == WINDOW


def main() -> None:
    """Send as the arguments say; the line `begins` is printed when the first event leaves."""
    port, authority, certificate, key, events = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    windows = [window(number * WINDOW) for number in range(DIFFERENT)]
    connections = [
        context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname="localhost")
        for _ in range(CONNECTIONS)
    ]
    each = int(events) // WINDOW // CONNECTIONS
    shippers = [Shipper(connection, windows, each) for connection in connections]
    print("begins", flush=True)
    for shipper in shippers:
        shipper.start()
    for shipper in shippers:
        shipper.join()


if __name__ == "__main__":
    main()
