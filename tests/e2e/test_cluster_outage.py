"""The API server is away for two minutes; run only by who says which process it is."""

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cluster import LABS, ClusterStack, get, kubectl
from member import Lab, Visit
from stack import until
from work import Work

pytestmark = [pytest.mark.root, pytest.mark.target("cluster", reason="there is an API server")]

SECONDS = 120

HEARTBEAT = timedelta(seconds=11)
"""More than the time between two signs of life of a kubelet's; meanwhile the node's controller has looked twice."""


def heard_of() -> datetime:
    """Tell when the cluster has last heard of its node."""
    (lease,) = get("leases", "--namespace=kube-node-lease")["items"]
    return datetime.fromisoformat(lease["spec"]["renewTime"])


def test_outage_of_the_api_server(
    cluster: ClusterStack, work: Work, visit: Visit, request: pytest.FixtureRequest
) -> None:
    """While the API server hangs labs go on and the hub tells members so; then it recovers by itself.

    It sees again what happens to pods, and starts labs.
    """
    server = int(Path(request.config.getoption("--api-server-pid")).read_text())
    hub = cluster.pid("hub")
    bob = visit("bob")
    bob.sign_in()
    os.kill(server, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        kernels = work.lab.api("GET", "kernels")
        menu = bob.web.get(f"{bob.url}/hub/spawn")
        assert "Container Image Selector" in menu.text
        while (left := begun + SECONDS - time.monotonic()) > 0:
            before = work.count()
            assert "/hub/login" not in str(work.alice.web.get(f"{work.alice.url}/hub/home").url)
            assert work.alice.user()["server"] == "/user/alice/", "no lab is taken for ended"
            time.sleep(min(left, 5))
            assert work.count() > before
        assert work.lab.api("GET", "kernels")[0]["id"] == kernels[0]["id"]
    finally:
        os.kill(server, signal.SIGCONT)
    ended = datetime.now(UTC)
    until("the API server answers", lambda: "ok" in kubectl("get", "--raw=/readyz"), seconds=60)
    # Until then it takes the node for lost, and its Services lead nowhere.
    until("the node has been heard of again", lambda: heard_of() > ended + HEARTBEAT, seconds=60)
    until("the stack is ready", cluster.is_ready, seconds=120)
    assert cluster.pid("hub") == hub, "it did not have to be started again"
    work.goes_on()
    assert bob.start_lab().status_code == 200
    Lab(bob).api("GET", "status")
    kubectl("delete", "pod", "lab-bob", f"--namespace={LABS}")
    idle = {"server": None, "pending": None}
    until("the hub has noticed the lab's end", lambda: idle.items() <= bob.user().items(), seconds=60)
    assert bob.start_lab().status_code == 200
