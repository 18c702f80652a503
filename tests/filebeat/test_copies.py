"""Rotation by copying and truncating: the copy is known for one, and each line is shipped once."""

import gc
import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from log_file import append

Follow = Callable[[str], Any]


def copy(app: Path) -> Path:
    """Copy a log as logrotate does."""
    return Path(shutil.copy(app, app.with_name("app.log.1")))


@pytest.mark.parametrize("looks", list(itertools.product([False, True], repeat=2)))
def test_file_rotate_truncate(table: Any, app: Path, looks: tuple[bool, bool]) -> None:
    """After copy and truncation a line to each of the two is one more event each, whenever they were looked at."""
    first = table.ship()
    old = copy(app)
    events = table.ship() if looks[0] else []
    app.write_text("")
    events += table.ship() if looks[1] else []
    append(old, "to the copy\n")
    append(app, "to the log\n")
    events += table.ship() + table.ship()
    assert sorted(event["message"] for event in events) == ["to the copy", "to the log"]
    ids = {event["event"]["id"] for event in first + events}
    assert len(ids) == 4


def test_nothing_is_kept_of_what_is_gone(table: Any, app: Path) -> None:
    """However often a log is rotated, memory holds what belongs to files that are followed, and to no others."""
    table.messages()
    for number in range(3):
        old = copy(app)
        append(app, f"{number} between\n")
        table.messages()
        app.write_text(f"{number} new\n")
        table.messages()
        old.unlink()
        table.messages()
    gc.collect()
    assert set(table.follower._reader._forms) <= {*table.follower.files, *table.follower._lost}


def test_file_truncate(table: Any, app: Path) -> None:
    """A line that is written behind a truncation arrives."""
    table.messages()
    app.write_text("")
    append(app, "three\n")
    assert table.messages() == ["three"]


def test_restart_after_truncation(table: Any, app: Path) -> None:
    """What the registry knew of a log before its truncation has nothing shipped again, however often it restarts."""
    table.messages()
    app.write_text("three\n")
    assert table.messages() == ["three"]
    for number in range(3):
        table.restart()
        assert table.messages() == []
        append(app, f"{number}\n")
        assert table.messages() == [f"{number}"]


def test_unread_lines_of_the_copy(table: Any, app: Path) -> None:
    """What was not read of a log before it was truncated is read from its copy, with the ids that it has there."""
    first = table.ship()
    append(app, "three\n")
    copy(app)
    app.write_text("four\n")
    events = {event["message"]: event["event"]["id"] for event in table.ship() + table.ship()}
    assert set(events) == {"three", "four"}
    assert events["three"] == first[0]["event"]["id"].removesuffix("-0") + "-8"
    assert table.dropped == []


def test_while_down(table: Any, app: Path) -> None:
    """A log that was copied and truncated while nobody looked is gone on with in the copy."""
    first = table.ship()
    append(app, "three\n")
    copy(app)
    app.write_text("a new beginning\n")
    table.restart()
    events = {event["message"]: event["event"]["id"] for event in table.ship() + table.ship()}
    assert set(events) == {"three", "a new beginning"}
    assert events["three"] == first[0]["event"]["id"].removesuffix("-0") + "-8"


@pytest.mark.parametrize("is_down", [False, True])
def test_unacknowledged_lines(table: Any, app: Path, is_down: bool) -> None:
    """Lines that were not acknowledged before the truncation have the same ids when they come from the copy."""
    before = {event["event"]["id"]: event["message"] for event in table.ship(acknowledge=False)}
    copy(app)
    app.write_text("")
    if not is_down:
        table.ship()
    table.restart()
    table.ship()
    table.restart()
    after = {event["event"]["id"]: event["message"] for event in table.ship(acknowledge=False) + table.ship()}
    assert {**before, **after} == before


@pytest.mark.parametrize("is_seen", [False, True])
def test_lines_between_copy_and_truncation(table: Any, app: Path, is_seen: bool) -> None:
    """Lines that were read behind the copy are not shipped again, and share no id with what follows there."""
    events = table.ship()
    old = copy(app)
    if is_seen:
        events += table.ship()
    append(app, "between\n")
    table.follower.hint(str(app), is_change=True, is_folder=False)
    while batch := table.follower.fill():
        events += [json.loads(event) for event in batch.events]
        batch.acknowledge(len(batch.events))
    app.write_text("")
    events += table.ship() + table.ship()
    append(old, "late in the copy\n")
    append(app, "new\n")
    events += table.ship()
    assert sorted(event["message"] for event in events) == sorted(["one", "two", "between", "late in the copy", "new"])
    assert len({event["event"]["id"] for event in events}) == 5


def test_copy_in_the_making(table: Any, app: Path) -> None:
    """A copy is known for one while it grows."""
    content = "".join(f"line {number}\n" for number in range(5000))
    app.write_text(content)
    table.messages()
    old = app.with_name("app.log.1")
    for end in (0, 100, 10_000, len(content)):
        old.write_text(content[:end])
        assert table.messages() == []
    app.write_text("")
    assert table.messages() == []
    append(app, "new\n")
    assert table.messages() + table.messages() == ["new"]


def test_copy_that_stays_one(table: Any, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy whose original is not truncated is shipped as a file of its own after a while."""
    table.messages()
    copy(app)
    assert table.messages() == []
    monkeypatch.setattr("jld_filebeat.follower.GONE_SECONDS", 0)
    assert table.messages() == ["one", "two"]


def test_another_file_of_the_same_beginning(table: Any, app: Path) -> None:
    """A rotated file that only begins like a truncated one is no copy of it: all of it is shipped."""
    append(app, "three\n" * 2000)
    table.messages()
    app.write_text("")
    table.messages()
    other = "one\ntwo\n" + "three\n" * 1000 + "something else\n" * 2000
    app.with_name("app.log.1").write_text(other)
    assert table.messages() + table.messages() == other.splitlines()


def test_dropped_bytes_are_counted(table: Any, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut off unread and turns up in no copy is counted."""
    table.messages()
    append(app, "three\n")
    table.follower.scan()
    app.write_text("")
    monkeypatch.setattr("jld_filebeat.follower.GONE_SECONDS", 0)
    table.messages()
    assert table.dropped == [6]


@pytest.mark.parametrize("seed", range(40))
def test_any_order(follow: Follow, logs: Path, seed: int) -> None:
    """In any order of writes, copies, truncations and restarts each line has one id, and no id two lines."""
    draw = random.Random(seed)
    table, app = follow(f"plain:{logs}/*.log*"), logs / "app.log"
    app.touch()
    arrived: dict[str, str] = {}
    written = 0

    def ship() -> int:
        found = table.ship(acknowledge=draw.random() < 0.8)
        for event in found:
            assert arrived.setdefault(event["event"]["id"], event["message"]) == event["message"]
        return len(found)

    for turn in range(60):
        step = draw.random()
        if step < 0.5:
            append(app, "".join(f"{seed} line {written + number}\n" for number in range(5)))
            written += 5
        elif step < 0.6:
            shutil.copy(app, logs / f"app.log.{turn:06d}")
            if draw.random() < 0.5:
                table.follower.scan()
            app.write_text("")
            table.follower.scan()  # before the log is as long as it was: a rewrite like that escapes everybody
        elif step < 0.9:
            ship()
        else:
            table.restart()
    quiet = 0
    while quiet < 3:
        quiet = 0 if ship() else quiet + 1
    assert sorted(arrived.values()) == sorted(f"{seed} line {number}" for number in range(written))
