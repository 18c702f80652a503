"""Who reaches whom: what the policies drop is really sent, from the networks of the pods themselves."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from cluster import (
    FILES,
    REMOTE_NODES,
    SYSTEM,
    ClusterStack,
    Object,
    container_pid,
    get,
    kubectl,
    node_addresses,
    simple_pod,
)
from member import Lab, Visit
from reach import Endpoint, listening, of, reached
from stack import CommandError
from world import own_address, place

pytestmark = [pytest.mark.root, pytest.mark.target("cluster", reason="there are policies")]

STRANGERS = f"{SYSTEM}-e2e"
"""Namespace of the pod that no policy holds: what it reaches can be reached."""

WAYS = {
    ("nginx", "proxy", 8000),
    ("nginx-github", "github", 8082),
    ("proxy", "hub", 8081),
    ("proxy", "lab", 8888),
    ("hub", "proxy", 8001),
    ("hub", "lab", 8888),
    ("hub", "fileserver", 8083),
    ("hub", "github", 8082),
    ("lab", "hub", 8081),
    ("lab", "proxy", 8000),
    ("filebeat", "logstash", 5044),
    ("logstash", "broker", 5671),
}
"""All that pods of the system may connect to in it."""

LISTENERS = {
    *(("broker", 5671), ("logstash", 5044), ("filebeat", 8086), ("fileserver", 2049), ("fileserver", 8083)),
    *(("github", 8082), ("nginx", 8443), ("nginx-github", 8443), ("proxy", 8000), ("proxy", 8001), ("hub", 8081)),
    *(("lab", 8888), ("keepalive", 8084)),
}
"""Some of what listens, by which a test knows that it has found everything."""

METADATA = "169.254.169.254"
PRIVATE = ("10.213.77.9", "172.29.213.9", "192.168.213.9", "100.99.77.9", "169.254.77.9")
PORTS = (53, 80, 443, 2049, 8081, 8888)

KUBELET = 10250
NODE_PORTS = (30443, 30444)


class Pods:
    """The pods of the system with two labs, and one of a stranger's, each with its network.

    Args:
        cluster: The stack.
        stranger: The pod that no policy holds.
    """

    def __init__(self, cluster: ClusterStack, stranger: Object) -> None:
        pods = cluster.pods()
        self.names = {pod["metadata"]["name"]: pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods}
        self.pids = {pod["metadata"]["name"]: container_pid(pod, first_container(pod)) for pod in pods}
        self.addresses = {pod["metadata"]["name"]: str(pod["status"]["podIP"]) for pod in pods}
        self.ports = {
            (self.names[pod["metadata"]["name"]], port["name"]): int(port["containerPort"])
            for pod in pods
            for container in pod["spec"]["containers"]
            for port in container.get("ports", [])
        }
        self.stranger = container_pid(stranger, first_container(stranger))
        self.listeners = {
            (self.addresses[pod], port): (pod, port) for pod, pid in self.pids.items() for port in listening(pid)
        }

    def reached(self, endpoints: list[Endpoint]) -> dict[str, set[Endpoint]]:
        """Have each pod connect to endpoints, and return what answers to whom."""
        with ThreadPoolExecutor(4) as threads:
            found = threads.map(lambda pid: reached(of(pid), endpoints), self.pids.values())
            return dict(zip(self.pids, found, strict=True))


def first_container(pod: Object) -> str:
    """Return the name of a pod's first container; all of a pod share its network."""
    return str(pod["spec"]["containers"][0]["name"])


@pytest.fixture(scope="module")
def stranger() -> Iterator[Object]:
    """Run a pod that no policy holds."""
    with suppress(CommandError):
        kubectl("create", "namespace", STRANGERS)
    pod = simple_pod("stranger", ["/usr/bin/python3", "-c", "import signal; signal.pause()"])
    kubectl("apply", f"--namespace={STRANGERS}", "--filename=-", text=json.dumps(pod))
    kubectl("wait", f"--namespace={STRANGERS}", "--for=condition=Ready", "pod/stranger", "--timeout=60s")
    yield get("pod", "stranger", f"--namespace={STRANGERS}")
    kubectl("delete", "namespace", STRANGERS, "--wait=false")


@pytest.fixture
def pods(cluster: ClusterStack, lab: Lab, visit: Visit, stranger: Object) -> Pods:
    """Have alice and bob run labs, and look where everybody is."""
    lab.api("GET", "status")
    bob = visit("bob")
    bob.sign_in()
    bob.start_lab()
    return Pods(cluster, stranger)


def test_whom_pods_reach(pods: Pods) -> None:
    """Between the pods of the system just the named ways are open; nothing else that listens, not from lab to lab."""
    everything = list(pods.listeners)
    found = {(pods.names[pod], port) for pod, port in pods.listeners.values()}
    assert found >= LISTENERS, "this test knows where everything is"
    assert reached([], everything) == set(everything), "the node reaches whoever listens"
    seen = set()
    for pod, endpoints in pods.reached(everything).items():
        for endpoint in endpoints:
            other, port = pods.listeners[endpoint]
            if other != pod:
                seen.add((pods.names[pod], pods.names[other], port))
    assert seen == WAYS


def test_whom_a_stranger_reaches(pods: Pods) -> None:
    """A pod of anybody else's on the cluster reaches what browsers go to, and nothing else of the system."""
    found = {pods.listeners[endpoint] for endpoint in reached(of(pods.stranger), list(pods.listeners))}
    assert {(pods.names[pod], port) for pod, port in found} == {("nginx", 8443), ("nginx-github", 8443)}


def test_nobody_but_the_hub_reaches_the_clusters_api(pods: Pods) -> None:
    """The API server, by its Service and by its address, the kubelet and the nodes' ports answer no pod but the hub.

    The hub reaches the API server only.
    """
    service = str(get("service", "kubernetes", "--namespace=default")["spec"]["clusterIP"])
    (slice_,) = get("endpointslices", "--namespace=default", "--selector=kubernetes.io/service-name=kubernetes")[
        "items"
    ]
    api = {(service, 443)}
    api |= {(host, slice_["ports"][0]["port"]) for one in slice_["endpoints"] for host in one["addresses"]}
    nodes = [address.partition("/")[0] for address in node_addresses()]
    others = {(node, port) for node in nodes for port in (KUBELET, *NODE_PORTS)}
    everything = sorted(api | others)
    assert reached(of(pods.stranger), everything) == set(everything), "whom no policy holds reaches them"
    for pod, endpoints in pods.reached(everything).items():
        assert endpoints == (api if pods.names[pod] == "hub" else set()), pod


def test_services_by_their_addresses(pods: Pods) -> None:
    """No Service of the system is a way around: by its address too it answers those only who may."""
    services = {
        (str(one["spec"]["clusterIP"]), int(port["port"])): (name, pods.ports[name, port["targetPort"]])
        for space in (SYSTEM, FILES)
        for one in get("services", f"--namespace={space}")["items"]
        for name in [one["spec"]["selector"]["app.kubernetes.io/name"]]
        for port in one["spec"]["ports"]
        if one["spec"]["clusterIP"] not in ("", "None")
    }
    found = pods.reached(list(services)).items()
    ways = {(pods.names[pod], *services[endpoint]) for pod, endpoints in found for endpoint in endpoints}
    assert ways <= WAYS
    assert ("proxy", "hub", 8081) in ways, "Services answer at all"


def test_whom_pods_reach_in_the_world(pods: Pods) -> None:
    """Labs reach the internet, but no private range, no metadata address and no node; the hub GitHub's port at most."""
    remote = REMOTE_NODES.replace("0/28", "9")
    with place(METADATA, *PRIVATE, remote, ports=PORTS) as there:
        internet = {(own_address(there), port) for port in PORTS}
        closed = {(host, port) for host in (METADATA, *PRIVATE, remote) for port in PORTS}
        everything = sorted(internet | closed)
        everybody = reached(of(pods.stranger), everything)
        assert everybody == set(everything), "whom no policy holds reaches all of it"
        for pod, endpoints in pods.reached(everything).items():
            match pods.names[pod]:
                case "lab":
                    assert endpoints == internet, pod
                case "hub":
                    assert endpoints <= {(host, 443) for host, _ in internet}, pod
                case _:
                    assert endpoints == set(), pod


def test_who_reaches_the_file_server(pods: Pods) -> None:
    """The port of NFS is open to addresses in K8S_NODE_CIDRS, and to no other; nothing else of the server is."""
    pod = next(name for name, its in pods.names.items() if its == "fileserver")
    endpoints = [endpoint for endpoint, (name, _) in pods.listeners.items() if name == pod]
    nfs = (pods.addresses[pod], 2049)
    assert nfs in endpoints
    for node, expected in (("5", {nfs}), ("77", set())):
        with place(REMOTE_NODES.replace("0/28", node)) as there:
            assert reached(["ip", "netns", "exec", there], endpoints) == expected


def test_a_lab_has_names(lab: Lab) -> None:
    """A lab has names resolved by the cluster."""
    with lab.kernel() as kernel:
        kernel.run("import socket")
        assert kernel.run(f"socket.gethostbyname('hub.{SYSTEM}')")
