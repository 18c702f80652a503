"""Events as JSON: what is alike in all of a file is made once."""

import importlib.metadata

import orjson

from .file import File, text_of
from .inputs import describe
from .parse import STREAMS

JSON = 12 * 2**20
"""Bytes after which a message is cut as JSON, where escapes can make it six times as long: RabbitMQ takes messages of
16 MiB, and an event that nobody takes would be sent for ever."""

PIECE = 2**16
"""Characters of a long message that are made JSON at a time."""

_BEAT = {"beat": "filebeat", "version": importlib.metadata.version("jld-filebeat"), "type": "_doc"}
"""What Elastic's Logstash keys on."""


class Form:
    """What is alike in all events of a file, as JSON.

    Args:
        file: the file.
        shipper: name of this log.
        node: name of the node.

    Attributes:
        usual: for each stream, and for none, what an event without flags is filled into: time, message as JSON, offset
            and offset.
    """

    def __init__(self, file: File, shipper: str, node: str) -> None:
        constant = {
            "shipper": shipper,
            **describe(text_of(file.path), file.format, node),
            "@metadata": _BEAT,
        }
        self._file = orjson.dumps(file.describe()).replace(b"%", b"%%")
        self._id = file.id.encode()
        self._constant = orjson.dumps(constant)[1:].replace(b"%", b"%%")
        self.usual = {stream: self._fill(stream) for stream in (*STREAMS, b"")}

    def _fill(self, stream: bytes, flags: tuple[str, ...] = ()) -> bytes:
        return b'{"@timestamp":"%%b","message":%%b%b,"log":{"file":%b,"offset":%%d%b},"event":{"id":"%b-%%d"},%b' % (
            b',"stream":"%b"' % stream if stream else b"",
            self._file,
            b',"flags":' + orjson.dumps(flags) if flags else b"",
            self._id,
            self._constant,
        )

    def event(self, offset: int, time: bytes, text: bytes, stream: bytes = b"", flags: tuple[str, ...] = ()) -> bytes:
        """Give an event as JSON.

        Args:
            offset: of the line's first byte in the file.
            time: of the line, ISO 8601 in UTC.
            text: the message; what is not UTF-8 in it is replaced.
            stream: stdout, stderr or nothing.
            flags: what is out of the ordinary about it.
        """
        message, is_cut = _to_json(text.decode(errors="replace"))
        if is_cut and "truncated" not in flags:
            flags = ("truncated", *flags)
        filled = self._fill(stream, flags) if flags else self.usual[stream]
        return filled % (time, message, offset, offset)


def _to_json(text: str) -> tuple[bytes, bool]:
    """Give a message as JSON, and whether it had to be cut."""
    if len(text) <= JSON // 6:
        return orjson.dumps(text), False
    pieces, size = [], 0
    for begin in range(0, len(text), PIECE):
        piece = orjson.dumps(text[begin : begin + PIECE])[1:-1]
        size += len(piece)
        if size > JSON:
            break
        pieces.append(piece)
    return b'"%b"' % b"".join(pieces), size > JSON
