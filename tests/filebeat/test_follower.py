"""What becomes of files: growth, rotation, truncation, removal, restart."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jld_filebeat.lag import Lags
from lacking import lacks
from log_file import append


def lag(table: Any) -> int:
    """Give the bytes that were not acknowledged."""
    return sum(lag.size for lag in Lags().tell(table.follower.files).values())


def test_grows(table: Any, app: Path) -> None:
    """What is appended follows, each line once."""
    assert table.messages() == ["one", "two"]
    assert table.messages() == []
    append(app, "three\n")
    assert table.messages() == ["three"]


def test_ids(table: Any, app: Path, logs: Path) -> None:
    """An id is that of the file and the offset of the line's first byte; another file has another."""
    (logs / "other.log").write_text("one\ntwo\n")
    events = table.ship()
    ids = {(event["log"]["file"]["path"], event["log"]["offset"]): event["event"]["id"] for event in events}
    assert len(set(ids.values())) == 4
    prefix = ids[str(app), 0].removesuffix("-0")
    assert ids[str(app), 4] == f"{prefix}-4"


def test_waits_for_the_end_of_a_line(table: Any, app: Path) -> None:
    """A last line without its end waits for it, even over a restart."""
    append(app, "thr")
    assert table.messages() == ["one", "two"]
    append(app, "ee")
    assert table.messages() == []
    table.restart()
    append(app, "!\n")
    assert table.messages() == ["three!"]


def test_restart(table: Any, app: Path) -> None:
    """A restart ships nothing again that was acknowledged, and goes on with the same ids."""
    first = table.ship()
    table.restart()
    append(app, "three\n")
    (event,) = table.ship()
    assert event["message"] == "three"
    assert event["event"]["id"] == first[0]["event"]["id"].removesuffix("-0") + "-8"


def test_restart_without_acknowledgement(table: Any, app: Path) -> None:
    """What was not acknowledged is shipped again after a restart, with the same ids."""
    assert app.exists()
    before = table.ship(acknowledge=False)
    table.restart()
    after = table.ship()
    assert [event["event"]["id"] for event in after] == [event["event"]["id"] for event in before]
    assert len(after) == 2


def test_nothing_leaves_before_the_id_is_on_disk(table: Any, app: Path) -> None:
    """No event of a file leaves as long as the registry does not have its id."""
    assert app.exists()
    table.follower.scan()
    assert table.follower.fill() is None
    table.save()
    assert len(table.follower.fill().events) == 2
    assert table.entries[0].head == 8


def test_rename(table: Any, app: Path) -> None:
    """A renamed file is read to its end, late lines too, and the new one at its path has its own id."""
    before = table.ship()
    append(app, "three\n")
    old = app.rename(app.with_name("app.log.1"))
    append(app, "one\n")
    assert sorted(table.messages()) == ["one", "three"]
    append(old, "late\n")
    append(app, "two\n")
    events = {event["message"]: event["event"]["id"] for event in table.ship()}
    prefix = before[0]["event"]["id"].removesuffix("-0")
    assert events["late"] == f"{prefix}-14"
    assert not events["two"].startswith(prefix)


def test_rename_while_down(table: Any, app: Path) -> None:
    """A file that was renamed while nobody looked is recognised and not shipped again."""
    table.ship()
    append(app, "three\n")
    app.rename(app.with_name("app.log.1"))
    app.write_text("four\n")
    table.restart()
    assert sorted(table.messages()) == ["four", "three"]


def test_rename_out_of_sight(table: Any, app: Path, tmp_path: Path) -> None:
    """A file that is moved to where no input looks is read to its end."""
    table.messages()
    append(app, "three\n")
    old = app.rename(tmp_path / "elsewhere")
    assert table.messages() == ["three"]
    append(old, "four\n")
    assert table.messages() == ["four"]


def test_removed(table: Any, app: Path) -> None:
    """A removed file is read to its end through its descriptor, while its writer still has it open too."""
    table.messages()
    with app.open("a") as log:
        app.unlink()
        log.write("three\n")
        log.flush()
        assert table.messages() == ["three"]
        log.write("four\n")
    assert table.messages() == ["four"]


def test_removed_file_is_kept_for_a_while(table: Any, app: Path) -> None:
    """A removed file stays open after its last line, as its writer may not have ended."""
    table.messages()
    with app.open("a") as log:
        app.unlink()
        for _ in range(3):
            assert table.messages() == []
        assert (len(table.follower.files), len(table.entries)) == (1, 1)
        log.write("late\n")
    assert table.messages() == ["late"]


@pytest.mark.usefixtures("impatient")
def test_forgotten(table: Any, app: Path) -> None:
    """A removed file is let go, and forgotten by the registry, when all of it is acknowledged and not before."""
    table.ship(acknowledge=False)
    app.unlink()
    table.ship()
    assert (len(table.follower.files), len(table.entries)) == (1, 1)
    table.restart()
    table.ship()
    assert (len(table.follower.files), len(table.entries)) == (0, 0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("move", [lambda path: path.rename(path.with_name("app.log.1")), Path.unlink])
def test_unfinished_line_of_a_rotated_file(table: Any, app: Path, move: Callable[[Path], Any]) -> None:
    """The last line without an end of a file that was rotated or removed is shipped as it is, once."""
    append(app, "no end")
    assert table.messages() == ["one", "two"]
    move(app)
    assert table.messages() == ["no end"]
    assert table.messages() == []


def test_unfinished_line_while_it_may_go_on(table: Any, app: Path) -> None:
    """The last line of a file that was just rotated waits: its writer may not have noticed yet."""
    append(app, "no e")
    table.messages()
    old = app.rename(app.with_name("app.log.1"))
    assert table.messages() == []
    append(old, "nd\n")
    assert table.messages() == ["no end"]


@pytest.mark.parametrize("content", ["", "new\n", "a much longer line than all those before\n"])
def test_truncated(table: Any, app: Path, content: str) -> None:
    """A truncated file is read from its beginning with a new id, also when it is longer than before."""
    before = table.ship()
    app.write_text(content)
    events = table.ship()
    append(app, "last\n")
    events += table.ship()
    assert [event["message"] for event in events] == [*content.splitlines(), "last"]
    assert {event["event"]["id"][:32] for event in before}.isdisjoint(event["event"]["id"][:32] for event in events)


def test_rewritten_with_the_same_beginning(table: Any, app: Path) -> None:
    """A file that was written anew, begins with the same kilobyte and is longer, is read from its beginning."""
    header = "# a header that each log begins with\n" * 50
    app.write_text(header + "".join(f"old {number}\n" for number in range(100)))
    assert len(table.messages()) == 150
    app.write_text(header + "".join(f"new {number}\n" for number in range(200)))
    assert table.messages() + table.messages() == (app.read_text()).splitlines()


def test_truncated_while_down(table: Any, app: Path) -> None:
    """A file that was truncated and written anew while nobody looked is read from its beginning."""
    before = table.ship()
    table.restart()
    app.write_text("three\nfour\nfive\n")
    after = table.ship()
    assert [event["message"] for event in after] == ["three", "four", "five"]
    assert before[0]["event"]["id"] != after[0]["event"]["id"]


def test_truncated_between_look_and_read(table: Any, app: Path) -> None:
    """Bytes of a file that was rewritten after it was looked at are not shipped under its old id."""
    before = table.ship()
    append(app, "x" * 10 + "\n")
    table.follower.scan()
    app.write_text("y" * 30 + "\nthree\n")
    batch = table.follower.fill()
    assert batch is None
    after = table.ship()
    assert [event["message"] for event in after] == ["y" * 30, "three"]
    assert before[0]["event"]["id"][:32] != after[0]["event"]["id"][:32]


def test_reused_inode_with_the_same_first_line(table: Any, logs: Path) -> None:
    """A new file at the inode of a removed one gets a new id though it begins alike."""
    for _ in range(20):
        file = logs / "a.log"
        file.write_text("begin\n")
        (before,) = table.ship()
        if table.entries[0].generation is None:
            lacks("this file system does not tell uses of an inode apart")
        inode = file.stat().st_ino
        table.restart()
        file.unlink()
        file.write_text("begin\nmore\n")
        after = table.ship()
        assert len({event["event"]["id"][:32] for event in (before, *after)}) == 2
        assert [event["message"] for event in after] == ["begin", "more"]
        is_reused = file.stat().st_ino == inode
        file.unlink()
        if is_reused:
            return
    if not is_reused:
        lacks("this file system does not reuse inodes")


def test_huge_file_takes_its_turn(table: Any, logs: Path) -> None:
    """A file of 8 GB without a line's end keeps no other file's line waiting, nor the loop for long."""
    huge, other = logs / "a.log", logs / "b.log"
    huge.touch()
    os.truncate(huge, 2**33)
    other.write_text("a line\n")
    table.follower.scan()
    table.save()
    events: list[Any] = []
    while not events:
        begun = time.monotonic()
        if batch := table.follower.fill():
            events += [json.loads(event) for event in batch.events]
        assert time.monotonic() - begun < 2
    assert [event["message"] for event in events] == ["a line"]
    assert lag(table) > 2**32


def test_file_system_without_generations(table: Any, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no number for the use of an inode, the file's beginning tells."""
    monkeypatch.setattr("jld_filebeat.source._GET_GENERATION", 0)
    table.ship()
    assert table.entries[0].generation is None
    table.restart()
    assert table.messages() == []
    table.restart()
    app.write_text("other\nlines\n")
    assert table.messages() == ["other", "lines"]


def test_first_kilobyte_grows(table: Any, app: Path) -> None:
    """What is known of a file's beginning grows with it, up to a kilobyte."""
    table.ship()
    assert table.entries[0].head == 8
    append(app, "x" * 2000 + "\n")
    table.ship()
    assert table.entries[0].head == 1024


def test_link_to_the_same_file(table: Any, app: Path, logs: Path) -> None:
    """Two paths to one file are one file."""
    os.link(app, logs / "hard.log")
    (logs / "soft.log").symlink_to(app)
    assert table.messages() == ["one", "two"]


def test_no_regular_file(table: Any, logs: Path) -> None:
    """What is no regular file is left alone."""
    os.mkfifo(logs / "fifo.log")
    (logs / "folder.log").mkdir()
    (logs / "dangling.log").symlink_to("nowhere")
    assert table.messages() == []
    assert len(table.follower.files) == 0


def test_empty_file(table: Any, logs: Path) -> None:
    """An empty file is followed, and not in the registry before it has a byte to be known by."""
    (logs / "empty.log").touch()
    assert table.messages() == []
    assert (len(table.follower.files), table.entries) == (1, [])
    append(logs / "empty.log", "\n")
    assert table.messages() == [""]


def test_turns(table: Any, logs: Path) -> None:
    """A long file does not keep a short one waiting: a window has a piece of each."""
    (logs / "a.log").write_text("long line\n" * 100_000)
    (logs / "b.log").write_text("short\n")
    table.follower.scan()
    table.save()
    batches = []
    while batch := table.follower.fill():
        assert len(batch.events) <= 2048
        batches.append(batch)
    assert any(b'"short"' in event for batch in batches[:2] for event in batch.events)
    assert sum(len(batch.events) for batch in batches) == 100_001


def test_lag(table: Any, app: Path) -> None:
    """The lag is what is not acknowledged, in bytes."""
    table.ship(acknowledge=False)
    assert lag(table) == 8
    append(app, "x\n")
    table.restart()
    table.ship()
    assert lag(table) == 0


def test_unreadable_file(
    table: Any, app: Path, logs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be opened is told once, the others are shipped, and it is too as soon as it can be."""
    secret = logs / "secret.log"
    secret.write_text("hidden\n")
    real = os.open

    def refuse(path: str, *arguments: int, **options: int) -> int:
        if path == str(secret):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **options)

    assert app.exists()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert table.messages() == ["one", "two"]
        assert table.messages() == []
    assert [record.getMessage() for record in caplog.records] == [f"cannot read '{secret}': Permission denied"]
    assert table.messages() == ["hidden"]


@pytest.mark.parametrize("first", ["one\n", "one\n" * 500])
def test_preallocated(table: Any, logs: Path, first: str) -> None:
    """A log that was made longer before it is filled in is the same one when it is: its lines are shipped once."""
    file = logs / "app.log"
    file.write_text(first)
    os.truncate(file, 4096)
    events = table.ship()
    for at, text in ((len(first), "two\n"), (len(first) + 4, "three\n")):
        with file.open("r+") as log:
            log.seek(at)
            log.write(text)
        os.utime(file, ns=(0, at))  # clocks of files are coarse
        events += table.ship()
    assert [event["message"] for event in events] == [*first.split(), "two", "three"]
    assert len({event["event"]["id"].split("-")[0] for event in events}) == 1
