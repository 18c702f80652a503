"""What a pod's status says of a lab: whether it has ended, and what keeps it from starting."""

from dataclasses import dataclass
from typing import Any

from .manifest import CONTAINER

PATIENCE_SECONDS = 10
"""How long a pod may find no node, or a kubelet lack what a container needs: labs that end make room, caches fill."""

UNPULLED = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"})
"""Why a container waits for its image in vain (Kubernetes, pkg/kubelet/images/types.go)."""

UNMADE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"})
"""Why a container cannot be made (pkg/kubelet/kuberuntime/kuberuntime_container.go)."""


@dataclass(frozen=True)
class Obstacle:
    """What keeps a pod from starting.

    Attributes:
        sentence: What it is, for the member.
        words: The cluster's own, which follow it.
        reason: Label of the failure in the metrics.
        status: HTTP status.
    """

    sentence: str
    words: str
    reason: str
    status: int


def terminated(pod: dict[str, Any]) -> dict[str, Any]:
    """Return how a lab's container ended; nothing where it has not, or where there never was one.

    Args:
        pod: A pod as the API has it.
    """
    for container in pod["status"].get("containerStatuses", []):
        if container["name"] == CONTAINER:
            end: dict[str, Any] = container["state"].get("terminated", {})
            return end
    return {}


def ended(pod: dict[str, Any]) -> bool:
    """Tell whether a lab has ended: its container, whatever others do, or the pod, which may have been evicted.

    Args:
        pod: A pod as the API has it.
    """
    return pod["status"].get("phase") in ("Succeeded", "Failed") or bool(terminated(pod))


def obstacle(pod: dict[str, Any], seconds: float) -> Obstacle | None:
    """Return what will hardly pass by itself.

    Args:
        pod: A pod as the API has it.
        seconds: How long ago its start began.
    """
    status = pod["status"]
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = container["state"].get("waiting", {})
        words = waiting.get("message", "")
        if waiting.get("reason") in UNPULLED:
            sentence = f"The image {container['image']} cannot be had. Please pick another, or tell your operator:"
            return Obstacle(sentence, words, "image", 503)
        if waiting.get("reason") in UNMADE and seconds > PATIENCE_SECONDS:
            return Obstacle("Your lab could not be started:", words, "cluster", 500)
    for condition in status.get("conditions", []):
        if condition.get("reason") == "Unschedulable" and seconds > PATIENCE_SECONDS:
            return Obstacle("There is no room for your lab right now:", condition.get("message", ""), "room", 503)
    return None
