"""Our shipper ships to the server of Elastic's go-lumber, and to our collector: contents, late and false servers."""

import itertools
from typing import Any

import pytest
from stack import until

pytestmark = pytest.mark.elastic

TIME = "2026-01-02T03:04:05.123456789Z"

ODD = {
    b'said "hi" \\ and\ttab': 'said "hi" \\ and\ttab',
    "é ü 日本語 🚀 \u2028".encode(): "é ü 日本語 🚀 \u2028",
    b"before\0after \x1b[31m \x7f\x01": "before\0after \x1b[31m \x7f\x01",
    b"": "",
    b"good \xff\xfe bad \xc3": "good \ufffd\ufffd bad \ufffd",
    b"half of a pair \xed\xa0\x80": "half of a pair \ufffd\ufffd\ufffd",
    b'{"message": [1, null]}': '{"message": [1, null]}',
    b"x" * 2_000_000: "x" * 2_000_000,
    "日".encode() * 3_000_000: "日" * 3_000_000,
    b"last": "last",
}
"""Lines that are apt to be damaged on the way, and what arrives of each."""


def test_content(ends: Any, server: Any) -> None:
    """Odd lines arrive as they are, once, with all that an event has."""
    (ends.logs / "odd.log").write_bytes(b"".join(line + b"\n" for line in ODD))
    server.start()
    ends.shipper(server.port).start()
    server.take(len(ODD))
    assert server.messages() == list(ODD.values())
    events = server.events()
    assert len({event["event"]["id"] for event in events}) == len(ODD)
    assert {event["shipper"] for event in events} == {"jupyterlabdemo"}
    assert {event["log"]["file"]["path"] for event in events} == {str(ends.logs / "odd.log")}
    assert [event["log"]["offset"] for event in events] == list(
        itertools.accumulate((len(line) + 1 for line in list(ODD)[:-1]), initial=0)
    )


def test_containers(ends: Any, server: Any) -> None:
    """Lines in parts arrive joined, with time and stream, and with where their container is."""
    folder = ends.logs / "jupyter_lab-alice_0a1b" / "notebook"
    folder.mkdir(parents=True)
    (folder / "0.log").write_text(f"{TIME} stdout P two \n{TIME} stderr F one\n{TIME} stdout F and a half\n")
    server.start()
    shipper = ends.shipper(server.port, "cri")
    shipper.settings["FILEBEAT_INPUTS"] = f"cri:{ends.logs}/*/*/*.log*"
    shipper.start()
    server.take(2)
    found = {(event["message"], event["stream"], event["@timestamp"]) for event in server.events()}
    assert found == {("two and a half", "stdout", TIME), ("one", "stderr", TIME)}
    assert {event["kubernetes"]["pod"] for event in server.events()} == {"lab-alice"}


def test_line_beyond_the_limit(ends: Any, server: Any) -> None:
    """A line of more than 10 MiB arrives cut and marked, and the next one whole."""
    (ends.logs / "app.log").write_text("x" * 11 * 2**20 + "\nnext\n")
    server.start()
    ends.shipper(server.port).start()
    server.take(2)
    cut, following = server.events()
    assert cut["message"] == "x" * 10 * 2**20
    assert cut["log"]["flags"] == ["truncated"]
    assert following["message"] == "next"


def test_late_server(ends: Any, server: Any) -> None:
    """A server that is not there yet is waited for, and then gets all lines, each once."""
    lines = [f"line {number}" for number in range(5000)]
    (ends.logs / "app.log").write_text("".join(f"{line}\n" for line in lines))
    shipper = ends.shipper(server.port)
    shipper.start()
    until("it says that there is none", lambda: shipper.says("Connection refused") or shipper.says("Connect call"))
    server.start()
    server.take(len(lines))
    assert server.messages() == lines
    until("it says so", lambda: shipper.says("takes events"))


def test_false_name(ends: Any) -> None:
    """A server whose certificate has another name gets nothing; the right one at its place gets all."""
    (ends.logs / "app.log").write_text("one\n")
    false = ends.receiver("elsewhere.example")
    false.start()
    shipper = ends.shipper(false.port)
    shipper.start()
    until("it is refused", lambda: shipper.says("Hostname mismatch"))
    assert false.events() == []
    false.kill()
    right = ends.receiver()
    right.port = false.port
    right.start()
    until("it arrives", right.messages)
    assert right.messages() == ["one"]
    assert false.events() == []
