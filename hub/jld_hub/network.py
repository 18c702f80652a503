"""Labs' networks in Docker: one for each, which only its lab, the hub and the proxy are joined to."""

import threading
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from ipaddress import IPv4Network
from typing import Any

from docker import APIClient
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

PREFIX = 28
"""Bits of a lab's network: 13 addresses beside the engine's own; hub, proxy and lab need three."""

PEERS = {"hub": 2, "proxy": 3}
"""Services whose containers are joined to each lab's network, and which of its addresses they have there.

One that is made anew has the same again: a lab's server keeps the address that it found once.
"""

HUB = "jupyterhub"
"""What labs call the hub.

Not `hub`: where a name leads somewhere in several networks, the engine chooses, and might lead the proxy through the
network of a lab, which goes when the lab ends.
"""

PEERS_SECONDS = 2.0
"""How long one look at the peers is good for all labs; a hub asks for each lab every few seconds."""

SERVICE = "com.docker.compose.service"
"""Label by which Compose says what a container is; it stays when the container is made anew under another name."""

PROJECT = "com.docker.compose.project"
"""Label by which Compose says whose it is."""


class NoSubnetError(Exception):
    """All of the labs' range of addresses is in use."""


def subnets(pool: IPv4Network, taken: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
    """Give the free subnets of a range, one for a lab each, lowest first.

    Args:
        pool: The range.
        taken: Subnets that are in use.
    """
    used = [subnet for subnet in taken if subnet.overlaps(pool)]
    return (subnet for subnet in pool.subnets(new_prefix=PREFIX) if not any(map(subnet.overlaps, used)))


class Networks:
    """The labs' networks of one stack; methods block, and may be called in any thread.

    Attributes:
        project: Name of the stack, which is the Compose project of hub and proxy.
        pool: Range of addresses that networks are cut from.
    """

    def __init__(self, client: APIClient, project: str, pool: IPv4Network) -> None:
        self.project = project
        self.pool = pool
        self._client = client
        self._lock = threading.Lock()
        self._peers: list[dict[str, Any]] = []
        self._looked = float("-inf")

    def make(self, name: str, labels: dict[str, str]) -> None:
        """Make a network and join the peers to it; an earlier one of the same name is replaced.

        Args:
            name: Its name.
            labels: Its labels.

        Raises:
            NoSubnetError: No address is free.
            APIError: The engine refuses.
        """
        self.remove(name)
        with self._lock:
            self._create(name, labels)
        self.join(name)

    def _create(self, name: str, labels: dict[str, str]) -> None:
        networks = self._client.networks()
        pools = [pool for network in networks for pool in (network["IPAM"] or {}).get("Config") or []]
        taken = [IPv4Network(pool["Subnet"]) for pool in pools if ":" not in pool.get("Subnet", ":")]
        for subnet in subnets(self.pool, taken):
            # Labs get addresses of the upper half, so that none has a peer's.
            _, upper = subnet.subnets()
            pool = IPAMPool(subnet=str(subnet), iprange=str(upper), gateway=str(subnet[1]))
            ipam = IPAMConfig(pool_configs=[pool])
            try:
                self._client.create_network(name, driver="bridge", ipam=ipam, labels=labels, check_duplicate=True)
            except APIError as error:
                # Somebody else was faster.
                if "overlap" not in str(error.explanation):
                    raise
            else:
                return
        raise NoSubnetError

    def join(self, name: str) -> None:
        """Join those peers to a network that are not: at its start, and when Compose has made one anew.

        Labs need no name of the proxy's.

        Args:
            name: Name of the network.
        """
        with self._lock:
            if time.monotonic() - self._looked > PEERS_SECONDS:
                self._peers = self._look()
                self._looked = time.monotonic()
            for peer in self._peers:
                joined = peer["NetworkSettings"]["Networks"]
                if name in joined:
                    continue
                service = peer["Labels"][SERVICE]
                aliases = [HUB] if service == "hub" else None
                try:
                    (pool,) = self._client.inspect_network(name)["IPAM"]["Config"]
                    address = str(IPv4Network(pool["Subnet"])[PEERS[service]])
                    self._client.connect_container_to_network(peer["Id"], name, aliases=aliases, ipv4_address=address)
                except APIError as error:
                    if error.status_code == HTTPStatus.NOT_FOUND:
                        self._looked = float("-inf")  # it is just going: look again
                        continue
                    if "already exists in network" not in str(error.explanation):
                        raise
                joined[name] = {}

    def remove(self, name: str) -> None:
        """Take the peers out of a network and remove it; no matter if it has gone.

        Args:
            name: Name of the network.
        """
        with self._lock:
            self._looked = float("-inf")
            try:
                self._client.inspect_network(name)
            except NotFound:
                return
            # Also those that do not run: an endpoint in a network that is gone would keep them from starting.
            for peer in self._look(all=True):
                if name in peer["NetworkSettings"]["Networks"]:
                    self._client.disconnect_container_from_network(peer["Id"], name, force=True)
            self._client.remove_network(name)

    def _look(self, *, all: bool = False) -> list[dict[str, Any]]:  # noqa: A002 - the engine's word
        containers = self._client.containers(all=all, filters={"label": f"{PROJECT}={self.project}"})
        return [container for container in containers if container["Labels"].get(SERVICE) in PEERS]
