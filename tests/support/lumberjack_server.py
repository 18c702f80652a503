"""A collector with an independent and strict decoder of lumberjack, which answers as a test wants it to."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from jld_embedded.certificates import Authority

Answer = Callable[["Connection", int], None]
"""What is done about a window, given the number of its events."""


def acknowledge(connection: "Connection", count: int) -> None:
    """Acknowledge the whole window."""
    connection.ack(count)


class Connection:
    """One shipper's connection."""

    def __init__(self, stream: ssl.SSLSocket, pause: float) -> None:
        self._stream = stream
        self._pause = pause

    def ack(self, number: int) -> None:
        """Send an acknowledgement."""
        self._stream.sendall(b"2A" + struct.pack(">I", number))

    def send(self, content: bytes) -> None:
        """Send anything."""
        self._stream.sendall(content)

    def close(self) -> None:
        """End the connection at once."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def take(self, count: int) -> bytes:
        """Receive that many bytes.

        Raises:
            EOFError: the connection ends.
        """
        taken = b""
        while len(taken) < count:
            piece = self._stream.recv(count - len(taken))
            if not piece:
                raise EOFError
            taken += piece
            if self._pause:
                time.sleep(self._pause)
        return taken

    def windows(self) -> Iterator[list[bytes]]:
        """Give the payloads of each window; anything that Filebeat would not send is an error."""
        while True:
            head = self.take(2)
            assert head == b"2W", head
            (count,) = struct.unpack(">I", self.take(4))
            assert 0 < count <= 2048
            assert self.take(2) == b"2C"
            frames = zlib.decompress(self.take(struct.unpack(">I", self.take(4))[0]))
            payloads, end = [], 0
            for expected in range(1, count + 1):
                kind, number, length = struct.unpack_from(">2sII", frames, end)
                assert (kind, number) == (b"2J", expected)
                payloads.append(frames[end + 10 : end + 10 + length])
                end += 10 + length
            assert end == len(frames)
            yield payloads


class Collector:
    """A collector on a free port of the loopback; `events` has what arrived, acknowledged or not.

    Args:
        authority: who issued its certificate and those of its shippers.
        answer: what is done about a window.
        name: the name in its certificate.
    """

    def __init__(self, authority: Authority, answer: Answer = acknowledge, name: str = "collector") -> None:
        pair = authority.issue(name)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*pair)
        self._context.load_verify_locations(authority.certificate)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self.answer = answer
        self.pause = 0.0
        self.events: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.times: list[float] = []
        """When each event arrived, in seconds of the monotonic clock."""
        self.connections: list[Connection] = []
        self.errors: list[Exception] = []
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start()

    def _start(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self._context.wrap_socket(raw, server_side=True) as stream:
                connection = Connection(stream, self.pause)
                with self._changed:
                    self.connections.append(connection)
                    self._changed.notify_all()
                for payloads in connection.windows():
                    with self._changed:
                        self.events += [json.loads(payload) for payload in payloads]
                        self.sizes.append(len(payloads))
                        self.times += [time.monotonic()] * len(payloads)
                        self._changed.notify_all()
                    self.answer(connection, len(payloads))
        except (OSError, EOFError):
            raw.close()
        except Exception as error:  # noqa: BLE001 told when the test ends
            self.errors.append(error)
            raw.close()

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 10) -> None:
        """Wait until something is true of what arrived."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds} s: {what}; arrived: {self.messages()[-5:]}; {self.errors}"
                self._changed.wait(min(left, 0.05))

    def messages(self) -> list[str]:
        """List the messages in the order of their arrival."""
        return [event["message"] for event in self.events]

    def wait_for(self, *messages: str, seconds: float = 10) -> None:
        """Wait until these messages have arrived."""
        self.wait(lambda: set(messages) <= set(self.messages()), f"{messages} arrive", seconds)

    def be_slow(self, pause: float) -> None:
        """Have the way to new connections be slow.

        Args:
            pause: seconds after each 16 KiB.
        """
        self.pause = pause
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)

    def stop_listening(self) -> None:
        """Take no new connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def go_away(self) -> None:
        """End all connections and take no new ones."""
        self.stop_listening()
        for connection in self.connections:
            connection.close()

    def come_back(self, host: str = "127.0.0.1") -> None:
        """Listen at the same port again."""
        self._listener = socket.create_server((host, self.port))
        self._start()
