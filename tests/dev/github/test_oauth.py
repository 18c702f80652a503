"""Sign-in: the authorize page and the exchange of its code."""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from jld_github.oauth import matches, normalize

from tests.dev.github.conftest import CALLBACK, SECRET, StandIn

VERIFIER = "a-verifier-that-is-long-enough-for-the-specification"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


def parameters(answer: httpx.Response) -> dict[str, str]:
    """Read what a redirect brings to the application."""
    assert answer.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


async def test_page_says_what_it_is(standin: StandIn) -> None:
    """The page names itself a stand-in, and has a button for each member."""
    page = await standin.open_page(scope="read:org")
    assert page.status_code == 200
    assert "Stand-in for GitHub" in page.text
    for login in ("alice", "bob", "carol", "mallory"):
        assert f'name="login" value="{login}"' in page.text


async def test_page_loads_nothing_from_elsewhere(standin: StandIn) -> None:
    """The page's policy allows its own style sheet only, no frame around it, and forms to the application."""
    page = await standin.open_page()
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://localhost:8000" in policy
    for address in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        assert address.startswith(("/", "data:"))
    assert (await standin.web.get("/assets/style.css")).headers["Content-Type"] == "text/css"


async def test_page_escapes(standin: StandIn) -> None:
    """What a request brings is text on the page, never markup."""
    page = await standin.open_page(scope='<script>"x"')
    assert "<script>" not in page.text
    assert "&lt;script&gt;&#34;x&#34;" in page.text


async def test_sign_in(standin: StandIn) -> None:
    """A member's button leads back to the application with a code and the state, untouched."""
    state = "eyJ4IjogIi8rIn0=&?"
    answer = await standin.choose(await standin.open_page(state=state), login="alice")
    assert answer.headers["Location"].startswith(f"{CALLBACK}?code=")
    assert parameters(answer)["state"] == state


@pytest.mark.parametrize("state", ["\x00\r\nSet-Cookie: x", "\u2028ü", "%00%0d%0a", "x" * 5000])
async def test_strange_state(standin: StandIn, state: str) -> None:
    """Whatever the state is, it comes back as it went, and becomes no header."""
    answer = await standin.choose(await standin.open_page(state=state), login="alice")
    assert parameters(answer)["state"] == state
    assert "Set-Cookie" not in answer.headers


async def test_cancel(standin: StandIn) -> None:
    """Cancel leads back with access_denied."""
    answer = parameters(await standin.choose(await standin.open_page(), cancel="1"))
    assert (answer["error"], answer["state"]) == ("access_denied", "xyz")
    assert answer["error_description"] == "The user has denied your application access."


async def test_form_works_once(standin: StandIn) -> None:
    """The form of a page cannot be sent twice."""
    page = await standin.open_page()
    assert (await standin.choose(page, login="alice")).status_code == 302
    assert (await standin.choose(page, login="alice")).status_code == 422


async def test_form_is_one_browsers(standin: StandIn) -> None:
    """A form token fetched by somebody else does not work in this browser."""
    page = await standin.open_page()
    standin.web.cookies.clear()
    assert (await standin.choose(page, login="alice")).status_code == 422
    await standin.open_page()
    assert (await standin.choose(page, login="alice")).status_code == 422


async def test_form_expires(standin: StandIn) -> None:
    """A page that was left open for more than ten minutes has to be opened anew."""
    page = await standin.open_page()
    standin.clock.time += 601
    assert (await standin.choose(page, login="alice")).status_code == 422


async def test_unknown_client(standin: StandIn) -> None:
    """An unknown client_id is a page with 404, and no redirect."""
    answer = await standin.open_page(client_id="other")
    assert answer.status_code == 404
    assert "Stand-in for GitHub" in answer.text


async def test_redirect_uri_mismatch(standin: StandIn) -> None:
    """With a wrong redirect_uri the browser goes to the registered callback URL, with an error."""
    answer = await standin.open_page(redirect_uri="http://evil.example/hub/oauth_callback")
    assert answer.headers["Location"].startswith(f"{CALLBACK}?")
    assert parameters(answer)["error"] == "redirect_uri_mismatch"
    assert parameters(answer)["state"] == "xyz"


@pytest.mark.parametrize(
    ("asked", "registered", "right"),
    [
        ("http://example.org/path", "http://example.org/path", True),
        ("http://example.org/path/below", "http://example.org/path", True),
        ("http://sub.example.org/path", "http://example.org/path", True),
        ("http://example.org/pathology", "http://example.org/path", False),
        ("http://example.org/path/../x", "http://example.org/path", False),
        ("http://example.org/path/%2e%2e/x", "http://example.org/path", False),
        ("http://example.org:8080/path", "http://example.org/path", False),
        ("https://example.org/path", "http://example.org/path", False),
        ("http://notexample.org/path", "http://example.org/path", False),
        ("http://example.org@evil.example/path", "http://example.org/path", False),
        ("http://evil.example\\@example.org/path", "http://example.org/path", False),
        ("http://example.org:port/path", "http://example.org/path", False),
        ("http://example.org/path#fragment", "http://example.org/path", False),
        ("http://a;b.example.org/path", "http://example.org/path", False),
        ("http://example.org/path/\x00", "http://example.org/path", False),
        ("http://example.org/path/\n", "http://example.org/path", False),
        ("javascript:alert(1)", "http://example.org/path", False),
        ("http://localhost:9000/path", "http://localhost:8000/path", False),
        ("http://127.0.0.1:9000/path", "http://127.0.0.1:8000/path", True),
        ("http://[::1]:9000/path", "http://[::1]/path", True),
        ("", "http://example.org/path", False),
    ],
)
def test_redirect_uri_rules(asked: str, registered: str, *, right: bool) -> None:
    """Host, port and path are held to GitHub's rules."""
    assert matches(asked, registered) is right


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("", ()),
        ("read:org user:email", ("read:org", "user:email")),
        ("user,gist,user:email", ("user", "gist")),
        ("read:org  read:org", ("read:org",)),
        ("admin:org write:org read:org", ("admin:org",)),
    ],
)
def test_scopes_are_normalized(asked: str, granted: tuple[str, ...]) -> None:
    """Repeated scopes, and scopes that a wider one implies, are dropped."""
    assert normalize(asked) == granted


async def test_token(standin: StandIn) -> None:
    """A code gives a bearer token, with the scopes that were granted."""
    answer = await standin.exchange(await standin.code(scope="read:org user:email"), redirect_uri=CALLBACK)
    found = answer.json()
    assert re.fullmatch("gho_[A-Za-z0-9]{36}", found.pop("access_token"))
    assert found == {"token_type": "bearer", "scope": "read:org,user:email"}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_token_as_form(standin: StandIn) -> None:
    """Without an Accept header the answer is a form."""
    form = {"client_id": "jupyterlabdemo", "client_secret": SECRET, "code": await standin.code(scope="read:org")}
    answer = await standin.web.post("/login/oauth/access_token", data=form)
    assert answer.headers["Content-Type"] == "application/x-www-form-urlencoded; charset=utf-8"
    found = parse_qs(answer.text)
    assert found["scope"] == ["read:org"]
    assert found["access_token"][0].startswith("gho_")


async def test_token_asked_for_in_json(standin: StandIn) -> None:
    """The request may be JSON too."""
    body = {"client_id": "jupyterlabdemo", "client_secret": SECRET, "code": await standin.code()}
    headers = {"Accept": "application/json"}
    answer = await standin.web.post("/login/oauth/access_token", json=body, headers=headers)
    assert answer.json()["token_type"] == "bearer"


@pytest.mark.parametrize("body", ["", "[]", "{", '"x"', '{"client_id": {}}'])
async def test_strange_requests(standin: StandIn, body: str) -> None:
    """A body that is not what it should be is a request without credentials."""
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    answer = await standin.web.post("/login/oauth/access_token", content=body, headers=headers)
    assert answer.json()["error"] == "incorrect_client_credentials"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"client_secret": "wrong"}, "incorrect_client_credentials"),
        ({"client_secret": "wröng"}, "incorrect_client_credentials"),
        ({"client_id": "other"}, "incorrect_client_credentials"),
        ({"code": "0" * 20}, "bad_verification_code"),
        ({"redirect_uri": "http://localhost:8000/other"}, "redirect_uri_mismatch"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_refusals(standin: StandIn, fields: dict[str, str], error: str) -> None:
    """A refusal is a 200 with an error, as GitHub's is."""
    answer = await standin.exchange(**{"code": await standin.code(), **fields})
    assert answer.status_code == 200
    found = answer.json()
    assert found["error"] == error
    assert found["error_description"]
    assert found["error_uri"].startswith("https://docs.github.com/")


async def test_code_works_once(standin: StandIn) -> None:
    """A code cannot be exchanged twice."""
    code = await standin.code()
    assert "access_token" in (await standin.exchange(code)).json()
    assert (await standin.exchange(code)).json()["error"] == "bad_verification_code"


async def test_code_survives_a_wrong_secret(standin: StandIn) -> None:
    """Somebody without the secret cannot spoil a code."""
    code = await standin.code()
    await standin.exchange(code, client_secret="wrong")
    assert "access_token" in (await standin.exchange(code)).json()


async def test_code_expires(standin: StandIn) -> None:
    """A code is good for ten minutes."""
    early, late = await standin.code(), await standin.code()
    standin.clock.time += 599
    assert "access_token" in (await standin.exchange(early)).json()
    standin.clock.time += 2
    assert (await standin.exchange(late)).json()["error"] == "bad_verification_code"


@pytest.mark.parametrize(
    ("challenge", "verifier", "right"),
    [
        (CHALLENGE, VERIFIER, True),
        (CHALLENGE, VERIFIER + "x", False),
        (CHALLENGE, None, False),
        (CHALLENGE, CHALLENGE, False),
        (None, VERIFIER, False),
    ],
)
async def test_pkce(standin: StandIn, challenge: str | None, verifier: str | None, *, right: bool) -> None:
    """The verifier must fit the challenge, and neither comes alone."""
    asked = {"code_challenge": challenge, "code_challenge_method": "S256"} if challenge else {}
    code = await standin.code(**asked)
    found: dict[str, Any] = (await standin.exchange(code, **({"code_verifier": verifier} if verifier else {}))).json()
    assert ("access_token" in found) is right
    assert right or found["error"] == "bad_verification_code"


@pytest.mark.parametrize(
    "asked",
    [
        {"code_challenge": VERIFIER[:43], "code_challenge_method": "plain"},
        {"code_challenge": CHALLENGE},
        {"code_challenge_method": "S256"},
        {"code_challenge": "short", "code_challenge_method": "S256"},
    ],
)
async def test_pkce_is_s256(standin: StandIn, asked: dict[str, str]) -> None:
    """No other form of PKCE is known."""
    assert parameters(await standin.open_page(**asked))["error"] == "invalid_request"


async def test_eleventh_token_revokes_the_first(standin: StandIn) -> None:
    """Of tokens for the same member and scopes, ten are kept."""
    tokens = [await standin.token() for _ in range(11)]
    other = await standin.token("bob")
    answers = [(await standin.get("/user", token)).status_code for token in [*tokens, other]]
    assert answers == [401] + [200] * 11


@pytest.mark.parametrize("configuration", [{"passphrase": "open sesame"}])
async def test_passphrase(standin: StandIn) -> None:
    """Where a passphrase is set, nobody signs in without it, and a second try needs no new start."""
    page = await standin.open_page(state="kept")
    wrong = await standin.choose(page, login="alice", passphrase="open")
    assert wrong.status_code == 403
    assert "That is not the passphrase." in wrong.text
    missing = await standin.choose(wrong, login="alice")
    assert missing.status_code == 403
    right = await standin.choose(missing, login="alice", passphrase="open sesame")
    assert parameters(right)["state"] == "kept"


async def test_member_gone_meanwhile(standin: StandIn) -> None:
    """A member who was deleted between page, code and token gets no token."""
    page, code = await standin.open_page(), await standin.code()
    await standin.control.delete("/members/alice")
    assert "That member has gone." in (await standin.choose(page, login="alice")).text
    assert (await standin.exchange(code)).json()["error"] == "bad_verification_code"


async def test_nothing_else_is_there(standin: StandIn) -> None:
    """Any other address answers with a page that says so, and that this is a stand-in."""
    answer = await standin.web.get("/settings/profile")
    assert answer.status_code == 404
    assert "Stand-in for GitHub" in answer.text
