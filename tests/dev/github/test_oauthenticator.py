"""The stand-in as JupyterHub's own authenticator for GitHub sees it."""

import base64
import json
from typing import Any

import pytest
from oauthenticator.github import GitHubOAuthenticator

from tests.dev.github.conftest import CALLBACK, SECRET, StandIn

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""The pair of RFC 7636, appendix B."""


class Callback:
    """What the authenticator asks of the request that brings the code."""

    def __init__(self, code: str, verifier: str) -> None:
        self._code = code
        self._state = base64.urlsafe_b64encode(json.dumps({"code_verifier": verifier}).encode()).decode()

    def get_argument(self, name: str) -> str:
        """Give an argument of the request, which has only one that matters."""
        assert name == "code"
        return self._code

    def get_state_cookie(self) -> str:
        """Give the state that the hub keeps in a cookie."""
        return self._state


@pytest.fixture
def authenticator(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The authenticator, told by GITHUB_URL where GitHub is."""
    monkeypatch.setenv("GITHUB_URL", standin.url)
    return GitHubOAuthenticator(
        client_id="jupyterlabdemo",
        client_secret=SECRET,
        oauth_callback_url=CALLBACK,
        scope=["read:org"],
        allowed_organizations={"lsst-sqre"},
    )


async def sign_in(standin: StandIn, authenticator: Any, login: str, verifier: str = VERIFIER) -> Any:
    """Sign in as the hub does; gives what it learns."""
    assert authenticator.enable_pkce
    assert authenticator.authorize_url == f"{standin.url}/login/oauth/authorize"
    asked = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    code = await standin.code(login, scope=" ".join(authenticator.scope), **asked)
    return await authenticator.authenticate(Callback(code, verifier))


@pytest.mark.parametrize(("login", "allowed"), [("alice", True), ("bob", False), ("carol", True), ("mallory", False)])
async def test_sign_in(standin: StandIn, authenticator: Any, login: str, *, allowed: bool) -> None:
    """Members of the allowed organization get in, others do not."""
    found = await sign_in(standin, authenticator, login)
    assert found["name"] == login
    assert found["auth_state"]["github_user"]["id"] == standin.state.members[login].id
    assert await authenticator.check_allowed(login, found) is allowed


async def test_pkce_is_checked(standin: StandIn, authenticator: Any) -> None:
    """With another verifier than the one the sign-in began with there is no token."""
    with pytest.raises(Exception, match="The code passed is incorrect or expired"):
        await sign_in(standin, authenticator, "alice", "another")


async def test_all_pages(standin: StandIn, authenticator: Any) -> None:
    """The authenticator's own reading of pages finds all of carol's organizations."""
    token = await standin.token("carol")
    url = f"{authenticator.github_api}/user/orgs"
    found = await authenticator._paginated_fetch(url, token, "bearer")
    assert len(found) == 35
