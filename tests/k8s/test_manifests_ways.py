"""Who may speak to whom: what the network policies of a cluster let through, worked out as the API's reference says."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import pytest
from rendered import WORKLOADS, Object, of_kind, pod, render

pytestmark = pytest.mark.kubectl

NAME = "app.kubernetes.io/name"

HTTP, HTTPS, DNS, ANY = 80, 443, 53, 22

PODS = "10.244.0.9"
"""The address of any pod: a private one, as usual."""


class Peer(NamedTuple):
    """Who may speak.

    Attributes:
        name: what the table of ways calls it.
        address: its address.
        namespace: of a pod; nothing else has one.
        labels: of the pod.
        marks: of its namespace, beside the name.
    """

    name: str
    address: str = PODS
    namespace: str = ""
    labels: Mapping[str, str] = {}
    marks: Mapping[str, str] = {}


OUTSIDE = {
    "internet": "198.51.100.7",
    "internet6": "2001:db8::7",
    "private": "10.9.8.7",
    "private6": "fd00::7",
    "shared": "100.64.0.7",
    "office": "192.168.1.7",
    "metadata": "169.254.169.254",
    "metadata6": "fe80::7",
    "azure": "168.63.129.16",
    "laboratory": "198.18.0.7",
    "translated metadata": "64:ff9b::a9fe:a9fe",
}
"""Addresses of others; documentation's stand for public ones (RFC 5737, RFC 3849)."""

FOREIGN = ("dns", "stranger", "prometheus")
"""Pods that are none of ours."""

OTHERS = [
    *(Peer(name, address) for name, address in OUTSIDE.items()),
    Peer("lab", namespace="jupyterlabdemo-labs", labels={NAME: "lab"}),
    Peer("images", namespace="jupyterlabdemo-labs", labels={NAME: "images"}),
    Peer("dns", namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    Peer("prometheus", namespace="monitoring", marks={"jupyterlabdemo/metrics": "true"}),
    Peer("stranger", namespace="default", labels={NAME: "hub"}),
    # With another's label, in a namespace where nobody of that name belongs.
    Peer("hub in labs", namespace="jupyterlabdemo-labs", labels={NAME: "hub"}),
]

METRICS = {
    ("hub", 8081),
    ("proxy", 8002),
    ("nginx", 8085),
    ("fileserver", 8083),
    ("fileserver", 8088),
    ("keepalive", 8084),
    ("filebeat", 8086),
    ("logstash", 8087),
}

PORTS = {DNS, ANY, HTTP, HTTPS, 2049, 5671, 6443, 8888} | {
    *(8000, 8001, 8081, 8443, 5044, 8082, 15692),
    *(port for _, port in METRICS),
}

WAYS = {
    *((name, "nginx", 8443) for name in (*OUTSIDE, *FOREIGN)),
    ("nginx", "proxy", 8000),
    ("proxy", "hub", 8081),
    ("proxy", "lab", 8888),
    ("hub", "proxy", 8001),
    ("hub", "lab", 8888),
    ("hub", "fileserver", 8083),
    ("lab", "hub", 8081),
    ("lab", "proxy", 8000),
    *(("lab", name, port) for name in ("internet", "internet6") for port in PORTS),
    ("filebeat", "logstash", 5044),
    *((name, "dns", DNS) for name in ("hub", "proxy", "nginx", "lab", "filebeat", "logstash")),
    *(("prometheus", name, port) for name, port in METRICS),
}
"""What passes in every cluster: from whom, to whom, at which port."""

OF_OVERLAYS = {
    "demo": {
        *((name, "nginx-github", 8443) for name in (*OUTSIDE, *FOREIGN)),
        ("nginx-github", "github", 8082),
        ("hub", "github", 8082),
        ("logstash", "broker", 5671),
        ("nginx-github", "dns", DNS),
        ("prometheus", "github", 8082),
        ("prometheus", "nginx-github", 8085),
        ("prometheus", "broker", 15692),
    },
    "production": {
        ("hub", "internet", HTTPS),
        ("hub", "internet6", HTTPS),
        # The broker has a name, and may have any address.
        *(("logstash", name, 5671) for name in (*OUTSIDE, *FOREIGN)),
    },
}
"""What passes besides: to GitHub, or to who stands in for it, and to the broker."""


def peers(objects: list[Object]) -> list[Peer]:
    """List all who may speak: the pods of workloads, and others."""
    found = [
        Peer(
            workload["metadata"]["name"],
            namespace=workload["metadata"]["namespace"],
            labels=workload["spec"]["template"]["metadata"]["labels"],
        )
        for workload in of_kind(objects, *WORKLOADS)
    ]
    return found + OTHERS


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector, in the forms that are used here, matches."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def is_meant(rule: Object, peer: Peer, own: str) -> bool:
    """Tell whether one of a policy's peers is this one.

    Args:
        rule: the policy's peer.
        peer: who it may be.
        own: the policy's namespace.
    """
    if block := rule.get("ipBlock"):
        address, cidr = ip_address(peer.address), ip_network(block["cidr"])
        excepted = any(address in ip_network(one) for one in block.get("except", []))
        return address in cidr and not excepted
    if not peer.namespace:
        return False
    if chosen := rule.get("namespaceSelector"):
        if not selects(chosen, {"kubernetes.io/metadata.name": peer.namespace, **peer.marks}):
            return False
    elif peer.namespace != own:
        return False
    return selects(rule.get("podSelector", {}), peer.labels)


def passes(policies: list[Object], direction: str, own: Peer, other: Peer, port: int) -> bool:
    """Tell whether one end lets a connection through.

    Args:
        policies: all there are.
        direction: Ingress or Egress, as this end sees it.
        own: this end.
        other: the other one.
        port: the port, TCP.
    """
    if not own.namespace.startswith("jupyterlabdemo"):
        return True
    chosen = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == own.namespace
        and direction in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], own.labels)
    ]
    assert chosen, f"{own.name} has no policy for {direction}"
    end = "from" if direction == "Ingress" else "to"
    return any(
        port in [one["port"] for one in rule["ports"] if one.get("protocol", "TCP") == "TCP"]
        if "ports" in rule and end not in rule
        else any(is_meant(one, other, own.namespace) for one in rule[end])
        and ("ports" not in rule or port in [one["port"] for one in rule["ports"]])
        for policy in chosen
        for rule in policy["spec"].get(direction.lower(), [])
    )


def let_through(objects: list[Object]) -> Iterator[tuple[str, str, int]]:
    """List what passes both ends; what has no end here is none of ours."""
    policies = list(of_kind(objects, "NetworkPolicy"))
    everybody = peers(objects)
    for begin in everybody:
        for end in everybody:
            ours = [one for one in (begin, end) if one.namespace.startswith("jupyterlabdemo")]
            for port in PORTS if ours and begin is not end else ():
                if passes(policies, "Egress", begin, end, port) and passes(policies, "Ingress", end, begin, port):
                    yield begin.name, end.name, port


@pytest.mark.parametrize("overlay", OF_OVERLAYS)
def test_ways(overlay: str) -> None:
    """The ways of the table are open, and no other: not to labs, nodes, private addresses or where clouds keep keys."""
    found = set(let_through(render(overlay)))
    expected = WAYS | OF_OVERLAYS[overlay]
    assert sorted(found - expected) == []
    assert sorted(expected - found) == []


def test_way_to_a_database() -> None:
    """With PostgreSQL elsewhere the hub may speak to that port, and nothing else changes."""
    with_it, without = (set(let_through(render("production", chosen))) for chosen in (("postgresql",), ()))
    assert with_it == without  # 5432 is none of the ports above
    (policy,) = (
        one
        for one in of_kind(render("production", ("postgresql",)), "NetworkPolicy")
        if one["metadata"]["name"] == "hub-database"
    )
    assert policy["spec"]["egress"] == [{"ports": [{"port": 5432}]}]


@pytest.mark.parametrize("overlay", OF_OVERLAYS)
def test_nothing_passes_by_itself(overlay: str) -> None:
    """Every namespace refuses both directions to all pods, whatever their labels are."""
    objects = render(overlay)
    refusing = {
        policy["metadata"]["namespace"]
        for policy in of_kind(objects, "NetworkPolicy")
        if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert refusing == {found["metadata"]["name"] for found in of_kind(objects, "Namespace")}


@pytest.mark.parametrize("overlay", OF_OVERLAYS)
def test_every_policy_is_of_somebody(overlay: str) -> None:
    """A policy that is a component's has its name, and chooses its pods and no others."""
    objects = render(overlay)
    known = {peer.name for peer in peers(objects)}
    for policy in of_kind(objects, "NetworkPolicy"):
        component = policy["metadata"]["labels"].get(NAME)
        if component:
            assert component in known
            assert policy["metadata"]["name"].startswith(component)
            assert policy["spec"]["podSelector"] == {"matchLabels": {NAME: component}}


def test_private_addresses_are_the_same_everywhere() -> None:
    """What counts as public to the hub counts so to labs."""
    blocks = {
        policy["metadata"]["name"]: policy["spec"]["egress"][0]["to"]
        for policy in of_kind(render("production"), "NetworkPolicy")
        if policy["metadata"]["name"] in ("lab-internet", "hub-github")
    }
    assert blocks["lab-internet"] == blocks["hub-github"]
    # What a translator makes of an address is left out as that is (RFC 6052, 2.1: the well-known prefix).
    four, six = ([ip_network(one) for one in block["ipBlock"]["except"]] for block in blocks["lab-internet"])
    prefix = int(IPv6Address("64:ff9b::"))
    translated = [IPv6Network((prefix + int(one.network_address), 96 + one.prefixlen)) for one in four]
    assert [one for one in translated if one not in six] == []


def test_nfs_is_closed() -> None:
    """No manifest opens the port of NFS: the policy that lets nodes through is made for each cluster."""
    for overlay in OF_OVERLAYS:
        for policy in of_kind(render(overlay), "NetworkPolicy"):
            rules = policy["spec"].get("ingress", [])
            assert all(port["port"] != 2049 for rule in rules for port in rule["ports"])


def test_two_doors_alike() -> None:
    """The nginx of the stand-in is as the one of the site, but for its name and what is behind it."""
    found = {one["metadata"]["name"]: one for one in of_kind(render("demo"), "Deployment")}
    front, back = (pod(found[name]) for name in ("nginx", "nginx-github"))
    assert back["containers"][0]["env"] == [{"name": "NGINX_UPSTREAM", "value": "github:8082"}]
    strip = ("name", "env")
    assert [{key: value for key, value in one.items() if key not in strip} for one in front["containers"]] == [
        {key: value for key, value in one.items() if key not in strip} for one in back["containers"]
    ]
    different = ("containers", "topologySpreadConstraints")
    assert {key: front[key] for key in front if key not in different} == {
        key: back[key] for key in back if key not in different
    }
    assert found["nginx"]["spec"]["strategy"] == found["nginx-github"]["spec"]["strategy"]
