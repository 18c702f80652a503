"""A complete set of settings, which tests vary, and labs in containers."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest
from jld_hub import container, spawner
from jld_hub.container import ContainerSpawner
from jld_hub.identity import Organization, identify
from jld_hub.lab import Lab
from jld_hub.settings import load
from jupyterhub import orm
from jupyterhub.objects import Hub
from jupyterhub.user import User
from labs import ALICE, COMMANDS, PROJECT, Make, forget_engine, tag

REQUIRED = {
    "GITHUB_CLIENT_ID": "jupyterlabdemo",
    "GITHUB_CLIENT_SECRET": "client-secret",
    "OAUTH_CALLBACK_URL": "http://localhost:8000/hub/oauth_callback",
    "GITHUB_ORGANIZATION_WHITELIST": "lsst-sqre,lsst",
    "HUB_PROXY_TOKEN": "proxy-token",
    "HUB_COOKIE_SECRET": "a" * 64,
    "HUB_CRYPT_KEY": "b" * 64,
    "HUB_FILESERVER_TOKEN": "fileserver-token",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set what must be set."""
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


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


@pytest.fixture
def site(engine: docker.DockerClient) -> str:
    """Make a network as Compose does."""
    name = f"{PROJECT}_default"
    engine.networks.create(name, driver="bridge", labels={"com.docker.compose.project": PROJECT})
    return name
