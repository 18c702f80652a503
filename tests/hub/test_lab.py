"""The pure description of a lab."""

import json

import pytest
from jld_hub.identity import Organization, identify
from jld_hub.lab import Folder, describe
from jld_hub.settings import load

ALICE = identify("alice", 4242424, [Organization("lsst-sqre", 1508001), Organization("friends", 9001)], ["lsst-sqre"])


def test_folders_are_keyed_by_id_and_seen_by_name() -> None:
    """The home is the member's own; only whitelisted organizations have a shared folder."""
    lab = describe(ALICE, "img", load())
    assert lab.home == Folder("homes/4242424", "/home/alice")
    assert lab.groups == (Folder("groups/1508001", "/groups/lsst-sqre"),)


def test_environment() -> None:
    """The lab knows who its member is and which groups he has, by name and number."""
    environment = describe(ALICE, "img", load()).environment(["Mind the gap."])
    assert environment["HOME"] == "/home/alice"
    assert environment["LAB_GROUPS"] == "lsst-sqre:1508001,friends:9001"
    assert json.loads(environment["LAB_NOTICES"]) == ["Mind the gap."]


def test_left_out_organizations_are_a_notice() -> None:
    """The lab says which organizations are left out."""
    many = identify("carol", 6262626, [Organization(f"org-{n}", 2000 + n) for n in range(16)], [])
    (notice,) = describe(many, "img", load()).notices
    assert "org-15" in notice
    assert "org-14" not in notice


def test_default_guarantee_follows_a_smaller_limit(environment: pytest.MonkeyPatch) -> None:
    """A limit below the default guarantee lowers the guarantee instead of failing."""
    environment.setenv("LAB_CPU_LIMIT", "10m")
    lab = describe(ALICE, "img", load())
    assert (lab.cpu_limit, lab.cpu_guarantee) == (0.01, 0.01)
