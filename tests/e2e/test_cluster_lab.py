"""A lab as a pod: what it may do, what it has, what the cluster refuses to let it be."""

import copy
import json
import re
from pathlib import Path

import pytest
from broker import arrivals
from cluster import LABS, NAMESPACES, SERVICES, SYSTEM, ClusterStack, Object, container_pid, get, kubectl
from member import Lab
from stack import CommandError, until

pytestmark = pytest.mark.target("cluster", reason="there are pods")

NO_CAPABILITIES = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16)


@pytest.fixture
def pod(cluster: ClusterStack, lab: Lab) -> Object:
    """Give what the API knows of alice's lab."""
    lab.api("GET", "status")
    return cluster.lab("alice")


def status_of(pid: int) -> dict[str, str]:
    """Read what the kernel tells about a process (proc_pid_status(5))."""
    return dict(re.findall(r"^(\w+):\s*(.*?)\s*$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))


@pytest.mark.root
def test_kernel_of_the_node_agrees(pod: Object) -> None:
    """The lab runs as its member with his groups and no other, and can gain nothing, as the node's kernel says."""
    (container,) = pod["spec"]["containers"]
    status = status_of(container_pid(pod, container["name"]))
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"4242424"}
    assert sorted(status["Groups"].split()) == ["1508001", "3050001", "4242424"]
    assert {name: status[name] for name in NO_CAPABILITIES} == NO_CAPABILITIES
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_what_a_lab_sees(cluster: ClusterStack, lab: Lab) -> None:
    """A lab sees its own home and group folders and no more of the tree, cannot write /, and has no way to the API."""
    seen = lab.terminal("echo $(ls /home) : $(ls /groups); cat /proc/self/mountinfo")
    assert seen.splitlines()[0].strip() == "alice : lsst lsst-sqre"
    folders = {"homes/4242424": "/home/alice", "groups/1508001": "/groups/lsst-sqre", "groups/3050001": "/groups/lsst"}
    for source, target in folders.items():
        assert len(re.findall(f"{source} {target} rw", seen)) == 1
    assert len(re.findall(rf" {cluster.export}\S* ", seen)) == len(folders)
    assert re.search(r" / / ro[, ]", seen)
    assert "No such file" in lab.terminal("ls /var/run/secrets /run/secrets/kubernetes.io")
    assert not re.findall(r"^\w+_SERVICE_HOST=", lab.terminal("env | grep -v ^KUBERNETES_"), re.MULTILINE)


def test_guarantees(pod: Object) -> None:
    """A lab asks a node for what LAB_CPU_GUARANTEE and LAB_MEM_GUARANTEE say, and for its limits at the most."""
    (container,) = pod["spec"]["containers"]
    resources = container["resources"]
    assert {name: amount(text) for name, text in resources["requests"].items()} == {"cpu": 0.05, "memory": 256 * 2**20}
    assert {name: amount(text) for name, text in resources["limits"].items()} == {"cpu": 1, "memory": 2 * 2**30}


def amount(text: str) -> float:
    """Read a quantity, as far as these tests meet them."""
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]


def test_line_of_a_lab(cluster: ClusterStack, pod: Object, lab: Lab) -> None:
    """A line of a lab is at the broker with the names of namespace, pod, container and node."""
    with arrivals(cluster.broker()) as arrived, lab.kernel() as kernel:
        kernel.run("import sys; print('whose line is this', file=sys.__stderr__, flush=True)")
        (event,) = until(
            "the line", lambda: [one for one in list(arrived.events) if "whose line is this" in one["message"]]
        )
    assert event["kubernetes"] == {
        "namespace": LABS,
        "pod": "lab-alice",
        "container": pod["spec"]["containers"][0]["name"],
        "node": pod["spec"]["nodeName"],
    }


TAMPERED = {
    "privileged": {"containers": [{"securityContext": {"privileged": True, "allowPrivilegeEscalation": True}}]},
    "root": {"securityContext": {"runAsUser": 0, "runAsNonRoot": False}},
    "a folder of the node": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
    "the node's network": {"hostNetwork": True},
    "the node's processes": {"hostPID": True},
    "no seccomp": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "a capability": {"containers": [{"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}}]},
}
"""What makes a lab one that nobody may have, laid over the specification of a real one."""


def tampered(pod: Object, change: Object) -> str:
    """Describe a pod like another, but for its name and a change."""

    def lay(over: Object, under: Object) -> None:
        for name, value in over.items():
            if name == "containers":
                for one, other in zip(value, under[name], strict=True):
                    lay(one, other)
            elif isinstance(value, dict):
                lay(value, under.setdefault(name, {}))
            elif isinstance(value, list) and name == "volumes":
                under[name] += value
            else:
                under[name] = value

    spec = copy.deepcopy(pod["spec"])
    # The one that runs has what its container's context says too; what it says itself is to count.
    lay(change, spec)
    metadata = {"name": "tampered", "namespace": LABS, "labels": pod["metadata"]["labels"]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def create(text: str) -> None:
    """Ask the API server whether it would take a pod."""
    kubectl("create", "--dry-run=server", "--filename=-", text=text)


def test_a_lab_as_it_is_would_be_taken(pod: Object) -> None:
    """What the next test changes is all that the cluster objects to."""
    create(tampered(pod, {}))


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_tampered_lab_is_refused(pod: Object, change: Object) -> None:
    """The labs' namespace takes no pod that the standard `restricted` does not allow, whatever a hub would ask for."""
    with pytest.raises(CommandError, match='violates PodSecurity "restricted'):
        create(tampered(pod, change))


def test_each_namespace_enforces_its_standard() -> None:
    """Labs and system are held to `restricted`; what that does not fit has namespaces of its own."""
    label = "pod-security.kubernetes.io/enforce"
    found = {
        one["metadata"]["name"]: one["metadata"]["labels"].get(label)
        for one in get("namespaces")["items"]
        if one["metadata"]["name"] in NAMESPACES
    }
    assert found == {
        SYSTEM: "restricted",
        LABS: "restricted",
        f"{SYSTEM}-files": "privileged",
        f"{SYSTEM}-logs": "privileged",
    }


CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE"),
)
"""The first of linux/capability.h, each a bit."""

ROOTS = ("fileserver", "filebeat")
"""Services that are root, in namespaces of their own."""


@pytest.mark.root
@pytest.mark.parametrize("name", SERVICES)
def test_rights_of_a_service(cluster: ClusterStack, name: str) -> None:
    """Every service has the capabilities that its manifest names at the most, gains none, and cannot write /.

    The hub alone has a token of the cluster's.
    """
    pods = cluster.pods(name)
    assert pods
    for pod in pods:
        for container in pod["spec"]["containers"]:
            granted = container["securityContext"].get("capabilities", {}).get("add", [])
            bits = sum(1 << CAPABILITIES.index(capability) for capability in granted)
            pid = container_pid(pod, container["name"])
            status = status_of(pid)
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert ("0" in status["Uid"].split()) == (name in ROOTS)
            for field in NO_CAPABILITIES:
                assert int(status[field], 16) & ~bits == 0, field
            assert not granted or name in ROOTS
            mounts = [line.split() for line in Path(f"/proc/{pid}/mounts").read_text().splitlines()]
            (root,) = (options.split(",") for _, target, _, options, *_ in mounts if target == "/")
            assert "ro" in root
            assert any("kubernetes.io/serviceaccount" in target for _, target, *_ in mounts) == (name == "hub")


RIGHTS = {
    "pods": {"get", "list", "watch", "create", "delete"},
    "pods/log": {"get"},
    "events": {"list", "watch"},
    "secrets": {"create", "update", "delete"},
}
"""What the hub may do in the labs' namespace, and nothing elsewhere (hub/README.md)."""


def granted_to_the_hub(namespace: str) -> dict[str, set[str]]:
    """Ask the API server what the hub's account may do to whom, beyond what any account may."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }

    def rules(account: str) -> set[tuple[str, str]]:
        words = ("create", "--raw=/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "--filename=-")
        answer = json.loads(kubectl(*words, f"--as={account}", text=json.dumps(review)))
        return {
            (resource, verb)
            for rule in answer["status"]["resourceRules"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    account = f"system:serviceaccount:{SYSTEM}:"
    found: dict[str, set[str]] = {}
    for resource, verb in rules(f"{account}hub") - rules(f"{account}nobody"):
        found.setdefault(resource, set()).add(verb)
    return found


def test_what_the_hub_may_ask_of_the_cluster() -> None:
    """The hub's account has just the rights that it uses, in the labs' namespace only."""
    assert granted_to_the_hub(LABS) == RIGHTS
    for namespace in (SYSTEM, f"{SYSTEM}-files", f"{SYSTEM}-logs", "default", "kube-system"):
        assert granted_to_the_hub(namespace) == {}


@pytest.mark.root
def test_where_secrets_are(cluster: ClusterStack, lab: Lab) -> None:
    """No secret is in what the API tells of pods and settings, in a service's log or in an argument of a program."""
    secrets = cluster.secrets()
    lab.api("GET", "status")
    told = kubectl("get", "pods,configmaps,statefulsets,deployments,daemonsets", "--all-namespaces", "--output=json")
    told += "".join(cluster.log(service) for service in SERVICES)
    for pid in cluster.processes():
        told += Path(f"/proc/{pid}/cmdline").read_text() if Path(f"/proc/{pid}").exists() else ""
    assert not [secret[:4] for secret in secrets if secret in told]
