"""The end-to-end suite: the same tests against every way to run the system."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import ClusterStack, kubectl
from containers import ComposeStack
from member import Lab, Member, Visit
from stack import CommandError, EmbeddedStack, Stack, Writer
from work import Work

TARGETS: dict[str, type[Stack]] = {"cluster": ClusterStack, "compose": ComposeStack, "embedded": EmbeddedStack}

OPTIONS = {
    "restart_engine": "test_engine.py",
    "api_server_pid": "test_cluster_outage.py",
    "nfs_client": "test_cluster_nfs.py",
    "registry": "test_cluster_production.py",
}
"""Options without which a file's tests are left out: what they do to a machine, or need of one, is for who says how."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the caller choose the way to run."""
    parser.addoption("--target", choices=sorted(TARGETS), default="embedded", help="which way to run is tested")
    parser.addoption("--restart-engine", help="command that kills the Docker engine with -9 and starts it again")
    parser.addoption("--api-server-pid", type=Path, help="file with the process id of the API server, which is stopped")
    parser.addoption("--nfs-client", type=Path, help="program that runs a script on a machine with an NFS client")
    parser.addoption("--registry", action="store_true", help="only what has a cluster pull from a registry")
    parser.addoption("--pictures", type=Path, help="folder in which browser tests keep pictures of the pages")


def pytest_configure(config: pytest.Config) -> None:
    """Register what a test of some targets says, and look for the cluster where one is asked for."""
    config.addinivalue_line("markers", "target(*names, reason): runs against these targets only, and why")
    config.addinivalue_line("markers", "changes: changes the one stack that a cluster has: comes after all others")
    config.addinivalue_line("markers", "bare: needs a cluster on which the system is not yet: comes before all others")
    if config.getoption("--target") == "cluster":
        if not shutil.which("kubectl"):
            raise pytest.UsageError("--target=cluster: there is no kubectl on PATH")
        try:
            kubectl("get", "--raw=/readyz", "--request-timeout=10s")
        except CommandError as error:
            raise pytest.UsageError(f"--target=cluster: KUBECONFIG should lead to a cluster: {error}") from error


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is another target's own, and have the look at all events of the run come last.

    Whoever starts a stack of his own on a cluster changes that of all tests, and comes later still.
    """
    chosen = config.getoption("--target")
    items[:] = [item for item in items if all(chosen in mark.args for mark in item.iter_markers("target"))]
    missing = {file for option, file in OPTIONS.items() if not config.getoption(option)}
    items[:] = [item for item in items if item.path.name not in missing]

    if config.getoption("registry"):
        items[:] = [item for item in items if item.get_closest_marker("registry")]

    def turn(item: pytest.Item) -> int:
        if item.get_closest_marker("bare"):
            return -1
        if chosen == "cluster" and item.get_closest_marker("changes"):
            return 2
        return int(item.name == "test_no_secret_of_the_run_is_in_an_event")

    items.sort(key=turn)


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


@pytest.fixture(scope="session")
def cluster(stack: Stack) -> ClusterStack:
    """Give the stack of all tests to what is about clusters alone."""
    assert isinstance(stack, ClusterStack)
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


@pytest.fixture
def work(stack: Stack, alice: Member, lab: Lab) -> Iterator[Work]:
    """Have alice work."""
    assert isinstance(stack, ComposeStack | ClusterStack)
    running = Work(stack, alice, lab)
    yield running
    lab.api("DELETE", f"kernels/{running.kernel}")


@pytest.fixture
def writer(stack: Stack) -> Iterator[Writer]:
    """Write to a log beside those of the services."""
    running = stack.writer()
    yield running
    running.remove()
