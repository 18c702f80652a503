"""Pods that are deleted: others take their place, and nothing is lost meanwhile."""

import logging
import time
from collections.abc import Iterator

import pytest
from broker import Arrivals, arrivals
from cluster import SERVICES, ClusterStack, is_ready, kubectl
from member import Lab, Member
from stack import Writer, until
from work import Work

pytestmark = [pytest.mark.root, pytest.mark.target("cluster", reason="there are pods")]

LOG = logging.getLogger(__name__)
"""Figures, for who runs these with --log-cli-level=INFO."""

NOTE = """
import os, threading, time
noting = True
def note():
    global noted
    with open(os.path.expanduser('~/noted'), 'w') as file:
        for noted in range(10**9):
            file.write(f'{noted}\\n')
            file.flush()
            os.fsync(file.fileno())
            time.sleep(0.02)
            if not noting:
                return
noter = threading.Thread(target=note)
noter.start()
"""
"""Writes numbers to a file in a member's home, until it is told to end."""


@pytest.fixture(scope="module")
def work(cluster: ClusterStack, alice: Member, lab: Lab) -> Iterator[Work]:
    """Have alice work."""
    running = Work(cluster, alice, lab)
    yield running
    lab.api("DELETE", f"kernels/{running.kernel}")


@pytest.fixture
def arrived(cluster: ClusterStack) -> Iterator[Arrivals]:
    """Collect all that has arrived at the broker since the stack's first start."""
    with arrivals(cluster.broker()) as reader:
        yield reader


def delete(cluster: ClusterStack, name: str) -> None:
    """Delete all pods of a service, and wait until as many others are ready."""
    gone = {pod["metadata"]["uid"] for pod in cluster.pods(name)}
    assert gone
    select = f"--selector=app.kubernetes.io/name={name}"
    kubectl("delete", "pods", select, f"--namespace={SERVICES[name]}", "--wait=false")

    def others_are_ready() -> bool:
        pods = [pod for pod in cluster.pods(name) if pod["metadata"]["uid"] not in gone]
        return len(pods) == len(gone) and all(map(is_ready, pods))

    until(f"{name} is ready again", others_are_ready, seconds=120)


def test_every_pod_is_deleted(cluster: ClusterStack, work: Work, writer: Writer, arrived: Arrivals) -> None:
    """Whatever pod of the system is deleted, no event and nothing in a home is lost, lab and kernel go on.

    Nobody signs in again.
    """
    with work.lab.join(work.kernel) as kernel:
        kernel.run(NOTE)
    for name in SERVICES:
        begun = time.monotonic()
        delete(cluster, name)
        ready = time.monotonic() - begun
        work.goes_on()
        LOG.info("%s: ready after %.1f s, work after %.1f s", name, ready, time.monotonic() - begun)
    with work.lab.join(work.kernel) as kernel:
        noted = int(kernel.run("noting = False\nnoter.join()\nnoted"))
    assert (cluster.export / "homes/4242424/noted").read_text().split() == [str(number) for number in range(noted + 1)]
    written = set(writer.end())
    assert len(written) > 1000
    until("every line is at the broker", lambda: written <= set(arrived.messages), seconds=90)
    found = {(event["message"], event["event"]["id"]) for event in list(arrived.events) if event["message"] in written}
    assert len(found) == len(written), "repeats have the id of the first"
