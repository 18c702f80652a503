"""What only a trial shows: that images can be pulled, and that policies are enforced. In a throw-away namespace."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jld_embedded.up import say

from . import confined
from .cluster import Cluster, Object
from .credentials import REGISTRY, Content, secret
from .errors import ClusterError
from .finding import Finding
from .manifests import Key
from .report import statuses
from .rollout import PULLING

NAMESPACE = "jupyterlabdemo-preflight"

PULL_TIME = 900.0
"""Seconds that the images may take: one of labs has gigabytes."""

POLICY_TIME = 90.0
"""Seconds until a pod has reached another, or until a policy keeps it from that."""

REMEDY = "push it to where nodes can pull it by this name; one that a node has may not do (docs/operate.md, Images)"

LISTEN = "import http.server as h; h.ThreadingHTTPServer(('', 8888), h.SimpleHTTPRequestHandler).serve_forever()"

ASK = """
import os, socket, time
told = None
while True:
    try:
        socket.create_connection((os.environ["LISTENER"], 8888), 1).close()
        now = "reached"
    except OSError:
        now = "dropped"
    if now != told:
        print(now, flush=True)
        told = now
    time.sleep(0.1)
"""


@contextlib.contextmanager
def namespace(cluster: Cluster) -> Iterator[None]:
    """Make the throw-away namespace, and remove it whatever happens."""
    if cluster.find("namespace", NAMESPACE):
        # Of a run that was killed: the lock lets no other be at work.
        cluster.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
        cluster.ask("wait", f"namespace/{NAMESPACE}", "--for=delete", "--timeout=120s")
    made = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    try:
        cluster.apply([made])
        # Without the account, which is made a moment later, no pod is taken.
        wait_for(lambda: cluster.find("serviceaccount", "default", NAMESPACE))
        yield
    finally:
        cluster.ask("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


def pod(name: str, images: Sequence[str], command: Sequence[str], **environment: str) -> Object:
    """Write a pod of the trial's, one container an image, which may do nothing."""
    little = {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"trial": name}},
        "spec": {
            **confined.POD,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": f"{name}-{number}",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(command),
                    "env": [{"name": key, "value": value} for key, value in environment.items()],
                    "resources": little,
                    "securityContext": dict(confined.CONTAINER),
                }
                for number, image in enumerate(images)
            ],
        },
    }


def begin(cluster: Cluster, images: Sequence[str], registry: Content, python: str) -> None:
    """Start what takes its time, so that other things can be looked at meanwhile.

    Args:
        cluster: whose node pulls.
        images: what to pull.
        registry: what to show to a registry that asks; nothing where none does.
        python: an image with Python, of those; empty where none has it.
    """
    pods = [pod("pull", images, ["true"])]
    if python:
        pods.append(pod("listener", [python], ["python3", "-I", "-c", LISTEN]))
    for one in pods if registry else []:
        one["spec"]["imagePullSecrets"] = [{"name": REGISTRY[0].name}]
    cluster.apply([*([secret(Key(NAMESPACE, REGISTRY[0].name), registry)] if registry else []), *pods])


def pulled(cluster: Cluster, images: Sequence[str]) -> list[Finding]:
    """Wait until the node has pulled the images, and find those that it cannot.

    Args:
        cluster: whose node.
        images: what is pulled.
    """
    begun, told = time.monotonic(), time.monotonic()
    while True:
        found = cluster.find("pod", "pull", NAMESPACE)
        waiting = {one["image"]: one["state"]["waiting"] for one in images_waiting(found)}
        open_yet = [image for image, state in waiting.items() if state.get("reason") not in PULLING]
        if found and found["status"].get("containerStatuses") and not open_yet:
            return [
                Finding(f"image {image} cannot be pulled ({reason(state)})", REMEDY) for image, state in waiting.items()
            ]
        if time.monotonic() - begun > PULL_TIME:
            what = (
                f"{len(open_yet) or len(images)} images are not pulled after {PULL_TIME:.0f} s: {', '.join(open_yet)}"
            )
            return [Finding(what, "look at `kubectl describe nodes`")]
        if time.monotonic() - told > 10:  # noqa: PLR2004 - seconds between lines of progress
            told = time.monotonic()
            say(f"  {len(open_yet) or len(images)} images are yet to be pulled")
        time.sleep(0.2)


def images_waiting(found: Object | None) -> list[Object]:
    """List the containers of the pod whose image is not there."""
    return [
        one
        for one in statuses(found or {})
        if one.get("state", {}).get("waiting", {}).get("reason") in (*PULLING, "ContainerCreating", "PodInitializing")
        and not one.get("imageID")
    ]


def reason(waiting: Mapping[str, str]) -> str:
    """Say in few words why an image is not there."""
    text = " ".join(waiting.get("message", "").split())
    # What matters is at the end of a chain of words that each caller has put before those of whom it called.
    return f"{waiting.get('reason', '')}: {': '.join(text.split(': ')[-2:])}"


def enforced(cluster: Cluster, image: str) -> bool | None:
    """Find out whether a NetworkPolicy is enforced: a pod reaches the one that listens, and then no longer.

    Args:
        cluster: which.
        image: one with Python.

    Returns:
        Whether; None where one pod does not reach the other in the first place.
    """
    address = wait_for(
        lambda: ((cluster.find("pod", "listener", NAMESPACE) or {}).get("status") or {}).get("podIP", "")
    )
    if not address:
        return None
    cluster.apply([pod("asker", [image], ["python3", "-I", "-c", ASK], LISTENER=address)])
    if not wait_for(lambda: said(cluster, "reached")):
        return None
    deny = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": NAMESPACE},
        "spec": {"podSelector": {"matchLabels": {"trial": "listener"}}, "policyTypes": ["Ingress"]},
    }
    cluster.apply([deny])
    return bool(wait_for(lambda: said(cluster, "dropped"), 30.0))


def said(cluster: Cluster, word: str) -> str:
    """Give the last line of the asking pod, if it is this word."""
    lines = cluster.ask("logs", "asker", f"--namespace={NAMESPACE}", "--tail=1").stdout.split()
    return word if lines == [word] else ""


def wait_for(look: Any, timeout: float = POLICY_TIME) -> str:
    """Look until something is there, or the time is over."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(ClusterError):
            if found := look():
                return str(found)
        time.sleep(0.2)
    return ""
