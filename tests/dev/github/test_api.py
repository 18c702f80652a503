"""The API: what it tells, to whom, and in which form."""

import re

import httpx
import pytest

from tests.dev.github.conftest import StandIn


async def hide(standin: StandIn, org: str) -> None:
    """Take back an organization's approval of the application."""
    assert (await standin.control.patch(f"/organizations/{org}", json={"approved": False})).status_code == 200


async def show(standin: StandIn, login: str, org: str) -> None:
    """Make a membership public."""
    path = f"/members/{login}/organizations/{org}"
    assert (await standin.control.put(path, json={"public": True})).status_code == 200


def links(answer: httpx.Response) -> dict[str, str]:
    """Read the links to other pages, as rel to query."""
    return {rel or "": link["url"].partition("?")[2] for rel, link in answer.links.items()}


def refusal(answer: httpx.Response) -> str:
    """Read what an error says, which is always in GitHub's form."""
    found = answer.json()
    assert set(found) == {"message", "documentation_url", "status"}
    assert found["status"] == str(answer.status_code)
    assert found["documentation_url"].startswith("https://docs.github.com/rest")
    message: str = found["message"]
    return message


@pytest.mark.parametrize(
    ("login", "number"), [("alice", 4242424), ("bob", 5252525), ("carol", 6262626), ("mallory", 7272727)]
)
async def test_user(standin: StandIn, login: str, number: int) -> None:
    """A token tells whose it is; ids are numbers, and the address is kept private."""
    found = (await standin.get("/user", await standin.token(login))).json()
    assert (found["login"], found["id"], found["type"], found["email"]) == (login, number, "User", None)
    assert found["url"] == f"{standin.url}/api/v3/users/{login}"


@pytest.mark.parametrize(
    ("login", "organizations"),
    [
        ("alice", [("lsst-sqre", 1508001), ("lsst", 3050001)]),
        ("bob", [("lsst", 3050001)]),
        ("mallory", [("other-org", 9090909)]),
    ],
)
async def test_organizations(standin: StandIn, login: str, organizations: list[tuple[str, int]]) -> None:
    """With read:org all organizations are listed, with their ids."""
    answer = await standin.get("/user/orgs", await standin.token(login))
    assert [(org["login"], org["id"]) for org in answer.json()] == organizations
    assert "Link" not in answer.headers


async def test_second_page(standin: StandIn) -> None:
    """Carol has 35 organizations on two pages, and lsst-sqre is on the second."""
    token = await standin.token("carol")
    first = await standin.get("/user/orgs", token)
    assert len(first.json()) == 30
    assert links(first) == {"next": "page=2", "last": "page=2"}
    assert first.links["next"]["url"].startswith(f"{standin.url}/api/v3/user/orgs?")
    second = await standin.get("/user/orgs?page=2", token)
    assert len(second.json()) == 5
    assert "lsst-sqre" in [org["login"] for org in second.json()]
    assert "lsst-sqre" not in [org["login"] for org in first.json()]
    assert links(second) == {"prev": "page=1", "first": "page=1"}


@pytest.mark.parametrize(
    ("query", "count", "found"),
    [
        ("per_page=100", 35, {}),
        ("per_page=1000", 35, {}),
        ("per_page=10&page=2", 10, {"prev": "1", "next": "3", "last": "4", "first": "1"}),
        ("per_page=10&page=9", 0, {"prev": "4", "first": "1"}),
        ("per_page=0", 30, {"next": "2", "last": "2"}),
        ("per_page=many&page=-1", 30, {"next": "2", "last": "2"}),
        (f"page={'9' * 5000}", 30, {"next": "2", "last": "2"}),
    ],
)
async def test_paging(standin: StandIn, query: str, count: int, found: dict[str, str]) -> None:
    """Pages are as long as asked for, up to 100, and link to the others."""
    answer = await standin.get(f"/user/orgs?{query}", await standin.token("carol"))
    assert len(answer.json()) == count
    assert {rel: link.rpartition("page=")[2] for rel, link in links(answer).items()} == found


async def test_no_scope_no_list(standin: StandIn) -> None:
    """Without read:org or user there is no list of organizations."""
    answer = await standin.get("/user/orgs", await standin.token(scope="user:email"))
    assert answer.status_code == 403
    assert refusal(answer) == "You need at least read:org scope or user scope to list your organizations."


async def test_private_memberships_are_hidden(standin: StandIn) -> None:
    """Without read:org only public memberships are seen."""
    await show(standin, "alice", "lsst")
    token = await standin.token(scope="user")
    assert [org["login"] for org in (await standin.get("/user/orgs", token)).json()] == ["lsst"]


async def test_unapproved_organizations_are_hidden(standin: StandIn) -> None:
    """An organization that has not approved the application is missing from the list, without a word."""
    token = await standin.token()
    await hide(standin, "lsst-sqre")
    assert [org["login"] for org in (await standin.get("/user/orgs", token)).json()] == ["lsst"]


@pytest.mark.parametrize(
    "path",
    [
        "/orgs/LSST-SQRE",
        "/orgs/lsst-sqre/members/alice",
        "/orgs/lsst-sqre/public_members/alice",
        "/user/memberships/orgs/lsst-sqre",
    ],
)
async def test_unapproved_organizations_refuse(standin: StandIn, path: str) -> None:
    """An organization that has not approved the application says so when asked for by name."""
    token = await standin.token()
    await hide(standin, "LSST-SQRE")
    answer = await standin.get(path, token)
    assert answer.status_code == 403
    assert "`lsst-sqre` organization has enabled OAuth App access restrictions" in refusal(answer)


@pytest.mark.parametrize(
    ("asker", "scope", "path", "status"),
    [
        ("alice", "read:org", "/orgs/lsst/members/alice", 204),
        ("alice", "read:org", "/orgs/LSST/members/BOB", 204),
        ("alice", "admin:org", "/orgs/lsst/members/bob", 204),
        ("alice", "read:org", "/orgs/lsst/members/mallory", 404),
        ("alice", "read:org", "/orgs/lsst/members/nobody", 404),
        ("alice", "read:org", "/orgs/nowhere/members/alice", 404),
        ("alice", "", "/orgs/lsst/members/alice", 302),
        ("mallory", "read:org", "/orgs/lsst/members/mallory", 302),
        ("mallory", "read:org", "/orgs/lsst/members/alice", 302),
        ("alice", "read:org", "/orgs/lsst/public_members/alice", 404),
    ],
)
async def test_membership(standin: StandIn, asker: str, scope: str, path: str, status: int) -> None:
    """Members with read:org get 204 or 404, others are sent on; case of names does not matter."""
    answer = await standin.get(path, await standin.token(asker, scope=scope))
    assert answer.status_code == status
    if status == 404:
        refusal(answer)
    else:
        assert answer.content == b""


@pytest.mark.parametrize(("public", "status"), [(True, 204), (False, 404)])
async def test_redirect_leads_to_public_members(standin: StandIn, *, public: bool, status: int) -> None:
    """Where 302 leads, only public memberships are known."""
    if public:
        await show(standin, "alice", "lsst")
    token = await standin.token("mallory")
    sent = await standin.get("/orgs/lsst/members/alice", token)
    assert sent.headers["Location"] == f"{standin.url}/api/v3/organizations/3050001/public_members/alice"
    headers = {"Authorization": f"Bearer {token}"}
    assert (await standin.web.get(sent.headers["Location"], headers=headers)).status_code == status


async def test_own_membership(standin: StandIn) -> None:
    """A member learns state and role of his own membership; there is none where he does not belong."""
    token = await standin.token()
    found = (await standin.get("/user/memberships/orgs/Lsst", token)).json()
    assert (found["state"], found["role"]) == ("active", "member")
    assert (found["organization"]["id"], found["user"]["id"]) == (3050001, 4242424)
    assert (await standin.get("/user/memberships/orgs/other-org", token)).status_code == 404
    assert (await standin.get("/user/memberships/orgs/lsst", await standin.token(scope=""))).status_code == 403


async def test_organization(standin: StandIn) -> None:
    """An organization can be looked up by anybody."""
    found = (await standin.get("/orgs/Lsst-Sqre")).json()
    assert (found["login"], found["id"], found["type"]) == ("lsst-sqre", 1508001, "Organization")
    assert refusal(await standin.get("/orgs/nowhere")) == "Not Found"


async def test_other_members(standin: StandIn) -> None:
    """A member can be looked up by anybody."""
    assert (await standin.get("/users/Bob")).json()["id"] == 5252525
    assert refusal(await standin.get("/users/nobody")) == "Not Found"


async def test_emails(standin: StandIn) -> None:
    """The private address takes a scope of its own."""
    found = (await standin.get("/user/emails", await standin.token(scope="user"))).json()
    assert found == [{"email": "alice@example.org", "primary": True, "verified": True, "visibility": "private"}]
    assert (await standin.get("/user/emails", await standin.token(scope="read:user"))).status_code == 404


@pytest.mark.parametrize("path", ["/user", "/orgs/lsst/members/alice", "/nothing"])
async def test_bad_credentials(standin: StandIn, path: str) -> None:
    """An unknown token is refused, wherever it is shown."""
    answer = await standin.get(path, "gho_unknown")
    assert answer.status_code == 401
    assert refusal(answer) == "Bad credentials"


@pytest.mark.parametrize(("scheme", "status"), [("Bearer", 200), ("bearer", 200), ("token", 200), ("Basic", 401)])
async def test_schemes(standin: StandIn, scheme: str, status: int) -> None:
    """A token is taken after Bearer and after token."""
    headers = {"Authorization": f"{scheme} {await standin.token()}"}
    assert (await standin.web.get("/api/v3/user", headers=headers)).status_code == status


async def test_no_credentials(standin: StandIn) -> None:
    """Who is nobody has no account."""
    answer = await standin.get("/user")
    assert answer.status_code == 401
    assert refusal(answer) == "Requires authentication"


async def test_user_agent(standin: StandIn) -> None:
    """A request without a User-Agent is refused."""
    answer = await standin.web.get("/api/v3/rate_limit", headers={"User-Agent": ""})
    assert answer.status_code == 403
    assert "User-Agent" in refusal(answer)


async def test_nothing_else_is_there(standin: StandIn) -> None:
    """An unknown path or method answers 404 in GitHub's form."""
    assert refusal(await standin.get("/repos/lsst/afw", await standin.token())) == "Not Found"
    assert (await standin.web.post("/api/v3/user")).status_code == 404


async def test_headers(standin: StandIn) -> None:
    """Every answer carries the request's id, the scopes and the rate limit."""
    answer = await standin.get("/user", await standin.token(scope="user:email read:org"))
    assert answer.headers["X-OAuth-Scopes"] == "user:email, read:org"
    assert answer.headers["X-OAuth-Client-Id"] == "jupyterlabdemo"
    assert answer.headers["X-GitHub-Media-Type"] == "github.v3; format=json"
    assert re.fullmatch("[0-9A-F:]+", answer.headers["X-GitHub-Request-Id"])
    assert answer.headers["X-RateLimit-Limit"] == "5000"


async def test_rate_limit(standin: StandIn) -> None:
    """Requests count down an hour's allowance, the same for all of a member's tokens; asking for it is free."""
    await standin.get("/user", await standin.token())
    token = await standin.token()
    answer = await standin.get("/user", token)
    reset = int(standin.clock.time) + 3600
    names = ("Limit", "Remaining", "Used", "Reset", "Resource")
    assert [answer.headers[f"X-RateLimit-{name}"] for name in names] == ["5000", "4998", "2", str(reset), "core"]
    found = (await standin.get("/rate_limit", token)).json()
    core = {"limit": 5000, "remaining": 4998, "used": 2, "reset": reset}
    assert found == {"resources": {"core": core}, "rate": core}


async def test_rate_limit_is_kept(standin: StandIn) -> None:
    """Without a token sixty requests an hour are answered, and then again in the next hour."""
    answers = [(await standin.get("/users/alice")).status_code for _ in range(61)]
    assert answers == [200] * 60 + [403]
    answer = await standin.get("/users/alice")
    assert refusal(answer) == "API rate limit exceeded for 127.0.0.1."
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert (await standin.get("/rate_limit")).status_code == 200
    standin.clock.time += 3600
    assert (await standin.get("/users/alice")).status_code == 200
