"""What an operator must see when something does not come to run: pods, events, last words."""

from collections.abc import Iterator, Sequence

from jld_embedded.lines import printable, readable
from jld_embedded.up import say

from .cluster import NAMESPACES, PART_OF, Cluster, Object
from .errors import ClusterError
from .rollout import homeless, trouble

LINES = 12
"""What of a container's log is shown."""

EVENTS = 5
"""What of a pod's events is shown."""


def report(cluster: Cluster) -> None:
    """Print what is known about every pod that does not run as it should."""
    try:
        pods = cluster.items("pods", "--all-namespaces", f"--selector={PART_OF}")
        broken = [pod for pod in pods if pod["metadata"]["namespace"] in NAMESPACES and not is_ready(pod)]
        for pod in broken:
            for line in describe(cluster, pod):
                say(line)
        if not broken:
            say("all pods that there are run")
    except ClusterError as error:
        say(f"no report: {error}")


def is_ready(pod: Object) -> bool:
    """Whether a pod runs, and all its containers are ready, or it has done its work."""
    status = pod.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    return status.get("phase") == "Succeeded" or conditions.get("Ready") == "True"


def statuses(pod: Object) -> list[Object]:
    """Give the states of a pod's containers, those that run before the others first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def describe(cluster: Cluster, pod: Object) -> Iterator[str]:
    """Describe a pod: why it does not run, its last events, and the last lines of each container that is not ready."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    why = trouble(pod) or homeless(pod) or (pod.get("status") or {}).get("phase", "")
    yield f"\n{namespace}/{name}: {printable(why)}"
    for event in events(cluster, namespace, name):
        yield f"  {event}"
    for one in statuses(pod):
        if one.get("ready") or one.get("state", {}).get("terminated", {}).get("exitCode") == 0:
            continue
        yield from last_words(cluster, namespace, name, one)


def events(cluster: Cluster, namespace: str, name: str) -> Sequence[str]:
    """List the last events about a pod."""
    found = cluster.items("events", f"--namespace={namespace}", f"--field-selector=involvedObject.name={name}")
    found.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    told = [event for event in found if event.get("type") == "Warning"] or found
    return [
        f"{event.get('reason', '')}: {printable(' '.join(event.get('message', '').split()))}"
        for event in told[-EVENTS:]
    ]


def last_words(cluster: Cluster, namespace: str, name: str, status: Object) -> Iterator[str]:
    """Give the last lines of a container, those of its last run where it has only just begun again."""
    previous = ["--previous"] if status.get("restartCount") and "running" not in status.get("state", {}) else []
    ended = cluster.ask(
        *("logs", name, f"--namespace={namespace}", f"--container={status['name']}", f"--tail={LINES}", *previous)
    )
    for line in ended.stdout.splitlines() if ended.returncode == 0 else []:
        yield f"  {status['name']}: {readable(line)}"
