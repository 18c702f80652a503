"""The rules that turn a GitHub account into ids."""

import pytest
from jld_hub.identity import LAST_ID, MOST_ORGANIZATIONS, Identity, Organization, UnusableIdError, identify

SQRE = Organization("lsst-sqre", 1508001)
LSST = Organization("lsst", 3050001)


def test_uid_and_groups_are_github_ids() -> None:
    """The uid is the GitHub id, gids are ids of organizations, login in lower case."""
    alice = identify("Alice", 4242424, [LSST, SQRE], ["lsst-sqre"])
    assert alice == Identity("alice", 4242424, (SQRE, LSST), ())


def test_whitelisted_organizations_come_first_then_lower_ids() -> None:
    """Beyond 15 organizations the others are left out, and said."""
    others = [Organization(f"org-{number}", 1000 + number) for number in range(40)]
    carol = identify("carol", 6262626, [*reversed(others), LSST], ["lsst"])
    assert carol.groups == (LSST, *others[: MOST_ORGANIZATIONS - 1])
    assert carol.left_out == tuple(others[MOST_ORGANIZATIONS - 1 :])


@pytest.mark.parametrize("number", [0, 1, 999, 65534, 65535, LAST_ID + 1, 2**32 - 1, 7777])
def test_reserved_id_is_refused(number: int) -> None:
    """Ids of the system, of nobody, beyond 31 bits, or taken here make no member."""
    with pytest.raises(UnusableIdError, match=str(number)):
        identify("eve", number, [], [], is_taken=lambda number: number == 7777)


@pytest.mark.parametrize("number", [1000, LAST_ID])
def test_ids_at_the_limits(number: int) -> None:
    """The first and the last usable id are usable."""
    assert identify("edge", number, [], []).uid == number


def test_organization_with_a_reserved_id_is_left_out() -> None:
    """An organization whose id cannot be a gid is left out with a notice, not the member."""
    old = Organization("oldest", 27)
    alice = identify("alice", 4242424, [old, LSST], [])
    assert (alice.groups, alice.left_out) == ((LSST,), (old,))


def test_kept_identity_reads_back() -> None:
    """What auth_state keeps is the whole identity."""
    alice = identify("alice", 4242424, [LSST, SQRE], [])
    assert Identity.from_dict(alice.to_dict()) == alice
