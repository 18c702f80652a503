"""What only the cluster can tell, kept in the site's folder: with it a site can be rendered without the cluster."""

import ipaddress
from typing import NamedTuple

from .cluster import FILES, Cluster, Object
from .errors import SiteError
from .site import Site

FILE = "cluster.yaml"

UNKNOWN = "192.0.2.1"
"""Stands for an address that is not known yet; kept for documentation (RFC 5737)."""

TUNNELS = (
    *("projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address"),
    *("projectcalico.org/IPv4IPIPTunnelAddr", "projectcalico.org/IPv4VXLANTunnelAddr"),
    *("projectcalico.org/IPv6VXLANTunnelAddr", "projectcalico.org/IPv4WireguardInterfaceAddr"),
    *("flannel.alpha.coreos.com/public-ip", "network.cilium.io/ipv4-cilium-host", "io.cilium.network.ipv4-cilium-host"),
)
"""Annotations of nodes that name addresses from which a node's own packets may come (Calico, flannel, Cilium)."""


class Facts(NamedTuple):
    """What was found out.

    Attributes:
        fileserver: the address that the fileserver's Service was given.
        api: addresses of the API server, with their ports.
        nodes: addresses of nodes, as ranges.
        public: those that nodes have on the internet beside them, as ranges.
    """

    fileserver: str = UNKNOWN
    api: tuple[tuple[str, int], ...] = ()
    nodes: tuple[str, ...] = ()
    public: tuple[str, ...] = ()


def recall(site: Site) -> Facts:
    """Read what was found out before.

    Raises:
        SiteError: where that cannot be read.
    """
    kept = site.kept(FILE)
    try:
        return Facts(
            str(kept.get("fileserver", UNKNOWN)),
            tuple((str(address), int(port)) for address, port in kept.get("api", [])),
            tuple(str(ipaddress.ip_network(one)) for one in kept.get("nodes", [])),
            tuple(str(ipaddress.ip_network(one)) for one in kept.get("public", [])),
        )
    except (TypeError, ValueError) as error:
        raise SiteError(f"{site.folder / FILE}: what the tool has written; else remove it ({error})") from error


def learn(site: Site, cluster: Cluster) -> Facts:
    """Ask the cluster."""
    service = cluster.find("service", "fileserver", FILES)
    address = service["spec"].get("clusterIP", UNKNOWN) if service else recall(site).fileserver
    nodes = cluster.items("nodes")
    return Facts(
        UNKNOWN if address == "None" else address,
        tuple(api_addresses(cluster)),
        tuple(dict.fromkeys(address for node in nodes for address in node_ranges(node))),
        tuple(dict.fromkeys(address for node in nodes for address in public_ranges(node))),
    )


def remember(site: Site, facts: Facts) -> None:
    """Keep what was found out."""
    site.keep(
        FILE,
        {
            "fileserver": facts.fileserver,
            "api": [list(one) for one in facts.api],
            "nodes": list(facts.nodes),
            "public": list(facts.public),
        },
    )


def api_addresses(cluster: Cluster) -> list[tuple[str, int]]:
    """List the API server's addresses: policies see one or the other, before or after translation."""
    service = cluster.find("service", "kubernetes", "default")
    found = [(service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"])] if service else []
    slices = cluster.items(
        "endpointslices.discovery.k8s.io", "--namespace=default", "--selector=kubernetes.io/service-name=kubernetes"
    )
    for one in slices:
        for endpoint in one.get("endpoints") or []:
            found += [(address, port["port"]) for address in endpoint["addresses"] for port in one["ports"]]
    return sorted(set(found))


def node_ranges(node: Object) -> list[str]:
    """List the addresses from which a node's own packets may come, those of tunnels too, as ranges."""
    annotations = node["metadata"].get("annotations") or {}
    found = addresses(node, "InternalIP")
    found += [annotations[name].partition("/")[0] for name in TUNNELS if name in annotations]
    for text in node["spec"].get("podCIDRs") or []:
        # A bridge (kubenet, flannel) has the first address of the node's range, a tunnel of flannel's the one before.
        network = ipaddress.ip_network(text)
        found += [str(network[0]), str(network[1])]
    return [str(ipaddress.ip_network(address)) for address in dict.fromkeys(found)]


def public_ranges(node: Object) -> list[str]:
    """List the addresses that a node has on the internet, as ranges: none of its own packets comes from there."""
    return [str(ipaddress.ip_network(address)) for address in dict.fromkeys(addresses(node, "ExternalIP"))]


def addresses(node: Object, kind: str) -> list[str]:
    """List a node's addresses of a kind."""
    return [one["address"] for one in node["status"].get("addresses", []) if one["type"] == kind]
