"""What cannot be listed or opened at the moment is not taken for gone."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jld_filebeat.follower import SPARE

Follow = Callable[[str], Any]


@pytest.fixture
def table(follow: Follow, logs: Path) -> Any:
    """Follow a plain log with one line."""
    (logs / "app.log").write_text("one\n")
    return follow(f"plain:{logs}/*.log")


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give a function after which everything that was removed before has been gone for long."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    for module in ("follower", "file", "known", "lost"):
        monkeypatch.setattr(f"jld_filebeat.{module}.time", clock)

    def go_on() -> None:
        now[0] += 1000

    return go_on


def fail(*_: object, **__: object) -> None:
    """Fail as the calls of the system do."""
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("call", ["listdir", "stat"])
def test_open_file(table: Any, pass_time: Any, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open file is not let go while nobody can tell whether it is there, and not shipped again afterwards."""
    assert table.messages() == ["one"]
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        for _ in range(3):
            assert table.messages() == []
            pass_time()
    assert (len(table.follower.files), len(table.entries)) == (1, 1)
    assert table.messages() == []


def opened(folder: Path) -> int:
    """Count this process's descriptors of files below a folder: others come and go with other tests' rubbish."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the list itself has gone
            found += descriptor.readlink().is_relative_to(folder)
    return found


@pytest.mark.parametrize("call", ["listdir", "stat", "open", "pread"])
def test_known_file(table: Any, logs: Path, pass_time: Any, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the registry knows stays known while it cannot be opened, and costs no descriptors meanwhile."""
    assert table.messages() == ["one"]
    table.restart()
    before = opened(logs)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        for _ in range(3):
            table.follower.scan()
            pass_time()
            table.save()
    assert opened(logs) == before
    assert table.messages() == []
    assert len(table.entries) == 1


def test_removed_file(table: Any, logs: Path, pass_time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removed file is let go though the one that took its place cannot be opened."""
    table.messages()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        (logs / "new").write_text("two\n")
        (logs / "new").rename(logs / "app.log")
        table.messages()
        pass_time()
        table.messages()
    assert (len(table.follower.files), table.entries) == (0, [])
    assert table.messages() == ["two"]


def test_trouble_is_told(
    table: Any, logs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that cannot be listed is told once."""
    monkeypatch.setattr(os, "listdir", fail)
    table.messages()
    table.messages()
    assert [record.getMessage() for record in caplog.records] == [f"cannot read '{logs}': Input/output error"]


@pytest.mark.usefixtures("impatient")
def test_more_files_than_descriptors(follow: Follow, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files beyond the limit of descriptors wait for others to be let go; some descriptors are left for the rest."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (SPARE + 1, SPARE + 1))
    for name in ("a", "b"):
        (logs / f"{name}.log").write_text(f"{name}\n")
    table = follow(f"plain:{logs}/*.log")
    assert table.messages() == ["a"]
    assert table.messages() == []
    (logs / "a.log").unlink()
    assert table.messages() + table.messages() == ["b"]


@pytest.mark.parametrize("call", ["stat", "open"])
def test_gone_meanwhile(
    table: Any, logs: Path, call: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is rotated or removed between two steps of a look is nothing to complain about."""
    real = getattr(os, call)

    def miss(path: Any, *words: Any, **more: Any) -> Any:
        if str(path).endswith("b.log"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return real(path, *words, **more)

    (logs / "b.log").write_text("two\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, miss)
        assert table.messages() == ["one"]
    assert not caplog.records
    assert table.messages() == ["two"]
