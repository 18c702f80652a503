"""Labs as containers of a real engine: what they may, whom they reach, and how they fail."""

import asyncio
import io
import json
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import NotFound
from docker.models.containers import Container
from jld_hub import container, spawner
from jld_hub.container import ContainerSpawner
from jld_hub.identity import Organization, identify
from jld_hub.lab import Lab
from jld_hub.network import Networks, NoSubnetError
from jld_hub.settings import load
from jld_hub.spawner import LabError
from jupyterhub import orm
from jupyterhub.objects import Hub
from jupyterhub.user import User
from stack import free_ports, until

pytestmark = pytest.mark.docker

PROJECT = f"jldtest{os.getpid()}"

LISTEN = (
    "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => PORT, Listen => 9, ReuseAddr => 1) or die $!;"
    "$SIG{TERM} = sub { exit 0 }; while (1) { $c = $s->accept; close $c if $c }"
)

COMMANDS = {
    "lab": ["perl", "-e", LISTEN.replace("PORT", "8888")],
    "service": ["perl", "-e", LISTEN.replace("PORT", "8081")],
    "no-entry": ["/nowhere"],
    "dies": ["perl", "-e", r'print qq(before\n{"message": "no stack here"}\n); exit 3'],
    "greedy": ["perl", "-e", '$x = "x" x (256 * 2**20); sleep 60'],
    "greedy-later": [
        "perl",
        "-e",
        '$SIG{USR1} = sub { $x = "x" x (4 * $ENV{MEM_LIMIT}) };' + LISTEN.replace("PORT", "8888"),
    ],
}
"""Images that the tests build of Debian's, and what these run."""

ALICE = 4242424
BOB = 5252525

Make = Callable[..., ContainerSpawner]


def tag(name: str) -> str:
    """Return the whole name of a test's image."""
    return f"jld-test-{name}:{os.getpid()}"


@pytest.fixture(scope="module")
def images() -> Iterator[docker.DockerClient]:
    """Build the images, give a client, and remove them."""
    client = docker.from_env()
    for name, command in COMMANDS.items():
        file = f"FROM debian:trixie-slim\nCMD {json.dumps(command)}\n"
        client.images.build(fileobj=io.BytesIO(file.encode()), tag=tag(name), rm=True)
    yield client
    for name in COMMANDS:
        client.images.remove(tag(name), force=True)
    client.close()


@pytest.fixture
def engine(images: docker.DockerClient) -> Iterator[docker.DockerClient]:
    """Give a client of an engine on which nothing of the tests is left afterwards."""
    yield images
    labels = [f"{container.LABEL}.stack={PROJECT}", f"com.docker.compose.project={PROJECT}"]
    with ThreadPoolExecutor(4) as threads:
        for label in labels:
            ended = images.containers.list(all=True, filters={"label": label})
            list(threads.map(lambda container: container.remove(force=True), ended))
    for label in labels:
        for network in images.networks.list(filters={"label": label}):
            network.remove()


@pytest.fixture
def make(environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Make]:
    """Give a function that makes spawners; a folder stands for the file server's."""
    names = ",".join(tag(name) for name in [*COMMANDS, "absent"])
    for name, value in {
        "HUB_SPAWNER": "docker",
        "HUB_DOCKER_PROJECT": PROJECT,
        "HUB_HOMES_DIR": str(tmp_path),
        "LAB_CONTAINER_NAMES": names,
        "LAB_MEM_LIMIT": "64M",
    }.items():
        environment.setenv(name, value)
    environment.setattr(spawner, "SILENT_SECONDS", 0.1)
    session = orm.new_session_factory("sqlite:///:memory:")()

    async def provision(lab: Lab, _url: str, _token: str) -> None:
        for folder in (lab.home, *lab.groups):
            (tmp_path / folder.source).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder.source).chmod(0o777)

    environment.setattr(spawner, "provision", provision)

    def make_one(login: str = "alice", uid: int = ALICE, image: str = "lab") -> ContainerSpawner:
        organizations = [Organization("lsst", 3050001), Organization("friends", 9001)]
        member = session.query(orm.User).filter_by(name=login).first() or orm.User(name=login)
        session.add(member)
        session.commit()

        class Member(User):  # type: ignore[misc]
            async def get_auth_state(self) -> dict[str, Any]:
                return {"identity": identify(login, uid, organizations, ["lsst"]).to_dict()}

        user = Member(member, settings={"spawner_class": ContainerSpawner})
        made = ContainerSpawner(settings=load(), user=user, hub=Hub(connect_url="http://hub:8081"), api_token="secret")
        made.image = tag(image)
        return made

    yield make_one
    session.close()
    session.get_bind().dispose()
    forget_engine()


def forget_engine() -> None:
    """Let the next spawner ask for an engine again, as in another process."""
    if ContainerSpawner._client is not None:
        ContainerSpawner._client.close()
    ContainerSpawner._client = ContainerSpawner._networks = None
    ContainerSpawner._away = False


def serve(engine: docker.DockerClient, service: str, network: str) -> Container:
    """Run a service as Compose does, which listens on port 8081."""
    labels = {"com.docker.compose.project": PROJECT, "com.docker.compose.service": service}
    started: Container = engine.containers.run(
        tag("service"), detach=True, labels=labels, network=network, name=f"{PROJECT}-{service}-{time.monotonic_ns()}"
    )
    return started


@pytest.fixture
def site(engine: docker.DockerClient) -> str:
    """Make a network as Compose does."""
    name = f"{PROJECT}_default"
    engine.networks.create(name, driver="bridge", labels={"com.docker.compose.project": PROJECT})
    return name


def run(engine: docker.DockerClient, lab: ContainerSpawner, *command: str) -> str:
    """Run a command in a lab, and return what it writes."""
    output = engine.containers.get(lab.object_id).exec_run(list(command)).output
    assert isinstance(output, bytes)
    return output.decode()


def reaches(engine: docker.DockerClient, lab: ContainerSpawner, host: str, port: int) -> bool:
    """Tell whether a lab can connect to a port within a second."""
    script = f"use IO::Socket::INET; print IO::Socket::INET->new(PeerAddr => '{host}:{port}', Timeout => 1) ? 'yes' : 0"
    return run(engine, lab, "perl", "-e", script) == "yes"


def address(engine: docker.DockerClient, name: object, network: str) -> str:
    """Return a container's address in a network."""
    found: str = engine.containers.get(str(name)).attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
    return found


def joined(engine: docker.DockerClient, peer: Container) -> set[str]:
    """Name the networks that a container is in."""
    return set(engine.containers.get(str(peer.name)).attrs["NetworkSettings"]["Networks"])


def left(engine: docker.DockerClient) -> list[str]:
    """Name the labs' containers and networks that the engine has."""
    label = f"{container.LABEL}.stack={PROJECT}"
    labs = [str(lab.name) for lab in engine.containers.list(all=True, filters={"label": label})]
    return labs + [str(network.name) for network in engine.networks.list(filters={"label": label})]


async def fail(lab: ContainerSpawner) -> LabError:
    """Start a lab that cannot start, clear up as JupyterHub does, and return the error."""
    begin = time.monotonic()
    with pytest.raises(LabError) as error:
        await lab.start()
    assert time.monotonic() - begin < 10
    if await lab.poll() is None:
        await lab.stop()
    await lab.run_post_stop_hook()
    return error.value


async def test_what_the_engine_is_told(engine: docker.DockerClient, make: Make, tmp_path: Path) -> None:
    """A lab is made with the member's ids, limits, folders and nothing else that containers can have."""
    lab = make("al-ice")
    host, port = await lab.start()
    attrs = engine.containers.get(f"{PROJECT}-lab-al-ice").attrs
    config = attrs["HostConfig"]
    assert (host, port) == (address(engine, lab.object_id, f"{PROJECT}_z-lab-al-ice"), 8888)
    assert list(attrs["NetworkSettings"]["Networks"]) == [config["NetworkMode"]] == [f"{PROJECT}_z-lab-al-ice"]
    assert attrs["Config"]["User"] == f"{ALICE}:{ALICE}"
    assert attrs["Config"]["Labels"] == {
        "org.lsst.jupyterlabdemo.stack": PROJECT,
        "org.lsst.jupyterlabdemo.member": "al-ice",
        "org.lsst.jupyterlabdemo.uid": str(ALICE),
    }
    assert {mount["Source"]: mount["Destination"] for mount in attrs["Mounts"]} == {
        f"{tmp_path}/homes/{ALICE}": "/home/al-ice",
        f"{tmp_path}/groups/3050001": "/groups/lsst",
    }
    assert config["GroupAdd"] == ["3050001", "9001"]
    assert (config["Memory"], config["MemorySwap"], config["ShmSize"]) == (64 * 2**20, 64 * 2**20, 64 * 2**20)
    assert config["CpuQuota"] / config["CpuPeriod"] == 1.0
    assert (config["PidsLimit"], config["ReadonlyRootfs"], config["IpcMode"]) == (4096, True, "private")
    assert (config["CapDrop"], config["SecurityOpt"]) == (["ALL"], ["no-new-privileges:true"])
    assert config["RestartPolicy"]["Name"] == "no"
    assert config["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
    assert set(config["Tmpfs"]) == {"/tmp", "/var/lib/extrausers"}
    given = ("Privileged", "AutoRemove", "Init", "Binds", "CapAdd", "Devices", "PidMode", "UTSMode", "PortBindings")
    assert [config[name] for name in (*given, "ExtraHosts", "VolumesFrom") if config[name]] == []
    environment = dict(line.split("=", 1) for line in attrs["Config"]["Env"])
    assert environment["JUPYTERHUB_SERVICE_URL"].startswith("http://0.0.0.0:8888/")
    assert (environment["HOME"], environment["LAB_GROUPS_DIR"]) == ("/home/al-ice", "/groups")
    assert environment["LAB_ANNOUNCE_URL"] == "http://hub:8081/api/announcement"


async def test_what_a_lab_may(engine: docker.DockerClient, make: Make) -> None:
    """In a lab there are no capabilities and no new ones; only home, group folders and tmpfs can be written."""
    lab = make()
    await lab.start()
    status = dict(line.split(":", 1) for line in run(engine, lab, "cat", "/proc/self/status").splitlines())
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert int(status["NoNewPrivs"]) == 1
    assert int(status["Seccomp"]) == 2
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(ALICE)}
    assert set(status["Groups"].split()) == {str(ALICE), "3050001", "9001"}
    writable = (
        "for d in / /etc /usr /home /groups /var/tmp /home/alice /groups/lsst /tmp /dev/shm /var/lib/extrausers; "
    )
    writable += "do touch $d/x 2>/dev/null && echo $d; done"
    found = run(engine, lab, "sh", "-c", writable).split()
    assert found == ["/home/alice", "/groups/lsst", "/tmp", "/dev/shm", "/var/lib/extrausers"]
    assert run(engine, lab, "sh", "-c", "cp /bin/echo /tmp && /tmp/echo runs") == "runs\n"
    assert "No such file" in run(engine, lab, "ls", "/var/run/docker.sock")


async def test_limits_are_in_force(engine: docker.DockerClient, make: Make, environment: pytest.MonkeyPatch) -> None:
    """A lab gets no more CPU time and no more processes than its limits."""
    environment.setenv("LAB_CPU_LIMIT", "200m")
    environment.setattr(container, "PIDS", 24)
    lab = make()
    await lab.start()
    burn = "$e = time + 2; 1 while time < $e; print((times)[0] + (times)[1])"  # at least a second
    assert float(run(engine, lab, "perl", "-e", burn)) < 0.5
    bomb = "while (defined($p = fork)) { if (!$p) { sleep 60; exit } push @p, $p } print scalar(@p); kill 9, @p"
    assert 0 < int(run(engine, lab, "perl", "-e", bomb)) < 24


async def test_memory_at_start(engine: docker.DockerClient, make: Make) -> None:
    """A lab that allocates past its limit is ended, and its member reads why."""
    error = await fail(make(image="greedy"))
    assert "want of memory: it may use 64 MiB" in str(error.jupyterhub_message)
    assert left(engine) == []


async def test_memory_later(engine: docker.DockerClient, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A lab that runs out of memory later has ended, and the log says why."""
    lab = make(image="greedy-later")
    await lab.start()
    lab.log = logging.getLogger("test")
    engine.containers.get(lab.object_id).kill("USR1")
    await asyncio.to_thread(engine.containers.get(lab.object_id).wait)
    assert await lab.poll() == 137
    assert "The lab of alice was ended for want of memory" in caplog.messages


@pytest.mark.parametrize(
    ("image", "status", "words"),
    [
        ("absent", 503, f"The image {tag('absent')} is not on this machine. Please pick another"),
        ("no-entry", 500, "/nowhere"),
        ("dies", 500, "Your lab ended while it started. no stack here"),
    ],
)
async def test_images_that_do_not_start(
    engine: docker.DockerClient, make: Make, image: str, status: int, words: str
) -> None:
    """A member reads within seconds why an image does not start, and nothing of it is left."""
    error = await fail(make(image=image))
    assert error.status_code == status
    assert words in str(error.jupyterhub_message)
    assert "secret" not in str(error.jupyterhub_message)
    assert left(engine) == []


async def test_absent_folder(engine: docker.DockerClient, make: Make, environment: pytest.MonkeyPatch) -> None:
    """A lab whose home is absent does not start, and the engine makes no such folder."""

    async def nothing(*_: object) -> None: ...

    environment.setattr(spawner, "provision", nothing)
    lab = make()
    error = await fail(lab)
    assert f"homes/{ALICE}" in str(error.jupyterhub_message)
    assert not (lab.settings.hub_homes_dir / "homes").exists()
    assert left(engine) == []


async def test_labs_reach_the_hub_and_no_other(engine: docker.DockerClient, make: Make, site: str) -> None:
    """A lab reaches hub and proxy, but neither another lab nor any other service."""
    hub, proxy, broker = (serve(engine, service, site) for service in ("hub", "proxy", "broker"))
    alice, bob = make(), make("bob", BOB)
    await asyncio.gather(alice.start(), bob.start())
    reached = {
        "the hub": ("hub", 8081),
        "the proxy": (address(engine, proxy.name, alice.network_name), 8081),
        "the proxy by a name that the hub must find elsewhere": ("proxy", 8081),
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
    name, ours = f"jld{os.getpid()}", f"jldv{os.getpid()}"
    world = "198.51.100.2"
    for command in (
        f"ip netns add {name}",
        f"ip link add {ours} type veth peer name eth0 netns {name}",
        f"ip addr add 198.51.100.1/24 dev {ours}",
        f"ip link set {ours} up",
        f"ip -n {name} addr add {world}/24 dev eth0",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} link set lo up",
        f"ip -n {name} route add default via 198.51.100.1",
    ):
        subprocess.run(command.split(), check=True)
    with subprocess.Popen(["ip", "netns", "exec", name, "perl", "-e", LISTEN.replace("PORT", "8081")]) as server:
        yield world
        server.terminate()
    subprocess.run(["ip", "netns", "del", name], check=True)
    with suppress(subprocess.CalledProcessError):
        subprocess.run(["ip", "link", "del", ours], check=True, stderr=subprocess.DEVNULL)


@pytest.mark.root
async def test_labs_reach_the_world(engine: docker.DockerClient, make: Make, outside: str) -> None:
    """A lab reaches a server outside of the engine's networks."""
    lab = make()
    await lab.start()
    until("the server outside answers", lambda: reaches(engine, lab, outside, 8081))


async def test_new_hub(engine: docker.DockerClient, make: Make, site: str, environment: pytest.MonkeyPatch) -> None:
    """A hub that Compose has made anew takes up the lab that runs, and is in its network after its first look."""
    old = serve(engine, "hub", site)
    first = make()
    await first.start()
    state = first.get_state()
    old.remove(force=True)
    new = serve(engine, "hub", site)
    forget_engine()
    second = make()
    second.load_state(state)
    assert await second.poll() is None
    assert second.object_id == first.object_id
    assert reaches(engine, second, "hub", 8081)
    assert site in joined(engine, new)
    environment.setattr("jld_hub.network.PEERS_SECONDS", 0.0)
    proxy = serve(engine, "proxy", site)
    assert await second.poll() is None
    assert second.network_name in joined(engine, proxy)


async def test_stop(engine: docker.DockerClient, make: Make, site: str) -> None:
    """A stopped lab leaves nothing, nor anything that would keep a peer from starting that does not run just then."""
    hub, proxy = serve(engine, "hub", site), serve(engine, "proxy", site)
    lab = make()
    await lab.start()
    proxy.kill()
    await lab.stop()
    await lab.run_post_stop_hook()
    assert left(engine) == []
    assert await lab.poll() == 0
    proxy.start()
    assert joined(engine, hub) == {site}


async def test_dead_lab(engine: docker.DockerClient, make: Make) -> None:
    """A lab that dies is noticed, and cleared away as JupyterHub does it, without a stop."""
    lab = make()
    await lab.start()
    engine.containers.get(lab.object_id).kill()
    assert await lab.poll() == 137
    await lab.run_post_stop_hook()
    assert left(engine) == []


async def test_leftovers(engine: docker.DockerClient, make: Make, site: str) -> None:
    """A start replaces the container and the network that an earlier hub left, with its peers in it."""
    serve(engine, "hub", site)
    await make().start()
    lab = make()
    await lab.start()
    assert await lab.poll() is None
    assert left(engine) == [lab.object_name, lab.network_name]
    assert reaches(engine, lab, "hub", 8081)


async def test_engine_in_trouble(
    make: Make, engine: docker.DockerClient, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the engine does not answer, running labs count as running, and nobody can start one."""
    running = make()
    await running.start()
    state = running.get_state()
    forget_engine()
    environment.setenv("HUB_DOCKER_URL", f"tcp://127.0.0.1:{free_ports(1)}")
    lab = make()
    lab.load_state(state)
    lab.log = logging.getLogger("test")
    assert [await lab.poll(), await lab.poll()] == [None, None]
    assert len(caplog.messages) == 1
    with pytest.raises(LabError, match="cannot be stopped right now"):
        await lab.stop()
    error = await fail_without_engine(make("bob", BOB))
    assert (error.status_code, "cannot be started right now" in str(error.jupyterhub_message)) == (503, True)
    environment.setenv("HUB_DOCKER_URL", "unix:///var/run/docker.sock")
    ContainerSpawner._client = None
    again = make()
    again.load_state(state)
    assert await again.poll() is None
    assert engine.containers.get(again.object_id).status == "running"


async def fail_without_engine(lab: ContainerSpawner) -> LabError:
    """Start a lab where no engine answers, clear up as JupyterHub does, and return the error."""
    with pytest.raises(LabError) as error:
        await lab.start()
    await lab.run_post_stop_hook()
    return error.value


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
