"""Containers that were killed, stopped or removed: what brings them back, and what goes on meanwhile."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from containers import ComposeStack, docker
from member import Lab, Member
from stack import CHECKOUT, CommandError, until
from work import Work

pytestmark = pytest.mark.target("compose", reason="test_resilience.py has what every way to run has")

LOG = logging.getLogger(__name__)
"""Figures, for who runs these with --log-cli-level=INFO."""

SERVICES = list(yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"])


@pytest.fixture(scope="module")
def work(own: ComposeStack, alice: Member, lab: Lab) -> Iterator[Work]:
    """Have alice work."""
    running = Work(own, alice, lab)
    yield running
    lab.api("DELETE", f"kernels/{running.kernel}")


TOGETHER = [
    ["nginx"],
    ["proxy"],
    ["hub"],
    ["fileserver", "provisioner", "keepalive"],
    ["filebeat", "logstash", "broker"],
    ["github", "nginx-github"],
]
"""What is killed at a time: of those that wait for each other's checks, a few at once save a minute."""


def is_ready(service: dict[str, Any]) -> bool:
    """Tell whether a service's own check says so."""
    return bool(service["State"]["Running"] and service["State"]["Health"]["Status"] == "healthy")


def test_hub_and_proxy_made_anew(own: ComposeStack, work: Work) -> None:
    """`make up` makes hub and proxy anew that were removed; labs that ran are reached through them at once."""
    docker("rm", "--force", f"{own.project}-hub-1", f"{own.project}-proxy-1")
    begun = time.monotonic()
    own.make("up")
    ready = time.monotonic()
    work.goes_on()
    LOG.info("make up took %.1f s, work after %.1f s more", ready - begun, time.monotonic() - ready)
    assert time.monotonic() - ready < 30


def kill(stack: ComposeStack, names: list[str]) -> None:
    """Kill services with -9, and wait until all of the stack is ready again by itself."""
    pids = {name: stack.container(name)["State"]["Pid"] for name in names}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    until("others run", lambda: all(stack.container(name)["State"]["Pid"] not in (0, pids[name]) for name in names))
    until("all are ready", lambda: all(map(is_ready, stack.services().values())), seconds=60)


def test_every_service_is_killed() -> None:
    """The next test leaves no service out."""
    assert sorted(name for names in TOGETHER for name in names) == sorted(SERVICES)


@pytest.mark.root
@pytest.mark.parametrize("names", TOGETHER, ids=" and ".join)
def test_killed_containers_come_back(own: ComposeStack, work: Work, names: list[str]) -> None:
    """Containers that are killed with -9 are ready again by themselves; work goes on, and nobody signs in again."""
    begun = time.monotonic()
    kill(own, names)
    ready = time.monotonic() - begun
    work.goes_on()
    LOG.info("%s: ready after %.1f s, work after %.1f s", " and ".join(names), ready, time.monotonic() - begun)


@pytest.mark.root
def test_session_outlives_github(own: ComposeStack, work: Work) -> None:
    """Nobody has to sign in again after stand-in and hub were killed at once: a new hub asks it about everybody."""
    kill(own, ["github", "hub"])
    work.goes_on()


def test_status_names_what_is_not_ready(own: ComposeStack) -> None:
    """`make status` fails and names a part that does not run."""
    docker("stop", f"{own.project}-keepalive-1")
    try:
        with pytest.raises(CommandError, match=r"(?m)^keepalive +exited .* no: .*\n(.*\n)*.*Error 3"):
            own.make("status")
    finally:
        docker("start", f"{own.project}-keepalive-1")
    until("all are ready", lambda: all(map(is_ready, own.services().values())), seconds=60)
