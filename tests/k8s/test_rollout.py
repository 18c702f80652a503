"""When a workload runs as applied, and when it never will, by what a cluster says of it."""

from typing import Any

import pytest
from jld_k8s import rollout
from jld_k8s.cluster import LABS, Object
from jld_k8s.deploy import tidy
from jld_k8s.errors import RolloutError
from jld_k8s.rollout import homeless, state, trouble, youngest


def deployment(wanted: int, status: dict[str, int]) -> Object:
    """Write a Deployment."""
    return {"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": wanted}, "status": status}


def test_deployment_is_ready() -> None:
    """A Deployment is ready when all its pods are of the last form, and available."""
    status = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    assert state(deployment(2, status)) == (True, "2 of 2")


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
        {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2},
        {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
        {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
    ],
    ids=["unseen", "not seen yet", "an old pod is left", "one is old", "one is not available"],
)
def test_deployment_is_not_ready(status: dict[str, int]) -> None:
    """A Deployment whose controller has not seen it, or that has pods of before or not available, is not ready."""
    assert not state(deployment(2, status)).ready


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"updateRevision": "b", "currentRevision": "a", "updatedReplicas": 1, "availableReplicas": 1}, True),
        ({"updateRevision": "b", "currentRevision": "a", "updatedReplicas": 0, "availableReplicas": 1}, False),
        ({"updateRevision": "b", "currentRevision": "b", "currentReplicas": 1, "availableReplicas": 1}, True),
        ({"updateRevision": "b", "currentRevision": "b", "currentReplicas": 1}, False),
    ],
)
def test_statefulset(status: dict[str, Any], ready: bool) -> None:
    """A StatefulSet is ready when its pods are of the last revision, and available."""
    found = {"kind": "StatefulSet", "metadata": {"generation": 1}, "spec": {"replicas": 1}}
    assert state({**found, "status": {"observedGeneration": 1, **status}}).ready is ready


def test_daemonset() -> None:
    """A DaemonSet is ready when each node that it is for has its pod of the last form."""
    found = {"kind": "DaemonSet", "metadata": {"generation": 1}, "spec": {}}
    status = {"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}
    assert state({**found, "status": status}) == (False, "2 of 3")
    assert state({**found, "status": {**status, "numberAvailable": 3}}).ready


def test_a_node_that_is_away_is_not_waited_for() -> None:
    """A DaemonSet is ready without the pods of nodes that are not ready: none can come up there."""
    found = {"kind": "DaemonSet", "metadata": {"generation": 1}, "spec": {}}
    status = {"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}
    assert state({**found, "status": status}, away=1) == (True, "2 of 2")


def pod(**container: Any) -> Object:
    """Write a pod of one container."""
    return {"status": {"containerStatuses": [{"name": "hub", "image": "a/hub:1", **container}]}}


@pytest.mark.parametrize(
    ("container", "why"),
    [
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, ""),
        ({"state": {"running": {}}, "ready": False}, ""),
        ({"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 78}}, "restartCount": 1}, ""),
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}},
            "ImagePullBackOff a/hub:1: not found",
        ),
        (
            {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "hub" not found'}}},
            'CreateContainerConfigError: secret "hub" not found',
        ),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 78}}},
            "a setting is wrong (status 78)",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1}},
                "restartCount": 1,
            },
            "",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                "restartCount": 3,
            },
            "ended 3 times (out of memory)",
        ),
    ],
)
def test_trouble(container: dict[str, Any], why: str) -> None:
    """A pod that will not run by itself says why; one that may is waited for, also after a first end."""
    assert trouble(pod(**container)) == why


def test_trouble_names_the_container_of_several() -> None:
    """Where a pod has several containers, the one in trouble is named."""
    found = pod(state={"running": {}})
    found["status"]["initContainerStatuses"] = [
        {"name": "image-0", "image": "x", "state": {"waiting": {"reason": "ErrImagePull"}}}
    ]
    assert trouble(found) == "image-0: ErrImagePull x"


def test_a_pod_that_no_node_takes_is_waited_for() -> None:
    """A pod without a node is in no trouble: a volume or a node may be on its way; why is known."""
    found = {"status": {"conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": "no cpu"}]}}
    assert trouble(found) == ""
    assert homeless(found) == "no cpu"


def test_the_youngest_pod_counts() -> None:
    """Of the pods of a workload the last one tells how it is; another namespace's of the same name does not."""

    def made(namespace: str, uid: str, stamp: str) -> Object:
        labels = {"app.kubernetes.io/name": "hub"}
        return {"metadata": {"namespace": namespace, "uid": uid, "creationTimestamp": stamp, "labels": labels}}

    pods = [
        made("jupyterlabdemo", "old", "2030-01-01T00:00:00Z"),
        made("jupyterlabdemo", "new", "2030-01-01T00:00:01Z"),
        made("elsewhere", "foreign", "2030-01-01T00:00:02Z"),
    ]
    found = youngest(("Deployment", "jupyterlabdemo", "hub"), pods)
    assert found
    assert found["metadata"]["uid"] == "new"
    assert youngest(("Deployment", "jupyterlabdemo", "proxy"), pods) is None


@pytest.mark.parametrize("name", ["images", "filebeat"])
def test_a_slow_pull_fails_no_deploy(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Images that a node cannot pull ahead are told, and the deploy goes on; any other workload's trouble ends it."""
    metadata = {"name": name, "namespace": LABS, "labels": {"app.kubernetes.io/part-of": "jupyterlabdemo"}}
    workload = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": {}}
    cluster.apply([{**workload, "status": {"desiredNumberScheduled": 1}}])
    monkeypatch.setattr(rollout, "DEADLINE", 0.5)
    if name == "images":
        rollout.Watch(cluster, [workload]).wait()
        assert "images: 0 of 1 ready, and nothing moves" in capsys.readouterr().out
    else:
        with pytest.raises(RolloutError, match="filebeat: 0 of 1 ready"):
            rollout.Watch(cluster, [workload]).wait()


def test_differences_name_objects() -> None:
    """A difference names what changes as people do, without what the cluster counts by itself."""
    text = (
        "diff -u -N /tmp/LIVE-1/x /tmp/MERGED-2/x\n"
        "--- /tmp/LIVE-1/apps.v1.Deployment.jupyterlabdemo.hub\t2030-01-01\n"
        "+++ /tmp/MERGED-2/apps.v1.Deployment.jupyterlabdemo.hub\t2030-01-01\n"
        "@@ -1,3 +1,3 @@\n-  generation: 1\n+  generation: 2\n   name: hub\n-  replicas: 1\n+  replicas: 0\n"
        "+++ /tmp/MERGED-2/v1.Namespace..jupyterlabdemo\t2030-01-01\n"
        "+++ /tmp/MERGED-2/networking.k8s.io.v1.NetworkPolicy.jupyterlabdemo-labs.lab\t2030-01-01\n"
    )
    assert tidy(text).splitlines() == [
        "Deployment hub (jupyterlabdemo)",
        "       name: hub",
        "    -  replicas: 1",
        "    +  replicas: 0",
        "Namespace jupyterlabdemo",
        "NetworkPolicy lab (jupyterlabdemo-labs)",
    ]
