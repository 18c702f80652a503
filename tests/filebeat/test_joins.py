"""Lines that a runtime wrote in parts are one event: across streams, rotation and restarts."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jld_filebeat import lines
from jld_filebeat.follower import Follower
from jld_filebeat.inputs import find
from log_file import append

Follow = Callable[[str], Any]


def cri(*lines: str) -> str:
    """Write lines as a CRI runtime does; each is `stream tag message`, and its time counts up."""
    cri.count = getattr(cri, "count", 0)  # type: ignore[attr-defined] # a counter of its own
    written = ""
    for line in lines:
        cri.count += 1  # type: ignore[attr-defined] # as above
        written += f"2026-01-02T03:04:05.{cri.count:09d}Z {line}\n"  # type: ignore[attr-defined] # as above
    return written


def docker(*parts: tuple[str, str]) -> str:
    """Write parts as Docker does, each a stream and its text."""
    return "".join(
        json.dumps({"log": text, "stream": stream, "time": "2026-01-02T03:04:05.1Z"}) + "\n" for stream, text in parts
    )


@pytest.fixture
def pod(logs: Path) -> Path:
    """Give the path of a container's log."""
    return logs / "0.log"


@pytest.fixture
def table(follow: Follow, logs: Path) -> Any:
    """Follow logs of the CRI."""
    return follow(f"cri:{logs}/*.log*")


def test_parts(table: Any, pod: Path) -> None:
    """Parts are one event, with time and offset of the first."""
    pod.write_text(cri("stdout F before", "stdout P one,", "stdout P two,", "stdout F three", "stdout F after"))
    events = table.ship()
    assert [event["message"] for event in events] == ["before", "one,two,three", "after"]
    begin = pod.read_text().index("\n") + 1
    assert events[1]["log"]["offset"] == begin
    assert events[1]["@timestamp"] == pod.read_text().splitlines()[1].split()[0]


def test_interleaved_streams(table: Any, pod: Path) -> None:
    """Parts of one stream are not mixed with lines or parts of the other."""
    pod.write_text(cri("stdout P a", "stderr P x", "stdout P b", "stderr F y", "stderr F z", "stdout F c"))
    assert table.messages() == ["xy", "z", "abc"]


def test_docker_parts(follow: Follow, logs: Path) -> None:
    """Docker's parts, which have no line feed at their end, are one event too."""
    (logs / "x-json.log").write_text(docker(("stdout", "a"), ("stderr", "e\n"), ("stdout", "b"), ("stdout", "c\n")))
    assert follow(f"docker:{logs}/*.log").messages() == ["e", "abc"]


def test_parts_over_time(table: Any, pod: Path) -> None:
    """Parts wait for the last one; lines of the other stream do not wait for them."""
    pod.write_text(cri("stdout P a", "stderr F e"))
    assert table.messages() == ["e"]
    append(pod, cri("stdout P b"))
    assert table.messages() == []
    append(pod, cri("stdout F c"))
    assert table.messages() == ["abc"]


def test_restart_within_parts(table: Any, pod: Path) -> None:
    """The registry does not pass the first part before the last was shipped; what came behind it is not repeated."""
    pod.write_text(cri("stdout F done", "stdout P a", "stderr F e"))
    first = table.ship()
    assert [event["message"] for event in first] == ["done", "e"]
    assert table.entries[0].offset == pod.read_text().index("\n") + 1
    table.restart()
    append(pod, cri("stdout F b"))
    again = table.ship()
    assert [event["message"] for event in again] == ["ab"]
    assert again[0]["log"]["offset"] == pod.read_text().index("\n") + 1
    assert table.entries[0].offset == pod.stat().st_size


@pytest.mark.parametrize("restarts", [(), (1,), (2,), (3,), (1, 2, 3)])
def test_parts_over_rotation(table: Any, pod: Path, restarts: tuple[int, ...]) -> None:
    """Parts before and after a rotation, even two, are one event with the first one's offset, over restarts too."""
    steps = 0

    def step() -> list[str]:
        nonlocal steps
        steps += 1
        messages: list[str] = table.messages()
        if steps in restarts:
            table.restart()
        return messages

    pod.write_text(cri("stdout F done", "stdout P a", "stderr P x"))
    messages = step()
    identity = table.entries[0].id
    pod.rename(pod.with_name("0.log.20260102-030405"))
    pod.write_text(cri("stdout P b", "stderr F y"))
    messages += step()
    pod.rename(pod.with_name("0.log.20260102-040405"))
    pod.write_text(cri("stderr F z"))
    messages += step()
    append(pod, cri("stdout F c"))
    table.follower.scan()
    events = table.ship()
    messages += [event["message"] for event in events]
    assert set(messages) == {"done", "xy", "z", "abc"}
    if not restarts:
        assert messages == ["done", "xy", "z", "abc"]
    whole = next(event for event in events if event["message"] == "abc")
    assert whole["event"]["id"] == f"{identity}-{whole['log']['offset']}"
    assert {entry.offset for entry in table.entries} == {file.stat().st_size for file in pod.parent.iterdir()}
    table.restart()
    assert table.messages() == []


def test_rotation_seen_late(table: Any, pod: Path) -> None:
    """What was written to a file after the last look at it comes before the first line of the new one."""
    pod.write_text(cri("stdout P a"))
    table.messages()
    append(pod, cri("stdout P b"))
    pod.rename(pod.with_name("0.log.20260102-030405"))
    pod.write_text(cri("stdout F c"))
    assert table.messages() == ["abc"]


def test_two_rotations_while_down(table: Any, pod: Path) -> None:
    """A file that came and was rotated while nobody looked takes its place between the two that are known."""
    pod.write_text(cri("stdout P a"))
    table.messages()
    table.restart()
    pod.rename(pod.with_name("0.log.20260102-030405"))
    pod.write_text(cri("stdout P b"))
    pod.rename(pod.with_name("0.log.20260102-040405"))
    pod.write_text(cri("stdout F c"))
    assert table.messages() == ["abc"]


def test_first_start_after_rotations(table: Any, pod: Path) -> None:
    """At a first start the rotated files come first, in their order."""
    pod.with_name("0.log.20260102-030405").write_text(cri("stdout F a", "stdout P b"))
    pod.with_name("0.log.20260102-040405").write_text(cri("stdout P c"))
    pod.write_text(cri("stdout F d"))
    assert table.messages() == ["a", "bcd"]


def test_another_container(table: Any, pod: Path) -> None:
    """Parts of a container that ended are not continued by the next one's log."""
    pod.write_text(cri("stdout P a"))
    table.messages()
    pod.with_name("1.log").write_text(cri("stdout F b"))
    assert table.messages() == ["b"]


def test_continuation_waits_for_its_id(table: Any, pod: Path) -> None:
    """A file that continues another one leaves nothing before its own id is on disk."""
    pod.write_text(cri("stdout P a"))
    table.messages()
    append(pod, cri("stdout P b"))
    pod.rename(pod.with_name("0.log.20260102-030405"))
    pod.write_text(cri("stdout F c"))
    table.follower.scan()
    assert table.follower.fill() is None
    assert table.messages() == ["abc"]


@pytest.mark.usefixtures("impatient")
def test_parts_that_nobody_continues(table: Any, pod: Path) -> None:
    """Parts whose last one never comes are shipped as they are when their file is gone."""
    pod.write_text(cri("stdout P a", "stdout P b", "stderr F e"))
    assert table.messages() == ["e"]
    pod.unlink()
    assert table.messages() == ["ab"]
    table.ship()
    assert table.entries == []


@pytest.mark.usefixtures("impatient")
def test_parts_that_an_empty_file_does_not_continue(table: Any, pod: Path) -> None:
    """Parts are shipped as they are, too, when the file that could continue them goes without a line."""
    pod.write_text(cri("stdout P a"))
    table.messages()
    pod.rename(pod.with_name("0.log.20260102-030405"))
    pod.touch()
    assert table.messages() == []
    pod.unlink()
    assert table.messages() + table.messages() == ["a"]


def test_long_message_in_parts(table: Any, pod: Path) -> None:
    """A message of more than 10 MB in parts is cut there and marked, and its parts are not kept in memory."""
    parts = ["stdout P " + "x" * 2**14] * 700
    pod.write_text(cri(*parts, "stdout F end", "stdout F next"))
    events = table.ship()
    assert [len(event["message"]) for event in events] == [10 * 2**20, 4]
    assert events[0]["log"]["flags"] == ["truncated"]


def test_truncated_within_parts(table: Any, pod: Path) -> None:
    """Parts that were cut off with their file are no part of what follows."""
    pod.write_text(cri("stdout P a", "stdout P b"))
    table.messages()
    pod.write_text(cri("stdout F new"))
    assert table.messages() == ["new"]


def test_rotated_at_the_same_time(table: Any, pod: Path) -> None:
    """Rotated files that were changed at the same time come in the order of their names."""
    for name, line in [("0.log.20260102-040405", "stdout F b"), ("0.log.20260102-030405", "stdout P a")]:
        rotated = pod.with_name(name)
        rotated.write_text(cri(line))
        os.utime(rotated, ns=(10**18, 10**18))
    assert table.messages() == ["ab"]


@pytest.mark.parametrize("rotate", [(), (1,), (2,), (1, 2)])
def test_restart_within_interleaved_parts(table: Any, pod: Path, rotate: tuple[int, ...]) -> None:
    """What ended while parts of the other stream waited is not shipped again in fragments after a restart."""
    for number, line in enumerate(("stderr P x", "stdout P a", "stdout F b")):
        if number in rotate:
            pod.rename(pod.with_name(f"0.log.2026010{number}-030405"))
        append(pod, cri(line))
        table.ship()
    table.restart()
    assert table.messages() == []
    append(pod, cri("stdout F c", "stderr F y"))
    assert table.messages() == ["c", "xy"]
    table.restart()
    assert table.messages() == []


def test_acknowledged_in_part(table: Any, pod: Path) -> None:
    """Parts before a rotation whose event is acknowledged alone leave no fragment behind it."""
    pod.write_text(cri("stdout P a"))
    table.messages()
    pod.rename(pod.with_name("0.log.20260102-030405"))
    pod.write_text(cri("stdout F b", "stdout F next"))
    table.follower.scan()
    table.save()
    table.follower.fill().acknowledge(1)
    table.save()
    table.restart()
    assert table.messages() == ["next"]


def test_empty_file_between(table: Any, pod: Path) -> None:
    """A file that was rotated without a line does not part what it is between, over a restart either."""
    pod.write_text(cri("stdout P a"))
    table.messages()
    pod.rename(pod.with_name("0.log.20260102-030405"))
    pod.touch()
    table.messages()
    pod.rename(pod.with_name("0.log.20260102-040405"))
    pod.write_text(cri("stdout P b"))
    table.messages()
    table.restart()
    append(pod, cri("stdout F c"))
    assert table.messages() == ["abc"]


def test_empty_file_between_is_let_go(table: Any, pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor when it is removed, and forgotten, before the one in front of it could be shipped."""
    pod.write_text(cri("stdout P a"))
    table.follower.scan()
    pod.rename(pod.with_name("0.log.20260102-030405"))
    pod.touch()
    table.follower.scan()
    empty = pod.rename(pod.with_name("0.log.20260102-040405"))
    pod.write_text(cri("stdout F b"))
    table.follower.scan()
    empty.unlink()
    monkeypatch.setattr("jld_filebeat.follower.GONE_SECONDS", 0)
    table.follower.scan()
    assert len(table.follower.files) == 2
    assert table.messages() == ["ab"]


def test_parts_behind_what_is_not_acknowledged(table: Any, pod: Path) -> None:
    """When parts are read and nothing else, lines that were sent before them still wait for their acknowledgement."""
    pod.write_text(cri("stdout F one"))
    table.follower.scan()
    table.save()
    assert len(table.follower.fill().events) == 1
    append(pod, cri("stdout P two,"))
    pod.with_name("1.log").write_text(cri("stdout F other"))
    table.follower.scan()
    table.save()
    assert len(table.follower.fill().events) == 1
    append(pod, cri("stdout P three,"))
    table.follower.scan()
    assert table.follower.fill() is None
    table.save()
    table.restart()
    assert sorted(table.messages()) == ["one", "other"]


def test_rotated_while_looked_for(table: Any, pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is rotated twice, the second time between listing and opening, is joined across both."""
    pod.write_text(cri("stdout F before", "stdout P one,"))
    assert table.messages() == ["before"]
    pod.rename(f"{pod}.1")
    pod.write_text(cri("stdout P two,"))

    def rotate_after_look(inputs: Any) -> Any:
        found = find(inputs)
        pod.rename(f"{pod}.2")
        pod.write_text(cri("stdout F three"))
        monkeypatch.setattr("jld_filebeat.follower.find", find)
        return found

    monkeypatch.setattr("jld_filebeat.follower.find", rotate_after_look)
    assert table.messages() + table.messages() == ["one,two,three"]


def test_many_parts(table: Any, pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of very many parts, each of which takes memory, is cut where the first one is left out."""
    monkeypatch.setattr(lines, "PARTS", 3)
    pod.write_text(cri(*(f"stdout P {text}" for text in "abcde"), "stdout F f", "stdout P g", "stdout F h"))
    cut, whole = table.ship()
    assert (cut["message"], cut["log"]["flags"]) == ("abc", ["truncated"])
    assert (whole["message"], whole["log"].get("flags")) == ("gh", None)


def test_truncated_while_another_is_found(table: Any, pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is truncated while a rotated one is compared to it, at the start, is read anew, and that one too."""
    pod.write_text(cri("stdout F one", "stdout F two"))
    table.ship()
    table.restart()
    pod.with_name("0.log.20260101-000000").write_text(cri("stdout F zero"))
    real = Follower._recognise

    def recognise(self: Follower, new: Any) -> Any:
        os.truncate(pod, 0)
        return real(self, new)

    monkeypatch.setattr(Follower, "_recognise", recognise)
    messages = table.messages()
    with pod.open("a") as log:
        log.write(cri("stdout F three"))
    assert messages + table.messages() == ["zero", "three"]


def test_logs_rotated_in_different_ways(table: Any, logs: Path) -> None:
    """Logs whose rotated files are dated, numbered or not there at all are found at the same time, and shipped."""
    for name in ("0.log", "1.log", "2.log", "0.log.20260101-000000", "1.log.1", "1.log.2"):
        (logs / name).write_text(cri(f"stdout F {name}"))
    assert len(table.messages()) == 6
    table.restart()
    (logs / "3.log").write_text(cri("stdout F 3.log"))
    assert table.messages() == ["3.log"]
