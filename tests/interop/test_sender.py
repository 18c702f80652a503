"""The client of Elastic's go-lumber, which has several windows on their way, ships to our collector."""

import json
import subprocess
from typing import Any

import pytest

from dev import peers

pytestmark = pytest.mark.elastic


@pytest.mark.parametrize(
    ("window", "windows", "level"), [(100, 5, 3), (1, 50, 0), (7, 1, 9), (2000, 3, 1)], ids=lambda value: f"{value}"
)
def test_windows(ends: Any, window: int, windows: int, level: int) -> None:
    """Windows on their way at the same time are each acknowledged as a whole, and their events arrive in order."""
    texts = [f"event {number} \0 \N{ROCKET} {'x' * (number % 1000)}" for number in range(2003)]
    collector = ends.collector()
    collector.start()
    command = [
        *(peers.sender(), *ends.identity("sender").options(), "-to", f"localhost:{collector.port}"),
        *("-window", window, "-windows", windows, "-level", level),
    ]
    lines = "".join(f"{json.dumps({'message': text, '@metadata': {}})}\n" for text in texts)
    done = subprocess.run(list(map(str, command)), input=lines, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert collector.metric("logstash_events_acknowledged_total") == len(texts)
    collector.take(len(texts))
    assert collector.messages() == texts
    assert {event["shipper_certificate"] for event in collector.events()} == {"sender"}
