"""What a preflight finds, by what a cluster says of itself, and by what a site sets."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jld_k8s import components, pairs, preflight, trial
from jld_k8s.cluster import SYSTEM, Cluster, Object
from jld_k8s.credentials import plan
from jld_k8s.facts import Facts
from jld_k8s.finding import Finding
from jld_k8s.manifests import Key
from jld_k8s.render import render
from jld_k8s.site import Site
from rendered import render as rendered

pytestmark = pytest.mark.kubectl

MakeSite = Callable[..., Site]

FACTS = Facts("10.96.7.7", (("10.96.0.1", 443),), ("192.0.2.2/32", "10.244.1.1/32"))


def node(runtime: str = "containerd://2.2.0", *, policy: bool = True, ready: str = "True") -> Object:
    """Write a node."""
    return {
        "metadata": {"name": "one"},
        "spec": {},
        "status": {
            "features": {"supplementalGroupsPolicy": policy},
            "nodeInfo": {"containerRuntimeVersion": runtime},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


@pytest.mark.parametrize("runtime", ["containerd://2.0.0", "containerd://2.2.1-k3s1", "cri-o://1.31.0"])
def test_good_nodes(runtime: str) -> None:
    """Nodes with a runtime that knows supplementalGroupsPolicy are fine."""
    assert list(preflight.nodes([node(runtime)])) == []


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (node(policy=False), "node one (containerd://2.2.0) does not support supplementalGroupsPolicy"),
        (node("containerd://1.7.20"), "node one runs containerd 1.7.20"),
        (node("cri-o://1.30.4"), "node one runs cri-o 1.30.4"),
        (node(ready="False"), "no node is ready to take pods"),
    ],
)
def test_bad_nodes(found: Object, what: str) -> None:
    """A node that cannot keep an image's groups from members, or is not there, is named with what to do."""
    (finding,) = preflight.nodes([found])
    assert finding.what == what
    assert finding.remedy


def test_homes_of_one_node(site: MakeSite) -> None:
    """Where homes are a folder of the node, a second node that takes pods is found; one that takes none is not."""
    other = {**node(), "metadata": {"name": "two"}}
    tainted = {**other, "spec": {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}}
    (finding,) = preflight.one_node([node(), other], rendered("demo"))
    assert finding.what == "homes are a folder of the node, and there are 2: one, two"
    assert list(preflight.one_node([node(), tainted], rendered("demo"))) == []
    assert list(preflight.one_node([node(), other], render(site("production"), Cluster("kubectl"), FACTS, {}))) == []


class Telling(Cluster):
    """A cluster that says one thing."""

    def __init__(self, *told: Any) -> None:
        """Take what it says, in order."""
        self.told = list(told)

    def run(self, *_: str, text: str | None = None) -> str:  # noqa: ARG002 - part of the signature
        """Say a text."""
        return str(self.told.pop(0))

    def items(self, *_: str) -> list[Object]:
        """Say a list."""
        found: list[Object] = self.told.pop(0)
        return found


@pytest.mark.parametrize(
    ("version", "count"), [("v1.33.0", 0), ("v1.36.3", 0), ("v1.33.4-gke.1", 0), ("v2.0.0", 0), ("v1.32.9", 1), ("", 1)]
)
def test_versions(version: str, count: int) -> None:
    """Kubernetes before 1.33 is refused."""
    assert len(list(preflight.versions(Telling(f'{{"gitVersion": "{version}"}}')))) == count


def claim(name: str, storage_class: str | None) -> Object:
    """Write a claim."""
    spec = {} if storage_class is None else {"storageClassName": storage_class}
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def storage_class(name: str, *, default: bool = False) -> Object:
    """Write a StorageClass."""
    mark = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": mark}}


@pytest.mark.parametrize(
    ("claims", "classes", "whats"),
    [
        ([claim("a", None)], [storage_class("x", default=True)], []),
        ([claim("a", "")], [], []),
        ([claim("a", "x")], [storage_class("x")], []),
        ([claim("a", None), claim("b", None)], [storage_class("x")], ["there is no default StorageClass for a, b"]),
        ([claim("a", "y")], [storage_class("x")], ["claim a names the StorageClass y, which is not there"]),
    ],
)
def test_storage(claims: list[Object], classes: list[Object], whats: list[str]) -> None:
    """Claims without a class need a default one, and a class that is named must be there."""
    assert [finding.what for finding in preflight.storage(Telling([], [], [], [], classes), claims)] == whats


def test_claims_that_are_there_need_no_class() -> None:
    """A claim that has its volume, a StatefulSet's too, is not looked at: what it was made with may have gone since."""
    metadata = {"name": "fileserver", "namespace": SYSTEM}
    server = {"kind": "StatefulSet", "metadata": metadata, "spec": {"volumeClaimTemplates": [claim("export", None)]}}
    hub = {**claim("hub-database", "gone"), "metadata": {"name": "hub-database", "namespace": SYSTEM}}
    there = [hub, {**hub, "metadata": {"name": "export-fileserver-0", "namespace": SYSTEM}}]
    assert list(preflight.storage(Telling(there, [], [], [], []), [server, hub])) == []
    assert len(list(preflight.storage(Telling([], [], [], [], []), [server, hub]))) == 2


def test_nodes_addresses_are_proposed(site: MakeSite) -> None:
    """Where homes are on NFS it must be said who the nodes are; those of today are proposed."""
    made = site("production")
    (finding,) = preflight.node_ranges(made, render(made, Cluster("kubectl"), FACTS, {}), FACTS)
    assert "K8S_NODE_CIDRS=192.0.2.2/32,10.244.1.1/32" in finding.remedy
    assert list(preflight.node_ranges(site("demo"), rendered("demo"), FACTS)) == []


@pytest.mark.parametrize(
    ("ranges", "example"),
    [
        ("192.0.2.0/24,2001:db8::/64", ""),
        ("10.244.1.1/32", ""),
        ("10.0.0.0/8", "10.244.1.0/24"),
        ("10.0.0.0/16,fd00::/8", "fd00::7"),
        ("10.96.0.0/11,192.0.2.0/24", "10.99.0.7"),
    ],
)
def test_no_pod_is_taken_for_a_node(site: MakeSite, ranges: str, example: str) -> None:
    """A range in which pods are, of which each could speak NFS as a node, is found; a node's own address is none."""
    one = {**node(), "spec": {"podCIDRs": ["10.244.1.0/24"]}}
    pods = [
        {"spec": {"hostNetwork": True}, "status": {"podIPs": [{"ip": "192.0.2.2"}]}},
        {"spec": {}, "status": {"podIPs": [{"ip": "10.99.0.7"}, {"ip": "fd00::7"}]}},
        {"spec": {}, "status": {}},
    ]
    made = site("production", f"K8S_NODE_CIDRS={ranges}\n")
    found = [finding.what for finding in preflight.ranges_of_pods(made, Telling(pods), [one])]
    assert [f"({example})" in what for what in found] == ([True] if example else [])


def test_all_wrong_settings_at_once(site: MakeSite) -> None:
    """Every component reads its settings as it will, and each that is wrong or missing is a finding."""
    wrong = "LAB_CPU_LIMIT=lots\nLAB_MEM_LIMIT=much\nLOGSTASH_SPOOL_LIMIT=many\nNGINX_HTTP2=perhaps\n"
    made = site("production", wrong, github_client_secret="sesame")
    objects = render(made, Cluster("kubectl"), FACTS, {})
    found = [str(finding) for finding in preflight.settings(made, objects, plan(made, objects, {}))]
    for start in (
        *("GITHUB_CLIENT_ID= ", "OAUTH_CALLBACK_URL= ", "GITHUB_ORGANIZATION_WHITELIST= "),
        *("LAB_CPU_LIMIT=lots ", "LAB_MEM_LIMIT=much ", "LOGSTASH_SPOOL_LIMIT=many ", "NGINX_HTTP2=perhaps "),
    ):
        assert any(line.startswith(start) for line in found), (start, found)
    assert "sesame" not in "".join(found)
    # What is missing in secrets/ is found by name, and not once more by who would read it.
    assert not any("_FILE=" in line for line in found), found


def test_the_demo_starts_as_it_is(site: MakeSite) -> None:
    """The demo's components find nothing wrong with what they are told."""
    made = site("demo")
    objects = render(made, Cluster("kubectl"), FACTS, {})
    assert list(components.check(objects, plan(made, objects, {}).wanted)) == []


def test_a_finding_is_one_line(site: MakeSite) -> None:
    """A value with several lines is told on one, with what would be right behind it."""
    made = site("demo", "LAB_CONTAINER_NAMES='a/lab:1,A\nb'\n")
    objects = render(made, Cluster("kubectl"), FACTS, {})
    (found,) = components.check(objects, plan(made, objects, {}).wanted)
    assert found.what.startswith("LAB_CONTAINER_NAMES=a/lab:1,A b")
    assert found.remedy
    assert str(Finding("a\nb", "c")) == "a?b \N{EM DASH} c"


def test_what_nothing_reads(site: MakeSite) -> None:
    """A name that nothing reads, and a secret among the settings, are found."""
    made = site("production", "LAB_CPU_LIMITS=2\nGITHUB_CLIENT_SECRET=sesame\n")
    found = [str(finding) for finding in preflight.settings(made, [], plan(made, [], {}))]
    assert len(found) == 2
    assert "LAB_CPU_LIMITS" in found[0]
    assert "GITHUB_CLIENT_SECRET in site.env is a secret" in found[1]
    assert "sesame" not in "".join(found)


def certificate(folder: Path, *, days: int = 30, name: str = "lab.test") -> tuple[bytes, bytes]:
    """Make a certificate that ends in some days."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=40))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def found_with(pem: bytes, key: bytes, host: str = "lab.test") -> list[str]:
    """Say what is found about nginx's certificate."""
    return [finding.what for finding in pairs.check({Key(SYSTEM, "nginx"): {"tls.crt": pem, "tls.key": key}}, host)]


def test_certificates(tmp_path: Path) -> None:
    """A certificate that is none, has ended, is another host's or another key's is found."""
    pem, key = certificate(tmp_path)
    other, other_key = certificate(tmp_path)
    ended, ended_key = certificate(tmp_path, days=-1)
    assert found_with(pem, key) == []
    assert found_with(pem + other, key) == []
    assert found_with(b"x", key) == ["tls.crt is no certificate"]
    assert found_with(pem, b"x") == ["tls.key is no key"]
    assert found_with(pem, other_key) == ["tls.key is not the key of tls.crt"]
    assert found_with(ended, ended_key)[0].startswith("tls.crt has ended on ")
    assert found_with(pem, key, "other.test") == ["tls.crt is not for other.test, which OAUTH_CALLBACK_URL names"]


@pytest.mark.parametrize(
    ("host", "pattern", "fits"),
    [
        ("lab.test", "LAB.test", True),
        ("a.lab.test", "*.lab.test", True),
        ("a.b.lab.test", "*.lab.test", False),
        ("lab.test", "*.lab.test", False),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_names_of_certificates(host: str, pattern: str, fits: bool) -> None:
    """A star stands for one label, the first; addresses are compared as such."""
    assert pairs.matches(host, pattern) is fits


def test_a_trial_begins_when_pods_are_taken(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account that every pod has is waited for before the first pod is made."""
    looked: list[tuple[str, ...]] = []

    def find(*words: str) -> Object | None:
        looked.append(words)
        return {"kind": "ServiceAccount"} if looked.count(words) > 1 else None

    monkeypatch.setattr(cluster, "find", find)
    with trial.namespace(cluster):
        assert looked.count(("serviceaccount", "default", trial.NAMESPACE)) > 1


def test_an_image_may_be_on_a_node_and_not_be_had(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an image that cannot be pulled it is not said that it is nowhere: a node may have it by another name."""
    waiting = {"image": "a:1", "imageID": "", "state": {"waiting": {"reason": "ErrImagePull"}}}
    monkeypatch.setattr(cluster, "find", lambda *_: {"status": {"containerStatuses": [waiting]}})
    (finding,) = trial.pulled(cluster, ["a:1"])
    assert finding.what.startswith("image a:1 cannot be pulled (ErrImagePull")
    assert "one that a node has may not do" in finding.remedy


def test_pulled_is_what_waits_no_longer() -> None:
    """An image is there when its container runs or has ended; one that cannot be had says why in few words."""
    chain = 'failed to pull "x": failed to resolve: dial tcp: lookup registry.test: no such host'
    found = {
        "status": {
            "containerStatuses": [
                {"image": "a", "imageID": "sha256:a", "state": {"terminated": {"exitCode": 127}}},
                {"image": "b", "imageID": "", "state": {"waiting": {"reason": "ContainerCreating"}}},
                {"image": "c", "imageID": "", "state": {"waiting": {"reason": "ErrImagePull", "message": chain}}},
            ]
        }
    }
    waiting = trial.images_waiting(found)
    assert [one["image"] for one in waiting] == ["b", "c"]
    assert trial.reason(waiting[1]["state"]["waiting"]) == "ErrImagePull: lookup registry.test: no such host"
