"""The end-to-end suite: the same tests against every way to run the system."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import ComposeStack
from member import Lab, Member, Visit
from stack import EmbeddedStack, Stack

TARGETS: dict[str, type[Stack]] = {"compose": ComposeStack, "embedded": EmbeddedStack}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the caller choose the way to run."""
    parser.addoption("--target", choices=sorted(TARGETS), default="embedded", help="which way to run is tested")
    parser.addoption("--restart-engine", help="command that kills the Docker engine with -9 and starts it again")
    parser.addoption("--pictures", type=Path, help="folder in which browser tests keep pictures of the pages")


def pytest_configure(config: pytest.Config) -> None:
    """Register what a test of one target says."""
    config.addinivalue_line("markers", "target(name, reason): runs against this target only, and why")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is another target's own, and have the look at all events of the run come last."""
    chosen = config.getoption("--target")
    items[:] = [item for item in items if all(mark.args == (chosen,) for mark in item.iter_markers("target"))]
    # Others may have containers of their own on this engine.
    if not config.getoption("--restart-engine"):
        items[:] = [item for item in items if item.path.name != "test_engine.py"]
    items.sort(key=lambda item: item.name == "test_no_secret_of_the_run_is_in_an_event")


@pytest.fixture(scope="session")
def restart_engine(request: pytest.FixtureRequest) -> str:
    """Tell how the engine is killed and started again."""
    return str(request.config.getoption("--restart-engine"))


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> type[Stack]:
    """Say how a test starts a system of its own."""
    return TARGETS[request.config.getoption("--target")]


@pytest.fixture(scope="session")
def stack(kind: type[Stack]) -> Iterator[Stack]:
    """Start the system once for all tests."""
    running = kind()
    try:
        running.up()
        yield running
    finally:
        running.down()


@pytest.fixture(scope="session")
def own(stack: Stack) -> ComposeStack:
    """Give the stack of all tests to what is about containers alone."""
    assert isinstance(stack, ComposeStack)
    return stack


@pytest.fixture
def visit(stack: Stack) -> Iterator[Visit]:
    """Open browsers for members, and close them at the end; labs that they started are stopped."""
    visitors: list[Member] = []

    def open_browser(login: str) -> Member:
        visitors.append(Member(stack, login))
        return visitors[-1]

    yield open_browser
    for visitor in visitors:
        visitor.leave()


@pytest.fixture(scope="session")
def alice(stack: Stack) -> Iterator[Member]:
    """Sign alice in and start her lab."""
    member = Member(stack, "alice")
    member.sign_in()
    page = member.start_lab()
    assert page.status_code == 200, page.text
    yield member
    member.leave()


@pytest.fixture(scope="session")
def lab(alice: Member) -> Lab:
    """Speak to alice's lab."""
    return Lab(alice)
