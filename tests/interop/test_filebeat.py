"""Elastic's Filebeat 7.17 ships to our collector: contents, settings of its output, refusals."""

import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from stack import until

from dev.configuration import ROOT

pytestmark = pytest.mark.elastic

Plain = Callable[..., list[dict[str, Any]]]

ODD = [
    'said "hi" \\ and\ttab',
    "é ü 日本語 🚀 \u2028 \ufeff",
    "<a href='x'>&amp;</a>",
    "before\0after",
    "\x1b[31mred\x1b[0m\x7f\x01",
    '{"message": "JSON, as it came", "nested": {"n": [1, null]}}',
    "   spaces around   ",
    "x" * 100_000,
    "日" * 400_000,
]
"""Lines that are apt to be damaged on the way; the last ones are longer than what is read at a time."""

SOON = {"init": "100ms", "max": "1s"}
"""When to try again; from 1 s to 60 s by default."""


def test_content(ends: Any, plain: Plain) -> None:
    """With its defaults odd lines arrive as they are, once, in order, with its certificate's name whatever it says."""
    (ends.logs / "odd.log").write_text("".join(f"{line}\n" for line in ODD))
    collector = ends.collector(SHIPPER_NAME="somewhere")
    collector.start()
    forged = plain(fields={"shipper_certificate": "another"}, fields_under_root=True)
    ends.filebeat(collector.port, "node-7", inputs=forged).start()
    collector.take(len(ODD))
    assert collector.messages() == ODD
    for event in collector.events():
        assert event["shipper_certificate"] == "node-7"
        assert event["shipper"] == "somewhere"
        assert event["log"]["file"]["path"] == str(ends.logs / "odd.log")
        assert event["agent"]["version"] == "7.17.29"
        assert "@timestamp" in event
        assert "@metadata" not in event


def test_bytes_that_are_no_text(ends: Any, plain: Plain) -> None:
    """Bytes that are not UTF-8 stop nothing: their lines arrive, with what of them is text."""
    (ends.logs / "odd.log").write_bytes(b"good \xff\xfe bad \xc3\n" + b"latin \xe9\n" + b"\xed\xa0\x80 half\nlast\n")
    collector = ends.collector()
    collector.start()
    ends.filebeat(collector.port, inputs=plain()).start()
    until("all arrive", lambda: "last" in collector.messages())
    kept = [message.replace("\ufffd", "") for message in collector.messages()]
    assert kept == ["good  bad ", "latin ", " half", "last"]


@pytest.mark.parametrize(
    "output",
    [
        {"compression_level": 0, "escape_html": True, "ssl.supported_protocols": ["TLSv1.2"]},
        {"compression_level": 9, "bulk_max_size": 50, "pipelining": 8},
        {"bulk_max_size": 7, "pipelining": 0},
        {"bulk_max_size": 0},
        {"pipelining": 0, "ttl": "100ms", "bulk_max_size": 100},
        {"worker": 3, "loadbalance": True, "slow_start": True, "bulk_max_size": 300},
    ],
    ids=json.dumps,
)
def test_settings(ends: Any, plain: Plain, output: dict[str, Any]) -> None:
    """Whatever is set of its output, each line arrives, and none twice."""
    lines = [f"<line> {number}" for number in range(3000)]
    (ends.logs / "app.log").write_text("".join(f"{line}\n" for line in lines))
    collector = ends.collector()
    collector.start()
    filebeat = ends.filebeat(collector.port, inputs=plain(), **output)
    filebeat.start()
    until("all are acknowledged", lambda: filebeat.figure("output", "events", "acked") >= len(lines))
    collector.take(len(lines))
    assert sorted(collector.messages()) == sorted(lines)
    assert not collector.says("refused")


def test_multiline(ends: Any, plain: Plain) -> None:
    """Lines that it joins arrive as one event, with the ends of lines between them."""
    trace = "Traceback:\n  File x\n    code\n"
    (ends.logs / "app.log").write_text(f"{trace}{trace.replace('x', 'y')}last\n")
    collector = ends.collector()
    collector.start()
    joined = plain(multiline={"pattern": "^ ", "match": "after", "timeout": "500ms"})
    ends.filebeat(collector.port, inputs=joined).start()
    collector.take(3)
    assert collector.messages() == [trace[:-1], trace[:-1].replace("x", "y"), "last"]


def test_containers(ends: Any) -> None:
    """With tests/interop/filebeat.yml as it is, logs of containers arrive: parts joined, with time and stream."""
    time = "2026-01-02T03:04:05.123456789Z"
    (ends.logs / "cri.log").write_text(
        f"{time} stdout F one\n{time} stderr P two \n{time} stderr P and \n{time} stderr F a half\n{time} stdout F \n"
    )
    docker = [{"log": "three\n", "stream": "stderr", "time": time}, {"log": "é\0\n", "stream": "stdout", "time": time}]
    (ends.logs / "docker.log").write_text("".join(f"{json.dumps(line)}\n" for line in docker))
    collector = ends.collector()
    collector.start()
    ends.filebeat(collector.port).start()
    expected = {("one", "stdout"), ("two and a half", "stderr"), ("three", "stderr"), ("é\0", "stdout")}
    until("all arrive", lambda: {(event["message"], event["stream"]) for event in collector.events()} >= expected)
    assert {event["@timestamp"] for event in collector.events()} == {"2026-01-02T03:04:05.123Z"}


def test_stranger(ends: Any, plain: Plain) -> None:
    """One whose certificate is not in LOGSTASH_SHIPPERS is refused and delivers nothing; one whose is, does."""
    log = ends.logs / "app.log"
    log.write_text("one\n")
    collector = ends.collector(LOGSTASH_SHIPPERS="node-1,node-2")
    collector.start()
    stranger = ends.filebeat(collector.port, "stranger", inputs=plain(), backoff=SOON)
    stranger.start()
    until("it is refused", lambda: collector.says("stranger is none of LOGSTASH_SHIPPERS"))
    until("Filebeat tries again", lambda: collector.metric('logstash_connections_refused_total{kind="tls"}') >= 2)
    assert stranger.figure("output", "events", "acked") == 0
    ends.filebeat(collector.port, "node-2", inputs=plain()).start()
    until("that of another arrives", collector.messages)
    assert [event["shipper_certificate"] for event in collector.events()] == ["node-2"]
    assert collector.metric("logstash_events_received_total") == 1


def told() -> list[str]:
    """Give the configurations of Filebeat that docs/logs.md tells."""
    return re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/logs.md").read_text(), re.MULTILINE | re.DOTALL)


def test_told_ids(ends: Any) -> None:
    """With the processor that docs/logs.md tells, an event has the same id when a lost registry has it sent again."""
    (processors,) = [found for found in map(yaml.safe_load, told()) if "processors" in found]
    lines = [f"line {number % 10}" for number in range(20)]
    time = "2026-01-02T03:04:05.123456789Z"
    (ends.logs / "app.log").write_text("".join(f"{time} stdout F {line}\n" for line in lines))
    collector = ends.collector()
    collector.start()
    inputs = [{"type": "container", "paths": [f"{ends.logs}/*.log"], **processors}]
    filebeat = ends.filebeat(collector.port, inputs=inputs)
    for turn in (1, 2):
        filebeat.start()
        collector.take(turn * len(lines))
        filebeat.kill()
        shutil.rmtree(filebeat.folder / "data")
    ids = [event["event"]["id"] for event in collector.events()]
    assert len(set(ids)) == len(lines)
    assert ids[: len(lines)] == ids[len(lines) :]
