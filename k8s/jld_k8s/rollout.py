"""Waits for workloads to run as they were applied."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jld_embedded.up import say

from .cluster import LABS, NAME, NAMESPACES, PART_OF, Cluster, Object, key, labels
from .errors import ClusterError, RolloutError
from .manifests import WORKLOADS, workloads

DEADLINE = 300.0
"""Seconds that one workload may take while nothing about it changes."""

PATIENCE = 8.0
"""Seconds that a trouble must last: a pod may be started before what it mounts is there."""

OUTAGE = 120.0
"""Seconds for which the API server may be away while workloads are waited for."""

RESTARTS = 3
"""Ends of a container after which it is not waited for: the first ones may wait for another part."""

EX_CONFIG = 78
"""What our services end with where a setting is wrong (sysexits.h): another start brings nothing."""

HOPELESS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError",
            "CreateContainerError", "RunContainerError")  # fmt: skip
"""What a container waits for that does not come by itself."""

PULLING = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")

IMAGES = ("DaemonSet", LABS, "images")
"""What pulls the images of labs ahead, without which all else runs: a node that is slow at it fails no deploy."""


class State(NamedTuple):
    """How far a workload is.

    Attributes:
        ready: whether all its pods are as applied, and available.
        progress: how many are, in words.
    """

    ready: bool
    progress: str


def state(workload: Object, away: int = 0) -> State:
    """Tell how far a workload is, by what its controller says.

    Args:
        workload: which.
        away: nodes that are not ready, on which no pod can be; a controller waits for them too.
    """
    status, spec = workload.get("status") or {}, workload["spec"]
    seen = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 1)
    match workload["kind"]:
        case "DaemonSet":
            wanted = max(status.get("desiredNumberScheduled", 0) - away, 0)
            current, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
        case "StatefulSet":
            wanted = spec.get("replicas", 1)
            current, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
            if status.get("currentRevision") == status.get("updateRevision"):
                current = status.get("currentReplicas", current)
        case _:
            wanted = spec.get("replicas", 1)
            current, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
            available = min(available, wanted + current - status.get("replicas", 0))
    return State(seen and current >= wanted and available >= wanted, f"{min(current, max(available, 0))} of {wanted}")


def trouble(pod: Object) -> str:
    """Say why a pod will not run by itself; empty where it may."""
    status = pod.get("status") or {}
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for one in statuses:
        name = f"{one['name']}: " if len(statuses) > 1 else ""
        if why := broken(one):
            return f"{name}{why}"
    return ""


def broken(status: Object) -> str:
    """Say why a container will not run by itself; empty where it may."""
    waiting = status.get("state", {}).get("waiting") or {}
    ended = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated") or {}
    reason = waiting.get("reason", "")
    if reason in HOPELESS:
        image = f" {status['image']}" if reason in PULLING else ""
        return f"{reason}{image}: {' '.join(waiting.get('message', '').split())}".rstrip(": ")
    if status.get("ready") or "running" in status.get("state", {}):
        return ""
    if ended.get("exitCode") == EX_CONFIG:
        return f"a setting is wrong (status {EX_CONFIG})"
    if reason == "CrashLoopBackOff" and status.get("restartCount", 0) >= RESTARTS:
        why = "out of memory" if ended.get("reason") == "OOMKilled" else f"status {ended.get('exitCode')}"
        return f"ended {status['restartCount']} times ({why})"
    return ""


def homeless(pod: Object) -> str:
    """Say why no node takes a pod, which may come: a volume, or a node, can be on its way."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((one.get("message", "") for one in conditions if one.get("reason") == "Unschedulable"), "")


class Watch:
    """Looks at workloads and their pods."""

    def __init__(self, cluster: Cluster, objects: Sequence[Object]) -> None:
        """Take what was applied."""
        self.cluster = cluster
        self.waiting = {key(found) for found in workloads(objects)}
        self.away = len([node for node in cluster.items("nodes") if not is_there(node)])
        self.begun = time.monotonic()
        self.moved: dict[tuple[str, str, str], tuple[tuple[str, str], float]] = {}
        self.troubled: dict[str, float] = {}
        self.told: set[tuple[str, str]] = set()

    def wait(self) -> None:
        """Wait until all are ready, and say so of each that is not at the first look.

        Raises:
            RolloutError: where one cannot come to run, or nothing moves any more.
            ClusterError: where the API server is away for long.
        """
        first = True
        while True:
            now, pods = self.look()
            for name in sorted(self.waiting):
                if name in now and state(now[name], self.away).ready:
                    self.waiting.discard(name)
                    if not first:
                        say(f"  {name[2]:13}ready after {time.monotonic() - self.begun:5.1f} s")
            if not self.waiting:
                return
            self.unstick(now, pods)
            for name in sorted(self.waiting):
                try:
                    self.check(name, now.get(name), pods)
                except RolloutError as error:
                    if name != IMAGES:
                        raise
                    say(f"  {error}; the deploy goes on: on such a node, labs wait for their image at their start")
                    self.waiting.discard(name)
            first = False
            time.sleep(1)

    def look(self) -> tuple[Mapping[tuple[str, str, str], Object], list[Object]]:
        """Ask for all workloads and pods of the system; an API server that is away may come back."""
        since = time.monotonic()
        while True:
            try:
                return self.ask()
            except ClusterError:
                if time.monotonic() - since > OUTAGE:
                    raise
                time.sleep(1)

    def ask(self) -> tuple[Mapping[tuple[str, str, str], Object], list[Object]]:
        """Ask for all workloads and pods of the system."""
        kinds = ",".join(f"{kind}s".lower() for kind in (*WORKLOADS, "Pod"))
        found = self.cluster.items(kinds, "--all-namespaces", f"--selector={PART_OF}")
        ours = [one for one in found if one["metadata"]["namespace"] in NAMESPACES]
        now = {key(one): one for one in ours if one["kind"] in WORKLOADS}
        return now, [one for one in ours if one["kind"] == "Pod"]

    def check(self, name: tuple[str, str, str], workload: Object | None, pods: Sequence[Object]) -> None:
        """See that a workload may still come to run."""
        latest = youngest(name, pods)
        uid = latest["metadata"]["uid"] if latest else ""
        where = (state(workload, self.away).progress if workload else "not there", uid)
        before, since = self.moved.setdefault(name, (where, time.monotonic()))
        if before != where:
            self.moved[name] = (where, time.monotonic())
            if where[0] != before[0]:
                say(f"  {name[2]:13}{where[0]}")
        why, waits = (trouble(latest), homeless(latest)) if latest else ("", "")
        if time.monotonic() - since > DEADLINE and before == where:
            raise RolloutError(
                f"{name[2]}: {where[0]} ready, and nothing moves since {DEADLINE:.0f} s; {waits}".rstrip("; ")
            )
        if not why and not waits:
            self.troubled.pop(uid, None)
            return
        lasting = time.monotonic() - self.troubled.setdefault(uid, time.monotonic()) > PATIENCE
        if lasting and why:
            raise RolloutError(f"{name[2]}: {why}")
        if lasting and (name[2], waits) not in self.told:
            self.told.add((name[2], waits))
            say(f"  {name[2]:13}waits: {waits}")

    def unstick(self, now: Mapping[tuple[str, str, str], Object], pods: Sequence[Object]) -> None:
        """Delete broken pods of a StatefulSet's former revision: its controller waits for them to be ready, for ever.

        https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
        """
        for pod in pods:
            owner: Object = next(
                (one for one in pod["metadata"].get("ownerReferences") or [] if one.get("controller")), {}
            )
            where = (str(owner.get("kind", "")), pod["metadata"]["namespace"], str(owner.get("name", "")))
            if where not in self.waiting or where not in now or where[0] != "StatefulSet":
                continue
            latest = now[where].get("status", {}).get("updateRevision")
            is_former = labels(pod).get("controller-revision-hash") != latest
            if is_former and trouble(pod) and "deletionTimestamp" not in pod["metadata"]:
                name = pod["metadata"]["name"]
                say(f"  {name}: of an earlier deploy, and broken: deleted, so that the new one can start")
                self.cluster.run("delete", "pod", name, f"--namespace={where[1]}", "--wait=false", "--ignore-not-found")


def is_there(node: Object) -> bool:
    """Whether a node is ready."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions") or [])


def youngest(name: tuple[str, str, str], pods: Sequence[Object]) -> Object | None:
    """Find the pod that a workload has made last."""
    own = [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == name[1] and labels(pod).get(NAME) == name[2]
    ]  # fmt: skip
    return max(own, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)
