"""Logs as people read them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jld_embedded.errors import EmbeddedError
from jld_embedded.lines import readable
from jld_embedded.logs import LAST, Tail, logs
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
    made = Tail(tmp_path / "hub.log")
    yield made
    if made.file:
        made.file.close()


def test_tail_begins_with_the_last_lines(tail: Tail) -> None:
    """The first look gives the last lines only, later ones what was added."""
    tail.path.write_text("".join(f"{number}\n" for number in range(50)))
    assert list(tail.lines()) == [str(number) for number in range(50 - LAST, 50)]
    with tail.path.open("a") as file:
        file.write("new\n")
    assert list(tail.lines()) == ["new"]


def test_tail_waits_for_the_end_of_a_line(tail: Tail) -> None:
    """Half a line is kept until the rest is there."""
    tail.path.write_text("one\ntw")
    assert list(tail.lines()) == ["one"]
    with tail.path.open("a") as file:
        file.write("o\n")
    assert list(tail.lines()) == ["two"]


def test_tail_goes_over_a_rotation(tail: Tail) -> None:
    """Lines before and after a rotation are all shown, once."""
    tail.path.write_text("one\n")
    assert list(tail.lines()) == ["one"]
    with tail.path.open("a") as file:
        file.write("two\n")
    tail.path.rename(tail.path.with_suffix(".log.1"))
    tail.path.write_text("three\n")
    assert list(tail.lines()) == ["two", "three"]


def test_unknown_service_is_named(tmp_path: Path) -> None:
    """Following a service that has no log is an error that names it."""
    (tmp_path / "log").mkdir()
    with pytest.raises(EmbeddedError, match="no log of hbu"):
        logs(State(tmp_path), "hbu", None)
