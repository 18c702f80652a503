"""The control interface: what a test can change, and what then happens."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.dev.github.conftest import StandIn


async def organizations(standin: StandIn, token: str) -> list[str]:
    """List the organizations of a token's owner."""
    return [org["login"] for org in (await standin.get("/user/orgs", token)).json()]


async def whose(standin: StandIn, token: str) -> tuple[str, int] | None:
    """Tell login and id of a token's owner."""
    answer = await standin.get("/user", token)
    return (answer.json()["login"], answer.json()["id"]) if answer.status_code == 200 else None


async def test_leave_and_join(standin: StandIn) -> None:
    """A change of memberships shows at once, also to tokens that were issued before."""
    token = await standin.token()
    answer = await standin.control.delete("/members/Alice/organizations/LSST")
    assert answer.json()["organizations"] == [{"organization": "lsst-sqre", "public": False}]
    assert await organizations(standin, token) == ["lsst-sqre"]
    assert (await standin.control.delete("/members/alice/organizations/lsst")).status_code == 404
    assert (await standin.control.put("/members/alice/organizations/other-org")).status_code == 200
    assert await organizations(standin, token) == ["lsst-sqre", "other-org"]


async def test_revoke(standin: StandIn) -> None:
    """Revoked tokens are unknown; other members' are not touched."""
    mine, other = await standin.token(), await standin.token("bob")
    assert (await standin.control.delete("/members/alice/tokens")).json() == {"revoked": 1}
    assert await whose(standin, mine) is None
    assert await whose(standin, other) == ("bob", 5252525)


async def test_rename(standin: StandIn) -> None:
    """A renamed member keeps id, organizations and tokens; the old login is free."""
    token = await standin.token()
    assert (await standin.control.patch("/members/alice", json={"login": "Alicia"})).status_code == 200
    assert await whose(standin, token) == ("Alicia", 4242424)
    assert await organizations(standin, token) == ["lsst-sqre", "lsst"]
    assert (await standin.get("/users/alice")).status_code == 404
    assert (await standin.control.patch("/members/alicia", json={"login": "BOB"})).status_code == 409


async def test_recycled_login(standin: StandIn) -> None:
    """A login handed to another id is another account: the old one's tokens are dead."""
    old = await standin.token()
    body = {"id": 9999, "organizations": ["lsst", {"organization": "lsst-sqre", "public": True}]}
    assert (await standin.control.put("/members/alice", json=body)).status_code == 200
    assert await whose(standin, old) is None
    new = await standin.token()
    assert await whose(standin, new) == ("alice", 9999)
    assert await organizations(standin, new) == ["lsst", "lsst-sqre"]


async def test_renamed_and_recycled(standin: StandIn) -> None:
    """Where the first owner of a login lives on under another name, both accounts work."""
    old = await standin.token()
    await standin.control.patch("/members/alice", json={"login": "alicia"})
    assert (await standin.control.put("/members/alice", json={"id": 9999})).status_code == 201
    assert await whose(standin, old) == ("alicia", 4242424)
    assert await whose(standin, await standin.token()) == ("alice", 9999)


async def test_changed_account(standin: StandIn) -> None:
    """An account given anew with the same id is the same account."""
    token = await standin.token()
    await standin.control.put("/members/alice", json={"id": 4242424, "organizations": ["other-org"]})
    assert await organizations(standin, token) == ["other-org"]
    answer = await standin.control.put("/members/dave", json={"id": 4242424})
    assert answer.status_code == 409
    assert answer.json() == {"error": "id 4242424 is another member's"}


async def test_delete_member(standin: StandIn) -> None:
    """A deleted account is gone from everywhere."""
    token = await standin.token()
    assert (await standin.control.delete("/members/alice")).status_code == 204
    assert await whose(standin, token) is None
    assert 'value="alice"' not in (await standin.open_page()).text


async def test_approval(standin: StandIn) -> None:
    """An organization's approval can be taken back and given again."""
    token = await standin.token()
    for approved, seen in ((False, ["lsst"]), (True, ["lsst-sqre", "lsst"])):
        await standin.control.patch("/organizations/LSST-sqre", json={"approved": approved})
        assert await organizations(standin, token) == seen


@pytest.mark.parametrize(("kind", "status", "retry_after"), [("500", 500, None), ("429", 429, "7"), ("403", 403, "7")])
async def test_outage(standin: StandIn, kind: str, status: int, retry_after: str | None) -> None:
    """An outage fails every request in its own way, until it is over."""
    token = await standin.token()
    await standin.control.put("/outage", json={"kind": kind, "retry_after": 7})
    for answer in (await standin.get("/user", token), await standin.open_page()):
        assert answer.status_code == status
        assert answer.headers.get("Retry-After") == retry_after
        assert answer.json()["message"]
    assert (await standin.web.get("/healthz")).status_code == 200
    await standin.control.delete("/outage")
    assert (await standin.get("/user", token)).status_code == 200


async def test_partial_outage(standin: StandIn) -> None:
    """An outage may concern one path and what is below it."""
    await standin.control.put("/outage", json={"kind": "500", "path": "/api/v3/orgs/"})
    token = await standin.token()
    assert await organizations(standin, token) == ["lsst-sqre", "lsst"]
    assert (await standin.get("/orgs/lsst/members/alice", token)).status_code == 500


async def test_hang(standin: StandIn) -> None:
    """A hanging request is answered when the outage is over."""
    token = await standin.token()
    await standin.control.put("/outage", json={"kind": "hang"})
    with pytest.raises(httpx.ReadTimeout):
        await standin.web.get("/api/v3/user", headers={"Authorization": f"Bearer {token}"}, timeout=0.1)
    hanging = asyncio.create_task(standin.get("/user", token))
    while (await standin.control.get("/requests")).json()["GET /api/v3/user"] < 2:
        pass
    assert not hanging.done()
    await standin.control.delete("/outage")
    assert (await hanging).status_code == 200


async def test_requests_are_counted(standin: StandIn) -> None:
    """Requests are counted by endpoint, also those that an outage fails."""
    token = await standin.token()
    await standin.control.delete("/requests")
    await standin.get("/orgs/lsst/members/alice", token)
    await standin.get("/orgs/lsst-sqre/members/bob", token)
    await standin.control.put("/outage", json={"kind": "500"})
    await standin.get("/user?x=y", token)
    await standin.get("/nowhere", token)
    await standin.web.get("/healthz")
    assert (await standin.control.get("/requests")).json() == {
        "GET /api/v3/orgs/{org}/members/{login}": 2,
        "GET /api/v3/user": 1,
        "GET elsewhere": 1,
    }
    assert 'jld_github_requests_total{endpoint="GET /api/v3/user"} 1\n' in (await standin.web.get("/metrics")).text


async def test_reset(standin: StandIn) -> None:
    """A reset brings everything back to the members file."""
    before = (await standin.control.get("/state")).json()
    token = await standin.token()
    await standin.control.delete("/members/alice/organizations/lsst")
    await standin.control.patch("/members/bob", json={"login": "bobby"})
    await standin.control.patch("/organizations/lsst", json={"approved": False})
    await standin.control.put("/outage", json={"kind": "500"})
    assert (await standin.control.get("/state")).json()["outage"] == {"kind": "500", "path": "/", "retry_after": 60}
    await standin.control.post("/reset")
    assert (await standin.control.get("/state")).json() == before
    assert await whose(standin, token) is None


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("PUT", "/outage", {"kind": "500", "seconds": 3}, "seconds: "),
        ("PUT", "/outage", {"kind": "404"}, "kind: "),
        ("PUT", "/outage", {"kind": "500", "path": "api"}, "path: "),
        ("PUT", "/outage", [], "as a whole: "),
        ("PUT", "/members/dave", {"id": "5"}, "id: "),
        ("PUT", "/members/dave", {"id": True}, "id: "),
        ("PUT", "/members/-dave", {"id": 5}, "login: "),
        ("PUT", "/members/dave", {"id": 5, "groups": []}, "groups: "),
        ("PATCH", "/members/alice", {"name": "x"}, "name: "),
        ("PATCH", "/organizations/lsst", {}, "approved: "),
        ("PUT", "/members/alice/organizations/lsst", {"role": "admin"}, "role: "),
    ],
)
async def test_wrong_fields_are_named(
    standin: StandIn, method: str, path: str, body: dict[str, Any], named: str
) -> None:
    """A body with a field too many, too few or wrong is refused with the field's name, and changes nothing."""
    before = (await standin.control.get("/state")).json()
    answer = await standin.control.request(method, path, json=body)
    assert answer.status_code == 400
    assert named in answer.json()["error"]
    assert (await standin.control.get("/state")).json() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/members/nobody"),
        ("PUT", "/members/alice/organizations/nowhere"),
        ("PATCH", "/organizations/nowhere"),
        ("GET", "/nowhere"),
    ],
)
async def test_unknown_names(standin: StandIn, method: str, path: str) -> None:
    """What is not there is not found, and the answer is JSON too."""
    body = {"approved": True} if method == "PATCH" else {}
    answer = await standin.control.request(method, path, json=body)
    assert answer.status_code == 404
    assert answer.json()["error"]


async def test_not_on_the_web(standin: StandIn) -> None:
    """The control interface cannot be reached where browsers are served."""
    for path in ("/state", "/reset", "/outage"):
        assert (await standin.web.post(path)).status_code == 404
