"""What was written is held against what has arrived: nothing that is wrong passes."""

import json
from typing import Any

import pytest
from soak.ledger import KEPT, Ledger, message


def take(ledger: Ledger, writer: str, number: int, identity: str, **changes: Any) -> None:
    """Have a line arrive."""
    event = {"message": message(writer, number), "event": {"id": identity}} | changes
    ledger.take(json.dumps(event).encode(), identity)


@pytest.fixture
def ledger() -> Ledger:
    """Give a ledger that has lines 0 and 1 of a writer."""
    made = Ledger()
    take(made, "w", 0, "f-0")
    take(made, "w", 1, "f-9")
    return made


def test_all_is_well(ledger: Ledger) -> None:
    """When each line has arrived, nothing is missing or wrong."""
    assert ledger.missing({"w": 2}) == {}
    ledger.close_round({"w": 2})
    assert (ledger.wrong, ledger.repeats) == ([], 0)


def test_missing(ledger: Ledger) -> None:
    """A line that did not arrive is named, in the middle and at the end, and of a writer that nobody heard of too."""
    take(ledger, "w", 3, "f-30")
    assert ledger.missing({"w": 5, "v": 1}) == {"w": [2, 4], "v": [0]}


def test_repeat(ledger: Ledger) -> None:
    """A line that comes again with its id is a repeat, and does not stand for another one."""
    take(ledger, "w", 1, "f-9")
    assert (ledger.wrong, ledger.repeats) == ([], 1)
    assert ledger.missing({"w": 3}) == {"w": [2]}


def test_two_ids(ledger: Ledger) -> None:
    """A line that comes again with another id would be there twice when repeats are dropped."""
    take(ledger, "w", 1, "g-9")
    assert ledger.wrong == ["w 1: has two ids: f-9 and g-9"]


def test_shared_id(ledger: Ledger) -> None:
    """Of two lines with one id the second would be dropped as a repeat."""
    take(ledger, "w", 2, "f-9")
    assert ledger.wrong == ["w 2: has the id of ('w', 1): f-9"]


@pytest.mark.parametrize("text", [f"{message('w', 2)}x", message("w", 2)[:-1], "w", "", "w x ."])
def test_other_text(ledger: Ledger, text: str) -> None:
    """A line whose text is not what was written is wrong, whatever it is."""
    take(ledger, "w", 2, "f-30", message=text)
    assert "not what was written" in ledger.wrong[0]
    assert ledger.missing({"w": 3}) == {"w": [2]}


def test_message_id(ledger: Ledger) -> None:
    """A message whose id is not its event's is wrong."""
    take(ledger, "w", 2, "f-30", event={"id": "f-31"})
    assert ledger.wrong == ["w 2: f-31 came as f-30"]


def test_never_written(ledger: Ledger) -> None:
    """Lines that nobody wrote are wrong."""
    take(ledger, "v", 0, "v-0")
    ledger.close_round({"w": 1})
    assert ledger.wrong == ["w: [1] arrived and were never written", "v: [0] arrived and were never written"]


def test_nothing_written(ledger: Ledger) -> None:
    """A round in which no line was written proves nothing, be it the first or a later one."""
    for written in ({"w": 2}, {"w": 2}):
        ledger.close_round(written)
    fresh = Ledger()
    fresh.close_round({"w": 0})
    assert ledger.wrong == fresh.wrong == ["nothing was written in a round"]


def test_later_rounds(ledger: Ledger) -> None:
    """Lines of rounds long ago are forgotten, and are repeats when they come again."""
    for number in range(2, KEPT + 4):
        ledger.close_round({"w": number})
        take(ledger, "w", number, f"f-{number}0")
    take(ledger, "w", 1, "f-9")
    assert (ledger.wrong, ledger.repeats) == ([], 1)
    assert ledger.missing({"w": KEPT + 5}) == {"w": [KEPT + 4]}
