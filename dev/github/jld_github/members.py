"""Members and organizations, as the YAML file lists them."""

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

# https://docs.github.com/en/enterprise-cloud@latest/admin/managing-iam/iam-configuration-reference/username-considerations-for-external-authentication
Login = Annotated[str, StringConstraints(strict=True, max_length=39, pattern=r"^[A-Za-z0-9](?:-?[A-Za-z0-9])*$")]
Id = Annotated[int, Field(strict=True, ge=1)]


class BadMembersFileError(Exception):
    """A members file cannot be used; the message names the place and what is wrong there."""


class Strict(BaseModel):
    """A model that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid")


class Membership(Strict):
    """Belonging to an organization; GitHub hides it from outsiders unless it is public."""

    organization: Login
    public: bool = False


def _name_alone(value: Any) -> Any:
    return {"organization": value} if isinstance(value, str) else value


class Account(Strict):
    """A member without the login, which a rename changes: the account is its id."""

    id: Id
    name: str | None = None
    email: str | None = None
    organizations: list[Annotated[Membership, BeforeValidator(_name_alone)]] = []

    def membership(self, organization: str) -> Membership | None:
        """Find the membership in an organization; case does not matter."""
        for membership in self.organizations:
            if membership.organization.lower() == organization.lower():
                return membership
        return None


class Member(Account):
    """A person with an account."""

    login: Login


class Organization(Strict):
    """An organization, and whether it has approved the OAuth application."""

    login: Login
    id: Id
    description: str = ""
    approved: bool = True


class Directory(Strict):
    """Everybody there is."""

    organizations: list[Organization]
    members: list[Member]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        logins, ids = set[str](), set[int]()
        accounts: list[Organization | Member] = [*self.organizations, *self.members]
        for account in accounts:
            if account.login.lower() in logins or account.id in ids:
                raise ValueError(f"{account.login} (id {account.id}) has a login or id that is taken")
            logins.add(account.login.lower())
            ids.add(account.id)
        known = {organization.login.lower() for organization in self.organizations}
        for member in self.members:
            names = [membership.organization.lower() for membership in member.organizations]
            if unknown := set(names) - known:
                raise ValueError(f"{member.login} is in {min(unknown)}, which is not listed")
            if len(set(names)) < len(names):
                raise ValueError(f"{member.login} is in one organization twice")
        return self


def describe(error: ValidationError) -> str:
    """Say in one line which fields are wrong, and how."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'as a whole'}: {problem['msg']}".replace("\n", " ")
        for problem in error.errors()
    )


def read_directory(path: Path) -> Directory:
    """Read a members file.

    Raises:
        BadMembersFileError: where it cannot be read, or does not hold what it should.
    """
    try:
        return Directory.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise BadMembersFileError(f"a readable YAML file ({error})") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise BadMembersFileError(f"{place}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise BadMembersFileError(" ".join(str(error).split())) from error
    except ValidationError as error:
        raise BadMembersFileError(describe(error)) from error
