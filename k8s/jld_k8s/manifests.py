"""What a site renders to, and what can be read from it."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from .cluster import NAME, Object, key, labels

ORDER = (
    *("Namespace", "PriorityClass", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "ConfigMap"),
    *("PersistentVolume", "PersistentVolumeClaim", "Service", "PodDisruptionBudget"),
)
"""Kinds, in the order in which they are applied; workloads follow, and then all else."""

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")

STARTS = (
    *("fileserver", "broker", "github", "logstash", "filebeat", "proxy", "hub", "nginx", "nginx-github"),
    *("keepalive", "images"),
)
"""Workloads in the order of who needs whom."""

KEPT = ("Namespace", "PersistentVolume", "PersistentVolumeClaim", "Secret")
"""Kinds of which nothing is removed because it is no longer rendered."""

TAKES_NEW_FILES = ("nginx", "nginx-github")
"""Workloads that take a changed Secret without a new start."""

SECRETS_MARK = "org.lsst.jupyterlabdemo/secret"
"""The annotation of pods that has the versions of their Secrets: another one starts them anew."""

DEFAULT_LAB = "lsstsqre/jld-lab-py3"
"""The only image that may go without a tag: its name is older than the tags."""


class Key(NamedTuple):
    """A Secret's name."""

    namespace: str
    name: str


def parse(text: str) -> list[Object]:
    """Read what kustomize prints."""
    documents = yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return ordered(found for found in documents if found)


def dump(objects: Iterable[Object]) -> str:
    """Write objects as a reader wants them."""
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.SafeDumper):
    """Writes what stands at two places twice, in place of a reference."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - part of the signature
        """Say that nothing is to be a reference."""
        return True


def ordered(objects: Iterable[Object]) -> list[Object]:
    """Put objects into the order in which they are applied."""

    def rank(found: Object) -> tuple[int, int, tuple[str, str, str]]:
        kind, _, name = key(found)
        if kind in WORKLOADS:
            return len(ORDER), STARTS.index(name) if name in STARTS else len(STARTS), key(found)
        return ORDER.index(kind) if kind in ORDER else len(ORDER) + 1, 0, key(found)

    return sorted(objects, key=rank)


def workloads(objects: Iterable[Object]) -> list[Object]:
    """Choose the workloads."""
    return [found for found in objects if found["kind"] in WORKLOADS]


def pod(workload: Object) -> dict[str, Any]:
    """Give the pod that a workload makes."""
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: Object) -> Iterator[dict[str, Any]]:
    """Give a workload's containers, those that run before the others too."""
    yield from pod(workload).get("initContainers") or []
    yield from pod(workload)["containers"]


def images(objects: Iterable[Object]) -> list[str]:
    """List the images of all workloads, each once."""
    return list(dict.fromkeys(one["image"] for found in workloads(objects) for one in containers(found)))


def untagged(image: str) -> bool:
    """Whether an image's name leaves open which one it is."""
    name = image.rpartition("/")[2]
    return "@" not in image and image != DEFAULT_LAB and (":" not in name or name.endswith(":latest"))


def mounted_secrets(workload: Object) -> set[Key]:
    """Name the Secrets that a workload's pods mount, or take variables from."""
    namespace, spec = workload["metadata"].get("namespace", ""), pod(workload)
    found = {
        part["secret"]["secretName"] if "secretName" in part.get("secret", {}) else part["secret"]["name"]
        for volume in spec.get("volumes") or []
        for part in (volume, *volume.get("projected", {}).get("sources", []))
        if "secret" in part
    }
    for one in containers(workload):
        found |= {source["secretRef"]["name"] for source in one.get("envFrom") or [] if "secretRef" in source}
        found |= {
            variable["valueFrom"]["secretKeyRef"]["name"]
            for variable in one.get("env") or []
            if "secretKeyRef" in variable.get("valueFrom", {})
        }
    return {Key(namespace, name) for name in found}


def mark(workload: Object, versions: Mapping[Key, str]) -> str:
    """Give what tells a workload's pods with which versions of their Secrets they were started.

    Args:
        workload: whose pods.
        versions: of the Secrets that the cluster has.

    Returns:
        Nothing for one that takes new files without a new start, or has none.
    """
    if workload["metadata"]["name"] in TAKES_NEW_FILES:
        return ""
    return "-".join(versions[name] for name in sorted(mounted_secrets(workload)) if name in versions)


def marked(objects: Iterable[Object], versions: Mapping[Key, str]) -> list[Object]:
    """Put the marks of today's Secrets into manifests of any day, in place of those that they have."""
    found = copy.deepcopy(list(objects))
    for workload in workloads(found):
        metadata = workload["spec"]["template"].setdefault("metadata", {})
        annotations = {name: text for name, text in (metadata.get("annotations") or {}).items() if name != SECRETS_MARK}
        if now := mark(workload, versions):
            annotations[SECRETS_MARK] = now
        metadata["annotations"] = annotations
        if not annotations:
            del metadata["annotations"]
    return found


def base_name(found: Object) -> str:
    """Give the name of a ConfigMap without the hash that kustomize puts behind it."""
    return re.sub(r"-[bcdfghkmt2456789]{10}$", "", found["metadata"]["name"])


def config_maps(objects: Iterable[Object]) -> dict[Key, Object]:
    """Give the ConfigMaps by the names that their components know them by."""
    return {
        Key(found["metadata"].get("namespace", ""), base_name(found)): found
        for found in objects
        if found["kind"] == "ConfigMap"
    }


def named(objects: Sequence[Object], kind: str, name: str) -> Object | None:
    """Find an object by kind and name."""
    return next((found for found in objects if (found["kind"], found["metadata"]["name"]) == (kind, name)), None)


def component(found: Object) -> str:
    """Name the component that an object is of."""
    return labels(found).get(NAME) or str(found["metadata"]["name"])
