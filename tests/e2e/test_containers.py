"""What only containers have: networks, rights, limits and images of their own."""

import ast
import json
import logging
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from broker import arrivals
from containers import IMAGE, LAB, ComposeStack, docker
from member import Lab, Member, Visit
from reach import CONNECT, listening
from stack import CHECKOUT, until
from world import PORT, world

pytestmark = pytest.mark.target("compose", reason="processes beside each other have none of it")

LOG = logging.getLogger(__name__)
"""Figures, for who runs these with --log-cli-level=INFO."""

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"]

LISTENERS = {
    *(("broker", 5671), ("broker", 15692), ("logstash", 5044), ("logstash", 8087), ("filebeat", 8086)),
    *(("fileserver", 2049), ("fileserver", 8088), ("provisioner", 8083), ("keepalive", 8084), ("github", 8082)),
    *(("nginx", 8443), ("nginx", 8085), ("nginx-github", 8443), ("proxy", 8000), ("proxy", 8001), ("hub", 8081)),
    ("lab-bob", 8888),
}
"""Some of what listens, by which a test knows that it has found everything."""

ENGINE_PORTS = (2375, 2376)
"""Where engines listen that take commands over TCP."""

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID")
"""The first of linux/capability.h, each a bit."""


@pytest.fixture
def bob(visit: Visit) -> Member:
    """Sign bob in."""
    member = visit("bob")
    member.sign_in()
    return member


def addresses(one: dict[str, Any]) -> dict[str, str]:
    """Return the addresses of a container, by the names of its networks."""
    return {name: its["IPAddress"] for name, its in one["NetworkSettings"]["Networks"].items()}


def names(one: dict[str, Any]) -> set[str]:
    """Return what a container is called in any network."""
    networks = one["NetworkSettings"]["Networks"].values()
    return {one["Name"].removeprefix("/"), *(alias for its in networks for alias in its["Aliases"] or [])}


@pytest.mark.root
def test_whom_a_lab_reaches(own: ComposeStack, lab: Lab, bob: Member) -> None:
    """A lab reaches hub and proxy, where each takes requests of labs; nothing else that listens, by no address."""
    bob.start_lab()
    listeners = {
        (one["Name"].removeprefix(f"/{own.project}-").removesuffix("-1"), port): [
            (host, port) for host in addresses(one).values()
        ]
        for one in own.containers()
        for port in listening(one["State"]["Pid"])
    }
    here: dict[str, Any] = {}
    exec(CONNECT, here)
    for name in LISTENERS:
        assert here["reached"](listeners[name]), f"{name} is where this test looks for it"
    gateways = {its["Gateway"] for one in own.containers() for its in one["NetworkSettings"]["Networks"].values()}
    published = [int(own.environment[name]) for name in ("COMPOSE_HTTPS_PORT", "COMPOSE_GITHUB_PORT")]
    everywhere = [to for endpoints in listeners.values() for to in endpoints]
    everywhere += [(host, port) for host in gateways - {""} for port in (*published, *ENGINE_PORTS)]
    called = set(SERVICES).union(*map(names, own.containers()))
    with lab.kernel() as kernel:
        kernel.run(CONNECT)
        reached = set(ast.literal_eval(kernel.run(f"print(reached({everywhere!r}))")))
        found = ast.literal_eval(kernel.run(f"print(found({called!r}))"))
    mine = f"{own.project}_z-lab-alice"
    hub, proxy, itself = (
        addresses(one)[mine] for one in (own.container("hub"), own.container("proxy"), own.lab("alice"))
    )
    assert reached == {(hub, 8081), (proxy, 8000), (itself, 8888)}
    assert found["jupyterhub"] == hub
    assert set(found.values()) == {hub, proxy, itself}, "of others a lab knows not even the address"
    assert "No such file" in lab.terminal("ls /var/run/docker.sock /run/docker.sock")


@pytest.mark.root
def test_lab_reaches_the_world(lab: Lab) -> None:
    """A lab reaches a server outside of the stack's networks."""
    with world() as there, lab.kernel() as kernel:
        kernel.run(CONNECT)
        until("the server outside answers", lambda: kernel.run(f"print(connects(({there!r}, {PORT})))") == "True")


def test_who_publishes_ports(own: ComposeStack) -> None:
    """Only the two that browsers go to publish a port, and that on this machine's loopback."""
    published = {
        one["Name"].removeprefix(f"/{own.project}-"): [(on["HostIp"], on["HostPort"]) for on in ports]
        for one in own.containers()
        for ports in one["NetworkSettings"]["Ports"].values()
        if ports
    }
    assert published == {
        "nginx-1": [("127.0.0.1", own.environment["COMPOSE_HTTPS_PORT"])],
        "nginx-github-1": [("127.0.0.1", own.environment["COMPOSE_GITHUB_PORT"])],
    }


def output(one: dict[str, Any]) -> str:
    """Return all that a container has written."""
    command = ["docker", "logs", one["Id"]]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


@pytest.mark.root
def test_where_secrets_are(own: ComposeStack, lab: Lab) -> None:
    """No secret is in what the engine tells of a container, in its log or in an argument of a program of its."""
    secrets = own.secrets()
    lab.api("GET", "status")
    for one in own.containers():
        told = json.dumps(one) + output(one) + docker("top", one["Id"], "-eo", "pid,args")
        assert not [secret[:4] for secret in secrets if secret in told], one["Name"]


@pytest.mark.root
def test_secrets_are_their_services_own(own: ComposeStack) -> None:
    """Each service finds its own secrets, as files that it alone may read and may not change."""
    assert stat.S_IMODE((own.state / "secrets").stat().st_mode) == 0o700
    seen = set()
    for name, one in own.services().items():
        for mount in one["Mounts"]:
            if mount["Destination"] != "/run/secrets":
                continue
            assert not mount["RW"]
            uid = int((one["Config"]["User"] or "0").partition(":")[0])
            for path in (Path(mount["Source"]), *Path(mount["Source"]).iterdir()):
                status = path.stat()
                mode = 0o500 if path.is_dir() else 0o400
                assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (uid, mode), path
            seen.add(name)
    assert seen == set(SERVICES) - {"fileserver", "keepalive"}


def status_of(pid: int) -> dict[str, str]:
    """Read what the kernel tells about a process (proc_pid_status(5))."""
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


@pytest.mark.root
@pytest.mark.parametrize("name", SERVICES)
def test_rights_of_a_service(own: ComposeStack, name: str) -> None:
    """Every process of a service has the capabilities of compose.yaml at the most, gains none, and cannot write /."""
    one = own.container(name)
    told = one["HostConfig"]
    granted = SERVICES[name].get("cap_add", [])
    assert (told["ReadonlyRootfs"], told["Privileged"], told["CapDrop"]) == (True, False, ["ALL"])
    assert sorted(cap.removeprefix("CAP_") for cap in told["CapAdd"] or []) == sorted(granted)
    assert told["SecurityOpt"][0] == "no-new-privileges:true"
    assert min(told["Memory"], told["PidsLimit"]) > 0
    bits = sum(1 << CAPABILITIES.index(cap) for cap in granted)
    pids = [int(line) for line in docker("top", one["Id"], "-eo", "pid").splitlines()[1:]]
    assert one["State"]["Pid"] in pids
    for pid in pids:
        if not psutil.pid_exists(pid):  # a check that is over
            continue
        status = status_of(pid)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[field], 16) & ~bits == 0, field
    mounts = [line.split() for line in Path(f"/proc/{one['State']['Pid']}/mounts").read_text().splitlines()]
    (root,) = (options.split(",") for _, target, _, options, *_ in mounts if target == "/")
    assert "ro" in root


@pytest.mark.root
def test_what_a_lab_has(own: ComposeStack, lab: Lab) -> None:
    """A lab sees its own home and group folders and no more of the tree, and has no capability."""
    folders = {"homes/4242424": "/home/alice", "groups/1508001": "/groups/lsst-sqre", "groups/3050001": "/groups/lsst"}
    told = own.lab("alice")
    expected = {str(own.export / source): target for source, target in folders.items()}
    assert {mount["Source"]: mount["Destination"] for mount in told["Mounts"]} == expected
    seen = lab.terminal("echo $(ls /home) : $(ls /groups); cat /proc/self/mountinfo /proc/self/status")
    assert seen.splitlines()[0].strip() == "alice : lsst lsst-sqre"
    for source, target in folders.items():
        assert len(re.findall(f"{source} {target} rw", seen)) == 1
    assert len(re.findall(r" /\S*export\S* ", seen)) == len(folders)
    assert dict(re.findall(r"^(Cap\w+|NoNewPrivs|Seccomp):\s+(\w+)", seen, re.MULTILINE)) == {
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16),
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }


@pytest.fixture
def spare(own: ComposeStack) -> Iterator[str]:
    """Let a test do what it likes with the second image of the menu; `make up` gives it back."""
    yield own.spare
    subprocess.run(["docker", "image", "rm", own.spare], capture_output=True, check=False)
    own.make("up")
    assert docker("image", "ls", "--quiet", own.spare) == docker("image", "ls", "--quiet", f"{LAB}:0.1.0")


def read(bob: Member, image: str) -> tuple[str, float]:
    """Have bob pick an image that does not start, and return what he reads then, and after how many seconds."""
    menu = bob.web.get(f"{bob.url}/hub/spawn")
    begun = time.monotonic()
    try:
        page = bob.start_lab(image, menu)
    except AssertionError as event:  # of the page that shows progress, where the end came later than that
        return str(event), time.monotonic() - begun
    assert page.status_code >= 500
    return page.text, time.monotonic() - begun


def test_images_that_do_not_start(bob: Member, spare: str) -> None:
    """A member reads at once that an image is not there, or the last words of one whose program ends."""
    docker("image", "rm", spare)
    text, seconds = read(bob, spare)
    LOG.info("a missing image is told after %.1f s", seconds)
    assert f"The image {spare} is not on this machine." in text
    assert seconds < 5
    command = json.dumps(["sh", "-c", "echo first; echo no stack is here; exit 3"])
    docker("build", "--tag", spare, "-", text=f"FROM debian:trixie-slim\nCMD {command}\n")
    text, seconds = read(bob, spare)
    LOG.info("an image that ends is told after %.1f s", seconds)
    assert "Your lab ended while it started. no stack is here" in text
    assert seconds < 5
    assert bob.start_lab().status_code == 200


def test_lines_of_containers_that_go(own: ComposeStack, bob: Member) -> None:
    """What a container wrote is at the broker with its name and whole id, also after it has gone."""
    name = f"{own.project}-brief-1"
    bob.start_lab()
    labs = own.lab("bob")["Id"]
    command = ("run", "--detach", "--log-driver=json-file", "--network=none", f"--name={name}")
    python = ("--entrypoint=/usr/bin/python3", IMAGE, "-c")
    with arrivals(own.broker()) as arrived:

        def sources(text: str) -> list[dict[str, str]]:
            found = [event["container"] for event in list(arrived.events) if text in event["message"]]
            # The engine may have other stacks, whose logs are read too.
            return [container for container in found if container["name"].startswith(own.project)]

        # What was not shipped goes with a container: each goes when its line has arrived, and no later.
        with Lab(bob).kernel() as kernel:
            kernel.run("import sys; print('the last of bob', file=sys.__stderr__, flush=True)")
            until("bob's line is there", lambda: sources("the last of bob"))
        bob.stop_lab()
        brief = docker(*command, *python, "print('a brief word')").strip()
        try:
            until("the brief one's line is there", lambda: sources("a brief word"))
        finally:
            docker("rm", "--force", name)
        wrote = {one["Id"] for one in own.services().values() if output(one)}
        until("all are there", lambda: wrote <= {event["container"]["id"] for event in list(arrived.events)})
    gone = {
        "the last of bob": {"name": f"{own.project}-lab-bob", "id": labs},
        "a brief word": {"name": name, "id": brief},
    }
    # A reader who comes when both have gone has them from the first event on.
    with arrivals(own.broker()) as arrived:
        for text, container in gone.items():
            until("it is there still", lambda: sources(text))  # noqa: B023 - called at once
            assert all(source.items() >= container.items() for source in sources(text))
