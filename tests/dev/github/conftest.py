"""A stand-in GitHub in this process, on a loopback port of its own, with its control socket."""

import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from jld_github.control import Control
from jld_github.members import read_directory
from jld_github.server import bind_control, make_app, running
from jld_github.settings import Settings
from jld_github.state import State

SECRET = "the client's secret"
CALLBACK = "http://localhost:8000/hub/oauth_callback"


class Clock:
    """A clock that a test puts forward."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        """Tell the time, in seconds since the epoch."""
        return self.time


@dataclass
class StandIn:
    """What a test has of a running stand-in."""

    url: str
    web: httpx.AsyncClient
    control: httpx.AsyncClient
    state: State
    clock: Clock

    async def open_page(self, **parameters: str) -> httpx.Response:
        """Send the browser to the authorize page."""
        query = {"client_id": "jupyterlabdemo", "redirect_uri": CALLBACK, "state": "xyz", **parameters}
        return await self.web.get("/login/oauth/authorize", params=query)

    async def choose(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """Press a button of the authorize page."""
        match = re.search(r'name="authenticity_token" value="([^"]+)"', page.text)
        assert match, page.text
        return await self.web.post("/login/oauth/authorize", data={"authenticity_token": match[1], **fields})

    async def code(self, login: str = "alice", **parameters: str) -> str:
        """Sign in; gives the code."""
        answer = await self.choose(await self.open_page(**parameters), login=login)
        return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]

    async def exchange(self, code: str, **fields: str) -> httpx.Response:
        """Exchange a code for a token."""
        form = {"client_id": "jupyterlabdemo", "client_secret": SECRET, "code": code, **fields}
        return await self.web.post("/login/oauth/access_token", data=form, headers={"Accept": "application/json"})

    async def token(self, login: str = "alice", scope: str = "read:org") -> str:
        """Sign in; gives a token."""
        token: str = (await self.exchange(await self.code(login, scope=scope))).json()["access_token"]
        return token

    async def get(self, path: str, token: str | None = None) -> httpx.Response:
        """Ask the API."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.web.get(f"/api/v3{path}", headers=headers)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in os.environ:
        if name.startswith("STANDIN_"):
            monkeypatch.delenv(name)


@pytest.fixture
def configuration() -> dict[str, str]:
    """Settings that a test parametrizes."""
    return {}


@pytest.fixture
async def standin(configuration: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StandIn]:
    """A running stand-in."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = Settings(
        client_secret=SECRET,
        public_url=url,
        **({"callback_url": CALLBACK} | configuration),  # type: ignore[arg-type]
    )
    path = tmp_path_factory.mktemp("s") / "control"
    clock = Clock()
    state = State(read_directory(settings.members_file), clock=clock)
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url="http://control",
                transport=httpx.AsyncHTTPTransport(uds=str(path), verify=False),
                trust_env=False,
            )
        )
        web = await stack.enter_async_context(httpx.AsyncClient(base_url=url, verify=False, trust_env=False))
        await stack.enter_async_context(running(make_app(settings, state), listener))
        await stack.enter_async_context(running(Control(state).app(), bind_control(path)))
        yield StandIn(url, web, control, state, clock)
