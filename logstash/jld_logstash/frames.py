"""Messages as AMQP 0-9-1 has them on the wire (sections 2.3.5 and 4.2): what differs between them is written by hand.

A message is three frames or more: the method, which is the same for all; the header; and the body, cut where it is
longer than a frame may be. pika makes an object of each and sends each alone, which is most of what a message costs.
"""

import struct

_METHOD, _HEADER, _BODY = 1, 2, 3
_END = b"\xce"
_OVERHEAD = 8
"""Bytes of a frame beside its payload."""

_BASIC, _PUBLISH = 60, 40
_MANDATORY = 1
_PROPERTIES = 0x8000 | 0x1000 | 0x0080 | 0x0040
"""Content type, delivery mode, message id, timestamp; they follow in this order."""

_PERSISTENT = b"\x02"

_FRAME = struct.Struct(">BHI")
_CONTENT = ">IHHQH"
_BEFORE_BODY = struct.Struct(">QBBHI")


class Form:
    """Writes the messages of one channel: persistent, mandatory, with an id and a time.

    Args:
        channel: the channel's number.
        exchange: where to publish.
        key: routing key.
        content_type: of the bodies.
        frame_max: bytes that a frame may have.
    """

    def __init__(self, channel: int, exchange: str, key: str, content_type: str, frame_max: int) -> None:
        method = b"%b%b%b%c" % (struct.pack(">HHH", _BASIC, _PUBLISH, 0), _short(exchange), _short(key), _MANDATORY)
        self._channel = channel
        self._begin = b"%b%b%b" % (
            _FRAME.pack(_METHOD, channel, len(method)),
            method,
            _END + struct.pack(">BH", _HEADER, channel),
        )
        self._properties = _short(content_type) + _PERSISTENT
        self._content = struct.Struct(f"{_CONTENT}{len(self._properties)}sB")
        self._header_size = self._content.size - 4 + 8
        self._most = frame_max - _OVERHEAD

    def write(self, into: list[bytes], identity: bytes, time: int, body: bytes) -> int:
        """Append the frames of a message, in pieces.

        Args:
            into: what to append to.
            identity: message id, at most 255 bytes.
            time: in Unix seconds.
            body: at least one byte.

        Returns:
            Their bytes.
        """
        size = len(body)
        first = min(size, self._most)
        length = self._header_size + len(identity)
        into += (
            self._begin,
            self._content.pack(length, _BASIC, 0, size, _PROPERTIES, self._properties, len(identity)),
            identity,
            _BEFORE_BODY.pack(time, 0xCE, _BODY, self._channel, first),
        )
        written = len(self._begin) + 4 + length + 1 + _OVERHEAD + size
        if size == first:
            into += (body, _END)
            return written
        into += (body[:first], _END)
        for begin in range(first, size, self._most):
            piece = body[begin : begin + self._most]
            into += (_FRAME.pack(_BODY, self._channel, len(piece)), piece, _END)
            written += _OVERHEAD
        return written


def _short(text: str) -> bytes:
    data = text.encode()
    return b"%c%b" % (len(data), data)
