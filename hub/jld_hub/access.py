"""Who may have a lab: members of the whitelisted organizations."""

from collections.abc import Sequence

from .github import GitHub, GitHubUnavailableError, Membership
from .identity import Organization


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a failure
    """GitHub said that an account is in none of the whitelisted organizations.

    Args:
        login: The account.
        whitelist: The organizations that would do.
        unapproved: Those of them which hide their members from this application.
    """

    def __init__(self, login: str, whitelist: Sequence[str], unapproved: Sequence[str]) -> None:
        super().__init__(f"{login} is in none of the organizations {', '.join(whitelist)}")
        self.unapproved = tuple(unapproved)


async def admit(github: GitHub, login: str, whitelist: Sequence[str]) -> list[Organization]:
    """Return all organizations of a member of at least one whitelisted organization.

    The list of the member's organizations decides most sign-ins with one request. It leaves out organizations
    that have not approved the application, so a no is asked for one by one before it counts.

    Args:
        github: The API with the member's token.
        login: The member's GitHub login.
        whitelist: Organizations, in lower case.

    Raises:
        Refusal: GitHub says no for every one of them.
        TokenRevokedError: The token is no longer valid.
        GitHubUnavailableError: GitHub does not answer, so that nothing is known.
    """
    organizations = await github.organizations()
    if any(organization.login in whitelist for organization in organizations):
        return organizations
    unapproved, unknown = [], None
    for name in whitelist:
        try:
            membership = await github.membership(name, login)
            if membership is Membership.YES:
                return [*organizations, await github.organization(name)]
        except GitHubUnavailableError as error:
            unknown = error
            continue
        if membership is Membership.HIDDEN:
            unapproved.append(name)
    if unknown:
        raise unknown
    raise Refusal(login, whitelist, unapproved)
