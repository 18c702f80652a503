"""One run at a time changes a cluster, and what it has applied is kept."""

import base64
import gzip
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from jld_k8s import lock, release
from jld_k8s.cluster import Object
from jld_k8s.release import KEPT_RELEASES, prune, releases, store
from stack import until


def configmap(name: str, namespace: str = "jupyterlabdemo", **data: str) -> Object:
    """Write a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "jupyterlabdemo"}},
        "data": data,
    }


def lease(cluster: Any) -> Object | None:
    """Give the Lease."""
    found: Object | None = cluster.objects.get(f"Lease/{lock.NAMESPACE}/{lock.NAME}")
    return found


def test_the_lock_is_held_and_given_back(cluster: Any) -> None:
    """While a run is at work the cluster says whose it is, and afterwards nothing is left."""
    with lock.locked(cluster):
        held = lease(cluster)
        assert held
        assert "@" in held["spec"]["holderIdentity"]
    assert lease(cluster) is None


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_who_has_no_name_has_a_number(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """A user id that the system knows no name of holds the lock by its number."""

    def nameless() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", nameless)
    assert lock.written()["spec"]["holderIdentity"].startswith(f"{os.getuid()}@")


def test_the_lock_is_given_back_after_an_error(cluster: Any) -> None:
    """A run that fails leaves nothing either."""
    with pytest.raises(ValueError, match="trouble"), lock.locked(cluster):
        raise ValueError("trouble")
    assert lease(cluster) is None


def test_a_second_run_waits(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run says for whom it waits, and begins when the first has ended."""
    begun = threading.Event()

    def second() -> None:
        with lock.locked(cluster):
            begun.set()

    waiting = threading.Thread(target=second)
    with lock.locked(cluster):
        waiting.start()
        until("the second run has asked", lambda: any(words[0] == "create" for words in cluster.commands[1:]))
        assert not begun.is_set()
    waiting.join()
    assert begun.is_set()
    assert "is at work on this cluster" in capsys.readouterr().out


def test_a_dead_run_is_taken_over(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that gives no sign of life is dead, and another begins."""
    monkeypatch.setattr(lock, "DEAD", 0.5)
    cluster.ask("create", "--filename=-", text=json.dumps(lock.written()))
    with lock.locked(cluster):
        held = lease(cluster)
        assert held
        assert int(held["metadata"]["resourceVersion"]) > 1


def test_a_living_run_is_not_taken_over(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that renews its Lease keeps it, however long it takes."""
    monkeypatch.setattr(lock, "RENEWED", 0.05)
    with lock.locked(cluster):
        first = lease(cluster)
        assert first
        version = first["metadata"]["resourceVersion"]
        until("a sign of life", lambda: (lease(cluster) or first)["metadata"]["resourceVersion"] != version)
        later = lease(cluster)
        assert later
        assert later["spec"]["holderIdentity"] == first["spec"]["holderIdentity"]


@pytest.mark.parametrize("words", ["Forbidden", "Conflict", "NotFound"])
def test_a_run_that_cannot_keep_the_lock_ends(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    """A run that may not renew its Lease is interrupted: another would take it for dead, and begin beside it."""
    monkeypatch.setattr(lock, "RENEWED", 0.01)
    refusing = tmp_path / "refusing"
    refusing.write_text(f"#!/bin/sh\necho 'Error from server ({words}): leases' >&2\nexit 1\n")
    refusing.chmod(0o755)
    cluster.kubectl = str(refusing)
    interrupted = threading.Event()
    monkeypatch.setattr("_thread.interrupt_main", interrupted.set)
    lock.renew(cluster, lock.written("1"), threading.Event())
    assert interrupted.is_set()


def test_releases_are_counted_and_kept(cluster: Any) -> None:
    """Each release that differs is kept under the next number, the last few of them; the same again is none."""
    numbers = [store(cluster, [configmap("a", value=str(value))]) for value in range(KEPT_RELEASES + 2)]
    assert numbers == list(range(1, KEPT_RELEASES + 3))
    assert store(cluster, [configmap("a", value=str(KEPT_RELEASES + 1))]) is None
    kept = releases(cluster)
    assert [one.number for one in kept] == list(range(KEPT_RELEASES + 2, 2, -1))
    assert kept[0].objects == [configmap("a", value=str(KEPT_RELEASES + 1))]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("release-new", {"manifests": base64.b64encode(gzip.compress(b"{}")).decode()}),
        ("release-7", None),
        ("release-7", {}),
        ("release-7", {"manifests": "junk"}),
        ("release-7", {"manifests": base64.b64encode(b"\x1f\x8bjunk").decode()}),
        ("release-7", {"manifests": base64.b64encode(gzip.compress(b"word")).decode()}),
        ("release-7", {"manifests": base64.b64encode(gzip.compress(b"a: [")).decode()}),
    ],
)
def test_a_broken_release_is_left_out(
    cluster: Any, capsys: pytest.CaptureFixture[str], name: str, data: dict[str, str] | None
) -> None:
    """A Secret that holds no release is named, and stops nothing."""
    store(cluster, [configmap("a")])
    cluster.apply([{**configmap(name), "kind": "Secret", "type": release.TYPE, "data": data}])
    assert [one.number for one in releases(cluster)] == [1]
    assert capsys.readouterr().out.count("\n") == 1


def test_what_is_no_longer_rendered_goes(cluster: Any) -> None:
    """Objects of the system that a deploy does not have any more are removed; Secrets, and others' objects, stay."""
    foreign = {**configmap("foreign"), "metadata": {"name": "foreign", "namespace": "jupyterlabdemo"}}
    kept_secret = {**configmap("kept"), "kind": "Secret"}
    cluster.apply([configmap("old"), configmap("new"), foreign, kept_secret])
    assert prune(cluster, [configmap("new")]) == ["ConfigMap old"]
    assert {one["metadata"]["name"] for one in cluster.objects.values()} == {"new", "foreign", "kept"}
    assert "secrets" not in release.PRUNED


def test_others_namespaces_are_left_alone(cluster: Any) -> None:
    """What has the system's label in a namespace that is not the system's is not removed."""
    cluster.apply([configmap("theirs", "elsewhere"), configmap("old")])
    assert prune(cluster, []) == ["ConfigMap old"]
    assert {one["metadata"]["name"] for one in cluster.objects.values()} == {"theirs"}
