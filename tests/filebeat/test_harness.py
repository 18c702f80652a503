"""The correctness cases of vector-test-harness by their names, and stricter: exact sets, one id each.

See test_copies.py for `file_truncate`, and for `file_rotate_truncate` in all orders.
"""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jld_embedded.certificates import Authority
from stack import until

Follow = Callable[[str], Any]


async def test_file_rotate_create(rig: Any) -> None:
    """After a rename a line to the new file and one to the old each arrive: three lines, three ids."""
    rig.write("one\n")
    async with rig.shipping():
        await rig.soon("the first", lambda: rig.collector.messages() == ["one"])
        (rig.logs / "app.log").rename(rig.logs / "app.log.1")
        rig.write("two\n")
        await rig.soon("the second", lambda: rig.collector.messages() == ["one", "two"])
        rig.write("three\n", "app.log.1")
        await rig.soon("the third", lambda: rig.collector.messages() == ["one", "two", "three"])
    assert len({event["event"]["id"] for event in rig.collector.events}) == 3


async def test_file_rotate_truncate(rig: Any) -> None:
    """After copy and truncation a line to each of the two arrives, and none twice, with the copy in the glob."""
    rig.write("one\n")
    async with rig.shipping():
        await rig.soon("the first", lambda: rig.collector.messages() == ["one"])
        rig.write((rig.logs / "app.log").read_text(), "app.log.1")
        (rig.logs / "app.log").write_text("")
        rig.write("two\n", "app.log.1")
        rig.write("three\n")
        await rig.soon("both", lambda: {"two", "three"} <= set(rig.collector.messages()))
    assert sorted(rig.collector.messages()) == ["one", "three", "two"]
    assert len({event["event"]["id"] for event in rig.collector.events}) == 3


def test_wrapped_json(follow: Follow, logs: Path) -> None:
    """JSON that Docker wraps into its own arrives as it was written, to be decoded as such."""
    inner = {"message": 'said "hi" \\ and\ttab', "level": "info", "nested": {"é": [1, None]}}
    wrapped = {"log": json.dumps(inner) + "\n", "stream": "stdout", "time": "2026-01-02T03:04:05.123456789Z"}
    (logs / "x-json.log").write_text(json.dumps(wrapped) + "\n")
    (event,) = follow(f"docker:{logs}/*.log").ship()
    assert json.loads(event["message"]) == inner


def test_docker_partial_events_merging(follow: Follow, logs: Path) -> None:
    """A line of more than 16 KiB, which Docker cuts, arrives as one event."""
    text = "".join(chr(97 + number % 26) for number in range(50_000)) + "\n"
    pieces = [text[begin : begin + 2**14] for begin in range(0, len(text), 2**14)]
    (logs / "x-json.log").write_text(
        "".join(
            json.dumps({"log": piece, "stream": "stdout", "time": "2026-01-02T03:04:05.1Z"}) + "\n" for piece in pieces
        )
    )
    (event,) = follow(f"docker:{logs}/*.log").ship()
    assert event["message"] == text.removesuffix("\n")


def test_disk_buffer_persistence(launch: Callable[..., Any], collector: Any, logs: Path) -> None:
    """Lines that came while the collector was away, and over a restart, arrive when it is back, each with one id."""
    log = logs / "app.log"
    log.write_text("first\n")
    program = launch()
    collector.wait_for("first")
    collector.go_away()
    lines = [f"line {number}" for number in range(10)]
    with log.open("a") as writer:
        writer.write("\n".join(lines) + "\n")
    program.process.send_signal(signal.SIGTERM)
    assert program.end() == (0, "")
    launch().port()
    collector.come_back()
    collector.wait_for(*lines)
    assert len({event["event"]["id"] for event in collector.events}) == 11


def test_sighup(launch: Callable[..., Any], collector: Any, logs: Path) -> None:
    """On SIGHUP it connects anew, with the certificates that are there then, and no line is lost, again and again."""
    log = logs / "app.log"
    log.touch()
    program = launch()
    program.port()
    lines = []
    for turn in range(5):
        with log.open("a") as writer:
            lines += [f"line {turn} {number}" for number in range(100)]
            writer.write("\n".join(lines[-100:]) + "\n")
        if turn == 0:
            collector.wait_for(*lines)
        program.process.send_signal(signal.SIGHUP)
        collector.wait(lambda turn=turn: len(collector.connections) > turn + 1, "a new connection")
    collector.wait_for(*lines)
    assert program.process.poll() is None
    ids = {event["event"]["id"]: event["message"] for event in collector.events}
    assert sorted(ids.values()) == sorted(lines)


@pytest.fixture
def another(authority: Authority, collector: Any) -> Iterator[Any]:
    """Give a second collector, which does not listen yet, for the port of the first."""
    made = type(collector)(authority)
    made.stop_listening()
    made.port = collector.port
    yield made
    made.go_away()
    assert made.errors == []


def test_sighup_second_sink(launch: Callable[..., Any], another: Any, collector: Any, logs: Path) -> None:
    """On SIGHUP it goes to another collector at that address, though the first goes on; each line is there once."""
    log = logs / "app.log"
    log.write_text("to the first\n")
    program = launch()
    collector.wait_for("to the first")
    collector.stop_listening()
    another.come_back()
    with log.open("a") as writer:
        writer.write("to the first too\n")
    page = f"http://127.0.0.1:{program.port()}/metrics"
    until("both are acknowledged", lambda: "filebeat_events_acknowledged_total 2.0" in httpx.get(page).text)
    program.process.send_signal(signal.SIGHUP)
    another.wait(lambda: another.connections, "a connection")
    lines = [f"line {number}" for number in range(1000)]
    with log.open("a") as writer:
        writer.write("\n".join(lines) + "\n")
    another.wait_for(*lines)
    assert collector.messages() == ["to the first", "to the first too"]
    assert another.messages() == lines
    assert len({event["event"]["id"] for event in collector.events + another.events}) == 1002
