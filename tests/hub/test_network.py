"""Labs' networks: whom a lab reaches, and which addresses it gets."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network

import docker
import pytest
from docker.errors import NotFound
from docker.models.containers import Container
from jld_hub import container
from jld_hub.network import HUB, Networks, NoSubnetError, subnets
from labs import BOB, PROJECT, Make, address, reaches, serve
from stack import until
from world import PORT, world


def test_subnets_avoid_what_is_taken() -> None:
    """A lab gets the lowest subnet that overlaps with no other network's, also where that is larger or smaller."""
    pool = IPv4Network("10.213.0.0/24")
    assert str(next(subnets(pool, []))) == "10.213.0.0/28"
    taken = [IPv4Network(text) for text in ("10.213.0.0/28", "10.213.0.16/30", "10.213.0.64/26", "172.17.0.0/16")]
    assert [str(subnet) for subnet in subnets(pool, taken)][:3] == [
        "10.213.0.32/28",
        "10.213.0.48/28",
        "10.213.0.128/28",
    ]
    assert list(subnets(pool, [IPv4Network("10.0.0.0/8")])) == []


def gateway(engine: docker.DockerClient, peer: Container) -> str:
    """Return through which address a container's traffic leaves, as the kernel writes it (proc_pid_net(5))."""
    output = engine.containers.get(str(peer.name)).exec_run(["cat", "/proc/net/route"]).output
    assert isinstance(output, bytes)
    (found,) = (line.split()[2] for line in output.decode().splitlines() if line.split()[1] == "00000000")
    return found


@pytest.mark.docker
async def test_labs_reach_the_hub_and_no_other(engine: docker.DockerClient, make: Make, site: str) -> None:
    """A lab reaches hub and proxy, but neither another lab nor any other service."""
    hub, proxy, broker = (serve(engine, service, site) for service in ("hub", "proxy", "broker"))
    way_out = gateway(engine, hub)
    alice, bob = make(), make("bob", BOB)
    await asyncio.gather(alice.start(), bob.start())
    assert gateway(engine, hub) == way_out, "the hub's traffic to the world goes through a lab's network"
    reached = {
        "the hub": (HUB, 8081),
        "the proxy": (address(engine, proxy.name, alice.network_name), 8081),
        "the hub by the name that the proxy must find elsewhere": ("hub", 8081),
        "the proxy by the name that the hub must find elsewhere": ("proxy", 8081),
        "another lab": (address(engine, bob.object_id, bob.network_name), 8888),
        "another service": (address(engine, broker.name, site), 8081),
        "the hub in Compose's network": (address(engine, hub.name, site), 8081),
        "the hub in another lab's network": (address(engine, hub.name, bob.network_name), 8081),
    }
    answers = await asyncio.gather(*(asyncio.to_thread(reaches, engine, alice, *to) for to in reached.values()))
    assert [name for name, answer in zip(reached, answers, strict=True) if answer] == ["the hub", "the proxy"]


@pytest.fixture
def outside() -> Iterator[str]:
    """Run a server in a network namespace of its own, as somewhere in the world."""
    with world() as there:
        yield there


@pytest.mark.docker
@pytest.mark.root
async def test_labs_reach_the_world(engine: docker.DockerClient, make: Make, outside: str) -> None:
    """A lab reaches a server outside of the engine's networks."""
    lab = make()
    await lab.start()
    until("the server outside answers", lambda: reaches(engine, lab, outside, PORT))


@pytest.mark.docker
def test_networks_at_the_same_time(engine: docker.DockerClient) -> None:
    """Networks that are made at the same time, by two hubs even, get subnets of their own until there is none."""
    pool = IPv4Network("10.214.77.0/26")
    hubs = [Networks(engine.api, PROJECT, pool) for _ in range(2)]
    labels = {f"{container.LABEL}.stack": PROJECT}
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: hubs[n % 2].make(f"{PROJECT}_z-lab-{n}", labels), range(4)))
    found = [engine.networks.get(f"{PROJECT}_z-lab-{n}").attrs["IPAM"]["Config"][0]["Subnet"] for n in range(4)]
    assert sorted(found) == [str(subnet) for subnet in pool.subnets(new_prefix=28)]
    with pytest.raises(NoSubnetError):
        hubs[0].make(f"{PROJECT}_z-lab-4", labels)
    hubs[0].remove(f"{PROJECT}_z-lab-2")
    with pytest.raises(NotFound):
        engine.networks.get(f"{PROJECT}_z-lab-2")
