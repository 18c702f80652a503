"""Releases: what was applied and came to run, kept in the cluster to go back to."""

import base64
import gzip
import zlib
from typing import NamedTuple

import yaml
from jld_embedded.up import say

from .cluster import NAMESPACES, PART_OF, SYSTEM, Cluster, Object, key
from .manifests import KEPT, dump, marked, parse

TYPE = "jupyterlabdemo/release"

KEPT_RELEASES = 5

PRUNED = (
    *("configmaps", "services", "serviceaccounts", "roles", "rolebindings", "networkpolicies"),
    *("deployments", "statefulsets", "daemonsets", "poddisruptionbudgets"),
)
"""Kinds of which what is no longer rendered goes."""


class Release(NamedTuple):
    """What was applied at one time.

    Attributes:
        number: counts them.
        time: when it was stored, in ISO 8601.
        objects: the manifests, without marks of Secrets: those of today are put in when they are applied again.
    """

    number: int
    time: str
    objects: list[Object]


def releases(cluster: Cluster) -> list[Release]:
    """List the releases, the last one first."""
    found = cluster.items("secrets", f"--namespace={SYSTEM}", f"--field-selector=type={TYPE}")
    kept = []
    for one in found:
        name = one["metadata"]["name"]
        try:
            content = parse(gzip.decompress(base64.b64decode(one["data"]["manifests"])).decode())
            kept.append(Release(int(name.removeprefix("release-")), one["metadata"]["creationTimestamp"], content))
        except (OSError, EOFError, zlib.error, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
            say(f"  Secret {name} holds no release, and is left out: kubectl delete secret {name} -n {SYSTEM}")
    return sorted(kept, key=lambda release: release.number, reverse=True)


def store(cluster: Cluster, objects: list[Object]) -> int | None:
    """Keep a release, if it is another than the last one.

    Returns:
        Its number; None where it is the last one.
    """
    kept, unmarked = releases(cluster), marked(objects, {})
    if kept and kept[0].objects == unmarked:
        return None
    number = kept[0].number + 1 if kept else 1
    packed = gzip.compress(dump(unmarked).encode(), mtime=0)
    label, _, part_of = PART_OF.partition("=")
    body: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"release-{number}", "namespace": SYSTEM, "labels": {label: part_of}},
        "type": TYPE,
        "data": {"manifests": base64.b64encode(packed).decode()},
    }
    cluster.apply([body])
    for old in kept[KEPT_RELEASES - 1 :]:
        cluster.run("delete", "secret", f"release-{old.number}", f"--namespace={SYSTEM}", "--ignore-not-found")
    return number


def prune(cluster: Cluster, objects: list[Object]) -> list[str]:
    """Remove objects of the system that are not among those given; volumes, claims, Secrets and namespaces stay.

    Returns:
        What was removed.
    """
    wanted = {key(found) for found in objects}
    gone = [
        found
        for found in cluster.items(",".join(PRUNED), "--all-namespaces", f"--selector={PART_OF}")
        if key(found) not in wanted and found["metadata"]["namespace"] in NAMESPACES
        if not found["metadata"].get("ownerReferences") and found["kind"] not in KEPT
    ]
    for kind, namespace, name in map(key, gone):
        cluster.run("delete", kind, name, f"--namespace={namespace}", "--ignore-not-found", "--wait=false")
    return [f"{kind} {name}" for kind, _, name in map(key, gone)]
