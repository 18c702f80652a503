"""The site's `generated` folder: a kustomize component with what the tool knows and no manifest can."""

import ipaddress
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jld_embedded.state import write
from jld_fileserver.settings import ServerSettings

from dev.configuration import COMPONENTS, variables

from .cluster import FILES, LABS, LOGS, NAME, NAMESPACES, SYSTEM, Object
from .credentials import REGISTRY, REGISTRY_FILE
from .facts import Facts
from .manifests import DEFAULT_LAB, SECRETS_MARK, Key, config_maps, dump, images, mark, named, workloads
from .puller import puller
from .site import Site

PROGRAMS = {
    "hub": Key(SYSTEM, "hub"),
    "fileserver/ServerSettings": Key(FILES, "fileserver"),
    "fileserver/ProvisionerSettings": Key(FILES, "fileserver"),
    "fileserver/KeepaliveSettings": Key(SYSTEM, "keepalive"),
    "filebeat": Key(LOGS, "filebeat"),
    "logstash": Key(SYSTEM, "logstash"),
    "nginx": Key(SYSTEM, "nginx"),
    "dev/github": Key(SYSTEM, "github"),
    "dev/broker": Key(SYSTEM, "broker"),
}
"""Which ConfigMap a program takes its settings from, by its component and, where that has several, settings class."""

DEFAULT_HOMES = "/srv/jupyterlabdemo/export"
"""Where the component single-node has homes."""

NFS: int = ServerSettings.model_fields["fileserver_nfs_port"].default


def empty(site: Site) -> None:
    """Make a component that changes nothing: what a site has without one is read first."""
    folder = site.generated
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
    except OSError as error:
        # It may name a file below the folder without saying where that is.
        raise OSError(error.errno, error.strerror, str(folder)) from error
    # Without anything in it, it would not be taken.
    _write(site, "kustomization.yaml", [_component({"generatorOptions": {"disableNameSuffixHash": False}})])


def fill(site: Site, base: Sequence[Object], facts: Facts, versions: Mapping[Key, str]) -> None:
    """Write the component.

    Args:
        site: whose.
        base: what the site renders to without it.
        facts: what the cluster has told.
        versions: of the Secrets that are in the cluster.
    """
    parts: dict[str, Any] = {"configMapGenerator": list(merged(site, base)), "resources": []}
    for name, resources in (
        ("images.yaml", [puller(menu(site, base), base)] if menu(site, base) else []),
        ("policies.yaml", [*policies(site, facts)]),
        ("nfs.yaml", [*nfs(base, facts)]),
        ("accounts.yaml", [*accounts(site, versions)]),
    ):
        if resources:
            _write(site, name, resources)
            parts["resources"].append(name)
    patches = [*rolls(base, versions), *homes(site, base)]
    if any(accounts(site, versions)) and named(base, "ServiceAccount", "hub"):
        patches.append(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "hub", "namespace": SYSTEM},
                "imagePullSecrets": [{"name": REGISTRY[0].name}],
            }
        )
    parts["patches"] = [{"patch": json.dumps(patch)} for patch in patches] + [*walls(site, base, facts)]
    parts["images"] = [
        {"name": tag.rpartition(":")[0], "newName": digest.partition("@")[0], "digest": digest.partition("@")[2]}
        for tag, digest in site.digests.items()
        if tag in images(base)
    ]
    _write(site, "kustomization.yaml", [_component(parts)])


def merged(site: Site, base: Sequence[Object]) -> Iterator[Mapping[str, object]]:
    """Sort what the site sets into the ConfigMaps of the components that read it."""
    known = config_maps(base)
    for program, names in readers().items():
        chosen = {name: value for name, value in settings_of(site, base).items() if name in names}
        if chosen and program in known:
            yield {
                "name": program.name,
                "namespace": program.namespace,
                "behavior": "merge",
                "literals": [f"{name}={value}" for name, value in chosen.items()],
            }


def settings_of(site: Site, base: Sequence[Object]) -> dict[str, str]:
    """Give what the site sets for components, and what follows from it for the stand-in, in its terms."""
    found = {name: value for name, value in site.user.items() if value and not name.startswith("K8S_")}
    if Key(SYSTEM, "github") in config_maps(base):
        follows = {
            "OAUTH_CALLBACK_URL": "STANDIN_CALLBACK_URL",
            "GITHUB_URL": "STANDIN_PUBLIC_URL",
            "GITHUB_CLIENT_ID": "STANDIN_CLIENT_ID",
        }
        found = {follows[name]: found[name] for name in follows if name in found} | found
    return found | registry_names(site, base)


def registry_names(site: Site, base: Sequence[Object]) -> dict[str, str]:
    """Give the menu with the names of the registry that `push` has recorded, which kustomize cannot know."""
    names = menu_as_set(site, base)
    if not any(name in site.digests for name in names):
        return {}
    found = {"LAB_CONTAINER_NAMES": ",".join(menu(site, base))}
    hub = config_maps(base)[PROGRAMS["hub"]].get("data") or {}
    if not (site.user.get("LAB_CONTAINER_DESCS") or hub.get("LAB_CONTAINER_DESCS")):
        # Members are shown names, no digests.
        found["LAB_CONTAINER_DESCS"] = ",".join(names)
    return found


def readers() -> dict[Key, set[str]]:
    """Tell which variables each ConfigMap may have; secrets go another way."""
    found: dict[Key, set[str]] = {}
    for component in COMPONENTS:
        for settings in component.programs.values():
            program = PROGRAMS.get(component.folder) or PROGRAMS.get(f"{component.folder}/{settings.__name__}")
            if program:
                found.setdefault(program, set()).update(known.name for known in variables(settings) if not known.secret)
    return found


def menu(site: Site, base: Sequence[Object]) -> list[str]:
    """List the images of labs, as they are pulled."""
    return [site.digests.get(name, name) for name in menu_as_set(site, base)]


def menu_as_set(site: Site, base: Sequence[Object]) -> list[str]:
    """List the images of labs as the site or the overlay names them."""
    hub = config_maps(base).get(Key(SYSTEM, "hub"))
    if hub is None:
        return []
    names = site.user.get("LAB_CONTAINER_NAMES") or hub.get("data", {}).get("LAB_CONTAINER_NAMES") or DEFAULT_LAB
    return [name.strip() for name in names.split(",") if name.strip()]


def policies(site: Site, facts: Facts) -> Iterator[Object]:
    """Write the NetworkPolicies that name addresses."""
    yield policy(
        SYSTEM,
        "hub-api-server",
        "hub",
        "Egress",
        [
            {"to": [{"ipBlock": {"cidr": block(address)}}], "ports": [{"protocol": "TCP", "port": port}]}
            for address, port in facts.api
        ],
    )
    ranges = site.settings.node_cidrs
    if ranges:
        yield policy(
            FILES,
            "fileserver-nodes",
            "fileserver",
            "Ingress",
            [{"from": [{"ipBlock": {"cidr": one}} for one in ranges], "ports": [{"protocol": "TCP", "port": NFS}]}],
        )


def policy(namespace: str, name: str, component: str, direction: str, rules: list[Mapping[str, object]]) -> Object:
    """Write a NetworkPolicy for the pods of one component."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {NAME: component, "app.kubernetes.io/part-of": "jupyterlabdemo"},
        },
        "spec": {
            "podSelector": {"matchLabels": {NAME: component}},
            "policyTypes": [direction],
            direction.lower(): rules,
        },
    }


def block(address: str) -> str:
    """Give the range that has one address alone."""
    return f"{address}/{128 if ':' in address else 32}"


def is_single_node(base: Sequence[Object]) -> bool:
    """Whether homes are a folder of the node, and no NFS is spoken."""
    homes = named(base, "PersistentVolume", "jupyterlabdemo-homes")
    return homes is not None and "hostPath" in homes["spec"]


def nfs(base: Sequence[Object], facts: Facts) -> Iterator[Object]:
    """Write the volumes by which labs and keepalive reach the fileserver, and their claims."""
    server = named(base, "StatefulSet", "fileserver")
    if is_single_node(base) or server is None:
        return
    size = server["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    # Below the root of what the server shows, its exports have their own paths.
    exported = config_maps(base)[PROGRAMS["fileserver/ServerSettings"]]["data"]["FILESERVER_EXPORT"]
    for claim, namespace in (("homes", LABS), ("keepalive", SYSTEM)):
        labels = {NAME: "fileserver", "app.kubernetes.io/part-of": "jupyterlabdemo"}
        volume = f"jupyterlabdemo-{claim}"
        common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume, "labels": labels},
            "spec": {
                **common,
                "capacity": {"storage": size},
                "persistentVolumeReclaimPolicy": "Retain",
                "mountOptions": ["nfsvers=4.2", "hard"],
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "name": claim,
                    "namespace": namespace,
                },
                "nfs": {"server": facts.fileserver, "path": exported},
            },
        }
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace, "labels": labels},
            "spec": {**common, "volumeName": volume, "resources": {"requests": {"storage": size}}},
        }


def homes(site: Site, base: Sequence[Object]) -> Iterator[Object]:
    """Put the folder that the site names in place of the one that the component single-node has."""
    folder = str(site.settings.homes_dir)
    for found in base:
        path = found.get("spec", {}).get("hostPath", {}).get("path", "") if found["kind"] == "PersistentVolume" else ""
        if folder != DEFAULT_HOMES and (path == DEFAULT_HOMES or path.startswith(f"{DEFAULT_HOMES}/")):
            moved = f"{folder}{path.removeprefix(DEFAULT_HOMES)}"
            yield {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": found["metadata"]["name"]},
                "spec": {"hostPath": {"path": moved}},
            }


def accounts(site: Site, versions: Mapping[Key, str]) -> Iterator[Object]:
    """Write the accounts by which pods of all namespaces, labs too, show a registry who they are."""
    if not (site.secrets / REGISTRY_FILE).exists() and REGISTRY[0] not in versions:
        return
    for namespace in NAMESPACES:
        yield {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": "default",
                "namespace": namespace,
                "labels": {"app.kubernetes.io/part-of": "jupyterlabdemo"},
            },
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": REGISTRY[0].name}],
        }


def walls(site: Site, base: Sequence[Object], facts: Facts) -> Iterator[Mapping[str, object]]:
    """Leave the nodes and the API server out of the internet that labs reach: their addresses may be public ones."""
    internet = named(base, "NetworkPolicy", "lab-internet")
    if internet is None:
        return
    # Ranges first: an address in one of them need not be named.
    forbidden = [*site.settings.node_cidrs, *facts.nodes, *facts.public, *(block(address) for address, _ in facts.api)]
    steps = []
    for number, peer in enumerate(internet["spec"]["egress"][0]["to"]):
        version = ipaddress.ip_network(peer["ipBlock"]["cidr"]).version
        left_out = [ipaddress.ip_network(text) for text in peer["ipBlock"].get("except", [])]
        for one in map(ipaddress.ip_network, dict.fromkeys(forbidden)):
            if one.version == version and not any(one.subnet_of(wider) for wider in left_out):  # type: ignore[arg-type] # of one version
                left_out.append(one)
                where = f"/spec/egress/0/to/{number}/ipBlock/except/-"
                steps.append({"op": "add", "path": where, "value": str(one)})
    if steps:
        yield {"target": {"kind": "NetworkPolicy", "name": "lab-internet"}, "patch": json.dumps(steps)}


def rolls(base: Sequence[Object], versions: Mapping[Key, str]) -> Iterator[Object]:
    """Write into the pods which version of its Secrets a workload was started with: another one starts it anew."""
    for found in workloads(base):
        if now := mark(found, versions):
            yield {
                "apiVersion": found["apiVersion"],
                "kind": found["kind"],
                "metadata": {name: found["metadata"][name] for name in ("name", "namespace")},
                "spec": {"template": {"metadata": {"annotations": {SECRETS_MARK: now}}}},
            }


def _component(parts: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        **{name: part for name, part in parts.items() if part},
    }


def _write(site: Site, name: str, documents: Sequence[Object]) -> None:
    text = "# Written by the tool behind `make k8s-deploy` at each run: change site.env instead.\n"
    write(site.generated / name, f"{text}{dump(documents)}".encode())
