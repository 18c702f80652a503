"""Sign-in with GitHub: who a member is, and whether he may enter, now and later."""

import time
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.user import User
from oauthenticator.github import GitHubOAuthenticator
from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.web import HTTPError
from traitlets import Int, List, Unicode

from .access import Refusal, admit
from .github import GitHub, GitHubUnavailableError, TokenRevokedError
from .identity import UnusableIdError, identify

AuthModel = dict[str, Any]

GITHUB_TIMEOUT = 10.0
"""Seconds for one answer of GitHub; a sign-in makes three requests, and browsers wait for a minute."""


class SignInError(HTTPError):
    """The answer to a sign-in that failed.

    Args:
        status: HTTP status.
        message: Reason for the member.
        cause: What happened; templates/error.html shows more of a Refusal.
    """

    def __init__(self, status: int, message: str, cause: Exception) -> None:
        super().__init__(status, message.replace("%", "%%"))
        self.cause = cause


class MemberAuthenticator(GitHubOAuthenticator):  # type: ignore[misc]
    """Admits members of the whitelisted organizations and gives them their identity.

    auth_state gets two keys beside oauthenticator's own: `identity` (Identity.to_dict) and `checked_at`, the
    time of GitHub's last answer in seconds since 1970.
    """

    organizations = List(Unicode(), help="organizations whose members may enter, in lower case").tag(config=True)
    taken_ids = List(Int(), help="ids that no member or organization may have here").tag(config=True)
    membership_grace = Int(help="seconds for which the last check holds while GitHub is silent").tag(config=True)

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
                request_timeout=GITHUB_TIMEOUT,
                validate_cert=self.validate_server_cert,
            )
            return response

        return GitHub(fetch, self.github_api)

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
        identity = identify(account["login"], account["id"], organizations, self.organizations, self.taken_ids)
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
            model: AuthModel = await super().authenticate(handler, data, **kwargs)
            await self._retire_recycled(handler, model)
        except Refusal as refusal:
            self.log.warning("Refused: %s", refusal)
            raise SignInError(403, str(refusal), refusal) from refusal
        except UnusableIdError as error:
            self.log.warning("Refused: %s", error)
            raise SignInError(403, str(error), error) from error
        except TokenRevokedError as error:
            raise SignInError(
                403, "GitHub has revoked the token of this sign-in. Please sign in again.", error
            ) from error
        except (GitHubUnavailableError, HTTPClientError, OSError) as error:
            self.log.warning("GitHub does not answer: %s", error)
            raise SignInError(503, "GitHub does not answer. Please try again in a few minutes.", error) from error
        return model

    async def refresh_user(
        self,
        user: User,
        handler: BaseHandler | None = None,  # noqa: ARG002 - its signature
        **kwargs: Any,  # noqa: ARG002 - its signature
    ) -> bool | AuthModel:
        """Check a signed-in member again; JupyterHub asks every auth_refresh_age, and before each spawn.

        Returns:
            The new state of a member; True to keep what was known while GitHub does not answer and the last
            answer is younger than membership_grace; False to end the session.
        """
        state = await user.get_auth_state()
        if not state:
            return False
        try:
            model: AuthModel = await self._token_to_auth_model(state["token_response"])
        except (Refusal, UnusableIdError, TokenRevokedError) as no:
            return self._end_session(user, str(no) or "GitHub has revoked its token")
        except (GitHubUnavailableError, HTTPClientError, OSError) as error:
            if isinstance(error, HTTPClientError) and error.code == 401:  # noqa: PLR2004
                return self._end_session(user, "GitHub has revoked its token")
            return self._within_grace(user, state, error)
        if model["name"] != user.name or _uid(model["auth_state"]) != _uid(state):
            return self._end_session(user, "the account has another name or id now")
        return model

    def _end_session(self, user: User, reason: str) -> bool:
        self.log.warning("Session of %s ends: %s", user.name, reason)
        return False

    def _within_grace(self, user: User, state: dict[str, Any], error: Exception) -> bool:
        age = time.time() - state["checked_at"]
        keeps: bool = age <= self.membership_grace
        self.log.warning(
            "GitHub does not answer (%s); membership of %s, checked %d s ago, %s",
            error,
            user.name,
            age,
            "stays valid" if keeps else "has run out",
        )
        return keeps

    async def _retire_recycled(self, handler: BaseHandler, model: AuthModel) -> None:
        """End the account of a login that now belongs to another GitHub id.

        JupyterHub finds users by name, so the newcomer would get the old member's running lab and tokens.
        """
        user = handler.find_user(model["name"])
        known = await user.get_auth_state() if user else None
        if user is None or (known and _uid(known) == _uid(model["auth_state"])):
            return
        self.log.warning("Login %s has another GitHub id than before: its old account ends", user.name)
        for name, spawner in list(user.spawners.items()):
            if spawner.active:
                await user.stop(name)
        handler.users.delete(user)


def _uid(state: dict[str, Any]) -> int:
    uid: int = state["identity"]["uid"]
    return uid
