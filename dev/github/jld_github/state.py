"""What the stand-in knows: accounts, tokens, requests, and the outage that is switched on."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from jld_github.members import Directory, Member, Organization
from jld_github.tokens import Token, Tokens

LIFETIME = 600
"""Seconds for which a code and an authorize page are good; GitHub's codes expire after ten minutes."""

RATE_WINDOW = 3600
"""Seconds after which GitHub's primary rate limit starts afresh."""


@dataclass(frozen=True)
class Authorization:
    """What an application asks for when it sends a browser, and what it must show to get the token."""

    redirect_uri: str
    state: str
    scopes: tuple[str, ...]
    code_challenge: str


@dataclass(frozen=True)
class Page:
    """An authorize page shown to one browser."""

    authorization: Authorization
    session: str
    expires: float


@dataclass(frozen=True)
class Grant:
    """A member's consent, to be exchanged for a token."""

    authorization: Authorization
    member_id: int
    expires: float


@dataclass
class Outage:
    """How requests below a path go wrong."""

    kind: Literal["500", "429", "403", "hang"]
    path: str
    retry_after: int
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Rate:
    """Requests one caller made in a window of the primary rate limit."""

    limit: int
    reset: float
    used: int = 0

    @property
    def remaining(self) -> int:
        """Requests left in this window."""
        return max(0, self.limit - self.used)


class State:
    """Everything that changes while the stand-in runs."""

    def __init__(
        self, directory: Directory, tokens: Tokens | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Start from a members file.

        Args:
            directory: members and organizations to start from, and to go back to on `reset`.
            tokens: those that are good already.
            clock: gives the time in seconds since the epoch.
        """
        self._directory = directory
        self.tokens = Tokens() if tokens is None else tokens
        self.now = clock
        self.outage: Outage | None = None
        self._begin()

    def reset(self) -> None:
        """Forget everything that happened since the start, and all tokens."""
        self.end_outage()
        self.tokens.forget()
        self._begin()

    def _begin(self) -> None:
        start = self._directory.model_copy(deep=True)
        self.organizations = {organization.login.lower(): organization for organization in start.organizations}
        self.members = {member.login.lower(): member for member in start.members}
        self.requests: Counter[str] = Counter()
        self._pages: dict[str, Page] = {}
        self._grants: dict[str, Grant] = {}
        self._rates: dict[int | str, Rate] = {}

    def member(self, login: str) -> Member | None:
        """Find a member by login; case does not matter."""
        return self.members.get(login.lower())

    def member_by_id(self, account: int) -> Member | None:
        """Find a member by id."""
        return next((member for member in self.members.values() if member.id == account), None)

    def organization(self, login: str) -> Organization | None:
        """Find an organization by login; case does not matter."""
        return self.organizations.get(login.lower())

    def remove(self, member: Member) -> None:
        """Delete an account, and with it its tokens."""
        del self.members[member.login.lower()]
        self.revoke(member)

    def revoke(self, member: Member) -> int:
        """Revoke all tokens of a member; gives their number."""
        return self.tokens.revoke(member.id)

    def open_page(self, authorization: Authorization, session: str) -> str:
        """Remember an authorize page; gives the one-time token of its form."""
        self._pages = {key: page for key, page in self._pages.items() if page.expires > self.now()}
        key = secrets.token_urlsafe(32)
        self._pages[key] = Page(authorization, session, self.now() + LIFETIME)
        return key

    def close_page(self, key: str, session: str) -> Authorization | None:
        """Take an authorize page back; None where this browser was not shown it, or too long ago."""
        page = self._pages.pop(key, None)
        if page is None or not session or page.session != session or page.expires <= self.now():
            return None
        return page.authorization

    def grant(self, authorization: Authorization, member: Member) -> str:
        """Note a member's consent; gives the code for it."""
        self._grants = {code: grant for code, grant in self._grants.items() if grant.expires > self.now()}
        code = secrets.token_hex(10)
        self._grants[code] = Grant(authorization, member.id, self.now() + LIFETIME)
        return code

    def redeem(self, code: str) -> Grant | None:
        """Take the consent a code stands for; a code works once, and for ten minutes."""
        grant = self._grants.pop(code, None)
        return grant if grant and grant.expires > self.now() else None

    def issue(self, grant: Grant) -> str:
        """Issue a token; the oldest of too many for the same member and scopes is revoked."""
        return self.tokens.issue(Token(grant.member_id, grant.authorization.scopes))

    def rate(self, caller: int | str, limit: int) -> Rate:
        """Look up the window of the rate limit a caller is in.

        Args:
            caller: a member's id, or the address of somebody without a token.
            limit: requests allowed in a window.
        """
        rate = self._rates.get(caller)
        if rate is None or rate.reset <= self.now():
            rate = self._rates[caller] = Rate(limit, self.now() + RATE_WINDOW)
        return rate

    def start_outage(self, outage: Outage) -> None:
        """Switch an outage on, in place of one that may be on."""
        self.end_outage()
        self.outage = outage

    def end_outage(self) -> None:
        """Switch the outage off; requests it holds go on."""
        if self.outage:
            self.outage.over.set()
        self.outage = None
