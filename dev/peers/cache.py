"""What was built or fetched stays in the user's cache, whole or not at all."""

import fcntl
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from platformdirs import user_cache_path

LAST_LINES = 15
"""How much of what a failing tool wrote is shown."""


class PeerError(Exception):
    """A program cannot be had; the text says why.

    Args:
        text: one line, and below it what a tool said.
        missing: whether something has to be installed first.
    """

    def __init__(self, text: str, *, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing


def folder() -> Path:
    """Give the folder of all programs: `$XDG_CACHE_HOME/jupyterlabdemo`, or what is usual on this system."""
    return user_cache_path("jupyterlabdemo")


def once(name: str, make: Callable[[Path], None]) -> Path:
    """Give a folder of the cache.

    Args:
        name: the folder's; whatever its content depends on is in it.
        make: fills the folder that it is given. When that fails or is killed, the next call begins anew; a second one
            at the same time waits for the first.

    Raises:
        PeerError: when `make` does, or the cache cannot be used.
    """
    try:
        return _once(folder() / name, make)
    except OSError as error:
        raise PeerError(f"the cache {folder()} cannot be used: {error.strerror or error}") from error


def _once(found: Path, make: Callable[[Path], None]) -> Path:
    if found.exists():
        return found
    found.parent.mkdir(parents=True, exist_ok=True)
    with found.with_name(f"{found.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            aside = found.with_name(f"{found.name}.new")
            if aside.exists():
                shutil.rmtree(aside)
            aside.mkdir()
            make(aside)
            aside.rename(found)
    return found


def call(command: Sequence[object], cwd: Path) -> str:
    """Run a tool, and give what it printed.

    Args:
        command: the tool and its arguments.
        cwd: where it runs.

    Raises:
        PeerError: it failed, or cannot be run.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - the tools that the modules beside this one name
    except OSError as error:
        raise PeerError(f"`{words[0]}` cannot be run: {error.strerror}") from error
    if done.returncode:
        last = "".join(f"\n    {line}" for line in f"{done.stdout}{done.stderr}".splitlines()[-LAST_LINES:])
        raise PeerError(f"`{' '.join(words)}` ended with status {done.returncode}{last}")
    return done.stdout


def require(program: str, what: str) -> None:
    """Make sure of a tool.

    Args:
        program: its name.
        what: what to tell to install where it is missing.

    Raises:
        PeerError: it is missing.
    """
    if not shutil.which(program):
        raise PeerError(f"needs {what}", missing=True)
