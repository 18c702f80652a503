"""A lab's pod: the operator's template, filled in with what depends on the member."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .lab import Lab

PREFIX = "org.lsst.jupyterlabdemo"
"""Of the annotations and labels that say whose a pod is."""

SELECTOR = {"app.kubernetes.io/name": "lab"}
"""What tells labs' pods from others of their namespace."""

LABELS = SELECTOR | {"app.kubernetes.io/part-of": "jupyterlabdemo"}
"""What the hub makes has these, whatever a template says: by them an operator's tools find it."""

CONTAINER = "lab"
"""The container of the template that is the member's."""

HOMES = "homes"
"""The volume of homes and group folders."""

TOKEN_KEY = "token"  # noqa: S105 - where the token is
"""Key of the lab's token in its secret."""

IDS = ("runAsUser", "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "fsGroup")
"""What a template leaves to the hub: who a lab is. An fsGroup would give the member's files to a group."""


class TemplateError(Exception):
    """A file is no template of a lab's pod; the message says what would be right."""


@dataclass(frozen=True)
class Place:
    """Where a lab's pod is to be.

    Attributes:
        name: Name of the pod, and of the secret with its token.
        member: The member's login as a label's value.
        claim: Claim of the folder that holds homes and groups.
        port: Where the lab listens.
    """

    name: str
    member: str
    claim: str
    port: int


def read_template(path: Path) -> dict[str, Any]:
    """Read a template.

    Args:
        path: A YAML file with one pod.

    Raises:
        TemplateError: It cannot be read, or is none.
    """
    try:
        read = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TemplateError(f"a readable YAML file with a pod ({' '.join(str(error).split())})") from error
    check(read)
    template: dict[str, Any] = read
    return template


def check(template: Any) -> None:
    """Check that a template has the parts that the hub fills in, and leaves them to it.

    Raises:
        TemplateError: It has not.
    """
    if not isinstance(template, dict) or (template.get("apiVersion"), template.get("kind")) != ("v1", "Pod"):
        raise TemplateError("a file with one object of apiVersion v1 and kind Pod")
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if (
        spec is None
        or not isinstance(containers, list)
        or not all(isinstance(container, dict) for container in containers)
    ):
        raise TemplateError("a pod with spec.containers")
    if [container.get("name") for container in containers].count(CONTAINER) != 1:
        raise TemplateError(f"a pod with one container called {CONTAINER}")
    for part in (spec, *containers, *(spec.get("initContainers") or [])):
        if found := [name for name in IDS if name in (part.get("securityContext") or {})]:
            raise TemplateError(f"a pod without {', '.join(found)}: the hub sets who a lab runs as")
    if any(volume.get("name") == HOMES for volume in spec.get("volumes") or []):
        raise TemplateError(f"a pod without a volume {HOMES}: the hub mounts the member's folders")


def secret(place: Place, token: str) -> dict[str, Any]:
    """Return the secret with a lab's token: who may read pods must not get into labs.

    Args:
        place: Where the lab's pod is to be.
        token: The lab's token for the hub's API.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": place.name, "labels": dict(LABELS)},
        "stringData": {TOKEN_KEY: token},
    }


def manifest(
    lab: Lab, template: Mapping[str, Any], place: Place, environment: Mapping[str, str], token: str
) -> dict[str, Any]:
    """Return a lab's pod.

    Args:
        lab: The lab.
        template: What all labs' pods have in common.
        place: Where it is to be.
        environment: All its variables.
        token: Its token: a variable with this value is read from the secret.
    """
    pod: dict[str, Any] = copy.deepcopy(dict(template))
    metadata, spec = pod.setdefault("metadata", {}), pod["spec"]
    metadata["name"] = place.name
    metadata.pop("namespace", None)
    metadata["labels"] = (
        (metadata.get("labels") or {})
        | LABELS
        | {
            f"{PREFIX}/member": place.member,
            f"{PREFIX}/uid": str(lab.identity.uid),
        }
    )
    metadata["annotations"] = (metadata.get("annotations") or {}) | {f"{PREFIX}/member": lab.identity.login}
    spec["securityContext"] = (spec.get("securityContext") or {}) | {
        "runAsUser": lab.identity.uid,
        "runAsGroup": lab.identity.uid,
        "supplementalGroups": [group.id for group in lab.identity.groups],
        # Else the runtime adds what the image's own /etc/group says.
        "supplementalGroupsPolicy": "Strict",
    }
    volumes = spec["volumes"] = spec.get("volumes") or []
    for volume in volumes:
        folder = volume.get("emptyDir") or {}
        if folder.get("medium") == "Memory":
            folder.setdefault("sizeLimit", str(lab.mem_limit // 2))
    volumes.append({"name": HOMES, "persistentVolumeClaim": {"claimName": place.claim}})
    container = next(container for container in spec["containers"] if container["name"] == CONTAINER)
    container["image"] = lab.image
    container["env"] = [
        *(variable for variable in container.get("env") or [] if variable["name"] not in environment),
        *(_variable(name, value, place, token) for name, value in sorted(environment.items())),
    ]
    container["resources"] = _resources(lab, container.get("resources") or {})
    container["volumeMounts"] = (container.get("volumeMounts") or []) + [
        {"name": HOMES, "mountPath": folder.target, "subPath": folder.source} for folder in (lab.home, *lab.groups)
    ]
    return pod


def _variable(name: str, value: str, place: Place, token: str) -> dict[str, Any]:
    if value == token:
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": place.name, "key": TOKEN_KEY}}}
    # The kubelet puts variables in place of $(NAME), and one dollar in place of two.
    return {"name": name, "value": value.replace("$", "$$")}


def _resources(lab: Lab, given: Mapping[str, Any]) -> dict[str, Any]:
    """Add CPU and memory to what the template may say of other resources, such as ephemeral-storage."""
    return dict(given) | {
        "limits": (given.get("limits") or {}) | _quantities(lab.cpu_limit, lab.mem_limit),
        "requests": (given.get("requests") or {}) | _quantities(lab.cpu_guarantee, lab.mem_guarantee),
    }


def _quantities(cpus: float, memory: int) -> dict[str, str]:
    """Write CPUs in thousandths, Kubernetes' finest unit, and memory in bytes."""
    return {"cpu": f"{math.ceil(round(cpus * 1000, 6))}m", "memory": str(memory)}
