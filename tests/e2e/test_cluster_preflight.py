"""What a deploy needs, broken in turn on a cluster that has nothing of the system: the preflight names each."""

import json
import os
import re
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from altered import altered, edited, kubeconfig
from cluster import NAMESPACES, SITE, ClusterStack, get, kubectl, node_addresses
from stack import CommandError, Stack, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.bare,
    pytest.mark.target("cluster", reason="the other targets have no preflight"),
]

TRIAL = "jupyterlabdemo-preflight"
FINE = "nothing is to be put right"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
SOMEBODY = "somebody-of-the-tests"

Sites = Callable[..., ClusterStack]


def ours() -> set[str]:
    """Name the namespaces of the system, and that of the preflight, that are there."""
    there = {one["metadata"]["name"] for one in get("namespaces")["items"]}
    return there & {*NAMESPACES, TRIAL}


@pytest.fixture
def site(kind: type[Stack]) -> Iterator[Sites]:
    """Make sites of the demo that nobody deploys; nothing of them is ever left on the cluster."""
    made: list[ClusterStack] = []

    def make(**settings: str) -> ClusterStack:
        stack = kind(**settings)
        assert isinstance(stack, ClusterStack)
        made.append(stack)
        stack.create()
        stack.configure()
        return stack

    yield make
    for stack in made:
        stack.down()
    until("nothing is left behind", lambda: not ours(), seconds=60)


def findings(stack: ClusterStack, kubeconfig: Path | None = None) -> list[str]:
    """Run the preflight, which is to find something, and return what it finds."""
    if kubeconfig:
        stack.environment["KUBECONFIG"] = str(kubeconfig)
    with pytest.raises(CommandError) as error:
        stack.make("k8s-preflight")
    assert "Traceback" not in str(error.value)
    return re.findall(r"^  (\S.* \N{EM DASH} .*\S)$", str(error.value), re.MULTILINE) or [str(error.value)]


def test_all_is_fine(site: Sites) -> None:
    """Where everything is as it should be, that is said, policies are enforced, and the cluster is as it was."""
    told = site().make("k8s-preflight")
    assert FINE in told
    assert "WARNING" not in told


def test_no_api_server(site: Sites, tmp_path: Path) -> None:
    """An API server that does not answer is named in one line, within a time in which one would wait for it."""
    (told,) = findings(site(), kubeconfig(tmp_path, "http://127.0.0.1:1"))
    assert "127.0.0.1:1 was refused" in told


def older(version: Any) -> None:
    """Make the API server one of a version before supplementalGroupsPolicy."""
    version |= {"minor": "32", "gitVersion": "v1.32.9"}


def without_policy(nodes: Any) -> None:
    """Take a feature from the nodes."""
    for node in nodes["items"]:
        del node["status"]["features"]


@pytest.mark.parametrize(
    ("path", "edit", "text"),
    [
        ("/version", older, "Kubernetes is 1.32 \N{EM DASH} 1.33 or newer is needed"),
        ("/api/v1/nodes", without_policy, " does not support supplementalGroupsPolicy \N{EM DASH} containerd 2.0 or"),
    ],
)
def test_old_cluster(site: Sites, tmp_path: Path, path: str, edit: Callable[[Any], None], text: str) -> None:
    """An API server or a node that does not keep an image's groups from members is named."""
    with altered(tmp_path, answered=edited(path, edit)) as kubeconfig:
        (told,) = findings(site(), kubeconfig)
    assert text in told


def test_policies_without_effect(site: Sites, tmp_path: Path) -> None:
    """Where a NetworkPolicy keeps nobody from anything, that is said aloud; it is no finding."""

    def aim_at_nobody(policy: Any) -> None:
        policy["spec"]["podSelector"] = {"matchLabels": {"trial": "nobody"}}

    stack = site()
    path = f"/apis/networking.k8s.io/v1/namespaces/{TRIAL}/networkpolicies/.*"
    with altered(tmp_path, asked=edited(path, aim_at_nobody)) as kubeconfig:
        stack.environment["KUBECONFIG"] = str(kubeconfig)
        told = stack.make("k8s-preflight")
    assert "WARNING: NetworkPolicy IS NOT ENFORCED on this cluster" in told
    assert FINE in told


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[Callable[[list[Any]], Path]]:
    """Give a KUBECONFIG for a user with some rights."""

    def rights(rules: list[Any]) -> Path:
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules}
        kubectl("apply", "--filename=-", text=json.dumps({**role, "metadata": {"name": SOMEBODY}}))
        kubectl("create", "clusterrolebinding", SOMEBODY, f"--clusterrole={SOMEBODY}", f"--user={SOMEBODY}")
        content = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
        for user in content["users"]:
            user["user"]["as"] = SOMEBODY
        file = tmp_path / "somebody.kubeconfig"
        file.write_text(yaml.safe_dump(content))
        return file

    yield rights
    kubectl("delete", f"clusterrole/{SOMEBODY}", f"clusterrolebinding/{SOMEBODY}", "--ignore-not-found")


GROUPS = ["", "apps", "policy", "rbac.authorization.k8s.io", "storage.k8s.io", "discovery.k8s.io"]


def test_a_right_is_missing(site: Sites, somebody: Callable[[list[Any]], Path]) -> None:
    """Whoever may do all that is needed but one thing is told which, and where; and nothing is tried without it."""
    rules = [
        {"apiGroups": [*GROUPS, "coordination.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]},
    ]
    told = findings(site(), somebody(rules))
    assert told
    for one in told:
        assert re.match("you may not create, patch, delete networkpolicies in ", one), one
    assert {name for one in told for name in re.findall(r"jupyterlabdemo[\w-]*", one)} >= set(NAMESPACES)


def test_only_looking_is_allowed(site: Sites, somebody: Callable[[list[Any]], Path]) -> None:
    """Whoever may only look is told all that he lacks."""
    told = findings(site(), somebody([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]))
    lacking = " ".join(told)
    for kind in ("namespaces", "secrets", "deployments", "statefulsets", "daemonsets", "persistentvolumeclaims"):
        assert re.search(rf"you may not [\w, ]*\bcreate\b[\w, ]* {kind}\b", lacking), kind


@pytest.fixture
def no_default_class() -> Iterator[None]:
    """Have the cluster provide no volume to who names no class."""
    marked = [
        one["metadata"]["name"]
        for one in get("storageclasses")["items"]
        if one["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true"
    ]
    assert marked
    kubectl("annotate", "storageclass", *marked, f"{DEFAULT_CLASS}=false", "--overwrite")
    yield
    kubectl("annotate", "storageclass", *marked, f"{DEFAULT_CLASS}=true", "--overwrite")


@pytest.mark.usefixtures("no_default_class")
def test_no_default_storage_class(site: Sites) -> None:
    """Claims that name no class, where none is the default, are named."""
    (told,) = findings(site())
    assert told.startswith("there is no default StorageClass for ")
    assert DEFAULT_CLASS in told


def test_settings_images_and_secrets(site: Sites) -> None:
    """What a site sets wrong is told all at once: a setting, one that nothing reads, images, a secret, a range."""
    dns = get("pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns")["items"][0]
    pods = str(ip_network(f"{dns['status']['podIP']}/24", strict=False))
    lab, absent, latest = "lsstsqre/jld-lab-py3:0.1.0", "127.0.0.1:1/absent:7", "lsstsqre/jld-hub:latest"
    stack = site(
        LAB_CPU_LIMIT="lots",
        LAB_CPU_LIMITS="2",
        LAB_CONTAINER_NAMES=f"{lab},{absent},{latest}",
        LAB_CONTAINER_DESCS="",
        K8S_NODE_CIDRS=pods,
    )
    secret = stack.site / "secrets/crypt_key"
    secret.write_text("short")
    secret.chmod(0o600)
    told = "\n".join(findings(stack))
    assert "LAB_CPU_LIMIT=lots" in told
    assert "nothing reads LAB_CPU_LIMITS in site.env" in told
    assert re.search(rf"image {absent} cannot be pulled \(\w+: .+\)", told)
    assert f"image {latest} has no version" in told
    assert f"K8S_NODE_CIDRS={pods} has pods in it" in told
    assert "CRYPT_KEY" in told
    assert "short" not in told, "no secret is printed"


def test_a_patch_that_fits_nothing(site: Sites) -> None:
    """A site's patch that no API server takes is found by the one that is there, with the field's name."""
    stack = site()
    kustomization = stack.site / "kustomization.yaml"
    patch = '[{"op": "add", "path": "/spec/template/spec/restartsPolicy", "value": "Always"}]'
    target = {"kind": "Deployment", "name": "hub"}
    content = yaml.safe_load(kustomization.read_text()) | {"patches": [{"target": target, "patch": patch}]}
    kustomization.write_text(yaml.safe_dump(content))
    (told,) = findings(stack)
    assert "the cluster does not take the manifests" in told
    assert "restartsPolicy" in told


def test_production_out_of_the_box(site: Sites) -> None:
    """A new site of production is told, at once, each secret and setting that is its operator's to give."""
    stack = site()
    stack.make("k8s-init", "NAME=summit", "OVERLAY=production")
    with pytest.raises(CommandError) as error:
        stack.make("k8s-preflight", "OVERLAY=summit")
    told = str(error.value)
    assert "Traceback" not in told
    for name in ("github_client_secret", "broker_password", "tls.crt", "OAUTH_CALLBACK_URL", "RABBITMQ_TARGET_HOST"):
        assert name in told, name
    for address in node_addresses():
        assert re.search(rf"^  K8S_NODE_CIDRS is not set .*{re.escape(address)}", told, re.MULTILINE)


def test_a_secret_that_others_can_read(site: Sites) -> None:
    """A secret's file that is open to others is refused, with the command that closes it."""
    stack = site()
    secret = stack.site / "secrets/passphrase"
    secret.write_text("everybody can read this")
    secret.chmod(0o644)
    (told,) = findings(stack)
    assert f"chmod 600 {secret}" in told
    assert str(SITE) in told
