"""Rights are asked for before they are wanted, and those that are missing are told at once."""

from typing import Any

import pytest
from jld_k8s import rights
from jld_k8s.cluster import SYSTEM, Cluster, Object


def test_missing_rights_are_told_together() -> None:
    """The rights that are missing are one finding for each resource, with all namespaces."""

    def answer(verb: str, resource: str, namespace: str, *, allowed: bool) -> Object:
        attributes = {"verb": verb, "resource": resource, "namespace": namespace}
        return {"spec": {"resourceAttributes": attributes}, "status": {"allowed": allowed}}

    found = rights.denials(
        [
            answer("list", "nodes", "", allowed=False),
            answer("get", "secrets", "a", allowed=True),
            answer("create", "secrets", "a", allowed=False),
            answer("patch", "secrets", "a", allowed=False),
            answer("create", "secrets", "b", allowed=False),
            answer("patch", "secrets", "b", allowed=False),
        ]
    )
    assert [finding.what for finding in found] == [
        "you may not list nodes",
        "you may not create, patch secrets in a, b",
    ]


ROWS = """
secrets v1 true Secret
pods po v1 true Pod
serviceaccounts sa v1 true ServiceAccount
persistentvolumes pv v1 false PersistentVolume
persistentvolumeclaims pvc v1 true PersistentVolumeClaim
daemonsets ds apps/v1 true DaemonSet
leases coordination.k8s.io/v1 true Lease
networkpolicies crd.plugin.test/v1 true NetworkPolicy
networkpolicies netpol networking.k8s.io/v1 true NetworkPolicy
services kservice serving.other.test/v1 true Service
""".lstrip()


@pytest.fixture
def asked(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the rights that are asked for, each as verb, resource with its group, and namespace; all are there."""
    found: list[str] = []
    monkeypatch.setattr(cluster, "run", lambda *_: ROWS)

    def missing(_: Cluster, questions: list[Object]) -> list[Object]:
        for one in (question["spec"]["resourceAttributes"] for question in questions):
            part = f"/{one['subresource']}" if one["subresource"] else ""
            found.append(f"{one['verb']} {one['resource']}{part}.{one['group']} {one['namespace']}".strip())
        return []

    monkeypatch.setattr(rights, "missing", missing)
    return found


def test_rights_are_those_that_are_used(cluster: Any, asked: list[str]) -> None:
    """What is written whole, listed in all namespaces, or read of logs and events is asked for too."""
    assert list(rights.rights(cluster, [])) == []
    assert {
        *(f"update secrets. {SYSTEM}", "update leases.coordination.k8s.io default", "list deployments.apps"),
        *("list pods.", f"list events. {SYSTEM}", f"get pods/log. {SYSTEM}", f"list secrets. {SYSTEM}"),
    } <= set(asked)


def test_a_kind_is_told_by_its_group(cluster: Any, asked: list[str]) -> None:
    """Another group's kind of the same name is not taken for the one that is meant."""
    service = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "hub", "namespace": SYSTEM}}
    (finding,) = rights.rights(cluster, [service])
    assert finding.what == "the cluster does not know Service"
    assert f"create networkpolicies.networking.k8s.io {SYSTEM}" in asked
    assert not any("plugin.test" in one for one in asked)
