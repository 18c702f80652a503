"""The control interface: lets a test change what GitHub would say. HTTP with JSON on a Unix socket."""

from collections.abc import Awaitable, Callable
from typing import Literal

from aiohttp import web
from pydantic import Field, ValidationError

from jld_github.members import Account, Login, Member, Membership, Strict, describe
from jld_github.state import Outage, State

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Rename(Strict):
    login: Login


class _Visibility(Strict):
    public: bool = False


class _Approval(Strict):
    approved: bool


class _Outage(Strict):
    kind: Literal["500", "429", "403", "hang"]
    path: str = Field("/", pattern="^/")
    retry_after: int = Field(60, ge=0)


class _RefusedError(Exception):
    """A request that cannot be carried out."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """What a test can see and change."""

    def __init__(self, state: State) -> None:
        self._state = state

    def app(self) -> web.Application:
        """Make the application to serve on the socket."""
        app = web.Application(middlewares=[_as_json])
        app.add_routes(
            [
                web.get("/state", self.state),
                web.put("/members/{login}", self.put_member),
                web.patch("/members/{login}", self.rename),
                web.delete("/members/{login}", self.delete_member),
                web.delete("/members/{login}/tokens", self.revoke),
                web.put("/members/{login}/organizations/{org}", self.join),
                web.delete("/members/{login}/organizations/{org}", self.leave),
                web.patch("/organizations/{org}", self.approve),
                web.put("/outage", self.start_outage),
                web.delete("/outage", self.end_outage),
                web.get("/requests", self.requests),
                web.delete("/requests", self.forget_requests),
                web.post("/reset", self.reset),
            ]
        )
        return app

    async def state(self, _: web.Request) -> web.Response:
        """Tell who there is, and which outage is on."""
        outage = self._state.outage
        return web.json_response(
            {
                "organizations": [org.model_dump() for org in self._state.organizations.values()],
                "members": [member.model_dump() for member in self._state.members.values()],
                "tokens": len(self._state.tokens),
                "outage": outage and {"kind": outage.kind, "path": outage.path, "retry_after": outage.retry_after},
            }
        )

    async def put_member(self, request: web.Request) -> web.Response:
        """Give a login an account; another account that had the login goes, with its tokens."""
        account = Account.model_validate_json(await request.text())
        member = Member(login=request.match_info["login"], **account.model_dump())
        for membership in member.organizations:
            self._known(membership.organization)
        before = self._state.member(member.login)
        holder = self._state.member_by_id(member.id)
        if holder not in (None, before):
            raise _RefusedError(409, f"id {member.id} is another member's")
        if before and before.id != member.id:
            self._state.remove(before)
        self._state.members[member.login.lower()] = member
        return web.json_response(member.model_dump(), status=200 if before else 201)

    async def rename(self, request: web.Request) -> web.Response:
        """Give a member another login; id, memberships and tokens stay."""
        member = self._member(request)
        login = _Rename.model_validate_json(await request.text()).login
        if self._state.member(login) not in (None, member):
            raise _RefusedError(409, f"{login} is another member's login")
        del self._state.members[member.login.lower()]
        member.login = login
        self._state.members[login.lower()] = member
        return web.json_response(member.model_dump())

    async def delete_member(self, request: web.Request) -> web.Response:
        """Delete an account, and its tokens."""
        self._state.remove(self._member(request))
        return web.Response(status=204)

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke a member's tokens."""
        return web.json_response({"revoked": self._state.revoke(self._member(request))})

    async def join(self, request: web.Request) -> web.Response:
        """Put a member into an organization, or change whether the membership is public."""
        member, org = self._member(request), self._known(request.match_info["org"])
        wanted = _Visibility.model_validate_json(await request.text() or "{}")
        membership = member.membership(org)
        if membership is None:
            membership = Membership(organization=org)
            member.organizations.append(membership)
        membership.public = wanted.public
        return web.json_response(member.model_dump())

    async def leave(self, request: web.Request) -> web.Response:
        """Take a member out of an organization."""
        member, org = self._member(request), self._known(request.match_info["org"])
        membership = member.membership(org)
        if membership is None:
            raise _RefusedError(404, f"{member.login} is not in {org}")
        member.organizations.remove(membership)
        return web.json_response(member.model_dump())

    async def approve(self, request: web.Request) -> web.Response:
        """Say whether an organization has approved the application."""
        wanted = _Approval.model_validate_json(await request.text())
        org = self._state.organizations[self._known(request.match_info["org"]).lower()]
        org.approved = wanted.approved
        return web.json_response(org.model_dump())

    async def start_outage(self, request: web.Request) -> web.Response:
        """Switch an outage on."""
        wanted = _Outage.model_validate_json(await request.text())
        self._state.start_outage(Outage(wanted.kind, wanted.path, wanted.retry_after))
        return web.json_response(wanted.model_dump())

    async def end_outage(self, _: web.Request) -> web.Response:
        """Switch the outage off."""
        self._state.end_outage()
        return web.Response(status=204)

    async def requests(self, _: web.Request) -> web.Response:
        """Tell how many requests each endpoint had, those of an outage included."""
        return web.json_response(self._state.requests)

    async def forget_requests(self, _: web.Request) -> web.Response:
        """Count from nothing again."""
        self._state.requests.clear()
        return web.Response(status=204)

    async def reset(self, _: web.Request) -> web.Response:
        """Go back to the members file; tokens, outage and counts go."""
        self._state.reset()
        return web.Response(status=204)

    def _member(self, request: web.Request) -> Member:
        login = request.match_info["login"]
        member = self._state.member(login)
        if member is None:
            raise _RefusedError(404, f"there is no member {login}")
        return member

    def _known(self, name: str) -> str:
        org = self._state.organization(name)
        if org is None:
            raise _RefusedError(404, f"there is no organization {name}")
        return org.login


@web.middleware
async def _as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ValidationError as error:
        return web.json_response({"error": describe(error)}, status=400)
    except _RefusedError as error:
        return web.json_response({"error": str(error)}, status=error.status)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        return web.json_response({"error": error.reason}, status=error.status)
