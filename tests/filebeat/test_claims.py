"""What the registry tells of a file, and whether the one at its inode is still that file."""

from pathlib import Path
from typing import Any

import pytest
from jld_filebeat.source import HEAD
from log_file import append

BANNER = f"{'=' * HEAD}\n"


@pytest.fixture
def app(logs: Path) -> Path:
    """Give a log whose first kilobyte is a banner."""
    file = logs / "app.log"
    file.write_text(f"{BANNER}one\ntwo\n")
    return file


def ids(events: list[dict[str, Any]]) -> set[str]:
    """Give the ids of the files that events are of."""
    return {event["event"]["id"].split("-")[0] for event in events}


def test_rewritten_while_down(table: Any, app: Path) -> None:
    """A log that was written anew while nobody looked is read from its beginning, though it begins alike and grew."""
    first = table.ship()
    app.write_text(f"{BANNER}other one\nother two\nother three\n")
    table.restart()
    events = table.ship()
    assert [event["message"] for event in events[1:]] == ["other one", "other two", "other three"]
    assert not ids(events) & ids(first)


@pytest.mark.parametrize("acknowledge", [True, False])
def test_appended_while_down(table: Any, app: Path, *, acknowledge: bool) -> None:
    """A log that grew while nobody looked is gone on with, from what was acknowledged."""
    first = table.ship(acknowledge=acknowledge)
    append(app, "three\n")
    table.restart()
    events = table.ship()
    assert [event["message"] for event in events] == [*([] if acknowledge else [BANNER[:-1], "one", "two"]), "three"]
    assert ids(events) == ids(first)


def test_read_further_than_the_registry_has(table: Any, app: Path) -> None:
    """What was read since the registry was written does not make it another file."""
    first = table.ship()
    entries = table.entries
    append(app, "three\n")
    table.ship()
    table.entries = entries
    table.restart()
    events = table.ship()
    assert [event["message"] for event in events] == ["three"]
    assert ids(events) == ids(first)


def test_cut_by_a_loss_of_power(table: Any, app: Path) -> None:
    """A log that lost lines that were not acknowledged is gone on with, now and after it has grown beyond them."""
    first = table.ship()
    size = app.stat().st_size
    append(app, "three\nfour\nfive\n")
    table.ship(acknowledge=False)
    with app.open("r+") as log:
        log.truncate(size + len("three\n"))
    table.restart()
    assert table.messages(acknowledge=False) == ["three"]
    append(app, "something longer than what was there\n")
    table.restart()
    events = table.ship()
    assert [event["message"] for event in events] == ["three", "something longer than what was there"]
    assert ids(events) == ids(first)
