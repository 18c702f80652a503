"""What dashboard and alerts ask for is what the running parts export."""

import re

import httpx
import pytest
from cluster import ClusterStack, is_ready
from containers import ComposeStack
from member import Visit
from monitoring import Figures, expressions, targets
from stack import EmbeddedStack, Stack

PORTS = {
    "hub": 8081,
    "proxy": 8002,
    "provisioner": 8083,
    "keepalive": 8084,
    "nginx": 8085,
    "filebeat": 8086,
    "logstash": 8087,
    "fileserver": 8088,
}

NFS = ("fileserver_nfs_up", "ganesha_process_resident_memory_bytes")
"""What the NFS server exports, which the embedded stack does without."""


def places(stack: Stack) -> dict[str, list[str]]:
    """Return the addresses at which each part may tell its metrics."""
    match stack:
        case EmbeddedStack():
            assert stack.is_ready()
            return {name: [url] for name, url in re.findall(r"^(\w+) .*? (http://\S+)", stack.output, re.MULTILINE)}
        case ComposeStack():
            # A part may listen in one of its networks only.
            return {
                name: [
                    f"http://{network['IPAddress']}:{PORTS[name]}/metrics"
                    for network in one["NetworkSettings"]["Networks"].values()
                ]
                for name, one in stack.services().items()
                if name in PORTS
            }
        case ClusterStack():
            return {
                f"{target.labels['component']} {target.address}": [f"http://{target.address}/metrics"]
                for target in targets(pod for pod in stack.pods() if is_ready(pod))
            }
    raise AssertionError(f"{type(stack).__name__}: where are its metrics?")


def pages(stack: Stack) -> dict[str, str]:
    """Ask each part as Prometheus would."""
    token = (stack.state / "secrets/metrics_token").read_text().strip()
    found = {}
    with httpx.Client(timeout=5) as client:
        for part, urls in places(stack).items():
            headers = {"Authorization": f"token {token}"} if part.startswith("hub") else {}
            for url in urls:
                try:
                    found[part] = client.get(url, headers=headers).raise_for_status().text
                except httpx.TransportError:
                    continue
            assert part in found, f"{part} tells nothing at {urls}"
    return found


@pytest.mark.usefixtures("lab")
def test_dashboard_and_alerts_ask_for_what_there_is(stack: Stack, visit: Visit) -> None:
    """Each metric, and each label that is asked for, is exported by a part, once its event has come."""
    with stack.github() as github:
        github.put("/outage", json={"kind": "500", "path": "/api/v3/user/orgs"}).raise_for_status()
        assert visit("bob").sign_in().status_code == 503
    asked = expressions()
    if isinstance(stack, EmbeddedStack):
        asked = [one for one in asked if not any(name in one.text for name in NFS)]
        assert len(asked) > 40
    figures = Figures(pages(stack).values())
    assert not [lack for one in asked for lack in figures.lacks(one)]
