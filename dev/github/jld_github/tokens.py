"""Tokens, which outlive the stand-in where it is given a file for them."""

import hashlib
import json
import os
import secrets
import string
from dataclasses import dataclass
from pathlib import Path

TOKENS_KEPT = 10
"""Tokens GitHub keeps for a user, application and scope; an eleventh revokes the oldest."""

_ALPHANUMERIC = string.ascii_letters + string.digits

IMPLIED_SCOPES = {
    "admin:org": {"write:org", "read:org"},
    "write:org": {"read:org"},
    "user": {"read:user", "user:email", "user:follow"},
}
"""https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps"""


class BadTokensFileError(Exception):
    """The file is not what this program wrote."""


@dataclass(frozen=True)
class Token:
    """What a token stands for."""

    member_id: int
    scopes: tuple[str, ...]

    def has(self, scope: str) -> bool:
        """Tell whether a scope was granted, by itself or with a wider one."""
        return any(scope == granted or scope in IMPLIED_SCOPES.get(granted, ()) for granted in self.scopes)


class Tokens:
    """All tokens that are good, by their digests: the file gives nobody a token.

    Args:
        file: where they are kept; None for memory only.

    Raises:
        BadTokensFileError: the file cannot be used; the text says why.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, Token] = {}
        if file is None:
            return
        try:
            kept = json.loads(file.read_text()) if file.exists() else {}
            self._known = {digest: Token(int(account), tuple(scopes)) for digest, (account, *scopes) in kept.items()}
            self._keep()
        except OSError as error:
            raise BadTokensFileError(f"a file in a folder to write to ({error.strerror})") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise BadTokensFileError("a file that the stand-in wrote, or none") from error

    def __len__(self) -> int:
        """Count them."""
        return len(self._known)

    def issue(self, token: Token) -> str:
        """Issue a token and give its text; the oldest of too many for the same member and scopes is revoked."""
        same = [digest for digest, other in self._known.items() if other == token]
        for digest in same[: max(0, len(same) + 1 - TOKENS_KEPT)]:
            del self._known[digest]
        text = "gho_" + "".join(secrets.choice(_ALPHANUMERIC) for _ in range(36))
        self._known[_digest(text)] = token
        self._keep()
        return text

    def find(self, text: str) -> Token | None:
        """Tell what a token stands for; None where it is not good."""
        return self._known.get(_digest(text))

    def revoke(self, member_id: int) -> int:
        """Revoke all of a member; gives their number."""
        left = {digest: token for digest, token in self._known.items() if token.member_id != member_id}
        revoked = len(self._known) - len(left)
        self._known = left
        self._keep()
        return revoked

    def forget(self) -> None:
        """Revoke all."""
        self._known = {}
        self._keep()

    def _keep(self) -> None:
        if self._file is None:
            return
        aside = self._file.with_name(f".{self._file.name}")
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({digest: (token.member_id, *token.scopes) for digest, token in self._known.items()}, file)
        aside.replace(self._file)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
