"""Logs as people read them."""

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jld_embedded.arrivals import Tail
from jld_embedded.errors import EmbeddedError
from jld_embedded.lines import readable
from jld_embedded.logs import logs, moment, whence
from jld_embedded.services import Stack
from jld_embedded.settings import Settings
from jld_embedded.state import State


def test_event_is_one_readable_line() -> None:
    """Time of day, level, member and message are shown; of a traceback, its last line; of breaks, blanks."""
    line = (
        '{"@timestamp": "2026-01-02T03:04:05.678Z", "level": "ERROR", "message": "one\\ntwo", "member": "alice",'
        ' "stack_trace": "Traceback\\n  File\\nValueError: no\\n"}'
    )
    assert re.fullmatch(r"\d\d:\d\d:05\.678 ERROR \[alice\] one two \(ValueError: no\)", readable(line))


@pytest.mark.parametrize("line", ["plain words", "[1, 2]", '{"other": 1}', "{broken", "7"])
def test_other_lines_stay(line: str) -> None:
    """A line that holds no event is shown as it is."""
    assert readable(line) == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b]0;title\x07text", "?]0;title?text"),
        ('{"message": "\\u001b[2J gone"}', "?[2J gone"),
        ('{"message": "\\ud800", "user": "a\\u001bb"}', "[a?b] ?"),
        ('{"message": "late", "@timestamp": "9999-12-31T23:59:59-23:00"}', "9999-12-31T23:59:59-23:00 late"),
        ("[" * 10_000, "[" * 10_000),
    ],
)
def test_members_cannot_steer_a_terminal(line: str, shown: str) -> None:
    """Whatever a member writes to his lab's log is shown as printable signs, and stops nothing."""
    assert readable(line) == shown


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Tail]:
    """Follow a log that is not there yet."""
    with contextlib.closing(Tail(tmp_path / "hub.log")) as made:
        yield made


def test_tail_waits_for_the_end_of_a_line(tail: Tail) -> None:
    """Half a line is kept until the rest is there."""
    tail.path.write_text("one\ntw")
    assert list(tail.read()) == ["one"]
    with tail.path.open("a") as file:
        file.write("o\n")
    assert list(tail.read()) == ["two"]


def test_tail_goes_over_a_rotation(tail: Tail) -> None:
    """Lines before and after a rotation are all shown, once."""
    tail.path.write_text("one\n")
    assert list(tail.read()) == ["one"]
    with tail.path.open("a") as file:
        file.write("two\n")
    tail.path.rename(tail.path.with_suffix(".log.1"))
    tail.path.write_text("three\n")
    assert list(tail.read()) == ["two", "three"]


def event(path: str, message: str, stamp: str = "2026-01-02T03:04:05.678Z") -> dict[str, object]:
    """Make an event as the shipper does."""
    return {"@timestamp": stamp, "message": message, "log": {"file": {"path": path}}}


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/state/log/hub.log", ("hub", None)),
        ("/state/log/hub.log.1", ("hub", None)),
        ("/state/log/labs/alice.log", ("lab", "alice")),
        ("/state/log/labs/a.logger.log", ("lab", "a")),
    ],
)
def test_file_says_whose_a_line_is(path: str, origin: tuple[str, str | None]) -> None:
    """Service and member follow from the file's name, not from what a member writes into it."""
    assert whence(event(path, '{"message": "x", "service": "hub", "user": "bob"}')) == origin


@pytest.mark.parametrize("foreign", [{}, {"log": None}, {"log": {"file": "x"}}, {"log": []}])
def test_events_of_another_form(foreign: dict[str, object]) -> None:
    """An event that does not say its file is nobody's, and stops nothing."""
    assert whence(foreign) == ("", None)


def test_time_of_an_event() -> None:
    """The time is the line's own, where it has one, else the time at which it was read."""
    own = moment(event("/x", '{"message": "x", "@timestamp": "2025-01-01T00:00:00Z"}'))
    assert own.year == 2025
    assert moment(event("/x", "plain")).year == 2026
    assert moment({"message": "no time"}).year >= 2026


def test_lab_line_is_shown_with_its_member() -> None:
    """A line that says neither time nor member is shown with those that are known of it."""
    assert re.fullmatch(r"\d\d:\d\d:05\.678 \[alice\] plain", readable("plain", "alice", "2026-01-02T03:04:05.678Z"))


def follow(state: State, capsys: pytest.CaptureFixture[str], **chosen: str | None) -> list[str]:
    """Follow the collector's file, as far as it goes."""
    stack = Stack(Settings(), state, state.root, {})
    stack.has_broker = False
    with pytest.raises(StopFollowingError):
        logs(state, stack, chosen.get("service"), chosen.get("member"))
    return capsys.readouterr().out.splitlines()


class StopFollowingError(Exception):
    """Ends the loop where it would wait for more."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """Give a state with events of two services and two labs."""

    def stop(_: float) -> None:
        raise StopFollowingError

    monkeypatch.setattr("jld_embedded.arrivals.time.sleep", stop)
    now = datetime.now(UTC)
    old = (now - timedelta(hours=1)).isoformat()
    made = State(tmp_path)
    events = [
        event("/s/log/hub.log", "started alice", now.isoformat()),
        event("/s/log/hub.log", "of an hour ago", old),
        event("/s/log/labs/alice.log", "hers", now.isoformat()),
        event("/s/log/labs/bob.log", "his", now.isoformat()),
    ]
    made.events.write_text("".join(f"{json.dumps(one)}\n" for one in events))
    return made


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ({}, ["started alice", "hers", "his"]),
        ({"service": "hub"}, ["started alice"]),
        ({"service": "lab"}, ["hers", "his"]),
        ({"member": "alice"}, ["started alice", "hers"]),
        ({"service": "lab", "member": "bob"}, ["his"]),
    ],
)
def test_filters(state: State, capsys: pytest.CaptureFixture[str], chosen: dict[str, str], shown: list[str]) -> None:
    """Service and member choose among the events of the last minute and those to come."""
    lines = follow(state, capsys, **chosen)
    assert len(lines) == len(shown)
    assert all(line.endswith(words) for line, words in zip(lines, shown, strict=True))


def test_unknown_service_is_named(state: State) -> None:
    """Following a service that is none is an error that names it and those there are."""
    with pytest.raises(EmbeddedError, match=r"service=hbu: one of .*hub, .*lab"):
        logs(state, Stack(Settings(), state, state.root, {}), "hbu", None)
