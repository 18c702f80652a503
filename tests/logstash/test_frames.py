"""Messages on the wire: what is written by hand is what pika would write."""

import pika
import pika.frame
import pika.spec
import pytest
from jld_logstash.frames import Form


@pytest.mark.parametrize(
    ("size", "frame_max"),
    [(1, 131_072), (300, 131_072), (131_064, 131_072), (131_065, 131_072), (9000, 4096), (8176, 4096)],
)
@pytest.mark.parametrize("identity", ["", "id-1", "x" * 255])
def test_as_pika(size: int, frame_max: int, identity: str) -> None:
    """The frames of a message are byte for byte those of pika, and their size is told, however long the body."""
    body = b"x" * size
    properties = pika.BasicProperties(
        content_type="application/json", delivery_mode=2, message_id=identity, timestamp=1_700_000_000
    )
    publish = pika.spec.Basic.Publish(exchange="logs", routing_key="über.all", mandatory=True)
    frames = [pika.frame.Method(3, publish), pika.frame.Header(3, size, properties)]
    frames += [pika.frame.Body(3, body[begin : begin + frame_max - 8]) for begin in range(0, size, frame_max - 8)]
    pieces: list[bytes] = []
    form = Form(3, "logs", "über.all", "application/json", frame_max)
    written = form.write(pieces, identity.encode(), 1_700_000_000, body)
    assert b"".join(pieces) == b"".join(frame.marshal() for frame in frames)
    assert written == len(b"".join(pieces))
