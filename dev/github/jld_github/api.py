"""The part of GitHub's REST API that tells who somebody is and where he belongs.

https://docs.github.com/rest: users/users, users/emails, orgs/orgs, orgs/members, rate-limit/rate-limit.
"""

import base64
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from jld_github.members import Member, Membership, Organization
from jld_github.state import Rate, State
from jld_github.tokens import Token

PREFIX = "/api/v3"
"""Where GitHub Enterprise Server has its API."""

DOCUMENTATION = "https://docs.github.com/rest"

_PER_PAGE, _MOST_PER_PAGE = 30, 100

_LIMIT, _LIMIT_WITHOUT_TOKEN = 5000, 60
"""Requests an hour, https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"""

_RATE = web.RequestKey("rate", Rate)
_TOKEN = web.RequestKey("token", Token)
_VIEWER = web.RequestKey("viewer", Member)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GitHubError(Exception):
    """An answer that is an error, in GitHub's form."""

    def __init__(self, status: int, message: str, documentation: str = "", retry_after: int = 0) -> None:
        """Describe the answer.

        Args:
            status: HTTP status.
            message: what is wrong.
            documentation: the part of GitHub's documentation that says more.
            retry_after: seconds to wait before asking again.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.documentation = DOCUMENTATION + documentation
        self.retry_after = retry_after

    def response(self) -> web.Response:
        """Make the answer."""
        body = {
            "message": self.message,
            "documentation_url": self.documentation,
            "status": str(self.status),
        }
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after else {}
        return web.json_response(body, status=self.status, headers=headers)


class Api:
    """The API, answered from the state."""

    def __init__(self, state: State, public_url: str, client_id: str) -> None:
        """Serve from a state.

        Args:
            state: what is known.
            public_url: the stand-in as its users reach it, for addresses in answers.
            client_id: the application that all tokens are for.
        """
        self._state = state
        self._url = public_url + PREFIX
        self._web = public_url
        self._client_id = client_id

    def app(self) -> web.Application:
        """Make the application to serve below `PREFIX`."""
        app = web.Application(middlewares=[self._as_github])
        app.router.add_get("/user", self.user)
        app.router.add_get("/user/orgs", self.user_orgs)
        app.router.add_get("/user/emails", self.user_emails)
        app.router.add_get("/user/memberships/orgs/{org}", self.user_membership)
        app.router.add_get("/users/{login}", self.someone)
        app.router.add_get("/orgs/{org}", self.org)
        app.router.add_get("/orgs/{org}/members/{login}", self.is_member)
        app.router.add_get("/orgs/{org}/public_members/{login}", self.is_public_member)
        app.router.add_get("/organizations/{id:\\d{1,18}}/public_members/{login}", self.is_public_member)
        app.router.add_get("/rate_limit", self.rate_limit)
        return app

    async def user(self, request: web.Request) -> web.Response:
        """Tell who the token is for."""
        return web.json_response(self._full_user(_viewer(request)))

    async def user_orgs(self, request: web.Request) -> web.Response:
        """List the organizations of the token's owner that the application may know of."""
        viewer, token = _viewer(request), request[_TOKEN]
        if not (token.has("read:org") or "user" in token.scopes):
            message = "You need at least read:org scope or user scope to list your organizations."
            raise GitHubError(403, message, "/orgs/orgs#list-organizations-for-the-authenticated-user")
        shown = []
        for membership in viewer.organizations:
            org = self._state.organization(membership.organization)
            if org and org.approved and (membership.public or token.has("read:org")):
                shown.append(self._org(org))
        return self._paged(request, shown)

    async def user_emails(self, request: web.Request) -> web.Response:
        """List the mail addresses of the token's owner."""
        viewer = _viewer(request)
        if not request[_TOKEN].has("user:email"):
            raise GitHubError(404, "Not Found", "/users/emails#list-email-addresses-for-the-authenticated-user")
        address = viewer.email or f"{viewer.login.lower()}@example.org"
        primary = {"email": address, "primary": True, "verified": True, "visibility": "private"}
        return self._paged(request, [primary])

    async def user_membership(self, request: web.Request) -> web.Response:
        """Tell how the token's owner belongs to an organization."""
        documentation = "/orgs/members#get-an-organization-membership-for-the-authenticated-user"
        viewer = _viewer(request)
        org = self._visible_org(request, documentation)
        if not request[_TOKEN].has("read:org"):
            raise GitHubError(403, "You need the read:org scope to see your memberships.", documentation)
        if viewer.membership(org.login) is None:
            raise GitHubError(404, "Not Found", documentation)
        answer = {
            "url": f"{self._url}/orgs/{org.login}/memberships/{viewer.login}",
            "state": "active",
            "role": "member",
            "organization_url": f"{self._url}/orgs/{org.login}",
            "organization": self._org(org),
            "user": self._user(viewer),
        }
        return web.json_response(answer)

    async def someone(self, request: web.Request) -> web.Response:
        """Tell what everybody may know of a member."""
        member = self._state.member(request.match_info["login"])
        if member is None:
            raise GitHubError(404, "Not Found", "/users/users#get-a-user")
        return web.json_response(self._full_user(member))

    async def org(self, request: web.Request) -> web.Response:
        """Describe an organization."""
        org = self._visible_org(request, "/orgs/orgs#get-an-organization")
        more = {"name": org.login, "type": "Organization", "html_url": f"{self._web}/{org.login}"}
        return web.json_response(self._org(org) | more)

    async def is_member(self, request: web.Request) -> web.Response:
        """Answer 204 or 404 to a fellow member; send everybody else to the public members (302)."""
        documentation = "/orgs/members#check-organization-membership-for-a-user"
        org = self._visible_org(request, documentation)
        login = request.match_info["login"]
        viewer, token = request.get(_VIEWER), request.get(_TOKEN)
        if not (viewer and token and token.has("read:org") and viewer.membership(org.login)):
            location = f"{self._url}/organizations/{org.id}/public_members/{login}"
            return web.Response(status=302, headers={"Location": location})
        if self._membership(login, org) is None:
            message = "User does not exist or is not a member of the organization"
            raise GitHubError(404, message, documentation)
        return web.Response(status=204)

    async def is_public_member(self, request: web.Request) -> web.Response:
        """Answer 204 where a membership is public, 404 where it is not."""
        documentation = "/orgs/members#check-public-organization-membership-for-a-user"
        org = self._visible_org(request, documentation)
        membership = self._membership(request.match_info["login"], org)
        if membership is None or not membership.public:
            message = "User does not exist or is not a public member of the organization"
            raise GitHubError(404, message, documentation)
        return web.Response(status=204)

    async def rate_limit(self, request: web.Request) -> web.Response:
        """Tell how many requests are left; asking is free."""
        rate = request[_RATE]
        core = {
            "limit": rate.limit,
            "used": rate.used,
            "remaining": rate.remaining,
            "reset": int(rate.reset),
        }
        return web.json_response({"resources": {"core": core}, "rate": core})

    @web.middleware
    async def _as_github(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Authenticate, count against the rate limit, and answer in GitHub's form."""
        response: web.StreamResponse
        try:
            self._admit(request)
            response = await handler(request)
        except GitHubError as error:
            response = error.response()
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            response = GitHubError(404, "Not Found").response()
        response.headers.update(self._headers(request))
        return response

    def _admit(self, request: web.Request) -> None:
        if not request.headers.get("User-Agent"):
            message = "Request forbidden by administrative rules. Please make sure your request has a User-Agent."
            raise GitHubError(403, message, "/using-the-rest-api/getting-started-with-the-rest-api#user-agent")
        rate = self._rate(request)
        if request.path == f"{PREFIX}/rate_limit":
            return
        if not rate.remaining:
            viewer = request.get(_VIEWER)
            who = f"user ID {viewer.id}" if viewer else request.remote
            message = f"API rate limit exceeded for {who}."
            raise GitHubError(403, message, "/using-the-rest-api/rate-limits-for-the-rest-api")
        rate.used += 1

    def _rate(self, request: web.Request) -> Rate:
        """Find out who asks, and how often he may."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        token = self._state.tokens.find(key.strip()) if scheme.lower() in ("bearer", "token") else None
        viewer = self._state.member_by_id(token.member_id) if token else None
        if token and viewer:
            request[_TOKEN], request[_VIEWER] = token, viewer
            request[_RATE] = self._state.rate(viewer.id, _LIMIT)
        elif scheme:
            raise GitHubError(401, "Bad credentials")
        else:
            request[_RATE] = self._state.rate(request.remote or "", _LIMIT_WITHOUT_TOKEN)
        return request[_RATE]

    def _headers(self, request: web.Request) -> dict[str, str]:
        headers = {
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": ":".join(secrets.token_hex(4).upper() for _ in range(4)),
            "Cache-Control": "no-store",
        }
        if rate := request.get(_RATE):
            headers |= {
                "X-RateLimit-Limit": str(rate.limit),
                "X-RateLimit-Remaining": str(rate.remaining),
                "X-RateLimit-Used": str(rate.used),
                "X-RateLimit-Reset": str(int(rate.reset)),
                "X-RateLimit-Resource": "core",
            }
        if token := request.get(_TOKEN):
            headers |= {"X-OAuth-Scopes": ", ".join(token.scopes), "X-OAuth-Client-Id": self._client_id}
        return headers

    def _visible_org(self, request: web.Request, documentation: str) -> Organization:
        """Find the organization of a path, unless it has not approved the application that asks."""
        if number := request.match_info.get("id"):
            orgs = self._state.organizations.values()
            org = next((org for org in orgs if org.id == int(number)), None)
        else:
            org = self._state.organization(request.match_info["org"])
        if org is None:
            raise GitHubError(404, "Not Found", documentation)
        if _TOKEN in request and not org.approved:
            message = (
                "Although you appear to have the correct authorization credentials, the "
                f"`{org.login}` organization has enabled OAuth App access restrictions, meaning that data "
                "access to third-parties is limited. For more information on these restrictions, including "
                "how to enable this app, visit "
                "https://docs.github.com/articles/restricting-access-to-your-organization-s-data/"
            )
            raise GitHubError(403, message, documentation)
        return org

    def _membership(self, login: str, org: Organization) -> Membership | None:
        member = self._state.member(login)
        return member.membership(org.login) if member else None

    def _user(self, member: Member) -> dict[str, Any]:
        return {
            "login": member.login,
            "id": member.id,
            "node_id": _node_id("User", member.id),
            "avatar_url": "",
            "gravatar_id": "",
            "url": f"{self._url}/users/{member.login}",
            "html_url": f"{self._web}/{member.login}",
            "organizations_url": f"{self._url}/users/{member.login}/orgs",
            "type": "User",
            "site_admin": False,
        }

    def _full_user(self, member: Member) -> dict[str, Any]:
        return self._user(member) | {
            "name": member.name,
            "company": None,
            "blog": "",
            "location": None,
            "email": None,  # the public one; /user/emails has the other
            "hireable": None,
            "bio": None,
            "public_repos": 0,
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "created_at": "2008-01-14T04:33:35Z",
            "updated_at": "2008-01-14T04:33:35Z",
        }

    def _org(self, org: Organization) -> dict[str, Any]:
        url = f"{self._url}/orgs/{org.login}"
        return {
            "login": org.login,
            "id": org.id,
            "node_id": _node_id("Organization", org.id),
            "url": url,
            "members_url": f"{url}/members{{/member}}",
            "public_members_url": f"{url}/public_members{{/member}}",
            "avatar_url": "",
            "description": org.description,
        }

    def _paged(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        """Answer with a page of a list, and with links to the others (RFC 8288)."""
        per_page = min(_positive(request, "per_page", _PER_PAGE), _MOST_PER_PAGE)
        page = _positive(request, "page", 1)
        last = max(1, -(-len(items) // per_page))
        links = {}
        if page > 1:
            links["prev"] = min(page - 1, last)
        if page < last:
            links |= {"next": page + 1, "last": last}
        if page > 1:
            links["first"] = 1
        address = self._url + request.path.removeprefix(PREFIX)
        value = ", ".join(
            f'<{address}?{urlencode({**request.query, "page": number})}>; rel="{rel}"' for rel, number in links.items()
        )
        shown = items[(page - 1) * per_page : page * per_page]
        return web.json_response(shown, headers={"Link": value} if value else {})


def _viewer(request: web.Request) -> Member:
    viewer: Member | None = request.get(_VIEWER)
    if viewer is None:
        raise GitHubError(401, "Requires authentication")
    return viewer


def _node_id(kind: str, number: int) -> str:
    return base64.b64encode(f"0{len(kind)}:{kind}{number}".encode()).decode()


def _positive(request: web.Request, name: str, default: int) -> int:
    """Read a number of the query; GitHub takes the default for what is none."""
    value = request.query.get(name, "")
    return int(value) if re.fullmatch(r"0*[1-9][0-9]{0,8}", value) else default
