"""What the hub asks GitHub's REST API, beyond what oauthenticator asks."""

import json
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

from requests.utils import parse_header_links
from tornado.httpclient import HTTPClientError, HTTPResponse

from .identity import Organization

Fetch = Callable[[str], Awaitable[HTTPResponse]]
"""GETs a path of the API with the member's token, without raising for an HTTP status."""

MOST_PAGES = 50
"""Bound on paging; 50 pages are 5,000 organizations."""


class GitHubUnavailableError(Exception):
    """GitHub did not answer the question: an outage, a limit or a time-out, never a no."""


class TokenRevokedError(Exception):
    """GitHub no longer takes the member's token (401): he must sign in again."""


class Membership(Enum):
    """GitHub's answer to whether an account belongs to an organization."""

    YES = "member"
    NO = "not a member"
    HIDDEN = "the organization has not approved this application"


class GitHub:
    """The API with one member's token.

    Args:
        fetch: GETs an address with the token.
        api: Address of the API, without a slash at the end.
    """

    def __init__(self, fetch: Fetch, api: str) -> None:
        self._fetch = fetch
        self._api = api

    async def _get(self, url: str, *answers: int) -> HTTPResponse:
        """GET an address and return an answer with one of the given statuses.

        Raises:
            TokenRevokedError: The answer was 401.
            GitHubUnavailableError: Any other answer, or none.
        """
        path = url.removeprefix(self._api)
        try:
            response = await self._fetch(url)
        except (OSError, TimeoutError, HTTPClientError) as error:
            raise GitHubUnavailableError(f"GitHub did not answer {path}: {error}") from error
        if response.code == 401:  # noqa: PLR2004
            raise TokenRevokedError
        if response.code not in answers or _is_limit(response):
            raise GitHubUnavailableError(f"GitHub answered {path} with {response.code}")
        return response

    async def organizations(self) -> list[Organization]:
        """List all organizations of the member that GitHub shows to this application, of all pages.

        https://docs.github.com/en/rest/orgs/orgs#list-organizations-for-the-authenticated-user

        Raises:
            TokenRevokedError: The token is no longer valid.
            GitHubUnavailableError: A page could not be had.
        """
        found: list[Organization] = []
        url: str | None = f"{self._api}/user/orgs?per_page=100"
        for _ in range(MOST_PAGES):
            if url is None:
                return found
            response = await self._get(url, 200)
            found += [_organization(item) for item in _parse(response)]
            links = parse_header_links(response.headers.get("Link", ""))
            url = next((link["url"] for link in links if link.get("rel") == "next"), None)
        raise GitHubUnavailableError(f"GitHub lists more than {MOST_PAGES} pages of organizations")

    async def organization(self, name: str) -> Organization:
        """Look one organization up by name.

        https://docs.github.com/en/rest/orgs/orgs#get-an-organization
        """
        return _organization(_parse(await self._get(f"{self._api}/orgs/{name}", 200)))

    async def membership(self, organization: str, login: str) -> Membership:
        """Ask whether an account belongs to an organization.

        204 is a member; 404 is none; 302 means that the asking account, which is the same one here, is
        no member either; 403 means that the organization does not let this application ask.
        https://docs.github.com/en/rest/orgs/members#check-organization-membership-for-a-user

        Raises:
            TokenRevokedError: The token is no longer valid.
            GitHubUnavailableError: GitHub gave no answer that decides it.
        """
        response = await self._get(f"{self._api}/orgs/{organization}/members/{login}", 204, 302, 403, 404)
        if response.code == 403:  # noqa: PLR2004
            return Membership.HIDDEN
        return Membership.YES if response.code == 204 else Membership.NO  # noqa: PLR2004


def _is_limit(response: HTTPResponse) -> bool:
    """Tell a rate limit, which also answers 403, from a refusal.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
    """
    return response.code in (403, 429) and (
        "Retry-After" in response.headers or response.headers.get("X-RateLimit-Remaining") == "0"
    )


def _parse(response: HTTPResponse) -> Any:
    try:
        return json.loads(response.body)
    except ValueError as error:
        raise GitHubUnavailableError(f"GitHub answered with something that is no JSON: {error}") from error


def _organization(item: Any) -> Organization:
    try:
        return Organization(str(item["login"]).lower(), int(item["id"]))
    except (KeyError, TypeError, ValueError) as error:
        raise GitHubUnavailableError("GitHub described an organization without login or id") from error
