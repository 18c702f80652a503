"""What is confirmed is the system that the cluster has, and no other that is called so here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jld_k8s import backup, credentials, deploy, owner, preflight
from jld_k8s.cluster import SYSTEM, Object
from jld_k8s.delete import delete
from jld_k8s.errors import SiteError
from jld_k8s.facts import Facts
from jld_k8s.preflight import Ready
from jld_k8s.site import Site

MakeSite = Callable[..., Site]

NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}


def test_another_sites_system_is_left_alone(
    site: MakeSite, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deploy, restore and delete of one site refuse the cluster of another, whatever is confirmed."""
    summit = site("demo")
    cluster.apply([{**NAMESPACE, "metadata": {"name": SYSTEM, "annotations": {owner.MARK: "base"}}}])
    monkeypatch.setattr(backup, "check", lambda _: None)
    monkeypatch.setattr(backup, "missing", lambda *_: [])
    monkeypatch.setattr(preflight, "server", lambda _: "a cluster")
    for command in (
        lambda: delete(summit, cluster, summit.name, "delete"),
        lambda: backup.restore(summit, cluster, tmp_path, summit.name),
        lambda: preflight.preflight(summit, cluster),
    ):
        with pytest.raises(SiteError, match=f"^OVERLAY={summit.name}: base, whose system"):
            command()
    assert f"Namespace//{SYSTEM}" in cluster.objects


def test_a_deploy_says_whose_it_is(site: MakeSite, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once deployed, the system is its site's; one that nobody has claimed yet is anybody's."""
    summit = site("demo")
    owner.check(summit, cluster)
    cluster.apply([NAMESPACE])
    owner.check(summit, cluster)
    monkeypatch.setattr(deploy, "render", lambda *_: [])
    deploy.prepare(summit, cluster, Ready([NAMESPACE], credentials.Plan({}, []), Facts("10.96.7.7")), {})
    assert cluster.objects[f"Namespace//{SYSTEM}"]["metadata"]["annotations"] == {owner.MARK: summit.name}
    owner.check(summit, cluster)
