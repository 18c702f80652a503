"""What the fileserver's tests share: the programs as processes, and file systems that fail on command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest

TOKEN = "a-token-for-tests-only"


@pytest.fixture
def token() -> str:
    """Give the provisioner's token."""
    return TOKEN


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Give an empty folder to export."""
    folder = tmp_path / "export"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Give a function that polls a condition until a deadline, and says what it waited for."""

    def wait(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds} s for: {what}")
            time.sleep(0.01)

    return wait


class Program:
    """One of the programs, running.

    Args:
        process: the process.
        log: the file that its standard output goes to.
        http: what asks it.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path, http: httpx.Client) -> None:
        self.process = process
        self._log = log
        self._http = http

    def events(self) -> list[dict[str, Any]]:
        """Parse the log written so far; each line must be one JSON object."""
        return [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line[-1] == "\n"]

    def port(self) -> int | None:
        """Give the port it listens on, None before it does."""
        return next((event["port"] for event in self.events() if event["message"] == "listens"), None)

    def get(self, path: str) -> httpx.Response:
        """Ask it."""
        return self._http.get(f"http://127.0.0.1:{self.port()}{path}")

    def metric(self, sample: str) -> float:
        """Give one of its figures, 0 when it has none of that name."""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0

    def children(self) -> list[int]:
        """Give the ids of its child processes."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def end(self, seconds: float = 10) -> int:
        """Send SIGTERM and give the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give a function that starts a program with the given settings and nothing else in its environment."""
    processes: list[subprocess.Popen[str]] = []

    def start(program: str, **settings: object) -> subprocess.Popen[str]:
        log = tmp_path / f"log-{len(processes)}"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "jld_fileserver", program],
                env={name: str(value) for name, value in settings.items()},
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """Give one HTTP client for all: making one takes longer than a request."""
    with httpx.Client(timeout=5) as client:
        yield client


@pytest.fixture
def run(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path, http: httpx.Client, wait_until: Callable[..., None]
) -> Callable[..., Program]:
    """Give a function that starts a program on a free port and waits until it listens."""

    def start(name: str, **settings: object) -> Program:
        prefix = {"provisioner": "FILESERVER", "keepalive": "KEEPALIVE"}[name]
        before = len(list(tmp_path.glob("log-*")))
        process = launch(name, **{f"{prefix}_HOST": "127.0.0.1", f"{prefix}_PORT": 0}, **settings)
        program = Program(process, tmp_path / f"log-{before}", http)
        wait_until(lambda: program.port() or process.poll() is not None, f"{name} listens")
        assert process.poll() is None, process.communicate()[1]
        return program

    return start


def cannot_run(reason: str) -> NoReturn:
    """Skip a test, but in CI, where all must run, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"cannot run in CI: {reason}", pytrace=False)
    else:
        pytest.skip(reason)


class Disk:
    """A mounted file system of its own.

    Args:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, *arguments: str) -> None:
        """Mount or remount it with options."""
        answer = subprocess.run(["mount", *arguments, str(self.folder)], capture_output=True, text=True, check=False)
        if answer.returncode:
            # Root inside a container often may not mount.
            cannot_run(f"mounting is refused here: {answer.stderr.splitlines()[0]}")

    def freeze(self) -> None:
        """Let every write hang, uninterruptibly, as on a disk that has gone away."""
        subprocess.run(["fsfreeze", "--freeze", str(self.folder)], check=True)

    def thaw(self) -> None:
        """Let the writes go on."""
        subprocess.run(["fsfreeze", "--unfreeze", str(self.folder)], check=False, capture_output=True)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Disk]:
    """Give a file system in memory with room for a dozen files."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    disk = Disk(folder)
    disk.mount("-t", "tmpfs", "-o", "size=64k,nr_inodes=12", "tmpfs")
    yield disk
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def freezable_disk(tmp_path: Path, launch: object, wait_until: Callable[..., None]) -> Iterator[Disk]:
    """Give a file system that can be frozen; it is thawed before `launch` waits for its processes to end."""
    del launch
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        os.truncate(file.fileno(), 16 * 2**20)
    if not shutil.which("mkfs.ext4"):
        cannot_run("needs mkfs.ext4 (Debian package: e2fsprogs)")
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    disk = Disk(folder)
    disk.mount("-o", "loop", str(image))
    yield disk
    disk.thaw()
    wait_until(
        lambda: subprocess.run(["umount", str(folder)], check=False, capture_output=True).returncode == 0,
        "the disk is no longer used",
    )
