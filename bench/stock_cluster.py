"""The peer on a cluster: released JupyterHub, KubeSpawner and JupyterLab, in a namespace of their own."""

import json
import secrets
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from string import Template
from typing import Any

from cluster import get, kubectl
from stack import CommandError
from stock import LOGIN, Stock
from watch import PodWatch

FOLDER = Path(__file__).resolve().parent

IMAGE = "jld-bench-stock:1"

NAMESPACE = "jld-bench-stock"


@contextmanager
def cluster(host: str, proxy: str, resources: Mapping[str, Any]) -> Iterator[Stock]:
    """Run a hub whose labs are pods.

    Args:
        host: Where NodePorts are reached.
        proxy: An image with configurable-http-proxy.
        resources: What a lab gets, `limits` and `requests`.
    """
    remove()
    try:
        kubectl("create", "namespace", NAMESPACE)
        deploy(manifests(proxy, resources))
        (port,) = get("service", "site", f"--namespace={NAMESPACE}")["spec"]["ports"]
        with closing(PodWatch(NAMESPACE, f"jupyter-{LOGIN}")) as pods:
            yield Stock(f"http://{host}:{port['nodePort']}", pods)
    finally:
        remove()


def manifests(proxy: str, resources: Mapping[str, Any]) -> str:
    """Return its objects in YAML.

    Args:
        proxy: As above.
        resources: As above.
    """
    return Template((FOLDER / "stock.yaml").read_text()).substitute(
        namespace=NAMESPACE,
        image=IMAGE,
        proxy=proxy,
        token=secrets.token_hex(32),
        limits=json.dumps(resources["limits"]),
        requests=json.dumps(resources["requests"]),
    )


def deploy(objects: str) -> None:
    """Make objects, and wait until their pods are ready.

    Args:
        objects: In YAML.

    Raises:
        CommandError: They do not come to be; the text has the pods and their events.
    """
    where = f"--namespace={NAMESPACE}"
    kubectl("apply", where, "--filename=-", text=objects)
    try:
        kubectl("wait", where, "--for=condition=Available", "deployment", "--all", "--timeout=90s")
    except CommandError as error:
        raise CommandError(f"{error}{kubectl('get', 'pods,events', where)}") from error


def build(load: str) -> None:
    """Build the image.

    Args:
        load: A command that brings an image, its last argument, from the Docker engine to the cluster's nodes; none: it
            is there.
    """
    if load:
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", IMAGE, str(FOLDER)], check=True, stdout=subprocess.DEVNULL
        )
        subprocess.run([*shlex.split(load), IMAGE], check=True)


def remove() -> None:
    """Remove the namespace, and wait until it has gone."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", seconds=300)
