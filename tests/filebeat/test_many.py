"""Many rotated files of one log."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from jld_filebeat import relation
from jld_filebeat.entry import Entry

COUNT = 1500
"""More than calls can be nested."""


@pytest.fixture
def table(follow: Callable[[str], Any], logs: Path) -> Any:
    """Follow logs of the CRI, one of which was rotated often."""
    for number in range(COUNT):
        day = date(2020, 1, 1) + timedelta(number)
        (logs / f"0.log.{day:%Y%m%d}").write_text(f"2026-01-02T03:04:05.1Z stdout F line {number}\n")
    (logs / "0.log").write_text(f"2026-01-02T03:04:05.1Z stdout F line {COUNT}\n2026-01-02T03:04:05.1Z stdout P un")
    return follow(f"cri:{logs}/*.log*")


def test_restart(table: Any, logs: Path) -> None:
    """However long the line of files is that each continue in the next, it is gone on with after a restart."""
    assert len(table.messages()) == COUNT + 1
    table.restart()
    table.follower.scan()
    with (logs / "0.log").open("a") as log:
        log.write("finished\n2026-01-02T03:04:05.1Z stdout F line\n")
    assert table.messages() == ["unfinishedline"]


class Counting:
    """Counts searches of an expression.

    Args:
        pattern: the expression.
    """

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.count = 0
        self._pattern = pattern

    def search(self, text: str) -> re.Match[str] | None:
        """Search it."""
        self.count += 1
        return self._pattern.search(text)


def test_work_grows_with_their_number(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file's name is looked at a few times, and each entry of the registry, not once for each other file."""
    dates = Counting(relation._DATED)
    monkeypatch.setattr(relation, "_DATED", dates)
    assert len(table.messages()) == COUNT + 1
    entries: list[Entry] = []
    key = Entry.key
    monkeypatch.setattr(Entry, "key", property(lambda entry: entries.append(entry) or key.fget(entry)))  # type: ignore[attr-defined, func-returns-value] # that of the class
    table.restart()
    assert table.messages() == []
    assert dates.count < 10 * COUNT
    assert len(entries) < 10 * COUNT
