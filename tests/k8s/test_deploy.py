"""What a deploy does where its workloads do not come to run."""

from collections.abc import Callable
from typing import Any

import pytest
from jld_k8s import deploy, owner, rollout
from jld_k8s.cluster import SYSTEM, Object
from jld_k8s.credentials import Plan, content, existing, keep
from jld_k8s.errors import ClusterError, RolloutError, SiteError, StrandedError
from jld_k8s.facts import Facts
from jld_k8s.manifests import Key
from jld_k8s.preflight import Ready
from jld_k8s.release import store
from jld_k8s.site import Site

HUB = Key(SYSTEM, "hub")

OLD, NEW = {"cookie_secret": b"old"}, {"cookie_secret": b"new"}


def setting(value: str) -> Object:
    """Write a ConfigMap that has one setting."""
    labels = {"app.kubernetes.io/part-of": "jupyterlabdemo"}
    metadata = {"name": f"hub-{value}", "namespace": SYSTEM, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


def settings(cluster: Any) -> set[str]:
    """Name the ConfigMaps that are there."""
    return {one["metadata"]["name"] for one in cluster.objects.values() if one["kind"] == "ConfigMap"}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give what decides how many waits for workloads fail before one comes to a good end."""

    def decide(failures: int) -> None:
        left = iter(range(failures))

        def wait(_: rollout.Watch) -> None:
            if next(left, None) is not None:
                raise RolloutError("hub: a setting is wrong (status 78)")

        monkeypatch.setattr(rollout.Watch, "wait", wait)

    return decide


def test_what_ran_before_runs_again(cluster: Any, waits: Callable[[int], None]) -> None:
    """A deploy that does not come to run gives back the last release's manifests, and the Secrets that it had."""
    keep(cluster, {HUB: OLD}, {})
    store(cluster, [setting("1")])
    cluster.apply([setting("1")])
    keep(cluster, {HUB: NEW}, existing(cluster))
    waits(1)
    with pytest.raises(RolloutError, match=r"a setting is wrong.*; release 1 runs again"):
        deploy.activate(cluster, [setting("2")], "changes", {HUB: OLD})
    assert settings(cluster) == {"hub-1"}
    assert content(existing(cluster)[HUB]) == OLD


def test_half_of_the_secrets_is_given_back(
    site: Callable[..., Site], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cluster takes one Secret and not the next, the one that it took has what it had before."""
    keep(cluster, {HUB: OLD}, {})
    refused = Key(SYSTEM, "refused")
    ready = Ready([], Plan({HUB: NEW, refused: NEW}, []), Facts("10.96.7.7"))
    monkeypatch.setattr(deploy, "preflight", lambda *_: ready)
    monkeypatch.setattr(owner, "mark", lambda *_: None)
    apply, seen = cluster.apply, []

    def refuse(objects: list[Object]) -> None:
        if any(one["metadata"]["name"] == "refused" for one in objects):
            seen.append(content(existing(cluster)[HUB]))
            raise ClusterError("it is refused")
        apply(objects)

    monkeypatch.setattr(cluster, "apply", refuse)
    with pytest.raises(ClusterError, match="the cluster does not take the Secret jupyterlabdemo/refused"):
        deploy.roll(site("demo"), cluster)
    assert seen == [NEW]
    assert content(existing(cluster)[HUB]) == OLD


def test_what_ran_before_may_not_come_back(cluster: Any, waits: Callable[[int], None]) -> None:
    """Where the last release does not come to run either, that is another error."""
    store(cluster, [setting("1")])
    waits(2)
    with pytest.raises(StrandedError, match="release 1 does not come to run either"):
        deploy.activate(cluster, [setting("2")], "changes", {})


def test_a_first_deploy_is_left_to_look_at(cluster: Any, waits: Callable[[int], None]) -> None:
    """Where nothing ran before, what was applied stays, to be looked at or mended."""
    waits(1)
    with pytest.raises(RolloutError, match="the first deploy has failed"):
        deploy.activate(cluster, [setting("1")], "changes", {})
    assert settings(cluster) == {"hub-1"}


def test_what_is_no_longer_rendered_goes_when_all_runs(cluster: Any, waits: Callable[[int], None]) -> None:
    """What the last release had and this one has not is removed once this one runs."""
    cluster.apply([setting("1")])
    waits(0)
    assert deploy.activate(cluster, [setting("2")], "changes", {}) == ["ConfigMap hub-1"]
    assert settings(cluster) == {"hub-2"}


def test_a_release_that_is_not_there(cluster: Any) -> None:
    """To go back to a release that is not kept is refused, with those that are."""
    store(cluster, [setting("1")])
    store(cluster, [setting("2")])
    with pytest.raises(SiteError, match="RELEASE=7: a former release; there are 1"):
        deploy.rollback(cluster, 7)
