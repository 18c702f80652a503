"""Who a member is to a file system: pure rules, no input and no output.

The uid and the primary gid are the GitHub id; supplementary groups are the ids of the member's organizations.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

FIRST_ID = 1000
"""Lower ids belong to the system: Debian policy 9.2.2 gives 0 to 999 to the distribution."""

LAST_ID = 2**31 - 1
"""Kubernetes takes ids up to this for runAsUser and supplementalGroups."""

NOBODY = frozenset({65534, 65535})
"""The overflow id that squashing file servers map to, and (uid_t)-1 of 16 bits."""

COMPONENTS = range(64000, 65000)
"""Ids of this project's services in containers; Debian keeps 60000 to 64999 free of people (policy 9.2.2)."""

MOST_ORGANIZATIONS = 15
"""AUTH_SYS carries 16 gids (RFC 5531, appendix A), and the primary one counts."""


@dataclass(frozen=True, order=True)
class Organization:
    """A GitHub organization: its login in lower case, and its id, which is a gid."""

    login: str
    id: int


@dataclass(frozen=True)
class Identity:
    """A member as processes and files know him.

    Attributes:
        login: GitHub login in lower case.
        uid: GitHub id; also the primary gid.
        groups: Organizations whose ids are supplementary gids, at most MOST_ORGANIZATIONS.
        left_out: Organizations beyond that number, or with an id that cannot be a gid.
    """

    login: str
    uid: int
    groups: tuple[Organization, ...]
    left_out: tuple[Organization, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what auth_state keeps (JSON)."""
        return {
            "login": self.login,
            "uid": self.uid,
            "groups": [[group.login, group.id] for group in self.groups],
            "left_out": [[group.login, group.id] for group in self.left_out],
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Identity":
        """Read what to_dict returned."""
        groups, left_out = (
            tuple(Organization(login, number) for login, number in kept[key]) for key in ("groups", "left_out")
        )
        return cls(kept["login"], kept["uid"], groups, left_out)


class UnusableIdError(Exception):
    """The member's GitHub id cannot be a uid here."""


def usable(number: int, is_taken: Callable[[int], bool]) -> bool:
    """Tell whether a GitHub id can be a uid or gid."""
    return FIRST_ID <= number <= LAST_ID and number not in NOBODY and not is_taken(number)


def is_component(number: int) -> bool:
    """Tell whether an id is a service's; ids of the lab image's own users are all below 1000 or nobody's."""
    return number in COMPONENTS


def identify(
    login: str,
    number: int,
    organizations: Iterable[Organization],
    whitelist: Collection[str],
    is_taken: Callable[[int], bool] = lambda _: False,
) -> Identity:
    """Turn a GitHub account into an identity.

    Whitelisted organizations come first, then lower ids first, since an NFS client sends the lowest gids.

    Args:
        login: GitHub login, in any case.
        number: GitHub id of the account.
        organizations: All organizations of the member.
        whitelist: Logins of organizations, in lower case, that come first.
        is_taken: Tells whether the machine, the image or a component uses an id.

    Raises:
        UnusableIdError: The account's id cannot be a uid.
    """
    if not usable(number, is_taken):
        raise UnusableIdError(f"the id of the GitHub account {login.lower()}, {number}, is reserved here")
    ranked = sorted(organizations, key=lambda group: (group.login not in whitelist, group.id))
    fitting = [group for group in ranked if usable(group.id, is_taken)]
    groups = tuple(fitting[:MOST_ORGANIZATIONS])
    return Identity(login.lower(), number, groups, tuple(group for group in ranked if group not in groups))
