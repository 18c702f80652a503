"""What the kustomizations of k8s/ render to, without a cluster."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).resolve().parents[2] / "k8s"

Object = dict[str, Any]

COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))

INCLUDED = {"demo": {"single-node"}, "production": set[str]()}
"""Overlays, each with the components that are in it already."""

COMBINATIONS = [
    (overlay, chosen)
    for overlay, included in INCLUDED.items()
    for chosen in chain.from_iterable(
        combinations([name for name in COMPONENTS if name not in included], count)
        for count in range(len(COMPONENTS) - len(included) + 1)
    )
]
"""Each overlay with every choice of components that a site may have."""

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


@cache
def render(overlay: str, components: tuple[str, ...] = ()) -> list[Object]:
    """Render an overlay with components, as a site's kustomization would have them; kubectl has kustomize in it."""
    with tempfile.TemporaryDirectory() as folder:
        k8s = os.path.relpath(K8S, Path(folder).resolve())
        site = {
            "resources": [f"{k8s}/overlays/{overlay}"],
            "components": [f"{k8s}/components/{name}" for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(site))
        done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def of_kind(objects: list[Object], *kinds: str) -> Iterator[Object]:
    """List the objects of some kinds."""
    return (found for found in objects if found["kind"] in kinds)


def name(found: Object) -> str:
    """Name an object, for a list of what is wrong."""
    return f"{found['kind']}/{found['metadata']['name']}"


def pod(workload: Object) -> Object:
    """Return what a workload says of its pods."""
    found: Object = workload["spec"]["template"]["spec"]
    return found


def containers(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """List all containers, each with its workload."""
    for workload in of_kind(objects, *WORKLOADS):
        for container in chain(pod(workload).get("initContainers", []), pod(workload)["containers"]):
            yield workload, container


def service_of(workload: Object, container: Object) -> str:
    """Name the service of compose.yaml that a container is."""
    called = {"server": "fileserver"}.get(container["name"], container["name"])
    assert called in (workload["metadata"]["name"], "provisioner")
    return str(called)
