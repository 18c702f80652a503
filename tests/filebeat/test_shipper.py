"""The shipper as a whole, against a collector."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Soon = Callable[..., Any]


async def test_ships_a_line(shipping: Any, collector: Any, logs: Path, soon: Soon) -> None:
    """A line that is there and one that is appended arrive with all fields, the second within 0.2 s."""
    file = logs / "app.log"
    file.write_text("first\n")
    async with shipping():
        await soon("the first line", lambda: collector.messages() == ["first"])
        begin = time.monotonic()
        with file.open("a") as log:
            log.write("second\n")
        await soon("the second line", lambda: collector.messages() == ["first", "second"])
        assert time.monotonic() - begin < 0.2
    event = collector.events[1]
    identity, _, offset = event["event"]["id"].rpartition("-")
    assert (len(identity), offset) == (32, "6")
    assert event["event"]["id"] != collector.events[0]["event"]["id"]
    assert event["log"] == {"file": {"path": str(file)}, "offset": 6}
    assert event["shipper"] == "jupyterlabdemo"
    assert event["host"] == {"name": "node-1"}
    assert event["@metadata"] == {"beat": "filebeat", "version": "0.1.0", "type": "_doc"}
    assert "stream" not in event
    assert event["@timestamp"].endswith("Z")
