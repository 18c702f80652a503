"""Sign-in with GitHub: who a member is, and whether he may enter, now and later."""

import time
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.spawner import Spawner
from jupyterhub.user import User
from oauthenticator.github import GitHubOAuthenticator
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse
from tornado.web import HTTPError
from traitlets import Any as AnyTrait
from traitlets import Callable, Int, List, Unicode, default

from .access import Refusal, admit
from .github import GitHub, GitHubUnavailableError, TokenRevokedError
from .identity import UnusableIdError, identify
from .metrics import counted
from .spawner import LabError

AuthModel = dict[str, Any]

GITHUB_TIMEOUT = 10.0
"""Seconds for one answer of GitHub; a sign-in makes three requests, and browsers wait for a minute."""


REVOKED = "GitHub has revoked the token of your sign-in. Please sign out and in again."


class SessionEndedError(Exception):
    """A member who had signed in must not go on; the text tells him why."""


class SignInError(HTTPError):
    """The answer to a sign-in that failed.

    Args:
        status: HTTP status.
        message: Reason for the member.
        cause: What happened; templates/error.html shows more of a Refusal.
    """

    def __init__(self, status: int, message: str, cause: Exception) -> None:
        super().__init__(status, message)
        self.cause = cause


class MemberAuthenticator(GitHubOAuthenticator):  # type: ignore[misc]
    """Admits members of the whitelisted organizations and gives them their identity.

    auth_state gets two keys beside oauthenticator's own: `identity` (Identity.to_dict) and `checked_at`, the
    time of GitHub's last answer in seconds since 1970.
    """

    organizations = List(Unicode(), help="organizations whose members may enter, in lower case").tag(config=True)
    is_taken = Callable(lambda _: False, help="tells of an id whether it is used here already").tag(config=True)
    membership_grace = Int(help="seconds for which the last check holds while GitHub is silent").tag(config=True)

    http_client = AnyTrait()

    @default("http_client")
    def _own_client(self) -> AsyncHTTPClient:
        # Tornado shares one client of ten connections in a process; requests that hang here must not hold up homes.
        return AsyncHTTPClient(force_instance=True, max_clients=20)

    def _github(self, token_info: dict[str, Any]) -> GitHub:
        headers = self.build_userdata_request_headers(token_info["access_token"], token_info["token_type"])

        async def fetch(url: str) -> HTTPResponse:
            response: HTTPResponse = await self.httpfetch(
                url,
                parse_json=False,
                raise_error=False,
                method="GET",
                headers=headers,
                follow_redirects=False,  # a redirect is an answer: see GitHub.membership
                validate_cert=self.validate_server_cert,
            )
            return response

        return GitHub(fetch, self.github_api)

    async def token_to_user(self, token_info: dict[str, Any]) -> dict[str, Any]:
        """Ask whose token this is.

        Raises:
            GitHubUnavailableError: The answer makes no sense; a page for people, perhaps.
        """
        try:
            account: dict[str, Any] = await super().token_to_user(token_info)
            return account | {"login": str(account["login"]), "id": int(account["id"])}
        except (ValueError, KeyError, TypeError) as error:
            raise GitHubUnavailableError("GitHub did not say whose token this is") from error

    async def update_auth_model(self, auth_model: AuthModel) -> AuthModel:
        """Ask GitHub for all organizations, decide on access, and add the identity.

        Raises:
            Refusal: GitHub says that the account is in none of the whitelisted organizations.
            UnusableIdError: The account's id cannot be a uid here.
            TokenRevokedError: GitHub does not take the token.
            GitHubUnavailableError: GitHub does not answer.
        """
        state = auth_model["auth_state"]
        account = state[self.user_auth_state_key]
        organizations = await admit(self._github(state["token_response"]), account["login"], self.organizations)
        identity = identify(account["login"], account["id"], organizations, self.organizations, self.is_taken)
        state["identity"] = identity.to_dict()
        state["checked_at"] = time.time()
        return auth_model

    async def check_allowed(self, username: str, auth_model: AuthModel) -> bool:  # noqa: ARG002 - its signature
        """Let in whom update_auth_model let pass; administrators are members too."""
        return "identity" in auth_model["auth_state"]

    async def authenticate(self, handler: BaseHandler, data: Any = None, **kwargs: Any) -> AuthModel:
        """Sign a member in.

        Raises:
            HTTPError: 403 with the reason for a refusal, 503 where GitHub does not answer.
        """
        try:
            with counted():
                model: AuthModel = await super().authenticate(handler, data, **kwargs)
            await self._retire_recycled(handler, model)
        except (Refusal, UnusableIdError) as no:
            self.log.warning("Refused: %s", no)
            raise SignInError(403, str(no), no) from no
        except TokenRevokedError as error:
            raise SignInError(403, REVOKED, error) from error
        except (GitHubUnavailableError, HTTPClientError, OSError) as error:
            self.log.warning("GitHub does not answer: %s", error)
            raise SignInError(503, "GitHub does not answer. Please try again in a few minutes.", error) from error
        return model

    async def check_again(self, user: User) -> AuthModel | None:
        """Ask GitHub about a signed-in member again.

        Returns:
            The new state, or None to keep what was known, while GitHub does not answer and its last answer is
            younger than membership_grace.

        Raises:
            SessionEndedError: He must not go on; the text says why.
        """
        state = await user.get_auth_state()
        if not state:
            raise SessionEndedError("The hub has lost its record of your sign-in. Please sign out and in again.")
        try:
            with counted():
                model: AuthModel = await self._token_to_auth_model(state["token_response"])
        except (Refusal, UnusableIdError) as no:
            raise SessionEndedError(f"You may no longer enter: {no}.") from no
        except TokenRevokedError as error:
            raise SessionEndedError(REVOKED) from error
        except (GitHubUnavailableError, HTTPClientError, OSError) as error:
            if isinstance(error, HTTPClientError) and error.code == 401:  # noqa: PLR2004
                raise SessionEndedError(REVOKED) from error
            age = time.time() - state["checked_at"]
            if age > self.membership_grace:
                raise SessionEndedError("GitHub has not answered for too long. Please try again later.") from error
            self.log.warning("GitHub does not answer (%s); %s, checked %d s ago, stays a member", error, user.name, age)
            return None
        if model["name"] != user.name or _uid(model["auth_state"]) != _uid(state):
            raise SessionEndedError("Your GitHub account has another name or id now. Please sign out and in again.")
        return model

    async def refresh_user(
        self,
        user: User,
        handler: BaseHandler | None = None,  # noqa: ARG002 - its signature
        **kwargs: Any,  # noqa: ARG002 - its signature
    ) -> bool | AuthModel:
        """Check a member on his next request after auth_refresh_age.

        Returns:
            His new state, True to keep the old one, or False to end the session.
        """
        try:
            return await self.check_again(user) or True
        except SessionEndedError as end:
            self.log.warning("Session of %s ends: %s", user.name, end)
            return False

    async def pre_spawn_start(self, user: User, spawner: Spawner) -> None:  # noqa: ARG002 - its signature
        """Check a member before each start of a lab, whoever asks for it and how.

        Raises:
            LabError: He may not have one; the message says why.
        """
        try:
            model = await self.check_again(user)
        except SessionEndedError as end:
            raise LabError(str(end), reason="access", status=403) from end
        if model:
            await user.save_auth_state(model["auth_state"])

    async def _retire_recycled(self, handler: BaseHandler, model: AuthModel) -> None:
        """End the account of a login that now belongs to another GitHub id.

        JupyterHub finds users by name, so the newcomer would get the old member's running lab and tokens.
        """
        user = handler.find_user(model["name"])
        known = await user.get_auth_state() if user else None
        if user is None or (known and _uid(known) == _uid(model["auth_state"])):
            return
        self.log.warning("Login %s has another GitHub id than before: its old account ends", user.name)
        spawner = user.spawner
        if spawner.ready:
            await handler.stop_single_user(user)
        if spawner.active:
            raise GitHubUnavailableError(f"the lab of the old account {user.name} has not ended yet")
        handler.users.delete(user)


def _uid(state: dict[str, Any]) -> int:
    uid: int = state["identity"]["uid"]
    return uid
