"""Before anything is changed: all that an operator must put right, at once."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from typing import NamedTuple

from jld_embedded.up import say

from dev.configuration import COMPONENTS

from . import cluster as c
from . import components, credentials, facts, generated, owner, pairs, trial
from .cluster import Cluster, Object, listed
from .credentials import Plan
from .errors import FindingsError
from .facts import Facts
from .finding import Finding
from .manifests import DEFAULT_LAB, Key, config_maps, images, untagged
from .render import base, render
from .rights import rights
from .rollout import is_there
from .site import Site, unknown

OLDEST = (1, 33)
"""The first Kubernetes in which supplementalGroupsPolicy is on unless it is turned off."""

RUNTIMES = {"containerd": (2, 0), "cri-o": (1, 31)}
"""Runtimes that know supplementalGroupsPolicy, with the first version that does."""

Change = Callable[[dict[Key, dict[str, bytes]]], None]
"""Changes, in place, what Secrets are taken to have."""


class Ready(NamedTuple):
    """What the preflight leaves for a deploy.

    Attributes:
        objects: what to apply.
        plan: of the Secrets.
        facts: what the cluster has told.
    """

    objects: list[Object]
    plan: Plan
    facts: Facts


def preflight(site: Site, cluster: Cluster, change: Change | None = None) -> Ready:
    """Look at everything that a deploy needs.

    Args:
        site: what to deploy.
        cluster: where.
        change: changes what the cluster is taken to have of secrets.

    Raises:
        FindingsError: where something is to be put right; each is printed, with what to do.
        EmbeddedError: where the cluster does not answer or the site cannot be read, so that nothing else can be found.
    """
    say(f"preflight of {site.name} on {server(cluster)}")
    owner.check(site, cluster)
    told = facts.learn(site, cluster)
    there = credentials.existing(cluster)
    kept = {name: dict(credentials.content(found)) for name, found in there.items()}
    if change:
        change(kept)
    objects = render(site, cluster, told, credentials.versions(there))
    plan = credentials.plan(site, objects, kept)
    wanted = pulls(objects, generated.menu(site, objects))
    python = next((one for one in wanted if "jld-hub" in one), "")
    with trial.namespace(cluster):
        trial.begin(cluster, wanted, plan.wanted.get(credentials.REGISTRY[0], {}), python)
        findings = [
            *versions(cluster),
            *nodes(known := cluster.items("nodes")),
            *one_node(known, objects),
            *storage(cluster, objects),
            *plan.findings,
            *settings(site, objects, plan),
            *node_ranges(site, objects, told),
            *ranges_of_pods(site, cluster, known),
            *names(objects, generated.menu(site, objects)),
            *schema(cluster, objects),
            *trial.pulled(cluster, wanted),
        ]
        if python and not any(python in finding.what for finding in findings):
            warn(trial.enforced(cluster, python))
    stop_at(findings)
    return Ready(objects, plan, told)


def stop_at(findings: Sequence[Finding]) -> None:
    """Print findings, and go no further where there are any.

    Raises:
        FindingsError: where there are any.
    """
    for finding in findings:
        say(f"  {finding}")
    if findings:
        raise FindingsError(f"{len(findings)} to put right, and nothing was changed")


def permitted(site: Site, cluster: Cluster) -> None:
    """See that whoever runs this may do what a deploy does: all else can be asked for only then.

    Raises:
        FindingsError: where he may not; each right that is missing is printed.
        EmbeddedError: where the cluster does not answer or the site cannot be read.
    """
    server(cluster)
    stop_at(list(rights(cluster, base(site, cluster))))


def warn(enforced: bool | None) -> None:  # noqa: FBT001 - an answer, no option
    """Say it aloud where policies are not enforced."""
    if enforced:
        return
    doubt = "IS NOT ENFORCED" if enforced is False else "COULD NOT BE TRIED, as pods do not reach each other,"
    say(f"  WARNING: NetworkPolicy {doubt} on this cluster: labs reach each other, the nodes and the homes of all")
    say("  members. Use a network plugin that enforces it, such as Calico or Cilium (docs/security.md)")


def server(cluster: Cluster) -> str:
    """Name the API server; fails where it does not answer."""
    cluster.answers()
    return cluster.run("config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}").strip()


def versions(cluster: Cluster) -> Iterator[Finding]:
    """See that the API server is new enough."""
    told = cluster.run("get", "--raw=/version")
    found = re.search(r'"gitVersion": ?"v(\d+)\.(\d+)', told)
    if not found or (int(found[1]), int(found[2])) < OLDEST:
        number = f"{found[1]}.{found[2]}" if found else "of an unknown version"
        yield Finding(f"Kubernetes is {number}", f"{OLDEST[0]}.{OLDEST[1]} or newer is needed: upgrade the cluster")


def nodes(found: Sequence[Object]) -> Iterator[Finding]:
    """See that each node keeps groups of an image's own from members' processes."""
    if not any(is_there(node) and not node["spec"].get("unschedulable") for node in found):
        yield Finding("no node is ready to take pods", "look at `kubectl get nodes`")
    for node in found:
        name, status = node["metadata"]["name"], node["status"]
        runtime = status.get("nodeInfo", {}).get("containerRuntimeVersion", "")
        if not (status.get("features") or {}).get("supplementalGroupsPolicy"):
            yield Finding(
                f"node {name} ({runtime}) does not support supplementalGroupsPolicy",
                "containerd 2.0 or CRI-O 1.31 or newer is needed: upgrade it",
            )
            continue
        kind, _, number = runtime.partition("://")
        version = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
        if version < RUNTIMES.get(kind, ()):
            oldest = ".".join(map(str, RUNTIMES[kind]))
            yield Finding(f"node {name} runs {kind} {number}", f"{oldest} or newer is needed: upgrade it")


def one_node(found: Sequence[Object], objects: Sequence[Object]) -> Iterator[Finding]:
    """See that homes in a folder of the node are in one node's: elsewhere members would find other ones."""
    taken = ("NoSchedule", "NoExecute")
    free = [
        node["metadata"]["name"]
        for node in found
        if is_there(node) and not any(taint["effect"] in taken for taint in node["spec"].get("taints") or [])
    ]
    if generated.is_single_node(objects) and len(free) > 1:
        yield Finding(
            f"homes are a folder of the node, and there are {len(free)}: {', '.join(free)}",
            "leave out the component single-node, or taint all nodes but one",
        )


def storage(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """See that volumes that are not there yet can be had: by a default StorageClass, or those that are named."""
    there = {c.key(found)[1:] for found in cluster.ours("persistentvolumeclaims")}
    claims = [one for name, one in claimed(objects) if name not in there]
    classes = {found["metadata"]["name"]: found for found in cluster.items("storageclasses")}
    default = "storageclass.kubernetes.io/is-default-class"
    has_default = any((found["metadata"].get("annotations") or {}).get(default) == "true" for found in classes.values())
    unnamed = [one["metadata"]["name"] for one in claims if one["spec"].get("storageClassName") is None]
    if unnamed and not has_default:
        yield Finding(
            f"there is no default StorageClass for {', '.join(dict.fromkeys(unnamed))}",
            f'mark one (annotation {default}: "true"), or name one in the claims by a patch',
        )
    for one in claims:
        name = one["spec"].get("storageClassName")
        if name and name not in classes:
            yield Finding(
                f"claim {one['metadata']['name']} names the StorageClass {name}, which is not there", "name another"
            )


def claimed(objects: Sequence[Object]) -> Iterator[tuple[tuple[str, str], Object]]:
    """Give the claims that are applied, or that a StatefulSet makes for its first pod, with namespace and name."""
    for found in objects:
        if found["kind"] == "PersistentVolumeClaim":
            yield c.key(found)[1:], found
        for one in found.get("spec", {}).get("volumeClaimTemplates") or []:
            _, namespace, name = c.key(found)
            yield (namespace, f"{one['metadata']['name']}-{name}-0"), one


def settings(site: Site, objects: Sequence[Object], plan: Plan) -> Iterator[Finding]:
    """See that what is set is read, and that every component starts with it."""
    secret = {variable.name for component in COMPONENTS for variable in component.variables() if variable.secret}
    for name in unknown(site):
        yield Finding(f"nothing reads {name} in site.env", "see docs/configuration.md for what there is")
    for name in sorted(secret & set(site.user)):
        yield Finding(f"{name} in site.env is a secret", f"put it into a file below {site.secrets}")
    yield from registry(plan.wanted.get(credentials.REGISTRY[0], {}))
    yield from components.check(objects, credentials.whole(plan))
    host = public_host(objects)
    yield from pairs.check(plan.wanted, host)
    for found in objects:
        if found["kind"] == "Certificate" and host not in found["spec"]["dnsNames"]:
            what = f"the Certificate {found['metadata']['name']} is not for {host}, which OAUTH_CALLBACK_URL names"
            yield Finding(what, "name it by a patch in the site's kustomization (k8s/components/cert-manager)")


def registry(content: credentials.Content) -> Iterator[Finding]:
    """See that what is shown to a registry has Docker's form."""
    for text in content.values():
        try:
            known = json.loads(text)["auths"]
        except (ValueError, TypeError, KeyError):
            known = {}
        if not known:
            yield Finding(
                f"{credentials.REGISTRY_FILE} names no registry",
                "what docker login writes to ~/.docker/config.json, without a credential helper",
            )


def public_host(objects: Sequence[Object]) -> str:
    """Name the host that browsers ask for."""
    hub = config_maps(objects).get(generated.PROGRAMS["hub"])
    address = (hub or {}).get("data", {}).get("OAUTH_CALLBACK_URL", "")
    found = re.fullmatch(r"https?://(\[[^]]+\]|[^/:]+).*", address)
    return found[1].strip("[]") if found else ""


def node_ranges(site: Site, objects: Sequence[Object], told: Facts) -> Iterator[Finding]:
    """See that it is known who may speak NFS: AUTH_SYS believes its client."""
    if generated.is_single_node(objects) or site.settings.node_cidrs:
        return
    proposal = ",".join(told.nodes)
    yield Finding(
        "K8S_NODE_CIDRS is not set",
        f"K8S_NODE_CIDRS={proposal} in site.env has the nodes of today; nodes to come need wider ranges",
    )


def ranges_of_pods(site: Site, cluster: Cluster, found: Sequence[Object]) -> Iterator[Finding]:
    """See that no pod is where nodes are said to be: it could read the homes of all, in the name of a node.

    A range of one address is what the preflight has proposed: the end of a node's tunnel may be among pods' addresses.
    """
    wide = [one for one in map(ip_network, site.settings.node_cidrs) if one.num_addresses > 1]
    if not wide:
        return
    taken = [text for node in found for text in node["spec"].get("podCIDRs") or []]
    pods = cluster.items("pods", "--all-namespaces")
    own = [one["status"].get("podIPs") or [] for one in pods if not one["spec"].get("hostNetwork")]
    taken += [address["ip"] for addresses in own for address in addresses]
    for one in wide:
        inside = (text for text in taken if (pod := ip_network(text)).version == one.version and pod.subnet_of(one))  # type: ignore[arg-type] # of one version
        if example := next(inside, ""):
            what = f"K8S_NODE_CIDRS={one} has pods in it ({example}), which could read all homes as a node does"
            yield Finding(what, "ranges that have nodes alone")


def names(objects: Sequence[Object], menu: Sequence[str]) -> Iterator[Finding]:
    """See that each image's name says which one it is."""
    for image in dict.fromkeys([*images(objects), *menu]):
        if untagged(image):
            yield Finding(
                f"image {image} has no version", f"a tag other than latest ({DEFAULT_LAB} alone may go without)"
            )


def pulls(objects: Sequence[Object], menu: Sequence[str]) -> list[str]:
    """List the images that must be there, each once."""
    return list(dict.fromkeys([*images(objects), *menu]))


def schema(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Have the API server look at the manifests; what belongs into a namespace to come is tried elsewhere."""
    there = {found["metadata"]["name"] for found in cluster.items("namespaces")}

    def placed(found: Object) -> Object:
        home = found["metadata"].get("namespace")
        if not home or home in there:
            return found
        return {**found, "metadata": {**found["metadata"], "namespace": trial.NAMESPACE}}

    ended = cluster.ask(
        *("apply", "--server-side", "--force-conflicts", c.MANAGER, "--dry-run=server", "--validate=strict"),
        "--filename=-",
        text=listed([placed(found) for found in objects]),
    )
    if ended.returncode:
        # One that cannot be changed is followed by what would change, line by line.
        for line in re.findall(r"^(?:Error|error)\b.*", ended.stderr, re.MULTILINE) or c.complaints(ended.stderr):
            fixed = "immutable" in line or "Forbidden: updates to" in line
            remedy = "it cannot be changed where it is: set it as it was" if fixed else "put the site's patches right"
            yield Finding(f"the cluster does not take the manifests: {line}", remedy)
