"""What the tests of the repository's contracts share: its files."""

import ast
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jld_embedded.services import Stack
from jld_embedded.settings import Settings
from jld_embedded.state import State

ROOT = Path(__file__).resolve().parents[2]


def git(*arguments: str) -> str:
    """Ask git about the checkout, also where it belongs to another user."""
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def files() -> list[str]:
    """List the checkout's files as git knows them or would add them, relative to its root."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted({name for name in listed if name and (ROOT / name).is_file()})


@pytest.fixture(scope="session")
def texts(files: list[str]) -> dict[str, str]:
    """Read the files that are text."""
    found = {}
    for name in files:
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


@pytest.fixture(scope="session")
def modules(texts: dict[str, str]) -> dict[str, ast.Module]:
    """Parse the Python files."""
    return {name: ast.parse(text, name) for name, text in texts.items() if name.endswith(".py")}


@pytest.fixture(scope="session")
def messages() -> list[str]:
    """Read the message of every commit, with its author and committer."""
    return git("log", "-z", "--format=%h %an <%ae> %cn <%ce>%n%B").split("\0")


@pytest.fixture
def make_stack(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stack]:
    """Describe embedded stacks, on a machine that has nginx and RabbitMQ; arguments are what a user has set."""
    monkeypatch.setattr("jld_embedded.machine.find", Path)
    state = State(Path("/state"))
    return lambda **user: Stack(Settings(port=40000, https_port=50443), state, Path("/sockets"), user)
