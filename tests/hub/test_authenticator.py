"""Sign-in and later checks, against the stand-in GitHub."""

import time
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import pytest
from github import StandIn, standin
from jld_hub.access import Refusal
from jld_hub.authenticator import MemberAuthenticator, SessionEndedError
from jld_hub.github import GitHubUnavailableError, TokenRevokedError
from jld_hub.identity import UnusableIdError
from jupyterhub import crypto, orm, roles
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.objects import Hub
from jupyterhub.spawner import Spawner
from jupyterhub.user import UserDict
from prometheus_client import REGISTRY
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application
from traitlets.config import Config

ANSWERED = ("yes", "no", "none")


@pytest.fixture
async def github() -> AsyncIterator[StandIn]:
    """Run the stand-in."""
    async with standin() as running:
        yield running


@pytest.fixture
def authenticator(github: StandIn) -> MemberAuthenticator:
    """Return the authenticator as the hub configures it."""
    c = Config()
    c.MemberAuthenticator.github_url = github.url
    c.MemberAuthenticator.organizations = ["lsst-sqre", "lsst"]
    c.MemberAuthenticator.membership_grace = 60
    c.MemberAuthenticator.enable_auth_state = True
    return MemberAuthenticator(config=c)


class Account:
    """A user of the hub, as far as a check looks at him."""

    def __init__(self, name: str, state: dict[str, Any] | None) -> None:
        self.name = name
        self.state = state

    async def get_auth_state(self) -> dict[str, Any] | None:
        """Return what the hub keeps."""
        return self.state


async def sign_in(authenticator: MemberAuthenticator, github: StandIn, login: str, *scopes: str) -> Any:
    """Do what a sign-in does once it has a token."""
    token = {"access_token": github.token(login, *scopes), "token_type": "bearer", "scope": "read:org"}
    return await authenticator._token_to_auth_model(token)


async def test_alice(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """A member's ids are those of GitHub."""
    model = await sign_in(authenticator, github, "alice")
    assert model["name"] == "alice"
    assert model["auth_state"]["identity"] == {
        "login": "alice",
        "uid": 4242424,
        "groups": [["lsst-sqre", 1508001], ["lsst", 3050001]],
        "left_out": [],
    }
    assert await authenticator.check_allowed("alice", model)


async def test_all_pages_count(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """All 35 of carol's organizations are known, 15 of them as groups, the whitelisted one first."""
    identity = (await sign_in(authenticator, github, "carol"))["auth_state"]["identity"]
    assert identity["groups"][0] == ["lsst-sqre", 1508001]
    assert (len(identity["groups"]), len(identity["left_out"])) == (15, 20)


async def test_mallory(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """An account in none of the organizations is refused; the reason names them."""
    with pytest.raises(Refusal, match="lsst-sqre, lsst"):
        await sign_in(authenticator, github, "mallory")


async def test_administrators_are_members_too(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """To be listed as an administrator opens no door, as it would in the stock class."""
    authenticator.admin_users = {"mallory"}
    with pytest.raises(Refusal):
        await sign_in(authenticator, github, "mallory")


async def test_unapproved_organization(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """A refusal names the organizations that hide their members from the application."""
    github.state.organizations["lsst"].approved = False
    with pytest.raises(Refusal) as refusal:
        await sign_in(authenticator, github, "bob")
    assert refusal.value.unapproved == ("lsst",)


@pytest.mark.parametrize("path", ["/api/v3/user/orgs", "/api/v3/orgs/lsst/members"])
@pytest.mark.parametrize("kind", ["500", "429", "403"])
async def test_an_outage_is_no_refusal(
    authenticator: MemberAuthenticator, github: StandIn, path: str, kind: str
) -> None:
    """Errors and limits of GitHub, the 403 of a limit too, leave the question open."""
    github.outage(path, kind)
    with pytest.raises(GitHubUnavailableError):
        await sign_in(authenticator, github, "mallory")


async def test_outage_of_one_lookup_keeps_nobody_out(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """A member whom the list already shows is not asked about one by one."""
    github.outage("/api/v3/orgs/")
    assert (await sign_in(authenticator, github, "bob"))["name"] == "bob"


async def test_reserved_id(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """An id that this machine uses is refused."""
    authenticator.is_taken = lambda number: number == 4242424
    with pytest.raises(UnusableIdError):
        await sign_in(authenticator, github, "alice")


async def test_revoked_token(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """A token that GitHub takes no longer asks for a new sign-in, at every request of a check."""
    model = await sign_in(authenticator, github, "bob")
    github.state.tokens.forget()
    assert await authenticator.refresh_user(Account("bob", model["auth_state"])) is False
    with pytest.raises(TokenRevokedError):
        await authenticator.update_auth_model(model)


async def test_refresh_of_a_member(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """A later check takes over what changed on GitHub."""
    model = await sign_in(authenticator, github, "alice")
    member = github.state.member("alice")
    assert member
    member.organizations = [m for m in member.organizations if m.organization != "lsst-sqre"]
    fresh = await authenticator.refresh_user(Account("alice", model["auth_state"]))
    assert isinstance(fresh, dict)
    assert fresh["auth_state"]["identity"]["groups"] == [["lsst", 3050001]]


async def test_refresh_of_a_removed_member(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """Who has left every whitelisted organization loses his session."""
    model = await sign_in(authenticator, github, "bob")
    member = github.state.member("bob")
    assert member
    member.organizations = []
    assert await authenticator.refresh_user(Account("bob", model["auth_state"])) is False


@pytest.mark.parametrize(("age", "keeps"), [(0, True), (3600, False)])
@pytest.mark.parametrize("path", ["/api/v3/user", "/api/v3/user/orgs"])
async def test_refresh_in_an_outage(
    authenticator: MemberAuthenticator, github: StandIn, path: str, age: int, keeps: bool
) -> None:
    """While GitHub fails, the last answer stays true for the grace period and no longer."""
    model = await sign_in(authenticator, github, "bob")
    model["auth_state"]["checked_at"] = time.time() - age
    github.outage(path)
    assert await authenticator.refresh_user(Account("bob", model["auth_state"])) is keeps


async def test_answers_are_counted(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """A check counts by what GitHub answers, from the first one on."""

    def counts() -> list[float | None]:
        return [REGISTRY.get_sample_value("hub_membership_checks_total", {"answer": one}) for one in ANSWERED]

    state = (await sign_in(authenticator, github, "alice"))["auth_state"]
    before = [count or 0 for count in counts()]
    await authenticator.check_again(Account("alice", state))
    assert counts() == [before[0] + 1, before[1], before[2]]
    github.outage("/api/v3/user", "500")
    await authenticator.check_again(Account("alice", state))
    assert counts() == [before[0] + 1, before[1], before[2] + 1]
    github.state.tokens.forget()
    github.state.outage = None
    with pytest.raises(SessionEndedError):
        await authenticator.check_again(Account("alice", state))
    assert counts() == [before[0] + 1, before[1] + 1, before[2] + 1]


async def test_refresh_of_a_recycled_login(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """A session whose account has another id now ends."""
    model = await sign_in(authenticator, github, "bob")
    model["auth_state"]["identity"]["uid"] = 1234567
    assert await authenticator.refresh_user(Account("bob", model["auth_state"])) is False


async def test_refresh_without_state(authenticator: MemberAuthenticator) -> None:
    """An account whose state is lost must sign in again."""
    assert await authenticator.refresh_user(Account("bob", None)) is False


async def test_the_dict_makes_the_account(authenticator: MemberAuthenticator, github: StandIn) -> None:
    """JupyterHub makes an account of the dict that an authenticator returns, for which the seed had to patch it."""
    crypto.CryptKeeper.instance(keys=[b"k" * 32])
    session = orm.new_session_factory("sqlite:///:memory:")()
    for role in roles.get_default_roles():
        roles.create_role(session, role)
    settings = {"db": session, "authenticator": authenticator, "spawner_class": Spawner, "base_url": "/", "hub": Hub()}
    settings["users"] = UserDict(lambda: session, settings)
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", "/hub/oauth_callback", "HTTP/1.1"),
        connection=Mock(no_keep_alive=False),
        headers=HTTPHeaders({"Host": "localhost"}),
    )
    handler = BaseHandler(Application([], **settings), request)
    model = await sign_in(authenticator, github, "Alice")
    user = await handler.auth_to_user(model)
    assert user.name == "alice"
    assert (await user.get_auth_state())["identity"]["uid"] == 4242424
    crypto.CryptKeeper.clear_instance()
    session.close()
    session.get_bind().dispose()
