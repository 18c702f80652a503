"""Programs of others are built or fetched once, whole or not at all, and it is said in a line what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from dev.configuration import ROOT
from dev.peers import PeerError, cache, go

MAKES = """
import sys, time
from pathlib import Path
from dev.peers import cache
def make(aside):
    (aside / "half").touch()
    print("begun", flush=True)
    sys.stdin.readline()
    (aside / "whole").touch()
print(cache.once("program", make))
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have a cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "jupyterlabdemo"


def start() -> subprocess.Popen[str]:
    """Have another process make a program."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", MAKES], cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload,no-any-return] # a dictionary of options


def command(*names: str, path: str = "/nowhere") -> subprocess.CompletedProcess[str]:
    """Ask for programs where others are found only in one folder."""
    words = ["/usr/bin/env", f"PATH={path}", sys.executable, "-m", "dev.peers", *names]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_made_once(folder: Path) -> None:
    """What is there is not made again."""
    made = []

    def make(aside: Path) -> None:
        made.append(aside)
        (aside / "file").write_text("x")

    assert cache.once("program", make) == cache.once("program", make) == folder / "program"
    assert (folder / "program/file").read_text() == "x"
    assert len(made) == 1


def test_killed(folder: Path) -> None:
    """Making that is killed leaves nothing that is taken for the program, and the next one begins anew."""
    with start() as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.kill()
    assert not (folder / "program").exists()
    cache.once("program", lambda aside: (aside / "other").touch())
    assert [file.name for file in (folder / "program").iterdir()] == ["other"]


def test_two_at_a_time(folder: Path) -> None:
    """Of two that want a program at the same time one makes it, and the other waits for that."""
    with start() as first:
        assert first.stdout
        assert first.stdout.readline() == "begun\n"
        with start() as second:
            assert first.communicate("\n")[0] == f"{folder / 'program'}\n"
            assert second.communicate("\n")[0] == f"{folder / 'program'}\n"
    assert {file.name for file in (folder / "program").iterdir()} == {"half", "whole"}


def test_failure(folder: Path) -> None:
    """When a tool fails, the error has its last lines, and nothing is kept."""

    def fail(aside: Path) -> None:
        cache.call(["sh", "-c", "echo first; echo second >&2; exit 3"], aside)

    with pytest.raises(PeerError, match=r"status 3\n    first\n    second"):
        cache.once("program", fail)
    assert not (folder / "program").exists()


def test_other_content(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A module whose sum is not the known one is not built."""
    asked: list[tuple[object, ...]] = []

    def answer(*words: object, cwd: Path) -> str:
        asked.append(words)
        return f'{{"Sum": "h1:another", "Dir": "{cwd}"}}'

    monkeypatch.setattr(go, "_go", answer)
    with pytest.raises(PeerError, match=r"its sum is h1:another, and should be h1:xZD9"):
        go.filebeat()
    assert [words[0] for words in asked] == ["mod"]
    assert not (folder / f"filebeat-{go.FILEBEAT}").exists()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("filebeat", "Go 1.23"), ("receiver", "Go 1.23"), ("perf-test", "Java 17"), ("syslog-ng", "Debian")],
)
def test_missing_tool(name: str, wanted: str) -> None:
    """Without the tool that makes it, one line tells what is needed, and the exit status is EX_UNAVAILABLE."""
    done = command(name)
    assert done.returncode == 69
    assert done.stderr.startswith(f"{name} ...\ndev.peers: {name}: needs {wanted}")
    assert done.stderr.count("\n") == 2
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("version", "switching", "fits"),
    [
        ("go1.26.8", "local", True),
        ("go1.23", "local", True),
        ("go1.22.1", "auto", True),
        ("go1.22.1", "local", False),
        ("go1.19.8", "", False),
    ],
)
def test_version_of_go(tmp_path: Path, version: str, switching: str, fits: bool) -> None:
    """A Go that is too old, and fetches no newer one by itself, is as good as none."""
    program = tmp_path / "bin/go"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nprintf '%s\\n%s\\n' '{version}' '{switching}'\n")
    program.chmod(0o755)
    status = command("receiver", path=f"{program.parent}:/usr/bin:/bin").returncode
    assert status == (0 if fits else 69)


def test_go_of_another_machine(tmp_path: Path) -> None:
    """A Go that cannot be run is as good as none, and a tool that cannot be run is named."""
    program = tmp_path / "bin/go"
    program.parent.mkdir()
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    done = command("receiver", path=f"{program.parent}:/usr/bin:/bin")
    assert (done.returncode, done.stderr.splitlines()[1:]) == (69, [f"dev.peers: receiver: needs {go.NEEDED}"])
    with pytest.raises(PeerError, match="cannot be run: Exec format error"):
        cache.call([program], tmp_path)


def test_cache_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache that cannot be made is named, with the reason, in one line."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    done = command("receiver")
    reason = f"the cache {tmp_path}/file/jupyterlabdemo cannot be used: Not a directory"
    assert (done.returncode, done.stderr.splitlines()[1:]) == (1, [f"dev.peers: receiver: {reason}"])


def test_usage() -> None:
    """Called with a name that it does not know, or with none, it tells the names, and exits with EX_USAGE."""
    for names in ((), ("filebeat", "vector")):
        done = command(*names)
        assert done.returncode == 64
        assert done.stderr == "usage: python -m dev.peers {filebeat,receiver,sender,perf-test,syslog-ng} ...\n"


def test_interrupted(folder: Path) -> None:
    """Ctrl-C ends it with a word and status 130, and nothing is kept."""
    folder.parent.joinpath("bin").mkdir()
    slow = folder.parent / "bin/go"
    slow.write_text("#!/bin/sh\n[ $1 = env ] && printf 'go1.26\\nlocal\\n' || { kill -INT $PPID; exec sleep 10; }\n")
    slow.chmod(0o755)
    done = command("receiver", path=f"{slow.parent}:/usr/bin:/bin")
    assert done.returncode == 130
    assert "interrupted" in done.stderr
    assert not any(found.name.startswith("golumber") and found.suffix == "" for found in folder.iterdir())
