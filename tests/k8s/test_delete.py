"""What is removed goes in an order that never opens a lab, and is said to be gone only when it has."""

from collections.abc import Callable
from typing import Any

import pytest
from jld_k8s import delete
from jld_k8s.cluster import LABS, NAMESPACES, SYSTEM, Object
from jld_k8s.errors import ClusterError
from jld_k8s.site import Site

MakeSite = Callable[..., Site]


def made(kind: str, name: str, namespace: str = "") -> Object:
    """Write an object of the system."""
    labels = {"app.kubernetes.io/part-of": "jupyterlabdemo"}
    metadata = {"name": name, "labels": labels, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


@pytest.fixture
def full(cluster: Any) -> Any:
    """Give a cluster that has a lab, and policies."""
    cluster.apply([made("Namespace", name) for name in NAMESPACES])
    cluster.apply([made("Pod", "lab-alice", LABS), made("Secret", "hub", SYSTEM)])
    cluster.apply([made("NetworkPolicy", "deny", name) for name in NAMESPACES])
    return cluster


def kinds(cluster: Any) -> set[str]:
    """Name the kinds of what is there."""
    return {one["kind"] for one in cluster.objects.values()}


def test_secrets_stay(site: MakeSite, full: Any) -> None:
    """What runs and its policies go; secrets and namespaces stay."""
    summit = site("demo")
    delete.delete(summit, full, summit.name, "")
    assert kinds(full) == {"Namespace", "Secret"}


@pytest.mark.parametrize("data", ["", "delete"])
def test_a_lab_that_stays_keeps_its_policies(site: MakeSite, full: Any, data: str) -> None:
    """Where something does not go the command fails before it has touched a policy or a namespace."""
    summit = site("demo")
    full.refuse("delete configmaps")
    with pytest.raises(ClusterError, match="not all is removed"):
        delete.delete(summit, full, summit.name, data)
    assert {"Pod", "NetworkPolicy", "Namespace", "Secret"} <= kinds(full)


def test_what_is_not_gone_is_not_said_to_be(site: MakeSite, full: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Where namespaces do not go in time the command fails, and does not say that all is removed."""
    summit = site("demo")
    full.refuse("delete namespaces")
    with pytest.raises(ClusterError, match="not all is removed"):
        delete.delete(summit, full, summit.name, "delete")
    assert "all of it is removed" not in capsys.readouterr().out
