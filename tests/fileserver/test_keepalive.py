"""The keepalive writer: its file, its health, and shares that fail or hang."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILE = "keepalive.json"


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Give an empty folder to write to."""
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


def _beat(share: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jld_fileserver.heartbeat", str(share)],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )


def _content(share: Path) -> dict[str, Any]:
    content = json.loads((share / FILE).read_text())
    assert set(content) == {"time", "host", "sequence"}
    return dict(content)


def test_file(share: Path) -> None:
    """A write leaves one file, with time, host and a number that goes on from the last."""
    before = time.time()
    for number in (1, 2):
        assert _beat(share).stdout == f"{number}\n"
    content = _content(share)
    assert before <= content["time"] <= time.time()
    assert (content["host"], content["sequence"]) == (os.uname().nodename, 2)
    assert list(share.iterdir()) == [share / FILE]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"sequence": "x"}', '{"sequence": null}', "\x00" * 4096])
def test_unreadable_predecessor(share: Path, content: str) -> None:
    """A file that is damaged is replaced, and counting starts anew."""
    (share / FILE).write_text(content)
    assert _beat(share).stdout == "1\n"
    assert _content(share)["sequence"] == 1


def test_leftover_of_a_kill(share: Path) -> None:
    """A half-written file that a kill left behind is cleared away."""
    (share / f".{FILE}.{os.uname().nodename}.new").write_text('{"ti')
    assert _beat(share).returncode == 0
    assert list(share.iterdir()) == [share / FILE]


def test_no_links_followed(share: Path, tmp_path: Path) -> None:
    """A link in the place of the file is not read through, and nothing is written through one."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (share / f".{FILE}.{os.uname().nodename}.new").symlink_to(victim)
    assert _beat(share).returncode == 0
    assert victim.read_text() == "precious"
    (share / FILE).unlink()
    (share / FILE).symlink_to(victim)
    answer = _beat(share)
    assert (answer.returncode, answer.stdout) == (74, "ELOOP\n")


def test_killed_at_any_moment(share: Path) -> None:
    """Writes that are killed at different moments never leave a partial file, nor stop the next write."""
    _beat(share)
    for tick in range(20):
        child = subprocess.Popen(
            [sys.executable, "-m", "jld_fileserver.heartbeat", str(share)], stdout=subprocess.DEVNULL
        )
        try:
            child.wait(0.004 * tick)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        _content(share)
    last = _content(share)["sequence"]
    assert _beat(share).stdout == f"{last + 1}\n"


def test_works(run: Callable[..., Any], share: Path, wait_until: Callable[..., None]) -> None:
    """It writes at its interval, is healthy and ready, and ends cleanly."""
    program = run("keepalive", KEEPALIVE_PATH=share, KEEPALIVE_INTERVAL=0.05, KEEPALIVE_MAX_AGE=60)
    wait_until(lambda: program.metric("keepalive_write_seconds_count") >= 3, "three writes")
    assert program.get("/healthz").json()["trouble"] is None
    assert program.get("/readyz").status_code == 200
    assert abs(program.metric("keepalive_last_success_timestamp_seconds") - time.time()) < 60
    assert program.end() == 0
    assert _content(share)["sequence"] >= 3
    assert [event["message"] for event in program.events()] == ["listens", f"keepalive in {share} works", "ends"]


def test_recovers(run: Callable[..., Any], share: Path, wait_until: Callable[..., None]) -> None:
    """A share that goes away turns health red and counts failures; when it is back, all is well again."""
    program = run("keepalive", KEEPALIVE_PATH=share, KEEPALIVE_INTERVAL=0.05, KEEPALIVE_MAX_AGE=0.5)
    wait_until(lambda: program.get("/readyz").status_code == 200, "ready")
    share.rename(share.with_name("away"))
    wait_until(lambda: program.get("/healthz").status_code == 503, "red")
    assert program.get("/healthz").json()["trouble"] == "ENOENT"
    assert program.metric('keepalive_failures_total{kind="ENOENT"}') > 0
    share.with_name("away").rename(share)
    wait_until(lambda: program.get("/healthz").status_code == 200, "green again")
    assert program.end() == 0


def test_red_from_the_start(run: Callable[..., Any], share: Path, wait_until: Callable[..., None]) -> None:
    """A share that never worked is not ready at once, and red after the age that is allowed."""
    share.rmdir()
    program = run("keepalive", KEEPALIVE_PATH=share, KEEPALIVE_INTERVAL=0.05, KEEPALIVE_MAX_AGE=0.5)
    assert program.get("/readyz").status_code == 503
    wait_until(lambda: program.get("/healthz").status_code == 503, "red")


def test_share_that_comes_up_later(run: Callable[..., Any], share: Path, wait_until: Callable[..., None]) -> None:
    """Until the first success it does not wait for its interval, and says the same trouble once."""
    share.rmdir()
    program = run("keepalive", KEEPALIVE_PATH=share, KEEPALIVE_INTERVAL=60)
    wait_until(lambda: program.metric('keepalive_failures_total{kind="ENOENT"}') >= 2, "two attempts")
    share.mkdir()
    wait_until(lambda: program.get("/readyz").status_code == 200, "the first success")
    assert [event["message"] for event in program.events() if event["level"] == "WARNING"] == [
        f"no keepalive in {share}: ENOENT"
    ]


def test_hanging_share(run: Callable[..., Any], share: Path, wait_until: Callable[..., None]) -> None:
    """A write that hangs is given up at its deadline while health answers; it works again afterwards."""
    os.mkfifo(share / FILE)  # opening it waits for a writer
    program = run(
        "keepalive",
        KEEPALIVE_PATH=share,
        KEEPALIVE_INTERVAL=0.05,
        KEEPALIVE_TIMEOUT=0.3,
        KEEPALIVE_MAX_AGE=0.5,
    )
    wait_until(lambda: program.get("/healthz").status_code == 503, "red")
    wait_until(lambda: program.metric('keepalive_failures_total{kind="timeout"}') >= 2, "given up twice")
    assert len(program.children()) <= 1
    (share / FILE).unlink()
    wait_until(lambda: program.get("/healthz").status_code == 200, "green again")


def test_end_while_hanging(run: Callable[..., Any], share: Path, wait_until: Callable[..., None]) -> None:
    """SIGTERM ends the program though a write hangs, and the write with it."""
    os.mkfifo(share / FILE)
    program = run("keepalive", KEEPALIVE_PATH=share, KEEPALIVE_TIMEOUT=600)
    wait_until(program.children, "a write is under way")
    (child,) = program.children()
    assert program.end(seconds=5) == 0
    assert not Path(f"/proc/{child}").exists()


def test_crash(run: Callable[..., Any], share: Path, wait_until: Callable[..., None]) -> None:
    """A write that is killed from outside is a failure like others, and the program goes on."""
    os.mkfifo(share / FILE)
    program = run("keepalive", KEEPALIVE_PATH=share, KEEPALIVE_INTERVAL=0.05, KEEPALIVE_MAX_AGE=60)
    wait_until(program.children, "a write is under way")
    os.kill(program.children()[0], signal.SIGKILL)
    wait_until(lambda: program.metric('keepalive_failures_total{kind="crash"}') == 1, "the failure")
    (share / FILE).rename(share / "pipe")
    for child in program.children():
        with contextlib.suppress(ProcessLookupError):  # one that started after the pipe went has ended by itself
            os.kill(child, signal.SIGKILL)
    wait_until(lambda: program.get("/readyz").status_code == 200, "ready")


def test_kill(run: Callable[..., Any], share: Path, wait_until: Callable[..., None]) -> None:
    """Killed with -9 at any moment, the program leaves a whole file, and its successor goes on from it."""
    numbers = []
    for _ in range(2):
        program = run("keepalive", KEEPALIVE_PATH=share, KEEPALIVE_INTERVAL=0.01, KEEPALIVE_MAX_AGE=60)
        wait_until(lambda: program.metric("keepalive_write_seconds_count") >= 2, "two writes")  # noqa: B023
        os.kill(program.process.pid, signal.SIGKILL)
        program.process.wait(10)
        numbers.append(_content(share)["sequence"])
    assert numbers[1] >= numbers[0] + 2


def _fill(folder: Path) -> None:
    for number in range(20):
        (folder / str(number)).touch()


@pytest.mark.root
def test_full_disk(run: Callable[..., Any], tiny_disk: Any, wait_until: Callable[..., None]) -> None:
    """A full disk is a failure of that name, and the last file stays whole."""
    _beat(tiny_disk.folder)
    with pytest.raises(OSError, match="No space left"):
        _fill(tiny_disk.folder)
    program = run("keepalive", KEEPALIVE_PATH=tiny_disk.folder, KEEPALIVE_INTERVAL=0.05)
    wait_until(lambda: program.metric('keepalive_failures_total{kind="ENOSPC"}') > 0, "a failed write")
    assert _content(tiny_disk.folder)["sequence"] == 1
    (tiny_disk.folder / "0").unlink()
    wait_until(lambda: program.get("/readyz").status_code == 200, "ready")
    program.end()


@pytest.mark.root
def test_frozen_disk(run: Callable[..., Any], freezable_disk: Any, wait_until: Callable[..., None]) -> None:
    """A write in the kernel, which even SIGKILL cannot end, is waited for by health and by nothing else.

    No second one starts beside it, health answers, writing goes on when the disk does, and SIGTERM ends all.
    """
    disk, folder = freezable_disk, freezable_disk.folder
    program = run(
        "keepalive", KEEPALIVE_PATH=folder, KEEPALIVE_INTERVAL=0.05, KEEPALIVE_TIMEOUT=0.2, KEEPALIVE_MAX_AGE=0.5
    )
    wait_until(lambda: program.get("/readyz").status_code == 200, "ready")
    disk.freeze()
    wait_until(lambda: program.metric('keepalive_failures_total{kind="stuck"}') >= 3, "writes left out")
    assert program.metric('keepalive_failures_total{kind="timeout"}') == 1
    assert len(program.children()) == 1
    assert program.get("/healthz").status_code == 503
    disk.thaw()
    wait_until(lambda: program.get("/healthz").status_code == 200, "green again")
    disk.freeze()
    wait_until(lambda: program.metric('keepalive_failures_total{kind="timeout"}') == 2, "stuck again")
    assert program.end(seconds=5) == 0
    assert _content(folder)["sequence"] > 1
    disk.thaw()
    assert _beat(folder).returncode == 0
