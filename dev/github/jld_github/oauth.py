"""GitHub's web application flow: the authorize page and the exchange of a code for a token.

https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from aiohttp import web
from yarl import URL

from jld_github.pages import render
from jld_github.settings import Settings
from jld_github.state import Authorization, State
from jld_github.tokens import IMPLIED_SCOPES

_COOKIE = "_standin_session"

_HELP = "https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps"

_AUTHORIZE_ERRORS = {
    "redirect_uri_mismatch": "The redirect_uri MUST match the registered callback URL for this application.",
    "access_denied": "The user has denied your application access.",
    "invalid_request": "The code_challenge MUST be 43 characters, with the code_challenge_method S256.",
}

_TOKEN_ERRORS = {
    "incorrect_client_credentials": "The client_id and/or client_secret passed are incorrect.",
    "bad_verification_code": "The code passed is incorrect or expired.",
    "redirect_uri_mismatch": "The redirect_uri MUST match the registered callback URL for this application.",
    "unsupported_grant_type": "The grant_type MUST be authorization_code.",
}


class OAuth:
    """The web side, for the one application that is registered."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings = settings
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        """List what is served, and by what."""
        return [
            web.get("/login/oauth/authorize", self.ask),
            web.post("/login/oauth/authorize", self.answer),
            web.post("/login/oauth/access_token", self.exchange),
        ]

    async def ask(self, request: web.Request) -> web.Response:
        """Show the authorize page, or send the browser back with what is wrong with the request."""
        asked = request.query
        if asked.get("client_id") != self._settings.client_id:
            return render("error.html", 404, message="No application is registered with this client_id.")
        registered = self._settings.callback_url
        redirect_uri = asked.get("redirect_uri") or registered
        state = asked.get("state", "")
        if not matches(redirect_uri, registered):
            return _refuse(registered, state, "redirect_uri_mismatch")
        challenge, method = asked.get("code_challenge", ""), asked.get("code_challenge_method", "")
        if (challenge or method) and not (method == "S256" and re.fullmatch(r"[\w-]{43}", challenge, re.ASCII)):
            return _refuse(redirect_uri, state, "invalid_request")
        authorization = Authorization(redirect_uri, state, normalize(asked.get("scope", "")), challenge)
        return self._page(authorization, request.cookies.get(_COOKIE) or secrets.token_urlsafe(32))

    async def answer(self, request: web.Request) -> web.Response:
        """Take the choice made on an authorize page."""
        form = await request.post()
        session = request.cookies.get(_COOKIE, "")
        authorization = self._state.close_page(str(form.get("authenticity_token", "")), session)
        if authorization is None:
            message = "This page was used before, or is too old. Go back to the application and sign in again."
            return render("error.html", 422, message=message)
        if "cancel" in form:
            return _refuse(authorization.redirect_uri, authorization.state, "access_denied")
        expected = self._settings.passphrase
        if expected and not _equal(str(form.get("passphrase", "")), expected.get_secret_value()):
            return self._page(authorization, session, problem="That is not the passphrase.")
        member = self._state.member(str(form.get("login", "")))
        if member is None:
            return self._page(authorization, session, problem="That member has gone.")
        code = self._state.grant(authorization, member)
        return _redirect(authorization.redirect_uri, code=code, state=authorization.state)

    async def exchange(self, request: web.Request) -> web.Response:
        """Give a token for a code."""
        as_json = "application/json" in request.headers.get("Accept", "")
        found = self._redeem(await _fields(request))
        if "error" in found:
            found["error_description"] = _TOKEN_ERRORS[found["error"]]
            anchor = found["error"].replace("_", "-")
            found["error_uri"] = f"{_HELP}/troubleshooting-oauth-app-access-token-request-errors/#{anchor}"
        headers = {"Cache-Control": "no-store"}
        if as_json:
            return web.json_response(found, headers=headers)
        form = "application/x-www-form-urlencoded"
        return web.Response(text=urlencode(found), content_type=form, charset="utf-8", headers=headers)

    def _redeem(self, fields: Mapping[str, str]) -> dict[str, str]:
        secret = self._settings.client_secret.get_secret_value()
        known = fields.get("client_id", "") == self._settings.client_id
        if not (_equal(fields.get("client_secret", ""), secret) and known):
            return {"error": "incorrect_client_credentials"}
        if fields.get("grant_type", "authorization_code") != "authorization_code":
            return {"error": "unsupported_grant_type"}
        grant = self._state.redeem(fields.get("code", ""))
        if grant is None or not _verifies(fields.get("code_verifier", ""), grant.authorization.code_challenge):
            return {"error": "bad_verification_code"}
        if fields.get("redirect_uri", grant.authorization.redirect_uri) != grant.authorization.redirect_uri:
            return {"error": "redirect_uri_mismatch"}
        if self._state.member_by_id(grant.member_id) is None:
            return {"error": "bad_verification_code"}
        return {
            "access_token": self._state.issue(grant),
            "token_type": "bearer",
            "scope": ",".join(grant.authorization.scopes),
        }

    def _page(self, authorization: Authorization, session: str, problem: str = "") -> web.Response:
        target = urlsplit(authorization.redirect_uri)
        origin = f"{target.scheme}://{target.netloc}"
        response = render(
            "authorize.html",
            403 if problem else 200,
            # Chromium holds the redirect that follows a form to this rule as well.
            form_targets=f"'self' {origin}",
            problem=problem,
            client_id=self._settings.client_id,
            origin=origin,
            scopes=authorization.scopes,
            members=list(self._state.members.values()),
            passphrase=self._settings.passphrase is not None,
            authenticity_token=self._state.open_page(authorization, session),
        )
        response.set_cookie(
            _COOKIE,
            session,
            path="/login/oauth",
            httponly=True,
            samesite="Lax",
            secure=self._settings.public_url.startswith("https:"),
        )
        return response


def matches(redirect_uri: str, registered: str) -> bool:
    """Tell whether GitHub would redirect to an address, given the registered callback URL.

    Host and port must be the same, subdomains are let through, and the path is the registered one or
    below it. Where a loopback address (not the name localhost) is registered, any port will do.
    """
    try:
        asked, known = urlsplit(redirect_uri), urlsplit(registered)
        ports = asked.port, known.port
    except ValueError:
        return False
    host, known_host = asked.hostname or "", known.hostname or ""
    loopback = known_host in ("127.0.0.1", "::1")
    path = unquote(asked.path)
    return (
        asked.scheme == known.scheme
        and re.fullmatch(r"[\w.:-]+", host, re.ASCII) is not None
        and (host == known_host or host.endswith(f".{known_host}"))
        and (loopback or ports[0] == ports[1])
        and (path == known.path or path.startswith(known.path.rstrip("/") + "/"))
        and not {".", ".."} & set(path.split("/"))
        and not re.search(r"[\x00-\x20\x7f\s\\#@]", redirect_uri)
    )


def normalize(scope: str) -> tuple[str, ...]:
    """Split scopes at spaces or commas; drop repeats and those that a wider one of them implies."""
    scopes = dict.fromkeys(re.split(r"[\s,]+", scope.strip(" ,")) if scope.strip(" ,") else [])
    implied = set[str]().union(*(IMPLIED_SCOPES.get(granted, set()) for granted in scopes))
    return tuple(granted for granted in scopes if granted not in implied)


async def _fields(request: web.Request) -> dict[str, str]:
    """Read a form or a JSON object; what is neither has no fields."""
    if request.content_type != "application/json":
        return {name: str(value) for name, value in (await request.post()).items()}
    try:
        body: Any = await request.json()
    except (JSONDecodeError, UnicodeDecodeError):
        return {}
    return {str(name): str(value) for name, value in body.items()} if isinstance(body, dict) else {}


def _verifies(verifier: str, challenge: str) -> bool:
    """Check PKCE (RFC 7636, section 4.6); a verifier without a challenge is a downgrade (RFC 9700, 2.1.1)."""
    if not challenge:
        return not verifier
    digest = hashlib.sha256(verifier.encode()).digest()
    return _equal(base64.urlsafe_b64encode(digest).decode().rstrip("="), challenge)


def _equal(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _refuse(redirect_uri: str, state: str, error: str) -> web.Response:
    anchor = error.replace("_", "-")
    uri = f"{_HELP}/troubleshooting-authorization-request-errors/#{anchor}"
    description = _AUTHORIZE_ERRORS[error]
    return _redirect(redirect_uri, error=error, error_description=description, error_uri=uri, state=state)


def _redirect(redirect_uri: str, **parameters: str) -> web.Response:
    query = urlencode({name: value for name, value in parameters.items() if value})
    separator = "&" if "?" in redirect_uri else "?"
    # Encoded already: what the application sent must come back as it is.
    location = URL(f"{redirect_uri}{separator}{query}", encoded=True)
    headers = {"Location": str(location), "Cache-Control": "no-store"}
    return web.Response(status=302, headers=headers)
