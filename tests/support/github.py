"""The stand-in GitHub in this process, on a loopback port of its own."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import jld_github
from jld_github.members import read_directory
from jld_github.server import make_app, running
from jld_github.settings import Settings
from jld_github.state import Outage, State
from jld_github.tokens import Token


@dataclass
class StandIn:
    """A running stand-in.

    Attributes:
        url: Its address.
        state: What it knows, for a test to change.
    """

    url: str
    state: State

    def token(self, login: str, *scopes: str) -> str:
        """Hand out a token of a member, as a sign-in would."""
        member = self.state.member(login)
        assert member, login
        return self.state.tokens.issue(Token(member.id, scopes or ("read:org",)))

    def outage(self, path: str, kind: str = "500") -> None:
        """Let requests below a path fail."""
        self.state.outage = Outage(kind, path, 1)  # type: ignore[arg-type]


@asynccontextmanager
async def standin() -> AsyncIterator[StandIn]:
    """Run a stand-in with the members that it comes with."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        state = State(read_directory(Path(jld_github.__file__).with_name("members.yaml")))
        async with running(make_app(Settings(client_secret="secret", public_url=url), state), listener):
            yield StandIn(url, state)
