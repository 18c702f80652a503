"""Labs as pods where the API server fails as a real one cannot be made to; all else is shown by a cluster."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import kubespawner.spawner
import pytest
from apiserver import RUNNING, ApiServer
from jld_hub import pod as pod_module
from jld_hub import reflector, spawner
from jld_hub.identity import Organization, identify
from jld_hub.lab import Lab
from jld_hub.manifest import read_template
from jld_hub.pod import PodSpawner
from jld_hub.settings import load
from jld_hub.spawner import LabError
from jupyterhub import orm
from jupyterhub.objects import Hub
from jupyterhub.user import User
from kubernetes_asyncio.client import Configuration
from kubespawner.clients import _client_cache

TEMPLATE = Path(__file__).parents[2] / "lab/kubernetes/pod.yaml"


def ended(code: int, **more: Any) -> dict[str, Any]:
    """Return the status of a pod whose lab has ended."""
    state = {"terminated": {"exitCode": code, **more}}
    return {"phase": "Failed", "containerStatuses": [{"name": "lab", "image": "img", "ready": False, "state": state}]}


def waits(reason: str) -> dict[str, Any]:
    """Return the status of a pod whose lab waits."""
    state = {"waiting": {"reason": reason, "message": "the reason"}}
    return {"phase": "Pending", "containerStatuses": [{"name": "lab", "image": "img", "ready": False, "state": state}]}


Make = Callable[..., PodSpawner]


async def forget() -> None:
    """Follow nothing any longer, as at a hub's end."""
    tasks = [follower.watch_task for follower in PodSpawner.reflectors.values()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    PodSpawner.reflectors.clear()


@pytest.fixture
async def server(environment: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    """Give an API server that the spawners use."""
    made = ApiServer()
    await made.up()
    Configuration.set_default(Configuration(host=f"http://127.0.0.1:{made.port}"))
    environment.setattr(kubespawner.spawner, "load_config", lambda **_: None)
    environment.setattr(reflector, "RETRY_SECONDS", 0.02)
    environment.setattr(pod_module, "GONE_SECONDS", 0.02)
    environment.setattr(spawner, "SILENT_SECONDS", 60.0)
    environment.setattr(PodSpawner, "reflectors", {})
    environment.setattr(PodSpawner, "_away", False)
    yield made
    await forget()
    clients = [client.api_client for client in _client_cache.values()]
    _client_cache.clear()
    for client in clients:
        await client.close()
    await made.down()
    Configuration.set_default(None)


@pytest.fixture
async def make(environment: pytest.MonkeyPatch, server: ApiServer) -> AsyncIterator[Make]:
    """Give a function that makes spawners."""
    environment.setenv("HUB_SPAWNER", "kubernetes")
    session = orm.new_session_factory("sqlite:///:memory:")()
    member = orm.User(name="alice")
    session.add(member)
    session.commit()

    async def provision(_lab: Lab, _url: str, _token: str) -> None:
        """Make no folders."""

    environment.setattr(spawner, "provision", provision)
    assert server.port

    class Member(User):  # type: ignore[misc]
        async def get_auth_state(self) -> dict[str, Any]:
            return {"identity": identify("alice", 4242424, [Organization("lsst", 3050001)], ["lsst"]).to_dict()}

    def make_one(state: dict[str, Any] | None = None) -> PodSpawner:
        made = PodSpawner(
            settings=load(),
            template=read_template(TEMPLATE),
            user=Member(member, settings={"spawner_class": PodSpawner}),
            hub=Hub(connect_url="http://hub:8081"),
            api_token="the-token",
        )
        made.image = "img"
        made.log = logging.getLogger("test")
        made.load_state(state or {})
        return made

    yield make_one
    session.close()
    session.get_bind().dispose()


async def started(lab: PodSpawner) -> tuple[str, int]:
    """Start a lab that announces itself at once."""

    async def announce() -> None:
        await eventually(lambda: asyncio.sleep(0, bool(lab.pod_id)))
        lab.announced.set()

    announcing = asyncio.create_task(announce())
    address: tuple[str, int] = await asyncio.wait_for(lab.start(), 20)
    await announcing
    return address


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Return when a check is true.

    Raises:
        TimeoutError: It does not become so in 10 s.
    """
    async with asyncio.timeout(10):
        while not await check():  # noqa: ASYNC110 - of what others do, no event tells
            await asyncio.sleep(0.02)


def said(caplog: pytest.LogCaptureFixture, words: str) -> int:
    """Return how many lines of log have these words."""
    return sum(words in message for message in caplog.messages)


async def test_life(server: ApiServer, make: Make) -> None:
    """A lab is a pod and a secret from its start on; when it has stopped there is neither."""
    lab = make()
    assert await started(lab) == ("10.0.0.7", 8888)
    assert await lab.poll() is None
    assert (list(server.pods), list(server.secrets)) == (["lab-alice"], ["lab-alice"])
    assert "the-token" not in json.dumps(server.pods)
    await lab.stop()
    await lab.run_post_stop_hook()
    assert (server.pods, server.secrets) == ({}, {})
    assert await lab.poll() == 0


async def test_watch_lags_behind_the_announcement(server: ApiServer, make: Make) -> None:
    """A lab that has announced itself is started, though the watch does not know of its pod."""
    server.blind = True
    lab = make()
    assert await started(lab) == ("10.0.0.7", 8888)
    assert lab.pod_id == server.pods["lab-alice"]["metadata"]["uid"]
    assert await lab.poll() is None


async def test_address_comes_after_the_announcement(server: ApiServer, make: Make) -> None:
    """A start waits for the address of a pod that has announced itself before its node has said where it is."""
    server.status = {"phase": "Pending"}
    lab = make()
    starting = asyncio.create_task(started(lab))
    await eventually(lambda: asyncio.sleep(0, lab.announced.is_set()))
    assert not starting.done()
    await server.become("lab-alice", RUNNING)
    assert await starting == ("10.0.0.7", 8888)


async def test_outage(server: ApiServer, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """An outage ends no lab, is said once, and afterwards a death is seen again by itself."""
    lab = make()
    await started(lab)
    await server.down()
    await eventually(lambda: asyncio.sleep(0, said(caplog, "has trouble with pods") > 0))
    assert [await lab.poll() for _ in range(5)] == [None] * 5
    await server.up()
    await eventually(lambda: asyncio.sleep(0, said(caplog, "answers again about pods") > 0))
    assert await lab.poll() is None
    await server.become("lab-alice", ended(3))
    await eventually(lambda: asyncio.sleep(0, (lab._reflected() or {})["status"]["phase"] == "Failed"))
    assert await lab.poll() == 3
    assert said(caplog, "has trouble with pods") == 1


async def test_hub_begins_in_an_outage(server: ApiServer, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """What a hub cannot know yet is no lab's end; what it learns then is the truth."""
    before = make()
    await started(before)
    await server.down()
    await forget()
    lab = make(before.get_state())
    assert [await lab.poll(), await lab.poll()] == [None, None]
    assert said(caplog, "labs count as running") == 1
    await server.up()
    await eventually(lambda: asyncio.sleep(0, lab._reflected() is not None))
    assert await lab.poll() is None
    await server.become("lab-alice", None)
    await eventually(lambda: asyncio.sleep(0, lab._reflected() is None))
    assert await lab.poll() == 0
    assert said(caplog, "The API server answers again") == 2


async def test_expired_watch(server: ApiServer, make: Make) -> None:
    """A watch that the server ends as too old begins anew."""
    lab = make()
    await started(lab)
    await eventually(lambda: asyncio.sleep(0, server.watches >= 2))
    before = server.watches
    await server.expire()
    await eventually(lambda: asyncio.sleep(0, server.watches > before))
    await server.become("lab-alice", ended(1))

    async def dead() -> bool:
        return await lab.poll() == 1

    await eventually(dead)


async def test_start_in_an_outage(server: ApiServer, make: Make) -> None:
    """Who starts a lab while the API server is away reads so, at once."""
    await server.down()
    with pytest.raises(LabError, match="cannot be started right now") as error:
        await started(make())
    assert error.value.status_code == 503


async def test_stop_waits_for_the_server(server: ApiServer, make: Make) -> None:
    """A stop outlasts an outage: what JupyterHub forgets must have ended."""
    lab = make()
    await started(lab)
    await server.down()
    stopping = asyncio.create_task(lab.stop())
    await eventually(lambda: asyncio.sleep(0, PodSpawner._away))
    await server.up()
    await asyncio.wait_for(stopping, 10)
    assert server.pods == {}


async def test_stop_without_a_server(server: ApiServer, make: Make, environment: pytest.MonkeyPatch) -> None:
    """Where the API server stays away, a stop ends with a sentence."""
    lab = make()
    await started(lab)
    await server.down()
    environment.setattr(pod_module, "STOP_SECONDS", 0)
    with pytest.raises(LabError, match="cannot be stopped right now"):
        await lab.stop()
    await lab.run_post_stop_hook()


async def test_refused(server: ApiServer, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A pod that the cluster refuses is an error with its reason, and no token comes to the log."""
    server.refusal = (403, "exceeded quota: labs, used: pods=10")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(LabError, match="could not be started: exceeded quota"):
        await started(make())
    assert said(caplog, "exceeded quota") == 1
    assert said(caplog, "the-token") == 0


async def test_leftover(server: ApiServer, make: Make) -> None:
    """What a hub left that was killed during a start is no lab, and the next start replaces it."""
    await started(make())
    old = server.pods["lab-alice"]["metadata"]["uid"]
    lab = make()
    assert await lab.poll() == 0
    await started(lab)
    assert lab.pod_id == server.pods["lab-alice"]["metadata"]["uid"] != old
    stale = make({"pod_name": "lab-alice", "pod_id": old, "kubespawner_version": "7"})
    assert await stale.poll() == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (waits("ImagePullBackOff"), "The image img cannot be had. Please pick another, or tell your operator: the rea"),
        (waits("CreateContainerConfigError"), "could not be started: the reason"),
        (
            {"phase": "Pending", "conditions": [{"reason": "Unschedulable", "message": "0/1 nodes"}]},
            "There is no room for your lab right now: 0/1 nodes",
        ),
        (ended(78), "Your lab ended while it started. no stack here"),
        (ended(128, reason="StartError", message="no entry"), "Your lab ended while it started. no entry"),
        (ended(137, reason="OOMKilled"), "want of memory: it may use 2048 MiB"),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "ended while it started. low on memory"),
    ],
)
async def test_reasons(
    server: ApiServer, make: Make, environment: pytest.MonkeyPatch, status: dict[str, Any], words: str
) -> None:
    """Whatever keeps a lab from starting, its member reads it soon."""
    environment.setattr("jld_hub.podstatus.PATIENCE_SECONDS", 0.2)
    server.status = status
    with pytest.raises(LabError) as error:
        await asyncio.wait_for(make().start(), 10)
    assert words in str(error.value.jupyterhub_message)


async def test_removed_while_it_starts(server: ApiServer, make: Make, environment: pytest.MonkeyPatch) -> None:
    """A pod that somebody removes ends the start."""
    server.status = {"phase": "Pending"}
    lab = make()
    looked, check = asyncio.Event(), lab._check

    async def look(pod: dict[str, Any], seconds: float) -> None:
        await check(pod, seconds)
        looked.set()

    environment.setattr(lab, "_check", look)
    starting = asyncio.create_task(lab.start())
    await asyncio.wait_for(looked.wait(), 10)
    await server.become("lab-alice", None)
    with pytest.raises(LabError, match="was removed"):
        await asyncio.wait_for(starting, 10)
