"""What whoever runs the tool must be allowed to do, asked of the cluster itself."""

from collections.abc import Iterator, Sequence

from . import lock, trial
from .cluster import NAMESPACES, Cluster, Object, listed
from .finding import Finding
from .release import PRUNED

READ = (
    *(("nodes", ""), ("namespaces", ""), ("storageclasses", ""), ("endpointslices", "default")),
    *((plural, "") for plural in (*PRUNED, "pods")),
    *((plural, namespace) for plural in ("secrets", "events", "persistentvolumeclaims") for namespace in NAMESPACES),
)
"""Resources that are listed, with their namespaces; in none means in all."""

VERBS = ("get", "create", "patch", "delete")

REPLACED = ("secrets", "leases")
"""Resources that are also written whole."""

GROUPS = {
    **dict.fromkeys(("deployments", "statefulsets", "daemonsets"), "apps"),
    **dict.fromkeys(("roles", "rolebindings"), "rbac.authorization.k8s.io"),
    "networkpolicies": "networking.k8s.io",
    "poddisruptionbudgets": "policy",
    "storageclasses": "storage.k8s.io",
    "endpointslices": "discovery.k8s.io",
}
"""Groups of resources that are not in the first one of all."""

BESIDE = {
    "Secret": ("", (*NAMESPACES, trial.NAMESPACE)),
    "Pod": ("", (*NAMESPACES, trial.NAMESPACE)),
    "ServiceAccount": ("", (trial.NAMESPACE,)),
    "NetworkPolicy": ("networking.k8s.io", (*NAMESPACES, trial.NAMESPACE)),
    "DaemonSet": ("apps", NAMESPACES),
    "PersistentVolume": ("", ("",)),
    "PersistentVolumeClaim": ("", NAMESPACES),
    "Lease": ("coordination.k8s.io", (lock.NAMESPACE,)),
}
"""Kinds, with their groups and namespaces, that are made beside what a site renders to without the tool."""


def rights(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Find the rights that are missing to apply objects, and what is made beside them."""
    rows = [row.split() for row in cluster.run("api-resources", "--no-headers").splitlines()]
    # Another group may have a kind of the same name.
    plurals = {(row[-1], row[-3].rpartition("/")[0]): row[0] for row in rows}
    wanted = {
        (found["kind"], found["apiVersion"].rpartition("/")[0], found["metadata"].get("namespace", ""))
        for found in objects
    }
    wanted |= {(kind, group, namespace) for kind, (group, places) in BESIDE.items() for namespace in places}
    asked = [review("list", plural, GROUPS.get(plural, ""), namespace) for plural, namespace in READ]
    asked += [review("get", "pods/log", "", namespace) for namespace in (*NAMESPACES, trial.NAMESPACE)]
    for kind, group, namespace in sorted(wanted):
        if (kind, group) not in plurals:
            yield Finding(f"the cluster does not know {kind}", "install what defines it, or leave out the component")
            continue
        plural = plurals[kind, group]
        verbs = (*VERBS, "update") if plural in REPLACED else VERBS
        asked += [review(verb, plural, group, namespace) for verb in verbs]
    yield from missing(cluster, asked)


def missing(cluster: Cluster, asked: Sequence[Object]) -> Iterator[Finding]:
    """Ask for rights, and find those that are missing."""
    # One request each, in one call.
    answers = cluster.read(cluster.run("create", "--filename=-", "--output=json", text=listed(asked)))
    yield from denials(answers.get("items", [answers]))


def denials(answers: Sequence[Object]) -> Iterator[Finding]:
    """Find the rights that are missing, those of one resource together."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for answer in answers:
        if not answer["status"].get("allowed"):
            what = answer["spec"]["resourceAttributes"]
            name = "/".join(filter(None, (what["resource"], what.get("subresource"))))
            verbs.setdefault((name, what.get("namespace", "")), []).append(what["verb"])
    places: dict[tuple[str, str], list[str]] = {}
    for (resource, namespace), denied in verbs.items():
        places.setdefault((resource, ", ".join(denied)), []).extend([namespace] if namespace else [])
    for (resource, words), namespaces in places.items():
        where = f" in {', '.join(namespaces)}" if namespaces else ""
        yield Finding(f"you may not {words} {resource}{where}", "ask whoever administers the cluster")


def review(verb: str, resource: str, group: str, namespace: str) -> Object:
    """Write the question whether one may do something to a resource, or to a part of it (`pods/log`)."""
    name, _, part = resource.partition("/")
    attributes = {"verb": verb, "resource": name, "subresource": part, "group": group, "namespace": namespace}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
