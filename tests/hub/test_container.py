"""Labs as containers of a real engine: what they may, and how they fail."""

import asyncio
import logging
import os
import re
import time
from pathlib import Path

import docker
import pytest
from jld_hub import container, spawner
from jld_hub.container import ContainerSpawner
from jld_hub.network import HUB
from jld_hub.spawner import LabError
from labs import ALICE, BOB, PROJECT, Make, address, forget_engine, joined, left, reaches, run, serve
from stack import free_ports

pytestmark = pytest.mark.docker


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
    lab = make()
    host, port = await lab.start()
    attrs = engine.containers.get(f"{PROJECT}-lab-alice").attrs
    config = attrs["HostConfig"]
    assert (host, port) == (address(engine, lab.object_id, f"{PROJECT}_z-lab-alice"), 8888)
    assert list(attrs["NetworkSettings"]["Networks"]) == [config["NetworkMode"]] == [f"{PROJECT}_z-lab-alice"]
    assert attrs["Config"]["User"] == f"{ALICE}:{ALICE}"
    assert attrs["Config"]["Labels"] == {
        "org.lsst.jupyterlabdemo.stack": PROJECT,
        "org.lsst.jupyterlabdemo.member": "alice",
        "org.lsst.jupyterlabdemo.uid": str(ALICE),
    }
    assert {mount["Source"]: mount["Destination"] for mount in attrs["Mounts"]} == {
        f"{tmp_path}/homes/{ALICE}": "/home/alice",
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
    assert (environment["HOME"], environment["LAB_GROUPS_DIR"]) == ("/home/alice", "/groups")
    assert environment["LAB_ANNOUNCE_URL"] == f"http://{HUB}:8081/api/announcement"


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
    (message,) = caplog.messages
    assert re.fullmatch("The lab of alice was (ended|killed, most likely) for want of memory", message)


@pytest.mark.parametrize(
    ("image", "status", "words"),
    [
        ("absent", 503, "The image jld-test-absent:{run} is not on this machine. Please pick another"),
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
    assert words.format(run=os.getpid()) in str(error.jupyterhub_message)
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


async def test_new_hub(engine: docker.DockerClient, make: Make, site: str, environment: pytest.MonkeyPatch) -> None:
    """A hub that Compose has made anew takes up the lab that runs, and is in its network after its first look."""
    old = serve(engine, "hub", site)
    first = make()
    await first.start()
    state = first.get_state()
    address_of_hub = address(engine, old.name, first.network_name)
    old.remove(force=True)
    new = serve(engine, "hub", site)
    forget_engine()
    second = make()
    second.load_state(state)
    assert await second.poll() is None
    assert second.object_id == first.object_id
    assert reaches(engine, second, HUB, 8081)
    assert site in joined(engine, new)
    environment.setattr("jld_hub.network.PEERS_SECONDS", 0.0)
    proxy = serve(engine, "proxy", site)
    assert await second.poll() is None
    assert second.network_name in joined(engine, proxy)
    assert address(engine, new.name, second.network_name) == address_of_hub, "what a lab's server has looked up once"


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
    assert await lab.last_words() == "It was killed, most likely for want of memory: it may use 64 MiB."
    await lab.run_post_stop_hook()
    assert left(engine) == []


async def test_hub_killed_during_a_start(engine: docker.DockerClient, make: Make, site: str) -> None:
    """The next hub does not take the container for a lab, and clears it away."""
    serve(engine, "hub", site)
    await make().start()
    lab = make()
    lab.load_state({})  # as the start did not end, there is nothing that JupyterHub could have kept
    assert await lab.poll() == 0
    assert await lab.poll() == 0
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
    assert reaches(engine, lab, HUB, 8081)


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
