"""`make k8s-deploy` and its like, on a cluster that runs the system already."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster import NAMESPACES, SITE, SYSTEM, ClusterStack, get
from member import Lab, Member
from stack import CHECKOUT, CommandError, Stack, until
from work import Work

pytestmark = [pytest.mark.root, pytest.mark.target("cluster", reason="there is a cluster")]

KINDS = (
    *("deployments", "statefulsets", "daemonsets", "services", "configmaps", "secrets", "serviceaccounts", "roles"),
    *("rolebindings", "networkpolicies", "persistentvolumeclaims", "poddisruptionbudgets", "pods"),
)

Name = tuple[str, str, str]


def objects() -> dict[Name, str]:
    """Return, of each object of the system, what changes whenever somebody changes what it is to be.

    That is the generation where it has one, and the version where it has no status either; of pods it is the uid.
    """
    found: dict[Name, str] = {}
    lists: list[tuple[str, ...]] = [(",".join(KINDS), f"--namespace={space}") for space in NAMESPACES]
    lists += [("namespaces", *NAMESPACES), ("persistentvolumes", "--selector=app.kubernetes.io/part-of=jupyterlabdemo")]
    for words in lists:
        for one in get(*words)["items"]:
            its = one["metadata"]
            version = its["uid"] if one["kind"] == "Pod" else its.get("generation", its["resourceVersion"])
            found[one["kind"], its.get("namespace", ""), its["name"]] = f"{its['uid']} {version}"
    return found


def test_first_deploy_is_quick(cluster: ClusterStack) -> None:
    """From an empty cluster that has the images to all being ready it takes less than 3 minutes."""
    assert 0 < cluster.took < 180


def test_second_deploy_changes_nothing(cluster: ClusterStack, lab: Lab) -> None:
    """A second `make k8s-deploy` says that nothing changes, and changes nothing."""
    lab.api("GET", "status")
    before, begun = objects(), time.monotonic()
    assert "nothing was changed" in cluster.make("up")
    assert time.monotonic() - begun < cluster.again
    assert "nothing would change" in cluster.make("k8s-diff")
    assert objects() == before


@pytest.mark.changes
def test_wrong_settings_are_all_told(kind: type[Stack], work: Work) -> None:
    """All wrong settings are told at once, each with what would be right, before anything changes."""
    before = objects()
    broken = kind(LAB_CPU_LIMIT="lots", NGINX_HSTS_MAX_AGE="long", KEEPALIVE_INTERVAL="often")
    try:
        with pytest.raises(CommandError) as error:
            broken.up()
        for text in ("LAB_CPU_LIMIT=lots ", "NGINX_HSTS_MAX_AGE=long ", "KEEPALIVE_INTERVAL=often "):
            assert text in str(error.value)
        assert objects() == before
    finally:
        broken.down()
    work.goes_on()


MANIFESTS = ("k8s/base", "k8s/components", "k8s/overlays", ":(glob)**/kubernetes/**", ":(glob)**/settings.env")


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Path]:
    """Give the checkout as it was before the last commit that changed manifests, with the environment of this one."""
    folder = tmp_path / "earlier"
    git = ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT)]
    last = subprocess.check_output([*git, "log", "-1", "--format=%H", "--", *MANIFESTS], text=True).strip()
    subprocess.run([*git, "worktree", "add", "--detach", folder, f"{last}~1"], check=True, capture_output=True)
    (folder / ".venv").symlink_to(CHECKOUT / ".venv")
    yield folder
    subprocess.run([*git, "worktree", "remove", "--force", folder], check=True)


@pytest.mark.changes
def test_upgrade_from_earlier_manifests(
    cluster: ClusterStack, work: Work, earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the manifests that were before these to these: lab, kernel and session go on."""
    now = objects()
    site = earlier / "k8s/sites" / SITE
    shutil.copytree(cluster.site, site)
    kustomization = site / "kustomization.yaml"
    kustomization.write_text(
        kustomization.read_text().replace(os.path.relpath(CHECKOUT, cluster.site.resolve()), "../../..")
    )
    # The tool and what it renders are of that commit, the environment and the images of this one.
    packages = ("k8s", "dev/embedded", "hub", "fileserver", "filebeat", "logstash", "nginx", "dev/github", "dev/broker")
    path = os.pathsep.join(str(earlier / package) for package in (".", *packages))
    try:
        with monkeypatch.context() as patch:
            patch.setitem(cluster.environment, "PYTHONPATH", path)
            patch.setitem(cluster.environment, "K8S_SITES", str(site.parent))
            cluster.make("up", f"--directory={earlier}", seconds=600)
        assert objects() != now
        work.goes_on()
    finally:
        cluster.make("up", seconds=600)
    work.goes_on()


def hub_settings() -> dict[str, str]:
    """Return what the hub that runs was started with."""
    (pod,) = get("pods", f"--namespace={SYSTEM}", "--selector=app.kubernetes.io/name=hub")["items"]
    sources = [one["configMapRef"]["name"] for one in pod["spec"]["containers"][0]["envFrom"]]
    return {
        name: value
        for source in sources
        for name, value in get("configmap", source, f"--namespace={SYSTEM}")["data"].items()
    }


@pytest.mark.changes
def test_failed_deploy_leaves_what_ran_before(cluster: ClusterStack, work: Work) -> None:
    """What does not come to run is told, with the reason, and what ran before runs again; nobody's session ends."""
    kustomization = cluster.site / "kustomization.yaml"
    before, ran = kustomization.read_text(), hub_settings()
    patch = json.dumps([{"op": "add", "path": "/spec/template/spec/containers/0/command", "value": ["/no/program"]}])
    target = {"kind": "StatefulSet", "name": "logstash"}
    kustomization.write_text(yaml.safe_dump(yaml.safe_load(before) | {"patches": [{"target": target, "patch": patch}]}))
    try:
        with pytest.raises(CommandError, match=r"release \d+ runs again") as error:
            cluster.make("up", seconds=600)
        assert "/no/program" in str(error.value)
        until("the stack is ready", cluster.is_ready, seconds=60)
        assert hub_settings() == ran
        work.goes_on()
    finally:
        kustomization.write_text(before)


@pytest.mark.changes
def test_rollback(cluster: ClusterStack, work: Work) -> None:
    """`make k8s-rollback` gives back the settings of the release before, which are the site's again."""
    ran = hub_settings()
    other = ClusterStack(HUB_CULL_IDLE_SECONDS="86399")
    try:
        other.configure()
        other.make("up", seconds=600)
        assert hub_settings()["HUB_CULL_IDLE_SECONDS"] == "86399"
        cluster.make("k8s-rollback", seconds=600)
        assert hub_settings() == ran
        work.goes_on()
    finally:
        other.down()
    assert "nothing was changed" in cluster.make("up", seconds=600)


@pytest.mark.changes
def test_delete_keeps_what_members_have(cluster: ClusterStack, alice: Member, lab: Lab) -> None:
    """`make k8s-delete` ends labs too, also after the hub was killed with -9; homes, database and secrets stay.

    Twice is fine.
    """
    lab.terminal("echo kept > ~/letter")
    os.kill(cluster.pid("hub"), signal.SIGKILL)
    cluster.make("down", f"CONFIRM={SITE}")
    assert not cluster.processes()
    cluster.make("down", f"CONFIRM={SITE}")
    cluster.up()
    page = alice.web.get(f"{alice.url}/hub/home")
    assert (page.status_code, page.url.path) == (200, "/hub/home"), "nobody has to sign in again"
    assert alice.start_lab().status_code == 200
    assert Lab(alice).terminal("cat ~/letter") == "kept"
