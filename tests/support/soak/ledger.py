"""What was written and what has arrived."""

import json
import threading
import zlib
from collections.abc import Mapping
from typing import Any

TEXT = "größer \"als\" \\ der 日志\tlog 'x' € "

KEPT = 10
"""Rounds whose ids are remembered; repeats of older lines are seen no more as such, only as lines."""


def message(writer: str, number: int) -> str:
    """Give the line that a writer writes as its so manieth; one in a hundred is long."""
    chance = zlib.crc32(f"{writer} {number}".encode())
    size = 5000 + chance % 30000 if chance % 97 == 0 else chance % 150
    return f"{writer} {number} {TEXT * (size // len(TEXT))}."


class Ledger:
    """Holds each event against what was written. Any thread may ask.

    Attributes:
        repeats: events that came again with the id that they had.
        wrong: what must not be, in words.
    """

    def __init__(self) -> None:
        self.repeats = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._ids: dict[str, dict[int, str]] = {}
        """By writer and number."""
        self._lines: dict[str, tuple[str, int]] = {}
        """By id."""
        self._whole: list[Mapping[str, int]] = []
        """How many lines there were of each writer at the ends of the last rounds."""
        self._begin: Mapping[str, int] = {}
        """Numbers before these are forgotten: they have arrived."""

    def take(self, body: bytes, identity: str) -> None:
        """Take an event.

        Args:
            body: JSON.
            identity: what the message has as its id.
        """
        event: dict[str, Any] = json.loads(body)
        text = event["message"]
        writer, number = _line(text)
        with self._lock:
            if text != message(writer, number):
                self.wrong.append(f"not what was written: {text[:80]!r} ({len(text)} characters, {identity})")
            elif identity != event["event"]["id"]:
                self.wrong.append(f"{writer} {number}: {event['event']['id']} came as {identity}")
            else:
                self._place(writer, number, identity)

    def _place(self, writer: str, number: int, identity: str) -> None:
        line = self._lines.get(identity, (writer, number))
        ids = self._ids.setdefault(writer, {})
        if line != (writer, number):
            self.wrong.append(f"{writer} {number}: has the id of {line}: {identity}")
        elif number < self._begin.get(writer, 0) or ids.get(number) == identity:
            self.repeats += 1
        elif number in ids:
            self.wrong.append(f"{writer} {number}: has two ids: {ids[number]} and {identity}")
        else:
            ids[number] = identity
            self._lines[identity] = line

    def missing(self, written: Mapping[str, int]) -> dict[str, list[int]]:
        """Tell which lines of each writer have not arrived.

        Args:
            written: how many lines each writer has written.
        """
        found = {}
        with self._lock:
            whole = self._whole[-1] if self._whole else {}
            for writer, count in written.items():
                ids = self._ids.get(writer, {})
                if lost := [number for number in range(whole.get(writer, 0), count) if number not in ids]:
                    found[writer] = lost
        return found

    def close_round(self, written: Mapping[str, int]) -> None:
        """Take note that all that was written has arrived.

        Args:
            written: how many lines each writer has written.
        """
        with self._lock:
            for writer, ids in self._ids.items():
                extra = [number for number in ids if number >= written.get(writer, 0)]
                if extra:
                    self.wrong.append(f"{writer}: {extra[:10]} arrived and were never written")
            if sum(written.values()) <= sum(self._whole[-1].values() if self._whole else ()):
                self.wrong.append("nothing was written in a round")
            self._whole.append(written)
            if len(self._whole) > KEPT:
                self._forget(self._whole.pop(0))

    def _forget(self, begin: Mapping[str, int]) -> None:
        for writer, ids in self._ids.items():
            for number in [number for number in ids if number < begin[writer]]:
                del self._lines[ids.pop(number)]
        self._begin = begin


def _line(text: str) -> tuple[str, int]:
    """Tell which line a text should be."""
    writer, _, rest = text.partition(" ")
    number = rest.partition(" ")[0]
    return writer, int(number) if number.isdecimal() else -1
